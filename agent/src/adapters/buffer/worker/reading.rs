//! Reading pages of a stream, and choosing records to ship in full.

use holdfast_records::{GapReason, Range, StreamName};

use super::super::file::FileError;
use super::super::{Page, Window};
use super::Worker;
use crate::core::data::fetch::Choice;

/// Bytes that a record takes in a page beside its value.
const OVERHEAD: usize = 48;

impl Worker {
    /// Reads a page of about `max_bytes` bytes.
    pub(super) fn page(&mut self, name: &StreamName, window: Window, max_bytes: usize) -> Page {
        let mut page = Page { failed: self.open().is_none(), ..Page::default() };
        let Some(id) = self.ids.get(name).copied().filter(|_| !page.failed) else { return page };
        if let Err(error) = self.fill(id, window, max_bytes, &mut page) {
            page.failed = true;
            self.read_failed(&error);
        }
        for range in &page.damaged {
            self.bad_block(id, *range);
        }
        page
    }

    fn fill(
        &self,
        id: u32,
        window: Window,
        max_bytes: usize,
        page: &mut Page,
    ) -> Result<(), FileError> {
        let (Some(stream), Some(file)) = (self.streams.get(&id), &self.file) else {
            return Ok(());
        };
        let mut size = 0;
        for (_, segment) in stream.segments() {
            let within = segment.last >= window.from
                && segment.first <= window.to
                && segment.latest >= window.since
                && segment.earliest <= window.until;
            if !within {
                continue;
            }
            let (from, to) = (segment.first.max(window.from), segment.last.min(window.to));
            let (heads, damaged) = file.heads(id, from, to)?;
            page.damaged.extend(damaged);
            for head in heads {
                let block = head.block;
                if block.latest < window.since || block.earliest > window.until {
                    continue;
                }
                if size >= max_bytes {
                    page.next = Some(block.first.max(window.from));
                    return Ok(());
                }
                let Some(records) = file.records(id, &head)? else {
                    page.damaged.push(Range { from: block.first, to: block.last });
                    continue;
                };
                for record in records {
                    let within = (window.from..=window.to).contains(&record.seq)
                        && (window.since..=window.until).contains(&record.time);
                    if !within {
                        continue;
                    }
                    // At least one record, however large.
                    if size > 0 && size + record.value.len() + OVERHEAD > max_bytes {
                        page.next = Some(record.seq);
                        return Ok(());
                    }
                    size += record.value.len() + OVERHEAD;
                    page.records.push(record);
                }
            }
        }
        Ok(())
    }

    /// Closes the file after a read failed; a damaged file is set aside and a new one opened.
    pub(super) fn read_failed(&mut self, error: &FileError) {
        tracing::error!("the buffer cannot be read: {}", error.text());
        self.file = None;
        if let FileError::Damaged(why) = error {
            self.damage = Some(super::set_aside(&self.queue.data, why));
            self.tried = None;
            self.open();
        }
    }

    /// Turns a damaged block into a gap.
    pub(super) fn bad_block(&mut self, id: u32, range: Range) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        tracing::error!(stream = %stream.name(), from = range.from, to = range.to, "records cannot be read any more: damaged");
        stream.lost(range, GapReason::Damaged);
        self.damage = Some(format!(
            "records of {} cannot be read any more ({} to {}): the disk has changed them; they stand in the gap ledger",
            stream.name(),
            range.from,
            range.to
        ));
        self.mark(id);
    }

    /// Marks records to be shipped in full, of at most `most` bytes on disk; returns their number
    /// and their bytes on disk.
    pub(super) fn want(
        &mut self,
        name: &StreamName,
        (since, until): (u64, u64),
        most: u64,
    ) -> (u64, u64) {
        let Some(id) = self.ids.get(name).copied() else { return (0, 0) };
        let choice = match self.choose(id, Choice::new((since, until), most)) {
            Ok(choice) => choice,
            Err(error) => {
                self.read_failed(&error);
                return (0, 0);
            }
        };
        if let Some(stream) = self.streams.get_mut(&id) {
            choice.ranges.iter().for_each(|range| stream.want(*range));
        }
        if !choice.ranges.is_empty() {
            self.mark(id);
        }
        (choice.records, choice.bytes)
    }

    fn choose(&self, id: u32, mut choice: Choice) -> Result<Choice, FileError> {
        let (Some(stream), Some(file)) = (self.streams.get(&id), &self.file) else {
            return Ok(choice);
        };
        for (_, segment) in stream.segments() {
            if !choice.is_within(segment.earliest, segment.latest) {
                choice.skip();
                continue;
            }
            let (heads, _) = file.heads(id, segment.first, segment.last)?;
            if !heads.iter().all(|head| choice.look(&head.block)) {
                break;
            }
        }
        Ok(choice)
    }
}
