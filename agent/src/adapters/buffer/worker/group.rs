//! Storing a group of appends: sequence numbers, ceilings, room, blocks, one durable step, then the
//! replies. The order matters: no number is used before a ceiling covers it, and no reply goes out
//! before the step is durable.
//!
//! See decision 0044.

use std::collections::BTreeSet;

use holdfast_base::codec;

use super::super::answers::Written;
use super::super::change::Change;
use super::super::file::FileError;
use super::super::queue::{Append, Refused};
use super::Worker;
use super::weight::Weight;
use crate::adapters::crash;
use crate::core::data::step::{Answer, Numbered, StoredGroup};

/// Bytes written after which the totals are stored with a step, so that a crash loses few of them.
const TOTALS_EVERY: u64 = 4 * 1024 * 1024;

impl Worker {
    /// Stores a group, and sends the replies.
    pub(super) fn store(&mut self, group: Vec<Append>) {
        if self.open().is_none() {
            let why = self.full.clone().unwrap_or_default();
            return refuse(group, &Refused::DiskFull(why));
        }
        if self.room.now(&self.queue.data).is_none() {
            let why = "what is left of the disk is kept for the rest";
            return refuse(group, &Refused::DiskFull(why.into()));
        }
        let (publishes, waiting): (Vec<_>, Vec<_>) =
            group.into_iter().map(|it| (it.publish, (it.reply, it.room))).unzip();
        let mut numbered = self.contents.number(publishes, self.queue.time.now_ms());
        for stream in std::mem::take(&mut numbered.forgotten) {
            tracing::info!(%stream, "nothing is left of it: forgotten for a new stream");
        }
        let (mut replies, mut given, mut rooms) = (Vec::new(), Vec::new(), Vec::new());
        for ((reply, room), answer) in
            waiting.into_iter().zip(std::mem::take(&mut numbered.answers))
        {
            // A publisher that has gone never learns of it.
            let _gone = match answer {
                Answer::Nothing(range) => reply.send(Ok(range)),
                Answer::TooManyStreams => reply.send(Err(Refused::TooManyStreams)),
                Answer::TooManyOfOne => reply.send(Err(Refused::TooManyOfOne)),
                Answer::Numbered(id, range) => {
                    replies.push(reply);
                    given.push((id, range));
                    rooms.push(room);
                    continue;
                }
            };
        }
        // Held by the queue, so that they are sent even if this thread panics on the way.
        self.queue.hold(replies);
        let stored = self.write(numbered);
        crash::point("records-stored");
        drop(rooms);
        for (reply, (id, range)) in self.queue.release().into_iter().zip(given) {
            // A publisher that has gone never learns that its records are stored.
            let _gone = reply.send(match &stored {
                Ok(dropped) if dropped.contains(&id) => Err(Refused::Dropped(range)),
                Ok(_) => Ok(range),
                Err(error) => Err(Refused::DiskFull(error.text().to_owned())),
            });
        }
        self.queue.changed.notify_one();
    }

    /// Raises the ceilings that a group needs, makes room and stores it. Returns the streams whose
    /// records became gaps instead, for want of room.
    fn write(&mut self, numbered: Numbered) -> Result<BTreeSet<u32>, FileError> {
        if self.ceilings.known.damaged {
            self.cover_all()?;
        }
        self.raise(&self.contents.needed(&numbered))?;
        let room = self.room.now(&self.queue.data);
        let Some(file) = &self.file else {
            return Err(FileError::Other("the buffer is not open".into()));
        };
        let stored = self.contents.store(numbered, file, &self.queue.current(), room);
        let StoredGroup { change, dropped, payload } =
            stored.inspect_err(|error| self.write_failed(error))?;
        let mut change = change.into();
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
