//! Data folder: the store with the saved states of workloads and the clock's floor, and the disk
//! that it is on. A write that fails stops nothing: what is in memory goes on, and is written again.
//!
//! See decisions 0009, 0040 and 0075.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use holdfast_base::ids::Name;
use holdfast_protocol::problem::ProblemCode;

use super::problems::Problems;
use crate::adapters::clock::{Time, system_seconds};
use crate::adapters::files;
use crate::adapters::store::{Store, StoreError};
use crate::core::agent::Agent;
use crate::core::certificate::Life;
use crate::core::clock;
use crate::core::disk::{Cause, Disk, Room};
use crate::core::saved::SavedWorkload;

/// The data folder, held by its lock, with what is known of its disk.
pub(super) struct DataFolder {
    path: PathBuf,
    store: Store,
    /// True if the store lacks something that memory has, because a write failed.
    store_behind: bool,
    time: Time,
    /// Floor of the clock in the store, in seconds since 1970.
    floor_stored: u64,
    disk: Disk,
    /// Text about a store that cannot be written for another reason than space.
    unwritten: Option<String>,
    /// Text about a store that was damaged at the start.
    damage: Option<String>,
    /// Text about a parent folder of the workloads that their users may not enter.
    closed: Option<String>,
    /// Lock of the data folder, held while the agent runs.
    _lock: File,
}

impl DataFolder {
    /// Opens the store, and begins the clock from the stored floor. Returns the saved state of each
    /// workload too.
    pub(super) fn open(path: &Path, lock: File) -> (Self, BTreeMap<Name, SavedWorkload>) {
        let (store, loaded) = Store::open(&path.join("store.redb"));
        let folder = Self {
            path: path.to_owned(),
            store,
            store_behind: loaded.behind,
            time: Time::new(loaded.floor),
            floor_stored: loaded.floor,
            disk: Disk::default(),
            unwritten: None,
            damage: loaded.damage,
            closed: None,
            _lock: lock,
        };
        (folder, loaded.saved)
    }

    /// Clock that never falls below the stored floor.
    pub(super) fn time(&self) -> &Time {
        &self.time
    }

    /// Free bytes of the disk, as last looked at. None: they could not be had.
    pub(super) fn free(&self) -> Option<u64> {
        self.disk.free()
    }

    /// Looks at the disk's free bytes, and whether users may enter the folder of the workloads.
    pub(super) fn look(&mut self, workloads: &Path) {
        self.disk.looked(files::free_bytes(&self.path).ok());
        let closed = files::closed_to_others(workloads);
        if let Some(why) = closed.as_ref().filter(|_| closed != self.closed) {
            tracing::error!("{why}");
        }
        self.closed = closed;
    }

    /// Writes the whole store anew if it lacks something that memory has.
    pub(super) fn catch_up(&mut self, agent: &Agent) {
        if self.store_behind {
            let stored = self.store.rewrite(agent.saved(), self.time.now());
            self.store_behind = false;
            self.note_store(stored);
        }
    }

    /// Stores the states of workloads; None removes one. Returns true for a success.
    pub(super) fn save(&mut self, states: &[(Name, Option<SavedWorkload>)]) -> bool {
        let stored = self.store.put(states);
        self.note_store(stored)
    }

    /// Stores the clock's floor if it is due.
    pub(super) fn keep_floor_if_due(&mut self, life: Option<Life>) {
        if clock::is_store_due(self.time.now(), self.floor_stored) {
            self.keep_floor(life);
        }
    }

    /// Stores the clock's floor. `life`: validity of the certificate, which bounds it.
    pub(super) fn keep_floor(&mut self, life: Option<Life>) {
        let system = system_seconds();
        if clock::is_credible(system, life) {
            self.time.raise(system);
        }
        let Some(floor) = clock::to_store(self.time.now(), self.floor_stored, life) else { return };
        let stored = self.store.put_floor(floor);
        if self.note_store(stored) {
            self.floor_stored = floor;
        }
    }

    /// Notes the result of a write to the store. Returns true for a success.
    fn note_store(&mut self, stored: Result<(), StoreError>) -> bool {
        match stored {
            Ok(()) => {
                self.unwritten = None;
                true
            }
            Err(error) => {
                tracing::error!(%error, "the store cannot be written; what is in memory goes on");
                self.store_behind = true;
                match self.disk.store_failed(files::free_bytes(&self.path).ok()) {
                    Cause::NoSpace => {}
                    Cause::Store => self.unwritten = Some(error.to_string()),
                }
                false
            }
        }
    }

    /// Notes a file that could not be written; `what` is for the log.
    pub(super) fn note_io(&mut self, what: &str, error: &io::Error) {
        tracing::error!(%error, "{what}");
        if files::is_full(error) {
            self.disk.lacked_space();
        }
    }

    /// Adds the problems of the clock, the disk and the store.
    pub(super) fn problems(&self, list: &mut Problems) {
        list.say(ProblemCode::Clock, self.time.problem());
        list.say(ProblemCode::DataFolderClosed, self.closed.clone());
        let (room, data) = (self.disk.room(), self.path.display());
        list.say(
            ProblemCode::DiskFull,
            (room == Room::Full).then(|| {
                format!("no space left for {data}: workloads go on, changes wait; free some space")
            }),
        );
        list.say(
            ProblemCode::DiskLow,
            (room == Room::Low)
                .then(|| format!("little space left for {data}: free some before it is full")),
        );
        list.say(ProblemCode::Store, self.unwritten.clone());
        list.say(ProblemCode::StoreRecovered, self.damage.clone());
    }
}
