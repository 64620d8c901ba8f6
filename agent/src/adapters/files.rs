//! Durable file operations: files that are either complete or absent, private modes, and free
//! space.
//!
//! See decisions 0007, 0009, 0079 and 0105.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Opens a regular file for reading. It follows no link, and does not block on a pipe.
///
/// # Errors
/// The file system's error; `InvalidData` when the path is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        // A link (ELOOP) or a socket (ENXIO).
        Err(Errno::LOOP | Errno::NXIO) => None,
        opened => Some(File::from(opened?)),
    };
    if let Some(file) = file
        && file.metadata()?.is_file()
    {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it is no regular file"))
}

/// Reads a small regular file, opened as [`open`] does.
///
/// # Errors
/// The file system's error; `InvalidData` when it is not a regular file, or longer than `most`
/// bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= most) {
        return Ok(bytes);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is longer than {most} bytes")))
}

/// Puts a file with these bytes at a path, replacing whatever is there, be it a link or an empty
/// folder. A folder that is not empty is set aside.
///
/// # Errors
/// The file system's error.
pub fn put(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // A rename replaces a file or a link, but not a folder.
    let _no_folder = std::fs::remove_dir(path);
    if path.is_dir() && !path.is_symlink() {
        std::fs::rename(path, path.with_extension("damaged"))?;
    }
    replace(path, bytes, mode)
}

/// Replaces a file durably: after a power cut it has the old content or the new.
///
/// # Errors
/// The file system's error; the old content stays.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let written = (|| {
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        sync_folder(path)
    })();
    if written.is_err() {
        // A half-written file only takes space on a disk that may have none.
        let _gone = std::fs::remove_file(&temporary);
    }
    written
}

/// Bytes that [`reserve`] holds back: more than the largest desired state.
const RESERVE: u64 = 1024 * 1024;
/// Free bytes below which the disk is too small or too full to hold space back.
const MIN_FREE: u64 = 8 * RESERVE;

/// Holds back disk space in a file, for [`replace_from`]. Does nothing when the file exists or
/// `free` is small; a failure is tried again at the next call.
pub fn reserve(path: &Path, free: u64) {
    if free < MIN_FREE || std::fs::metadata(path).is_ok_and(|meta| meta.len() >= RESERVE) {
        return;
    }
    let made = (|| {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        if fallocate(&file, FallocateFlags::empty(), 0, RESERVE).is_err() {
            // Where space cannot be allocated without writing, zeros are written.
            io::copy(&mut io::repeat(0).take(RESERVE), &mut file)?;
        }
        file.sync_all()
    })();
    if made.is_err() {
        let _none_then = std::fs::remove_file(path);
    }
}

/// Replaces a file on a full disk: the bytes go into the file made by [`reserve`], whose blocks
/// exist already, and which is then renamed. Where even that needs space (copy-on-write), the
/// reserve is removed first.
///
/// # Errors
/// The file system's error; the old content stays.
pub fn replace_from(reserve: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = (|| {
        // Never created here: without its blocks it would be of no use.
        let mut file = OpenOptions::new().write(true).open(reserve)?;
        file.write_all(bytes)?;
        file.set_len(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        file.sync_all()?;
        std::fs::rename(reserve, path)?;
        sync_folder(path)
    })();
    written.or_else(|_| {
        std::fs::remove_file(reserve)?;
        replace(path, bytes, 0o600)
    })
}

/// Creates a file durably and complete, unless one exists. False when there is one.
///
/// # Errors
/// The file system's error; nothing is left behind.
pub fn create_once(path: &Path, bytes: &[u8], mode: u32) -> io::Result<bool> {
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let made = (|| {
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        match std::fs::hard_link(&temporary, path) {
            Ok(()) => sync_folder(path).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    })();
    let _gone = std::fs::remove_file(&temporary);
    made
}

/// Sets the umask so that other users can open no file or folder of this process, unless it gives
/// them access on purpose.
pub fn keep_private() {
    rustix::process::umask(Mode::from_raw_mode(0o027));
}

/// Removes other users' access to everything in a data folder: files that a former version, a umask
/// or a copy left open. Sockets, artifacts and workloads' folders have modes of their own.
pub fn close_to_others(data: &Path) {
    for entry in std::fs::read_dir(data).into_iter().flatten().flatten() {
        let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
        let kept =
            ["artifacts", "sockets", "workloads"].iter().any(|name| entry.file_name() == *name);
        let wanted = match meta.file_type() {
            kind if kind.is_file() => 0o600,
            kind if kind.is_dir() && !kept => 0o700,
            _ => continue,
        };
        if meta.permissions().mode() & 0o077 == 0 {
            continue;
        }
        let closed = if entry.file_name() == "local-access.lock" {
            // A process that has it open could hold the lock for ever, so a new file is needed.
            std::fs::remove_file(&path)
        } else {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(wanted))
        };
        match closed {
            Ok(()) => tracing::warn!(path = %path.display(), "other users could open it: closed"),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "it stays open to others")
            }
        }
    }
}

/// Makes a rename or removal of `path` durable.
///
/// # Errors
/// The file system's error.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Creates a folder and its parents, with this mode. A folder that exists on a read-only disk is
/// accepted as it is.
///
/// # Errors
/// The file system's error.
pub fn folder(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path)?;
    if std::fs::metadata(path)?.permissions().mode() & 0o7777 == mode {
        return Ok(());
    }
    match std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        other => other,
    }
}

/// Explains why workloads that run as other users cannot reach this folder: names the topmost
/// folder on its path that they may not enter, and what helps. `None` when they can, and when the
/// agent is not root, since everything then runs as the agent.
pub fn closed_to_others(path: &Path) -> Option<String> {
    rustix::process::geteuid().is_root().then(|| closed(path)).flatten()
}

fn closed(path: &Path) -> Option<String> {
    let mode = |folder: &Path| std::fs::metadata(folder).ok().map(|it| it.permissions().mode());
    let (folder, mode) = path
        .ancestors()
        .filter_map(|folder| Some((folder, mode(folder)? & 0o7777)))
        .filter(|(_, mode)| mode & 0o001 == 0)
        .last()?;
    let folder = folder.display();
    Some(format!(
        "other users may not enter {folder} (mode {mode:04o}): workloads, which run as users of their own, cannot start; give others the right to enter it (o+x), or give another folder with --data"
    ))
}

/// Free bytes that can be written below `path`.
///
/// # Errors
/// The file system's error.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// True for an error that means a full disk, an exceeded quota or a file that may not grow.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_folder_that_others_may_not_enter_is_named() {
        let scratch = tempfile::tempdir_in("/tmp").unwrap();
        let chmod = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let (home, data) = (scratch.path().join("home"), scratch.path().join("home/data"));
        folder(&data, 0o711).unwrap();
        chmod(scratch.path(), 0o755);
        chmod(&home, 0o711);
        assert_eq!(closed(&data), None);
        chmod(&data, 0o700);
        assert!(closed(&data).unwrap().contains("home/data (mode 0700)"));
        chmod(&home, 0o750);
        let said = closed(&data).unwrap();
        assert!(said.contains("home (mode 0750)") && said.contains("(o+x)"), "{said}");
    }

    #[test]
    fn a_reserve_is_real_room_and_becomes_the_file() {
        use std::os::unix::fs::MetadataExt as _;
        let scratch = tempfile::tempdir().unwrap();
        let (held, path) = (scratch.path().join("reserve"), scratch.path().join("state"));
        reserve(&held, MIN_FREE - 1);
        assert!(!held.exists(), "too little is free");
        assert!(replace_from(&held, &path, b"new").is_err(), "nothing is held back");
        std::fs::write(&path, "old").unwrap();
        reserve(&held, MIN_FREE);
        let meta = std::fs::metadata(&held).unwrap();
        assert_eq!((meta.len(), meta.mode() & 0o777), (RESERVE, 0o600));
        assert!(meta.blocks() * 512 >= RESERVE, "its blocks are there");
        replace_from(&held, &path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), meta.ino(), "no new blocks");
        assert!(!held.exists());
    }
}
