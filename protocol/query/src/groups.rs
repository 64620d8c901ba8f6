//! What has been counted so far, by group and window: on a device, on its way, and at the centre.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Serialize;

use super::ast::{Function, Question};
use super::number::Number;
use super::path::Found;
use super::tally::{Kept, Tally};

/// Longest text that groups, in bytes: what is longer is cut.
pub const MAX_KEY: usize = 256;

/// A value that groups.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Key {
    /// Nothing there, or nothing that groups.
    None,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
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

    /// What a record has, as a key.
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

/// Which group: its keys, in the order of the question, and when its window begins (in
/// milliseconds since 1970; 0 where all time is one).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Group {
    /// The keys.
    pub keys: Vec<Key>,
    /// The window.
    pub window: u64,
}

/// What was counted of a group.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Counted {
    /// Records.
    pub records: u64,
    /// Numbers, one tally for each different path of the question's selection, in their order.
    pub tallies: Vec<Tally>,
}

/// How much may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Groups, each window of each counted.
    pub groups: usize,
    /// Bytes, estimated.
    pub bytes: usize,
}

/// On a device.
pub const AT_THE_EDGE: Limits = Limits { groups: 10_000, bytes: 6 * 1024 * 1024 };
/// At the centre.
pub const AT_THE_CENTRE: Limits = Limits { groups: 100_000, bytes: 128 * 1024 * 1024 };

/// Groups, within limits.
#[derive(Debug, Clone)]
pub struct Groups {
    all: BTreeMap<Group, Counted>,
    limits: Limits,
    bytes: usize,
    /// Records that belong to groups for which there was no room.
    pub omitted: u64,
}

/// Bytes of a bin, with what its vector keeps in reserve.
const BIN: usize = 24;
/// Bytes of a tally and of a group without their texts and bins.
const TALLY: usize = 160;
const GROUP: usize = 120;

/// About how many bytes a group takes in memory.
pub(super) fn weight(group: &Group, counted: &Counted) -> usize {
    let bins: usize = counted.tallies.iter().map(|tally| tally.sketch.bins()).sum();
    let keys: usize = group.keys.iter().map(Key::bytes).sum();
    GROUP + keys + counted.tallies.len() * TALLY + bins * BIN
}

impl Groups {
    /// None yet.
    pub fn new(limits: Limits) -> Self {
        Self { all: BTreeMap::new(), limits, bytes: 0, omitted: 0 }
    }

    /// In the order of their keys, then of their windows.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Group, &Counted)> {
        self.all.iter()
    }

    /// Counts a record: `numbers` for each tally, `kept` what each keeps.
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
            // Where the memory is used up, quantiles are no longer exact; the rest is.
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

    /// Counts what was counted elsewhere.
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

    /// True: its memory is used up, and what is said of quantiles may be wrong.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.limits.bytes
    }

    /// What was counted, to be sent: what nobody asked for is left out.
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

/// What of a question is kept of each path, and where each selection finds it.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The different paths selected.
    pub(super) paths: Vec<super::path::Path>,
    pub(super) kept: Vec<Kept>,
    /// For each selection its path's place.
    places: Vec<Option<usize>>,
}

impl Plan {
    /// Of a question.
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

    /// What is selected of a group, in the order of the question. None: there is no number.
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

/// What one device has counted, and what that took.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Partial {
    /// By group.
    pub rows: Vec<(Group, Counted)>,
    /// Records looked at: those of the stream in the question's time.
    pub scanned: u64,
    /// Records that counted: those of all groups, and those omitted.
    pub matched: u64,
    /// Bytes that shipping what was looked at would have cost, packed, estimated.
    pub shipping: u64,
    /// Records of groups for which there was no room.
    pub omitted: u64,
    /// What is not whole about it, in words: its time or its memory was used up.
    pub note: String,
}
