//! What travels on `data` and `ack`.

use serde::{Deserialize, Serialize};

use super::name::StreamName;
use super::ranges::Range;

/// Device → control plane, on `data`: records of one stream, and what of it will not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Wire version.
    pub v: u8,
    /// Which stream.
    pub stream: StreamName,
    /// The first sequence number that this batch answers for; at least 1.
    pub from: u64,
    /// The last one. No record within may come in another batch, unless it stands in a gap.
    pub to: u64,
    /// Why numbers within `from..=to` that are neither in `block` nor in `gaps` are not there;
    /// absent: there are none. Spares a gap for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<GapReason>,
    /// What of this stream will not come, anywhere in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// Records that were asked for again, as they are: one of these numbers may have come before as
    /// a `window` record, and then stays so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fetched: bool,
    /// The device was put back to an earlier state, or copied, after these numbers were given: the
    /// same numbers may stand for other records.
    #[serde(default, skip_serializing_if = "is_false")]
    pub doubt: bool,
    /// The records, as [`super::block`] packs them; empty: none.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    pub block: Vec<u8>,
}

/// Largest batch in bytes, encoded: one batch in flight must not delay a desired state for long.
pub const MAX_BATCH: usize = 256 * 1024;

/// Largest number of records in a batch.
pub const MAX_BATCH_RECORDS: usize = 65_536;

/// Largest number of gaps in a batch.
pub const MAX_BATCH_GAPS: usize = 256;

/// Sequence numbers that will not come, unless they have come already: whatever of them was
/// received stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gap {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
}

/// Why records do not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapReason {
    /// The stream's `ttl` passed before they could be shipped.
    Expired,
    /// The quota of the stream or of the whole buffer was used up.
    Quota,
    /// The policy `thin` dropped every nth.
    Thinned,
    /// `ship: on-change` or a window aggregate stands for them. They are on the device for as long
    /// as its quota and ttl allow, and can be fetched.
    Reduced,
    /// `ship: never`. They are on the device and can be fetched.
    Withheld,
    /// The device's buffer was damaged: some of these numbers may never have been used. Or they
    /// were shipped, the control plane's store was lost, and the device had let go of them. Or the
    /// device was put back to an earlier state, and goes on above what the control plane knows.
    Damaged,
    /// The device's disk took nothing any more.
    DiskFull,
}

impl GapReason {
    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Quota => "quota",
            Self::Thinned => "thinned",
            Self::Reduced => "reduced",
            Self::Withheld => "withheld",
            Self::Damaged => "damaged",
            Self::DiskFull => "disk-full",
        }
    }

    /// True: the device let go of records that it had, or refused them though they have numbers.
    /// False: it may still have them, or does not know whether there were any.
    pub fn is_let_go(self) -> bool {
        self.is_loss() && self != Self::Damaged
    }

    /// True: the records are lost for ever. False: the device may still have them.
    pub fn is_loss(self) -> bool {
        !matches!(self, Self::Reduced | Self::Withheld)
    }
}

impl std::fmt::Display for GapReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Control plane → device, on `ack`: what is stored durably, and where. Not signed: a forged one
/// could lose what a broker that drops messages can lose anyway, or have records sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Wire version.
    pub v: u8,
    /// What is stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acked: Vec<Acked>,
    /// Send no further batch for this many milliseconds; absent: at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hold_ms: u32,
    /// Which data store this is; said to whoever subscribes, and when it becomes another. One that
    /// the device did not know has nothing of what was acknowledged before: what the device still
    /// has is to be sent again, and what it has not to be told as damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<u64>,
    /// The device's history is not the one that the control plane knows (see
    /// `StateReport::history` of the wire): it was put back to an earlier state, or there is a
    /// second one of it. The last entry of the history that was reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<u32>,
    /// With `diverged`: another message with more of `given` follows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// With `diverged`: which numbers the control plane knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Given>,
}

/// Streams told in one acknowledgement.
pub const MAX_GIVEN: usize = 200;

/// How far the numbers of a stream go, as far as the control plane knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Which stream.
    pub stream: StreamName,
    /// The highest number that it has an answer for.
    pub highest: u64,
}

/// A batch that is stored: the same `stream`, `from` and `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acked {
    /// Which stream.
    pub stream: StreamName,
    /// The batch's first number.
    pub from: u64,
    /// Its last.
    pub to: u64,
    /// Absent: stored. Otherwise the batch can never be stored, in words: the device reports it
    /// and does not send it again as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Numbers of this batch that stand for other records at the control plane: everything else of
    /// the batch is stored, and these are not. The device gives what it has of them numbers above
    /// `highest`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflict: Vec<Range>,
    /// With `conflict`: the highest number of the stream that the control plane has an answer for.
    #[serde(default, skip_serializing_if = "is_zero_64")]
    pub highest: u64,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero_64(value: &u64) -> bool {
    *value == 0
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(value: &u32) -> bool {
    *value == 0
}
