//! What the agent keeps of each workload on disk, and what it sees of it among the processes.
//! See decisions 0008, 0023 and 0115.

use std::sync::Arc;

use holdfast_base::ids::Name;
use holdfast_protocol::workload::WorkloadSpec;
use serde::{Deserialize, Serialize};

/// A process, told apart from every other that ever had its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Process id; also the id of its group and session.
    pub pid: u32,
    /// Start time in clock ticks since the boot, as the kernel gives it.
    pub start: u64,
    /// The boot it belongs to.
    pub boot: String,
    /// Chosen at its start; stands in its environment.
    pub nonce: u64,
}

/// One revision of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Its number.
    pub number: u64,
    /// What it runs.
    pub spec: Arc<WorkloadSpec>,
}

impl Revision {
    /// A nonce for a process of this revision: random, but for its lower half, which tells what
    /// it runs. Numbers alone do not: a control plane that was restored gives them out again.
    pub fn nonce(&self, random: u64) -> u64 {
        (random & !u64::from(u32::MAX)) | u64::from(self.fingerprint())
    }

    /// True when a process with this nonce runs this very revision.
    pub fn gave(&self, nonce: u64) -> bool {
        nonce & u64::from(u32::MAX) == u64::from(self.fingerprint())
    }

    fn fingerprint(&self) -> u32 {
        // FNV-1a: these bytes are the agent's own, nobody gains by a collision.
        let bytes = serde_cbor::to_vec(&*self.spec).unwrap_or_default();
        let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619);
        bytes.iter().fold(2_166_136_261, mix)
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// While nobody could see how: the agent was away.
    Unseen,
}

impl Exit {
    /// True for code 0 alone.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with code {code}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "was ended by signal {signal} ({name})"),
                None => write!(f, "was ended by signal {signal}"),
            },
            Self::Unseen => write!(f, "ended while the agent was away"),
        }
    }
}

/// The names of the signals by number, from 1; those of Linux but on MIPS and Alpha.
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

fn signal_name(signal: i32) -> Option<&'static str> {
    let at = usize::try_from(signal).ok()?.checked_sub(1)?;
    SIGNALS.get(at).copied()
}

/// What is stored of a workload: enough to adopt or restart it without any link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The revision that was started last.
    pub current: Option<Revision>,
    /// Its process, if it was not seen to end.
    pub instance: Option<Instance>,
    /// Starts after the first, of the current revision.
    pub restarts: u32,
    /// The current revision was seen to work.
    pub proven: bool,
    /// The last revision that was seen to work before the current one; kept until the current
    /// one is proven, so that there is a way back.
    pub previous: Option<Revision>,
    /// A revision that failed and was left for `previous`, and why.
    pub rejected: Option<Rejected>,
    /// The current revision ended for good: its policy does not start it again.
    pub ending: Option<Exit>,
    /// It was stopped because it is paused, and has not been started since. Followed where no
    /// desired state can be read: what an operator stopped does not start on a guess.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// A revision that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Which.
    pub revision: Revision,
    /// Why, in words.
    pub why: String,
}

/// A process of this agent, found on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Whose, by its environment or its record.
    pub workload: Name,
    /// Its revision, by its environment or its record.
    pub revision: u64,
    /// The process.
    pub instance: Instance,
    /// It leads its session: a main process, not a child of one.
    pub leader: bool,
    /// It is a launcher that has not become the workload yet.
    pub at_gate: bool,
}
