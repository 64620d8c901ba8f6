//! Folder of a workload: `workloads/<name>/files` belongs to the workload (its working folder, with
//! its configuration), `workloads/<name>/log` is its log. The workload may have put links into its
//! folder; none is followed here.
//!
//! `workloads/<name>/links` lists the links to secrets that the agent has put into `files`.
//!
//! See decisions 0009, 0041, 0074 and 0162.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};

use super::tree::{self, open_folder};
use super::users::{FILES, User};
use crate::adapters::files;

/// Name of a configuration file while it is written. It is beside `files`, where only the agent
/// creates names, so that it collides with none.
const UNFINISHED: &str = "config.new";
/// Name of the list of links to secrets, beside `files`: paths between zero bytes.
const LINKS: &str = "links";
/// Longest list of links in bytes: a sealed content has no more paths.
const MAX_LINKS: u64 = 512 * 1024;
/// Most folders of a former configuration that may be in the way of a file; more were not made by
/// the agent.
const FOLDERS: usize = 1_000;
/// Mode of a configuration file: readable by the workload's user and group, writable by the user.
const MODE: u32 = 0o640;

/// Obstacle in the way of a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    /// A link on the way, which is not followed.
    #[error("{0} is a link of the program")]
    Link(String),
    /// A file where a folder should be.
    #[error("{0} is a file of the program")]
    File(String),
    /// A folder where the file should be, with files that the agent has not laid.
    #[error("{path} is a folder with files of the program in it ({file})")]
    Files {
        /// Path of the configuration file.
        path: String,
        /// One of the files in it.
        file: String,
    },
    /// A folder where the file should be, with more folders than the agent makes.
    #[error("{0} is a folder with many others in it")]
    Folders(String),
    /// A folder where the file should be, which cannot be read.
    #[error("{path} cannot be looked into: {source}")]
    Closed {
        /// Path of the folder.
        path: String,
        /// Error of the file system.
        source: io::Error,
    },
    /// A folder where the file should be, which cannot be read to its end.
    #[error("{path}: {source}")]
    Torn {
        /// Path of the folder.
        path: String,
        /// Error of the file system.
        source: rustix::io::Errno,
    },
}

/// Reasons why a workload's folder or configuration cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum LayError {
    /// Something is in the way that does not belong to the agent.
    #[error(
        "its configuration {path} cannot be laid: {obstacle}; move that away, or choose another path"
    )]
    InTheWay {
        /// Path of the configuration file, as the workload's document has it.
        path: String,
        /// Obstacle that was found there.
        obstacle: Obstacle,
    },
    /// The file system refuses.
    #[error("its {what}: {source}")]
    Io {
        /// Folder or file that was tried.
        what: String,
        /// Error of the file system.
        source: io::Error,
    },
}

/// Creates the folder and writes the configuration into it; returns the folder that belongs to the
/// workload. First it checks that nothing of the program's is in the way; then it removes the files
/// that only the former revision had (`stale`), with folders that are left empty in the way; then
/// it writes the new files.
///
/// # Errors
/// [`LayError`]. With an obstacle, nothing of the former configuration was touched; when the file
/// system refuses, files that did not exist before are removed again.
pub fn lay(
    folder: &Path,
    config: &BTreeMap<String, String>,
    stale: &[String],
    user: Option<User>,
) -> Result<PathBuf, LayError> {
    let own = folder.join(FILES);
    let (home, root) = own_folder(folder, &own, user)
        .map_err(|source| LayError::Io { what: format!("folder {}", folder.display()), source })?;
    let mut emptied = Vec::new();
    for path in config.keys() {
        let clear = clear_way(&root, path, stale, &mut emptied);
        clear.map_err(|obstacle| LayError::InTheWay { path: path.clone(), obstacle })?;
    }
    for path in stale {
        remove_at(&root, path);
    }
    // In reverse, because folders within others come later in the list.
    for path in emptied.iter().rev() {
        if let Ok((folder, last)) = descend(&root, path, None) {
            let _in_use_again = rustix::fs::unlinkat(&folder, last, AtFlags::REMOVEDIR);
        }
    }
    let mut made: Vec<&String> = Vec::new();
    for (path, content) in config {
        let was_there = is_file(&root, path);
        if let Err(source) = write_at(&home, &root, path, content.as_bytes(), user) {
            made.into_iter().for_each(|path| remove_at(&root, path));
            return Err(LayError::Io { what: format!("configuration {path}"), source });
        }
        if !was_there {
            made.push(path);
        }
    }
    Ok(own)
}

/// Removes links to secrets that a former revision had and this one has not.
///
/// # Errors
/// [`LayError::Io`].
pub(crate) fn unlink(folder: &Path, kept: &BTreeSet<&str>) -> Result<(), LayError> {
    let former = former_links(folder)?;
    if former.iter().all(|path| kept.contains(path.as_str())) {
        return Ok(());
    }
    let failed = |source| LayError::Io { what: format!("folder {}", folder.display()), source };
    let root = open_folder(CWD, folder.join(FILES).as_os_str().as_encoded_bytes());
    match root {
        Ok(root) => {
            for path in former.iter().filter(|path| !kept.contains(path.as_str())) {
                if kind_at(&root, path) == Some(FileType::Symlink)
                    && let Ok((folder, last)) = descend(&root, path, None)
                {
                    let _gone = rustix::fs::unlinkat(&folder, last, AtFlags::empty());
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let left: BTreeSet<&str> =
        former.iter().map(String::as_str).filter(|path| kept.contains(path)).collect();
    note_links(folder, &left)
}

/// Lays a link to `target`/PATH at each path of the workload's own folder. Which ones there are is
/// noted first, so that they are found again whatever happens.
///
/// # Errors
/// [`LayError`], of the first that cannot be laid.
pub(crate) fn link(
    folder: &Path,
    target: &Path,
    paths: &BTreeSet<&str>,
    user: Option<User>,
) -> Result<(), LayError> {
    unlink(folder, paths)?;
    if paths.is_empty() {
        return Ok(());
    }
    let own = folder.join(FILES);
    let (home, root) = own_folder(folder, &own, user)
        .map_err(|source| LayError::Io { what: format!("folder {}", folder.display()), source })?;
    let mut emptied = Vec::new();
    for path in paths {
        let clear = clear_way(&root, path, &[], &mut emptied);
        clear.map_err(|obstacle| LayError::InTheWay { path: (*path).to_owned(), obstacle })?;
    }
    note_links(folder, paths)?;
    for path in emptied.iter().rev() {
        if let Ok((folder, last)) = descend(&root, path, None) {
            let _in_use_again = rustix::fs::unlinkat(&folder, last, AtFlags::REMOVEDIR);
        }
    }
    for path in paths {
        let laid = link_at(&home, &root, path, &target.join(path), user);
        laid.map_err(|source| LayError::Io { what: format!("link {path}"), source })?;
    }
    Ok(())
}

fn link_at(
    home: &OwnedFd,
    root: &OwnedFd,
    path: &str,
    target: &Path,
    user: Option<User>,
) -> io::Result<()> {
    let (folder, last) = descend(root, path, Some(user))?;
    let there = rustix::fs::readlinkat(&folder, last, Vec::new());
    if there.is_ok_and(|there| there.as_bytes() == target.as_os_str().as_encoded_bytes()) {
        return Ok(());
    }
    let _left_over = rustix::fs::unlinkat(home, UNFINISHED, AtFlags::empty());
    rustix::fs::symlinkat(target, home, UNFINISHED)?;
    let moved = rustix::fs::renameat(home, UNFINISHED, &folder, last);
    if moved.is_err() {
        let _gone = rustix::fs::unlinkat(home, UNFINISHED, AtFlags::empty());
    }
    Ok(moved?)
}

/// Paths of the links to secrets that were laid, or begun to be.
fn former_links(folder: &Path) -> Result<Vec<String>, LayError> {
    match files::read(&folder.join(LINKS), MAX_LINKS) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            Ok(text.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(LayError::Io { what: format!("list {LINKS}"), source }),
    }
}

fn note_links(folder: &Path, paths: &BTreeSet<&str>) -> Result<(), LayError> {
    let list = folder.join(LINKS);
    let text = paths.iter().copied().collect::<Vec<_>>().join("\0");
    let noted = match files::read(&list, MAX_LINKS) {
        Ok(there) if there == text.as_bytes() => Ok(()),
        _ if text.is_empty() => match std::fs::remove_file(&list) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        _ => files::replace(&list, text.as_bytes(), 0o600),
    };
    noted.map_err(|source| LayError::Io { what: format!("list {LINKS}"), source })
}

/// Creates and opens the workload's folder and its `files`.
fn own_folder(folder: &Path, own: &Path, user: Option<User>) -> io::Result<(OwnedFd, OwnedFd)> {
    files::folder(folder, 0o711)?;
    match rustix::fs::mkdirat(CWD, own, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let home = open_folder(CWD, folder.as_os_str().as_encoded_bytes())?;
    let root = open_folder(home.as_fd(), FILES.as_bytes())?;
    let owner = rustix::fs::fstat(&root)?.st_uid;
    if let Some(user) = user.filter(|user| user.uid != owner) {
        // Another revision runs as another user, which takes over what the former one left.
        tree::hand_over(&root, owner, user)?;
    }
    change_owner(&root, user)?;
    Ok((home, root))
}

/// Type of what is at a path. No link is followed, neither at the end nor on the way.
fn kind_at(root: &OwnedFd, path: &str) -> Option<FileType> {
    let (folder, last) = descend(root, path, None).ok()?;
    let stat = rustix::fs::statat(&folder, last, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}

fn is_file(root: &OwnedFd, path: &str) -> bool {
    kind_at(root, path) == Some(FileType::RegularFile)
}

/// Checks that a configuration file can be written once the `stale` files are gone. Folders that
/// will be empty by then are added to `emptied`, each before those within it.
fn clear_way(
    root: &OwnedFd,
    path: &str,
    stale: &[String],
    emptied: &mut Vec<String>,
) -> Result<(), Obstacle> {
    let is_stale =
        |path: &str, kind| kind == FileType::RegularFile && stale.iter().any(|stale| stale == path);
    for (end, _) in path.match_indices('/') {
        let above = path.get(..end).unwrap_or_default();
        match kind_at(root, above) {
            Some(FileType::Directory) => {}
            None => return Ok(()),
            Some(kind) if is_stale(above, kind) => return Ok(()),
            Some(FileType::Symlink) => return Err(Obstacle::Link(above.to_owned())),
            Some(_) => return Err(Obstacle::File(above.to_owned())),
        }
    }
    if kind_at(root, path) != Some(FileType::Directory) {
        // Anything but a folder is replaced by the rename.
        return Ok(());
    }
    let mut folders = vec![path.to_owned()];
    while let Some(within) = folders.pop() {
        if emptied.len() >= FOLDERS {
            return Err(Obstacle::Folders(path.to_owned()));
        }
        let listed = descend(root, &within, None)
            .and_then(|(folder, last)| open_folder(folder.as_fd(), last.as_bytes()))
            .and_then(|folder| Ok(rustix::fs::Dir::read_from(folder)?));
        let listed = listed.map_err(|source| Obstacle::Closed { path: within.clone(), source })?;
        for entry in listed {
            let entry = entry.map_err(|source| Obstacle::Torn { path: within.clone(), source })?;
            let name = entry.file_name().to_string_lossy();
            if name == "." || name == ".." {
                continue;
            }
            let file = format!("{within}/{name}");
            match kind_at(root, &file) {
                Some(FileType::Directory) => folders.push(file),
                Some(kind) if is_stale(&file, kind) => {}
                _ => return Err(Obstacle::Files { path: path.to_owned(), file }),
            }
        }
        emptied.push(within);
    }
    Ok(())
}

fn change_owner(file: &OwnedFd, user: Option<User>) -> io::Result<()> {
    if let Some(User { uid, gid }) = user {
        let stat = rustix::fs::fstat(file)?;
        if (stat.st_uid, stat.st_gid) == (uid, gid) {
            // Nothing to change, which also works on a disk that is full or read-only.
            return Ok(());
        }
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::fchown(file, Some(uid), Some(gid))?;
    }
    Ok(())
}

/// Opens the folder of a relative path, creating missing ones if `make` is given; returns it with
/// the last part of the path.
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
                Ok(()) => change_owner(&open_folder(folder.as_fd(), part.as_bytes())?, user)?,
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
    if is_current(&folder, last, content, user) {
        return Ok(());
    }
    let _left_over = rustix::fs::unlinkat(home, UNFINISHED, AtFlags::empty());
    let written = (|| {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(MODE);
        let file = rustix::fs::openat(home, UNFINISHED, flags, mode)?;
        // The agent's own umask took bits away.
        rustix::fs::fchmod(&file, mode)?;
        change_owner(&file, user)?;
        let mut file = std::fs::File::from(file);
        file.write_all(content)?;
        file.sync_all()?;
        Ok(rustix::fs::renameat(home, UNFINISHED, &folder, last)?)
    })();
    if written.is_err() {
        // A half-written file only takes space on a disk that may have none.
        let _gone = rustix::fs::unlinkat(home, UNFINISHED, AtFlags::empty());
    }
    written
}

/// True when the file is already as it should be. It is then left alone: a restart needs no space
/// on the disk and wears out no flash.
fn is_current(folder: &OwnedFd, name: &str, content: &[u8], user: Option<User>) -> bool {
    // A pipe of that name must not block.
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

/// Removes a file that a former revision had; anything else under its name stays.
fn remove_at(root: &OwnedFd, path: &str) {
    if is_file(root, path)
        && let Ok((folder, last)) = descend(root, path, None)
    {
        let _gone = rustix::fs::unlinkat(&folder, last, AtFlags::empty());
    }
}

/// Removes the folder with everything in it; a folder that is gone is fine.
///
/// # Errors
/// The file system's error.
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

    fn of(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect()
    }

    /// Lists every file below a folder with its content, sorted.
    fn files_in(folder: &Path) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(at) = folders.pop() {
            for entry in std::fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let text = std::fs::read_to_string(&path).unwrap();
                    found.push((path.strip_prefix(folder).unwrap().display().to_string(), text));
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn what_the_agent_laid_itself_is_never_in_the_way() {
        for (former, next) in [
            (&["etc/d.conf"][..], &["etc"][..]),
            (&["etc/a/b/d.conf", "etc/e.conf"], &["etc"]),
            (&["etc/a/b/d.conf", "etc/e.conf"], &["etc/a", "etc/e.conf"]),
            (&["etc"], &["etc/d.conf"]),
            (&["a", "b/c"], &["a/b/c", "b"]),
            (&["a/b", "c/d/e"], &["a/b/c", "c"]),
            (&["a/b/c/d/e/f/g/h"], &["a/b/c"]),
        ] {
            for user in [None, Some(User { uid: 61_300, gid: 61_300 })] {
                if user.is_some() && !rustix::process::geteuid().is_root() {
                    continue;
                }
                let scratch = tempfile::tempdir().unwrap();
                let folder = scratch.path().join("w");
                let with = |paths: &[&str], text| {
                    of(&paths.iter().map(|&path| (path, text)).collect::<Vec<_>>())
                };
                for (paths, before, text) in
                    [(former, next, "1"), (next, former, "2"), (former, next, "3")]
                {
                    let config = with(paths, text);
                    let stale: Vec<String> = before
                        .iter()
                        .filter(|path| !paths.contains(path))
                        .map(|&path| path.to_owned())
                        .collect();
                    let own = lay(&folder, &config, &stale, user).unwrap();
                    let laid: Vec<_> = config.into_iter().collect();
                    assert_eq!(files_in(&own), laid, "{before:?} to {paths:?}");
                }
            }
        }
    }

    #[test]
    fn what_the_program_put_in_the_way_is_named_and_nothing_is_lost() {
        type Put = fn(&Path);
        let cases: [(&[&str], Put, &str); 6] = [
            (
                &["etc"],
                |own| std::fs::write(own.join("etc/db"), "x").unwrap(),
                "etc is a folder with files of the program in it (etc/db)",
            ),
            (
                &["etc"],
                |own| {
                    std::fs::create_dir_all(own.join("etc/a/b")).unwrap();
                    std::fs::write(own.join("etc/a/b/db"), "x").unwrap();
                },
                "etc is a folder with files of the program in it (etc/a/b/db)",
            ),
            (
                &["run/x/y"],
                |own| std::fs::write(own.join("run"), "x").unwrap(),
                "run is a file of the program",
            ),
            (
                &["run/x/y"],
                |own| {
                    std::fs::create_dir(own.join("run")).unwrap();
                    std::fs::write(own.join("run/x"), "x").unwrap();
                },
                "run/x is a file of the program",
            ),
            (
                &["run/x"],
                |own| std::os::unix::fs::symlink("etc", own.join("run")).unwrap(),
                "run is a link of the program",
            ),
            (
                &["etc/keep/x"],
                |own| {
                    std::fs::remove_file(own.join("etc/keep")).unwrap();
                    std::os::unix::fs::symlink("/etc", own.join("etc/keep")).unwrap();
                },
                "etc/keep is a link of the program",
            ),
        ];
        for (wanted, put, said) in cases {
            let scratch = tempfile::tempdir().unwrap();
            let folder = scratch.path().join("w");
            let former = of(&[("a.conf", "1"), ("etc/d.conf", "1"), ("etc/keep", "1")]);
            let own = lay(&folder, &former, &[], None).unwrap();
            put(&own);
            let before = || {
                let names = ["a.conf", "etc/d.conf", "etc/db", "etc/a/b/db", "run", "run/x"];
                names.map(|name| std::fs::read(own.join(name)).ok())
            };
            let was = before();
            let mut config = of(&[("0-first", "2"), ("a.conf", "2")]);
            config.extend(wanted.iter().map(|&path| (path.to_owned(), "2".to_owned())));
            let stale = ["etc/d.conf".to_owned(), "etc/keep".to_owned()];
            let error = lay(&folder, &config, &stale, None).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, LayError::InTheWay { .. }) && text.contains(said), "{text}");
            assert!(text.contains(wanted[0]) && !text.contains("workloads"), "{text}");
            assert_eq!(before(), was, "the former configuration is as it was: {said}");
            assert!(!own.join("0-first").exists(), "nothing of the new one was laid");
        }
    }

    #[test]
    fn what_the_file_system_refuses_is_named_and_taken_back() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("w");
        let own = lay(&folder, &of(&[("a.conf", "1")]), &[], None).unwrap();
        let long = format!("z{}", "n".repeat(255));
        let config = of(&[("b/new.conf", "2"), (&long, "2")]);
        let error = lay(&folder, &config, &[], None).unwrap_err();
        assert!(error.to_string().contains(&long), "{error}");
        assert_eq!(files_in(&own), [("a.conf".to_owned(), "1".to_owned())]);
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
