//! Alignment: which parts of the old file the new one is made of. The suffixes of the old file are
//! sorted; a match is begun where it is clearly better than going on straight, and grown over
//! bytes that differ for as long as at least half of them are the same (as bsdiff does).

use holdfast_delta::steps::Step;
use libsais::SuffixArrayConstruction;

/// Bytes by which a match must be better than going on straight.
const BETTER: usize = 8;
/// Same bytes below which a copy costs more than it saves: a step takes about four bytes, a new
/// byte about three bits. Measured: 12 to 16 are best on six pairs of programs.
const WORTH: usize = 14;
/// Size of an old file from which three bytes tell the beginnings of suffixes apart without a search
/// (64 MiB of memory), and two below it (256 KiB).
const LARGE: usize = 4 << 20;

/// Part of the new file that is copied from the old one, with differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Copied {
    /// First byte in the new file.
    pub(crate) new: usize,
    /// First byte in the old file.
    pub(crate) old: usize,
    /// Bytes.
    pub(crate) length: usize,
}

struct Suffixes<'a> {
    old: &'a [u8],
    sorted: Vec<i32>,
    /// Place of the first suffix that begins with so many bytes or what comes after them.
    starts: Vec<u32>,
    key: usize,
}

/// The first bytes as a number.
fn key(bytes: &[u8], count: usize) -> usize {
    let mut bytes = bytes.iter().copied().map(usize::from).chain(std::iter::repeat(0));
    (0..count).fold(0, |key, _| (key << 8) | bytes.next().unwrap_or(0))
}

/// Number of bytes that two pieces begin with in common.
fn common(a: &[u8], b: &[u8]) -> usize {
    // Eight at a time first: most of the time of an alignment is spent here.
    let ((long_a, _), (long_b, _)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let same = long_a.iter().zip(long_b).take_while(|(a, b)| a == b).count() * 8;
    let (a, b) = (a.get(same..).unwrap_or_default(), b.get(same..).unwrap_or_default());
    same + a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl<'a> Suffixes<'a> {
    fn new(old: &'a [u8]) -> Option<Self> {
        let construction = SuffixArrayConstruction::for_text(old).in_owned_buffer32();
        let sorted = construction.single_threaded().run().ok()?.into_vec();
        let count = if old.len() < LARGE { 2 } else { 3 };
        let mut starts = vec![0_u32; (1 << (8 * count)) + 1];
        for at in 0..old.len() {
            let key = key(old.get(at..old.len().min(at + count))?, count);
            *starts.get_mut(key + 1)? += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Some(Self { old, sorted, starts, key: count })
    }

    fn suffix(&self, place: usize) -> &'a [u8] {
        let at = self.sorted.get(place).and_then(|at| usize::try_from(*at).ok());
        at.and_then(|at| self.old.get(at..)).unwrap_or_default()
    }

    /// Length and offset of the longest match with the beginning of some bytes.
    fn longest(&self, what: &[u8]) -> (usize, usize) {
        if what.len() <= self.key {
            return (0, 0);
        }
        let place = |key: usize| self.starts.get(key).map_or(0, |it| *it as usize);
        let (mut low, mut high) = (place(key(what, self.key)), place(key(what, self.key) + 1));
        if low >= high {
            return (0, 0);
        }
        let (mut at_low, mut at_high) =
            (common(self.suffix(low), what), common(self.suffix(high - 1), what));
        let mut best = (at_low, low).max((at_high, high - 1));
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            // What both ends have in common with it, all between them have.
            let known = at_low.min(at_high);
            let suffix = self.suffix(middle);
            let rest = suffix.get(known..).unwrap_or_default();
            let length = known + common(rest, what.get(known..).unwrap_or_default());
            best = best.max((length, middle));
            if suffix.get(length) < what.get(length) {
                (low, at_low) = (middle, length);
            } else {
                (high, at_high) = (middle, length);
            }
        }
        let offset = self.sorted.get(best.1).and_then(|at| usize::try_from(*at).ok());
        (best.0, offset.unwrap_or(0))
    }
}

/// Whether two files have the same byte at two places.
fn same(old: &[u8], at_old: usize, new: &[u8], at_new: usize) -> bool {
    old.get(at_old).is_some_and(|byte| new.get(at_new) == Some(byte))
}

/// State of a scan over the new file.
struct Scan<'a> {
    suffixes: Suffixes<'a>,
    new: &'a [u8],
    /// Beginning of the copy that is grown.
    last: Copied,
    copies: Vec<Copied>,
}

/// Copies that the new file can be made of, in its order and apart from each other. `None` when
/// the memory for the suffixes is not to be had.
pub(crate) fn align(old: &[u8], new: &[u8]) -> Option<Vec<Copied>> {
    if old.is_empty() {
        return Some(Vec::new());
    }
    let suffixes = Suffixes::new(old)?;
    let last = Copied { new: 0, old: 0, length: 0 };
    let mut scan = Scan { suffixes, new, last, copies: Vec::new() };
    let (mut at, mut match_length) = (0, 0);
    while at < new.len() {
        at += match_length;
        let next = scan.next(at);
        (at, match_length) = (next.new, next.length);
        if at < new.len() || scan.last.new < new.len() {
            scan.grow(next);
        }
    }
    scan.copies.retain(|copy| {
        let equal = (0..copy.length).filter(|it| same(old, copy.old + it, new, copy.new + it));
        equal.take(WORTH).count() == WORTH
    });
    Some(scan.copies)
}

impl Scan<'_> {
    /// Whether going on straight gives the right byte.
    fn straight(&self, at: usize) -> bool {
        let old = (at + self.last.old).checked_sub(self.last.new);
        old.is_some_and(|old| same(self.suffixes.old, old, self.new, at))
    }

    /// Next match that is better than going on straight; one at the end of the file otherwise.
    fn next(&self, from: usize) -> Copied {
        let (mut at, mut counted, mut score) = (from, from, 0_usize);
        while at < self.new.len() {
            let (length, old) = self.suffixes.longest(self.new.get(at..).unwrap_or_default());
            while counted < at + length {
                score += usize::from(self.straight(counted));
                counted += 1;
            }
            if (length == score && length != 0) || length > score + BETTER {
                if length != score {
                    return Copied { new: at, old, length };
                }
                // Going on straight is as good: over it, and on.
                at += length;
                (counted, score) = (at, 0);
                continue;
            }
            if at < counted {
                score -= usize::from(self.straight(at));
            }
            at += 1;
            counted = counted.max(at);
        }
        Copied { new: self.new.len(), old: 0, length: 0 }
    }

    /// Ends the copy that is grown before a match, and begins the next one with it.
    fn grow(&mut self, next: Copied) {
        let (old, new, last) = (self.suffixes.old, self.new, self.last);
        let room = (next.new - last.new).min(old.len() - last.old);
        let mut forward = best((0..room).map(|it| same(old, last.old + it, new, last.new + it)));
        let room = if next.new < new.len() { next.old.min(next.new - last.new) } else { 0 };
        let mut backward = best((1..=room).map(|it| same(old, next.old - it, new, next.new - it)));
        let overlap = (forward + backward).saturating_sub(next.new - last.new);
        if overlap > 0 {
            // Each byte of the overlap goes to the copy that has it right.
            let (in_last, in_next) = (forward - overlap, next.new - backward);
            let (mut sum, mut most, mut kept) = (0_i64, 0, 0);
            for it in 0..overlap {
                sum += i64::from(same(old, last.old + in_last + it, new, last.new + in_last + it));
                sum -= i64::from(same(old, next.old - backward + it, new, in_next + it));
                if sum > most {
                    (most, kept) = (sum, it + 1);
                }
            }
            forward = in_last + kept;
            backward -= kept;
        }
        if forward > 0 {
            self.copies.push(Copied { length: forward, ..last });
        }
        self.last = Copied { new: next.new - backward, old: next.old - backward, length: 0 };
    }
}

/// Number of bytes after which there were more equal than different ones by the most.
fn best(equal: impl Iterator<Item = bool>) -> usize {
    let (mut score, mut most, mut length) = (0_i64, 0, 0);
    for (count, equal) in (1..).zip(equal) {
        score += if equal { 1 } else { -1 };
        if score > most {
            (most, length) = (score, count);
        }
    }
    length
}

/// Steps out of copies, which are in the order of the new file and apart from each other.
pub(crate) fn steps(copies: &[Copied], new_size: usize) -> Option<Vec<Step>> {
    let mut steps = Vec::with_capacity(copies.len() + 1);
    let begin = Copied { new: 0, old: 0, length: 0 };
    let first = copies.first().filter(|it| it.new == 0 && it.old == 0);
    let mut copies = copies.iter().skip(usize::from(first.is_some())).peekable();
    let mut at = first.copied().unwrap_or(begin);
    loop {
        let end = at.new + at.length;
        let next = copies.next();
        let extra = next.map_or(new_size, |it| it.new).checked_sub(end)?;
        let position = i64::try_from(at.old + at.length).ok()?;
        let seek = match next {
            Some(next) => i64::try_from(next.old).ok()? - position,
            None => i64::try_from(extra).ok()?,
        };
        let (copy, extra) = (u32::try_from(at.length).ok()?, u32::try_from(extra).ok()?);
        let step = Step { copy, extra, seek: i32::try_from(seek).ok()? };
        // A file that is copied from elsewhere from its first byte begins with a move alone, which
        // no step is: its first byte is a new one then.
        if copy > 0 || extra > 0 {
            steps.push(step);
        } else if let Some(next) = next {
            let late = Copied { new: next.new + 1, old: next.old + 1, length: next.length - 1 };
            let seek = i32::try_from(late.old).ok()?;
            steps.push(Step { copy: 0, extra: 1, seek });
            at = late;
            continue;
        }
        match next {
            Some(next) => at = *next,
            None => return Some(steps),
        }
    }
}
