//! What a device does with its streams and its link, as it gets it in its desired state: every
//! unit resolved. Times in milliseconds, sizes in bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::name::{Pattern, StreamName};
use holdfast_base::ids::Name;

/// Everything of a desired state that is about data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPolicies {
    /// By the document's name. Of several that match a stream the narrowest pattern holds, then
    /// the first name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub streams: BTreeMap<Name, StreamPolicy>,
    /// What the device's link may carry; absent: as much as it likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkBudget>,
    /// The document that this is of, for people; absent: there is none, or nobody says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_name: Option<Name>,
}

impl DataPolicies {
    /// The policy of a stream, with the name of its document. None: the default holds.
    pub fn of(&self, stream: &StreamName) -> Option<(&Name, &StreamPolicy)> {
        narrowest(&self.streams, stream)
    }
}

/// Which of several policies, in the order of their names, holds for a stream: that with the
/// narrowest pattern, then the first. None: the default holds.
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
    /// How narrow the narrowest of its patterns that match a stream is. None: none does.
    pub fn weight(&self, stream: &StreamName) -> Option<usize> {
        let fitting = self.streams.iter().filter(|pattern| pattern.matches(stream));
        fitting.map(Pattern::weight).max()
    }
}

/// The policy of the streams that it chooses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPolicy {
    /// Which streams; at least one.
    pub streams: Vec<Pattern>,
    /// The agent itself fills the stream; absent: workloads do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// 0 (shipped last) to 9 (first; 8 and 9 are urgent and may borrow from the budget).
    pub priority: u8,
    /// Records older than this are dropped, shipped or not; absent: when room is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Bytes on the device's disk; absent: what the whole buffer has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// What goes when the quota is used up. What is shipped already always goes first.
    pub overflow: Overflow,
    /// What is shipped.
    pub ship: Ship,
    /// Which batches go first.
    pub order: Order,
    /// Whether batches are compressed.
    pub compress: bool,
    /// How long records may wait to be stored together, in milliseconds; 0: stored at once. A
    /// publish is acknowledged when it is stored, either way.
    pub durability_ms: u32,
    /// Times of the day, of the device's clock in UTC, at which it is shipped; none: always.
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

/// What the agent fills a stream with. The stream is the policy's first pattern, which is a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The device's own figures, a record each `every_ms`: cpu, memory, disk, network,
    /// temperature.
    Metrics {
        /// From one record to the next, in milliseconds.
        every_ms: u64,
    },
    /// The lines that a workload writes to its log.
    Logs {
        /// Whose.
        workload: Name,
    },
}

/// What goes when a quota is used up and nothing shipped is left to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// The oldest records.
    DropOldest,
    /// What comes: it is acknowledged, and stands in the gap ledger.
    DropNewest,
    /// Of the older records, all but every nth.
    Thin {
        /// At least 2.
        keep_every: u32,
    },
}

/// What of a stream is shipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ship {
    /// Every record.
    Always,
    /// Records of which the field has moved away from the last one shipped by more than the
    /// deadband; others that have no such field are shipped.
    OnChange {
        /// Path of a number, see `holdfast_query::Path::dotted`; empty: the record itself.
        field: String,
        /// In the field's unit, as a decimal text; "0": any change.
        deadband: String,
    },
    /// One record a window: `{"from","to","count","fields":{PATH:{"min",...}}}`.
    Window {
        /// Length of a window, in milliseconds; windows begin at multiples of it since 1970.
        every_ms: u64,
        /// Paths of numbers.
        fields: Vec<String>,
        /// What is said of each.
        aggregates: Vec<Aggregate>,
    },
    /// Nothing: the records stay on the device, can be queried and fetched.
    Never,
}

/// What is said of a field over a window. `count` is always said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregate {
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The mean.
    Mean,
    /// The last.
    Last,
    /// A quantile, in thousandths: 950 is p95.
    Quantile(u16),
}

/// Which batches of a stream go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// As they came.
    OldestFirst,
    /// What is new first, the backlog after it.
    NewestFirst,
}

/// A time of the day, in minutes since midnight UTC. `to` below `from` goes past midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// It begins.
    pub from: u16,
    /// It ends.
    pub to: u16,
}

impl Window {
    /// Whether this minute of the day (0 to 1439) is within.
    pub fn contains(&self, minute: u16) -> bool {
        if self.from <= self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

/// What a device's link may carry, both directions together, headers estimated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkBudget {
    /// The time that `bytes` are for.
    pub period: Period,
    /// How many.
    pub bytes: u64,
    /// Parts of it, in percent; a class that is absent shares what the others leave.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shares: BTreeMap<TrafficClass, Share>,
    /// Network interfaces that differ; others count once and carry everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
}

/// How often a budget begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    /// Each day, UTC.
    Day,
    /// Each month, UTC.
    Month,
}

/// What bytes are sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrafficClass {
    /// Desired states, calls, reports, keep-alive, enrolment: never held back.
    Control,
    /// Streams of priority 8 and 9.
    Events,
    /// Other streams.
    Data,
    /// Logs, streamed or asked for.
    Logs,
    /// Artifacts.
    Artifacts,
}

impl TrafficClass {
    /// Every class.
    pub const ALL: [Self; 5] =
        [Self::Control, Self::Events, Self::Data, Self::Logs, Self::Artifacts];

    /// The word used everywhere.
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

/// A class' part of the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Of the whole, 0 to 100.
    pub percent: u8,
}

/// A network interface that is not like the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name, or the beginning of names and a final `*` (`wwan*`).
    pub name: String,
    /// The budget holds on metered interfaces alone, if any is said to be metered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub metered: bool,
    /// What a byte counts, in hundredths: 100 is one byte.
    pub cost_percent: u32,
}
