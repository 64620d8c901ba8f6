//! Supervisor of an exec probe: the launcher stays as the parent of the probe's command, and ends
//! only when nothing is left of what that started.
//!
//! It is the subreaper of its descendants: whatever a probe leaves behind, even in a session of its
//! own and without an environment, becomes the supervisor's child and is killed. So a probe costs
//! no look at other processes unless it leaves something. When the agent closes its pipe (the
//! probe's time is over, or the agent ended), the probe is ended at once.
//!
//! It reports "E" and the reason when the command cannot be executed; otherwise, after a NUL, how
//! the command ended: "+" for success, "-" and a description for failure, "T" when the agent ended
//! it. After "-" and "T" follows the last line of the command's output.
//!
//! See decision 0072.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, waitid};

use super::execution::{self, LaunchError, Plan};
use super::{ending, kernel};
use crate::core::saved::Exit;
use crate::runtimes::common::{pidfd, procfs};

/// Interval at which a command is looked at where the kernel has no pidfd.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Bytes kept of the end of the output.
const OUTPUT_KEPT: usize = 512;
/// Longest last line that is reported, in characters.
const MAX_LINE: usize = 160;
/// Bytes read of a probe's output at a time; after its end [`PIECES`] times at most, which is all
/// that a pipe holds (64 KiB).
const PIECE: usize = 4096;
const PIECES: usize = 16;

/// Runs a probe's command to its end, and ends all that it started.
///
/// # Errors
/// When the command could not be started.
pub(super) fn run(plan: &Plan, status: &mut File) -> Result<(), LaunchError> {
    rustix::process::setsid().map_err(LaunchError::at("session"))?;
    // Where this is refused, processes that leave their parent are swept with the workload.
    let me = rustix::process::getpid();
    let _without = rustix::process::set_child_subreaper(Some(me));
    let (output, inlet) = pipe_with(PipeFlags::CLOEXEC).map_err(LaunchError::at("pipe"))?;
    let Some(child) = kernel::fork().map_err(LaunchError::at("its process"))? else {
        drop(output);
        execution::prepare(plan, &inlet)?;
        drop(inlet);
        return Err(execution::execute(plan));
    };
    drop(inlet);
    rustix::io::ioctl_fionbio(&output, true).map_err(LaunchError::at("pipe"))?;
    let mut output = Output { pipe: File::from(output), kept: Vec::new() };
    let in_time = watch(child, &mut output);
    let exit = end(child);
    for _ in 0..PIECES {
        if !output.read() {
            break;
        }
    }
    let line = output.last_line();
    let report = match (in_time, exit) {
        (true, exit) if exit.is_success() => "+".into(),
        (true, exit) if line.is_empty() => format!("-{exit}"),
        (true, exit) => format!("-{exit}: {line}"),
        (false, _) => format!("T{line}"),
    };
    // The agent may be gone; then nobody reads this.
    let _unheard = status.write_all(format!("\0{report}").as_bytes());
    Ok(())
}

/// Waits for the command's end. False when the agent closed its pipe first.
fn watch(child: u32, output: &mut Output) -> bool {
    let Some(child) = pidfd::raw(child) else { return true };
    let fd: Option<OwnedFd> = rustix::process::pidfd_open(child, PidfdFlags::empty()).ok();
    let pause = Timespec::try_from(POLL_INTERVAL).ok();
    let stdin = io::stdin();
    let mut is_open = true;
    loop {
        let pipe = output.pipe.try_clone();
        let mut files = vec![PollFd::new(&stdin, PollFlags::IN)];
        files.extend(fd.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        if let (true, Ok(pipe)) = (is_open, &pipe) {
            files.push(PollFd::new(pipe, PollFlags::IN));
        }
        let _interrupted = poll(&mut files, pause.as_ref().filter(|_| fd.is_none()));
        let agent_left = files.first().is_some_and(|file| !file.revents().is_empty());
        drop(files);
        is_open = is_open && output.read();
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if !matches!(waitid(WaitId::Pid(child), ended), Ok(None)) {
            return true;
        }
        if agent_left {
            return false;
        }
    }
}

/// Ends the command with everything that it started; returns how the command itself ended.
fn end(child: u32) -> Exit {
    let mut exit = Exit::Unseen;
    // Not reaped yet, so its process id, and that of its group, is still its own.
    ending::kill_child(child);
    if let Some(child) = pidfd::raw(child)
        && let Ok(Some(status)) = waitid(WaitId::Pid(child), WaitIdOptions::EXITED)
    {
        exit = ending::exit(&status);
    }
    loop {
        match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(_)) => {}
            // No child is left.
            Err(_) => return exit,
            Ok(None) => {
                kill_children();
                // Children of the killed ones become children of this process and are killed in the
                // next round. The agent ends a supervisor that takes too long.
                let _reaped = waitid(WaitId::All, WaitIdOptions::EXITED);
            }
        }
    }
}

fn kill_children() {
    let me = std::process::id();
    for pid in procfs::pids().unwrap_or_default() {
        let is_mine = |stat: procfs::Stat| stat.parent == me && !stat.zombie;
        if procfs::stat(pid).ok().flatten().is_some_and(is_mine) {
            // A child that was not reaped: the id is still its own.
            let _gone = Pid::from_raw(pid.cast_signed())
                .map(|pid| rustix::process::kill_process(pid, Signal::KILL));
        }
    }
}

/// Output of the command, of which the end is kept.
struct Output {
    pipe: File,
    kept: Vec<u8>,
}

impl Output {
    /// Reads what is there. False when the pipe is closed or broken.
    fn read(&mut self) -> bool {
        let mut piece = [0; PIECE];
        match self.pipe.read(&mut piece) {
            Ok(0) => false,
            Ok(length) => {
                self.kept.extend(piece.get(..length).unwrap_or_default());
                let over = self.kept.len().saturating_sub(OUTPUT_KEPT);
                self.kept.drain(..over);
                true
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    fn last_line(&self) -> String {
        last_line(&self.kept)
    }
}

/// Returns the last line that is not empty, with control characters replaced.
fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let shown = |char: char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char };
    line.chars().take(MAX_LINE).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_fit_to_be_shown() {
        for (output, line) in [
            (&b""[..], ""),
            (b"\n \n", ""),
            (b"one\ntwo\n\n", "two"),
            (b"one\r\nno end", "no end"),
            (b"\x1b[31mred\x07\0\n", "\u{fffd}[31mred\u{fffd}\u{fffd}"),
            (b"torn \xc3\n", "torn \u{fffd}"),
        ] {
            assert_eq!(last_line(output), line, "{output:?}");
        }
        assert_eq!(last_line(&[b'x'; 5_000]).len(), MAX_LINE);
    }
}
