//! Reading pages of a stream, and choosing records to ship in full.

use std::time::Instant;

use holdfast_records::{Range, StreamName};

use super::super::answers::{Page, Window};
use super::super::aside::set_aside;
use super::super::file::FileError;
use super::Worker;
use crate::core::data::step::Blocks as _;

/// Bytes that a record takes in a page beside its value.
const OVERHEAD: usize = 48;

impl Worker {
    /// Reads a page of about `max_bytes` bytes.
    pub(super) fn page(&mut self, name: &StreamName, window: Window, max_bytes: usize) -> Page {
        let mut page = Page { failed: self.open().is_none(), ..Page::default() };
        let Some(id) = self.contents.id(name).filter(|_| !page.failed) else { return page };
        if let Err(error) = self.fill(id, window, max_bytes, &mut page) {
            page.failed = true;
            self.read_failed(&error);
        }
        for range in &page.damaged {
            self.contents.bad_block(id, *range, Instant::now());
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
        let (Some(stream), Some(file)) = (self.contents.stream(id), &self.file) else {
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
            self.damage = Some(set_aside(&self.queue.data, why));
            self.tried = None;
            self.open();
        }
    }

    /// Marks records to be shipped in full, of at most `most` bytes on disk; returns their number
    /// and their bytes on disk.
    pub(super) fn want(
        &mut self,
        name: &StreamName,
        (since, until): (u64, u64),
        most: u64,
    ) -> (u64, u64) {
        let Some(id) = self.contents.id(name) else { return (0, 0) };
        let Some(file) = &self.file else { return (0, 0) };
        match self.contents.want(file, id, (since, until), most, Instant::now()) {
            Ok(choice) => {
                if !choice.ranges.is_empty() {
                    self.queue.changed.notify_one();
                }
                (choice.records, choice.bytes)
            }
            Err(error) => {
                self.read_failed(&error);
                (0, 0)
            }
        }
    }
}
