//! Streams, their records and ledgers, and documents about data on devices.
//!
//! See decision 0092.

use std::collections::BTreeMap;

use holdfast_records::{GapReason, Range, RangeSet};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A document that is not a workload, such as a `Stream` or a `Secret`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DataPolicy)]
pub struct Policy {
    /// Always `holdfast/v1`.
    pub api_version: String,
    /// Kind of the document, such as `Stream`.
    pub kind: String,
    /// Name and labels of the document.
    pub metadata: super::document::Metadata,
    /// Specification as it was applied; secrets are left out.
    pub spec: Value,
    /// Devices on which the document applies, and problems with it.
    pub status: PolicyStatus,
}

/// Effect of a document on devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DataPolicyStatus)]
pub struct PolicyStatus {
    /// Number of devices that should follow the document.
    pub devices: u64,
    /// Names of the first of these devices, at most 20.
    #[serde(default)]
    pub names: Vec<String>,
    /// Number of devices that have applied the document as it is now.
    pub applied: u64,
    /// Number of devices with a problem. `Stream`: devices that report that a stream does not
    /// follow it. `LinkBudget`: devices on which traffic waits for the budget. `Notification`: 1
    /// while its receiver is not reached. `DevicePolicy`: devices that are away unexpectedly.
    pub problems: u64,
    /// For a `Stream`: number of streams on these devices that follow the document.
    #[serde(default)]
    pub streams: u64,
    /// Ways in which the document does less than one may expect, in words: a pattern that matches
    /// no stream, streams that follow a narrower document, devices on which another budget applies.
    #[serde(default)]
    pub misfits: Vec<String>,
    /// For a `Notification`: state of the deliveries to its receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<super::alarms::Delivery>,
    /// For a `DevicePolicy`: devices to which it applies, counted by their absence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absence: Option<super::absence::PolicyAbsence>,
    /// For a `Secret` or `Config`: size and digest of its values, and the documents that use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<PolicyValues>,
}

/// Values of a `Secret` or `Config`, without the values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DataPolicyValues)]
pub struct PolicyValues {
    /// Number of keys.
    pub keys: u64,
    /// Number of bytes of all values.
    pub bytes: u64,
    /// Number that changes when a value does.
    pub revision: u64,
    /// For a `Config`: SHA-256 of keys and values, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Documents that use values of it, such as `workload pump`, at most 20.
    #[serde(default)]
    pub used_by: Vec<String>,
    /// Number of documents that use values of it.
    #[serde(default)]
    pub users: u64,
}

/// Effect of a document on one of its devices.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DataPolicyDevice)]
pub struct PolicyDevice {
    /// Name of the device.
    pub device: String,
    /// True when the device is approved and online.
    pub online: bool,
    /// True when the device has applied the document as it is now.
    pub applied: bool,
    /// For a `Stream`: streams of the device that the document matches, the first 50.
    #[serde(default)]
    pub streams: Vec<PolicyStream>,
    /// Number of streams that the document matches, also those that are not listed.
    #[serde(default)]
    pub stream_count: u64,
    /// For a `LinkBudget`: traffic of the device's link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// For a `Secret` or `Config`: values that workloads of the device use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<PolicyValue>,
}

/// Value of a `Secret` or `Config` that a workload of a device uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DataPolicyValue)]
pub struct PolicyValue {
    /// Name of the workload.
    pub workload: String,
    /// Key of the value.
    pub key: String,
    /// First eight digits of the digest of the value that the device should have.
    pub sha256: String,
    /// First eight digits of the digest of the value that the device has. Absent: it has none yet,
    /// or it is not known which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has: Option<String>,
}

/// A stream on a device that a `Stream` document matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DataPolicyStream)]
pub struct PolicyStream {
    /// Name of the stream.
    pub stream: String,
    /// Name of the document that the stream follows instead: its pattern is narrower, or its name
    /// comes first. Absent: the stream follows this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden_by: Option<String>,
    /// Problem with following the document, in the device's words. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Traffic of a device's link in the present period of its link budget, or on the present day
/// without one. Both directions count, and protocol headers are estimated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Name of the `LinkBudget` that applies. Absent: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// Bytes that the budget allows in the period. Absent: there is no budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Length of the period: `day` or `month`, in UTC.
    pub period: String,
    /// Time at which the period began.
    pub since: String,
    /// Time at which the period ends.
    pub ends: String,
    /// Time at which the device reported these figures. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Seconds over which the rate for the forecasts was measured, up to about an hour. Absent:
    /// less than ten minutes were measured, and there is no forecast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_seconds: Option<u64>,
    /// Bytes that count against the budget so far.
    pub used: u64,
    /// Bytes that will count against the budget by the end of the period, at the rate of the last
    /// hour. Absent: no rate is known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<u64>,
    /// Comparison of the traffic with the budget.
    pub fits: Fits,
    /// Traffic by class.
    pub classes: Vec<LinkClass>,
}

/// One class of traffic on a link, in the present period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkClass {
    /// Name of the class: `control`, `events`, `data`, `logs` or `artifacts`.
    pub class: String,
    /// Bytes that the device sent.
    pub sent: u64,
    /// Bytes that the device received.
    pub received: u64,
    /// Bytes that count against the budget: sent and received, weighted by the cost of the network
    /// interface.
    pub used: u64,
    /// Bytes of the budget that the class may use. Absent: there is no budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<u64>,
    /// Bytes that will count by the end of the period, at the rate of the last hour. Absent: no
    /// rate is known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<u64>,
    /// Comparison of the traffic with the class's share.
    pub fits: Fits,
    /// Kind of waiting. Absent: the class does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<LinkWait>,
    /// Time at which the class continues, given when `waits` is `until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_until: Option<String>,
}

/// Comparison of a link's traffic with its budget: `no-budget`, `fits`, `short` (at the rate of the
/// last hour the budget will not last until the end of the period), `used-up` (nothing is left, and
/// nothing waits), or `waits` (traffic waits for the budget).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fits {
    /// The link has no budget.
    NoBudget,
    /// The traffic fits, also at the rate of the last hour.
    Fits,
    /// At the rate of the last hour the budget will not last until the end of the period.
    Short,
    /// Nothing of the budget is left, and nothing waits: control traffic is never held back.
    UsedUp,
    /// Traffic waits: what is due of the budget by now is used, or too little is left.
    Waits,
}

/// Time for which a class of traffic waits: `little-by-little` (it continues as more of its share
/// becomes due), `until` (the time in `waitsUntil`), or `not-with-this-share` (until the budget
/// gives it a larger share).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LinkWait {
    /// The class continues as more of its share becomes due.
    LittleByLittle,
    /// The class waits until `waitsUntil`.
    Until,
    /// The class waits until the budget gives it a larger share.
    NotWithThisShare,
}

/// One stream of a device, as the control plane has received it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamItem {
    /// Name of the device.
    pub device: String,
    /// Name of the stream.
    pub stream: String,
    /// Number of records received, each counted once.
    pub received: u64,
    /// Number of records that were received again.
    pub duplicates: u64,
    /// Number of records that were received after one with a higher sequence number.
    pub late: u64,
    /// Number of sequence numbers that are lost, or of which nothing is known yet; the stream's
    /// ledger has the details.
    pub missing: u64,
    /// Number of records that a policy left on the device (`reduced` or `withheld`). They are not
    /// lost.
    #[serde(default)]
    pub by_policy: u64,
    /// Newest record received. Absent: none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<StreamLast>,
    /// Number of records that the control plane keeps now.
    pub records: u64,
    /// Bytes that the kept records take, compressed.
    pub bytes: u64,
    /// Value of the newest record. Absent: it is longer than 1,024 bytes, or there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Value>,
    /// Report of the device about the stream: `policy`, `last`, `waiting`, `bytes`, `oldest`,
    /// `problem`. Absent: the device reports nothing about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Value>,
}

/// Sequence number and time of a stream's newest record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamLast {
    /// Sequence number of the record.
    pub seq: u64,
    /// Time at which the device took the record in, with milliseconds.
    pub time: String,
}

/// Response to `GET /api/v1/devices/{name}/streams`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceStreams {
    /// Streams of the device, ordered by name.
    pub items: Vec<StreamItem>,
    /// Report of the device about its buffer (`storage`), its link (`link`: `classes` in the
    /// `period`, `day` or `month`, that began at `since`) and its `horizon`. Absent: none came yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// Traffic of the device's link against its budget. Absent: the device has not reported any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
}

/// A record of a stream.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DataRecord {
    /// Sequence number of the record in its stream on its device.
    pub seq: u64,
    /// Time at which the device took the record in, with milliseconds.
    pub time: String,
    /// Value as it was published: JSON as it is, text as a string, CBOR as JSON, other bytes as
    /// `{"base64":…}`.
    #[schema(value_type = Value)]
    pub value: Box<serde_json::value::RawValue>,
    /// Form in which the value was published: `json`, `text`, `cbor` or `bytes`.
    #[serde(default)]
    pub form: String,
}

/// Response to `GET /api/v1/devices/{name}/streams/{stream}/records`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DataRecords {
    /// Records, in the order that the request asks for.
    pub items: Vec<DataRecord>,
    /// Ranges of sequence numbers in which records are left out because the disk damaged them; the
    /// ledger says which.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<MissingRange>,
    /// Position of the page.
    pub metadata: DataMeta,
}

/// Position of a page of records or ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DataMeta {
    /// Token of the next page, to be passed as the query parameter `continue`. Absent on the last
    /// page.
    #[serde(default, rename = "continue", skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// For a search with `q`: time of the last record that was examined. A page of a search may
    /// hold fewer records than asked for, or none, and still have a `continue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searched: Option<String>,
}

/// Response to `GET /api/v1/devices/{name}/streams/{stream}/series`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Series {
    /// Points in order of time. Parts of the time without a number have no point.
    pub points: Vec<Point>,
    /// Ranges of sequence numbers in which records are left out because the disk damaged them; the
    /// ledger says which.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<MissingRange>,
}

/// Summary of the numbers in one part of the time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// Time at which the part begins.
    pub time: String,
    /// Least number in the part.
    #[schema(value_type = f64)]
    pub min: Value,
    /// Greatest number in the part.
    #[schema(value_type = f64)]
    pub max: Value,
    /// Mean of the numbers in the part.
    pub mean: f64,
    /// Number of records in the part that have such a number.
    pub count: u64,
}

/// Response to `GET /api/v1/devices/{name}/sparklines`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sparklines {
    /// Time at which the first point begins.
    pub since: String,
    /// Seconds that each point covers.
    pub seconds: u64,
    /// Sparklines in the order that the request asks for.
    pub items: Vec<Sparkline>,
}

/// Recent means of a number in the records of one stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sparkline {
    /// Name of the stream.
    pub stream: String,
    /// Means, one for each point. Null where no record had such a number.
    pub values: Vec<Value>,
}

/// Response to `GET /api/v1/devices/{name}/streams/{stream}/ledger`: what of a stream was received,
/// and what is missing and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// Number of records received, each counted once.
    pub received: u64,
    /// Number of records that were received again.
    pub duplicates: u64,
    /// Number of records that were received after one with a higher sequence number.
    pub late: u64,
    /// Highest sequence number received. 0: none was.
    pub highest: u64,
    /// Number of missing sequence numbers, by reason.
    pub missing_count: BTreeMap<String, u64>,
    /// Number of records that a policy left on the device, by reason (`reduced` or `withheld`).
    /// They are not lost: they can be fetched, and queries read them on the device.
    #[serde(default)]
    pub by_policy_count: BTreeMap<String, u64>,
    /// Sequence number below which the ledger is summed up, so that not all ranges in `missing` and
    /// `byPolicy` are kept; see `summed`. Absent: all ranges are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summed_below: Option<u64>,
    /// Part of `missingCount` and `byPolicyCount` whose ranges are not kept, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub summed: BTreeMap<String, u64>,
    /// Number of records that the control plane keeps now.
    pub records: u64,
    /// Bytes that the kept records take, compressed.
    pub bytes: u64,
    /// Ranges of missing sequence numbers.
    pub missing: Vec<MissingRange>,
    /// Ranges of records that a policy left on the device.
    #[serde(default)]
    pub by_policy: Vec<MissingRange>,
    /// Explanation, in words, why nothing was shipped of a stream that the device has. Absent:
    /// something was shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Position of the page.
    #[serde(default)]
    pub metadata: DataMeta,
}

/// A range of sequence numbers that were not received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MissingRange {
    /// First sequence number of the range.
    pub from: u64,
    /// Last sequence number of the range, included.
    pub to: u64,
    /// Reason: `expired`, `quota`, `thinned`, `reduced`, `withheld`, `damaged` (in the device's
    /// buffer, or on the control plane's disk), `disk-full`, or `unknown`.
    pub reason: String,
    /// Time of the nearest record before the range that is kept, with milliseconds. Absent: there
    /// is none, or the range is older than the newest ones, for which alone times are looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Time of the nearest record after the range that is kept, with milliseconds. Absent as for
    /// `since`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl MissingRange {
    /// Returns these ranges with the reason `damaged` and without times.
    pub fn damaged(numbers: &RangeSet) -> Vec<Self> {
        let range = |range: Range| Self {
            from: range.from,
            to: range.to,
            reason: GapReason::Damaged.to_string(),
            since: None,
            until: None,
        };
        numbers.iter().map(range).collect()
    }
}
