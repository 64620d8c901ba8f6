//! Paths, identity and services that the process runtime works with, and how they are had at the
//! start of the agent.
//!
//! See decision 0079.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_base::ids::Digest;

use super::cgroup::{Cgroups, NoCgroups};
use super::ending::Awaited;
use super::{launcher as launching, register};
use crate::runtimes::common::Common;

/// Processes that a census could not read in time, by id and start time.
pub type Stuck = BTreeSet<(u32, u64)>;

/// Paths, identity and services that the process runtime works with.
#[derive(Debug)]
pub struct Context {
    /// What all runtimes share.
    pub common: Arc<Common>,
    /// Program and first arguments that start the launcher.
    pub launcher: Vec<OsString>,
    /// Control groups for resource limits, or the reason why there are none.
    pub cgroups: Result<Cgroups, NoCgroups>,
    /// Soft limit of open files that the agent was started with; workloads get it back.
    pub open_files: Option<u64>,
    /// Processes whose ends are waited for elsewhere, which the reaper leaves alone.
    pub awaited: Awaited,
    /// Processes that a census could not read in time.
    pub stuck: std::sync::Mutex<Stuck>,
}

impl Context {
    /// Takes hold of everything of the system that the runtime needs. `data`: the data folder.
    pub fn take(common: Arc<Common>, data: &Path) -> Self {
        if let Err(error) = register::enter(&common.agent, data) {
            tracing::warn!(%error, "other agents on this machine cannot be told of this one");
        }
        Self {
            common,
            launcher: launcher(),
            cgroups: Cgroups::take(),
            open_files: launching::raise_open_files(),
            awaited: Awaited::default(),
            stuck: std::sync::Mutex::default(),
        }
    }

    /// Path of an artifact by its digest.
    pub fn artifact(&self, digest: &Digest) -> PathBuf {
        self.artifacts.join(digest.hex())
    }
}

impl std::ops::Deref for Context {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

/// Command line of the launcher: the agent itself; a test may put an emulator before it.
fn launcher() -> Vec<OsString> {
    #[cfg(debug_assertions)]
    if let Ok(line) = std::env::var("HOLDFAST_TEST_LAUNCHER") {
        return line.split_whitespace().map(OsString::from).collect();
    }
    vec![OsString::from("/proc/self/exe")]
}
