//! Selection of the records that a fetch ships: those of a window of time, up to a size.

use holdfast_records::Range;

use super::stream::Block;

/// Selection under way, while blocks are looked at in the order of their numbers. The times of
/// blocks need not be in order: only chosen blocks are within the ranges.
#[derive(Debug)]
pub struct Choice {
    since: u64,
    until: u64,
    most: u64,
    /// True if the next block may continue the last range.
    goes_on: bool,
    /// Sequence numbers of the chosen records.
    pub ranges: Vec<Range>,
    /// Number of chosen records.
    pub records: u64,
    /// Bytes of the chosen records on disk.
    pub bytes: u64,
}

impl Choice {
    /// Creates a selection of blocks that have a record from `since` to `until` (milliseconds since
    /// 1970), of at most `most` bytes.
    pub fn new((since, until): (u64, u64), most: u64) -> Self {
        Self { since, until, most, goes_on: false, ranges: Vec::new(), records: 0, bytes: 0 }
    }

    /// True if records between these times, both in milliseconds since 1970, may be within the
    /// window.
    pub fn is_within(&self, earliest: u64, latest: u64) -> bool {
        latest >= self.since && earliest <= self.until
    }

    /// Notes that blocks were left out between the last one and the next one.
    pub fn skip(&mut self) {
        self.goes_on = false;
    }

    /// Looks at the next block. Returns false if there is no room for more.
    pub fn look(&mut self, block: &Block) -> bool {
        if !self.is_within(block.earliest, block.latest) {
            self.skip();
            return true;
        }
        let left = self.most.saturating_sub(self.bytes);
        let mut chosen = *block;
        if block.bytes > left {
            if self.records > 0 || left == 0 {
                return false;
            }
            // The first block alone is too large: its beginning in proportion, of one record at
            // least.
            let part = |number: u64| {
                let part = u128::from(number) * u128::from(left) / u128::from(block.bytes);
                u64::try_from(part).unwrap_or(u64::MAX).max(1)
            };
            chosen.last = block.first + part(block.last - block.first + 1) - 1;
            chosen.count = part(block.count);
            chosen.bytes = left;
        }
        match self.ranges.last_mut() {
            Some(range) if self.goes_on => range.to = chosen.last,
            _ => self.ranges.push(Range { from: chosen.first, to: chosen.last }),
        }
        self.goes_on = true;
        self.records += chosen.count;
        self.bytes += chosen.bytes;
        chosen.last == block.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(times: &[u64], window: (u64, u64), most: u64) -> (Vec<(u64, u64)>, u64, u64) {
        let mut choice = Choice::new(window, most);
        for (first, time) in (0..).map(|at| at * 10 + 1).zip(times) {
            let (last, earliest, latest) = (first + 9, *time, *time + 5);
            if !choice.look(&Block { first, last, count: 10, bytes: 1_000, earliest, latest }) {
                break;
            }
        }
        let ranges = choice.ranges.iter().map(|range| (range.from, range.to)).collect();
        (ranges, choice.records, choice.bytes)
    }

    #[test]
    fn nothing_between_what_is_chosen_is_chosen_with_it() {
        let all = u64::MAX;
        assert_eq!(chosen(&[10, 20, 30, 40], (21, 30), all), (vec![(11, 30)], 20, 2_000));
        // The clock was wrong for a while.
        let jumped = [10, 900, 910, 920, 20, 30];
        assert_eq!(chosen(&jumped, (0, 100), all), (vec![(1, 10), (41, 60)], 30, 3_000));
        assert_eq!(chosen(&jumped, (0, 100), 2_500), (vec![(1, 10), (41, 50)], 20, 2_000));
        assert_eq!(chosen(&jumped, (50, 60), all), (vec![], 0, 0));
    }

    #[test]
    fn a_bound_below_one_block_gives_a_part_of_it() {
        assert_eq!(chosen(&[10, 20], (0, 100), 250), (vec![(1, 2)], 2, 250));
        assert_eq!(chosen(&[10, 20], (0, 100), 3), (vec![(1, 1)], 1, 3));
        assert_eq!(chosen(&[10, 20], (0, 100), 0), (vec![], 0, 0));
    }
}
