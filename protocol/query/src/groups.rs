//! Intermediate results of a question by group and window: on a device, on the wire and in the
//! control plane.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Serialize;

use super::ast::{Function, Question};
use super::number::Number;
use super::path::Found;
use super::tally::{Kept, Tally};

/// Longest text used as a key, in bytes; a longer one is cut off.
pub const MAX_KEY: usize = 256;

/// Value that records are grouped by.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Key {
    /// No value, or one that cannot be a key (an array, an object, bytes).
    None,
    /// A `true` or `false`.
    Bool(bool),
    /// A number, compared by value.
    Number(Number),
    /// A text of at most [`MAX_KEY`] bytes.
    Text(String),
}

impl Key {
    fn kind(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::Bool(_) => 1,
            Self::Number(_) => 2,
            Self::Text(_) => 3,
        }
    }

    /// Returns the key for a value found in a record.
    pub fn of(found: &Found<'_>) -> Self {
        match found {
            Found::Missing | Found::Null | Found::Other => Self::None,
            Found::Bool(value) => Self::Bool(*value),
            Found::Number(value) => Self::Number(*value),
            Found::Text(text) => {
                let mut end = text.len().min(MAX_KEY);
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                Self::Text(text.get(..end).unwrap_or_default().to_owned())
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => 32 + text.len(),
            _ => 32,
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.kind().cmp(&other.kind()),
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

/// Identity of a group: its keys, in the order of the question, and its window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Group {
    /// Keys in the order of the question.
    pub keys: Vec<Key>,
    /// Start of the window in milliseconds since 1970; 0 if the question has no windows.
    pub window: u64,
}

/// Intermediate result of a group.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Counted {
    /// Number of records in the group.
    pub records: u64,
    /// Tally of the numbers at each distinct path of the question's selections, in their order.
    pub tallies: Vec<Tally>,
}

/// Bounds on the memory of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most groups, where each window of a group counts.
    pub groups: usize,
    /// Most bytes in memory, estimated.
    pub bytes: usize,
}

/// Bounds on a device.
pub const AT_THE_EDGE: Limits = Limits { groups: 10_000, bytes: 6 * 1024 * 1024 };
/// Bounds in the control plane.
pub const AT_THE_CENTRE: Limits = Limits { groups: 100_000, bytes: 128 * 1024 * 1024 };

/// Groups of a question within bounds.
#[derive(Debug, Clone)]
pub struct Groups {
    all: BTreeMap<Group, Counted>,
    limits: Limits,
    bytes: usize,
    /// Number of records whose group found no room.
    pub omitted: u64,
}

/// Estimated bytes of a bin, with the reserve of its vector.
const BIN: usize = 24;
/// Estimated bytes of a tally and of a group, without texts and bins.
const TALLY: usize = 160;
const GROUP: usize = 120;

/// Returns the estimated bytes that a group takes in memory.
pub(super) fn weight(group: &Group, counted: &Counted) -> usize {
    let bins: usize = counted.tallies.iter().map(|tally| tally.sketch.bins()).sum();
    let keys: usize = group.keys.iter().map(Key::bytes).sum();
    GROUP + keys + counted.tallies.len() * TALLY + bins * BIN
}

impl Groups {
    /// Creates an empty collection.
    pub fn new(limits: Limits) -> Self {
        Self { all: BTreeMap::new(), limits, bytes: 0, omitted: 0 }
    }

    /// Returns the groups in the order of their keys, then of their windows.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Group, &Counted)> {
        self.all.iter()
    }

    /// Counts a record: `numbers` has the number for each tally, `kept` the parts that each tally
    /// keeps.
    pub(super) fn add(
        &mut self,
        group: &Group,
        (time, seq): (u64, u64),
        numbers: &[Option<Number>],
        kept: &[Kept],
    ) {
        if !self.all.contains_key(group) {
            let counted = Counted { records: 0, tallies: vec![Tally::default(); kept.len()] };
            self.begin(group.clone(), counted);
        }
        let Some(counted) = self.all.get_mut(group) else {
            self.omitted = self.omitted.saturating_add(1);
            return;
        };
        counted.records += 1;
        for ((tally, number), kept) in counted.tallies.iter_mut().zip(numbers).zip(kept) {
            let Some(number) = number else { continue };
            let bins = tally.sketch.bins();
            // Once the memory is used up, sketches no longer grow, so quantiles may be wrong; all
            // else stays exact.
            let room = self.bytes < self.limits.bytes;
            tally.add(Kept { sketch: kept.sketch && room, ..*kept }, time, seq, *number);
            self.bytes += (tally.sketch.bins().saturating_sub(bins)) * BIN;
        }
    }

    fn begin(&mut self, group: Group, counted: Counted) {
        let weight = weight(&group, &counted);
        if self.all.len() < self.limits.groups && self.bytes + weight <= self.limits.bytes {
            self.bytes += weight;
            self.all.insert(group, counted);
        }
    }

    /// Adds the intermediate result that another device has for a group.
    pub fn merge(&mut self, group: Group, counted: &Counted) {
        if let Some(mine) = self.all.get_mut(&group) {
            let before = weight(&group, mine);
            mine.records = mine.records.saturating_add(counted.records);
            for (mine, others) in mine.tallies.iter_mut().zip(&counted.tallies) {
                mine.merge(others);
            }
            self.bytes += weight(&group, mine).saturating_sub(before);
        } else {
            let records = counted.records;
            let groups = self.all.len();
            self.begin(group, counted.clone());
            if self.all.len() == groups {
                self.omitted = self.omitted.saturating_add(records);
            }
        }
    }

    /// Returns true if the memory is used up, so that quantiles may be wrong.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.limits.bytes
    }

    /// Returns the groups for the wire, without the parts that the question does not need.
    pub(super) fn into_rows(self, kept: &[Kept]) -> Vec<(Group, Counted)> {
        let mut rows: Vec<_> = self.all.into_iter().collect();
        for (_, counted) in &mut rows {
            for (tally, kept) in counted.tallies.iter_mut().zip(kept) {
                tally.keep(*kept);
            }
        }
        rows
    }
}

/// Parts of a tally that a question needs for each path, and the tally that each selection reads.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Distinct paths of the selections.
    pub(super) paths: Vec<super::path::Path>,
    pub(super) kept: Vec<Kept>,
    /// Index of each selection's path in `paths`; None: it counts records.
    places: Vec<Option<usize>>,
}

impl Plan {
    /// Derives the plan from a question.
    pub fn new(question: &Question) -> Self {
        let mut plan = Self::default();
        for select in &question.select {
            let Some(path) = &select.path else {
                plan.places.push(None);
                continue;
            };
            let at = plan.paths.iter().position(|known| known == path).unwrap_or_else(|| {
                plan.paths.push(path.clone());
                plan.kept.push(Kept::default());
                plan.paths.len() - 1
            });
            if let Some(kept) = plan.kept.get_mut(at) {
                kept.take(select.function);
            }
            plan.places.push(Some(at));
        }
        plan
    }

    /// Returns the selected values of a group, in the order of the question. None: there is no
    /// number.
    pub fn values(&self, question: &Question, counted: &Counted) -> Vec<Option<Number>> {
        let count = |count: u64| Some(Number::from(count));
        question
            .select
            .iter()
            .zip(&self.places)
            .map(|(select, place)| {
                let Some(place) = place else { return count(counted.records) };
                let tally = counted.tallies.get(*place)?;
                match select.function {
                    Function::Count => count(tally.count),
                    Function::Sum => (tally.count > 0).then(|| tally.sum.number()),
                    Function::Mean => tally.mean().map(Number::Float),
                    Function::Min => tally.ends.map(|ends| ends.0),
                    Function::Max => tally.ends.map(|ends| ends.1),
                    Function::Last => tally.last.map(|last| last.2),
                    Function::Stddev => tally.deviation().map(Number::Float),
                    Function::Quantile(thousandths) => tally.quantile(thousandths),
                }
            })
            .map(|value| value.filter(|value| value.float().is_finite()))
            .collect()
    }
}

/// Answer of one device: its intermediate results and their cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Partial {
    /// Intermediate results by group.
    pub rows: Vec<(Group, Counted)>,
    /// Number of records read: those of the stream in the question's time range.
    pub scanned: u64,
    /// Number of records that fulfilled the condition, including those omitted.
    pub matched: u64,
    /// Estimated bytes that shipping the records read would have cost, packed.
    pub shipping: u64,
    /// Number of records whose group found no room.
    pub omitted: u64,
    /// Reason, in words, why the answer is incomplete (time or memory was used up); empty: it is
    /// complete.
    pub note: String,
}
