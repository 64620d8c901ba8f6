//! Cleaner of the demo: a separate process that outlives the demo by a moment. It waits until the
//! demo has ended, for whatever reason, kills everything of the demo's folder by process id and
//! removes the folder.
//!
//! See decision 0019.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::end::{End, Outcome};
use crate::harness::processes;

/// Argument that makes this program the keeper of a folder.
pub(super) const KEEP: &str = "--keep";

/// Environment variable of the demo's own processes; its value is the demo's folder.
pub(super) const MARK: &str = "HOLDFAST_DEMO";

/// Environment variable that an agent sets for each workload; its value is the workload's folder.
const WORKLOAD: &str = "HOLDFAST_FOLDER";

/// Longest path of the demo's folder in bytes: it holds sockets, whose paths have at most 107
/// bytes.
const LONGEST: usize = 60;

/// Handle of the keeper process in the demo.
#[derive(Debug)]
pub(super) struct Keeper {
    folder: PathBuf,
    process: Child,
}

impl Keeper {
    /// Creates the folder and starts its keeper.
    pub(super) fn start() -> Outcome<Self> {
        let base = base();
        let trouble = |what: &str, error: std::io::Error| End::Failed(format!("{what}: {error}"));
        let folder = tempfile::Builder::new()
            .prefix("holdfast-demo-")
            // Workloads run as users of their own, and must pass through the folder.
            .permissions(std::fs::Permissions::from_mode(0o711))
            .tempdir_in(&base)
            .map_err(|error| trouble(&format!("no folder in {}", base.display()), error))?;
        let me = std::env::current_exe().map_err(|error| trouble("this program", error))?;
        let process = Command::new(me)
            .arg(KEEP)
            .arg(folder.path())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| trouble("the keeper cannot be started", error))?;
        // From here on the keeper removes the folder.
        Ok(Self { folder: folder.keep(), process })
    }

    /// Returns the folder that everything of the demo is in.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends the keeper, which cleans up. Returns true if nothing is left.
    pub(super) fn clean(&mut self) -> bool {
        drop(self.process.stdin.take());
        let _code = self.process.wait();
        if self.folder.exists() {
            // The keeper itself was killed.
            sweep(&self.folder);
        }
        !self.folder.exists()
    }
}

/// Returns the parent of the demo's folder: `TMPDIR`, unless workloads could not reach it there.
fn base() -> PathBuf {
    let wanted = std::env::temp_dir();
    let passable = |folder: &Path| {
        let mode = std::fs::metadata(folder).map_or(0, |meta| meta.permissions().mode());
        mode & 0o001 != 0
    };
    let as_root = rustix::process::geteuid().is_root();
    let fits = wanted.is_absolute() && wanted.as_os_str().len() <= LONGEST;
    if fits && (!as_root || wanted.ancestors().all(passable)) { wanted } else { "/tmp".into() }
}

/// Runs the keeper: waits until the process at the other end of its standard input has ended, then
/// cleans up.
pub(super) fn keep(folder: &Path) {
    // The demo never writes to this pipe.
    let _closed = std::io::stdin().read_to_end(&mut Vec::new());
    sweep(folder);
}

/// Kills everything of the folder in rounds until nothing is left, then removes it. A process that
/// is just being started is found in the next round.
fn sweep(folder: &Path) {
    let mut sessions = BTreeSet::new();
    let mut groups = BTreeSet::new();
    for _ in 0..200 {
        let left = of_demo(folder, &mut sessions);
        if left.is_empty() && remove(folder) {
            break;
        }
        for pid in left {
            groups.extend(control_group(pid));
            processes::kill(pid);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // Control groups that the agents made, where they were allowed to; now empty.
    for group in groups.iter().rev() {
        let _made_by_another = std::fs::remove_dir(group);
    }
}

fn remove(folder: &Path) -> bool {
    let _again = std::fs::remove_dir_all(folder);
    !folder.exists()
}

/// Returns every live process that the demo or one of its agents started, and agents started by
/// hand on one of its folders, but not a shell that merely stands in the folder.
fn of_demo(folder: &Path, sessions: &mut BTreeSet<u32>) -> Vec<u32> {
    let mut found = Vec::new();
    for pid in processes::all().into_iter().filter(|&pid| pid != std::process::id()) {
        if !processes::alive(pid) {
            continue;
        }
        let session = session(pid);
        if is_workload(pid, folder) {
            // Children that clear their environment are found by the session that this process
            // leads.
            sessions.extend(session);
            found.push(pid);
        } else if is_part(pid, folder) || session.is_some_and(|it| sessions.contains(&it)) {
            found.push(pid);
        }
    }
    found
}

fn read(pid: u32, file: &str) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

fn is_workload(pid: u32, folder: &Path) -> bool {
    let start = format!("{WORKLOAD}={}/", folder.display());
    read(pid, "environ").split(|&byte| byte == 0).any(|entry| entry.starts_with(start.as_bytes()))
}

fn is_part(pid: u32, folder: &Path) -> bool {
    let mark = format!("{MARK}={}", folder.display());
    if read(pid, "environ").split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes()) {
        return true;
    }
    let line = read(pid, "cmdline");
    let mut words = line.split(|&byte| byte == 0);
    let program = words.next().unwrap_or_default();
    let ours = [&b"holdfast"[..], b"holdfast-agent"].iter().any(|name| program.ends_with(name));
    let folder = folder.as_os_str().as_bytes();
    ours && words.any(|word| word.windows(folder.len()).any(|part| part == folder))
}

/// Returns the session id of a process.
fn session(pid: u32) -> Option<u32> {
    let stat = String::from_utf8(read(pid, "stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(3)?.parse().ok()
}

/// Returns the folder of the control group that an agent made for itself or for a workload.
fn control_group(pid: u32) -> Option<PathBuf> {
    let text = String::from_utf8(read(pid, "cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let name = path.rsplit('/').next()?;
    if name != "agent" && !name.starts_with("workload-") {
        return None;
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        right.starts_with("cgroup2 ").then(|| left.split(' ').nth(4))?
    })?;
    Some(Path::new(mount).join(path))
}
