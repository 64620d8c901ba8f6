//! Deltas between artifacts: kept as files beside them, made one at a time by a child process with
//! limits, and asked for by devices.
//!
//! A delta that is missing is never the reason that a device waits for long: after a bounded time,
//! or when it cannot be made, the device gets the whole. What did not pay or failed is noted in an
//! empty file, so that it is not tried again and again. See decision 0173.
#![allow(
    clippy::disallowed_methods,
    reason = "an adapter: files, clock and processes are its trade"
)]

pub mod child;
mod making;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use holdfast_base::ids::Digest;
use tokio::sync::Notify;

/// Smallest artifact that deltas are made for, in bytes: below it a request or two are all there is
/// to save.
pub const SMALLEST: u64 = 256 * 1024;
/// Memory that a device may have to spare for applying, in MiB. A delta is made for a class, so
/// that devices share it. Below the first there is no model that is worth much.
const CLASSES: [u64; 5] = [4, 8, 24, 96, 512];
/// Class of deltas that are made before a device has asked: what agents ask for unless told
/// otherwise.
const USUAL: u64 = 24;
/// Most bases that a device may name.
pub const MOST_BASES: usize = 8;
/// Longest queue. Each takes seconds to minutes, so that more would come too late.
const MOST_WAITING: usize = 64;
/// Time for which a device is told to ask again, from when the delta was first asked for.
const PATIENCE: Duration = Duration::from_secs(180);
/// Time after which it is told to ask again, in seconds.
const AGAIN: u64 = 3;
/// Most bytes of all deltas; the oldest go first.
const MOST_BYTES: u64 = 4 << 30;
/// Most files.
const MOST_FILES: usize = 10_000;

/// Delta from one artifact to another (or an artifact compressed, without an old one) for devices
/// with so much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    old: Option<Digest>,
    new: Digest,
    /// Memory in MiB.
    class: u64,
}

impl Pair {
    fn name(&self) -> String {
        let old = self.old.map_or_else(|| "none".to_owned(), |old| old.hex());
        format!("{}-{old}-{}", self.new.hex(), self.class)
    }
}

/// Answer to a device that asks for a delta.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The file of the delta.
    Ready(PathBuf),
    /// It is being made: ask again after so many seconds.
    Later(u64),
    /// There is none: take the whole.
    Whole,
}

/// What is known of a pair from the folder.
enum Stored {
    Made(PathBuf),
    /// It did not pay, or making it failed.
    Useless,
    Unknown,
}

/// Deltas of one folder of artifacts.
#[derive(Debug)]
pub struct Deltas {
    /// Folder of the artifacts.
    whole: PathBuf,
    folder: PathBuf,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the task that makes deltas runs.
    running: bool,
    queue: VecDeque<Pair>,
    /// Pairs that wait or are made, with the time when they were first asked for.
    since: BTreeMap<Pair, Instant>,
}

impl Deltas {
    /// Opens the folder of the deltas beside that of the artifacts.
    ///
    /// # Errors
    /// Returns the disk's error.
    pub fn open(artifacts: &Path, whole: &Path) -> io::Result<Self> {
        let folder = artifacts.join("deltas");
        std::fs::create_dir_all(&folder)?;
        for entry in std::fs::read_dir(&folder)?.flatten() {
            if entry.path().extension().is_some() {
                // Half a delta of a process that ended.
                std::fs::remove_file(entry.path())?;
            }
        }
        let state = Mutex::default();
        Ok(Self { whole: whole.to_owned(), folder, state, wake: Notify::new() })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for a delta to an artifact from one of the bases, the best first, that applies within so
    /// many bytes of memory. What is not there yet begins to be made.
    pub fn ask(&self, bases: &[Digest], new: Digest, memory: u64) -> Answer {
        let classes = CLASSES.into_iter().rev();
        let Some(class) = classes.clone().find(|class| class << 20 <= memory) else {
            return Answer::Whole;
        };
        if self.size(&new).is_none_or(|size| size < SMALLEST) {
            return Answer::Whole;
        }
        let is_base = |old: &&Digest| **old != new && self.size(old).is_some();
        let bases = bases.iter().take(MOST_BASES).filter(is_base);
        let pairs = bases.map(|old| Pair { old: Some(*old), new, class });
        let mut wanted = None;
        for pair in pairs {
            match self.stored(pair) {
                Stored::Made(path) => return Answer::Ready(path),
                Stored::Unknown => wanted = wanted.or(Some(pair)),
                Stored::Useless => {}
            }
        }
        if let Some(pair) = wanted {
            let since = self.want(pair);
            let waits = since.is_some_and(|since| since.elapsed() < PATIENCE);
            return if waits { Answer::Later(AGAIN) } else { Answer::Whole };
        }
        let pair = Pair { old: None, new, class };
        match self.stored(pair) {
            Stored::Made(path) => Answer::Ready(path),
            Stored::Useless => Answer::Whole,
            Stored::Unknown => {
                // For the next device: this one would wait in vain on all but the thinnest link.
                let _not_waited_for = self.want(pair);
                Answer::Whole
            }
        }
    }

    /// Begins to make a delta that devices will ask for.
    pub fn expect(&self, old: Digest, new: Digest) {
        let pair = Pair { old: Some(old), new, class: USUAL };
        let large = |digest: &Digest| self.size(digest).is_some_and(|size| size >= SMALLEST);
        if old != new && large(&new) && large(&old) && matches!(self.stored(pair), Stored::Unknown)
        {
            let _nobody_waits = self.want(pair);
        }
    }

    /// Removes every delta from or to an artifact that goes.
    pub fn forget(&self, digest: &Digest) {
        let hex = digest.hex();
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.contains(&hex))
                && let Err(error) = std::fs::remove_file(entry.path())
            {
                tracing::warn!(path = %entry.path().display(), %error, "an old delta stays");
            }
        }
    }

    fn size(&self, digest: &Digest) -> Option<u64> {
        std::fs::metadata(self.whole.join(digest.hex())).ok().map(|meta| meta.len())
    }

    fn stored(&self, pair: Pair) -> Stored {
        let path = self.folder.join(pair.name());
        match std::fs::metadata(&path) {
            Ok(meta) if meta.len() > 0 => Stored::Made(path),
            Ok(_) => Stored::Useless,
            Err(_) => Stored::Unknown,
        }
    }

    /// Puts a pair into the queue, once. Returns since when it has been wanted; `None` when nothing
    /// is made or the queue is full.
    fn want(&self, pair: Pair) -> Option<Instant> {
        let mut state = self.state();
        if let Some(since) = state.since.get(&pair) {
            return Some(*since);
        }
        if !state.running || state.queue.len() >= MOST_WAITING {
            return None;
        }
        let now = Instant::now();
        state.since.insert(pair, now);
        state.queue.push_back(pair);
        drop(state);
        self.wake.notify_one();
        Some(now)
    }
}

#[cfg(test)]
mod tests;
