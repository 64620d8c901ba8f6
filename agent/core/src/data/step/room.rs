//! Room for records: how much the buffer may use, what is dropped or thinned out for records that
//! come, and what has passed its ttl.
//!
//! See decision 0137.

use std::collections::BTreeSet;
use std::time::Instant;

use holdfast_records::{DataPolicies, GapReason, Range, StreamPolicy};

use super::{Blocks, Change, Contents, Stored};
use crate::data::Limits;
use crate::data::quota::{self, How, Relief, Rules};

/// Bytes of usable disk below which nothing is taken in.
const MIN_ROOM: u64 = 256 * 1024;
/// Most rounds of making room for one group; each frees bytes or rules a segment out.
const MAX_ROUNDS: usize = 4_096;
const MIB: u64 = 1024 * 1024;

/// Bytes that records may take on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Bytes of records that there may be: the quota, or what the disk still has room for.
    pub limit: u64,
    /// True when the disk has less room than the quota.
    pub low: bool,
}

impl Room {
    /// Room on a disk of `total` bytes of which `free` are free. `has`: bytes that the buffer's
    /// file takes.
    pub fn on_disk(limits: Limits, total: u64, free: u64, has: u64) -> Self {
        let quota = limits.quota.unwrap_or((total / 10).min(1024 * MIB));
        let reserve = limits.reserve.unwrap_or((total / 20).clamp(16 * MIB, 1024 * MIB));
        // Space that the file has taken it may use again, since the database returns none to the
        // disk; a tenth of it is kept for the tree. Example: a file of 100 MiB, 30 MiB free and a
        // reserve of 16 MiB make 104 MiB usable.
        let usable = (has / 10 * 9).saturating_add(free.saturating_sub(reserve));
        Self { limit: quota.min(usable), low: usable < quota }
    }

    /// Room on a disk that cannot be measured: the quota, or 64 MiB.
    pub fn unmeasured(limits: Limits) -> Self {
        Self { limit: limits.quota.unwrap_or(64 * MIB), low: false }
    }

    /// True when the disk has too little left to store anything.
    pub fn is_none(&self) -> bool {
        self.low && self.limit < MIN_ROOM
    }
}

impl Contents {
    /// Makes room for `need` bytes of a stream. False when its new records have to be dropped
    /// instead.
    pub(super) fn make_room<B: Blocks>(
        &mut self,
        id: u32,
        need: u64,
        blocks: &B,
        policies: &DataPolicies,
        room: Room,
        change: &mut Change<B::Packed>,
    ) -> Result<bool, B::Error> {
        let default = StreamPolicy::default();
        let mut tried = BTreeSet::new();
        // Somewhat more than needed, up to 1 MiB, so that the next groups find room without
        // dropping again.
        let spare = (room.limit / 64).min(MIB);
        for _ in 0..MAX_ROUNDS {
            let rules = |id: u32| Rules::from(self.policy(policies, id).unwrap_or(&default));
            match quota::relief(&self.streams, rules, id, need, room.limit, &tried) {
                Relief::Enough => return Ok(true),
                Relief::Refuse => return Ok(false),
                Relief::Drop { id, start, how, bytes } => {
                    let why = if room.low { GapReason::DiskFull } else { GapReason::Quota };
                    let freed =
                        self.drop_from((id, start), how, bytes + spare, why, blocks, change)?;
                    // `tried` grows with each round that frees nothing, so the loop ends even if no
                    // segment can give anything, for instance because this very step adds to it.
                    if freed == 0 {
                        tried.insert((id, start, how == How::Settled));
                    }
                }
            }
        }
        Ok(false)
    }

    /// Drops blocks of a segment, as `how` says, until `bytes` are freed; returns the bytes freed.
    fn drop_from<B: Blocks>(
        &mut self,
        (id, start): (u32, u64),
        how: How,
        bytes: u64,
        why: GapReason,
        blocks: &B,
        change: &mut Change<B::Packed>,
    ) -> Result<u64, B::Error> {
        if self.is_added_to(id, start, change) {
            return Ok(0);
        }
        if let How::Thin(every) = how {
            return self.thin(id, start, every, blocks, change);
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(0) };
        let Some(segment) = stream.segment(start).copied() else { return Ok(0) };
        let (mut heads, _) = blocks.heads(id, segment.first, segment.last)?;
        heads.retain(|head| {
            let block = head.block();
            let settled = &stream.kept().settled;
            !change.remove.contains_key(&(id, block.first))
                && (how != How::Settled || settled.missing(block.first, block.last).is_empty())
        });
        if how == How::Newest {
            heads.reverse();
        }
        let mut freed = 0;
        for head in heads {
            if freed >= bytes {
                break;
            }
            let block = head.block();
            freed += block.bytes;
            stream.dropped(start, &block, why);
            change.remove.insert((id, block.first), head.rows());
        }
        if freed > 0 {
            self.segments.insert((id, start));
            self.marked.insert(id);
        }
        Ok(freed)
    }

    /// True when the change under way adds blocks to a segment: they are not on disk yet.
    fn is_added_to<P: Stored>(&self, id: u32, start: u64, change: &Change<P>) -> bool {
        let segment = self.streams.get(&id).and_then(|stream| stream.segment(start));
        segment.is_some_and(|segment| {
            change
                .add
                .range((id, 0)..=(id, segment.last))
                .any(|(_, packed)| packed.block().last >= segment.first)
        })
    }

    /// Thins a segment out to every nth record; returns the bytes freed.
    fn thin<B: Blocks>(
        &mut self,
        id: u32,
        start: u64,
        every: u32,
        blocks: &B,
        change: &mut Change<B::Packed>,
    ) -> Result<u64, B::Error> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(0) };
        let Some(segment) = stream.segment(start).copied() else { return Ok(0) };
        let (heads, mut damaged) = blocks.heads(id, segment.first, segment.last)?;
        let (mut kept, mut last) = (Vec::new(), segment.first);
        let every = usize::try_from(every).unwrap_or(usize::MAX);
        let mut nth = 0;
        for head in &heads {
            let block = head.block();
            last = last.max(block.last);
            let Some(records) = blocks.records(id, head)? else {
                damaged.push(Range { from: block.first, to: block.last });
                continue;
            };
            for record in records {
                if nth % every == 0 {
                    kept.push(record);
                }
                nth += 1;
            }
        }
        let Some(first) = heads.first().map(|head| head.block().first) else { return Ok(0) };
        for head in &heads {
            change.remove.insert((id, head.block().first), head.rows());
        }
        // Each block accounts for all numbers up to the next one: those it holds no record of were
        // thinned out. Example: of 1..=12 every third is kept (1, 4, 7, 10); cut in two, the blocks
        // are 1..=4 and 5..=12.
        let cuts = B::cut(&kept);
        let ends: Vec<u64> = cuts.iter().filter_map(|cut| Some(cut.last()?.seq)).collect();
        let (mut from, mut left) = (first, Vec::new());
        for (at, cut) in cuts.iter().enumerate() {
            let to =
                if at + 1 == cuts.len() { last } else { ends.get(at).copied().unwrap_or(last) };
            let packed = B::pack(id, from, to, cut);
            left.push(packed.block());
            change.add.insert((id, from), packed);
            from = to + 1;
        }
        // Numbers of a damaged block are lost, not thinned out: reported with their own reason.
        damaged.iter().for_each(|range| stream.lost(*range, GapReason::Damaged));
        stream.thinned(start, &left);
        let now = stream.segment(start).map_or(0, |segment| segment.bytes);
        let name = stream.name();
        self.damaged.extend(damaged.into_iter().map(|range| (name.clone(), range)));
        self.segments.insert((id, start));
        self.marked.insert(id);
        Ok(segment.bytes.saturating_sub(now))
    }

    /// Drops records that are older than their ttl. `now_ms` is of a clock that can be relied on,
    /// in milliseconds since 1970, so streams that were dated in doubt are dated by it, too. `None`
    /// when nothing goes.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn expire<B: Blocks>(
        &mut self,
        now_ms: u64,
        blocks: &B,
        policies: &DataPolicies,
        now: Instant,
    ) -> Result<Option<Change<B::Packed>>, B::Error> {
        let mut change = Change::default();
        for (id, stream) in &mut self.streams {
            if stream.date(now_ms) {
                self.marked.insert(*id);
                self.marked_at.get_or_insert(now);
            }
        }
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        for id in ids {
            let ttl = self.policy(policies, id).and_then(|policy| policy.ttl_ms);
            let expired = ttl.zip(self.streams.get(&id));
            for start in expired.map(|(ttl, it)| it.expired(ttl, now_ms)).unwrap_or_default() {
                let (how, why) = (How::Oldest, GapReason::Expired);
                self.drop_from((id, start), how, u64::MAX, why, blocks, &mut change)?;
            }
        }
        if change.remove.is_empty() {
            return Ok(None);
        }
        self.take_marks(&mut change);
        Ok(Some(change))
    }
}
