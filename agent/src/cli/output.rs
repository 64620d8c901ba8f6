//! What all commands share: exit codes, output, the data folder and the configuration.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::arguments::Call;
use crate::config::Config;

/// Exit codes of all commands, as the help lists them.
pub(super) const DONE: i32 = 0;
pub(super) const FAILED: i32 = 1;
pub(super) const USAGE: i32 = 2;
pub(super) const REFUSED: i32 = 4;

/// Format of a command's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Text,
    Json,
}

impl Output {
    pub(super) fn of(call: &mut Call) -> Self {
        if call.choice("output") == "json" { Self::Json } else { Self::Text }
    }
}

/// Returns the data folder that a command works on.
pub(super) fn data_folder(call: &mut Call) -> PathBuf {
    if let Some(path) = call.path("data") {
        return path;
    }
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/holdfast-agent");
    }
    let home = std::env::var_os("HOME").unwrap_or_else(|| "/tmp".into());
    Path::new(&home).join(".local/state/holdfast-agent")
}

/// Prints to standard error.
pub(super) fn print_error(text: &str) {
    // Standard error may be closed; the exit code says it too.
    let _unread = std::io::stderr().write_all(text.as_bytes());
}

/// Prints a fault, or a warning, with the name of the program.
pub(super) fn complain(text: &str) {
    print_error(&format!("holdfast-agent: {text}\n"));
}

/// Prints to standard output. Returns the exit code.
pub(super) fn say(text: &str) -> i32 {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => DONE,
        Err(error) => write_failed(&error),
    }
}

/// Exit code after a failed write to standard output. A closed pipe is a success: its reader may
/// end early, as `head` does.
pub(super) fn write_failed(error: &std::io::Error) -> i32 {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return DONE;
    }
    complain(&format!("cannot write to standard output: {error}"));
    FAILED
}

/// Reads the configuration. None: its faults were printed.
pub(super) fn configuration(path: Option<PathBuf>) -> Option<Config> {
    let Some(path) = path else { return Some(Config::default()) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            complain(&format!("{}: {error}", path.display()));
            return None;
        }
    };
    match Config::parse(&text) {
        Ok(config) => Some(config),
        Err(faults) => {
            faults.iter().for_each(|fault| complain(&format!("{}: {fault}", path.display())));
            None
        }
    }
}
