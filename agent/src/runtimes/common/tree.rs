//! Operations on whole trees of files that a workload made, however deep: without recursion, with a
//! few descriptors at a time, and without following links.
//!
//! See decision 0041.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::users::User;

/// Opens a folder below another one, or by its path; a link is not followed.
///
/// # Errors
/// The file system's error.
pub(crate) fn open_folder(at: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?)
}

/// Removes everything in a folder in which nobody else creates anything. Folders at the second
/// level are first moved up into `top`, so that never more than two levels are open.
///
/// # Errors
/// The file system's error.
pub(crate) fn empty(top: &OwnedFd) -> io::Result<()> {
    loop {
        let folders = clear_level(top)?;
        if folders.is_empty() {
            return Ok(());
        }
        for (name, _) in folders {
            let folder = open_folder(top.as_fd(), name.as_bytes())?;
            for (below, inode) in clear_level(&folder)? {
                // Inodes are unique within a file system, so the names are, too.
                rustix::fs::renameat(&folder, below.as_c_str(), top, format!(".{inode}"))?;
            }
            rustix::fs::unlinkat(top, name.as_c_str(), AtFlags::REMOVEDIR)?;
        }
    }
}

/// Changes the owner from `from` to `user` at every level of a folder. The caller changes the
/// folder itself last, so that an interrupted run is noticed and repeated.
///
/// What belongs to other users stays theirs: the workload may have put a link to it there.
///
/// # Errors
/// The file system's error, and an error when folders are moved meanwhile.
pub(crate) fn hand_over(top: &OwnedFd, from: u32, user: User) -> io::Result<()> {
    // The path down from `top`: each folder's identity, and its folders that are not entered yet.
    let mut way = vec![(identity(top)?, hand_over_level(top, from, user)?)];
    let mut here = top.try_clone()?;
    while let Some((_, rest)) = way.last_mut() {
        if let Some(name) = rest.pop() {
            here = open_folder(here.as_fd(), name.as_bytes())?;
            way.push((identity(&here)?, hand_over_level(&here, from, user)?));
            continue;
        }
        way.pop();
        if let Some((above, _)) = way.last() {
            here = open_folder(here.as_fd(), b"..")?;
            if identity(&here)? != *above {
                return Err(io::Error::other("a folder was moved while it was handed over"));
            }
        }
    }
    Ok(())
}

fn identity(folder: &OwnedFd) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(folder)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Changes the owner of the entries of one folder; returns the folders among them.
fn hand_over_level(folder: &OwnedFd, from: u32, user: User) -> io::Result<Vec<CString>> {
    let mut folders = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        // By descriptor: what was examined is what changes its owner, whatever the name means by
        // now.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => continue,
            file => file?,
        };
        let stat = rustix::fs::fstat(&file)?;
        if stat.st_uid == from {
            let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
            rustix::fs::chownat(&file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            folders.push(name.to_owned());
        }
    }
    Ok(folders)
}

/// Removes everything but folders that are not empty; returns those, with their inodes.
fn clear_level(folder: &OwnedFd) -> io::Result<Vec<(CString, u64)>> {
    let mut left = Vec::new();
    // Read one by one: there may be millions.
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let removed = match entry.file_type() {
            FileType::Directory => Err(Errno::ISDIR),
            _ => rustix::fs::unlinkat(folder, name, AtFlags::empty()),
        };
        let removed = match removed {
            Err(Errno::ISDIR) => rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR),
            other => other,
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => left.push((name.to_owned(), entry.ino())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, mkdirat};
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;

    #[test]
    fn a_tree_of_any_depth_is_removed_with_few_descriptors() {
        // Each test runs in a process of its own.
        let hard = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: hard }).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let foreign = scratch.path().join("foreign");
        std::fs::create_dir(&foreign).unwrap();
        std::fs::write(foreign.join("file"), "stays").unwrap();
        let path = scratch.path().join("w");
        std::fs::create_dir(&path).unwrap();
        let open = |at: BorrowedFd<'_>, name: &str| open_folder(at, name.as_bytes()).unwrap();
        let top = open(CWD, path.to_str().unwrap());
        let mut folder = top.try_clone().unwrap();
        for depth in 0..3_000 {
            for name in ["deeper", "beside"] {
                mkdirat(&folder, name, Mode::from_raw_mode(0o700)).unwrap();
            }
            if depth % 100 == 0 {
                rustix::fs::symlinkat(&foreign, &folder, "link").unwrap();
                rustix::fs::symlinkat("file", open(folder.as_fd(), "beside"), "link").unwrap();
            }
            folder = open(folder.as_fd(), "deeper");
        }
        std::fs::write(path.join("file"), "").unwrap();
        super::super::folder::remove(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(std::fs::read_to_string(foreign.join("file")).unwrap(), "stays");
    }

    #[test]
    fn a_tree_is_handed_over_but_for_what_belongs_to_others() {
        use std::os::unix::fs::{MetadataExt as _, chown, lchown, symlink};
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let own = scratch.path().join("files");
        std::fs::create_dir_all(own.join("a/b/c")).unwrap();
        std::fs::create_dir_all(own.join("d")).unwrap();
        let victim = scratch.path().join("victim");
        std::fs::write(&victim, "root's").unwrap();
        std::fs::write(own.join("a/b/c/data"), "").unwrap();
        symlink(&victim, own.join("link")).unwrap();
        std::fs::hard_link(&victim, own.join("a/hard")).unwrap();
        let mine = ["a", "a/b", "a/b/c", "a/b/c/data", "d", "link"];
        for name in mine {
            lchown(own.join(name), Some(4_242), Some(4_242)).unwrap();
        }
        chown(&own, Some(4_242), Some(4_242)).unwrap();
        let config = std::collections::BTreeMap::new();
        let user = User { uid: 4_343, gid: 4_344 };
        super::super::folder::lay(scratch.path(), &config, &[], Some(user)).unwrap();
        for name in mine.into_iter().chain([""]) {
            let meta = std::fs::symlink_metadata(own.join(name)).unwrap();
            assert_eq!((meta.uid(), meta.gid()), (4_343, 4_344), "{name}");
        }
        assert_eq!(std::fs::metadata(&victim).unwrap().uid(), 0, "nobody else's is given away");
    }
}
