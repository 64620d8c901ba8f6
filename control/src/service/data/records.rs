//! Reading of stored data records: by sequence number and time, merged where blocks of one stream
//! interleave, in memory that does not grow with the number of records. All functions block on the
//! disk.
//!
//! See decision 0122.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;

use holdfast_base::ids::{DeviceId, Name};
use holdfast_query::{Found, Number};
use holdfast_records::{Range, RangeSet, Record, StreamName, StreamReport};

use super::Data;
use super::blocks::{BlockRead, HEADS, read_block};
use crate::api::time::rfc3339_millis;
use crate::api::{DeviceStreams, Ledger, MissingRange, Point, StreamItem, StreamLast};
use crate::core::ledger::{Missing, MissingList};
use crate::core::ledger_page::ledger_page;
use crate::core::policies::device_link;
use crate::core::query::json_number;
use crate::core::rights::{Action, Actor};
use crate::core::shipping::{Circumstances, nothing_shipped};
use crate::core::streams::{Streams, owner};
use crate::core::{ingest, values, view};
use crate::ports::data_store::{Direction, Head, StreamRow};
use crate::service::listing::page;
use crate::service::rights::may;
use crate::service::{Failure, Listed, Query};

/// Number of segments that are read at once.
const SEGMENTS: usize = 10_000;

/// Numbers of ranges whose times are looked up: of missing records, and of those that a policy left
/// on the device. Each costs the reading of at most two blocks.
const DATED: (usize, usize) = (100, 20);

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

/// Stream whose records the caller may read. Only the service makes one, after it asked [`may`].
///
/// [`may`]: crate::core::rights::may
#[derive(Debug, Clone)]
pub struct Readable(pub(in crate::service) StreamRow);

impl std::ops::Deref for Readable {
    type Target = StreamRow;

    fn deref(&self) -> &StreamRow {
        &self.0
    }
}

impl Data {
    /// Returns a stream of which records were received, for an action that reads it.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown device or stream, and [`Failure::Unavailable`]
    /// while the data store is being opened.
    pub fn stream(
        &self,
        actor: &Actor,
        action: Action,
        device: &str,
        stream: &str,
    ) -> Result<Readable, Failure> {
        may(actor, action, device)?;
        let name = self.device_of_streams(&actor.tenant, device)?;
        let none = || no_stream(&name, stream);
        let stream: StreamName = stream.parse().map_err(|_| none())?;
        let sent = self.of_device(&actor.tenant, &name, |streams| streams.get(&stream).cloned());
        sent.map(Readable).ok_or_else(|| {
            self.why_none(&actor.tenant, &name, &stream).map_or_else(none, Failure::NothingShipped)
        })
    }

    /// Explains why no record of a stream was received although its device reports the stream.
    /// `None` when it does not report it.
    fn why_none(&self, tenant: &Name, device: &Name, stream: &StreamName) -> Option<String> {
        let said = {
            let model = self.documents.model(tenant);
            let data = model.devices.get(device)?.report.data.as_deref()?;
            data.streams.get(stream)?.clone()
        };
        let reasons = self.held_back(tenant, device, stream, false);
        Some(nothing_shipped(device.as_str(), stream, &said, &reasons))
    }

    /// Returns true when records of a stream were received, or its device reports the stream.
    pub(in crate::service) fn has_stream(
        &self,
        tenant: &Name,
        device: &Name,
        stream: &StreamName,
    ) -> bool {
        let said = {
            let model = self.documents.model(tenant);
            let data = model.devices.get(device).and_then(|known| known.report.data.as_deref());
            data.is_some_and(|data| data.streams.contains_key(stream))
        };
        said || self.of_device(tenant, device, |streams| streams.contains_key(stream))
    }

    /// Reasons that hold back records of a stream on its device, for a person.
    pub(in crate::service) fn held_back(
        &self,
        tenant: &Name,
        device: &Name,
        stream: &StreamName,
        fetched: bool,
    ) -> Vec<String> {
        let model = self.documents.model(tenant);
        let Some(known) = model.devices.get(device) else { return Vec::new() };
        let wanted = model.desired_state(device).and_then(|desired| desired.data);
        let now = Circumstances {
            policies: wanted.as_deref(),
            link: known.report.data.as_deref().map(|data| &data.link),
            online: known.live.connection != 0,
            minute: u16::try_from(self.documents.now() / 60 % 1_440).unwrap_or(0),
        };
        now.hold_back(stream, fetched)
    }

    /// Resolves a device's name. Fails while the data store is being opened.
    fn device_of_streams(&self, tenant: &Name, device: &str) -> Result<Name, Failure> {
        if !self.known().loaded {
            return Err(Failure::Unavailable(
                "the data store is still being opened: ask again in a moment".into(),
            ));
        }
        let model = self.documents.model(tenant);
        let found = model.devices.get_key_value(device).map(|(name, _)| name.clone());
        found.ok_or_else(|| Failure::no("device", device))
    }

    /// Calls `look` with the streams of the machine that has this device name now. Returns the
    /// default when there is none.
    pub(in crate::service) fn of_device<T: Default>(
        &self,
        tenant: &Name,
        device: &Name,
        look: impl FnOnce(&Streams) -> T,
    ) -> T {
        let owner = {
            let model = self.documents.model(tenant);
            model.devices.get(device).map(|known| owner(&known.record.public_key))
        };
        let Some(owner) = owner else { return T::default() };
        let known = self.known();
        let id = DeviceId { tenant: tenant.clone(), device: device.clone() };
        known.machines.get(&(id, owner)).map(look).unwrap_or_default()
    }

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
        may(actor, Action::GetLedger, device)?;
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

    /// Lists streams of known devices, in the order of device and stream. `text` must occur in the
    /// stream's or the device's name.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query, and [`Failure::NotFound`] for an unknown
    /// device.
    pub fn streams(
        &self,
        actor: &Actor,
        query: &Query,
        device: Option<&str>,
        text: Option<&str>,
    ) -> Listed<StreamItem> {
        may(actor, Action::ListStreams, device.unwrap_or_default())?;
        let limit = query.limit()?;
        let bad = || {
            Failure::invalid(
                "continue: not a value that a page gave; leave it out to begin with the first page",
            )
        };
        let after = match query.after.as_deref() {
            None => None,
            Some(after) => {
                let (name, stream) = after.split_once('/').ok_or_else(bad)?;
                Some((
                    name.parse::<Name>().map_err(|_| bad())?,
                    stream.parse::<StreamName>().map_err(|_| bad())?,
                ))
            }
        };
        if let Some(device) = device {
            self.device_of_streams(&actor.tenant, device)?;
        }
        let devices: Vec<Name> = {
            let model = self.documents.model(&actor.tenant);
            let from = after.as_ref().map(|(name, _)| name.clone());
            let chosen = model.devices.iter().filter(|(name, known)| {
                device.is_none_or(|only| only == name.as_str())
                    && from.as_ref().is_none_or(|from| from <= *name)
                    && query.chooses(&known.record.labels)
            });
            chosen.map(|(name, _)| name.clone()).collect()
        };
        let mut items = Vec::new();
        for name in devices {
            let rest = self.streams_of(&actor.tenant, &name).into_iter().filter(|item| {
                let new = after.as_ref().is_none_or(|(device, stream)| {
                    *device != name || item.stream.as_str() > stream.as_str()
                });
                let meant = |text: &str| {
                    item.stream.to_lowercase().contains(text) || item.device.contains(text)
                };
                new && text.is_none_or(meant)
            });
            items.extend(rest.map(|item| (format!("{}/{}", item.device, item.stream), item)));
            if items.len() > limit {
                items.truncate(limit + 1);
                break;
            }
        }
        Ok(page(items, limit, self.documents.model(&actor.tenant).meta.version))
    }

    /// Streams of a device: those of which records were received, and those that it reports.
    fn streams_of(&self, tenant: &Name, name: &Name) -> Vec<StreamItem> {
        let (device, mut reported) = {
            let model = self.documents.model(tenant);
            let Some(device) = model.devices.get(name) else { return Vec::new() };
            let reported = device.report.data.as_deref().map(|data| data.streams.clone());
            (device.record.name.clone(), reported.unwrap_or_default())
        };
        let mut items = self.of_device(tenant, name, |streams| {
            let item = |(stream, row): (&StreamName, &StreamRow)| {
                item(&device, stream, &row.tally, reported.remove(stream))
            };
            streams.iter().map(item).collect::<Vec<_>>()
        });
        let none = ingest::Tally::default();
        items.extend(
            reported.into_iter().map(|(stream, said)| item(&device, &stream, &none, Some(said))),
        );
        items.sort_by(|one, other| one.stream.cmp(&other.stream));
        items
    }

    /// Returns a device's streams, and the reported state of its buffer and its link.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown device.
    pub fn device_streams(&self, actor: &Actor, device: &str) -> Result<DeviceStreams, Failure> {
        may(actor, Action::ListDeviceStreams, device)?;
        let name = self.device_of_streams(&actor.tenant, device)?;
        let (data, link) = {
            let model = self.documents.model(&actor.tenant);
            let known = model.devices.get(&name);
            (known.and_then(view::reported), known.and_then(device_link))
        };
        Ok(DeviceStreams { items: self.streams_of(&actor.tenant, &name), data, link })
    }
}

/// Failure for a stream that a device does not have.
pub(in crate::service) fn no_stream(device: &Name, stream: &str) -> Failure {
    let stream: String = stream.chars().take(80).collect();
    Failure::NoStream(format!("device {device} has no stream {stream:?}"))
}

fn item(
    device: &Name,
    stream: &StreamName,
    tally: &ingest::Tally,
    reported: Option<StreamReport>,
) -> StreamItem {
    let latest = tally.latest.as_ref();
    StreamItem {
        device: device.to_string(),
        stream: stream.to_string(),
        received: tally.received,
        duplicates: tally.duplicates,
        late: tally.late,
        missing: tally.lost(),
        by_policy: tally.by_policy(),
        last: latest
            .map(|latest| StreamLast { seq: latest.seq, time: rfc3339_millis(latest.time) }),
        records: tally.kept,
        bytes: tally.bytes,
        latest: latest
            .and_then(ingest::Latest::record)
            .map(|record| values::value_json(&record))
            // A number that no double holds, such as 1e400, is shown as text.
            .map(|text| serde_json::from_str(&text).unwrap_or(text.into())),
        reported: reported.and_then(|said| serde_json::to_value(said).ok()),
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
