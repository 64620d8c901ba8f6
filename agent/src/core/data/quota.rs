//! What goes when the buffer, or a stream's part of it, is full. What is settled always goes
//! first; then what the policy of the stream says that needs the room, or, where the whole is full,
//! of the stream of the least priority.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_protocol::data::{Overflow, StreamPolicy};

use super::stream::Stream;

/// What a policy says that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// 0 goes first.
    pub priority: u8,
    /// Bytes of the stream; None: no bound of its own.
    pub quota: Option<u64>,
    /// What goes.
    pub overflow: Overflow,
}

impl From<&StreamPolicy> for Rules {
    fn from(policy: &StreamPolicy) -> Self {
        Self { priority: policy.priority, quota: policy.quota_bytes, overflow: policy.overflow }
    }
}

/// Which blocks of a segment go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Those that are settled, oldest first.
    Settled,
    /// All, oldest first.
    Oldest,
    /// All, newest first.
    Newest,
    /// All but every nth record.
    Thin(u32),
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relief {
    /// There is room.
    Enough,
    /// Take blocks out of this segment, as many as make `bytes` of room, and ask again.
    Drop {
        /// Of which stream.
        id: u32,
        /// Where the segment began.
        start: u64,
        /// Which.
        how: How,
        /// How much is wanting.
        bytes: u64,
    },
    /// What comes is what goes.
    Refuse,
}

/// What to do so that `need` bytes of a stream find room where the whole may have `limit`.
/// `tried`: segments of which this gave nothing.
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
    // Whoever has the least priority, then the most: but nobody of a higher one than what comes.
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

/// Within one stream. `own`: it is the one that needs the room.
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
            // Older first; each once before any twice. The newest is still being written.
            let newest = stream.segments().next_back().map(|(start, _)| start);
            let thin = stream
                .segments()
                .filter(|(start, segment)| {
                    untried(start) && Some(*start) != newest && segment.count > 1
                })
                .min_by_key(|(start, segment)| (segment.thinned, *start));
            match thin {
                Some((start, _)) => drop(Some(start), How::Thin(keep_every.max(2))),
                // Nothing is left to thin: the oldest goes.
                None => drop(stream.segments().map(|(start, _)| start).next(), How::Oldest),
            }
        }
    }
}
