//! The journal `data.journal`: small steps, each durable at the price of one to five pages, until
//! the database takes them all in one transaction. It is overwritten from its beginning again and
//! again; its length never changes, so that no file system metadata is written.
//!
//! Each page of 4,096 bytes begins with a checksum (4 bytes) of all that follows, generation (8),
//! entry (4), part (2), parts (2), length (2); then come `length` bytes of the entry, then zeros.
//! The database stores the current generation, and moves on to the next one in the transaction that
//! takes over the journal's entries: pages of former generations are void.
//!
//! See decision 0067.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_records::crc::crc;

use crate::adapters::files;

/// Smallest unit that a file system writes, in bytes.
const PAGE: usize = 4_096;
/// Pages of the journal (256 KiB): some dozens of steps share what one transaction of the database
/// writes.
const PAGES: usize = 64;
const HEAD: usize = 22;
const PAGE_ROOM: usize = PAGE - HEAD;
/// Largest entry in bytes, five pages. A transaction of the database writes about five pages beside
/// those of the records, so that a larger step is as cheap there.
pub(super) const LARGEST: usize = 5 * PAGE_ROOM;

/// Pause before another try to create the journal after there was no room for it.
const CREATE_RETRY: Duration = Duration::from_secs(60);

/// The open journal and the position of its next entry.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// `None` when there is no usable journal.
    file: Option<File>,
    /// True when the content would be misread later. The journal is then made anew, once the
    /// database has taken what could be read.
    torn: bool,
    /// Last failed try to create the journal.
    tried: Option<Instant>,
    generation: u64,
    /// Page at which the next entry begins; [`PAGES`] when there is no room left.
    page: usize,
    entry: u32,
}

/// Content of the journal when it was opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Entries in the order in which they were appended.
    pub(super) entries: Vec<Vec<u8>>,
    /// True when an entry that may have been acknowledged cannot be read.
    pub(super) torn: bool,
    /// True when a page has a later generation than the database: the database is an older copy.
    pub(super) later: bool,
}

impl Journal {
    /// Opens the journal of this generation; 0 means that the database knows of none. The first
    /// entry can be appended only after [`Journal::begin`].
    pub(super) fn open(path: &Path, generation: u64) -> io::Result<(Self, Contents)> {
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
            return Ok((journal, Contents::default()));
        }
        let contents = match load(path) {
            Ok((file, bytes)) => {
                journal.file = Some(file);
                read(&bytes, generation)
            }
            Err(error) if is_of_the_file(&error) => {
                tracing::error!(%error, "data.journal cannot be read");
                // Where it is gone altogether, this may be a copy of the database.
                let later = error.kind() == io::ErrorKind::NotFound;
                Contents { torn: true, later, ..Contents::default() }
            }
            Err(error) => return Err(error),
        };
        journal.torn = contents.torn;
        Ok((journal, contents))
    }

    /// Appends an entry durably and returns the number of bytes written. `None` when there is no
    /// room; the database has to take the step then.
    ///
    /// # Errors
    /// The disk's error. The journal is given up, and made anew once the database has taken its
    /// entries.
    pub(super) fn append(&mut self, entry: &[u8]) -> io::Result<Option<u64>> {
        let parts = entry.len().div_ceil(PAGE_ROOM);
        let Some(file) = self.file.as_ref().filter(|_| self.page + parts <= PAGES) else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(parts * PAGE);
        for (part, piece) in (0_u16..).zip(entry.chunks(PAGE_ROOM)) {
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

    /// Returns the generation to store in the transaction that takes over the entries (0: there
    /// will be no journal), and the bytes that were written to prepare it, which creates the
    /// journal if it is missing.
    pub(super) fn next(&mut self) -> (u64, u64) {
        if std::mem::take(&mut self.torn) {
            self.file = None;
            return (0, 0);
            // 0 in the database voids the damaged journal even if the crash comes before it is made
            // anew.
        }
        if self.file.is_some() {
            return (self.generation + 1, 0);
        }
        if self.tried.is_some_and(|at| at.elapsed() < CREATE_RETRY) {
            return (0, 0);
        }
        // Above that of any copy of the database that this one may have been the journal of.
        // The file may hold generation 7 while the database here is a restored copy with generation
        // 3. The new journal begins with 8: should the newer database be put back beside it, that
        // one finds a later generation, and no entries that pass for its own.
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

    /// Starts this generation at the first page, after the database has taken all entries of the
    /// former one and stored the new generation.
    pub(super) fn begin(&mut self, generation: u64) {
        self.generation = generation.max(self.generation);
        (self.page, self.entry) = (0, 0);
    }

    /// Pages in use by entries of the current generation.
    pub(super) fn used(&self) -> usize {
        if self.file.is_some() { self.page } else { 0 }
    }
}

fn load(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    // What is read may be in the page cache alone, and is about to be shipped: durable first.
    file.sync_data()?;
    let mut bytes = vec![0; PAGES * PAGE];
    if file.metadata()?.len() != bytes.len() as u64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    file.read_exact_at(&mut bytes, 0)?;
    by_pages(&file);
    Ok((file, bytes))
}

/// Advises the kernel to forget the file's cached pages. What is read or written at once is cached
/// as one large folio, which is written as a whole when a single page of it changes; pages are
/// written one by one for the same reason.
fn by_pages(file: &File) {
    let _only_an_advice = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// True for an error that the file itself causes, not its surroundings.
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

/// One page, parsed.
enum Page<'a> {
    /// All zeros: never written.
    Empty,
    /// The checksum or the layout is wrong.
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

/// Parses a page that is not all zeros. `None` when its checksum or layout is wrong.
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

/// Highest generation that any page holds; 0 when none does.
fn latest(bytes: &[u8]) -> u64 {
    let generations = bytes.chunks(PAGE).filter_map(|page| match parse(page) {
        Page::Good { generation, .. } => Some(generation),
        Page::Empty | Page::Bad => None,
    });
    generations.max().unwrap_or(0)
}

/// Collects the entries of the current generation. Entries that follow an incomplete one make the
/// journal torn, since each is appended only after the one before it was durable.
fn read(bytes: &[u8], present: u64) -> Contents {
    let mut contents = Contents::default();
    let mut open: Vec<u8> = Vec::new();
    let (mut next, mut ended) = ((0_u32, 0_u16), false);
    for page in bytes.chunks(PAGE) {
        match parse(page) {
            // Written by a later database than this one: this one is a restored copy, and its own
            // entries were overwritten.
            Page::Good { generation, .. } if generation > present => {
                (contents.torn, contents.later) = (true, true);
                return contents;
            }
            Page::Good { generation, entry, part, parts, piece } if generation == present => {
                // After the end stand at most other parts of an entry that was never whole.
                contents.torn |= if ended { entry != next.0 } else { (entry, part) != next };
                if contents.torn {
                    return contents;
                }
                if ended {
                    continue;
                }
                open.extend(piece);
                next = (entry, part + 1);
                if next.1 >= parts {
                    contents.entries.push(std::mem::take(&mut open));
                    next = (entry + 1, 0);
                }
            }
            Page::Bad if !ended => {
                contents.torn = true;
                return contents;
            }
            // The entries end at the first page that is empty or of a former generation. A bad page
            // behind that end may have been torn in a former generation, and holds nothing of this
            // one.
            Page::Empty | Page::Bad | Page::Good { .. } => ended = true,
        }
    }
    contents
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::backoff::Entropy;

    fn entry(number: usize, size: usize) -> Vec<u8> {
        (0..size).map(|at| (number * 31 + at * 7) as u8).collect()
    }

    /// Creates a journal of generation 1 with entries of these sizes in bytes.
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

    fn contents_of(path: &Path, generation: u64) -> Contents {
        Journal::open(path, generation).unwrap().1
    }

    #[test]
    fn entries_come_back_and_those_of_a_former_generation_do_not() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("data.journal");
        let sizes = [1, PAGE_ROOM, PAGE_ROOM + 1, LARGEST, 10];
        let mut journal = filled(&path, &sizes);
        let all: Vec<_> = sizes.iter().enumerate().map(|(at, size)| entry(at, *size)).collect();
        let whole = Contents { entries: all, ..Contents::default() };
        assert_eq!(contents_of(&path, 1), whole);
        assert_eq!(contents_of(&path, 0), Contents::default());
        let (next, written) = journal.next();
        assert_eq!((next, written), (2, 0));
        assert_eq!(contents_of(&path, 1), whole, "until the database knows the next one");
        journal.begin(next);
        assert_eq!(contents_of(&path, 2), Contents::default());
        journal.append(b"one").unwrap();
        assert_eq!(contents_of(&path, 2).entries, [b"one"]);
        let older = contents_of(&path, 1);
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
        let (mut journal, contents) = Journal::open(&path, 1).unwrap();
        assert_eq!(contents.entries.len(), 1);
        assert_eq!(journal.append(b"more").unwrap(), None);
        let (next, _) = journal.next();
        journal.begin(next);
        assert!(journal.append(b"more").unwrap().is_some());
    }

    #[test]
    fn harm_is_never_taken_for_an_end_and_never_for_an_entry() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("data.journal");
        let sizes = [100, 3 * PAGE_ROOM, 100, PAGE_ROOM, 100];
        drop(filled(&path, &sizes));
        let good = std::fs::read(&path).unwrap();
        let all = contents_of(&path, 1).entries;
        let used: usize = sizes.iter().map(|size| size.div_ceil(PAGE_ROOM)).sum();
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
            let contents = contents_of(&path, 1);
            assert!(all.starts_with(&contents.entries), "round {round}");
            // The last entry's page that is not there may never have been acknowledged.
            let is_unwritten = round % 3 == 2 && at / PAGE == used - 1;
            assert!(bytes == good || contents.torn || is_unwritten, "round {round} at {at}");
        }
        for harm in [0, 1, PAGE, good.len() - 1] {
            std::fs::write(&path, &good[..harm]).unwrap();
            assert!(contents_of(&path, 1).torn, "cut at {harm}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(contents_of(&path, 1).torn, "gone");
    }

    #[test]
    fn an_entry_that_was_never_whole_is_no_loss() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("data.journal");
        drop(filled(&path, &[100, 3 * PAGE_ROOM]));
        let good = std::fs::read(&path).unwrap();
        for gone in [1, 2, 3] {
            let mut bytes = good.clone();
            bytes[gone * PAGE..][..PAGE].fill(0);
            std::fs::write(&path, &bytes).unwrap();
            let contents = contents_of(&path, 1);
            assert!(!contents.torn && contents.entries.len() == 1, "part {gone}: {contents:?}");
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
        assert_eq!(
            contents_of(&path, 1).entries.len(),
            1,
            "until then what stands there is needed"
        );
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
        assert!(contents_of(&path, 41).later, "the former database is an older one");
        std::fs::remove_file(&path).unwrap();
        assert!(contents_of(&path, 41).later, "and so may one be that has none");
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
        assert_eq!(contents_of(&path, next).entries, [b"more"]);
    }
}
