//! User and groups that a workload runs as. Names are looked up in `/etc/passwd` and `/etc/group`
//! alone: a static program cannot load the system's other name services.
//!
//! See decisions 0015, 0036 and 0071.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use holdfast_base::collect;
use holdfast_base::ids::Name;

use super::procfs;

/// A user with its primary group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct User {
    /// Number of the user.
    pub uid: u32,
    /// Number of the primary group.
    pub gid: u32,
}

/// Name of the folder that belongs to a workload, within its folder.
pub const FILES: &str = "files";

/// Range of users for workloads that name none: systemd's range for dynamic users, which no account
/// has.
const OWN: std::ops::Range<u32> = 61_184..65_520;

/// Folder in which systemd keeps a file for each dynamic user that it gave to a service.
const SYSTEMDS: &str = "/run/systemd/dynamic-uid";

/// Reasons why a workload cannot run as the user that it names.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The user has no line, and is no number.
    #[error("user {0:?}: not in /etc/passwd")]
    Unknown(String),
    /// Only root can run processes as others.
    #[error("user {0}: the agent is not root and cannot run as another")]
    NotRoot(u32),
}

/// Resolves the user that a workload runs as. `None` means the agent's own user, when the agent is
/// not root.
///
/// # Errors
/// When there is no such user, or the agent may not become it.
pub fn resolve(
    wanted: Option<&str>,
    workload: &Name,
    workloads: &Path,
) -> Result<Option<User>, UserError> {
    let me = rustix::process::geteuid().as_raw();
    let user = match wanted {
        None if me == 0 => return Ok(Some(own(workload, workloads))),
        None => return Ok(None),
        Some(text) => look_up(text, &table("/etc/passwd"))
            .map(|(user, _)| user)
            .ok_or_else(|| UserError::Unknown(text.to_owned()))?,
    };
    if me == 0 {
        Ok(Some(user))
    } else if user.uid == me {
        Ok(None)
    } else {
        Err(UserError::NotRoot(user.uid))
    }
}

/// Returns the supplementary groups of a user that has a line in `/etc/passwd`, by `/etc/group`, as
/// a login would. Empty unless the agent is root: only root can set them.
pub fn groups(wanted: Option<&str>) -> Vec<u32> {
    let Some(wanted) = wanted.filter(|_| rustix::process::geteuid().is_root()) else {
        return Vec::new();
    };
    match look_up(wanted, &table("/etc/passwd")) {
        Some((user, Some(name))) => groups_of(&name, user.gid, &table("/etc/group")),
        _ => Vec::new(),
    }
}

/// Longest table of users or groups that is read, in bytes.
const TABLE: u64 = 4 << 20;
/// Most groups of a process that the kernel takes (`NGROUPS_MAX`).
const GROUPS: usize = 65_536;

/// Reads a table of `/etc`; empty where there is none. Names in it need not be UTF-8.
fn table(path: &str) -> String {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path);
    let _as_far_as_it_goes = opened.and_then(|file| file.take(TABLE).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the user's own group and every group that lists it as a member, each once.
fn groups_of(name: &str, own: u32, group: &str) -> Vec<u32> {
    let mut groups = vec![own];
    for line in group.lines() {
        let mut fields = line.split(':');
        let (_, _, Some(gid), Some(members)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if let Ok(gid) = gid.trim().parse()
            && members.split(',').any(|member| member.trim() == name)
            && !groups.contains(&gid)
            && groups.len() < GROUPS
        {
            groups.push(gid);
        }
    }
    groups
}

/// Finds a user by name or number; returns it with its name, if it has a line. A number without a
/// line is its own group.
fn look_up(text: &str, passwd: &str) -> Option<(User, Option<String>)> {
    let number: Option<u32> = text.parse().ok();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        let (Some(name), _, Some(uid), Some(gid)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else { continue };
        if name == text || number == Some(uid) {
            return Some((User { uid, gid }, Some(name.to_owned())));
        }
    }
    number.map(|uid| (User { uid, gid: uid }, None))
}

/// True for a user that can be a workload's own: in systemd's range of dynamic users, and not held
/// by systemd for a service.
pub fn is_own(user: u32) -> bool {
    OWN.contains(&user) && !Path::new(SYSTEMDS).join(user.to_string()).exists()
}

/// Returns the user that owns each workload's folder of files.
///
/// # Errors
/// When the folders cannot be listed.
pub fn owners(workloads: &Path) -> io::Result<BTreeMap<Name, u32>> {
    let mut owners = BTreeMap::new();
    for entry in std::fs::read_dir(workloads)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A folder that is not laid out yet: nothing runs in it.
        let Some(owner) = owner(workloads, &name) else { continue };
        owners.insert(name, owner);
    }
    Ok(owners)
}

/// Returns the user that owns one workload's folder of files; `None` when there is none.
pub fn owner(workloads: &Path, name: &Name) -> Option<u32> {
    let files = workloads.join(name.as_str()).join(FILES);
    std::fs::symlink_metadata(files).ok().map(|meta| meta.uid())
}

/// Chooses a user of the workload's own: the owner of its folder if there is one, otherwise a
/// number hashed from its name and path (there may be other agents), moved on until no other
/// workload's folder belongs to it and no process runs as it.
fn own(workload: &Name, workloads: &Path) -> User {
    let owners = owners(workloads).unwrap_or_default();
    if let Some(&uid) = owners.get(workload).filter(|uid| OWN.contains(uid)) {
        return User { uid, gid: uid };
    }
    let pids = procfs::pids().unwrap_or_default();
    let running = collect::set(pids.into_iter().filter_map(procfs::user));
    let size = OWN.end - OWN.start;
    let path = workloads.as_os_str().as_encoded_bytes();
    let bytes = path.iter().chain(workload.as_str().as_bytes());
    let hash = bytes
        .fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619));
    let first = hash % size;
    let is_free = |uid: &u32| {
        is_own(*uid) && !running.contains(uid) && owners.values().all(|owner| owner != uid)
    };
    let uid = (0..size)
        .map(|step| OWN.start + (first + step) % size)
        .find(is_free)
        .unwrap_or(OWN.start + first);
    User { uid, gid: uid }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:w:/:/bin/false\nbroken\n";
        let web = Some((User { uid: 33, gid: 34 }, Some("web".to_owned())));
        assert_eq!(look_up("web", passwd), web);
        assert_eq!(look_up("33", passwd), web);
        assert_eq!(look_up("4000", passwd), Some((User { uid: 4000, gid: 4000 }, None)));
        assert_eq!(look_up("nobody-here", passwd), None);
    }

    #[test]
    fn groups_are_those_of_a_login() {
        let group = "root:x:0:\nweb:x:34:\ndialout:x:20:pi,web\nvideo:x:44: web , pi\n\
                     webs:x:50:webmaster\nbroken:x\nodd:x:no:web\ntwice:x:20:web\ni2c:x:998:web";
        assert_eq!(groups_of("web", 34, group), [34, 20, 44, 998]);
        assert_eq!(groups_of("nobody", 9, group), [9]);
        assert_eq!(groups_of("web", 34, ""), [34]);
    }

    #[test]
    fn a_workload_without_user_gets_one_that_no_account_has() {
        let name = "hello".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let user = own(&name, folder.path());
        assert!(OWN.contains(&user.uid));
        assert_eq!(user, own(&name, folder.path()));
    }

    #[test]
    fn a_user_that_somebody_has_is_nobody_elses() {
        let scratch = tempfile::tempdir().unwrap();
        let name: Name = "hello".parse().unwrap();
        let user = own(&name, scratch.path());
        // Its folder tells from then on, whatever its name would.
        let files = scratch.path().join("hello").join(FILES);
        std::fs::create_dir_all(&files).unwrap();
        if std::os::unix::fs::chown(&files, Some(61_400), Some(61_400)).is_ok() {
            assert_eq!(own(&name, scratch.path()).uid, 61_400);
            std::os::unix::fs::chown(&files, Some(user.uid), None).unwrap();
            let owners = owners(scratch.path()).unwrap();
            assert_eq!(owners, BTreeMap::from([(name, user.uid)]));
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let another = own(&"hello".parse().unwrap(), elsewhere.path());
        assert_ne!(another, user, "two agents on a machine");
    }
}
