//! Admission of new streams: the number that a device and each publisher may have, and the stream
//! that is forgotten for a new one.
//!
//! See decision 0045.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;

use super::stream::Stream;

/// Maximum number of streams on a device.
pub const MAX_STREAMS: usize = 1_000;
/// Maximum number of streams made by one workload or local access, so that some are left for
/// others.
pub const MAX_OF_ONE: usize = 200;

/// Result of the admission of a new stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The stream can be added.
    Free,
    /// The stream can be added when this one, which has nothing left on the device, is forgotten.
    Instead(u32),
    /// The device has its maximum number of streams, and none can be forgotten.
    TooMany,
    /// The publisher has its maximum number of streams, and none of them can be forgotten.
    TooManyOfOne,
}

/// Decides on a new stream of `owner` (None: the agent itself). `busy` is true for streams that are
/// about to get records, which are not forgotten.
pub fn place(
    streams: &BTreeMap<u32, Stream>,
    owner: Option<&Name>,
    busy: impl Fn(u32) -> bool,
) -> Place {
    let own = |stream: &Stream| owner.is_some() && stream.owner() == owner;
    let longest_silent = |of_all: bool| {
        let spent = streams
            .iter()
            .filter(|(id, stream)| (of_all || own(stream)) && !busy(**id) && stream.is_spent());
        spent.min_by_key(|(id, stream)| (stream.latest(), **id)).map(|(id, _)| *id)
    };
    let made = streams.values().filter(|stream| own(stream)).count();
    if made >= MAX_OF_ONE {
        longest_silent(false).map_or(Place::TooManyOfOne, Place::Instead)
    } else if streams.len() >= MAX_STREAMS {
        longest_silent(true).map_or(Place::TooMany, Place::Instead)
    } else {
        Place::Free
    }
}

#[cfg(test)]
mod tests {
    use holdfast_records::{GapReason, Range};

    use super::*;
    use crate::data::stream::Block;

    const BLOCK: Block = Block { first: 1, last: 9, count: 9, bytes: 90, earliest: 5, latest: 5 };

    /// Makes a stream whose nine records, stored at this time, were shipped and dropped.
    fn spent(id: u32, owner: &str, latest: u64) -> Stream {
        let owner = (!owner.is_empty()).then(|| owner.parse().unwrap());
        let mut stream = Stream::new(format!("s{id}").parse().unwrap(), 1).made_by(owner);
        let block = Block { latest, ..BLOCK };
        stream.stored(&block, None);
        stream.settle(Range { from: 1, to: 9 });
        stream.dropped(1, &block, GapReason::Quota);
        assert!(stream.is_spent() && stream.latest() == latest);
        stream
    }

    /// Makes a stream of which records are left.
    fn alive(id: u32, owner: &str) -> Stream {
        let mut stream = spent(id, owner, 1);
        stream.stored(&Block { first: 10, last: 10, count: 1, ..BLOCK }, None);
        stream
    }

    #[test]
    fn whoever_is_silent_for_longest_goes_and_nothing_of_which_something_is_left() {
        let name: Name = "new".parse().unwrap();
        let nobody = |_| false;
        let mut streams: BTreeMap<u32, Stream> =
            (0..999).map(|id| (id, alive(id, &format!("w{}", id % 9)))).collect();
        assert_eq!(place(&streams, Some(&name), nobody), Place::Free);
        streams.insert(999, alive(999, ""));
        for owner in [Some(&name), None] {
            assert_eq!(place(&streams, owner, nobody), Place::TooMany);
        }
        streams.insert(7, spent(7, "w1", 2_000));
        streams.insert(9, spent(9, "", 1_000));
        assert_eq!(place(&streams, Some(&name), nobody), Place::Instead(9));
        assert_eq!(place(&streams, Some(&name), |id| id == 9), Place::Instead(7));
        let left: [fn(&mut Stream); 3] = [
            |stream| stream.lost(Range { from: 10, to: 11 }, GapReason::Quota),
            |stream| stream.want(Range { from: 2, to: 3 }),
            |stream| stream.skip_to(20),
        ];
        for something in left {
            let mut streams = streams.clone();
            streams.values_mut().for_each(something);
            assert_eq!(place(&streams, Some(&name), nobody), Place::TooMany);
        }
    }

    #[test]
    fn one_publisher_leaves_room_for_others() {
        let (one, other): (Name, Name) = ("one".parse().unwrap(), "other".parse().unwrap());
        let mut streams: BTreeMap<u32, Stream> =
            (0..200).map(|id| (id, alive(id, "one"))).collect();
        streams.insert(500, spent(500, "other", 1));
        let nobody = |_| false;
        assert_eq!(place(&streams, Some(&one), nobody), Place::TooManyOfOne);
        assert_eq!(place(&streams, Some(&other), nobody), Place::Free);
        assert_eq!(place(&streams, None, nobody), Place::Free);
        // One of its own makes room, though there is an older one.
        streams.insert(3, spent(3, "one", 7_000));
        assert_eq!(place(&streams, Some(&one), nobody), Place::Instead(3));
    }
}
