//! A workload's folder: `workloads/<name>/files` is its own (its working folder, with its
//! configuration in it), `workloads/<name>/log` its log. The workload may have put links into
//! its folder: nothing here follows one.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};

use super::users::User;
use super::{files, tree};

/// The workload's own folder within its folder.
pub const FILES: &str = "files";
/// Its log.
pub const LOG: &str = "log";
/// A configuration file that is being written: where only the agent has names, so that it is
/// nobody's, however a workload and its configuration call theirs.
const UNFINISHED: &str = "config.new";
/// Mode of a configuration file: the workload's own and its group's.
const MODE: u32 = 0o640;

/// Makes the folder and lays the configuration into it; gives the workload's own folder.
///
/// # Errors
/// Whatever the file system says; nothing of the former configuration is lost before.
pub fn lay(
    folder: &Path,
    config: &BTreeMap<String, String>,
    stale: &[String],
    user: Option<User>,
) -> io::Result<PathBuf> {
    files::folder(folder, 0o711)?;
    let own = folder.join(FILES);
    match rustix::fs::mkdirat(CWD, &own, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let home = open_folder(CWD, folder.as_os_str().as_encoded_bytes())?;
    let root = open_folder(home.as_fd(), FILES.as_bytes())?;
    let owner = rustix::fs::fstat(&root)?.st_uid;
    if let Some(user) = user.filter(|user| user.uid != owner) {
        // Another revision runs as another user: what the former one left is its to go on with.
        tree::hand_over(&root, owner, user)?;
    }
    give(&root, user)?;
    for path in stale {
        remove_at(&root, path);
    }
    for (path, content) in config {
        write_at(&home, &root, path, content.as_bytes(), user)?;
    }
    Ok(own)
}

pub(super) fn open_folder(at: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?)
}

fn give(file: &OwnedFd, user: Option<User>) -> io::Result<()> {
    if let Some(User { uid, gid }) = user {
        let stat = rustix::fs::fstat(file)?;
        if (stat.st_uid, stat.st_gid) == (uid, gid) {
            // A disk that takes nothing any more need not be asked.
            return Ok(());
        }
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::fchown(file, Some(uid), Some(gid))?;
    }
    Ok(())
}

/// The folder of a relative path, made where it is missing, and the path's last part.
fn descend<'a>(
    root: &OwnedFd,
    path: &'a str,
    make: Option<Option<User>>,
) -> io::Result<(OwnedFd, &'a str)> {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let last = parts.pop().ok_or(io::ErrorKind::InvalidInput)?;
    if parts.iter().chain([&last]).any(|part| matches!(*part, "." | "..")) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut folder = root.try_clone()?;
    for part in parts {
        if let Some(user) = make {
            match rustix::fs::mkdirat(&folder, part, Mode::from_raw_mode(0o750)) {
                Ok(()) => give(&open_folder(folder.as_fd(), part.as_bytes())?, user)?,
                Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        folder = open_folder(folder.as_fd(), part.as_bytes())?;
    }
    Ok((folder, last))
}

fn write_at(
    home: &OwnedFd,
    root: &OwnedFd,
    path: &str,
    content: &[u8],
    user: Option<User>,
) -> io::Result<()> {
    let (folder, last) = descend(root, path, Some(user))?;
    if stands(&folder, last, content, user) {
        return Ok(());
    }
    let _left_over = rustix::fs::unlinkat(home, UNFINISHED, AtFlags::empty());
    let written = (|| {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(MODE);
        let file = rustix::fs::openat(home, UNFINISHED, flags, mode)?;
        // Whatever the agent's own umask takes away.
        rustix::fs::fchmod(&file, mode)?;
        give(&file, user)?;
        let mut file = std::fs::File::from(file);
        file.write_all(content)?;
        file.sync_all()?;
        Ok(rustix::fs::renameat(home, UNFINISHED, &folder, last)?)
    })();
    if written.is_err() {
        // What was half written only takes room on a disk that may have none.
        let _gone = rustix::fs::unlinkat(home, UNFINISHED, AtFlags::empty());
    }
    written
}

/// True where the file is already as it should be. It is then left alone: a restart needs no room
/// on the disk, and wears out no flash.
fn stands(folder: &OwnedFd, name: &str, content: &[u8], user: Option<User>) -> bool {
    // A pipe of that name must hold nobody up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(folder, name, flags, Mode::empty()) else { return false };
    let Ok(stat) = rustix::fs::fstat(&file) else { return false };
    let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
    let alike = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_mode & 0o7777 == MODE
        && u64::try_from(stat.st_size) == Ok(length)
        && user.is_none_or(|user| (stat.st_uid, stat.st_gid) == (user.uid, user.gid));
    let mut there = Vec::new();
    alike
        && std::fs::File::from(file).take(length + 1).read_to_end(&mut there).is_ok()
        && there == content
}

/// Removes a file that a former revision laid; whatever else stands there stays.
fn remove_at(root: &OwnedFd, path: &str) {
    let Ok((folder, last)) = descend(root, path, None) else { return };
    let is_file = rustix::fs::statat(&folder, last, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    if is_file {
        let _gone = rustix::fs::unlinkat(&folder, last, AtFlags::empty());
    }
}

/// Removes the folder with everything in it. One that is gone already is fine.
///
/// # Errors
/// Whatever the file system says.
pub fn remove(folder: &Path) -> io::Result<()> {
    match open_folder(CWD, folder.as_os_str().as_encoded_bytes()) {
        Ok(top) => tree::empty(&top)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    std::fs::remove_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_is_laid_replaced_and_taken_away() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("w");
        let config = |text: &str| BTreeMap::from([("etc/a.conf".to_owned(), text.to_owned())]);
        let own = lay(&folder, &config("one"), &[], None).unwrap();
        lay(&folder, &config("two"), &[], None).unwrap();
        assert_eq!(std::fs::read_to_string(own.join("etc/a.conf")).unwrap(), "two");
        std::fs::write(own.join("data"), "kept").unwrap();
        lay(&folder, &BTreeMap::new(), &["etc/a.conf".into()], None).unwrap();
        assert!(!own.join("etc/a.conf").exists());
        assert_eq!(std::fs::read_to_string(own.join("data")).unwrap(), "kept");
        remove(&folder).unwrap();
        remove(&folder).unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn what_stands_already_is_left_alone_and_anything_else_is_laid_anew() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("w");
        let config = BTreeMap::from([("a.conf".to_owned(), "one".to_owned())]);
        let path = lay(&folder, &config, &[], None).unwrap().join("a.conf");
        let inode = || {
            lay(&folder, &config, &[], None).unwrap();
            std::fs::metadata(&path).unwrap().ino()
        };
        let first = inode();
        assert_eq!(inode(), first, "it was written again");
        // Of the same length, of another length, of another mode, and not a file at all.
        for spoil in [
            &|| std::fs::write(&path, "two").unwrap(),
            &|| std::fs::write(&path, "onemore").unwrap(),
            &|| {
                let open = std::fs::Permissions::from_mode(0o666);
                std::fs::set_permissions(&path, open).unwrap();
            },
            &|| {
                std::fs::remove_file(&path).unwrap();
                let mode = Mode::from_raw_mode(MODE);
                rustix::fs::mknodat(CWD, &path, FileType::Fifo, mode, 0).unwrap();
            },
        ] as [&dyn Fn(); 4]
        {
            spoil();
            inode();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, MODE);
        }
    }

    #[test]
    fn configuration_may_have_any_names() {
        let scratch = tempfile::tempdir().unwrap();
        let names = [".x.new".to_owned(), "x".to_owned(), UNFINISHED.to_owned(), "n".repeat(255)];
        let config: BTreeMap<String, String> =
            names.iter().map(|name| (name.clone(), format!("of {name}"))).collect();
        for _ in 0..2 {
            let own = lay(&scratch.path().join("w"), &config, &[], None).unwrap();
            for name in &names {
                let text = std::fs::read_to_string(own.join(name)).unwrap();
                assert_eq!(text, format!("of {name}"));
            }
            assert_eq!(std::fs::read_dir(&own).unwrap().count(), names.len());
            std::fs::write(own.join("x"), "changed").unwrap();
        }
    }

    #[test]
    fn a_link_that_the_workload_planted_is_not_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let victim = scratch.path().join("victim");
        std::fs::create_dir(&victim).unwrap();
        std::fs::write(victim.join("a.conf"), "untouched").unwrap();
        let folder = scratch.path().join("w");
        let own = lay(&folder, &BTreeMap::new(), &[], None).unwrap();
        std::os::unix::fs::symlink(&victim, own.join("etc")).unwrap();
        let config = BTreeMap::from([("etc/a.conf".to_owned(), "hostile".to_owned())]);
        assert!(lay(&folder, &config, &[], None).is_err());
        std::os::unix::fs::symlink(victim.join("a.conf"), own.join("b.conf")).unwrap();
        let config = BTreeMap::from([("b.conf".to_owned(), "mine".to_owned())]);
        lay(&folder, &config, &["etc/a.conf".into()], None).unwrap();
        assert_eq!(std::fs::read_to_string(victim.join("a.conf")).unwrap(), "untouched");
        assert!(
            lay(&folder, &BTreeMap::from([("../x".into(), String::new())]), &[], None).is_err()
        );
    }
}
