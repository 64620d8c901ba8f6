//! Files that are either there whole or not at all, and room on the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Opens a regular file for reading. A link is not followed, and a pipe in its place holds nobody
/// up.
///
/// # Errors
/// Whatever the file system says; `InvalidData` where it is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        // A link, or a socket.
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

/// The content of a small regular file, opened as [`open`] does.
///
/// # Errors
/// Whatever the file system says; `InvalidData` where it is no regular file, or longer than
/// `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= most) {
        return Ok(bytes);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is longer than {most} bytes")))
}

/// Puts a file with these bytes in the place of whatever is there: a link or an empty folder, too.
///
/// # Errors
/// Whatever the file system says.
pub fn put(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // A file is replaced as it is; a folder stands in the way of that.
    let _no_folder = std::fs::remove_dir(path);
    if path.is_dir() && !path.is_symlink() {
        std::fs::rename(path, path.with_extension("damaged"))?;
    }
    replace(path, bytes, mode)
}

/// Replaces a file by `bytes`, durably: after a power cut it has the old content or the new.
///
/// # Errors
/// Whatever the file system says; the old content stays.
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
        // What was half written only takes room on a disk that may have none.
        let _gone = std::fs::remove_file(&temporary);
    }
    written
}

/// Makes a file with these bytes unless there is one, durably and whole at once. False: there is
/// one already.
///
/// # Errors
/// Whatever the file system says; nothing is left behind.
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

/// From now on this process makes no file or folder that others may open, unless it is given to
/// them on purpose, whatever it was started with.
pub fn keep_private() {
    rustix::process::umask(Mode::from_raw_mode(0o027));
}

/// Takes everything in a data folder away from other users: files that a former version, a umask
/// or a copy left open to them. Sockets, artifacts and workloads' folders have modes of their own.
pub fn close_to_others(data: &Path) {
    for entry in std::fs::read_dir(data).into_iter().flatten().flatten() {
        let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
        let kept = ["artifacts", "workloads"].iter().any(|name| entry.file_name() == *name);
        let wanted = match meta.file_type() {
            kind if kind.is_file() => 0o600,
            kind if kind.is_dir() && !kept => 0o700,
            _ => continue,
        };
        if meta.permissions().mode() & 0o077 == 0 {
            continue;
        }
        let closed = if entry.file_name() == "local-access.lock" {
            // Whoever has opened it could hold it for ever.
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
/// Whatever the file system says.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Makes a folder with all above it, with this mode. One that is there on a disk that takes
/// nothing any more will do as it is.
///
/// # Errors
/// Whatever the file system says.
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

/// Bytes that can still be written below `path`.
///
/// # Errors
/// Whatever the file system says.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// True for errors that mean that the disk (or a quota) is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
