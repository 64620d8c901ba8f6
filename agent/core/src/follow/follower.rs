//! Course of one log into its stream: the position is found, then pieces are read and stored in
//! turn, while the log may be cut at its beginning at any time.
//!
//! ```text
//!            found                 read: records
//! Finding ─────────▶ Ready ─────────────────────▶ Storing
//!    ▲  cut meanwhile:  ▲                            │ stored, or refused: read again later
//!    └─ found again     └────────────────────────────┘
//! ```
//!
//! Every byte of the log is in exactly one record, or is reported as missed: bytes that were cut
//! before they could be read are told in a record of the agent's own.
//!
//! See decision 0055.

use super::{Piece, Position, records};

/// Largest part of a log that is searched for a lost position, in bytes.
pub const SEARCHED: usize = 8 * 1024 * 1024;
/// Pause before records that were refused are stored again, or a log that could not be read is read
/// again, in milliseconds.
const RETRY: u64 = 2_000;

/// Log that is followed into a stream.
#[derive(Debug)]
pub struct Follower {
    position: Position,
    stage: Stage,
    /// Time before which it is not read, because something was refused; milliseconds since the
    /// boot.
    not_before: u64,
    /// Bytes that were cut before they were read, and are not reported in the stream yet.
    missed: u64,
    /// Length in bytes when all logs were polled last: a last line without an end is taken as whole
    /// if the log has not grown since.
    length: u64,
    /// True if it has more to read than was read at once.
    more: bool,
}

#[derive(Debug)]
enum Stage {
    /// The position is being found, from the stored one on.
    Finding {
        /// True if the log was cut meanwhile.
        is_cut: bool,
    },
    /// The log is read up to `position`.
    Ready,
    /// Records that were read are being stored.
    Storing(Box<Storing>),
}

/// Records on their way into the buffer.
#[derive(Debug)]
struct Storing {
    /// Position of the log once they are stored.
    ahead: Position,
    /// Missed bytes that the records report.
    told: u64,
    /// Bytes of these records that were cut from the log meanwhile: they are missed if the records
    /// cannot be stored.
    at_risk: u64,
}

/// Result of a search for the position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The log is read from here on.
    Ready,
    /// The log was cut during the search, so the position is searched again, from this one. None:
    /// the log is read from its beginning.
    Again(Option<Position>),
    /// Nothing was searched for.
    Nothing,
}

impl Follower {
    /// Begins with the stored position. None: the log is read from its beginning. The position has
    /// to be found first.
    pub fn new(stored: Option<Position>) -> Self {
        Self {
            position: stored.unwrap_or_default(),
            stage: Stage::Finding { is_cut: false },
            not_before: 0,
            missed: 0,
            length: 0,
            more: false,
        }
    }

    /// Position to store. None: it is being found, and none was stored before.
    pub fn position(&self) -> Option<&Position> {
        let is_known = !matches!(self.stage, Stage::Finding { .. }) || self.is_stored();
        is_known.then_some(&self.position)
    }

    fn is_stored(&self) -> bool {
        self.position != Position::default()
    }

    /// Time at which it is to be read on although nothing was written, in milliseconds since the
    /// boot. None: nothing is left to read, or something is under way.
    pub fn due(&self) -> Option<u64> {
        (self.more && matches!(self.stage, Stage::Ready)).then_some(self.not_before)
    }

    /// Offset from which a piece is to be read now. None: not now.
    pub fn wants(&self, now: u64) -> Option<u64> {
        let ready = matches!(self.stage, Stage::Ready) && now >= self.not_before;
        ready.then_some(self.position.offset)
    }

    /// Notes that there is no log.
    pub fn absent(&mut self) {
        self.more = false;
    }

    /// Notes that the log could not be read.
    pub fn failed(&mut self, now: u64) {
        self.not_before = now + RETRY;
        self.more = true;
    }

    /// Takes a piece that was read from the offset of [`Follower::wants`], and returns the records
    /// to store. None: there are none. `whole`: a last line without an end is taken as whole if the
    /// log has not grown since the last such call.
    pub fn read(&mut self, piece: &Piece, whole: bool, now: u64) -> Option<Vec<Vec<u8>>> {
        if piece.inode != self.position.inode || piece.length < self.position.offset {
            // Another file, or one that somebody emptied: it is read from its beginning.
            let seq = self.position.seq;
            self.position = Position { inode: piece.inode, seq, ..Position::default() };
            self.length = 0;
            self.more = piece.length > 0;
            self.not_before = now;
            return None;
        }
        let at_end = self.position.offset + piece.bytes.len() as u64 == piece.length;
        let quiet = whole && at_end && piece.length == self.length;
        if whole {
            self.length = piece.length;
        }
        let (mut found, taken) = records(&piece.bytes, quiet);
        self.more = !at_end && taken > 0;
        if taken == 0 {
            return None;
        }
        let mut ahead = self.position.clone();
        ahead.advance(piece.bytes.get(..taken).unwrap_or_default());
        let told = std::mem::take(&mut self.missed);
        if told > 0 {
            let text =
                format!("[holdfast: {told} bytes of this log were cut before they could be read]");
            found.insert(0, text.into_bytes());
        }
        if found.is_empty() {
            self.position = ahead;
            return None;
        }
        self.stage = Stage::Storing(Box::new(Storing { ahead, told, at_risk: 0 }));
        Some(found)
    }

    /// Notes that the records are stored; `seq` is the number of the last one.
    pub fn stored(&mut self, seq: u64) {
        if let Stage::Storing(storing) = std::mem::replace(&mut self.stage, Stage::Ready) {
            self.position = Position { seq, ..storing.ahead };
        }
    }

    /// Notes that the records were refused, so that the log is read again from the same position.
    pub fn refused(&mut self, now: u64) {
        if let Stage::Storing(storing) = std::mem::replace(&mut self.stage, Stage::Ready) {
            self.missed += storing.told + storing.at_risk;
            self.failed(now);
        }
    }

    /// True while records of it are being stored.
    pub fn is_storing(&self) -> bool {
        matches!(self.stage, Stage::Storing(_))
    }

    /// Notes that `bytes` bytes were cut off the log's beginning, and returns how many of them are
    /// missed. The new position is to be stored at once.
    pub fn cut(&mut self, bytes: u64) -> u64 {
        self.length = self.length.saturating_sub(bytes);
        let behind = self.position.cut(bytes);
        let missed = match &mut self.stage {
            Stage::Storing(storing) => {
                // What lies between the two positions is in the records that are being stored.
                let missed = storing.ahead.cut(bytes);
                storing.at_risk += behind - missed;
                missed
            }
            Stage::Finding { is_cut } => {
                *is_cut = true;
                behind
            }
            Stage::Ready => behind,
        };
        self.missed += missed;
        missed
    }

    /// Takes the result of the search. None: the log is read from its beginning.
    pub fn found(&mut self, found: Option<Position>) -> Found {
        let Stage::Finding { is_cut } = &mut self.stage else { return Found::Nothing };
        if std::mem::take(is_cut) {
            // The position was found in content that has moved since.
            return Found::Again(self.is_stored().then(|| self.position.clone()));
        }
        self.stage = Stage::Ready;
        self.position = found.unwrap_or_default();
        Found::Ready
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Search;
    use super::*;

    /// Event of a log and of the agent that follows it.
    #[derive(Debug, Clone)]
    enum Step {
        Append(u8),
        Read(u8),
        Stored,
        Refused,
        Cut(u8),
        Keep,
        Found,
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1u8..6).prop_map(Step::Append),
            4 => (1u8..40).prop_map(Step::Read),
            4 => Just(Step::Stored),
            1 => Just(Step::Refused),
            2 => (1u8..8).prop_map(Step::Cut),
            1 => Just(Step::Keep),
            3 => Just(Step::Found),
            1 => Just(Step::Restart),
        ]
    }

    /// Log, buffer and agent of a test.
    struct World {
        log: Vec<u8>,
        stream: Vec<Vec<u8>>,
        follower: Follower,
        storing: Vec<Vec<u8>>,
        kept: Option<Position>,
        /// Result of the search that is under way, by the log as it was at its begin.
        found: Option<Position>,
        written: u64,
        now: u64,
    }

    impl World {
        fn new() -> Self {
            let follower = Follower::new(None);
            let (log, stream, storing) = (Vec::new(), Vec::new(), Vec::new());
            let found = Some(Position { inode: 7, ..Position::default() });
            Self { log, stream, follower, storing, kept: None, found, written: 0, now: 0 }
        }

        fn piece(&self, from: u64, most: usize) -> Piece {
            let rest = self.log.get(from as usize..).unwrap_or_default();
            let bytes = rest.iter().take(most).copied().collect();
            Piece { inode: 7, length: self.log.len() as u64, bytes }
        }

        fn search(&self, from: Option<&Position>) -> Option<Position> {
            let first = Position { inode: 7, seq: self.stream.len() as u64, ..Position::default() };
            let Some(from) = from else { return Some(first) };
            let mut search = Search::new(from, Some(self.piece(0, SEARCHED)))?;
            let stored = self.stream.iter().enumerate().skip(search.next() as usize - 1);
            for (at, record) in stored {
                if let Some(offset) = search.lacks(record) {
                    search.refill(Some(self.piece(offset, 100)));
                }
                search.take(at as u64 + 1, record);
            }
            Some(search.end())
        }

        fn step(&mut self, step: Step) {
            self.now += 700;
            match step {
                Step::Append(lines) => {
                    for _ in 0..lines {
                        self.written += 1;
                        // Of one length: no line begins like another.
                        let line = format!("line {:04}\n", self.written);
                        self.log.extend(line.as_bytes());
                    }
                }
                Step::Read(most) => self.read(usize::from(most)),
                Step::Stored if self.follower.is_storing() => {
                    self.stream.append(&mut self.storing);
                    self.follower.stored(self.stream.len() as u64);
                }
                Step::Refused if self.follower.is_storing() => {
                    self.storing.clear();
                    self.follower.refused(self.now);
                }
                Step::Stored | Step::Refused => {}
                Step::Cut(lines) => {
                    let ends = self.log.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
                    let end = ends.map(|(at, _)| at + 1).nth(usize::from(lines) - 1);
                    let cut = end.unwrap_or(0);
                    self.log.drain(..cut);
                    self.follower.cut(cut as u64);
                }
                Step::Keep => self.kept = self.follower.position().cloned().or(self.kept.take()),
                Step::Found => match self.follower.found(self.found.clone()) {
                    Found::Again(from) => self.found = self.search(from.as_ref()),
                    Found::Ready => self.kept = self.follower.position().cloned(),
                    Found::Nothing => {}
                },
                Step::Restart => {
                    // A cut is stored at once by the agent, before it can be killed.
                    self.storing.clear();
                    self.follower = Follower::new(self.kept.clone());
                    self.found = self.search(self.kept.as_ref());
                }
            }
        }

        fn read(&mut self, most: usize) {
            let Some(from) = self.follower.wants(self.now) else { return };
            let piece = self.piece(from, most);
            if let Some(records) = self.follower.read(&piece, false, self.now) {
                self.storing = records;
            }
        }

        /// Stores everything that is left.
        fn rest(&mut self) {
            for _ in 0..self.log.len() / 100 + 20 {
                self.step(Step::Found);
                self.step(Step::Stored);
                self.step(Step::Read(200));
            }
            self.step(Step::Append(1));
            (0..8).for_each(|_| {
                self.step(Step::Read(200));
                self.step(Step::Stored);
            });
        }

        /// Numbers of the lines in the stream, and the bytes that are told to be missed.
        fn told(&self) -> (Vec<u64>, u64) {
            let (mut lines, mut missed) = (Vec::new(), 0);
            for record in &self.stream {
                let text = String::from_utf8_lossy(record);
                match text.strip_prefix("[holdfast: ") {
                    Some(rest) => missed += rest.split_once(' ').unwrap().0.parse::<u64>().unwrap(),
                    None => lines.push(text.strip_prefix("line ").unwrap().parse().unwrap()),
                }
            }
            (lines, missed)
        }
    }

    proptest! {
        /// Checks that every line is stored once, in order, or its bytes are told to be missed,
        /// however often records are refused and the log is cut, also while they are being stored.
        #[test]
        fn every_byte_is_in_one_record_or_is_missed(
            steps in proptest::collection::vec(step(), 0..120),
        ) {
            let mut world = World::new();
            world.step(Step::Found);
            for step in steps {
                if !matches!(step, Step::Restart) {
                    world.step(step);
                }
            }
            world.rest();
            let (lines, missed) = world.told();
            prop_assert!(lines.is_sorted_by(|one, other| one < other), "{lines:?}");
            let size = "line 0001\n".len() as u64;
            prop_assert_eq!(lines.len() as u64 * size + missed, world.written * size);
        }

        /// Checks that no line is stored twice and none that is left in the log is passed over,
        /// however often the agent is killed with a position that is older than its stream.
        #[test]
        fn no_line_is_stored_twice_by_a_killed_agent(
            steps in proptest::collection::vec(step(), 0..120),
        ) {
            let mut world = World::new();
            world.step(Step::Found);
            for step in steps {
                let cuts = matches!(step, Step::Cut(_));
                world.step(step);
                if cuts {
                    world.step(Step::Keep);
                }
            }
            world.rest();
            let (lines, _) = world.told();
            prop_assert!(lines.is_sorted_by(|one, other| one < other), "{lines:?}");
            let here = String::from_utf8(world.log.clone()).unwrap();
            for line in here.lines() {
                let number = line.strip_prefix("line ").unwrap().parse::<u64>().unwrap();
                prop_assert!(lines.contains(&number), "{number} is in the log: {lines:?}");
            }
        }
    }

    #[test]
    fn a_last_line_without_an_end_is_whole_once_the_log_is_quiet() {
        let mut follower = Follower::new(None);
        assert_eq!(
            follower.found(Some(Position { inode: 7, ..Position::default() })),
            Found::Ready
        );
        let piece = |text: &str| Piece {
            inode: 7,
            length: text.len() as u64,
            bytes: text.as_bytes().to_vec(),
        };
        assert_eq!(follower.read(&piece("abc"), true, 0), None, "it may go on");
        assert_eq!(follower.read(&piece("abcd"), true, 0), None, "it went on");
        let records = follower.read(&piece("abcd"), true, 0);
        assert_eq!(records, Some(vec![b"abcd".to_vec()]));
        assert_eq!(follower.wants(0), None, "one piece at a time");
        follower.refused(0);
        assert_eq!((follower.wants(RETRY - 1), follower.wants(RETRY)), (None, Some(0)));
        assert_eq!(follower.due(), Some(RETRY));
    }

    #[test]
    fn another_file_or_an_emptied_one_is_read_from_its_beginning() {
        let mut follower = Follower::new(None);
        follower.found(Some(Position { inode: 7, offset: 9, seq: 4, tail: b"x".to_vec() }));
        let piece = |inode, length| Piece { inode, length, bytes: Vec::new() };
        assert_eq!(follower.read(&piece(7, 5), false, 3), None);
        assert_eq!((follower.wants(3), follower.due()), (Some(0), Some(3)));
        assert_eq!(follower.position().unwrap().seq, 4);
        follower.found(None);
        assert_eq!(follower.read(&piece(8, 0), false, 3), None);
        assert_eq!((follower.position().unwrap().inode, follower.due()), (8, None));
    }
}
