//! Streams, their records and their ledgers.

use std::collections::BTreeMap;

use holdfast_records::{GapReason, Range, RangeSet};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A document about data: a `Stream` or a `LinkBudget`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DataPolicy)]
pub struct Policy {
    /// [`super::API_VERSION`].
    pub api_version: String,
    /// `Stream`, `LinkBudget` or `Notification`.
    pub kind: String,
    /// Name and labels.
    pub metadata: super::Metadata,
    /// As it was written.
    pub spec: Value,
    /// On how many devices it holds.
    pub status: PolicyStatus,
}

/// How a document about data fares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DataPolicyStatus)]
pub struct PolicyStatus {
    /// Devices that it is desired of.
    pub devices: u64,
    /// The first of them.
    #[serde(default)]
    pub names: Vec<String>,
    /// Of those: have applied it.
    pub applied: u64,
    /// Of those: report that it does not do what it says; of a `LinkBudget`: where something waits
    /// for it; of a `Notification`: 1 while its receiver is not reached.
    pub problems: u64,
    /// Streams on these devices whose policy it is; of a `Stream` only.
    #[serde(default)]
    pub streams: u64,
    /// Where it does not do what one may expect of it, in words: a pattern that matches no stream, a
    /// stream of which a narrower policy holds, devices of which another budget holds.
    #[serde(default)]
    pub misfits: Vec<String>,
    /// Of a `Notification`: how its receiver is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<super::Delivery>,
    /// Who of them is away; of a `DevicePolicy` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absence: Option<super::PolicyAbsence>,
}

/// A document about data on one of its devices.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DataPolicyDevice)]
pub struct PolicyDevice {
    /// The device.
    pub device: String,
    /// It is approved and online.
    pub online: bool,
    /// It has applied the document as it is now.
    pub applied: bool,
    /// Streams that the document matches there, the first 50; of a `Stream` only.
    #[serde(default)]
    pub streams: Vec<PolicyStream>,
    /// How many those are.
    #[serde(default)]
    pub stream_count: u64,
    /// Its link; of a `LinkBudget` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
}

/// A stream that a `Stream` document matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DataPolicyStream)]
pub struct PolicyStream {
    /// Its name.
    pub stream: String,
    /// Another document holds for it, whose pattern is narrower, or whose name comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden_by: Option<String>,
    /// Why the document does not do what it says there, in the device's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a device's link has carried in the present period of its budget (without one: the day), both
/// directions, headers estimated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Name of the `LinkBudget`; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// Bytes that it gives; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// `day` or `month`, in UTC.
    pub period: String,
    /// When the period began.
    pub since: String,
    /// When it ends.
    pub ends: String,
    /// When the device said these figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Over how many seconds the rate of the forecasts was measured, about the last hour; absent:
    /// not for long enough, and there is no forecast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_seconds: Option<u64>,
    /// Bytes that count against the budget.
    pub used: u64,
    /// What that will be at the period's end, at the rate of the last hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<u64>,
    /// Whether it fits.
    pub fits: Fits,
    /// By class.
    pub classes: Vec<LinkClass>,
}

/// One class of traffic on a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkClass {
    /// `control`, `events`, `data`, `logs` or `artifacts`.
    pub class: String,
    /// Bytes sent by the device.
    pub sent: u64,
    /// Bytes received by it.
    pub received: u64,
    /// Bytes that count against the budget: both, by what the interface costs.
    pub used: u64,
    /// Its share of the budget in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<u64>,
    /// What it will have used at the period's end, at the rate of the last hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<u64>,
    /// Whether it fits.
    pub fits: Fits,
    /// It waits, and how long; absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<LinkWait>,
    /// When it goes on, where `waits` is `until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_until: Option<String>,
}

/// Whether what a link carries fits its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fits {
    /// There is no budget.
    NoBudget,
    /// It fits, also at the rate of the last hour.
    Fits,
    /// At the rate of the last hour it will not last to the period's end.
    Short,
    /// Nothing is left, and nothing waits: control is never held back.
    UsedUp,
    /// Something waits: what is due by now is used, or too little is left.
    Waits,
}

/// Until when a class of traffic waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LinkWait {
    /// It goes on as its share fills.
    LittleByLittle,
    /// Until `waitsUntil`.
    Until,
    /// Until the budget gives it a larger share.
    NotWithThisShare,
}

/// A stream of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamItem {
    /// Whose.
    pub device: String,
    /// Its name.
    pub stream: String,
    /// Records received, each counted once.
    pub received: u64,
    /// Records that came again.
    pub duplicates: u64,
    /// Records that came after one with a higher number.
    pub late: u64,
    /// Numbers that are lost, or of which nothing is known yet, see its ledger.
    pub missing: u64,
    /// Numbers of records that a policy left on the device (`reduced`, `withheld`): no loss.
    #[serde(default)]
    pub by_policy: u64,
    /// The newest record received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<StreamLast>,
    /// Records that are kept here now.
    pub records: u64,
    /// Bytes that they take, compressed.
    pub bytes: u64,
    /// Value of the newest record, if it is short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Value>,
    /// What the device says of it: `policy`, `last`, `waiting`, `bytes`, `oldest`, `problem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Value>,
}

/// The newest record of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamLast {
    /// Its number.
    pub seq: u64,
    /// When the device took it in, with milliseconds.
    pub time: String,
}

/// `GET /api/v1/devices/{name}/streams`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceStreams {
    /// By name.
    pub items: Vec<StreamItem>,
    /// What the device says of its buffer (`storage`), its link (`link`: `classes` in the `period`,
    /// `day` or `month`, that began `since`) and its `horizon`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// Its link against its budget; absent: it has not said anything of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
}

/// A record.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DataRecord {
    /// Its number in its stream on its device.
    pub seq: u64,
    /// When the device took it in, with milliseconds.
    pub time: String,
    /// As it was published: JSON as it is, text as a string, CBOR as JSON, other bytes as
    /// `{"base64":…}`.
    #[schema(value_type = Value)]
    pub value: Box<serde_json::value::RawValue>,
    /// As what it was published: `json`, `text`, `cbor` or `bytes`.
    #[serde(default)]
    pub form: String,
}

/// `GET …/records`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DataRecords {
    /// In the order that was asked for.
    pub items: Vec<DataRecord>,
    /// Numbers between which records are left out, for the disk has changed them; the ledger says
    /// which.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<MissingRange>,
    /// Where the page stands.
    pub metadata: DataMeta,
}

/// Where a page stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DataMeta {
    /// Pass it as `continue` for the next page; absent on the last.
    #[serde(default, rename = "continue", skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// With `q`: time of the last record that was looked at. A page of a search may have fewer records
    /// than asked for, or none, and a `continue` all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searched: Option<String>,
}

/// `GET …/series`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Series {
    /// By time.
    pub points: Vec<Point>,
    /// Numbers between which records are left out, for the disk has changed them; the ledger says
    /// which.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<MissingRange>,
}

/// The records of a part of the time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// When the part begins.
    pub time: String,
    /// The least number.
    #[schema(value_type = f64)]
    pub min: Value,
    /// The greatest.
    #[schema(value_type = f64)]
    pub max: Value,
    /// The mean.
    pub mean: f64,
    /// Records with such a number.
    pub count: u64,
}

/// `GET …/sparklines`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sparklines {
    /// When the first point begins.
    pub since: String,
    /// Seconds of a point.
    pub seconds: u64,
    /// In the order that was asked for.
    pub items: Vec<Sparkline>,
}

/// A number of a stream over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sparkline {
    /// The stream.
    pub stream: String,
    /// The means, one a point; null where there was no such number.
    pub values: Vec<Value>,
}

/// `GET …/ledger`: what of a stream was received, and what is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// Records received, each counted once.
    pub received: u64,
    /// Records that came again.
    pub duplicates: u64,
    /// Records that came after one with a higher number.
    pub late: u64,
    /// The highest number received; 0: none.
    pub highest: u64,
    /// Numbers that are missing, by reason.
    pub missing_count: BTreeMap<String, u64>,
    /// Numbers of records that a policy left on the device, by reason (`reduced`, `withheld`): no
    /// loss; they can be fetched and asked there.
    #[serde(default)]
    pub by_policy_count: BTreeMap<String, u64>,
    /// Below this number not all ranges of `missing` and `byPolicy` are kept, see `summed`; absent: all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summed_below: Option<u64>,
    /// Of `missingCount` and `byPolicyCount`: numbers of which the ranges are not kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub summed: BTreeMap<String, u64>,
    /// Records that are kept here now.
    pub records: u64,
    /// Bytes that they take, compressed.
    pub bytes: u64,
    /// Numbers that are missing, by number.
    pub missing: Vec<MissingRange>,
    /// Numbers of records that a policy left on the device, by number.
    #[serde(default)]
    pub by_policy: Vec<MissingRange>,
    /// Why nothing of the stream was shipped, where the device has records of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Where the list stands.
    #[serde(default)]
    pub metadata: DataMeta,
}

/// Numbers that did not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MissingRange {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// `expired`, `quota`, `thinned`, `reduced`, `withheld`, `damaged` (the device's buffer, or the
    /// control plane's disk), `disk-full`, or `unknown`.
    pub reason: String,
    /// Time of the nearest record before them that is kept here, with milliseconds; absent: there is
    /// none, or the range is not one of the newest, of which alone times are looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Time of the nearest record after them, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl MissingRange {
    /// What could not be read.
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
