//! Storing a group of appends: sequence numbers, ceilings, room, blocks, one durable step, then the
//! replies. The order matters: no number is used before a ceiling covers it, and no reply goes out
//! before the step is durable.
//!
//! See decision 0044.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::codec;
use holdfast_records::{GapReason, Range, Record};

use super::super::Written;
use super::super::block::{self, Packed};
use super::super::change::Change;
use super::super::file::FileError;
use super::super::queue::{Append, Refused, Reply};
use super::Worker;
use crate::adapters::crash;
use crate::core::data::places::{self, Place};
use crate::core::data::stream::Stream;

/// Bytes written after which the totals are stored with a step, so that a crash loses few of them.
const TOTALS_EVERY: u64 = 4 * 1024 * 1024;

/// Records of one stream in a group.
#[derive(Default)]
struct Part {
    records: Vec<Record>,
    first: u64,
    /// True when some records are dated by a clock that cannot be relied on.
    doubted: bool,
    /// Replies, each with its number of records.
    answers: Vec<(Reply, u64)>,
}

/// Amounts of a step, by which the bytes it wrote are divided by cause.
pub(super) struct Weight {
    /// Bytes of the added blocks.
    rows: u64,
    /// Number of removed rows.
    removed: u64,
    /// Bytes of the records' values as they were published.
    payload: u64,
}

impl Weight {
    pub(super) fn of(change: &Change, payload: u64) -> Self {
        let rows = change.add.values().map(|packed| packed.block.bytes).sum();
        let removed = change.remove.values().map(|rows| u64::from(*rows)).sum();
        Self { rows, removed, payload }
    }
}

impl Worker {
    /// Stores a group, and sends the replies.
    pub(super) fn store(&mut self, group: Vec<Append>) {
        if self.open().is_none() {
            let why = self.full.clone().unwrap_or_default();
            return refuse(group, &Refused::DiskFull(why));
        }
        if let Err(error) = self.has_any_room() {
            return refuse(group, &Refused::DiskFull(error.text().to_owned()));
        }
        let (parts, rooms) = self.numbered(group);
        let covered = self.raise_for(&parts);
        let mut replies: Vec<(Reply, (u32, Range))> = Vec::new();
        let mut packed = BTreeMap::new();
        let mut payload = 0;
        for (id, part) in parts {
            if part.doubted && self.streams.get_mut(&id).is_some_and(Stream::doubt) {
                self.marked.insert(id);
            }
            let mut first = part.first;
            for (answer, count) in part.answers {
                replies.push((answer, (id, Range { from: first, to: first + count - 1 })));
                first += count;
            }
            payload += part.records.iter().map(|it| it.value.len()).sum::<usize>();
            let blocks: Vec<Packed> = block::cut(&part.records)
                .into_iter()
                .filter_map(|records| {
                    let (first, last) = (records.first()?.seq, records.last()?.seq);
                    Some(Packed::new(id, first, last, records))
                })
                .collect();
            packed.insert(id, blocks);
        }
        let (answers, ranges): (Vec<_>, Vec<_>) = replies.into_iter().unzip();
        // Held by the queue, so that they are sent even if this thread panics on the way.
        self.queue.hold(answers);
        let stored = covered.and_then(|()| {
            let payload = u64::try_from(payload).unwrap_or(u64::MAX);
            self.write(packed, payload)
        });
        crash::point("records-stored");
        drop(rooms);
        for (answer, (id, range)) in self.queue.release().into_iter().zip(ranges) {
            // A publisher that has gone never learns that its records are stored.
            let _gone = answer.send(match &stored {
                Ok(dropped) if dropped.contains(&id) => Err(Refused::Dropped(range)),
                Ok(_) => Ok(range),
                Err(error) => Err(Refused::DiskFull(error.text().to_owned())),
            });
        }
        self.queue.changed.notify_one();
    }

    /// Gives each record its sequence number. Appends that no stream can be made for are refused at
    /// once.
    #[allow(clippy::type_complexity, reason = "one caller, next to it")]
    fn numbered(
        &mut self,
        group: Vec<Append>,
    ) -> (BTreeMap<u32, Part>, Vec<Option<tokio::sync::OwnedSemaphorePermit>>) {
        let (mut parts, mut rooms) = (BTreeMap::<u32, Part>::new(), Vec::new());
        for append in group {
            let known = self.ids.get(&append.stream).copied();
            let next = known.and_then(|id| self.streams.get(&id)).map(Stream::next);
            if append.records.is_empty() {
                let next = next.unwrap_or(self.base);
                let nothing = Range { from: next, to: next.saturating_sub(1) };
                let _gone = append.reply.send(Ok(nothing));
                continue;
            }
            // A stream that gets records in this very group is busy: it may have nothing on disk yet,
            // and must not be forgotten for the next new one.
            if known.is_none() {
                let busy = |id| parts.contains_key(&id);
                let refused = match places::place(&self.streams, append.owner.as_ref(), busy) {
                    Place::Free => None,
                    Place::Instead(id) => {
                        self.forget(id);
                        None
                    }
                    Place::TooMany => Some(Refused::TooManyStreams),
                    Place::TooManyOfOne => Some(Refused::TooManyOfOne),
                };
                if let Some(why) = refused {
                    let _gone = append.reply.send(Err(why));
                    continue;
                }
            }
            let id = self.id_of(&append.stream, self.base, append.owner);
            let next = next.unwrap_or(self.base);
            let part = parts.entry(id).or_insert_with(|| Part { first: next, ..Part::default() });
            let mut seq = part.first + u64::try_from(part.records.len()).unwrap_or(0);
            part.doubted |= append.doubted;
            part.answers.push((append.reply, u64::try_from(append.records.len()).unwrap_or(0)));
            part.records.extend(append.records.into_iter().map(|(format, value)| {
                let record = Record { seq, time: append.time, format, value };
                seq += 1;
                record
            }));
            rooms.push(append.room);
        }
        (parts, rooms)
    }

    /// Raises the ceilings above the sequence numbers that the group is about to use.
    fn raise_for(&mut self, parts: &BTreeMap<u32, Part>) -> Result<(), FileError> {
        let needed: Vec<_> = parts
            .iter()
            .filter_map(|(id, part)| {
                let last = part.first + u64::try_from(part.records.len()).unwrap_or(0);
                Some((self.streams.get(id)?.name().clone(), last))
            })
            .collect();
        if self.ceilings.damaged {
            self.cover_all()?;
        }
        self.raise(&needed)
    }

    /// Makes room and stores the blocks. Returns the streams whose records became gaps instead, for
    /// want of room.
    fn write(
        &mut self,
        packed: BTreeMap<u32, Vec<Packed>>,
        payload: u64,
    ) -> Result<BTreeSet<u32>, FileError> {
        // Streams take their turn one after the other, in memory, and all of it becomes one change:
        // the drops that made room and the records that need it are durable together or not at all.
        let (mut change, mut dropped) = (Change::default(), BTreeSet::new());
        for (id, blocks) in packed {
            let need = blocks.iter().map(|packed| packed.block.bytes).sum();
            let room = match self.make_room(id, need, &mut change) {
                Ok(room) => room,
                Err(error) => {
                    self.write_failed(&error);
                    return Err(error);
                }
            };
            let ttl = self.policy(id).ttl_ms;
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            for packed in blocks {
                if room {
                    let closed = stream.stored(&packed.block, ttl);
                    self.segments.extend(closed.map(|start| (id, start)));
                    change.add.insert((id, packed.block.first), packed);
                } else {
                    let block = packed.block;
                    stream.lost(Range { from: block.first, to: block.last }, GapReason::Quota);
                    self.marked.insert(id);
                    dropped.insert(id);
                }
            }
        }
        // Marked state goes along at no further cost.
        self.take_marks(&mut change);
        self.store_totals(&mut change);
        self.apply(change, payload).map(|()| dropped)
    }

    /// Adds the bytes that a step wrote to the totals, divided by cause: the blocks' own size
    /// first, the rest by the shares of pages added and rows removed.
    pub(super) fn count(&mut self, weight: Weight) {
        let Some(file) = &self.file else { return };
        let now = file.written();
        let all = now.saturating_sub(self.counted);
        self.counted = now;
        let records = weight.rows.min(all);
        let rest = all - records;
        // Example: 20 KiB were written for one block of 4 KiB that pushed out 3 rows. The block
        // counts 4 KiB as records; the other 16 KiB are 1 page added to 3 rows removed: 12 KiB
        // retention, 4 KiB bookkeeping.
        let added = weight.rows.div_ceil(4_096);
        let retention = (rest * weight.removed).checked_div(weight.removed + added).unwrap_or(0);
        self.written.records += records;
        self.written.retention += retention;
        self.written.bookkeeping += rest - retention;
        self.written.payload += weight.payload;
    }

    /// Adds the totals to a change, if they are due or the change stores streams anyway.
    pub(super) fn store_totals(&mut self, change: &mut Change) {
        let due = self.written.total() >= self.stored_total.saturating_add(TOTALS_EVERY);
        if due || !change.streams.is_empty() {
            let it = self.written;
            let all = [it.records, it.retention, it.bookkeeping, it.payload, it.since];
            if let Ok(bytes) = serde_cbor::to_vec(&all) {
                change.meta.insert("written".into(), bytes);
                self.stored_total = it.total();
            }
        }
    }

    /// Reads a single value of the file.
    pub(super) fn read_meta<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        let stored = self.file.as_ref()?.meta(name).ok().flatten()?;
        codec::from_slice(&stored).ok()
    }

    pub(super) fn load_written(&mut self) {
        let all = self.read_meta::<[u64; 5]>("written");
        let known = self.written;
        self.written = match all {
            Some([records, retention, bookkeeping, payload, since]) => {
                Written { records, retention, bookkeeping, payload, since }
            }
            // A new file on the same flash: the wear goes on from what is known.
            None => known,
        };
        if self.written.since == 0 {
            self.written.since = self.queue.time.now();
        }
        if known.total() > self.written.total() {
            self.written = known;
        }
    }
}

fn refuse(group: Vec<Append>, why: &Refused) {
    for append in group {
        let _gone = append.reply.send(Err(why.clone()));
    }
}
