//! Secrets of workloads, opened for a start: values go into the environment, files into a folder in
//! memory (tmpfs), which the workload's own folder has links to. Nothing that was opened touches a
//! disk; after a reboot it is opened again from what is stored sealed.
//!
//! The folder of a workload in memory has two halves and a link, `now`, to the one that counts. A
//! change lays the other half and moves the link, so that all files change at once.
//!
//! See decision 0162.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use holdfast_base::ids::Name;
use holdfast_protocol::sealing::{SealedContent, SealingKey};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::folder;
use super::tree::open_folder;
use super::users::{User, UserError};
use crate::core::runtime::Reason;
use crate::core::saved::Revision;
use crate::core::secrets::{Opener, Secrets};

/// Types of file systems that are in memory alone, as `statfs` numbers them, in hexadecimal digits
/// (the number's type differs between processors): tmpfs and ramfs.
const IN_MEMORY: [&str; 2] = ["1021994", "858458f6"];
/// Names of the two halves of a workload's folder.
const HALVES: [&str; 2] = ["a", "b"];
/// Name of the link to the half that counts.
const NOW: &str = "now";
/// Name of that link while it is made.
const NEXT: &str = "next";
/// Mode of a file with a secret: readable by the workload's user alone.
const MODE: u32 = 0o400;

/// Reasons why secrets cannot be given to a workload.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The secrets cannot be opened.
    #[error("its secrets cannot be opened: {0}")]
    Closed(Reason),
    /// A file has the path of a configuration file.
    #[error("{0} is both a secret and a configuration file: choose another path for one of them")]
    Twice(String),
    /// The user of the workload cannot be had.
    #[error(transparent)]
    User(#[from] UserError),
    /// Something of the program's is in the way of a file.
    #[error("its secret {path} cannot be laid: {obstacle}; move that away, or choose another path")]
    InTheWay {
        /// Path of the file, relative to the workload's folder.
        path: String,
        /// Obstacle that was found there.
        obstacle: folder::Obstacle,
    },
    /// A link to a file cannot be laid.
    #[error("its secrets: {0}")]
    Link(folder::LayError),
    /// The folder in memory cannot be written.
    #[error("its secrets in {}: {source}", .path.display())]
    Memory {
        /// Path that was tried.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
}

impl From<folder::LayError> for SecretsError {
    fn from(error: folder::LayError) -> Self {
        match error {
            folder::LayError::InTheWay { path, obstacle } => Self::InTheWay { path, obstacle },
            error @ folder::LayError::Io { .. } => Self::Link(error),
        }
    }
}

/// Key of the device and folder in memory of this agent.
#[derive(Debug)]
pub struct Keeper {
    key: Result<SealingKey, Reason>,
    memory: Result<PathBuf, Reason>,
}

impl Keeper {
    /// Takes the key and finds a folder in memory. `places`: folders that may be in memory; the
    /// first one that is will be used.
    pub fn new(key: io::Result<SealingKey>, places: &[PathBuf], agent: &str) -> Self {
        let key = key.map_err(|error| Reason(format!("this device has no sealing key: {error}")));
        let memory = memory(places, agent);
        Self { key, memory }
    }

    /// Opens the secrets of a revision, if it has any.
    ///
    /// # Errors
    /// [`SecretsError::Closed`].
    pub(crate) fn opened(
        &self,
        name: &Name,
        secrets: Option<&Secrets>,
    ) -> Result<SealedContent, SecretsError> {
        match secrets {
            Some(secrets) => self.open(name, secrets).map_err(SecretsError::Closed),
            None => Ok(SealedContent::default()),
        }
    }

    /// Lays the files of a workload in memory and links to them in its folder; removes those that it
    /// has no more. `home` is the folder of the workload, with its own folder in it.
    ///
    /// # Errors
    /// The reason, which names no content.
    pub(crate) fn lay(
        &self,
        home: &Path,
        name: &Name,
        revision: &Revision,
        content: &SealedContent,
        user: Option<User>,
    ) -> Result<(), SecretsError> {
        let twice = |path: &&String| revision.spec.config.contains_key(*path);
        if let Some(path) = content.files.keys().find(twice) {
            return Err(SecretsError::Twice(path.clone()));
        }
        let paths: BTreeSet<&str> = content.files.keys().map(String::as_str).collect();
        if paths.is_empty() {
            self.remove(name);
        }
        let Ok(memory) = &self.memory else {
            // Opening has refused files already: there are none, and no link was ever laid.
            return Ok(());
        };
        let own = memory.join(name.as_str());
        if !paths.is_empty() {
            let failed = |source| SecretsError::Memory { path: own.clone(), source };
            fill(&own, content, user).map_err(failed)?;
        }
        Ok(folder::link(home, &own.join(NOW), &paths, user)?)
    }

    /// Folder in memory of a workload's files; `None`: this device has none.
    pub fn folder(&self, name: &Name) -> Option<PathBuf> {
        self.memory.as_ref().ok().map(|memory| memory.join(name.as_str()))
    }

    /// Removes the files of a workload from memory.
    pub(crate) fn remove(&self, name: &Name) {
        let Ok(memory) = &self.memory else { return };
        let own = memory.join(name.as_str());
        if let Err(error) = folder::remove(&own) {
            tracing::error!(path = %own.display(), %error, "its secrets stay in memory");
        }
    }
}

impl Opener for Keeper {
    fn open(&self, workload: &Name, secrets: &Secrets) -> Result<SealedContent, Reason> {
        let key = self.key.as_ref().map_err(Clone::clone)?;
        let opened = key.open(&secrets.sealed.bytes, &secrets.bound(workload));
        let content = opened.map_err(|error| Reason::of(&error))?;
        match &self.memory {
            Err(why) if !content.files.is_empty() => Err(why.clone()),
            _ => Ok(content),
        }
    }
}

/// Folders that are in memory on most machines. The first is gone from the list of who is not root.
pub fn usual_places() -> Vec<PathBuf> {
    let user = rustix::process::geteuid();
    let first = if user.is_root() {
        PathBuf::from("/run")
    } else {
        PathBuf::from(format!("/run/user/{}", user.as_raw()))
    };
    vec![first, PathBuf::from("/dev/shm")]
}

/// Finds a place in memory and makes the folder of this agent there.
fn memory(places: &[PathBuf], agent: &str) -> Result<PathBuf, Reason> {
    let user = rustix::process::geteuid();
    let mut tried = Vec::new();
    for place in places {
        let shown = place.display();
        match rustix::fs::statfs(place) {
            Err(error) => tried.push(format!("{shown}: {}", io::Error::from(error))),
            Ok(stat) if !IN_MEMORY.contains(&format!("{:x}", stat.f_type).as_str()) => {
                tried.push(format!("{shown} is on a disk"));
            }
            Ok(_) => {
                let top = if user.is_root() {
                    place.join("holdfast-secrets")
                } else {
                    place.join(format!("holdfast-secrets-{}", user.as_raw()))
                };
                let own = top.join(agent);
                match own_folder(&top).and_then(|()| own_folder(&own)) {
                    Ok(()) => return Ok(own),
                    Err(error) => tried.push(format!("{}: {error}", top.display())),
                }
            }
        }
    }
    Err(Reason(format!(
        "files of secrets are kept in memory alone, and there is no folder for that ({}): mount a tmpfs at /run, or name another one in the agent's configuration ([secrets] folder)",
        tried.join("; ")
    )))
}

/// Makes a folder that nobody else can write to, and that others can pass through. In a folder that
/// anybody may write to, somebody may have been first: then it is not used.
fn own_folder(path: &Path) -> io::Result<()> {
    match rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o711)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let folder = open_folder(CWD, path.as_os_str().as_encoded_bytes())?;
    if rustix::fs::fstat(&folder)?.st_uid != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    // The umask took bits away, or another program gave some.
    Ok(rustix::fs::fchmod(&folder, Mode::from_raw_mode(0o711))?)
}

/// Fills the half of a workload's folder in memory that does not count, and makes it the one that
/// does.
fn fill(own: &Path, content: &SealedContent, user: Option<User>) -> io::Result<()> {
    make_folder(own, user)?;
    let home = open_folder(CWD, own.as_os_str().as_encoded_bytes())?;
    let now = rustix::fs::readlinkat(&home, NOW, Vec::new());
    let is_first = now
        .as_ref()
        .is_ok_and(|now| now.as_bytes() == HALVES.first().map_or(&[][..], |half| half.as_bytes()));
    let [first, second] = HALVES;
    let (half, other) = if is_first { (second, first) } else { (first, second) };
    let path = own.join(half);
    folder::remove(&path)?;
    let filled = (|| {
        make_folder(&path, user)?;
        let root = open_folder(home.as_fd(), half.as_bytes())?;
        for (path, bytes) in &content.files {
            write(&root, path, bytes, user)?;
        }
        let _left_over = rustix::fs::unlinkat(&home, NEXT, AtFlags::empty());
        rustix::fs::symlinkat(half, &home, NEXT)?;
        Ok(rustix::fs::renameat(&home, NEXT, &home, NOW)?)
    })();
    let over = if filled.is_ok() { other } else { half };
    folder::remove(&own.join(over))?;
    filled
}

/// Makes a folder in memory that the workload's group can pass through and nobody else can read.
fn make_folder(path: &Path, user: Option<User>) -> io::Result<()> {
    match rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let folder = open_folder(CWD, path.as_os_str().as_encoded_bytes())?;
    open_to(&folder, user)
}

/// Lets the group of a user pass through a folder. It stays the agent's: nobody else writes there.
fn open_to(folder: &OwnedFd, user: Option<User>) -> io::Result<()> {
    let Some(user) = user else { return Ok(()) };
    rustix::fs::fchown(folder, None, Some(rustix::fs::Gid::from_raw(user.gid)))?;
    Ok(rustix::fs::fchmod(folder, Mode::from_raw_mode(0o710))?)
}

fn write(root: &OwnedFd, path: &str, bytes: &[u8], user: Option<User>) -> io::Result<()> {
    let mut at = root.try_clone()?;
    let (folders, last) = path.rsplit_once('/').unwrap_or(("", path));
    for part in folders.split('/').filter(|part| !part.is_empty()) {
        match rustix::fs::mkdirat(&at, part, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        at = open_folder(at.as_fd(), part.as_bytes())?;
        open_to(&at, user)?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&at, last, flags, Mode::from_raw_mode(MODE))?;
    if let Some(User { uid, gid }) = user {
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::fchown(&file, Some(uid), Some(gid))?;
    }
    std::fs::File::from(file).write_all(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn content(files: &[(&str, &str)]) -> SealedContent {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
        let files = files.map(|(path, bytes)| (path, bytes.into())).collect();
        SealedContent { files, ..SealedContent::default() }
    }

    fn listed(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn all_files_change_at_once_and_what_is_left_over_goes() {
        let scratch = tempfile::tempdir().unwrap();
        let own = scratch.path().join("w");
        let is_root = rustix::process::geteuid().is_root();
        let user = is_root.then_some(User { uid: 61_200, gid: 61_201 });
        let now = || std::fs::read_link(own.join(NOW)).unwrap().to_str().unwrap().to_owned();
        let read = |path: &str| std::fs::read_to_string(own.join(NOW).join(path)).ok();
        fill(&own, &content(&[("a", "1"), ("b/c", "1")]), user).unwrap();
        let first = now();
        assert_eq!((read("a"), read("b/c")), (Some("1".into()), Some("1".into())));
        fill(&own, &content(&[("a", "2")]), user).unwrap();
        assert_eq!((read("a"), read("b/c")), (Some("2".into()), None));
        assert_ne!(now(), first);
        assert_eq!(listed(&own), [now(), NOW.to_owned()], "the former half is gone");
        // As after a death in the middle: the half that does not count is begun.
        let other = HALVES.into_iter().find(|half| *half != now()).unwrap();
        std::fs::create_dir_all(own.join(other).join("a")).unwrap();
        std::os::unix::fs::symlink("nowhere", own.join(NEXT)).unwrap();
        fill(&own, &content(&[("a", "3")]), user).unwrap();
        assert_eq!((read("a"), now().as_str()), (Some("3".into()), other));
        let file = std::fs::metadata(own.join(NOW).join("a")).unwrap();
        let folder = std::fs::metadata(own.join(other)).unwrap();
        assert_eq!(file.mode() & 0o7777, MODE);
        if is_root {
            assert_eq!((file.uid(), file.gid()), (61_200, 61_201));
            assert_eq!((folder.uid(), folder.gid(), folder.mode() & 0o7777), (0, 61_201, 0o710));
        }
    }

    #[test]
    fn a_folder_is_taken_only_in_memory_and_of_this_user() {
        let scratch = tempfile::tempdir().unwrap();
        let places = [scratch.path().to_owned(), scratch.path().join("none")];
        let why = memory(&places, "agent").unwrap_err().0;
        assert!(why.contains("is on a disk") && why.contains("none: "), "{why}");
        assert!(why.contains("mount a tmpfs"), "{why}");
        assert!(!scratch.path().join("holdfast-secrets").exists());
        std::os::unix::fs::symlink("/tmp", scratch.path().join("link")).unwrap();
        assert!(own_folder(&scratch.path().join("link")).is_err(), "a link is not followed");
        if rustix::process::geteuid().is_root() {
            let foreign = scratch.path().join("foreign");
            std::fs::create_dir(&foreign).unwrap();
            std::os::unix::fs::chown(&foreign, Some(61_200), None).unwrap();
            let why = own_folder(&foreign).unwrap_err().to_string();
            assert!(why.contains("another user"), "{why}");
        }
    }

    #[test]
    fn links_lead_to_files_and_those_of_a_former_revision_go() {
        let scratch = tempfile::tempdir().unwrap();
        let (home, memory) = (scratch.path().join("w"), scratch.path().join("memory"));
        let own = folder::lay(&home, &[].into(), &[], None).unwrap();
        let link =
            |paths: &[&str]| folder::link(&home, &memory, &paths.iter().copied().collect(), None);
        link(&["a", "b/c"]).unwrap();
        assert_eq!(std::fs::read_link(own.join("b/c")).unwrap(), memory.join("b/c"));
        assert!(home.join("links").exists());
        // A folder where a link was, and a link where a folder was.
        link(&["a/d", "b"]).unwrap();
        assert_eq!(std::fs::read_link(own.join("a/d")).unwrap(), memory.join("a/d"));
        assert_eq!(std::fs::read_link(own.join("b")).unwrap(), memory.join("b"));
        std::fs::write(own.join("mine"), "x").unwrap();
        folder::unlink(&home, &BTreeSet::new()).unwrap();
        assert_eq!(listed(&own), ["a", "mine"], "folders stay");
        assert!(!home.join("links").exists());
        link(&["b"]).unwrap();
        // What the program put in the place of a link stays.
        std::fs::remove_file(own.join("b")).unwrap();
        std::fs::write(own.join("b"), "of the program").unwrap();
        folder::unlink(&home, &BTreeSet::new()).unwrap();
        assert_eq!(std::fs::read_to_string(own.join("b")).unwrap(), "of the program");
        std::fs::create_dir(own.join("full")).unwrap();
        std::fs::write(own.join("full/x"), "of the program").unwrap();
        let refused = link(&["full"]).unwrap_err().to_string();
        assert!(refused.contains("files of the program"), "{refused}");
        // What was there is replaced by a link, as by a configuration file.
        link(&["b"]).unwrap();
        assert!(std::fs::symlink_metadata(own.join("b")).unwrap().is_symlink());
    }
}
