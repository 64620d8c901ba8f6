//! Entries of the audit log, and what a verification of it found.
//!
//! See decisions 0169 and 0170.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Result of an action in the audit log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditResult {
    /// The action was done.
    #[default]
    Done,
    /// The action was refused: the caller is not known, or may not do it.
    Refused,
}

impl AuditResult {
    /// True if the action was done.
    pub fn is_done(&self) -> bool {
        *self == Self::Done
    }

    /// Returns the word for the result, `done` or `refused`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

fn one() -> u64 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_one(count: &u64) -> bool {
    *count == 1
}

/// Entry of the audit log: an action of a person, a device or the control plane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// Number of the entry, from 0.
    pub number: u64,
    /// Time of the action, in seconds since 1970; the first one's, where `count` is above 1.
    pub at: u64,
    /// Time of the last of several actions, in seconds since 1970. Absent: it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Number of equal actions that the entry stands for, so that a flood fills no disk.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
    /// Id of the access token, `token ID` (an enrolment token), `device NAME`, `holdfast`, or
    /// `unknown` for a caller that showed nothing valid.
    pub by: String,
    /// Comment of the access token when the entry was written, by which its holder is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_name: Option<Box<str>>,
    /// Address that the request came from. Absent: it was no request, or the address is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Box<str>>,
    /// Id of the request, which its response carries as `X-Request-Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Box<str>>,
    /// Action as a word, such as `device.revoke`.
    pub action: String,
    /// Name or id of the object of the action.
    pub subject: String,
    /// Comment of the access token that is the subject, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_name: Option<Box<str>>,
    /// Revision that was made, if the subject is a workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Result of the action.
    #[serde(default, skip_serializing_if = "AuditResult::is_done")]
    pub result: AuditResult,
    /// sha256 of the object before a change, hexadecimal. Absent: there was none, or it is no
    /// change of a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<str>>,
    /// sha256 of the object after a change, hexadecimal. Absent: there is none, or it is no change
    /// of a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Box<str>>,
    /// Number of entries of another log that went with this action: that of a tenant that was
    /// deleted. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<u64>,
    /// Description of the action, in words; may be empty.
    #[serde(default)]
    pub message: String,
    /// Hash of the chain over all tenants at this entry, hexadecimal. Absent in entries of versions
    /// before the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Box<str>>,
    /// Place of the entry in the chain over all tenants, from 0. It would tell one tenant how much
    /// others do, so it is told to nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub whole_number: Option<u64>,
    /// Hash of the tenant's chain at this entry, hexadecimal: sha256 of the hash before and the
    /// entry. Absent in entries of versions before the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Box<str>>,
}

/// First line of an exported audit log: what is needed to check the lines after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditHead {
    /// Form of the file: `holdfast audit 1`.
    pub format: String,
    /// Tenant whose audit log it is.
    pub tenant: String,
    /// Time of the export, in seconds since 1970.
    pub at: u64,
    /// Public key that the checkpoints are signed with, in base64.
    pub signing_key: String,
    /// Checkpoint behind which earlier entries were cut. Absent: the first entry is the log's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<AuditCheckpoint>,
    /// Signed checkpoints that are kept, the oldest first.
    pub checkpoints: Vec<AuditCheckpoint>,
    /// Number of the entry after the last one.
    pub next: u64,
}

/// Form that [`AuditHead::format`] names.
pub const AUDIT_FORMAT: &str = "holdfast audit 1";

/// Signed checkpoint of a chain of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditCheckpoint {
    /// Number of the entry.
    pub number: u64,
    /// Hash of the chain at the entry, hexadecimal.
    pub hash: String,
    /// Time at which the checkpoint was made, in seconds since 1970.
    pub at: u64,
    /// COSE_Sign1 object over number, hash and time by the control plane's signing key, in base64.
    pub signed: String,
}

/// Standing of a witness against the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Everything that the device keeps agrees with the chain.
    Agrees,
    /// The device keeps a checkpoint that the chain does not have.
    Disagrees,
    /// The device keeps no checkpoint yet.
    HasNone,
    /// The device is not connected, or did not answer.
    Away,
}

/// What one device says about the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Witness {
    /// Name of the device.
    pub device: String,
    /// Standing of the device.
    pub standing: Standing,
    /// Highest number of an entry that the device vouches for. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Reason, in words; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Numbers of witnesses by their standing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WitnessCounts {
    /// Devices of the tenant that may vouch: all that are approved.
    pub of: u64,
    /// Devices that agree.
    pub agree: u64,
    /// Devices that disagree.
    pub disagree: u64,
    /// Devices that keep no checkpoint yet.
    pub none: u64,
    /// Devices that are not connected, or did not answer.
    pub away: u64,
}

/// Extent of a check of the chain over all tenants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WholeCounts {
    /// Number of tenants whose entries were checked.
    pub tenants: u64,
    /// Number of entries that were checked.
    pub entries: u64,
}

/// First wrong place of an audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditFault {
    /// Chain that is wrong: `tenant`, or `whole` for the one over all tenants.
    pub chain: String,
    /// Number of the first entry that is missing or wrong, as far as it can be told; in the chain
    /// over all tenants its place there.
    pub number: u64,
    /// Number of the last entry among which the first wrong one is. Absent: it is `number`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// Text for a person that says what is wrong.
    pub message: String,
}

/// Result of a verification of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// True if nothing wrong was found.
    pub intact: bool,
    /// Time of the verification, RFC 3339.
    pub at: String,
    /// Number of entries that were checked.
    pub entries: u64,
    /// Number of the first entry. Absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Number of the last entry. Absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
    /// Number of entries without hashes, of versions before the chain.
    #[serde(default)]
    pub former: u64,
    /// Number of signed checkpoints that were checked.
    pub checkpoints: u64,
    /// Check of the chain over all tenants. Absent: whoever asked may not see all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<WholeCounts>,
    /// What is wrong, the first wrong entry of each chain and of the witnesses' word. Empty:
    /// nothing.
    #[serde(default)]
    pub faults: Vec<AuditFault>,
    /// What a person should know beside it, such as an announced restore.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Witnesses by their standing. Absent: none was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witnesses: Option<WitnessCounts>,
    /// Witnesses that disagree, and of the others at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Witness>,
}
