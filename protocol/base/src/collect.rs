//! Maps and sets that are made by insertion. `Iterator::collect` sorts a list first, with a copy of
//! the standard library's sort for each type of key and value: some 4 KiB of code each in the
//! agent, for maps of a few entries.
//!
//! See decision 0143.

use std::collections::{BTreeMap, BTreeSet};

/// Makes a map. Of entries with the same key the last one is kept.
pub fn map<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut made = BTreeMap::new();
    made.extend(entries);
    made
}

/// Makes a set.
pub fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut made = BTreeSet::new();
    made.extend(items);
    made
}
