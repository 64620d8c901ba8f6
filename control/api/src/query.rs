//! Queries that devices answer from the records in their buffers, and fetches of such records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A query over the records of a stream, answered by the devices that hold them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewQuery {
    /// Name of the stream.
    pub stream: String,
    /// Functions computed for each group, such as `count, mean(temp), p95(temp)`.
    pub select: String,
    /// Condition that records must meet, such as `temp > 30 and (state = "run" or not ok)`.
    /// Default: all records count.
    #[serde(default, rename = "where", skip_serializing_if = "String::is_empty")]
    pub filter: String,
    /// Keys of the groups, separated by commas: `device`, labels of devices, paths in records.
    /// Default: one group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Length of a window, such as `5m`. Default: one window for the whole time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub every: String,
    /// Earliest time of the records, RFC 3339 or a length of time before now such as `24h`.
    /// Default: the oldest record.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub since: String,
    /// Time before which the records lie, RFC 3339 or a length of time before now. Default: now.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub until: String,
    /// Label selector of the devices to ask. Default: every device.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label_selector: String,
    /// Time to wait for devices that cannot be asked now, such as `1h`; at most 7 days. Default:
    /// none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub wait: String,
}

/// Progress of a query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueryProgress {
    /// Id of the query. `POST /api/v1/query/{id}/end` with it ends the waiting.
    #[serde(default)]
    pub id: String,
    /// Number of devices that have answered.
    pub answered: usize,
    /// Number of devices that the query asks.
    pub of: usize,
    /// Names of the first devices that have not answered, at most 3.
    #[serde(default)]
    pub missing: Vec<String>,
}

/// One line of the streamed response to a query: either progress or the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum QueryLine {
    /// Progress so far.
    Progress(QueryProgress),
    /// Result of the query, the last line.
    Result(QueryResult),
}

/// Result of a query.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryResult {
    /// Rows, ordered by group and then by window.
    pub rows: Vec<QueryRow>,
    /// Number of devices that have answered.
    pub answered: usize,
    /// Names of the devices that have not answered.
    pub missing: Vec<String>,
    /// Reasons in words why devices have not answered, by device name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, String>,
    /// Notes, in words, on what is incomplete about the result; at most 20, and the number of those
    /// left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Number of records that the devices examined.
    pub records: QueryRecords,
    /// Bytes that the query took on the devices' links.
    pub bytes: QueryBytes,
    /// Bound of a quantile's relative error: 0.01 means that it is within 1 % of the value of the
    /// record with that rank.
    pub quantile_error: f64,
}

/// One row of a query's result: a group in one window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueryRow {
    /// Values of the group's keys, by key: text, number, true, false or null.
    pub group: BTreeMap<String, Value>,
    /// Time at which the window begins. Null: there is one window for the whole time.
    pub window: Option<String>,
    /// Results by function, such as `mean(temp)`: a number, or null where there is none.
    pub values: BTreeMap<String, Value>,
}

/// Number of records that a query read and used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueryRecords {
    /// Records that were read.
    pub scanned: u64,
    /// Records that met the condition.
    pub matched: u64,
}

/// Bytes of a query on the devices' links; protocol headers are estimated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryBytes {
    /// Bytes that the query and its answers took on the devices' links.
    pub crossed: u64,
    /// Bytes that shipping the examined records would have taken, compressed.
    pub shipping_would_have_cost: u64,
}

/// Records that a device should ship unreduced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewFetch {
    /// Earliest time of the records, RFC 3339 or a length of time before now. Default: the oldest
    /// record.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub since: String,
    /// Time before which the records lie, RFC 3339 or a length of time before now. Default: now.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub until: String,
    /// Bound on the records' size on the device's disk in bytes; the oldest records are taken
    /// first. Default: 10485760 (10 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Default bound of a fetch in bytes: hours of a busy stream, but not a whole buffer over a paid
/// link because of a mistyped time.
pub const FETCH_BYTES: u64 = 10 * 1024 * 1024;

/// Records that the device will ship after a fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FetchStarted {
    /// Id of the call to the device.
    pub id: String,
    /// Number of records, in whole blocks.
    pub records: u64,
    /// Size of the records on the device's disk in bytes.
    pub bytes: u64,
    /// Reason why the records wait, in words. Absent: they are on their way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}
