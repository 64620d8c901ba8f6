//! Reader of an engine's stream of a container's output: frames of a header of eight bytes (kind,
//! three zeros, length) and their content. Each frame is one line, or a piece of a long one.
//!
//! See decision 0175.

/// Longest piece that is kept of one frame, in bytes: Docker's are of 16 KiB, Podman's of 32 KiB. What
/// is longer is given in pieces.
const PIECE: usize = 64 * 1024;
/// Longest time in front of a line, in bytes: `2026-11-30T15:04:49.308899610+01:00 `.
const STAMP: usize = 40;

/// Piece of a container's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Time that the engine gave it, in nanoseconds since 1970. None: it is the rest of a frame.
    pub time: Option<u64>,
    /// Bytes of the output.
    pub bytes: Vec<u8>,
}

/// Reader of one stream.
#[derive(Debug, Default)]
pub struct Frames {
    held: Vec<u8>,
    /// Bytes of the present frame that are still to come.
    left: usize,
    /// True once the present frame's time was read.
    timed: bool,
    /// True if the stream is not one of frames: it is passed on as it comes.
    raw: bool,
}

impl Frames {
    /// Takes in what came, and returns the pieces that are complete.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Piece> {
        self.held.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        while let Some(piece) = self.next() {
            pieces.push(piece);
        }
        pieces
    }

    fn next(&mut self) -> Option<Piece> {
        if self.raw {
            let bytes = std::mem::take(&mut self.held);
            return (!bytes.is_empty()).then_some(Piece { time: None, bytes });
        }
        while self.left == 0 {
            let header = self.held.first_chunk::<8>()?;
            let [kind, a, b, c, length @ ..] = *header;
            if kind > 2 || (a, b, c) != (0, 0, 0) {
                self.raw = true;
                return self.next();
            }
            self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            self.timed = false;
            self.held.drain(..8);
        }
        let there = self.held.len().min(self.left);
        // The time is read whole, and a small frame is given as one piece.
        let wanted = if self.timed { 1 } else { self.left.min(PIECE) };
        if there < wanted {
            return None;
        }
        let mut bytes: Vec<u8> = self.held.drain(..there.min(PIECE)).collect();
        self.left -= bytes.len();
        let time = if self.timed { None } else { stamp(&mut bytes) };
        self.timed = true;
        Some(Piece { time, bytes })
    }
}

/// Takes the time off the beginning of a line.
fn stamp(line: &mut Vec<u8>) -> Option<u64> {
    let end = line.iter().take(STAMP).position(|byte| *byte == b' ')?;
    let time = time(std::str::from_utf8(line.get(..end)?).ok()?)?;
    line.drain(..=end);
    Some(time)
}

/// Reads a time as engines write it (RFC 3339, with up to nine digits of a second), in nanoseconds
/// since 1970.
pub fn time(text: &str) -> Option<u64> {
    let digits = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    if text.get(10..11)? != "T" || !(1..=12).contains(&month) || day == 0 || year < 1970 {
        return None;
    }
    let rest = text.get(19..)?;
    let fraction_end = rest.find(['Z', '+', '-'])?;
    let (fraction, zone) = rest.split_at(fraction_end);
    let fraction = fraction.strip_prefix('.').unwrap_or(fraction);
    let nanos = format!("{:0<9}", fraction.get(..fraction.len().min(9))?).parse::<u64>().ok()?;
    // Days since 1970, counted in years that begin in March (H. Hinnant, days_from_civil).
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_era = y % 400;
    let day_of_year = (153 * m + 2) / 5 + day - 1;
    let days = y / 400 * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    let days = days.checked_sub(719_468)?;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    let offset = match zone.split_at_checked(1)? {
        ("Z", _) => 0,
        (sign, zone) => {
            let (hours, minutes) = zone.split_once(':')?;
            let offset = hours.parse::<i64>().ok()? * 3_600 + minutes.parse::<i64>().ok()? * 60;
            if sign == "-" { -offset } else { offset }
        }
    };
    seconds.checked_add_signed(-offset)?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// Writes a time as the `since` of a request: seconds and nanoseconds.
pub fn since(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&[kind, 0, 0, 0][..], &length, text.as_bytes()].concat()
    }

    #[test]
    fn times_are_read_in_any_zone() {
        assert_eq!(time("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(time("2026-11-30T15:04:49.308899610Z"), Some(1_796_051_089_308_899_610));
        assert_eq!(time("2026-11-30T16:04:49.3+01:00"), Some(1_796_051_089_300_000_000));
        assert_eq!(time("2026-11-30T14:34:49-00:30"), Some(1_796_051_089_000_000_000));
        assert_eq!(time("2024-02-29T00:00:00Z"), Some(1_709_164_800_000_000_000));
        for odd in [
            "",
            "x",
            "2026-11-30",
            "2026-13-30T15:04:49Z",
            "2026-11-30T15:04:49",
            "é026-11-30T15:04:49Z",
        ] {
            assert_eq!(time(odd), None, "{odd}");
        }
        assert_eq!(since(1_000_000_007), "1.000000007");
    }

    #[test]
    fn a_stream_is_read_however_it_is_cut() {
        let whole = [
            frame(1, "2026-11-30T15:04:49.3Z one\n"),
            frame(2, "2026-11-30T15:04:49.4Z two\n"),
            frame(1, ""),
            frame(1, "no time\n"),
        ]
        .concat();
        for size in [1, 2, 7, 8, 9, 30, whole.len()] {
            let mut frames = Frames::default();
            let pieces: Vec<Piece> = whole.chunks(size).flat_map(|it| frames.take(it)).collect();
            let text: Vec<u8> = pieces.iter().flat_map(|it| it.bytes.clone()).collect();
            assert_eq!(String::from_utf8(text).unwrap(), "one\ntwo\nno time\n", "{size}");
            let times: Vec<u64> = pieces.iter().filter_map(|it| it.time).collect();
            assert_eq!(times, [1_796_051_089_300_000_000, 1_796_051_089_400_000_000], "{size}");
        }
    }

    #[test]
    fn an_endless_line_and_a_stream_of_another_kind_break_nothing() {
        let mut frames = Frames::default();
        let header = [1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        assert!(frames.take(&header).is_empty());
        let mut length = 0;
        for _ in 0..100 {
            length += frames.take(&[b'x'; 10_000]).iter().map(|it| it.bytes.len()).sum::<usize>();
            assert!(frames.held.len() < 2 * PIECE, "{}", frames.held.len());
        }
        assert!(length > 900_000, "{length}");
        let mut frames = Frames::default();
        let raw = frames.take(b"plain text of a terminal");
        assert_eq!(raw.len(), 1);
        assert_eq!(raw[0].bytes, b"plain text of a terminal");
        assert_eq!(frames.take(b"\x01\0\0\0").len(), 1);
    }
}
