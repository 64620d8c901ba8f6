//! Sets of sequence numbers, stored as ranges.

use serde::{Deserialize, Serialize};

/// Range of sequence numbers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Range {
    /// First sequence number of the range.
    pub from: u64,
    /// Last sequence number of the range, not below `from`.
    pub to: u64,
}

impl Range {
    /// Returns how many numbers the range holds.
    pub fn len(&self) -> u64 {
        self.to.saturating_sub(self.from).saturating_add(1)
    }

    /// Returns false: a range has at least one number.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// Set of sequence numbers. Its ranges are in order, do not touch and do not overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RangeSet(Vec<Range>);

impl RangeSet {
    /// Returns the empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Collects ranges in any order; one with `to` below `from` is left out.
    pub fn from_ranges(ranges: impl IntoIterator<Item = Range>) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range.from, range.to);
        }
        set
    }

    /// Returns the ranges in rising order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range> + ExactSizeIterator + '_ {
        self.0.iter().copied()
    }

    /// Returns the number of ranges, which is what the set costs in memory.
    pub fn pieces(&self) -> usize {
        self.0.len()
    }

    /// Returns how many numbers the set holds.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, range| sum.saturating_add(range.len()))
    }

    /// Returns true if the set holds no number.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the greatest number.
    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|range| range.to)
    }

    /// Returns true if the set holds the number.
    pub fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|range| range.to < number);
        self.0.get(at).is_some_and(|range| range.from <= number)
    }

    /// Adds the numbers `from..=to` and returns how many of them were new.
    pub fn insert(&mut self, from: u64, to: u64) -> u64 {
        if from > to {
            return 0;
        }
        // Ranges that overlap or touch the new one become one range with it: 1..=3 and 7..=9 with
        // 4..=6 become 1..=9.
        let first = self.0.partition_point(|range| range.to.saturating_add(1) < from);
        let end = self.0.partition_point(|range| range.from <= to.saturating_add(1));
        let joined = self.0.get(first..end).unwrap_or_default();
        let known: u64 = joined
            .iter()
            .map(|range| {
                let (low, high) = (range.from.max(from), range.to.min(to));
                if low <= high { high - low + 1 } else { 0 }
            })
            .sum();
        let low = joined.first().map_or(from, |range| range.from.min(from));
        let high = joined.last().map_or(to, |range| range.to.max(to));
        self.0.splice(first..end, [Range { from: low, to: high }]);
        (to - from).saturating_add(1).saturating_sub(known)
    }

    /// Removes the numbers `from..=to`.
    pub fn remove(&mut self, from: u64, to: u64) {
        if from > to {
            return;
        }
        let first = self.0.partition_point(|range| range.to < from);
        let end = self.0.partition_point(|range| range.from <= to);
        if first >= end {
            return;
        }
        // The first and the last range concerned may reach beyond what is removed: 1..=9 without
        // 4..=6 leaves 1..=3 and 7..=9.
        let left = self
            .0
            .get(first)
            .filter(|range| range.from < from)
            .map(|range| Range { from: range.from, to: from - 1 });
        let right = self
            .0
            .get(end - 1)
            .filter(|range| range.to > to)
            .map(|range| Range { from: to + 1, to: range.to });
        self.0.splice(first..end, left.into_iter().chain(right));
    }

    /// Returns those of the numbers `from..=to` that the set does not hold.
    pub fn missing(&self, from: u64, to: u64) -> Self {
        let mut rest = Self::new();
        rest.insert(from, to);
        for range in self.within(from, to).0 {
            rest.remove(range.from, range.to);
        }
        rest
    }

    /// Returns those of the numbers `from..=to` that the set holds.
    pub fn within(&self, from: u64, to: u64) -> Self {
        let first = self.0.partition_point(|range| range.to < from);
        let end = self.0.partition_point(|range| range.from <= to);
        let held = self.0.get(first..end).unwrap_or_default();
        Self(
            held.iter()
                .map(|range| Range { from: range.from.max(from), to: range.to.min(to) })
                .collect(),
        )
    }

    /// Adds the numbers of another set.
    pub fn union(&mut self, other: &Self) {
        for range in other.iter() {
            self.insert(range.from, range.to);
        }
    }

    /// Removes the numbers of another set.
    pub fn subtract(&mut self, other: &Self) {
        for range in other.iter() {
            self.remove(range.from, range.to);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn plain(set: &RangeSet) -> BTreeSet<u64> {
        set.iter().flat_map(|range| range.from..=range.to).collect()
    }

    fn well_formed(set: &RangeSet) -> bool {
        let all: Vec<_> = set.iter().collect();
        all.iter().all(|range| range.from <= range.to)
            && all.windows(2).all(|pair| pair[0].to + 1 < pair[1].from)
    }

    proptest! {
        #[test]
        fn it_is_a_set(steps in proptest::collection::vec((any::<bool>(), 0u64..60, 0u64..12), 0..40)) {
            let (mut set, mut model) = (RangeSet::new(), BTreeSet::new());
            for (add, from, length) in steps {
                let to = from + length;
                if add {
                    let fresh = (from..=to).filter(|n| model.insert(*n)).count() as u64;
                    prop_assert_eq!(set.insert(from, to), fresh);
                } else {
                    set.remove(from, to);
                    model.retain(|n| !(from..=to).contains(n));
                }
                prop_assert!(well_formed(&set), "{:?}", set);
                prop_assert_eq!(plain(&set), model.clone());
                prop_assert_eq!(set.count(), model.len() as u64);
                let wanted: BTreeSet<u64> = (10..=40).filter(|n| !model.contains(n)).collect();
                prop_assert_eq!(plain(&set.missing(10, 40)), wanted);
                let held: BTreeSet<u64> = model.range(10..=40).copied().collect();
                prop_assert_eq!(plain(&set.within(10, 40)), held);
                prop_assert!((0..80).all(|n| set.contains(n) == model.contains(&n)));
            }
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_no_trouble() {
        let mut set = RangeSet::new();
        assert_eq!(set.insert(0, u64::MAX), u64::MAX);
        set.remove(u64::MAX, u64::MAX);
        set.remove(0, 0);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Range { from: 1, to: u64::MAX - 1 }]);
        assert_eq!(set.insert(5, 4), 0);
    }
}
