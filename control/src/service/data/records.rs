//! Reading of stored data records: by sequence number and time, merged where blocks of one stream
//! interleave, in memory that does not grow with the number of records. All functions block on the
//! disk.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use holdfast_query::{Found, Number};
use holdfast_records::{Range, RangeSet, Record};

use super::blocks::{BlockRead, HEADS, read_block};
use super::{Data, Readable};
use crate::api::Point;
use crate::api::time::rfc3339_millis;
use crate::core::query::json_number;
use crate::ports::data_store::{Direction, Head, StreamRow};
use crate::service::Failure;

/// Maximum number of records in one series, about half a minute's work.
const MAX_SERIES: u64 = 5_000_000;

/// Selection of records of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Sequence numbers, both ends inclusive.
    pub numbers: Range,
    /// Earliest time, in milliseconds since 1970.
    pub since: u64,
    /// Time before which the records must be, in milliseconds since 1970.
    pub until: u64,
    /// True for descending sequence numbers.
    pub newest_first: bool,
}

impl Default for Window {
    fn default() -> Self {
        let numbers = Range { from: 0, to: u64::MAX };
        Self { numbers, since: 0, until: u64::MAX, newest_first: false }
    }
}

impl Window {
    fn holds(&self, record: &Record) -> bool {
        (self.numbers.from..=self.numbers.to).contains(&record.seq)
            && (self.since..self.until).contains(&record.time)
    }

    fn touches(&self, head: &Head) -> bool {
        head.last >= self.numbers.from
            && head.first <= self.numbers.to
            && head.max_time >= self.since
            && head.min_time < self.until
    }
}

/// Function that is called with each record, and may end the reading.
pub type Visitor<'a> = dyn FnMut(Record) -> ControlFlow<()> + 'a;

/// Records that were read and are not visited yet, by their sequence numbers.
#[derive(Default)]
struct MergeBuffer(BTreeMap<u64, Record>);

impl MergeBuffer {
    /// Visits the records below a sequence number, in ascending order.
    fn below(&mut self, number: u64, visit: &mut Visitor<'_>) -> ControlFlow<()> {
        while let Some(first) = self.0.first_entry() {
            if *first.key() >= number {
                break;
            }
            visit(first.remove())?;
        }
        ControlFlow::Continue(())
    }

    /// Visits the records from a sequence number on, in descending order.
    fn from(&mut self, number: u64, visit: &mut Visitor<'_>) -> ControlFlow<()> {
        while let Some(last) = self.0.last_entry() {
            if *last.key() < number {
                break;
            }
            visit(last.remove())?;
        }
        ControlFlow::Continue(())
    }
}

impl Data {
    /// Visits records of a stream in the order of their sequence numbers. Blocks that cannot be
    /// read are left out; returns the ranges of sequence numbers that they covered.
    ///
    /// # Errors
    /// Returns a [`Failure`] when the data store cannot be read.
    pub fn visit_records(
        &self,
        row: &Readable,
        window: Window,
        visit: &mut Visitor<'_>,
    ) -> Result<RangeSet, Failure> {
        let mut left_out = RangeSet::new();
        // It does not matter here whether the visitor ended the reading.
        let _ended = if window.newest_first {
            self.visit_down(row, window, visit, &mut left_out)?
        } else {
            self.visit_up(row, window, visit, &mut left_out)?
        };
        if !left_out.is_empty() {
            let (device, stream, pieces) = (&row.device, &row.stream, left_out.pieces());
            tracing::error!(%device, %stream, pieces, "blocks of records cannot be read and are left out");
        }
        Ok(left_out)
    }

    /// Visits records in ascending order.
    ///
    /// Blocks are ordered by their first number and may interleave, for example 1 to 9 (without 5)
    /// and 5 to 5. A record is visited once the next block begins above it. The reading begins
    /// `span - 1` numbers early, because no block covers more than `span` numbers.
    fn visit_up(
        &self,
        row: &StreamRow,
        window: Window,
        visit: &mut Visitor<'_>,
        left_out: &mut RangeSet,
    ) -> Result<ControlFlow<()>, Failure> {
        let mut waiting = MergeBuffer::default();
        let mut from = window.numbers.from.saturating_sub(row.tally.span.max(1) - 1);
        loop {
            let range = Range { from, to: window.numbers.to };
            let heads = self.store.heads(row.id, range, HEADS, Direction::Up)?;
            for head in &heads {
                if waiting.below(head.first, visit).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                self.load_block(row, head, window, &mut waiting, left_out)?;
            }
            match heads.last() {
                Some(last) if heads.len() == HEADS => from = last.first.saturating_add(1),
                _ => break,
            }
        }
        Ok(waiting.below(u64::MAX, visit))
    }

    /// Visits records in descending order, see [`Data::visit_up`].
    fn visit_down(
        &self,
        row: &StreamRow,
        window: Window,
        visit: &mut Visitor<'_>,
        left_out: &mut RangeSet,
    ) -> Result<ControlFlow<()>, Failure> {
        let mut waiting = MergeBuffer::default();
        let mut to = window.numbers.to;
        loop {
            let range = Range { from: 0, to };
            let heads = self.store.heads(row.id, range, HEADS, Direction::Down)?;
            for head in &heads {
                // No block from here on has records at `reach` or above, because no block covers
                // more than `span` numbers.
                let reach = head.first.saturating_add(row.tally.span.max(1));
                if waiting.from(reach, visit).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                if reach <= window.numbers.from {
                    return Ok(waiting.from(0, visit));
                }
                self.load_block(row, head, window, &mut waiting, left_out)?;
            }
            match heads.last() {
                Some(last) if heads.len() == HEADS && last.first > 0 => to = last.first - 1,
                _ => break,
            }
        }
        Ok(waiting.from(0, visit))
    }

    /// Reads a block and adds its records within the window to those that wait.
    fn load_block(
        &self,
        row: &StreamRow,
        head: &Head,
        window: Window,
        waiting: &mut MergeBuffer,
        left_out: &mut RangeSet,
    ) -> Result<(), Failure> {
        if !window.touches(head) {
            return Ok(());
        }
        match read_block(&*self.store, row, head)? {
            BlockRead::Records(records) => {
                let chosen = records.into_iter().filter(|record| window.holds(record));
                waiting.0.extend(chosen.map(|record| (record.seq, record)));
            }
            BlockRead::Gone => {}
            unread @ (BlockRead::Damaged | BlockRead::Unknown) => {
                if matches!(unread, BlockRead::Damaged) {
                    self.is_damaged(row, head.first);
                }
                left_out.insert(head.first, head.reach(row.tally.span));
            }
        }
        Ok(())
    }

    /// Folds a number in records into `points` parts of the time between `since` and `until`, in
    /// milliseconds since 1970. Parts without a value are left out. Also returns the ranges of
    /// sequence numbers that could not be read.
    ///
    /// # Errors
    /// Returns a [`Failure`] when the data store cannot be read, or more than 5,000,000 records are
    /// in that time.
    pub fn series(
        &self,
        row: &Readable,
        (since, until): (u64, u64),
        field: &holdfast_query::Path,
        points: u64,
    ) -> Result<(Vec<Point>, RangeSet), Failure> {
        let width = until.saturating_sub(since).div_ceil(points.max(1)).max(1);
        let mut folds: BTreeMap<u64, Fold> = BTreeMap::new();
        let mut paths = holdfast_query::Paths::new();
        paths.add(field);
        let mut count = 0;
        let window = Window { since, until, ..Window::default() };
        let left_out = self.visit_records(row, window, &mut |record| {
            count += 1;
            if count > MAX_SERIES {
                return ControlFlow::Break(());
            }
            if let Some(number) = paths.find(&record).first().and_then(Found::number) {
                let part = (record.time - since) / width;
                folds.entry(part).or_insert(Fold::of(number)).add(number);
            }
            ControlFlow::Continue(())
        })?;
        if count > MAX_SERIES {
            return Err(Failure::invalid(format!(
                "there are more than {MAX_SERIES} records in that time: ask for less of it"
            )));
        }
        let points = folds.into_iter().map(|(part, fold)| fold.point(since + part * width));
        Ok((points.collect(), left_out))
    }
}

/// Sums of the values in one part of a series.
struct Fold {
    min: Number,
    max: Number,
    sum: f64,
    count: u64,
}

impl Fold {
    fn of(first: Number) -> Self {
        Self { min: first, max: first, sum: 0.0, count: 0 }
    }

    fn add(&mut self, number: Number) {
        self.min = self.min.min(number);
        self.max = self.max.max(number);
        self.sum += number.float();
        self.count += 1;
    }

    fn point(&self, time: u64) -> Point {
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let count = self.count as f64;
        Point {
            time: rfc3339_millis(time),
            min: json_number(self.min),
            max: json_number(self.max),
            mean: self.sum / count,
            count: self.count,
        }
    }
}
