//! Room for records: how much the buffer may use at present, and dropping what the core selects.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_records::{GapReason, Range, StreamPolicy};

use super::super::block::{self, Packed, rows};
use super::super::change::Change;
use super::super::file::FileError;
use super::super::{Limits, path};
use super::Worker;
use crate::core::data::quota::{self, How, Relief, Rules};
use crate::core::data::stream::Stream;

/// Interval between looks at the free space of the disk.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// Bytes of usable disk below which nothing is taken in.
const MIN_ROOM: u64 = 256 * 1024;
/// Most rounds of making room for one group; each frees bytes or rules a segment out.
const MAX_ROUNDS: usize = 4_096;

/// Disk space as it was when last looked at.
#[derive(Debug)]
pub(super) struct Room {
    limits: Limits,
    measured: Option<Instant>,
    limit: u64,
    low: bool,
}

impl Room {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, measured: None, limit: 0, low: false }
    }

    /// Returns the bytes of records that there may be, and whether that is less than the quota.
    pub(super) fn limit(&mut self, data: &Path) -> (u64, bool) {
        if self.measured.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
            self.measured = Some(Instant::now());
            (self.limit, self.low) = measure(data, self.limits);
        }
        (self.limit, self.low)
    }
}

fn measure(data: &Path, limits: Limits) -> (u64, bool) {
    const MIB: u64 = 1024 * 1024;
    let Ok(disk) = rustix::fs::statvfs(data) else {
        return (limits.quota.unwrap_or(64 * MIB), false);
    };
    let total = disk.f_blocks.saturating_mul(disk.f_frsize);
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let quota = limits.quota.unwrap_or((total / 10).min(1024 * MIB));
    let reserve = limits.reserve.unwrap_or((total / 20).clamp(16 * MIB, 1024 * MIB));
    // Space that the file has taken it may use again, since redb returns none to the disk; a tenth
    // of it is kept for the tree. Example: a file of 100 MiB, 30 MiB free and a reserve of 16 MiB
    // make 104 MiB usable.
    let has = std::fs::metadata(path(data)).map_or(0, |it| it.blocks().saturating_mul(512));
    let usable = (has / 10 * 9).saturating_add(free.saturating_sub(reserve));
    (quota.min(usable), usable < quota)
}

impl Worker {
    /// Bytes that records take on disk.
    pub(super) fn used(&self) -> u64 {
        self.streams.values().map(Stream::bytes).sum()
    }

    /// Policy of a stream, or the default.
    pub(super) fn policy(&self, id: u32) -> StreamPolicy {
        let policies = self.queue.current();
        let name = self.streams.get(&id).map(Stream::name);
        name.and_then(|name| policies.of(name))
            .map(|(_, policy)| policy.clone())
            .unwrap_or_default()
    }

    /// Fails when the disk has too little left to store anything.
    pub(super) fn has_any_room(&mut self) -> Result<(), FileError> {
        let (limit, low) = self.room.limit(&self.queue.data);
        if low && limit < MIN_ROOM {
            return Err(FileError::Full("what is left of the disk is kept for the rest".into()));
        }
        Ok(())
    }

    /// Makes room for `need` bytes of a stream. False when its new records have to be dropped
    /// instead.
    pub(super) fn make_room(
        &mut self,
        id: u32,
        need: u64,
        change: &mut Change,
    ) -> Result<bool, FileError> {
        let (limit, low) = self.room.limit(&self.queue.data);
        let policies = self.queue.current();
        let default = StreamPolicy::default();
        let mut tried = BTreeSet::new();
        // Somewhat more than needed, up to 1 MiB, so that the next groups find room without
        // dropping again.
        let spare = (limit / 64).min(1024 * 1024);
        for _ in 0..MAX_ROUNDS {
            let rules = |id: u32| {
                let name = self.streams.get(&id).map(Stream::name);
                let policy = name.and_then(|name| policies.of(name)).map(|(_, policy)| policy);
                Rules::from(policy.unwrap_or(&default))
            };
            match quota::relief(&self.streams, rules, id, need, limit, &tried) {
                Relief::Enough => return Ok(true),
                Relief::Refuse => return Ok(false),
                Relief::Drop { id, start, how, bytes } => {
                    let why = if low { GapReason::DiskFull } else { GapReason::Quota };
                    let freed = self.drop_from(id, start, how, bytes + spare, why, change)?;
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
    fn drop_from(
        &mut self,
        id: u32,
        start: u64,
        how: How,
        bytes: u64,
        why: GapReason,
        change: &mut Change,
    ) -> Result<u64, FileError> {
        if self.is_added_to(id, start, change) {
            return Ok(0);
        }
        if let How::Thin(every) = how {
            return self.thin(id, start, every, change);
        }
        let (Some(stream), Some(file)) = (self.streams.get_mut(&id), &self.file) else {
            return Ok(0);
        };
        let Some(segment) = stream.segment(start).copied() else { return Ok(0) };
        let (mut heads, _) = file.heads(id, segment.first, segment.last)?;
        heads.retain(|head| {
            let settled = &stream.kept().settled;
            let gone = change.remove.contains_key(&(id, head.block.first));
            !gone
                && (how != How::Settled
                    || settled.missing(head.block.first, head.block.last).is_empty())
        });
        if how == How::Newest {
            heads.reverse();
        }
        let mut freed = 0;
        for head in heads {
            if freed >= bytes {
                break;
            }
            freed += head.block.bytes;
            stream.dropped(start, &head.block, why);
            change.remove.insert((id, head.block.first), rows(head.length));
        }
        if freed > 0 {
            self.segments.insert((id, start));
            self.marked.insert(id);
        }
        Ok(freed)
    }

    /// True when the change under way adds blocks to a segment: they are not in the file yet.
    fn is_added_to(&self, id: u32, start: u64, change: &Change) -> bool {
        let segment = self.streams.get(&id).and_then(|stream| stream.segment(start));
        segment.is_some_and(|segment| {
            change
                .add
                .range((id, 0)..=(id, segment.last))
                .any(|(_, packed)| packed.block.last >= segment.first)
        })
    }

    /// Thins a segment out to every nth record; returns the bytes freed.
    fn thin(
        &mut self,
        id: u32,
        start: u64,
        every: u32,
        change: &mut Change,
    ) -> Result<u64, FileError> {
        let (Some(stream), Some(file)) = (self.streams.get_mut(&id), &self.file) else {
            return Ok(0);
        };
        let Some(segment) = stream.segment(start).copied() else { return Ok(0) };
        let (heads, mut damaged) = file.heads(id, segment.first, segment.last)?;
        let (mut kept, mut last) = (Vec::new(), segment.first);
        let every = usize::try_from(every).unwrap_or(usize::MAX);
        let mut nth = 0;
        for head in &heads {
            last = last.max(head.block.last);
            let Some(records) = file.records(id, head)? else {
                damaged.push(Range { from: head.block.first, to: head.block.last });
                continue;
            };
            for record in records {
                if nth % every == 0 {
                    kept.push(record);
                }
                nth += 1;
            }
        }
        let Some(first) = heads.first().map(|head| head.block.first) else { return Ok(0) };
        for head in &heads {
            change.remove.insert((id, head.block.first), rows(head.length));
        }
        // Each block accounts for all numbers up to the next one: those it holds no record of were
        // thinned out. Example: of 1..=12 every third is kept (1, 4, 7, 10); cut in two, the blocks
        // are 1..=4 and 5..=12.
        let cuts = block::cut(&kept);
        let ends: Vec<u64> = cuts.iter().filter_map(|cut| Some(cut.last()?.seq)).collect();
        let (mut from, mut blocks) = (first, Vec::new());
        for (at, cut) in cuts.iter().enumerate() {
            let to =
                if at + 1 == cuts.len() { last } else { ends.get(at).copied().unwrap_or(last) };
            let packed = Packed::new(id, from, to, cut);
            blocks.push(packed.block);
            change.add.insert((id, from), packed);
            from = to + 1;
        }
        // Numbers of a damaged block are lost, not thinned out: reported with their own reason.
        damaged.iter().for_each(|range| stream.lost(*range, GapReason::Damaged));
        stream.thinned(start, &blocks);
        let now = stream.segment(start).map_or(0, |segment| segment.bytes);
        self.segments.insert((id, start));
        self.marked.insert(id);
        damaged.into_iter().for_each(|range| self.bad_block(id, range));
        Ok(segment.bytes.saturating_sub(now))
    }

    /// Drops records that are older than their ttl. `now` is of a clock that can be relied on, so
    /// streams that were dated in doubt are dated by it, too.
    pub(super) fn expire(&mut self, now: u64) {
        let mut change = Change::default();
        for (id, stream) in &mut self.streams {
            if stream.date(now) {
                self.marked.insert(*id);
                self.marked_at.get_or_insert_with(Instant::now);
            }
        }
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        for id in ids {
            let Some(ttl) = self.policy(id).ttl_ms else { continue };
            let Some(stream) = self.streams.get(&id) else { continue };
            for start in stream.expired(ttl, now) {
                let gone = self.drop_from(
                    id,
                    start,
                    How::Oldest,
                    u64::MAX,
                    GapReason::Expired,
                    &mut change,
                );
                if let Err(error) = gone {
                    return self.read_failed(&error);
                }
            }
        }
        if !change.remove.is_empty() {
            self.take_marks(&mut change);
            self.store_totals(&mut change);
            let _logged = self.apply(change, 0);
            self.queue.changed.notify_one();
        }
    }
}
