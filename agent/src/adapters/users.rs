//! Who a workload runs as. Names are looked up in `/etc/passwd` alone: a static program cannot
//! load the system's other name services.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use holdfast_protocol::ids::Name;

/// A user and its main group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct User {
    /// Number of the user.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
}

/// Users of workloads that name none: systemd's range for dynamic users, which no account has.
const OWN: std::ops::Range<u32> = 61_184..65_520;

/// Who runs this workload. None: whoever the agent is (it is not root).
///
/// # Errors
/// In words, when there is no such user, or the agent may not become it.
pub fn resolve(
    wanted: Option<&str>,
    workload: &Name,
    workloads: &Path,
) -> Result<Option<User>, String> {
    let me = rustix::process::geteuid().as_raw();
    let user = match wanted {
        None if me == 0 => return Ok(Some(own(workload, workloads))),
        None => return Ok(None),
        Some(text) => {
            let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
            look_up(text, &passwd).ok_or_else(|| format!("user {text:?}: not in /etc/passwd"))?
        }
    };
    if me == 0 {
        Ok(Some(user))
    } else if user.uid == me {
        Ok(None)
    } else {
        Err(format!("user {}: the agent is not root and cannot run as another", user.uid))
    }
}

fn look_up(text: &str, passwd: &str) -> Option<User> {
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
            return Some(User { uid, gid });
        }
    }
    number.map(|uid| User { uid, gid: uid })
}

/// A number of the workload's own: the owner of its folder if it has one, else one by its name
/// that no other workload's folder belongs to.
fn own(workload: &Name, workloads: &Path) -> User {
    let owner = |name: &std::ffi::OsStr| {
        let folder = workloads.join(name).join(super::folder::FILES);
        std::fs::symlink_metadata(folder).ok().map(|meta| meta.uid())
    };
    if let Some(uid) = owner(workload.as_str().as_ref()).filter(|uid| OWN.contains(uid)) {
        return User { uid, gid: uid };
    }
    let taken: Vec<u32> = std::fs::read_dir(workloads)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name() != workload.as_str())
        .filter_map(|entry| owner(&entry.file_name()))
        .collect();
    let size = OWN.end - OWN.start;
    let hash = workload
        .as_str()
        .bytes()
        .fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
    let first = hash % size;
    let uid = (0..size)
        .map(|step| OWN.start + (first + step) % size)
        .find(|uid| !taken.contains(uid))
        .unwrap_or(OWN.start + first);
    User { uid, gid: uid }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:w:/:/bin/false\nbroken\n";
        assert_eq!(look_up("web", passwd), Some(User { uid: 33, gid: 34 }));
        assert_eq!(look_up("33", passwd), Some(User { uid: 33, gid: 34 }));
        assert_eq!(look_up("4000", passwd), Some(User { uid: 4000, gid: 4000 }));
        assert_eq!(look_up("nobody-here", passwd), None);
    }

    #[test]
    fn a_workload_without_user_gets_one_that_no_account_has() {
        let name = "hello".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let user = own(&name, folder.path());
        assert!(OWN.contains(&user.uid));
        assert_eq!(user, own(&name, folder.path()));
    }
}
