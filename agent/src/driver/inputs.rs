//! Inputs of the loop: observations of workloads, events of the link, results of the driver's own
//! tasks, and the time of the next regular check.

use holdfast_base::ids::Name;
use holdfast_protocol::workload::Artifact;
use holdfast_records::{Range, StreamName};
use tokio::sync::mpsc;

use crate::adapters::buffer::{Ready, Summary};
use crate::adapters::clock::uptime_ms;
use crate::adapters::identity::{Identity, IdentityError};
use crate::adapters::intake::Refused;
use crate::adapters::link::LinkEvent;
use crate::core::effect::Observed;
use crate::core::follow::Position;
use crate::core::runtime::{Found, Reason};

/// Interval at which disk, clock, certificate and status socket are checked without any event, in
/// milliseconds.
const HOUSEKEEPING: u64 = 5_000;

/// Results of tasks that the driver itself spawned.
pub(super) enum TaskResult {
    /// Number of a report, and true if the broker took it. The control plane tells on `ack` when it
    /// has stored it.
    ReportTaken(u32, bool),
    /// Result of a renewal: the identity, and true if its certificate was issued.
    Renewed(Box<Result<(Identity, bool), IdentityError>>),
    /// Result of the removal of a workload's folder.
    FolderRemoved(Name, Result<(), Reason>),
    /// Result from the buffer, or of shipping.
    Data(BufferResult),
    /// Records are now numbered above all that the control plane told together with this history
    /// number.
    Renumbered(u32),
    /// Result of a stream that the agent itself fills.
    Source(SourceResult),
    /// Files that are to be downloaded for an image.
    ImageFiles(Vec<Artifact>),
    /// Everything of workloads on the machine.
    Census(std::io::Result<Vec<Found>>),
}

/// Results of tasks for the buffer and shipping.
pub(super) enum BufferResult {
    /// Summary of the buffer. None: it could not be had now.
    Looked(Option<Box<Summary>>),
    /// A batch was made, or there is none of that stream.
    Made(Result<Box<Ready>, StreamName>),
    /// True if the batch of this number has arrived at the broker.
    Sent(u64, bool),
    /// Ledger of the link as it was stored, encoded. None: the buffer could not be read now.
    Ledger(Option<Vec<u8>>),
}

/// Results of tasks for sources.
pub(super) enum SourceResult {
    /// Position at which a log is continued. None: there is none.
    Found(StreamName, Option<Position>),
    /// Numbers of the records of a log, or of the machine, that were stored, or the reason for
    /// which they were not.
    Stored(StreamName, Result<Range, Refused>),
}

/// Sender by which a task tells the loop its result.
pub(super) type Tell = mpsc::Sender<TaskResult>;

/// Everything that the loop waits for beside its parts.
pub(super) struct Inputs {
    pub(super) observed: mpsc::Receiver<Observed>,
    pub(super) links: mpsc::Receiver<LinkEvent>,
    pub(super) results: mpsc::Receiver<TaskResult>,
    /// Time of the next regular check, in milliseconds since the boot.
    pub(super) check_at: u64,
}

impl Inputs {
    /// True if a regular check is due; the next one is then scheduled.
    pub(super) fn is_check_due(&mut self) -> bool {
        let now = uptime_ms();
        let due = now >= self.check_at;
        if due {
            self.check_at = now + HOUSEKEEPING;
        }
        due
    }

    /// Makes the regular check due at once.
    pub(super) fn check_now(&mut self) {
        self.check_at = uptime_ms();
    }
}
