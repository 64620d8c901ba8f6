//! Single processes as the kernel shows them. Whoever cannot be looked at for want of descriptors
//! or memory is an error, never "gone".

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use rustix::io::Errno;

use crate::core::record::Instance;

/// Set for what belongs to the kernel itself (`PF_KTHREAD`).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Dead, waiting to be reaped.
    pub zombie: bool,
    /// The kernel's own.
    pub kernel: bool,
    /// Its parent's id.
    pub parent: u32,
    /// Its session's id.
    pub session: u32,
    /// Its start in ticks since the boot.
    pub start: u64,
}

/// Reads `/proc/PID/stat`; None: no such process.
///
/// # Errors
/// When it could not be looked at.
pub fn stat(pid: u32) -> io::Result<Option<Stat>> {
    let text = read(pid, "stat")?;
    Ok(text.and_then(|text| parse_stat(&String::from_utf8_lossy(&text))))
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The command may hold spaces and parentheses: fields are counted from the last one.
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

/// Reads a file of a process; None: it is gone, or shows this to nobody.
///
/// # Errors
/// When the agent itself lacks what reading takes.
pub fn read(pid: u32, file: &str) -> io::Result<Option<Vec<u8>>> {
    unless_gone(fs::read(format!("/proc/{pid}/{file}")))
}

/// Who it runs as; None: no such process. The folder's owner is the effective user even of what
/// has made itself undumpable; with `no_new_privs` that is the real one.
pub fn user(pid: u32) -> Option<u32> {
    fs::metadata(format!("/proc/{pid}")).ok().map(|meta| meta.uid())
}

/// What was read, if there is anything to be read.
///
/// # Errors
/// When the agent itself lacks what reading takes.
pub fn unless_gone<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_want(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

fn is_want(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// The ids of all processes of now.
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

/// True while this very process lives.
///
/// # Errors
/// When it could not be looked at.
pub fn lives(instance: &Instance, boot: &str) -> io::Result<bool> {
    if instance.boot != boot {
        return Ok(false);
    }
    Ok(stat(instance.pid)?.is_some_and(|stat| !stat.zombie && stat.start == instance.start))
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
        let instance = Instance { pid, start, boot: "b".into(), nonce: 1 };
        assert!(lives(&instance, "b").unwrap());
        assert!(!lives(&instance, "another boot").unwrap());
        assert!(!lives(&Instance { start: start + 1, ..instance }, "b").unwrap());
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
