//! Coarse alignment of files that are too large to sort the suffixes of: what is the same in long
//! runs is found by sums over blocks, and only the rest is aligned closely.

use std::collections::HashMap;

use crate::align::{Copied, align};

/// Bytes of a block of the old file.
const BLOCK: usize = 256;
/// Largest old file, or rest of one, whose suffixes are sorted: five bytes of memory each, and
/// about ten seconds in all.
pub(crate) const SORTED: usize = 64 << 20;
/// Factor of the sum that rolls over the new file.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Aligns two files of any size, of which at most so many bytes of the old one are sorted.
pub(crate) fn align_any(old: &[u8], new: &[u8], sorted: usize) -> Option<Vec<Copied>> {
    if old.len() <= sorted {
        return align(old, new);
    }
    let mut copies = runs(old, new);
    let rest_of_new = gaps(copies.iter().map(|it| (it.new, it.length)), new.len(), new.len());
    let mut used: Vec<_> = copies.iter().map(|it| (it.old, it.length)).collect();
    used.sort_unstable();
    let rest_of_old = gaps(used.into_iter(), old.len(), sorted);
    let (joined_old, joined_new) = (joined(old, &rest_of_old), joined(new, &rest_of_new));
    for copy in align(&joined_old, &joined_new)? {
        spread(copy, &rest_of_old, &rest_of_new, &mut copies);
    }
    copies.sort_unstable();
    Some(copies)
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_mul(FACTOR).wrapping_add(u64::from(*byte) + 1))
}

/// Long runs that are the same, in the order of the new file.
fn runs(old: &[u8], new: &[u8]) -> Vec<Copied> {
    let mut blocks = HashMap::with_capacity(old.len() / BLOCK);
    for (number, block) in old.chunks_exact(BLOCK).enumerate() {
        blocks.entry(sum(block)).or_insert(number * BLOCK);
    }
    let leaving = (0..BLOCK).fold(1_u64, |power, _| power.wrapping_mul(FACTOR));
    let mut copies: Vec<Copied> = Vec::new();
    let (mut at, mut free) = (0, 0);
    let mut rolling = sum(new.get(..BLOCK).unwrap_or_default());
    while let (Some(window), Some(first)) = (new.get(at..at + BLOCK), new.get(at)) {
        let found = blocks.get(&rolling).copied();
        if let Some(found) = found.filter(|found| old.get(*found..found + BLOCK) == Some(window)) {
            let before = |it: &usize| {
                let (old_at, new_at) = (found.checked_sub(*it), at.checked_sub(*it));
                new_at.is_some_and(|at| at >= free)
                    && old_at.and_then(|it| old.get(it)) == new_at.and_then(|it| new.get(it))
            };
            let before = (1..).take_while(before).count();
            let after = |of: &[u8], at: usize| of.get(at + BLOCK..).unwrap_or_default().len();
            let most = after(old, found).min(after(new, at));
            let equal = |it: &usize| old.get(found + BLOCK + it) == new.get(at + BLOCK + it);
            let after = (0..most).take_while(equal).count();
            let length = before + BLOCK + after;
            copies.push(Copied { new: at - before, old: found - before, length });
            free = at + BLOCK + after;
            at = free;
            rolling = sum(new.get(at..(at + BLOCK).min(new.len())).unwrap_or_default());
            continue;
        }
        let next = new.get(at + BLOCK).map_or(0, |byte| u64::from(*byte) + 1);
        let gone = leaving.wrapping_mul(u64::from(*first) + 1);
        rolling = rolling.wrapping_mul(FACTOR).wrapping_add(next).wrapping_sub(gone);
        at += 1;
    }
    copies
}

/// Part of a file, and where it stands among others that are joined.
#[derive(Clone, Copy)]
struct Part {
    joined: usize,
    start: usize,
    length: usize,
}

/// Parts of a file between others (first byte and length) that are in order, at most so many bytes.
fn gaps(used: impl Iterator<Item = (usize, usize)>, size: usize, most: usize) -> Vec<Part> {
    let (mut gaps, mut at, mut joined) = (Vec::new(), 0, 0);
    for (start, length) in used.chain([(size, 0)]) {
        let free = start.saturating_sub(at).min(most - joined);
        if free > 0 {
            gaps.push(Part { joined, start: at, length: free });
            joined += free;
        }
        at = at.max(start + length);
    }
    gaps
}

fn joined(file: &[u8], parts: &[Part]) -> Vec<u8> {
    let parts = parts.iter().filter_map(|it| file.get(it.start..it.start + it.length));
    parts.flatten().copied().collect()
}

/// Place in a file of a place in its joined parts, and the bytes that are left of that part.
fn placed(parts: &[Part], at: usize) -> Option<(usize, usize)> {
    let after = parts.partition_point(|part| part.joined <= at);
    let part = parts.get(after.checked_sub(1)?)?;
    let inside = at - part.joined;
    (inside < part.length).then(|| (part.start + inside, part.length - inside))
}

/// Cuts a copy between joined parts at their ends.
fn spread(mut copy: Copied, old: &[Part], new: &[Part], copies: &mut Vec<Copied>) {
    while copy.length > 0 {
        let (Some(in_old), Some(in_new)) = (placed(old, copy.old), placed(new, copy.new)) else {
            return;
        };
        let length = copy.length.min(in_old.1).min(in_new.1);
        copies.push(Copied { new: in_new.0, old: in_old.0, length });
        let rest = copy.length - length;
        copy = Copied { new: copy.new + length, old: copy.old + length, length: rest };
    }
}
