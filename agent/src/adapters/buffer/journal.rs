//! `data.journal`: small steps, durable at the price of a page or two, until the database takes
//! them all in one step. Written from its beginning again and again: its length never changes, so
//! that nothing but these pages is written.
//!
//! Each page begins with: sum (4 bytes) of all after it, generation (8), entry (4), part (2),
//! parts (2), length (2); then so many bytes of the entry, then zeros. The database knows the
//! present generation, and takes the next one in the step in which it takes what stands in this
//! one: former ones hold nothing any more.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_records::crc::crc;

use crate::adapters::files;

/// What a file system writes at least, in bytes.
const PAGE: usize = 4_096;
/// How many there are: some dozens of steps share what the database writes for one.
const PAGES: usize = 64;
const HEAD: usize = 22;
const ROOM: usize = PAGE - HEAD;
/// An entry has so many bytes at most: the database writes some five pages beside those of the
/// records, so that larger ones are as cheap there.
pub(super) const LARGEST: usize = 5 * ROOM;

/// Where there is no room for one, it is tried again after so long.
const RETRY: Duration = Duration::from_secs(60);

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// None: there is none that serves.
    file: Option<File>,
    /// What stands in it would be misunderstood later: it is made anew, once the database has taken
    /// what could be read.
    torn: bool,
    /// When one could not be made.
    tried: Option<Instant>,
    generation: u64,
    /// Where the next entry begins.
    page: usize,
    entry: u32,
}

/// What stood in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stood {
    /// Entries, in their order.
    pub(super) entries: Vec<Vec<u8>>,
    /// Something that was perhaps acknowledged stood there and cannot be read.
    pub(super) torn: bool,
    /// It is of a later generation: the database is an older one.
    pub(super) later: bool,
}

impl Journal {
    /// That of this generation; 0: the database knows of none. The next entry is taken once it has
    /// begun another one.
    pub(super) fn open(path: &Path, generation: u64) -> io::Result<(Self, Stood)> {
        let mut journal = Self {
            path: path.to_owned(),
            file: None,
            torn: false,
            tried: None,
            generation,
            page: PAGES,
            entry: 0,
        };
        if generation == 0 {
            return Ok((journal, Stood::default()));
        }
        let stood = match load(path) {
            Ok((file, bytes)) => {
                journal.file = Some(file);
                read(&bytes, generation)
            }
            Err(error) if is_of_the_file(&error) => {
                tracing::error!(%error, "data.journal cannot be read");
                // Where it is gone altogether, this may be a copy of the database.
                let later = error.kind() == io::ErrorKind::NotFound;
                Stood { torn: true, later, ..Stood::default() }
            }
            Err(error) => return Err(error),
        };
        journal.torn = stood.torn;
        Ok((journal, stood))
    }

    /// Takes an entry, durably. None: there is no room, and the database takes it. Else how many
    /// bytes were written.
    ///
    /// # Errors
    /// What the disk says; the journal is given up, and made anew once the database has taken what
    /// stands in it.
    pub(super) fn append(&mut self, entry: &[u8]) -> io::Result<Option<u64>> {
        let parts = entry.len().div_ceil(ROOM);
        let Some(file) = self.file.as_ref().filter(|_| self.page + parts <= PAGES) else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(parts * PAGE);
        for (part, piece) in (0_u16..).zip(entry.chunks(ROOM)) {
            page(&mut bytes, self.generation, self.entry, (part, parts), piece);
        }
        #[cfg(test)]
        if self.path.with_extension("full").exists() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = (self.page..)
            .zip(bytes.chunks(PAGE))
            .try_for_each(|(page, bytes)| file.write_all_at(bytes, (page * PAGE) as u64));
        if let Err(error) = written.and_then(|()| file.sync_data()) {
            (self.torn, self.page) = (true, PAGES);
            return Err(error);
        }
        self.page += parts;
        self.entry += 1;
        Ok(Some(bytes.len() as u64))
    }

    /// The generation that comes, for the step in which the database takes what stands here; 0:
    /// there is no room for a journal. Gives what that wrote, too.
    pub(super) fn next(&mut self) -> (u64, u64) {
        if std::mem::take(&mut self.torn) {
            self.file = None;
            return (0, 0);
        }
        if self.file.is_some() {
            return (self.generation + 1, 0);
        }
        if self.tried.is_some_and(|at| at.elapsed() < RETRY) {
            return (0, 0);
        }
        // Above that of any copy of the database that this one may have been the journal of.
        let former = std::fs::read(&self.path).map_or(0, |bytes| latest(&bytes));
        self.generation = self.generation.max(former);
        let made = files::replace(&self.path, &vec![0; PAGES * PAGE], 0o600)
            .and_then(|()| load(&self.path));
        match made {
            Ok((file, _)) => {
                self.file = Some(file);
                (self.generation + 1, (PAGES * PAGE) as u64)
            }
            Err(error) => {
                self.tried = Some(Instant::now());
                tracing::warn!(%error, "no journal: each step is the database's");
                (0, 0)
            }
        }
    }

    /// The database has taken all that stood here, and knows this generation.
    pub(super) fn begin(&mut self, generation: u64) {
        self.generation = generation.max(self.generation);
        (self.page, self.entry) = (0, 0);
    }

    /// Pages that entries stand in.
    pub(super) fn used(&self) -> usize {
        if self.file.is_some() { self.page } else { 0 }
    }
}

fn load(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    // What is read may stand in the kernel's memory alone, and is about to be shipped.
    file.sync_data()?;
    let mut bytes = vec![0; PAGES * PAGE];
    if file.metadata()?.len() != bytes.len() as u64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    file.read_exact_at(&mut bytes, 0)?;
    by_pages(&file);
    Ok((file, bytes))
}

/// What is read or written in one go the kernel keeps in one piece, and writes in one piece when a
/// page of it changes: it is to forget such pieces. Pages are written one by one for the same reason.
fn by_pages(file: &File) {
    let _only_an_advice = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// Errors that the file itself gives, not what is around it.
fn is_of_the_file(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

fn page(out: &mut Vec<u8>, generation: u64, entry: u32, (part, parts): (u16, usize), piece: &[u8]) {
    let mut content = Vec::with_capacity(PAGE);
    content.extend(generation.to_be_bytes());
    content.extend(entry.to_be_bytes());
    content.extend(part.to_be_bytes());
    for number in [parts, piece.len()] {
        content.extend(u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes());
    }
    content.extend(piece);
    content.resize(PAGE - 4, 0);
    out.extend(crc(&[&content]).to_be_bytes());
    out.extend(content);
}

/// A page as it stands.
enum Page<'a> {
    /// Never written.
    Empty,
    /// Not what was written.
    Bad,
    Good {
        generation: u64,
        entry: u32,
        part: u16,
        parts: u16,
        piece: &'a [u8],
    },
}

fn parse(page: &[u8]) -> Page<'_> {
    if page.iter().all(|byte| *byte == 0) {
        return Page::Empty;
    }
    written(page).unwrap_or(Page::Bad)
}

/// None: it is not what was written.
fn written(page: &[u8]) -> Option<Page<'_>> {
    let (sum, mut rest) = page.split_first_chunk()?;
    if u32::from_be_bytes(*sum) != crc(&[rest]) {
        return None;
    }
    let generation = u64::from_be_bytes(take(&mut rest)?);
    let entry = u32::from_be_bytes(take(&mut rest)?);
    let part = u16::from_be_bytes(take(&mut rest)?);
    let parts = u16::from_be_bytes(take(&mut rest)?);
    let length = u16::from_be_bytes(take(&mut rest)?);
    Some(Page::Good { generation, entry, part, parts, piece: rest.get(..length.into())? })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

/// The highest generation that stands in it.
fn latest(bytes: &[u8]) -> u64 {
    let generations = bytes.chunks(PAGE).filter_map(|page| match parse(page) {
        Page::Good { generation, .. } => Some(generation),
        Page::Empty | Page::Bad => None,
    });
    generations.max().unwrap_or(0)
}

/// The entries of a generation.
fn read(bytes: &[u8], present: u64) -> Stood {
    let mut stood = Stood::default();
    let mut open: Vec<u8> = Vec::new();
    let (mut next, mut ended) = ((0_u32, 0_u16), false);
    for page in bytes.chunks(PAGE) {
        match parse(page) {
            Page::Good { generation, .. } if generation > present => {
                (stood.torn, stood.later) = (true, true);
                return stood;
            }
            Page::Good { generation, entry, part, parts, piece } if generation == present => {
                // After the end stand at most other parts of an entry that was never whole.
                stood.torn |= if ended { entry != next.0 } else { (entry, part) != next };
                if stood.torn {
                    return stood;
                }
                if ended {
                    continue;
                }
                open.extend(piece);
                next = (entry, part + 1);
                if next.1 >= parts {
                    stood.entries.push(std::mem::take(&mut open));
                    next = (entry + 1, 0);
                }
            }
            Page::Bad if !ended => {
                stood.torn = true;
                return stood;
            }
            // A page of a former generation was perhaps torn then.
            Page::Empty | Page::Bad | Page::Good { .. } => ended = true,
        }
    }
    stood
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::backoff::Entropy;

    fn entry(number: usize, size: usize) -> Vec<u8> {
        (0..size).map(|at| (number * 31 + at * 7) as u8).collect()
    }

    /// A journal of generation 1, with entries of these sizes.
    fn filled(path: &Path, sizes: &[usize]) -> Journal {
        let (mut journal, _) = Journal::open(path, 0).unwrap();
        assert_eq!(journal.append(b"early").unwrap(), None, "the database knows of none yet");
        let (generation, _) = journal.next();
        journal.begin(generation);
        for (number, size) in sizes.iter().enumerate() {
            assert!(journal.append(&entry(number, *size)).unwrap().is_some());
        }
        journal
    }

    fn stood(path: &Path, generation: u64) -> Stood {
        Journal::open(path, generation).unwrap().1
    }

    #[test]
    fn entries_come_back_and_those_of_a_former_generation_do_not() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("data.journal");
        let sizes = [1, ROOM, ROOM + 1, LARGEST, 10];
        let mut journal = filled(&path, &sizes);
        let all: Vec<_> = sizes.iter().enumerate().map(|(at, size)| entry(at, *size)).collect();
        let whole = Stood { entries: all, ..Stood::default() };
        assert_eq!(stood(&path, 1), whole);
        assert_eq!(stood(&path, 0), Stood::default());
        let (next, written) = journal.next();
        assert_eq!((next, written), (2, 0));
        assert_eq!(stood(&path, 1), whole, "until the database knows the next one");
        journal.begin(next);
        assert_eq!(stood(&path, 2), Stood::default());
        journal.append(b"one").unwrap();
        assert_eq!(stood(&path, 2).entries, [b"one"]);
        let older = stood(&path, 1);
        assert!(older.torn && older.later && older.entries.is_empty(), "{older:?}");
    }

    #[test]
    fn a_full_one_takes_nothing_until_the_next_generation() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("data.journal");
        let mut journal = filled(&path, &[]);
        for page in (5..=PAGES).step_by(5) {
            assert!(journal.append(&vec![1; LARGEST]).unwrap().is_some(), "{page}");
        }
        assert_eq!(journal.append(&vec![1; LARGEST]).unwrap(), None);
        let (next, _) = journal.next();
        journal.begin(next);
        assert!(journal.append(b"more").unwrap().is_some());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), (PAGES * PAGE) as u64);
    }

    #[test]
    fn one_that_is_opened_again_waits_for_the_database() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("data.journal");
        drop(filled(&path, &[10]));
        let (mut journal, stood) = Journal::open(&path, 1).unwrap();
        assert_eq!(stood.entries.len(), 1);
        assert_eq!(journal.append(b"more").unwrap(), None);
        let (next, _) = journal.next();
        journal.begin(next);
        assert!(journal.append(b"more").unwrap().is_some());
    }

    #[test]
    fn harm_is_never_taken_for_an_end_and_never_for_an_entry() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("data.journal");
        let sizes = [100, 3 * ROOM, 100, ROOM, 100];
        drop(filled(&path, &sizes));
        let good = std::fs::read(&path).unwrap();
        let all = stood(&path, 1).entries;
        let used: usize = sizes.iter().map(|size| size.div_ceil(ROOM)).sum();
        let mut entropy = Entropy::new(3);
        for round in 0..400 {
            let mut bytes = good.clone();
            let at = (entropy.draw() % (used * PAGE) as u64) as usize;
            match round % 3 {
                0 => bytes[at] ^= 1 << (entropy.draw() % 8),
                1 => bytes[at..(at + 600).min(used * PAGE)].fill(0xa5),
                // A page that was written stands there no more.
                _ => bytes[at / PAGE * PAGE..][..PAGE].fill(0),
            }
            std::fs::write(&path, &bytes).unwrap();
            let stood = stood(&path, 1);
            assert!(all.starts_with(&stood.entries), "round {round}");
            // The last entry's page that is not there may never have been acknowledged.
            let is_unwritten = round % 3 == 2 && at / PAGE == used - 1;
            assert!(bytes == good || stood.torn || is_unwritten, "round {round} at {at}");
        }
        for harm in [0, 1, PAGE, good.len() - 1] {
            std::fs::write(&path, &good[..harm]).unwrap();
            assert!(stood(&path, 1).torn, "cut at {harm}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(stood(&path, 1).torn, "gone");
    }

    #[test]
    fn an_entry_that_was_never_whole_is_no_loss() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("data.journal");
        drop(filled(&path, &[100, 3 * ROOM]));
        let good = std::fs::read(&path).unwrap();
        for gone in [1, 2, 3] {
            let mut bytes = good.clone();
            bytes[gone * PAGE..][..PAGE].fill(0);
            std::fs::write(&path, &bytes).unwrap();
            let stood = stood(&path, 1);
            assert!(!stood.torn && stood.entries.len() == 1, "part {gone}: {stood:?}");
        }
    }

    #[test]
    fn one_that_cannot_be_written_is_made_anew_and_costs_nothing_else() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("data.journal");
        let mut journal = filled(&path, &[100]);
        // As after an error of the disk.
        journal.file = Some(File::open(&path).unwrap());
        assert!(journal.append(b"more").is_err(), "it cannot be written");
        assert_eq!(journal.append(b"more").unwrap(), None, "the database takes it");
        let (none, _) = journal.next();
        journal.begin(none);
        assert_eq!(none, 0);
        assert_eq!(stood(&path, 1).entries.len(), 1, "until then what stands there is needed");
        let (next, _) = journal.next();
        journal.begin(next);
        assert!(next > 1 && journal.append(b"more").unwrap().is_some());
    }

    #[test]
    fn a_new_one_is_above_the_one_that_it_takes_the_place_of() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("data.journal");
        let mut journal = filled(&path, &[100]);
        for _ in 0..40 {
            let (next, _) = journal.next();
            journal.begin(next);
            journal.append(b"one").unwrap();
        }
        let (mut anew, _) = Journal::open(&path, 0).unwrap();
        let (generation, _) = anew.next();
        assert!(generation > 41, "{generation}");
        anew.begin(generation);
        anew.append(b"one").unwrap();
        assert!(stood(&path, 41).later, "the former database is an older one");
        std::fs::remove_file(&path).unwrap();
        assert!(stood(&path, 41).later, "and so may one be that has none");
    }

    #[test]
    fn one_that_was_torn_is_made_anew_after_the_database_took_it() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("data.journal");
        drop(filled(&path, &[100, 100]));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[PAGE + 50] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (mut journal, was) = Journal::open(&path, 1).unwrap();
        assert!(was.torn && was.entries.len() == 1);
        let (none, _) = journal.next();
        assert_eq!(none, 0, "the entries stand in it until the database has them");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        journal.begin(none);
        assert_eq!(journal.append(b"more").unwrap(), None);
        let (next, written) = journal.next();
        assert!(next > 1 && written > 0);
        journal.begin(next);
        journal.append(b"more").unwrap();
        assert_eq!(stood(&path, next).entries, [b"more"]);
    }
}
