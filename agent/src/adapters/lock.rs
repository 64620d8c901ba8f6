//! Lock of a data folder, which serves one agent at a time. Only the agent's user can hold it.
//!
//! A flock can be held by any process that could once open the file, even for reading only, for as
//! long as it keeps the descriptor. So the file is created with mode 0600, and a file that others
//! could open is replaced by another, whoever holds it.
//!
//! See decision 0075.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, major, minor};

use super::files;
use crate::runtimes::common::procfs;

/// Name of the lock file.
const LOCK: &str = "lock";
/// Name of the file that replaces it.
const FRESH: &str = "lock.new";
/// Tries to take the lock, with [`PAUSE`] between: a second in all.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);
/// Longest list of the system's locks that is read, in bytes.
const MAX_LOCKS: u64 = 4 << 20;

/// Reasons why the lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Error of the file system, with the path.
    Io(PathBuf, io::Error),
    /// Description of the process that holds it; empty where that cannot be known.
    Held(String),
}

/// Process that holds a lock.
#[derive(Debug, PartialEq, Eq)]
struct Holder {
    pid: u32,
    /// User of the process. `None` when it has ended (and a process that it started holds the
    /// lock), or runs in another container.
    user: Option<u32>,
}

/// Takes the lock of a data folder, trying for a second.
///
/// # Errors
/// [`LockError`].
pub fn take(data: &Path) -> Result<File, LockError> {
    let path = data.join(LOCK);
    let failed = |error: io::Error| LockError::Io(path.clone(), error);
    let mut held = Vec::new();
    for attempt in 0..TRIES {
        let file = open(&path, data).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        let me = rustix::process::geteuid().as_raw();
        let is_open = meta.is_file() && (meta.mode() & 0o077 != 0 || meta.uid() != me);
        match file.try_lock() {
            Ok(()) if meta.is_file() && !is_at(&file, &path) => continue,
            Ok(()) if !is_open => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                held = holders(&meta);
                // An agent that was killed a moment ago may leave a child that has not executed its
                // launcher yet, and holds the lock until it does: wait.
                let is_agents = held.iter().any(|it| it.user == Some(me));
                let known = held.iter().any(|it| it.user.is_some());
                // A holder that is not listed at all is outside of this container: perhaps another
                // agent on the same volume, so its lock is respected. One that is listed without a
                // user has ended and left the lock to something else; if others could open the
                // file, it is replaced after half a second.
                let is_gone = !held.is_empty() && !known && is_open && attempt >= TRIES / 2;
                if is_agents || !(known || is_gone) {
                    std::thread::sleep(PAUSE);
                    continue;
                }
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        match replace(&file, &path, &data.join(FRESH)) {
            Ok(Some(fresh)) => return Ok(fresh),
            Ok(None) => std::thread::sleep(PAUSE),
            // On a full or read-only disk the file is used as it is.
            Err(error) => {
                tracing::warn!(%error, "the lock could be opened by others and cannot be replaced");
                return Ok(file);
            }
        }
    }
    Err(LockError::Held(describe(&held)))
}

/// Opens the lock file, creating it if missing. On a disk that takes nothing it opens the file as
/// it is, or else the folder, which nobody else may open.
fn open(path: &Path, data: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::open(path, flags | OFlags::RDWR | OFlags::CREATE, mode)
        .or_else(|_| rustix::fs::open(path, flags | OFlags::RDONLY, Mode::empty()))
        .map(File::from)
        .or_else(|_| File::open(data))
}

/// True while this file is the one at this path.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(held), Ok(there)) = (file.metadata(), std::fs::symlink_metadata(path)) else {
        return false;
    };
    (held.dev(), held.ino()) == (there.dev(), there.ino())
}

/// Replaces `old` by a file that nobody else has opened, and returns it locked. `None` when another
/// agent does so, or did. Only the process that has locked the fresh file may rename it.
fn replace(old: &File, path: &Path, fresh: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::RDWR;
    let mode = Mode::from_raw_mode(0o600);
    let file = File::from(rustix::fs::open(fresh, flags | OFlags::CREATE, mode)?);
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    if file.try_lock().is_err() || !is_at(&file, fresh) || !is_at(old, path) {
        return Ok(None);
    }
    std::fs::rename(fresh, path)?;
    tracing::warn!("the lock could be opened by other users: it is replaced");
    Ok(Some(file))
}

/// Lists the processes that hold the lock of this file.
fn holders(meta: &std::fs::Metadata) -> Vec<Holder> {
    let text = files::read(Path::new("/proc/locks"), MAX_LOCKS).unwrap_or_default();
    let device = format!("{:02x}:{:02x}", major(meta.dev()), minor(meta.dev()));
    let pids = holders_in(&String::from_utf8_lossy(&text), &device, meta.ino());
    pids.into_iter().map(|pid| Holder { pid, user: procfs::user(pid) }).collect()
}

fn holders_in(locks: &str, device: &str, inode: u64) -> Vec<u32> {
    let of = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        if words.nth(1)? != "FLOCK" {
            // Another kind of lock, or a process that waits ("->").
            return None;
        }
        let (pid, file) = (words.nth(2)?.parse().ok()?, words.next()?);
        let (on, number) = file.rsplit_once(':')?;
        (number.parse() == Ok(inode)).then_some((pid, on == device))
    };
    let found: Vec<(u32, bool)> = locks.lines().filter_map(of).collect();
    // Some file systems (btrfs, overlay) are listed here under another device number than stat
    // gives.
    let exact = found.iter().any(|(_, exact)| *exact);
    found.into_iter().filter(|(_, it)| *it || !exact).map(|(pid, _)| pid).collect()
}

fn describe(held: &[Holder]) -> String {
    let word = |it: &Holder| {
        let program = procfs::read(it.pid, "comm").ok().flatten().unwrap_or_default();
        let program = String::from_utf8_lossy(&program).trim().escape_debug().to_string();
        let user = it.user?;
        Some(format!(" (process {}, {program}, of user {user})", it.pid))
    };
    held.iter().find_map(word).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holders_of_a_lock_are_told_from_those_who_wait_and_from_others() {
        let locks = "1: FLOCK  ADVISORY  WRITE 12 08:02:131 0 EOF\n\
                     1: -> FLOCK  ADVISORY  WRITE 13 08:02:131 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE 14 08:02:131 0 EOF\n\
                     3: FLOCK  ADVISORY  READ 15 08:03:131 0 EOF\n\
                     4: FLOCK  ADVISORY  READ 16 08:02:132 0 EOF\n5:\n";
        assert_eq!(holders_in(locks, "08:02", 131), [12]);
        assert_eq!(holders_in(locks, "00:99", 131), [12, 15], "the device has another number");
        assert_eq!(holders_in(locks, "08:02", 9), [0; 0]);
    }

    #[test]
    fn a_lock_that_others_could_open_is_theirs_no_longer() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join(LOCK);
        for mode in [0o644, 0o666, 0o640] {
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            // Opened while that was allowed, for reading alone, and held for ever.
            let stranger = File::open(&path).unwrap();
            let lock = take(scratch.path()).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
            assert!(is_at(&lock, &path) && !is_at(&stranger, &path));
            drop(lock);
            stranger.try_lock().unwrap();
            let again = take(scratch.path()).unwrap();
            drop((again, stranger));
        }
    }

    #[test]
    fn two_agents_on_one_folder_are_told_apart() {
        let scratch = tempfile::tempdir().unwrap();
        for mode in [0o600, 0o644] {
            let lock = take(scratch.path()).unwrap();
            let open = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(scratch.path().join(LOCK), open).unwrap();
            let Err(LockError::Held(who)) = take(scratch.path()) else { panic!("both have it") };
            assert!(who.contains(&format!("process {}", std::process::id())), "{who}");
            drop(lock);
        }
    }

    #[test]
    fn of_many_who_replace_a_lock_at_once_one_has_it() {
        let scratch = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            let path = scratch.path().join(LOCK);
            let _gone = std::fs::remove_file(&path);
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            let ready = std::sync::Barrier::new(4);
            let held: Vec<File> = std::thread::scope(|scope| {
                let one = || {
                    ready.wait();
                    take(scratch.path()).ok()
                };
                let all: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
                all.into_iter().filter_map(|it| it.join().unwrap()).collect()
            });
            assert_eq!(held.len(), 1);
        }
    }
}
