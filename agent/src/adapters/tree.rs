//! Whole trees of files that a workload made, however deep: no recursion, and a few descriptors
//! at a time. No link in them is followed.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::folder::open_folder;

/// Removes everything in a folder in which nobody else makes anything. What lies deep is first
/// moved up into it: two levels are all that is ever open.
///
/// # Errors
/// Whatever the file system says.
pub(super) fn empty(top: &OwnedFd) -> io::Result<()> {
    loop {
        let folders = thin_out(top)?;
        if folders.is_empty() {
            return Ok(());
        }
        for (name, _) in folders {
            let folder = open_folder(top.as_fd(), name.as_bytes())?;
            for (below, inode) in thin_out(&folder)? {
                // No two of one file system have the same.
                rustix::fs::renameat(&folder, below.as_c_str(), top, format!(".{inode}"))?;
            }
            rustix::fs::unlinkat(top, name.as_c_str(), AtFlags::REMOVEDIR)?;
        }
    }
}

/// Removes whatever is no folder or an empty one; gives the other folders, and their inodes.
fn thin_out(folder: &OwnedFd) -> io::Result<Vec<(CString, u64)>> {
    let mut left = Vec::new();
    // Read as it goes: there may be millions.
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
    use rustix::fs::{CWD, Mode, mkdirat};
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
        let open =
            |at: std::os::fd::BorrowedFd<'_>, name: &str| open_folder(at, name.as_bytes()).unwrap();
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
}
