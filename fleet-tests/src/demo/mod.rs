//! Program of `make demo`: a control plane and three devices as separate processes on loopback,
//! everything in one temporary folder, until Ctrl-C. It must leave nothing behind, however it ends.
//!
//! The demo starts everything; a second process, the keeper, waits for the demo's end (a pipe that
//! closes, whatever the cause), kills what is left and removes the folder.

mod course;
mod end;
mod inbox;
mod keeper;
mod parts;
mod ports;
mod signals;
mod stage;
mod watch;
mod words;

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use end::{End, Outcome, say};
use inbox::Inbox;
use keeper::{KEEP, Keeper};
use stage::Stage;

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
