//! Quota: which records a full buffer, or a full stream, drops. Settled ones always go first. Then
//! the overflow policy decides: that of the stream that needs the room, or, where the whole buffer
//! is full, that of the stream of the lowest priority.
//!
//! See decision 0048.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_records::{Overflow, StreamPolicy};

use super::stream::Stream;

/// Part of a stream's policy that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Priority from 0 to 9; records of low priority are dropped first.
    pub priority: u8,
    /// Maximum number of bytes of the stream on disk. None: no quota of its own.
    pub quota: Option<u64>,
    /// Records to drop when the quota is used up.
    pub overflow: Overflow,
}

impl From<&StreamPolicy> for Rules {
    fn from(policy: &StreamPolicy) -> Self {
        Self { priority: policy.priority, quota: policy.quota_bytes, overflow: policy.overflow }
    }
}

/// Selection of the blocks of a segment that are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Settled blocks, oldest first.
    Settled,
    /// All blocks, oldest first.
    Oldest,
    /// All blocks, newest first.
    Newest,
    /// All records but every nth.
    Thin(u32),
}

/// Next step to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relief {
    /// Nothing: the room is sufficient.
    Enough,
    /// Drop blocks of this segment until `bytes` bytes are free, and ask again.
    Drop {
        /// Id of the stream.
        id: u32,
        /// Start of the segment, which is its key in the stream.
        start: u64,
        /// Selection of the blocks.
        how: How,
        /// Bytes that are missing.
        bytes: u64,
    },
    /// Refuse the incoming records.
    Refuse,
}

/// Decides the next step so that `need` bytes of the stream `incoming` fit where the whole buffer
/// may have `limit`. `tried`: segments that gave nothing in an earlier step, each with true if it
/// was tried for settled blocks.
pub fn relief(
    streams: &BTreeMap<u32, Stream>,
    rules: impl Fn(u32) -> Rules,
    incoming: u32,
    need: u64,
    limit: u64,
    tried: &BTreeSet<(u32, u64, bool)>,
) -> Relief {
    let own = rules(incoming);
    let have = streams.get(&incoming).map_or(0, Stream::bytes);
    if let Some(quota) = own.quota
        && have.saturating_add(need) > quota
    {
        let bytes = have.saturating_add(need) - quota;
        return match streams.get(&incoming) {
            Some(stream) => within(incoming, stream, own.overflow, bytes, true, tried),
            None => Relief::Refuse,
        };
    }
    let total: u64 = streams.values().map(Stream::bytes).sum();
    if total.saturating_add(need) <= limit {
        return Relief::Enough;
    }
    let bytes = total.saturating_add(need) - limit;
    let settled = streams.iter().filter_map(|(id, stream)| {
        let (start, segment) = settled_segment(*id, stream, tried)?;
        Some((segment, *id, start))
    });
    if let Some((_, id, start)) = settled.min() {
        return Relief::Drop { id, start, how: How::Settled, bytes };
    }
    // Victims in order of priority, then the largest first; none of a higher priority than the
    // incoming stream. Example: a stream of priority 5 takes room from 0, then from a larger 5,
    // never from 6.
    let mut victims: Vec<_> = streams
        .iter()
        .filter(|(_, stream)| stream.bytes() > 0)
        .map(|(id, stream)| (rules(*id).priority, u64::MAX - stream.bytes(), *id))
        .filter(|(priority, ..)| *priority <= own.priority)
        .collect();
    victims.sort_unstable();
    for (_, _, id) in victims {
        let Some(stream) = streams.get(&id) else { continue };
        let relief = within(id, stream, rules(id).overflow, bytes, id == incoming, tried);
        if relief != Relief::Refuse || id == incoming {
            return relief;
        }
    }
    Relief::Refuse
}

fn settled_segment(
    id: u32,
    stream: &Stream,
    tried: &BTreeSet<(u32, u64, bool)>,
) -> Option<(u64, u64)> {
    let settled = &stream.kept().settled;
    let mut segments = stream.segments().filter(|(start, segment)| {
        !tried.contains(&(id, *start, true))
            && !settled.within(segment.first, segment.last).is_empty()
    });
    segments.next().map(|(start, segment)| (start, segment.earliest))
}

/// Decides within one stream. `own`: it is the stream that needs the room.
fn within(
    id: u32,
    stream: &Stream,
    overflow: Overflow,
    bytes: u64,
    own: bool,
    tried: &BTreeSet<(u32, u64, bool)>,
) -> Relief {
    if let Some((start, _)) = settled_segment(id, stream, tried) {
        return Relief::Drop { id, start, how: How::Settled, bytes };
    }
    let untried = |start: &u64| !tried.contains(&(id, *start, false));
    let oldest = || stream.segments().map(|(start, _)| start).find(untried);
    let drop = |start: Option<u64>, how| {
        start.map_or(Relief::Refuse, |start| Relief::Drop { id, start, how, bytes })
    };
    match overflow {
        Overflow::DropOldest => drop(oldest(), How::Oldest),
        Overflow::DropNewest if own => Relief::Refuse,
        Overflow::DropNewest => {
            drop(stream.segments().map(|(start, _)| start).rev().find(untried), How::Newest)
        }
        Overflow::Thin { keep_every } => {
            // Older segments first, each once before any is thinned twice. The newest is still
            // being written.
            let newest = stream.segments().next_back().map(|(start, _)| start);
            let thin = stream
                .segments()
                .filter(|(start, segment)| {
                    untried(start) && Some(*start) != newest && segment.count > 1
                })
                .min_by_key(|(start, segment)| (segment.thinned, *start));
            match thin {
                Some((start, _)) => drop(Some(start), How::Thin(keep_every.max(2))),
                // No segment is left to thin: the oldest is dropped.
                None => drop(stream.segments().map(|(start, _)| start).next(), How::Oldest),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_records::Range;
    use proptest::prelude::*;

    use super::*;
    use crate::data::stream::Block;

    fn rules(priority: u8, quota: Option<u64>, overflow: Overflow) -> Rules {
        Rules { priority, quota, overflow }
    }

    /// Makes a stream of so many segments of 300,000 bytes.
    fn filled(name: &str, segments: u64) -> Stream {
        let mut stream = Stream::new(name.parse().unwrap(), 1);
        for at in 0..segments {
            let first = at * 100 + 1;
            let block = Block {
                first,
                last: first + 99,
                count: 100,
                bytes: 300_000,
                earliest: at,
                latest: at,
            };
            stream.stored(&block, None);
        }
        stream
    }

    #[test]
    fn what_is_shipped_goes_first_wherever_it_is() {
        let streams: BTreeMap<u32, Stream> = [(0, filled("a", 4)), (1, filled("b", 4))].into();
        let mut shipped = streams.clone();
        shipped.get_mut(&1).unwrap().settle(Range { from: 201, to: 300 });
        let rule = |_| rules(5, None, Overflow::DropOldest);
        let tried = BTreeSet::new();
        let ask = |streams, limit| relief(streams, rule, 0, 300_000, limit, &tried);
        assert_eq!(ask(&streams, 2_700_000), Relief::Enough);
        let settled = Relief::Drop { id: 1, start: 201, how: How::Settled, bytes: 300_000 };
        assert_eq!(ask(&shipped, 2_400_000), settled);
        let oldest = Relief::Drop { id: 0, start: 1, how: How::Oldest, bytes: 300_000 };
        assert_eq!(ask(&streams, 2_400_000), oldest);
        let nothing = [(1, 201, true)].into();
        assert_eq!(relief(&shipped, rule, 0, 300_000, 2_400_000, &nothing), oldest);
    }

    #[test]
    fn least_priority_goes_first_and_never_a_higher_one() {
        let streams: BTreeMap<u32, Stream> =
            [(0, filled("low", 2)), (1, filled("high", 6)), (2, filled("new", 0))].into();
        let rule = |priority: u8| {
            move |id| {
                let own = [2, 8, priority].get(id as usize).copied().unwrap();
                rules(own, None, Overflow::DropOldest)
            }
        };
        let ask =
            |priority| relief(&streams, rule(priority), 2, 300_000, 2_400_000, &BTreeSet::new());
        assert!(matches!(ask(9), Relief::Drop { id: 0, .. }));
        assert!(matches!(ask(2), Relief::Drop { id: 0, .. }));
        assert_eq!(ask(1), Relief::Refuse, "it is itself the least");
        let newest = |id| rules(if id == 2 { 5 } else { 3 }, None, Overflow::DropNewest);
        let gone = relief(&streams, newest, 2, 300_000, 2_400_000, &BTreeSet::new());
        assert!(
            matches!(gone, Relief::Drop { id: 1, start: 501, how: How::Newest, .. }),
            "{gone:?}"
        );
        let own = relief(&streams, newest, 1, 300_000, 2_400_000, &BTreeSet::new());
        assert_eq!(own, Relief::Refuse);
    }

    proptest! {
        /// Checks that repeating the decided step always ends, with room or with a refusal.
        #[test]
        fn it_always_ends(
            sizes in proptest::collection::vec(0u64..6, 1..5),
            quota in proptest::option::of(0u64..2_000_000),
            limit in 0u64..4_000_000,
            thin: bool,
            settled in 0u64..600,
        ) {
            let mut streams: BTreeMap<u32, Stream> = (0..)
                .zip(&sizes)
                .map(|(id, segments)| (id, filled(&format!("s{id}"), *segments)))
                .collect();
            if let Some(stream) = streams.get_mut(&0) {
                stream.settle(Range { from: 1, to: settled });
            }
            let overflow =
                if thin { Overflow::Thin { keep_every: 2 } } else { Overflow::DropOldest };
            let rule = |id: u32| rules(u8::try_from(id).unwrap_or(9), quota, overflow);
            let mut tried = BTreeSet::new();
            for round in 0.. {
                prop_assert!(round < 200, "it never ends");
                match relief(&streams, rule, 0, 250_000, limit, &tried) {
                    Relief::Enough => {
                        let total: u64 = streams.values().map(Stream::bytes).sum();
                        prop_assert!(total + 250_000 <= limit);
                        prop_assert!(quota.is_none_or(|it| streams[&0].bytes() + 250_000 <= it));
                        break;
                    }
                    Relief::Refuse => break,
                    Relief::Drop { id, start, how, .. } => {
                        let stream = streams.get_mut(&id).unwrap();
                        let segment = *stream.segment(start).unwrap();
                        let block = Block {
                            first: segment.first,
                            last: segment.last,
                            count: segment.count,
                            bytes: segment.bytes,
                            earliest: segment.earliest,
                            latest: segment.latest,
                        };
                        let whole = stream.kept().settled.missing(block.first, block.last).is_empty();
                        match how {
                            How::Settled if !whole => {
                                tried.insert((id, start, true));
                            }
                            How::Thin(_) => {
                                let left = Block {
                                    count: block.count / 2,
                                    bytes: block.bytes / 2,
                                    ..block
                                };
                                stream.thinned(start, &[left]);
                            }
                            _ => stream.dropped(start, &block, holdfast_records::GapReason::Quota),
                        }
                    }
                }
            }
        }
    }
}
