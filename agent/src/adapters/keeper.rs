//! The keeper of an exec probe: the launcher stays as the parent of the probe's command, and ends
//! only when nothing is left of what that started.
//!
//! It is the subreaper of its descendants: whatever a probe leaves behind, in a session of its
//! own and without an environment too, becomes the keeper's child and is killed. So one probe
//! costs no look at other processes unless it leaves something. When the agent closes its pipe (the
//! time is over, or the agent ended) the probe ends at once.
//!
//! What it says: "E" and the reason when the command cannot be executed; then NUL and how it
//! ended: "+" well, "-" otherwise with the words of how, "T" by the agent's order. Behind "-" and
//! "T" stands the last line of its output.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, waitid};

use super::launcher::{self, Plan};
use super::{ending, kernel, procfs};
use crate::core::saved::Exit;

/// So often a command is looked at where the kernel has no pidfd.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What is kept of the output's end, in bytes.
const KEPT: usize = 512;
/// Longest last line that is told, in characters.
const TOLD: usize = 160;
/// What is read of a probe's output at once, and after its end at most: a pipe's size, in bytes.
const PIECE: usize = 4096;
const PIECES: usize = 16;

/// Runs a probe's command to its end, and the end of all that it started.
///
/// # Errors
/// In words, when it could not be tried.
pub(super) fn run(plan: &Plan, status: &mut File) -> Result<(), String> {
    let tell = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    rustix::process::setsid().map_err(|error| tell("session", &error))?;
    // Where that is not to be had, what leaves its parent is swept with the workload.
    let me = rustix::process::getpid();
    let _without = rustix::process::set_child_subreaper(Some(me));
    let (output, inlet) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| tell("pipe", &error))?;
    let Some(child) = kernel::fork().map_err(|error| tell("its process", &error))? else {
        drop(output);
        launcher::prepare(plan, &inlet)?;
        drop(inlet);
        return Err(launcher::execute(plan));
    };
    drop(inlet);
    rustix::io::ioctl_fionbio(&output, true).map_err(|error| tell("pipe", &error))?;
    let mut output = Output { pipe: File::from(output), kept: Vec::new() };
    let in_time = watch(child, &mut output);
    let exit = end(child);
    for _ in 0..PIECES {
        if !output.read() {
            break;
        }
    }
    let line = output.last_line();
    let said = match (in_time, exit) {
        (true, exit) if exit.is_success() => "+".into(),
        (true, exit) if line.is_empty() => format!("-{exit}"),
        (true, exit) => format!("-{exit}: {line}"),
        (false, _) => format!("T{line}"),
    };
    // An agent that is gone needs no answer.
    let _unheard = status.write_all(format!("\0{said}").as_bytes());
    Ok(())
}

/// Waits for the command's end. False: the agent closed its pipe before.
fn watch(child: u32, output: &mut Output) -> bool {
    let Some(child) = ending::raw(child) else { return true };
    let fd: Option<OwnedFd> = rustix::process::pidfd_open(child, PidfdFlags::empty()).ok();
    let pause = Timespec::try_from(LOOK_EVERY).ok();
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

/// Ends the command with everything that came of it; tells how the command ended.
fn end(child: u32) -> Exit {
    let mut exit = Exit::Unseen;
    // Not reaped yet, so that its id, and its group's, is still its own.
    ending::kill_child(child);
    if let Some(child) = ending::raw(child)
        && let Ok(Some(status)) = waitid(WaitId::Pid(child), WaitIdOptions::EXITED)
    {
        exit = ending::exit(&status);
    }
    loop {
        match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(_)) => {}
            // Nobody is left.
            Err(_) => return exit,
            Ok(None) => {
                kill_children();
                // Its own children become the keeper's as it ends. The agent ends a keeper that
                // waits too long.
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
            // A child that was not reaped: the id is its own.
            let _gone = Pid::from_raw(pid.cast_signed())
                .map(|pid| rustix::process::kill_process(pid, Signal::KILL));
        }
    }
}

/// What the command printed, of which the end is kept.
struct Output {
    pipe: File,
    kept: Vec<u8>,
}

impl Output {
    /// Reads what there is. False: there will be no more, or none is there now after the end.
    fn read(&mut self) -> bool {
        let mut piece = [0; PIECE];
        match self.pipe.read(&mut piece) {
            Ok(0) => false,
            Ok(length) => {
                self.kept.extend(piece.get(..length).unwrap_or_default());
                let over = self.kept.len().saturating_sub(KEPT);
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

/// The last line that says something, fit to be shown.
fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let shown = |char: char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char };
    line.chars().take(TOLD).map(shown).collect()
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
        assert_eq!(last_line(&[b'x'; 5_000]).len(), TOLD);
    }
}
