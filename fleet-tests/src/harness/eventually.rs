//! Waits for a condition with a deadline; a failure shows what was seen instead.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Default deadline, long enough for a loaded machine with two cores; every wait ends as soon as
/// its condition holds.
pub const DEADLINE: Duration = Duration::from_secs(60);

thread_local! {
    static LOGS: RefCell<Vec<(String, PathBuf)>> = const { RefCell::new(Vec::new()) };
}

/// Registers a log whose end is shown when a wait of this thread fails.
pub fn keep_log(of: &str, path: PathBuf) {
    LOGS.with_borrow_mut(|logs| {
        if logs.iter().all(|(_, known)| *known != path) {
            logs.push((of.to_owned(), path));
        }
    });
}

/// Repeats `look` until it returns a value, or panics after `within` with the last thing seen and
/// the ends of the logs.
///
/// # Panics
/// Panics when the deadline passes.
pub fn eventually<T>(
    within: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let began = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        let seen = match look() {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        if began.elapsed() >= within {
            panic!("not within {within:?}: {what}\nlast seen: {seen}\n{}", tails());
        }
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(250));
    }
}

/// Checks that a condition stays true for a while: for things that must *not* happen.
///
/// # Panics
/// Panics as soon as it is false.
pub fn holds_for(time: Duration, what: &str, mut look: impl FnMut() -> Result<(), String>) {
    let began = Instant::now();
    while began.elapsed() < time {
        if let Err(seen) = look() {
            panic!("did not stay so: {what}\nseen: {seen}\n{}", tails());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns the ends of all logs of this thread's programs.
pub(crate) fn tails() -> String {
    let mut text = String::new();
    LOGS.with_borrow(|logs| {
        for (of, path) in logs {
            let log = std::fs::read(path).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            let _ = writeln!(text, "--- log of {of} ({}):", path.display());
            for line in &lines[lines.len().saturating_sub(25)..] {
                let _ = writeln!(text, "    {line}");
            }
        }
    });
    text
}
