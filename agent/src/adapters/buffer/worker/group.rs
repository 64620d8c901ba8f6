//! Storing a group: numbers, ceilings, room, blocks, one durable step, then the answers.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::codec;
use holdfast_records::{GapReason, Range, Record};

use super::super::Written;
use super::super::block::{self, Packed};
use super::super::change::Change;
use super::super::file::Trouble;
use super::super::queue::{Answer, Append, Refused};
use super::Worker;
use crate::adapters::crash;
use crate::core::data::places::{self, Place};
use crate::core::data::stream::Stream;

/// Totals are stored with a step when so many bytes were written since, so that a crash loses few
/// of them.
const TOTALS_EVERY: u64 = 4 * 1024 * 1024;

/// What is to be stored of one stream.
#[derive(Default)]
struct Part {
    records: Vec<Record>,
    first: u64,
    /// Some of them are dated by a clock that cannot be relied on.
    doubted: bool,
    /// How many records each answer is for.
    answers: Vec<(Answer, u64)>,
}

/// What a step is made of.
pub(super) struct Weight {
    /// Bytes of the blocks that come.
    rows: u64,
    /// Rows that go.
    removed: u64,
    /// Bytes of the records as they were published.
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
    /// Stores a group, and answers.
    pub(super) fn store(&mut self, group: Vec<Append>) {
        if self.open().is_none() {
            let why = self.full.clone().unwrap_or_default();
            return refuse(group, &Refused::DiskFull(why));
        }
        if let Err(trouble) = self.has_any_room() {
            return refuse(group, &Refused::DiskFull(trouble.words().to_owned()));
        }
        let (parts, rooms) = self.numbered(group);
        let covered = self.cover(&parts);
        let mut told: Vec<(Answer, (u32, Range))> = Vec::new();
        let mut packed = BTreeMap::new();
        let mut payload = 0;
        for (id, part) in parts {
            if part.doubted && self.streams.get_mut(&id).is_some_and(Stream::doubt) {
                self.marked.insert(id);
            }
            let mut first = part.first;
            for (answer, count) in part.answers {
                told.push((answer, (id, Range { from: first, to: first + count - 1 })));
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
        let (answers, ranges): (Vec<_>, Vec<_>) = told.into_iter().unzip();
        // Should the thread be lost on the way, they are answered all the same.
        self.queue.hold(answers);
        let stored = covered.and_then(|()| {
            let payload = u64::try_from(payload).unwrap_or(u64::MAX);
            self.write(packed, payload)
        });
        crash::point("records-stored");
        drop(rooms);
        for (answer, (id, range)) in self.queue.release().into_iter().zip(ranges) {
            // Who has gone does not know that it is stored.
            let _gone = answer.send(match &stored {
                Ok(dropped) if dropped.contains(&id) => Err(Refused::Dropped(range)),
                Ok(_) => Ok(range),
                Err(trouble) => Err(Refused::DiskFull(trouble.words().to_owned())),
            });
        }
        self.queue.changed.notify_one();
    }

    /// Gives each record its number. What belongs to no stream is refused at once.
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
                let _gone = append.tell.send(Ok(nothing));
                continue;
            }
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
                    let _gone = append.tell.send(Err(why));
                    continue;
                }
            }
            let id = self.id_of(&append.stream, self.base, append.owner);
            let next = next.unwrap_or(self.base);
            let part = parts.entry(id).or_insert_with(|| Part { first: next, ..Part::default() });
            let mut seq = part.first + u64::try_from(part.records.len()).unwrap_or(0);
            part.doubted |= append.doubted;
            part.answers.push((append.tell, u64::try_from(append.records.len()).unwrap_or(0)));
            part.records.extend(append.records.into_iter().map(|(format, value)| {
                let record = Record { seq, time: append.time, format, value };
                seq += 1;
                record
            }));
            rooms.push(append.room);
        }
        (parts, rooms)
    }

    /// Raises the ceilings above what is about to be given.
    fn cover(&mut self, parts: &BTreeMap<u32, Part>) -> Result<(), Trouble> {
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

    /// Makes room, and stores. Gives the streams whose records went into the gap ledger instead.
    fn write(
        &mut self,
        packed: BTreeMap<u32, Vec<Packed>>,
        payload: u64,
    ) -> Result<BTreeSet<u32>, Trouble> {
        let (mut change, mut dropped) = (Change::default(), BTreeSet::new());
        for (id, blocks) in packed {
            let need = blocks.iter().map(|packed| packed.block.bytes).sum();
            let room = match self.make_room(id, need, &mut change) {
                Ok(room) => room,
                Err(trouble) => {
                    self.not_written(&trouble);
                    return Err(trouble);
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
        // What is marked is stored with what is stored anyway, if something of it must be.
        self.take_marks(&mut change);
        self.note_written(&mut change);
        self.apply(change, payload).map(|()| dropped)
    }

    /// Counts what a step wrote, by cause.
    pub(super) fn count(&mut self, weight: Weight) {
        let Some(file) = &self.file else { return };
        let now = file.written();
        let all = now.saturating_sub(self.counted);
        self.counted = now;
        let records = weight.rows.min(all);
        let rest = all - records;
        let added = weight.rows.div_ceil(4_096);
        let retention = (rest * weight.removed).checked_div(weight.removed + added).unwrap_or(0);
        self.written.records += records;
        self.written.retention += retention;
        self.written.bookkeeping += rest - retention;
        self.written.payload += weight.payload;
    }

    /// Totals go along when there is something to tell.
    pub(super) fn note_written(&mut self, change: &mut Change) {
        let due = self.written.total() >= self.noted.saturating_add(TOTALS_EVERY);
        if due || !change.streams.is_empty() {
            let it = self.written;
            let all = [it.records, it.retention, it.bookkeeping, it.payload, it.since];
            if let Ok(bytes) = serde_cbor::to_vec(&all) {
                change.meta.insert("written".into(), bytes);
                self.noted = it.total();
            }
        }
    }

    /// A figure of the file.
    pub(super) fn figure<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        let stored = self.file.as_ref()?.meta(name).ok().flatten()?;
        codec::from_slice(&stored).ok()
    }

    pub(super) fn load_written(&mut self) {
        let all = self.figure::<[u64; 5]>("written");
        let known = self.written;
        self.written = match all {
            Some([records, retention, bookkeeping, payload, since]) => {
                Written { records, retention, bookkeeping, payload, since }
            }
            // A new file: the flash under it is the same.
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
        let _gone = append.tell.send(Err(why.clone()));
    }
}
