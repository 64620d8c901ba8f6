//! Saved state of a workload on disk, and how runs of it end.
//!
//! See decisions 0008, 0023, 0115 and 0162.

use std::sync::Arc;

use holdfast_base::ids::Name;
use holdfast_protocol::workload::WorkloadSpec;
use serde::{Deserialize, Serialize};

use super::runtime::{Handle, Known};
use super::secrets::Secrets;

/// Revision of a workload with its specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Number of the revision, as the control plane gave it; not unique after a restore.
    pub number: u64,
    /// Specification of the workload in this revision.
    pub spec: Arc<WorkloadSpec>,
    /// Secrets of the revision, sealed. None: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Arc<Secrets>>,
}

impl Revision {
    /// Makes a nonce for an instance of this revision: random, but for its lower half, which is a
    /// fingerprint of the specification. Revision numbers are not enough: a control plane that was
    /// restored gives them out again.
    pub fn nonce(&self, random: u64) -> u64 {
        (random & !u64::from(u32::MAX)) | u64::from(self.fingerprint())
    }

    /// True if an instance with this nonce runs this very specification.
    pub fn gave(&self, nonce: u64) -> bool {
        nonce & u64::from(u32::MAX) == u64::from(self.fingerprint())
    }

    /// Epoch and version of the secrets, if there are any.
    pub(crate) fn said(&self) -> Option<(u64, u64)> {
        self.secrets.as_deref().map(Secrets::said)
    }

    /// True if the control plane means the same by both. Secrets that were only sealed anew are the
    /// same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.number, &self.spec, self.said()) == (other.number, &other.spec, other.said())
    }

    fn fingerprint(&self) -> u32 {
        // FNV-1a: these bytes are the agent's own, nobody gains by a collision.
        let bytes = serde_cbor::to_vec(&*self.spec).unwrap_or_default();
        let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619);
        bytes.iter().fold(2_166_136_261, mix)
    }
}

/// End of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// The process ended with this exit code.
    Code(i32),
    /// The process was ended by this signal.
    Signal(i32),
    /// The process ended while the agent was not running, so that nobody saw how.
    Unseen,
    /// The kernel ended it because it reached its limit of memory.
    OutOfMemory,
    /// Somebody other than the agent stopped it at its engine; it ended with this code.
    ByHand(i32),
}

impl Exit {
    /// True for exit code 0 alone.
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
            Self::OutOfMemory => {
                write!(f, "was ended by the kernel: it reached its limit of memory")
            }
            Self::ByHand(code) => {
                write!(f, "was stopped at the engine by somebody else, and ended with code {code}")
            }
        }
    }
}

/// Names of the signals by number, from 1, on Linux except MIPS and Alpha.
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

/// Saved state of a workload: enough to adopt or restart it without any link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedWorkload {
    /// The revision that was started last.
    pub current: Option<Revision>,
    /// Instance of the current revision, unless it was seen to end.
    pub instance: Option<Handle>,
    /// Number of starts of the current revision after its first, without those that an operator
    /// asked for.
    pub restarts: u32,
    /// True if the current revision was seen to work: its probe succeeded, or it ran for long
    /// enough.
    pub proven: bool,
    /// Last revision that was seen to work before the current one; kept until the current one is
    /// proven, so that the agent can go back to it.
    pub previous: Option<Revision>,
    /// Revision that failed and was given up for `previous`, with the reason.
    pub rejected: Option<Rejected>,
    /// End of the current revision that its restart policy does not follow by another start.
    pub ending: Option<Exit>,
    /// True if the workload was stopped because it is paused, and has not been started since.
    /// Decides where no desired state can be read: what an operator stopped is not started on a
    /// guess.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

impl SavedWorkload {
    /// Instance that this state of `workload` names, if it names one: what a census is asked with.
    pub fn known(&self, workload: &Name) -> Option<Known> {
        Some(Known {
            workload: workload.clone(),
            revision: self.current.as_ref().map_or(0, |current| current.number),
            instance: self.instance.clone()?,
        })
    }
}

/// Revision that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The revision given up.
    pub revision: Revision,
    /// Reason, as a sentence for an operator.
    pub why: String,
}
