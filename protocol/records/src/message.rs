//! Messages on the channels `data` and `ack`.
//!
//! See decision 0057.

use serde::{Deserialize, Serialize};

use super::name::StreamName;
use super::ranges::Range;

/// Data records of one stream, and gaps for those that will not come. Device → control plane, on
/// `data`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Wire version, [`holdfast_base::WIRE_VERSION`].
    pub v: u8,
    /// Stream that the records belong to.
    pub stream: StreamName,
    /// First sequence number that the batch accounts for; at least 1.
    pub from: u64,
    /// Last sequence number that the batch accounts for. Records in `from..=to` come in no other
    /// batch, unless their numbers are in a gap here.
    pub to: u64,
    /// Reason why numbers of `from..=to` that are neither in `block` nor in `gaps` are missing;
    /// absent: no number is missing. Spares a gap for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<GapReason>,
    /// Gaps anywhere in the stream, not only in `from..=to`; at most [`MAX_BATCH_GAPS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// True: the records were fetched on demand and are unchanged. A number that came before as a
    /// `window` record keeps that record.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fetched: bool,
    /// True: the device was restored to an earlier state, or copied, after it assigned these
    /// numbers, so that they may stand for other records at the control plane.
    #[serde(default, skip_serializing_if = "is_false")]
    pub doubt: bool,
    /// Data records as [`super::block`] packs them; empty: none.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    pub block: Vec<u8>,
}

/// Largest encoded batch in bytes: a batch in flight must not delay a desired state for long.
pub const MAX_BATCH: usize = 256 * 1024;

/// Most data records in a batch.
pub const MAX_BATCH_RECORDS: usize = 65_536;

/// Most gaps in a batch.
pub const MAX_BATCH_GAPS: usize = 256;

/// Range of sequence numbers whose records will not come. Records that were already received stay
/// valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gap {
    /// First sequence number of the gap.
    pub from: u64,
    /// Last sequence number of the gap.
    pub to: u64,
    /// Reason why the records will not come.
    pub reason: GapReason,
}

/// Reason why data records do not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapReason {
    /// The stream's `ttl` passed before the records could be shipped.
    Expired,
    /// The quota of the stream or of the whole buffer was used up.
    Quota,
    /// The overflow policy `thin` dropped the records, keeping every nth.
    Thinned,
    /// The records are represented by others: under `ship: on-change` or by a window's aggregate.
    /// They stay on the device as long as its quota and ttl allow, and can be fetched.
    Reduced,
    /// The stream has `ship: never`. The records are on the device and can be fetched.
    Withheld,
    /// The records may be lost by damage. Either the device's buffer was damaged, and some of the
    /// numbers may never have been used; or the records were shipped, the control plane's store was
    /// lost, and the device had dropped them; or the device was restored to an earlier state and
    /// continues above the numbers that the control plane knows.
    Damaged,
    /// The device's disk was full and accepted no more data.
    DiskFull,
}

impl GapReason {
    /// Returns the word for the reason on the wire, in the API and on the command line, such as
    /// `disk-full`.
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

    /// Returns true if the device dropped records that it had, or refused records that have
    /// numbers. False: it may still have them, or does not know whether they existed.
    pub fn is_let_go(self) -> bool {
        self.is_loss() && self != Self::Damaged
    }

    /// Returns true if the records are lost for ever, false if the device may still have them.
    pub fn is_loss(self) -> bool {
        !matches!(self, Self::Reduced | Self::Withheld)
    }
}

impl std::fmt::Display for GapReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Batches that are stored durably, and in which data store. Control plane → device, on `ack`. Not
/// signed: a forged message can lose no more than a broker that drops messages, or cause records to
/// be sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Wire version, [`holdfast_base::WIRE_VERSION`].
    pub v: u8,
    /// Batches that are stored or refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acked: Vec<Acked>,
    /// Milliseconds for which the device sends no further batch; absent: 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hold_ms: u32,
    /// Random number of the control plane's data store; told to a device that subscribes, and when
    /// the store becomes another. A store unknown to the device holds nothing that was acknowledged
    /// before: the device sends again what it still has, and reports the rest as gaps with
    /// [`GapReason::Damaged`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<u64>,
    /// Last entry of the reported history (`StateReport::history` of the wire) if it is
    /// not the one that the control plane knows: the device was restored to an earlier state, or a
    /// second copy of it exists. Absent: not diverged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<u32>,
    /// True, with `diverged`: another message with more of `given` follows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// Highest sequence numbers that the control plane knows, with `diverged`; at most
    /// [`MAX_GIVEN`] streams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Given>,
}

/// Most streams in [`Acknowledgement::given`].
pub const MAX_GIVEN: usize = 200;

/// Highest sequence number of a stream that the control plane knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Stream that the number belongs to.
    pub stream: StreamName,
    /// Highest sequence number that is stored or in a gap.
    pub highest: u64,
}

/// Acknowledged batch, identified by its `stream`, `from` and `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acked {
    /// Stream of the batch.
    pub stream: StreamName,
    /// First sequence number of the batch.
    pub from: u64,
    /// Last sequence number of the batch.
    pub to: u64,
    /// Reason, in words, why the batch can never be stored; absent: it is stored. The device
    /// reports it and does not send the batch again unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Sequence numbers of this batch that stand for other records at the control plane. The rest
    /// of the batch is stored; the device gives these records new numbers above `highest`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflict: Vec<Range>,
    /// Highest sequence number of the stream that the control plane knows, with `conflict`; else 0.
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
