//! State after a start, read from the disk: the streams as they were stored, what was lost, and from which
//! sequence number each stream goes on.
//!
//! See decision 0045.

use std::collections::BTreeMap;

use holdfast_base::collect;
use holdfast_records::{GapReason, Range, StreamName};

use super::{Blocks, Ceilings, Change, Contents, Key, Stored};
use crate::data::stream::{Kept, Segment, Stream};

/// State that was read when the disk was opened.
#[derive(Debug, Default)]
pub struct Found {
    /// Streams by their ids.
    pub streams: BTreeMap<u32, Stream>,
    /// True when the last step was incomplete and was rolled back: what it held may have been
    /// acknowledged to a publisher.
    pub rolled_back: bool,
    /// True when the database is older than the journal beside it, as after a restored copy.
    pub older: bool,
    /// Segments that are closed but not yet stored as such, by stream and start.
    pub closed: Vec<Key>,
    /// Sequence numbers of blocks that cannot be read, by stream.
    pub damaged: Vec<(u32, Range)>,
    /// First sequence number of new streams, as it was stored.
    pub base: Option<u64>,
    /// Control plane's data store, as it was stored.
    pub store: Option<u64>,
    /// True when the file was marked as complete; false for a new one.
    pub whole: bool,
}

impl Found {
    /// Adds a stream: its row, and its segments that were stored as closed. Blocks behind the last
    /// of these are looked for, and may close segments that a crash kept from being stored.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn add<B: Blocks>(
        &mut self,
        blocks: &B,
        id: u32,
        kept: Kept,
        closed: BTreeMap<u64, Segment>,
    ) -> Result<(), B::Error> {
        let ends = closed.values().map(|segment| segment.last).max().map_or(0, |last| last + 1);
        let mut stream = Stream::load(kept, closed);
        let (mut heads, mut damaged) = blocks.heads(id, ends, u64::MAX)?;
        // What comes next follows from the last block: it is read whole.
        if let Some(head) = heads.pop_if(|head| !matches!(blocks.records(id, head), Ok(Some(_)))) {
            let first = head.block().first;
            damaged.push(Range { from: first, to: first });
        }
        for head in heads {
            let closed = stream.found(&head.block());
            self.closed.extend(closed.map(|start| (id, start)));
        }
        self.damaged.extend(damaged.into_iter().map(|range| (id, range)));
        self.streams.insert(id, stream);
        Ok(())
    }
}

/// Result of loading: the streams and what was lost.
#[derive(Debug)]
pub struct Loaded<P> {
    /// Gaps of what was lost, to be stored; `None` when nothing was. Its "whole" mark is stored in
    /// the same step as these gaps: a crash in between finds no mark and accounts for the loss
    /// again.
    pub change: Option<Change<P>>,
    /// True when the file is new although sequence numbers were given: the former one is gone.
    pub is_gone: bool,
}

impl Contents {
    /// Takes over the state of a file that was opened. A file that is new, empty or rolled back
    /// goes on above the ceilings. The caller applies the change and then covers all streams
    /// ([`Contents::given`]). `now_ms` is in milliseconds since 1970.
    pub fn load<P>(&mut self, found: Found, ceilings: &mut Ceilings, now_ms: u64) -> Loaded<P> {
        // What this process gave itself since its start is exact; the ceilings are only an upper
        // bound.
        let known = collect::map(self.streams.values().map(|it| (it.name().clone(), it.next())));
        self.streams = found.streams;
        self.marked.clear();
        self.forgotten.clear();
        self.gone.clear();
        self.reductions.clear();
        self.segments = collect::set(found.closed);
        self.ids =
            collect::map(self.streams.iter().map(|(id, stream)| (stream.name().clone(), *id)));
        let damaged = !found.damaged.is_empty();
        for (id, range) in found.damaged {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.lost(range, GapReason::Damaged);
                self.marked.insert(id);
            }
        }
        self.store = found.store;
        // A damaged block may be the last of its stream; how many numbers it held is then unknown.
        let lost = !found.whole || found.rolled_back || damaged;
        // The highest sequence number of any stream may be missing from an older copy, and the
        // ceilings may have been restored with it: treated like damaged ceilings, which `go_above`
        // passes by the clock.
        ceilings.damaged |= found.older;
        let had = ceilings.damaged || !ceilings.by_stream().is_empty();
        self.base = found.base.unwrap_or(1).max(ceilings.base());
        let change = lost.then(|| self.go_above(&known, ceilings, now_ms));
        Loaded { change, is_gone: !found.whole && had }
    }

    /// Moves every stream above any sequence number that it can have given, after state was lost.
    /// `known` holds the exact next numbers of streams that this process has served itself.
    fn go_above<P>(
        &mut self,
        known: &BTreeMap<StreamName, u64>,
        ceilings: &Ceilings,
        now_ms: u64,
    ) -> Change<P> {
        if ceilings.damaged {
            // Without ceilings nothing bounds what was given. Milliseconds since 1970 do: a number
            // per millisecond, without a pause since 1970, is more than any device gives. A stream
            // that was at 5,000,000 goes on at about 1,790,000,000,000, and the numbers between
            // become a gap.
            self.base = self.base.max(now_ms);
            for (id, stream) in &mut self.streams {
                stream.skip_to(self.base);
                self.marked.insert(*id);
            }
        }
        for (name, ceiling) in ceilings.by_stream() {
            // Example: the file ends at 1,000, the ceiling is 1,256. Numbers up to 1,256 may have
            // been given and acknowledged, so the stream goes on at 1,257 and tells 1,001..=1,256
            // as a gap. If this process knows that 1,040 was next, 1,040 will do.
            let above = ceiling.saturating_add(1);
            let next = match known.get(name) {
                Some(next) => above.min(*next),
                None if ceilings.damaged => above.max(self.base),
                None => above,
            };
            let id = self.id_of(name, next, None);
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.skip_to(next);
                self.marked.insert(id);
            }
        }
        let mut change = Change { whole: true, ..Change::default() };
        self.take_marks(&mut change);
        change.base = Some(self.base);
        change
    }
}
