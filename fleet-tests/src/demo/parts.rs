//! The demo's processes: started, watched, and started again as a service manager would.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::keeper::MARK;
use super::{End, Outcome};

/// An ended process is started again after so long: time to see that the others go on.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// A process that ends so often within [`MINUTE`] is not started again.
const TOO_OFTEN: usize = 4;

const MINUTE: Duration = Duration::from_secs(60);

/// One process.
#[derive(Debug)]
pub(super) struct Part {
    /// What people call it.
    pub(super) name: String,
    /// Its standard error.
    pub(super) log: PathBuf,
    program: PathBuf,
    arguments: Vec<OsString>,
    out: PathBuf,
    folder: PathBuf,
    child: Option<Child>,
    ends: VecDeque<Instant>,
}

impl Part {
    /// Not started yet.
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

    /// With these it is started from now on.
    pub(super) fn use_arguments(&mut self, arguments: Vec<OsString>) {
        self.arguments = arguments;
    }

    /// Starts it; its log goes on.
    pub(super) fn start(&mut self) -> Outcome<()> {
        let trouble = |error: std::io::Error| {
            End::Failed(format!("{} cannot be started: {error}", self.name))
        };
        // What it prints may be a secret.
        let out = append(&self.out).and_then(|out| out.set_len(0).map(|()| out));
        let child = clean(&self.program)
            .args(&self.arguments)
            .env(MARK, &self.folder)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(out.map_err(trouble)?)
            .stderr(append(&self.log).map_err(trouble)?)
            // Ctrl-C is for the demo, which stops everything in order.
            .process_group(0)
            .spawn()
            .map_err(trouble)?;
        self.child = Some(child);
        Ok(())
    }

    /// Its process id; 0: it does not run.
    pub(super) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// What it printed so far.
    pub(super) fn printed(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// How it ended, told once.
    pub(super) fn ended(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        self.ends.push_back(Instant::now());
        if self.ends.len() > TOO_OFTEN {
            self.ends.pop_front();
        }
        Some(words(status))
    }

    /// True: it ended too often to be started again.
    pub(super) fn is_hopeless(&self) -> bool {
        let first = self.ends.front().filter(|_| self.ends.len() >= TOO_OFTEN);
        first.is_some_and(|first| first.elapsed() < MINUTE)
    }

    /// True: it ended long enough ago.
    pub(super) fn is_due(&self) -> bool {
        let last = self.ends.back().filter(|_| self.child.is_none());
        last.is_some_and(|last| last.elapsed() >= AGAIN_AFTER)
    }
}

/// A command without what the caller's environment would tell our programs.
pub(super) fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOLDFAST_") {
            command.env_remove(name);
        }
    }
    // Logs are files.
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
