//! History of a workload's log: which of the bytes ever written are still in the file, when they
//! were written, and where each run of the workload began.
//!
//! Offsets count all bytes ever written, so that a cut moves no reader. A mark is an offset at
//! which the log ended at a known time: everything before it was written by then.
//!
//! See decisions 0106 and 0107.

/// Maximum number of marks kept of one log. They are thinned as they age, so that each covers a
/// twentieth more of its age than the next: 256 reach from a second to years. 4 KiB a log.
const MARKS: usize = 256;
/// Maximum number of starts kept of one workload.
const STARTS: usize = 10;

/// History of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Random number of the log. Another log has another number, and its offsets cannot be
    /// compared.
    pub id: u32,
    /// Inode number of the log's file.
    pub inode: u64,
    /// Offset of the first byte in the file, that is the number of bytes cut so far.
    pub base: u64,
    /// Length of the file in bytes at the last poll.
    length: u64,
    /// True if the file begins within a line, whose first part was cut.
    pub partial: bool,
    /// Pairs of an offset and a time in seconds since 1970 (0: the clock was wrong), both
    /// ascending.
    marks: Vec<(u64, u64)>,
    /// Offsets at which runs began, oldest first.
    starts: Vec<u64>,
    /// Last bytes before the end when the history was stored, by which the end is found again after
    /// a restart of the agent. Empty: it has been found.
    pub tail: Vec<u8>,
}

impl History {
    /// Creates the history of a log of which nothing is known yet.
    pub fn new(id: u32) -> Self {
        Self { id, ..Self::default() }
    }

    /// Offset of the end of the log.
    pub fn end(&self) -> u64 {
        self.base.saturating_add(self.length)
    }

    /// Notes the file's inode number and length. Another file, or one that became shorter, begins
    /// behind all offsets known before.
    pub fn see(&mut self, inode: u64, length: u64) {
        if inode != self.inode || length < self.length {
            self.base = self.end();
            self.inode = inode;
            self.partial = false;
        }
        self.length = length;
    }

    /// Notes that `bytes` bytes were cut off the beginning. `partial`: the cut was within a line.
    pub fn cut(&mut self, bytes: u64, partial: bool) {
        let bytes = bytes.min(self.length);
        self.base = self.base.saturating_add(bytes);
        self.length -= bytes;
        self.partial = partial;
        let base = self.base;
        self.marks.retain(|mark| mark.0 > base);
    }

    /// Begins another log with the number `id`, because the position in the file is lost.
    pub fn lose(&mut self, id: u32) {
        let starts_anew = Self { partial: true, inode: self.inode, ..Self::new(id) };
        *self = starts_anew;
    }

    /// Marks the present end with the time `now`, in seconds since 1970 (0: not known). Returns
    /// true if something was written since the last mark.
    pub fn mark(&mut self, now: u64) -> bool {
        let end = self.end();
        match self.marks.last_mut() {
            Some(last) if last.0 >= end => return false,
            None if end == self.base => return false,
            // One mark serves a whole second.
            Some(last) if last.1 == now => last.0 = end,
            _ => self.marks.push((end, now)),
        }
        if self.marks.len() > MARKS {
            self.thin(now);
        }
        true
    }

    /// Drops the mark that costs least precision: the one between neighbours that are closest in
    /// time, relative to its age.
    fn thin(&mut self, now: u64) {
        let mut least = (u64::MAX, 0);
        for (at, marks) in self.marks.windows(3).enumerate() {
            let [before, this, after] = marks else { continue };
            let span = after.1.saturating_sub(before.1).saturating_mul(1024);
            let weight = span / now.saturating_sub(this.1).max(1);
            if weight < least.0 {
                least = (weight, at + 1);
            }
        }
        self.marks.remove(least.1);
    }

    /// Notes that a run of the workload begins at the present end.
    pub fn start(&mut self) {
        if self.starts.len() >= STARTS {
            self.starts.remove(0);
        }
        self.starts.push(self.end());
    }

    /// Offset of the first byte that may have been written at `time` or later.
    pub fn since(&self, time: u64) -> u64 {
        let before = self.marks.iter().rev().find(|mark| mark.1 != 0 && mark.1 < time);
        before.map_or(self.base, |mark| mark.0)
    }

    /// Offset behind the last byte that was certainly written by `time`.
    pub fn until(&self, time: u64) -> u64 {
        let by = self.marks.iter().rev().find(|mark| mark.1 != 0 && mark.1 <= time);
        by.map_or(self.base, |mark| mark.0)
    }

    /// Offsets of the begin and the end of a former run; `back` is 1 for the one before the present
    /// one. None: no such run is known.
    pub fn run(&self, back: usize) -> Option<(u64, u64)> {
        let last = self.starts.len().checked_sub(back)?;
        let end = *self.starts.get(last)?;
        // Before the first known start stands what is left of a run that nobody saw begin.
        let from = last.checked_sub(1).and_then(|at| self.starts.get(at)).copied();
        let from = from.or_else(|| (self.base < end).then_some(self.base))?;
        Some((from, end))
    }

    /// Lengths and times, alternating, of the parts between two offsets: each part has the time of
    /// the mark at its end. What was written after the last mark has the time `now`.
    pub fn times(&self, from: u64, to: u64, now: u64) -> Vec<u64> {
        let (mut times, mut at) = (Vec::new(), from);
        let marks = self.marks.iter().skip_while(|mark| mark.0 <= from);
        for (offset, time) in marks.copied().chain([(u64::MAX, now)]) {
            let end = offset.min(to);
            if end > at {
                times.extend([end - at, time]);
                at = end;
            }
        }
        times
    }

    /// Encodes the history as numbers, for the disk. `tail`: the last bytes before the end.
    pub fn pack(&self, tail: &[u8]) -> Vec<u64> {
        let many = |all: usize| u64::try_from(all).unwrap_or(0);
        let mut all = vec![
            self.id.into(),
            self.inode,
            self.base,
            self.length,
            self.partial.into(),
            many(self.starts.len()),
            many(self.marks.len()),
        ];
        all.extend(&self.starts);
        all.extend(self.marks.iter().flat_map(|mark| [mark.0, mark.1]));
        all.extend(tail.iter().map(|byte| u64::from(*byte)));
        all
    }

    /// Decodes the numbers of [`History::pack`]. None: they are damaged.
    pub fn unpack(all: &[u64]) -> Option<Self> {
        let (&[id, inode, base, length, partial, starts, marks], rest) =
            all.split_first_chunk::<7>()?;
        let (starts, marks) = (usize::try_from(starts).ok()?, usize::try_from(marks).ok()?);
        if starts > STARTS || marks > MARKS {
            return None;
        }
        let (starts, rest) = rest.split_at_checked(starts)?;
        let (marks, tail) = rest.split_at_checked(marks * 2)?;
        let pairs = marks.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.get(1)?)));
        Some(Self {
            id: u32::try_from(id).ok()?,
            inode,
            base,
            length,
            partial: partial != 0,
            marks: pairs.collect(),
            starts: starts.to_vec(),
            tail: tail.iter().filter_map(|byte| u8::try_from(*byte).ok()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_467_600;

    /// A log to which so many bytes were written at each of these times.
    fn log(parts: &[(u64, u64)]) -> History {
        let (mut history, mut length) = (History::new(1), 0);
        for (bytes, time) in parts {
            length += bytes;
            history.see(7, length);
            history.mark(*time);
        }
        history
    }

    #[test]
    fn a_cut_moves_no_offset_and_a_new_file_begins_behind_the_old_one() {
        let mut history = log(&[(100, NOW), (50, NOW + 5)]);
        history.cut(60, true);
        assert_eq!((history.base, history.end(), history.partial), (60, 150, true));
        history.see(7, 100);
        assert_eq!((history.base, history.end()), (60, 160), "it grew");
        history.see(7, 20);
        assert_eq!((history.base, history.end(), history.partial), (160, 180, false), "emptied");
        history.see(8, 500);
        assert_eq!((history.base, history.end()), (180, 680), "another file");
        history.cut(u64::MAX, false);
        assert_eq!((history.base, history.end()), (680, 680), "never beyond its end");
    }

    #[test]
    fn every_byte_has_the_time_of_the_first_look_after_it() {
        let history = log(&[(10, NOW), (0, NOW + 1), (10, NOW + 5), (5, NOW + 5), (5, 0)]);
        assert_eq!(history.times(5, 35, NOW + 9), [5, NOW, 15, NOW + 5, 5, 0, 5, NOW + 9]);
        assert_eq!(history.times(10, 10, NOW), [0_u64; 0]);
        for (time, since, until) in
            [(NOW - 1, 0, 0), (NOW, 0, 10), (NOW + 1, 10, 10), (NOW + 5, 10, 25), (NOW + 6, 25, 25)]
        {
            assert_eq!((history.since(time), history.until(time)), (since, until), "{time}");
        }
    }

    #[test]
    fn marks_are_bounded_and_the_older_a_line_the_coarser_its_time() {
        let (mut history, day) = (History::new(1), 86_400);
        for second in 0..2 * day {
            history.see(7, second + 1);
            history.mark(NOW + second);
        }
        assert!(history.marks.len() <= MARKS);
        let now = NOW + 2 * day;
        for age in [1, 10, 60, 600, 3_600, 10_000, day, 40 * 3_600] {
            let at = 2 * day - age;
            let told = history.times(at, at + 1, now)[1];
            let late = told - (NOW + at);
            assert!(late <= 1 + age / 10, "{age} s ago, told {late} s late");
        }
    }

    #[test]
    fn runs_are_found_by_their_starts() {
        let mut history = History::new(1);
        assert_eq!(history.run(1), None, "nothing was ever started");
        history.see(7, 30);
        history.start();
        assert_eq!(history.run(1), Some((0, 30)), "it was there before the agent looked");
        history.see(7, 50);
        history.start();
        history.see(7, 90);
        history.start();
        assert_eq!((history.run(1), history.run(2)), (Some((50, 90)), Some((30, 50))));
        assert_eq!((history.run(3), history.run(4)), (Some((0, 30)), None));
        history.cut(60, false);
        assert_eq!((history.run(1), history.run(3)), (Some((50, 90)), None));
        for _ in 0..2 * STARTS {
            history.start();
        }
        assert_eq!(history.starts.len(), STARTS);
    }

    #[test]
    fn it_is_kept_and_what_is_damaged_is_none() {
        let mut history = log(&[(100, NOW), (50, NOW + 5), (1, 0)]);
        history.start();
        history.cut(60, true);
        let packed = history.pack(b"end\n");
        let back = History::unpack(&packed).unwrap();
        assert_eq!(back, History { tail: b"end\n".to_vec(), ..history });
        for length in 0..packed.len() - 4 {
            assert_eq!(History::unpack(&packed[..length]), None, "{length}");
        }
        assert_eq!(History::unpack(&[u64::MAX; 20]), None);
    }
}
