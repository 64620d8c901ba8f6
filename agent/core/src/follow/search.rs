//! Search for the position at which a log is continued after a start: behind the records that its
//! stream has already. The position that was stored may be older than the last of them.
//!
//! See decision 0055.

use super::{Piece, Position, SEARCHED, taken};

/// Bytes beside a record's own that have to be there before it is compared: the ends of lines
/// around it.
const AROUND: usize = 64;

/// Search under way: records that were stored after the position are taken one after the other, in
/// the order of their sequence numbers.
#[derive(Debug)]
pub struct Search {
    position: Position,
    content: Vec<u8>,
    /// Offset in the log at which `content` begins.
    base: u64,
    is_lost: bool,
}

impl Search {
    /// Begins at the stored position in the log's first bytes, of which at most [`SEARCHED`] were
    /// read. None: the position is of another file or there is no file, so nothing is searched.
    pub fn new(stored: &Position, start: Option<Piece>) -> Option<Self> {
        let mut position = stored.clone();
        // A position without an inode was stored before there was a log: it is the file that came.
        let same = |it: &Piece| it.inode == position.inode || position.inode == 0;
        let start = start.filter(same)?;
        position.inode = start.inode;
        let mut is_lost = false;
        match position.find(&start.bytes) {
            Some(offset) => position.offset = offset as u64,
            // Beyond the part that is searched, the stored offset is taken.
            None if position.offset > SEARCHED as u64 => {}
            None => {
                is_lost = true;
                position.offset = 0;
                position.tail.clear();
            }
        }
        Some(Self { position, content: start.bytes, base: 0, is_lost })
    }

    /// True if the position could not be found, so that the log is continued at its beginning.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// First sequence number of the records that are to be taken.
    pub fn next(&self) -> u64 {
        self.position.seq + 1
    }

    /// Offset from which the log is to be read on before this record is taken. None: enough of it
    /// is there.
    pub fn lacks(&self, record: &[u8]) -> Option<u64> {
        let near = self.rest().len() <= record.len() + AROUND;
        (near || self.position.offset < self.base).then_some(self.position.offset)
    }

    /// Takes bytes of the log that were read from the offset of [`Search::lacks`]. None: there is
    /// no log any more.
    pub fn refill(&mut self, piece: Option<Piece>) {
        self.content = piece.map(|it| it.bytes).unwrap_or_default();
        self.base = self.position.offset;
    }

    /// Takes the next record that is stored. Records that others published to the stream are not in
    /// the log.
    pub fn take(&mut self, seq: u64, record: &[u8]) {
        self.position.seq = seq;
        let rest = self.rest();
        if let Some(taken) = taken(rest, record) {
            let passed = rest.get(..taken).unwrap_or_default().to_vec();
            self.position.advance(&passed);
        }
    }

    /// Position behind all records that were taken.
    pub fn end(self) -> Position {
        self.position
    }

    fn rest(&self) -> &[u8] {
        let at = self.position.offset.saturating_sub(self.base);
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        self.content.get(at..).unwrap_or_default()
    }
}
