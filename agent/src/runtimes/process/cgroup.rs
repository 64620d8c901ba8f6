//! Resource limits by cgroup v2, where the system delegates the controllers to the agent. Where it
//! does not, the reason is reported, so that limits are not dropped silently.
//!
//! See decisions 0036 and 0073.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use holdfast_base::ids::Name;
use holdfast_protocol::workload::Resources;

use crate::runtimes::common::procfs::unless_gone;

/// Controllers that the limits need.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Reasons why there are no control groups for limits.
#[derive(Debug, thiserror::Error)]
pub enum NoCgroups {
    /// No cgroup v2 is mounted.
    #[error("the system has no cgroup v2")]
    NoVersion2,
    /// The system does not offer all controllers to the agent.
    #[error("cgroup v2 offers no {} controller at {} (a hybrid hierarchy, or Delegate=yes is missing from the agent's unit)", .lacking.join(", "), .base.display())]
    NoController {
        /// Controllers that are missing.
        lacking: Vec<&'static str>,
        /// The agent's part of the tree.
        base: PathBuf,
    },
    /// The agent may not change its part of the tree.
    #[error("{} is not delegated to the agent: {source}", .base.display())]
    NotDelegated {
        /// The agent's part of the tree.
        base: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
}

/// Limit of a workload that cannot be set, and why not.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct LimitError {
    /// File with its value, or the group.
    what: String,
    /// Error of the system.
    source: io::Error,
}

/// The agent's part of the control group tree.
#[derive(Debug)]
pub struct Cgroups {
    base: PathBuf,
}

impl Cgroups {
    /// Enables the controllers in the agent's own part of the tree.
    ///
    /// # Errors
    /// The reason why there are no limits.
    pub fn take() -> Result<Self, NoCgroups> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mount = mount_of(&mounts).ok_or(NoCgroups::NoVersion2)?;
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        // A restarted agent may be in the leaf that the one before had moved to.
        let path = path.trim_end_matches("/agent").trim_start_matches('/');
        let cgroups = Self { base: Path::new(mount).join(path) };
        cgroups.enable()?;
        Ok(cgroups)
    }

    fn enable(&self) -> Result<(), NoCgroups> {
        let there = fs::read_to_string(self.base.join("cgroup.controllers")).unwrap_or_default();
        let lacking: Vec<&'static str> = CONTROLLERS
            .into_iter()
            .filter(|wanted| there.split_whitespace().all(|it| it != *wanted))
            .collect();
        if !lacking.is_empty() {
            return Err(NoCgroups::NoController { lacking, base: self.base.clone() });
        }
        let refused = |source| NoCgroups::NotDelegated { base: self.base.clone(), source };
        // Only leaves may hold processes, so the agent moves to a leaf of its own.
        let leaf = self.base.join("agent");
        make(&leaf).map_err(refused)?;
        fs::write(leaf.join("cgroup.procs"), "0").map_err(refused)?;
        for controller in CONTROLLERS {
            fs::write(self.base.join("cgroup.subtree_control"), format!("+{controller}"))
                .map_err(refused)?;
        }
        Ok(())
    }

    /// Creates the workload's group with these limits; returns the file through which a process
    /// enters it.
    ///
    /// # Errors
    /// When a limit cannot be set.
    pub fn prepare(&self, name: &Name, resources: Resources) -> Result<PathBuf, LimitError> {
        let group = self.group(name);
        let set = |file: &str, value: String| {
            fs::write(group.join(file), &value)
                .map_err(|source| LimitError { what: format!("{file} {value}"), source })
        };
        make(&group).map_err(|source| LimitError { what: group.display().to_string(), source })?;
        let or_max = |limit: Option<u64>| limit.map_or("max".into(), |limit| limit.to_string());
        set("memory.max", or_max(resources.memory_bytes))?;
        // Otherwise memory over the limit goes to swap. The file is missing on a kernel without
        // swap accounting.
        if group.join("memory.swap.max").exists() {
            set("memory.swap.max", or_max(resources.memory_bytes.map(|_| 0)))?;
        }
        set("pids.max", or_max(resources.pids.map(u64::from)))?;
        set("cpu.max", cpu_max(resources.cpu_millis))?;
        Ok(group.join("cgroup.procs"))
    }

    /// Lists the processes of the workload's group; empty when there is no group.
    ///
    /// # Errors
    /// When the agent lacks descriptors to look.
    pub fn members(&self, name: &Name) -> io::Result<Vec<u32>> {
        let procs = unless_gone(fs::read_to_string(self.group(name).join("cgroup.procs")))?;
        let procs = procs.unwrap_or_default();
        Ok(procs.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Kills all processes of the workload's group at once. Kernels before 5.14 cannot; there they
    /// are killed one by one.
    pub fn kill(&self, name: &Name) {
        let file = self.group(name).join("cgroup.kill");
        let opened = fs::OpenOptions::new().write(true).open(file);
        let _cannot = opened.and_then(|mut file| file.write_all(b"1"));
    }

    /// Removes the workload's group if it is empty.
    pub fn remove(&self, name: &Name) {
        // Not empty yet, or never made: the next removal takes it.
        let _left = fs::remove_dir(self.group(name));
    }

    fn group(&self, name: &Name) -> PathBuf {
        self.base.join(format!("workload-{name}"))
    }
}

/// Value for `cpu.max`: quota and period in microseconds. The kernel takes no quota below 1 ms, so
/// a share below 10 thousandths of a CPU gets the longest period, 1 s: 5 become "5000 1000000".
fn cpu_max(millis: Option<u32>) -> String {
    match millis.map(u64::from) {
        None => "max 100000".into(),
        Some(millis @ 10..) => format!("{} 100000", millis * 100),
        Some(millis) => format!("{} 1000000", millis.max(1) * 1_000),
    }
}

fn make(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Mount point of cgroup2, from the lines of mountinfo.
fn mount_of(mountinfo: &str) -> Option<&str> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        if right.split(' ').next() != Some("cgroup2") {
            return None;
        }
        left.split(' ').nth(4)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_by_its_type() {
        let text = "30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                    31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:5 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_of(text), Some("/sys/fs/cgroup/unified"));
        assert_eq!(mount_of(""), None);
    }

    #[test]
    fn limits_are_written_as_the_kernel_takes_them() {
        let scratch = tempfile::tempdir().unwrap();
        let cgroups = Cgroups { base: scratch.path().to_owned() };
        let name: Name = "w".parse().unwrap();
        let group = scratch.path().join("workload-w");
        let read = |file: &str| fs::read_to_string(group.join(file)).unwrap();
        let all = || ["memory.max", "memory.swap.max", "pids.max", "cpu.max"].map(read);
        let limited =
            Resources { cpu_millis: Some(250), memory_bytes: Some(64 << 20), pids: Some(32) };

        // A kernel without swap accounting lacks that one file.
        assert_eq!(cgroups.prepare(&name, limited).unwrap(), group.join("cgroup.procs"));
        assert!(!group.join("memory.swap.max").exists());
        fs::write(group.join("memory.swap.max"), "max").unwrap();
        cgroups.prepare(&name, limited).unwrap();
        assert_eq!(all(), ["67108864", "0", "32", "25000 100000"]);
        // Taken away again by the next revision.
        cgroups.prepare(&name, Resources::default()).unwrap();
        assert_eq!(all(), ["max", "max", "max", "max 100000"]);

        for (millis, wanted) in [
            (1, "1000 1000000"),
            (9, "9000 1000000"),
            (10, "1000 100000"),
            (1_500, "150000 100000"),
            (u32::MAX, "429496729500 100000"),
        ] {
            let resources = Resources { cpu_millis: Some(millis), ..Resources::default() };
            cgroups.prepare(&name, resources).unwrap();
            assert_eq!(read("cpu.max"), wanted);
        }
        cgroups.remove(&"never-made".parse().unwrap());
    }

    #[test]
    fn a_groups_processes_are_listed_and_killed_at_once() {
        let scratch = tempfile::tempdir().unwrap();
        let cgroups = Cgroups { base: scratch.path().to_owned() };
        let name: Name = "w".parse().unwrap();
        assert!(cgroups.members(&name).unwrap().is_empty());
        cgroups.kill(&name);
        let group = scratch.path().join("workload-w");
        fs::create_dir(&group).unwrap();
        fs::write(group.join("cgroup.procs"), "12\n345\n").unwrap();
        assert_eq!(cgroups.members(&name).unwrap(), [12, 345]);
        cgroups.kill(&name);
        assert!(!group.join("cgroup.kill").exists(), "a kernel before 5.14");
        fs::write(group.join("cgroup.kill"), "").unwrap();
        cgroups.kill(&name);
        assert_eq!(fs::read_to_string(group.join("cgroup.kill")).unwrap(), "1");
    }
}
