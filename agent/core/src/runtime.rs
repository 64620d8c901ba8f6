//! Words between the core and the runtimes: how an instance of a workload is known, what is found of
//! it, and why it cannot be prepared.
//!
//! A runtime makes something that can be run, in two steps: it prepares an instance that can be
//! identified and does not run yet, and starts it once its handle is stored. Processes do so by a
//! launcher at a gate, containers by their engine's create and start.
//!
//! See decision 0149.

use std::borrow::Cow;

use holdfast_base::ids::{Digest, Name};
use holdfast_protocol::workload::Stop;
use serde::{Deserialize, Serialize};

/// Kind of a runtime, as a stable word. A word and no number in a list: a saved state that names a
/// runtime of another build of the agent can still be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuntimeKind(Cow<'static, str>);

impl RuntimeKind {
    /// Runtime of processes of this machine.
    pub const PROCESS: Self = Self::new("process");
    /// Runtime of containers, and of groups of them, of this machine's engine.
    pub const CONTAINER: Self = Self::new("container");

    /// Makes a kind from its word.
    pub const fn new(word: &'static str) -> Self {
        Self(Cow::Borrowed(word))
    }
}

impl std::fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Instance of a workload, told apart from every other that there ever was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    /// Runtime that the instance is of.
    pub runtime: RuntimeKind,
    /// Identity of the instance in the words of its runtime, which nobody else reads.
    pub id: String,
    /// Random number that was chosen for the instance: see [`super::saved::Revision::nonce`]. The
    /// runtime puts it where it finds it again without any saved state.
    pub nonce: u64,
}

impl Handle {
    /// Number of the run in reports: the random half of the nonce. Two runs in a row of a workload
    /// have different numbers.
    pub fn run(&self) -> u32 {
        u32::try_from(self.nonce >> 32).unwrap_or(0)
    }
}

/// Part that something found plays in its workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instance that runs, such as a process that leads its session, or a container.
    Main,
    /// Instance that is prepared and was not started, such as a launcher at its gate. A runtime says
    /// so of an instance that a saved state names only if it is certain: such a job is started again
    /// although its policy is `never`.
    Prepared,
    /// Anything else that belongs to the workload, such as a child of a main process.
    Part,
}

/// Part of a workload, found on the machine by a census.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Workload that it belongs to, by what is written on it or the saved state.
    pub workload: Name,
    /// Revision number, by what is written on it or the saved state; 0: not known, or a probe.
    pub revision: u64,
    /// Instance as its runtime identifies it.
    pub instance: Handle,
    /// Part that it plays.
    pub role: Role,
    /// Order of the beginnings within one runtime: the first of several main parts of an instance is
    /// the one that was started, the others are its descendants.
    pub order: (u64, u64),
}

impl Found {
    /// True for an instance that runs.
    pub fn is_main(&self) -> bool {
        self.role == Role::Main
    }
}

/// Instance that a saved state names. Its runtime knows it again even if everything that was written
/// on it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Workload of the saved state.
    pub workload: Name,
    /// Revision number of the saved state; 0: none.
    pub revision: u64,
    /// Instance that was saved.
    pub instance: Handle,
}

/// Way in which an instance is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// The workload is asked to end. The core waits for the grace, and then asks for [`Halt::Kill`].
    Ask(Stop),
    /// The instance is ended without being asked.
    Kill,
}

/// Sentence for an operator about something that failed outside of the core.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Reason(pub String);

impl Reason {
    /// Makes a reason of what an error says.
    pub fn of(error: &dyn std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Reason for which an instance is not prepared, by what is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPrepared {
    /// The revision can never start as it is written (such as an unknown user).
    #[error("{0}")]
    Revision(Reason),
    /// The machine is in trouble, such as a full disk: the same revision may start later.
    #[error("{0}")]
    Machine(Reason),
    /// The secrets of the revision cannot be opened, or not be given to it.
    #[error("{0}")]
    Secrets(Reason),
    /// An artifact that was taken to be on disk is not any more.
    #[error("artifact {0} is gone from the disk: it is fetched again")]
    Artifact(Digest),
}
