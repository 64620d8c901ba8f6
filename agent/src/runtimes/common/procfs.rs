//! Processes as `/proc` shows them. A process that cannot be examined for want of descriptors or
//! memory is an error, never taken as gone.
//!
//! See decisions 0008, 0036 and 0037.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::core::process::ProcessId;

/// Flag of the kernel's own threads (`PF_KTHREAD`).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// Longest file that is read whole, in bytes: `/proc/PID/stat` has some 50 numbers.
const MAX_FILE: u64 = 4_096;
/// Longest environment that is searched, in bytes: the kernel starts no program with more than 6
/// MiB of arguments and variables.
const MAX_ENVIRONMENT: u64 = 8 << 20;
/// Longest entry of an environment that is compared, in bytes: a marker takes at most 140.
const MAX_ENTRY: usize = 320;

/// Fields of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// True for a process that has ended and was not reaped yet.
    pub zombie: bool,
    /// True for a thread of the kernel.
    pub kernel: bool,
    /// Process id of the parent.
    pub parent: u32,
    /// Session id: the process id of the session's leader.
    pub session: u32,
    /// Start time in ticks since the boot.
    pub start: u64,
}

/// Reads `/proc/PID/stat`. `None` when there is no such process.
///
/// # Errors
/// When the process could not be examined.
pub fn stat(pid: u32) -> io::Result<Option<Stat>> {
    let text = read(pid, "stat")?;
    Ok(text.and_then(|text| parse_stat(&String::from_utf8_lossy(&text))))
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The command may hold spaces and parentheses, so fields are counted from the last ")".
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let flags: u64 = fields.nth(2)?.parse().ok()?;
    let start = fields.nth(12)?.parse().ok()?;
    let zombie = matches!(state, "Z" | "X");
    Some(Stat { zombie, kernel: flags & KERNEL_THREAD != 0, parent, session, start })
}

/// Reads at most 4 KiB of a file of a process. `None` when the process is gone, or the file is not
/// readable.
///
/// # Errors
/// When the agent lacks descriptors or memory.
pub fn read(pid: u32, file: &str) -> io::Result<Option<Vec<u8>>> {
    match Process::open(pid)? {
        Some(process) => process.read(file),
        None => Ok(None),
    }
}

/// One process, held by its folder in `/proc`, so that another process with its id is not mistaken
/// for it between two reads.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Process {
    /// Opens a process. `None` when there is no such process.
    ///
    /// # Errors
    /// When the agent lacks descriptors or memory.
    pub fn open(pid: u32) -> io::Result<Option<Self>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(CWD, format!("/proc/{pid}"), flags, Mode::empty());
        Ok(unless_gone(opened.map_err(io::Error::from))?.map(Self))
    }

    /// User that the process runs as; see [`user`].
    pub fn user(&self) -> Option<u32> {
        rustix::fs::fstat(&self.0).ok().map(|stat| stat.st_uid)
    }

    /// Reads its `stat`. `None` when it is gone.
    ///
    /// # Errors
    /// When the agent lacks descriptors or memory.
    pub fn stat(&self) -> io::Result<Option<Stat>> {
        let text = self.read("stat")?;
        Ok(text.and_then(|text| parse_stat(&String::from_utf8_lossy(&text))))
    }

    /// Reads at most 4 KiB of one of its files.
    ///
    /// # Errors
    /// When the agent lacks descriptors or memory.
    pub fn read(&self, file: &str) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let read = self.file(file).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
        Ok(unless_gone(read)?.map(|_| bytes))
    }

    /// Finds the first value of a variable in its environment; entries are cut at 320 bytes. The
    /// process may have made its environment as large as the kernel allows, so it is never in
    /// memory as a whole.
    ///
    /// # Errors
    /// When the agent lacks descriptors or memory.
    pub fn variable(&self, key: &str) -> io::Result<Option<String>> {
        let read = self.file("environ");
        let found = read.and_then(|file| find(file.take(MAX_ENVIRONMENT), key));
        Ok(unless_gone(found)?.flatten())
    }

    fn file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.0, name, flags, Mode::empty())?))
    }
}

fn find(mut environment: impl io::Read, key: &str) -> io::Result<Option<String>> {
    let value = |entry: &[u8]| {
        let entry = std::str::from_utf8(entry).ok()?;
        Some(entry.strip_prefix(key)?.strip_prefix('=')?.to_owned())
    };
    let (mut buffer, mut entry) = ([0; 4_096], Vec::new());
    loop {
        let count = environment.read(&mut buffer)?;
        if count == 0 {
            return Ok(value(&entry));
        }
        for &byte in buffer.iter().take(count) {
            if byte != 0 {
                entry.extend((entry.len() < MAX_ENTRY).then_some(byte));
                continue;
            }
            if let Some(value) = value(&entry) {
                return Ok(Some(value));
            }
            entry.clear();
        }
    }
}

/// User that a process runs as. `None` when there is no such process. The folder's owner is the
/// effective user, even of a process that made itself undumpable; with `no_new_privs` that is the
/// real user, too.
pub fn user(pid: u32) -> Option<u32> {
    fs::metadata(format!("/proc/{pid}")).ok().map(|meta| meta.uid())
}

/// Turns "not there" into `None`, and keeps errors that mean that the agent lacks something.
///
/// # Errors
/// When the agent lacks descriptors or memory.
pub fn unless_gone<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_shortage(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// Lists the ids of all processes.
///
/// # Errors
/// When they cannot be listed.
pub fn pids() -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(pids)
}

/// True while this very process lives, by id, start time and boot.
///
/// # Errors
/// When it could not be examined.
pub fn lives(process: &ProcessId, boot: &str) -> io::Result<bool> {
    if process.boot != boot {
        return Ok(false);
    }
    Ok(stat(process.pid)?.is_some_and(|stat| !stat.zombie && stat.start == process.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_command_name_hides_nothing() {
        let text = "42 (a) R 1 (x) S 1 42 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.session, stat.start, stat.zombie), (77, 98_765, false));
        assert_eq!(stat.parent, 1);
        assert!(!stat.kernel);
        let text = text.replace("4194560", "69238880");
        assert!(parse_stat(&text).unwrap().kernel);
        assert!(parse_stat("42 (x").is_none());
    }

    #[test]
    fn this_very_process_is_told_from_another_with_its_id() {
        let pid = std::process::id();
        let start = stat(pid).unwrap().unwrap().start;
        let process = ProcessId { pid, start, boot: "b".into() };
        assert!(lives(&process, "b").unwrap());
        assert!(!lives(&process, "another boot").unwrap());
        assert!(!lives(&ProcessId { start: start + 1, ..process }, "b").unwrap());
    }

    #[test]
    fn a_variable_is_found_in_any_environment() {
        let long = [vec![b'A'; 9_000], b"\0X=1\0KEY=first\0KEY=second\0".to_vec()].concat();
        assert_eq!(find(&long[..], "KEY").unwrap().as_deref(), Some("first"));
        assert_eq!(find(&b"KEYS=1\0KEY"[..], "KEY").unwrap(), None);
        assert_eq!(find(&b"KEY=no end"[..], "KEY").unwrap().as_deref(), Some("no end"));
        assert_eq!(find(&b"\xff=1\0KEY=\0"[..], "KEY").unwrap().as_deref(), Some(""));
        let endless = [b"KEY=".to_vec(), vec![b'x'; 100_000]].concat();
        assert_eq!(find(&endless[..], "KEY").unwrap().map(|it| it.len()), Some(MAX_ENTRY - 4));
    }

    #[test]
    fn who_cannot_be_looked_at_is_not_gone() {
        let failed = |error: Errno| unless_gone::<()>(Err(io::Error::from(error)));
        for want in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            assert!(failed(want).is_err(), "{want}");
        }
        for gone in [Errno::NOENT, Errno::SRCH, Errno::ACCESS] {
            assert!(failed(gone).unwrap().is_none(), "{gone}");
        }
    }
}
