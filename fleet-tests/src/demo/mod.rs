//! Program of `make demo`: a control plane and three devices as separate processes on loopback,
//! everything in one temporary folder, until Ctrl-C. It must leave nothing behind, however it ends.
//!
//! The demo starts everything; a second process, the keeper, waits for the demo's end (a pipe that
//! closes, whatever the cause), kills what is left and removes the folder.

mod keeper;
mod parts;
mod ports;
mod signals;
mod stage;
mod watch;
mod words;

use std::cell::Cell;
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use keeper::Keeper;
use stage::Stage;

/// Argument that makes this program the keeper of a folder.
const KEEP: &str = "--keep";

/// Event that reaches the demo from outside.
#[derive(Debug)]
enum Happening {
    /// Request to end; with the signal's name.
    Stop(&'static str),
    /// Event read from `/api/v1/events`.
    Changed(watch::Change),
}

/// Reason why the demo ends.
#[derive(Debug)]
enum End {
    /// A signal, whose name is given, asked for it.
    Asked(&'static str),
    /// Standard output is closed: nobody reads it.
    Unheard,
    /// An error, described for a person.
    Failed(String),
}

type Outcome<T> = Result<T, End>;

fn failed<T>(why: impl Into<String>) -> Outcome<T> {
    Err(End::Failed(why.into()))
}

/// Writes a line to standard output, whose reader may be gone.
fn say(text: &str) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|_| End::Unheard)
}

/// Queue of the events that reach the demo, in order.
#[derive(Debug)]
struct Inbox {
    happenings: Receiver<Happening>,
    sender: Sender<Happening>,
    /// Number of changes so far.
    changes: Cell<usize>,
}

impl Inbox {
    fn new() -> Self {
        let (sender, happenings) = mpsc::channel();
        Self { happenings, sender, changes: Cell::new(0) }
    }

    /// Returns the next change, or None if none comes within this time.
    fn next(&self, within: Duration) -> Outcome<Option<watch::Change>> {
        match self.happenings.recv_timeout(within) {
            Ok(Happening::Changed(change)) => {
                self.changes.set(self.changes.get() + 1);
                Ok(Some(change))
            }
            Ok(Happening::Stop(signal)) => Err(End::Asked(signal)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => failed("nobody listens for signals any more"),
        }
    }

    /// Waits; changes that come meanwhile are not shown.
    fn pause(&self, time: Duration) -> Outcome<()> {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let _not_shown = self.next(left)?;
        }
        Ok(())
    }
}

/// Runs the program `demo`.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [] => demo(),
        [keep, folder] if keep == OsStr::new(KEEP) => {
            keeper::keep(Path::new(folder));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("demo: it takes no arguments; Ctrl-C ends it");
            ExitCode::from(2)
        }
    }
}

fn demo() -> ExitCode {
    let end = match prepare() {
        Ok((inbox, mut keeper)) => {
            let mut stage = Stage::new(keeper.folder().to_owned());
            let end = match stage.build(&inbox).and_then(|()| stage.play(&inbox)) {
                Ok(()) => End::Asked("the end"),
                Err(end) => end,
            };
            let _unheard = say(&words::ending(&end));
            let gone = keeper.clean();
            if gone {
                let _unheard = say("Nothing is left: all processes ended, the folder removed.");
                end
            } else {
                End::Failed(format!("{} could not be removed", keeper.folder().display()))
            }
        }
        Err(end) => end,
    };
    match end {
        End::Asked(_) | End::Unheard => ExitCode::SUCCESS,
        End::Failed(why) => {
            // The terminal may have been closed.
            let _unheard = writeln!(std::io::stderr(), "demo: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Prepares signals first: from then on a Ctrl-C ends the demo properly.
fn prepare() -> Outcome<(Inbox, Keeper)> {
    let inbox = Inbox::new();
    signals::listen(inbox.sender.clone())?;
    Ok((inbox, Keeper::start()?))
}

/// Returns the last lines of a log, indented.
fn tail(log: &Path, lines: usize) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    let last = &all[all.len().saturating_sub(lines)..];
    if last.is_empty() {
        return format!("    (its log {} is empty)", log.display());
    }
    last.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Returns the path of a program that was built beside this one.
fn program(name: &str) -> Outcome<PathBuf> {
    let path = crate::harness::target_dir().join(name);
    if path.is_file() {
        return Ok(path);
    }
    failed(format!("{} is missing: `make demo` builds it", path.display()))
}
