//! Processes of the demo: started, watched, and restarted as a service manager would.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::end::{End, Outcome, failed};
use super::keeper::MARK;
use crate::harness::target_dir;

/// Wait before an ended process is started again: time to see that the others go on.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Number of ends within [`MINUTE`] after which a process is not started again.
const TOO_OFTEN: usize = 4;

const MINUTE: Duration = Duration::from_secs(60);

/// One process of the demo.
#[derive(Debug)]
pub(super) struct Part {
    /// Name shown to people, such as `control plane`.
    pub(super) name: String,
    /// File with the process's standard error.
    pub(super) log: PathBuf,
    program: PathBuf,
    arguments: Vec<OsString>,
    out: PathBuf,
    folder: PathBuf,
    child: Option<Child>,
    ends: VecDeque<Instant>,
}

impl Part {
    /// Creates a part that is not started yet.
    pub(super) fn new(name: &str, folder: &Path, program: &Path, arguments: Vec<OsString>) -> Self {
        let file = |ending: &str| folder.join(format!("{}.{ending}", name.replace(' ', "-")));
        Self {
            name: name.to_owned(),
            log: file("log"),
            out: file("out"),
            program: program.to_owned(),
            arguments,
            folder: folder.to_owned(),
            child: None,
            ends: VecDeque::new(),
        }
    }

    /// Sets the arguments for the next start.
    pub(super) fn use_arguments(&mut self, arguments: Vec<OsString>) {
        self.arguments = arguments;
    }

    /// Starts the process; its log is appended to.
    pub(super) fn start(&mut self) -> Outcome<()> {
        let trouble = |error: std::io::Error| {
            End::Failed(format!("{} cannot be started: {error}", self.name))
        };
        // The output may contain a secret.
        let out = append(&self.out).and_then(|out| out.set_len(0).map(|()| out));
        let child = clean(&self.program)
            .args(&self.arguments)
            .env(MARK, &self.folder)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(out.map_err(trouble)?)
            .stderr(append(&self.log).map_err(trouble)?)
            // Ctrl-C is for the demo alone, which then stops everything in order.
            .process_group(0)
            .spawn()
            .map_err(trouble)?;
        self.child = Some(child);
        Ok(())
    }

    /// Returns the process id; 0: the process does not run.
    pub(super) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Returns the standard output so far.
    pub(super) fn printed(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// Returns how the process ended, once for each end; None: it runs.
    pub(super) fn ended(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        self.ends.push_back(Instant::now());
        if self.ends.len() > TOO_OFTEN {
            self.ends.pop_front();
        }
        Some(words(status))
    }

    /// Returns true if the process ended too often to be started again.
    pub(super) fn is_hopeless(&self) -> bool {
        let first = self.ends.front().filter(|_| self.ends.len() >= TOO_OFTEN);
        first.is_some_and(|first| first.elapsed() < MINUTE)
    }

    /// Returns true if the process ended long enough ago to be started again.
    pub(super) fn is_due(&self) -> bool {
        let last = self.ends.back().filter(|_| self.child.is_none());
        last.is_some_and(|last| last.elapsed() >= AGAIN_AFTER)
    }
}

/// Returns a command without the `HOLDFAST_` variables of the caller's environment.
pub(super) fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOLDFAST_") {
            command.env_remove(name);
        }
    }
    // Logs go to files, where colours would disturb.
    command.env_remove("NOTIFY_SOCKET").env("NO_COLOR", "1");
    command
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Returns the last lines of a log, indented.
pub(super) fn tail(log: &Path, lines: usize) -> String {
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
pub(super) fn program(name: &str) -> Outcome<PathBuf> {
    let path = target_dir().join(name);
    if path.is_file() {
        return Ok(path);
    }
    failed(format!("{} is missing: `make demo` builds it", path.display()))
}
