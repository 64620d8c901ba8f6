//! Policies for a device's streams and its link, as it gets them in its desired state: every unit
//! resolved, times in milliseconds, sizes in bytes.
//!
//! See decisions 0093 and 0123.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::name::{Pattern, StreamName};
use holdfast_base::ids::Name;

/// Data part of a desired state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPolicies {
    /// Stream policies by the name of their document. If several match a stream, the one with the
    /// narrowest pattern applies, then the first by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub streams: BTreeMap<Name, StreamPolicy>,
    /// Budget of the device's link; absent: unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkBudget>,
    /// Name of the document that `link` comes from, for people; absent: none, or not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_name: Option<Name>,
}

impl DataPolicies {
    /// Returns the policy of a stream, with the name of its document. None: the default applies.
    pub fn of(&self, stream: &StreamName) -> Option<(&Name, &StreamPolicy)> {
        narrowest(&self.streams, stream)
    }
}

/// Returns the policy that applies to a stream, out of several in the order of their names: the one
/// with the narrowest pattern, then the first. None: the default applies.
pub fn narrowest<'a>(
    policies: impl IntoIterator<Item = (&'a Name, &'a StreamPolicy)>,
    stream: &StreamName,
) -> Option<(&'a Name, &'a StreamPolicy)> {
    let mut best: Option<(usize, &Name, &StreamPolicy)> = None;
    for (name, policy) in policies {
        if let Some(weight) = policy.weight(stream)
            && best.is_none_or(|(most, ..)| weight > most)
        {
            best = Some((weight, name, policy));
        }
    }
    best.map(|(_, name, policy)| (name, policy))
}

impl StreamPolicy {
    /// Returns the weight of the narrowest of the policy's patterns that match a stream. None: none
    /// matches.
    pub fn weight(&self, stream: &StreamName) -> Option<usize> {
        let fitting = self.streams.iter().filter(|pattern| pattern.matches(stream));
        fitting.map(Pattern::weight).max()
    }
}

/// Policy for the streams that its patterns select.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPolicy {
    /// Patterns that select the streams; at least one.
    pub streams: Vec<Pattern>,
    /// Source from which the agent itself fills the stream; absent: workloads fill it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Priority from 0 (shipped last) to 9 (first); 8 and 9 are urgent and may borrow from the
    /// budget.
    pub priority: u8,
    /// Age at which records are dropped, shipped or not; absent: they are dropped only when room is
    /// needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Quota in bytes on the device's disk; absent: that of the whole buffer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// Records to drop when the quota is used up. Those already shipped always go first.
    pub overflow: Overflow,
    /// Part of the stream that is shipped.
    pub ship: Ship,
    /// Batches that are shipped first.
    pub order: Order,
    /// True: batches are compressed with zstd.
    pub compress: bool,
    /// Time in milliseconds for which records may wait to be stored together; 0: each is stored at
    /// once. In either case a publish is acknowledged only when it is stored.
    pub durability_ms: u32,
    /// Times of the day, by the device's clock in UTC, at which the stream is shipped; empty:
    /// always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
}

impl Default for StreamPolicy {
    fn default() -> Self {
        Self {
            streams: Vec::new(),
            source: None,
            priority: 5,
            ttl_ms: None,
            quota_bytes: None,
            overflow: Overflow::DropOldest,
            ship: Ship::Always,
            order: Order::OldestFirst,
            compress: true,
            durability_ms: 0,
            windows: Vec::new(),
        }
    }
}

/// Source from which the agent fills a stream. The stream is the policy's first pattern, which must
/// be a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Figures of the device: one record with cpu, memory, disk, network and temperature each
    /// `every_ms`.
    Metrics {
        /// Time from one record to the next, in milliseconds.
        every_ms: u64,
    },
    /// Lines that a workload writes to its log.
    Logs {
        /// Workload that writes the log.
        workload: Name,
    },
}

/// Records to drop when a quota is used up and no shipped ones are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// The oldest records go.
    DropOldest,
    /// New records are refused: the publish is acknowledged, and the number stands in the gap
    /// ledger.
    DropNewest,
    /// All but every nth of the older records go.
    Thin {
        /// Keeps one record in this many; at least 2.
        keep_every: u32,
    },
}

/// Part of a stream that is shipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ship {
    /// Every record is shipped.
    Always,
    /// Ships a record if its field has moved away from the last one shipped by more than the
    /// deadband, or if it has no such field.
    OnChange {
        /// Path of a number, see `holdfast_query::Path::dotted`; empty: the record itself.
        field: String,
        /// Deadband in the field's unit, as a decimal text; "0": any change.
        deadband: String,
    },
    /// Ships one record per window: `{"from","to","count","fields":{PATH:{"min",...}}}`.
    Window {
        /// Length of a window in milliseconds; windows begin at multiples of it since 1970.
        every_ms: u64,
        /// Paths of the numbers to aggregate.
        fields: Vec<String>,
        /// Aggregates of each field; `count` is always added.
        aggregates: Vec<Aggregate>,
    },
    /// Ships nothing: the records stay on the device, and can be queried and fetched.
    Never,
}

/// Aggregate of a field over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregate {
    /// Least value of the field.
    Min,
    /// Greatest value of the field.
    Max,
    /// Mean of the field's values.
    Mean,
    /// Last value of the field.
    Last,
    /// Quantile in thousandths: 950 is p95.
    Quantile(u16),
}

/// Order in which a stream's batches are shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// In the order of their arrival.
    OldestFirst,
    /// The newest first, then the backlog.
    NewestFirst,
}

/// Time range of the day, in minutes since midnight UTC. `to` below `from` goes past midnight: 1320
/// to 360 is 22:00 to 06:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First minute of the range, 0 to 1439.
    pub from: u16,
    /// End of the range (excluded), 0 to 1440.
    pub to: u16,
}

impl Window {
    /// Returns true if the minute of the day (0 to 1439) is within the range.
    pub fn contains(&self, minute: u16) -> bool {
        if self.from <= self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

/// Upper bound on what a device's link carries, both directions together, with headers estimated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkBudget {
    /// Period that `bytes` are for.
    pub period: Period,
    /// Bytes allowed per period.
    pub bytes: u64,
    /// Shares of the budget by class; classes that are absent share the rest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shares: BTreeMap<TrafficClass, Share>,
    /// Network interfaces that are metered or weighted. On any other each byte counts once, or not
    /// at all if some interface is metered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// True: devices of a site take files from each other, so that one of them carries them over
    /// the link.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub neighbours: bool,
}

/// Period after which a link budget begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    /// A day in UTC.
    Day,
    /// A calendar month in UTC.
    Month,
}

/// Purpose that bytes on the link are sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrafficClass {
    /// Desired states, calls, reports, keep-alive, enrolment: never held back.
    Control,
    /// Streams of priority 8 and 9.
    Events,
    /// Streams of priority 0 to 7.
    Data,
    /// Logs, streamed or asked for.
    Logs,
    /// Downloads of workloads' artifacts.
    Artifacts,
}

impl TrafficClass {
    /// All traffic classes in order.
    pub const ALL: [Self; 5] =
        [Self::Control, Self::Events, Self::Data, Self::Logs, Self::Artifacts];

    /// Returns the word for the class on the wire, in the API and on the command line, such as
    /// `events`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Events => "events",
            Self::Data => "data",
            Self::Logs => "logs",
            Self::Artifacts => "artifacts",
        }
    }
}

/// Share of a traffic class in the link budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Percent of the whole budget, 0 to 100.
    pub percent: u8,
}

/// Network interface that is metered or weighted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Name of the interface, or a prefix of names with a final `*` (`wwan*`).
    pub name: String,
    /// True: the interface is metered. If any is, the budget applies to metered ones alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub metered: bool,
    /// Weight of a byte in hundredths: 100 counts it once, 250 two and a half times.
    pub cost_percent: u32,
}
