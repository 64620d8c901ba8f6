//! Questions that devices answer from the records that they hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A question.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewQuery {
    /// Which stream.
    pub stream: String,
    /// What is said of each group, such as `count, mean(temp), p95(temp)`.
    pub select: String,
    /// Which records count, such as `temp > 30 and (state = "run" or not ok)`; all unless given.
    #[serde(default, rename = "where", skip_serializing_if = "String::is_empty")]
    pub filter: String,
    /// What groups: `device`, labels of devices, paths in records.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Length of a window, such as `5m`; all time is one unless given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub every: String,
    /// Not before: RFC 3339, or a length of time before now such as `24h`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub since: String,
    /// Before: likewise; now unless given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub until: String,
    /// Only devices with these labels.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label_selector: String,
    /// How long to wait for devices that cannot be asked now, such as `1h`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub wait: String,
}

/// How far a question is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueryProgress {
    /// Names the question, for whoever does not want to wait any longer.
    #[serde(default)]
    pub id: String,
    /// Devices that have answered.
    pub answered: usize,
    /// Devices that are asked.
    pub of: usize,
    /// Names of some that have not answered, the first ones.
    #[serde(default)]
    pub missing: Vec<String>,
}

/// A line of a streamed answer: one of both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum QueryLine {
    /// How far it is.
    Progress(QueryProgress),
    /// The answer; the last line.
    Result(QueryResult),
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryResult {
    /// By group, then by window.
    pub rows: Vec<QueryRow>,
    /// How many devices have answered.
    pub answered: usize,
    /// Names of the devices that have not.
    pub missing: Vec<String>,
    /// Why not, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, String>,
    /// What is not whole about the answer, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What it took.
    pub records: QueryRecords,
    /// Bytes on the devices' links.
    pub bytes: QueryBytes,
    /// A quantile is at most this part of itself away from a record's number of its rank.
    pub quantile_error: f64,
}

/// A group, in one window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueryRow {
    /// What groups, by key: text, number, true, false or null.
    pub group: BTreeMap<String, Value>,
    /// When the window begins; null where all time is one.
    pub window: Option<String>,
    /// What was selected, by its name: a number, or null where there is none.
    pub values: BTreeMap<String, Value>,
}

/// Records of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueryRecords {
    /// Looked at.
    pub scanned: u64,
    /// That counted.
    pub matched: u64,
}

/// Bytes of an answer, headers estimated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryBytes {
    /// What the question and its answers took on the devices' links.
    pub crossed: u64,
    /// What shipping the records that were looked at would have cost, packed.
    pub shipping_would_have_cost: u64,
}

/// Which records are to be shipped as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewFetch {
    /// Not before: RFC 3339, or a length of time before now; the oldest unless given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub since: String,
    /// Before: likewise; now unless given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub until: String,
    /// At most so many bytes on the device's disk, the oldest records first; 10485760 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Bytes of a fetch that does not say how many: hours of a busy stream, and no whole buffer over a
/// paid link because of a mistyped time.
pub const FETCH_BYTES: u64 = 10 * 1024 * 1024;

/// What the device will ship.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FetchStarted {
    /// Names the call.
    pub id: String,
    /// Records, in whole blocks.
    pub records: u64,
    /// Their bytes on the device's disk.
    pub bytes: u64,
    /// What they wait for, in words; absent: they are on their way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}
