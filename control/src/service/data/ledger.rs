//! Ledgers: sums of a stream, and which of its records are missing and since when. All functions block
//! on the disk.
//!
//! See decision 0122.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use holdfast_records::{Range, StreamName};

use super::streams::no_stream;
use super::{Data, Readable, Window};
use crate::api::time::rfc3339_millis;
use crate::api::{Ledger, MissingRange};
use crate::core::ingest;
use crate::core::ledger::{Missing, MissingList};
use crate::core::ledger_page::ledger_page;
use crate::core::rights::{Action, Actor};
use crate::service::Failure;
use crate::service::rights::may_device;

/// Number of segments that are read at once.
const SEGMENTS: usize = 10_000;

/// Numbers of ranges whose times are looked up: of missing records, and of those that a policy left
/// on the device. Each costs the reading of at most two blocks.
const DATED: (usize, usize) = (100, 20);

/// Page and filter of a ledger's ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerPart {
    /// Ascending: the first sequence number. Descending: ranges must begin below this number.
    pub after: Option<u64>,
    /// Maximum number of ranges.
    pub limit: usize,
    /// True for descending sequence numbers.
    pub newest_first: bool,
    /// `Some(true)`: only ranges that a policy left on the device. `Some(false)`: only missing
    /// ones.
    pub by_policy: Option<bool>,
}

impl Data {
    /// Returns the empty ledger of a stream that its device reports and of which nothing was
    /// received, with a note that says why. `None` when records were received.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown device or stream.
    pub fn ledger_of_nothing(
        &self,
        actor: &Actor,
        device: &str,
        stream: &str,
    ) -> Result<Option<Ledger>, Failure> {
        may_device(actor, Action::GetLedger, &self.documents.model(&actor.tenant), device)?;
        let name = self.device_of_streams(&actor.tenant, device)?;
        let none = || no_stream(&name, stream);
        let stream: StreamName = stream.parse().map_err(|_| none())?;
        if self.of_device(&actor.tenant, &name, |streams| streams.contains_key(&stream)) {
            return Ok(None);
        }
        let note = self.why_none(&actor.tenant, &name, &stream).ok_or_else(none)?;
        let ledger = ledger_page(&ingest::Tally::default(), Vec::new(), None);
        Ok(Some(Ledger { note: Some(note), ..ledger }))
    }

    /// Returns a stream's sums and a page of its missing ranges, with their times.
    ///
    /// # Errors
    /// Returns a [`Failure`] when the data store cannot be read.
    pub fn ledger(&self, row: &Readable, part: LedgerPart) -> Result<Ledger, Failure> {
        let LedgerPart { after, limit, newest_first, by_policy } = part;
        let mut found: VecDeque<Missing> = VecDeque::new();
        let first = if newest_first { 0 } else { after.unwrap_or(0) };
        let before = after.filter(|_| newest_first).unwrap_or(u64::MAX);
        let mut list = MissingList::new(first, row.tally.highest);
        let (mut next, mut more) = (first, Vec::new());
        let mut is_over = false;
        while !is_over && (newest_first || found.len() <= limit) {
            let range = Range { from: next, to: u64::MAX };
            let segments = self.store.segments(row.id, range, SEGMENTS)?;
            for segment in &segments {
                list.add(*segment, &mut more);
            }
            match segments.last() {
                Some(last) if segments.len() >= SEGMENTS => next = last.to.saturating_add(1),
                _ => {
                    list.end(&mut more);
                    is_over = true;
                }
            }
            let wanted = |it: &Missing| {
                it.from < before && by_policy.is_none_or(|wanted| wanted == it.by_policy)
            };
            found.extend(more.drain(..).filter(wanted));
            // Segments are read upwards only, so the newest ranges are the last ones of the whole
            // ledger. One more than `limit` is kept: it shows whether another page follows.
            while newest_first && found.len() > limit.saturating_add(1) {
                found.pop_front();
            }
        }
        if newest_first {
            found.make_contiguous().reverse();
        }
        // `after` of the next page: upwards the first range that did not fit, downwards the last one
        // that did, because ranges must then begin below it.
        let follows = match (found.get(limit), newest_first) {
            (Some(_), true) => limit.checked_sub(1).and_then(|last| found.get(last)),
            (next, _) => next,
        };
        let follows = follows.map(|missing| missing.from.to_string());
        found.truncate(limit);
        let mut ledger = ledger_page(&row.tally, found.into(), follows);
        self.date(row, &mut ledger.missing, DATED.0)?;
        self.date(row, &mut ledger.by_policy, DATED.1)?;
        Ok(ledger)
    }

    /// Looks up the times of the `most` newest ranges.
    fn date(
        &self,
        row: &Readable,
        ranges: &mut [MissingRange],
        most: usize,
    ) -> Result<(), Failure> {
        let mut newest: Vec<&mut MissingRange> = ranges.iter_mut().collect();
        newest.sort_by_key(|range| std::cmp::Reverse(range.from));
        for range in newest.into_iter().take(most) {
            let below = Range { from: 0, to: range.from.saturating_sub(1) };
            let above = Range { from: range.to.saturating_add(1), to: u64::MAX };
            range.since = self.time_in(row, below, true)?.map(rfc3339_millis);
            range.until = self.time_in(row, above, false)?.map(rfc3339_millis);
        }
        Ok(())
    }

    /// Time of the first or last record in a range, in milliseconds since 1970.
    fn time_in(
        &self,
        row: &Readable,
        numbers: Range,
        newest_first: bool,
    ) -> Result<Option<u64>, Failure> {
        let mut time = None;
        if numbers.from <= numbers.to {
            let window = Window { numbers, newest_first, ..Window::default() };
            self.visit_records(row, window, &mut |record| {
                time = Some(record.time);
                ControlFlow::Break(())
            })?;
        }
        Ok(time)
    }
}
