//! Artifacts: taken from a neighbour, or downloaded over HTTPS, whole or as a delta from one that is
//! here, resumed where the
//! last try ended, checked against their digest, kept under it, and removed when nothing refers to
//! them.
//!
//! What is wanted and where it lands is here and in `job.rs`; where bytes come from is `source.rs`;
//! what is done with a delta is `delta.rs`. See decision 0173.

mod delta;
mod failure;
mod file;
mod folder;
mod job;
mod signs;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_base::collect;
use holdfast_base::ids::Digest;
use holdfast_protocol::workload::Artifact;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use self::delta::Applying;
pub(super) use self::file::{begin_anew, rehash};
use self::folder::{digest_of, names};
use self::job::Job;
use super::files;
use super::https::Api;
use super::neighbours::Neighbours;
use super::room::Rooms;
use crate::core::backoff::Entropy;
use crate::core::effect::Observed;

/// Artifacts of this device, and the downloads under way.
#[derive(Debug)]
pub struct Artifacts {
    folder: PathBuf,
    partial: PathBuf,
    /// Folder of what neighbours have given of unfinished artifacts.
    given: PathBuf,
    tell: mpsc::Sender<Observed>,
    api: watch::Receiver<Option<Api>>,
    neighbours: Neighbours,
    slots: Arc<Semaphore>,
    rooms: Rooms,
    applying: Applying,
    fetching: BTreeMap<Digest, JoinHandle<()>>,
    seed: u64,
}

impl Artifacts {
    /// Opens the folders and lists the artifacts that are complete. `api` is the connection to
    /// download over, once the device is enrolled. `parallel`: most downloads at the same time; more
    /// would only slow each other down on a thin link.
    ///
    /// # Errors
    /// When the folders cannot be created.
    pub fn open(
        data: &Path,
        tell: mpsc::Sender<Observed>,
        (api, neighbours): (watch::Receiver<Option<Api>>, Neighbours),
        (parallel, seed): (usize, u64),
    ) -> io::Result<(Self, BTreeSet<Digest>)> {
        let folder = data.join("artifacts/sha256");
        let partial = data.join("artifacts/partial");
        files::folder(&data.join("artifacts"), 0o711)?;
        files::folder(&folder, 0o711)?;
        let given = data.join("artifacts/neighbours");
        files::folder(&partial, 0o700)?;
        files::folder(&given, 0o700)?;
        // A file under its digest is complete: it was renamed to it after the check.
        let there = collect::set(names(&folder)?.into_iter().filter_map(|name| digest_of(&name)));
        let slots = Arc::new(Semaphore::new(parallel));
        let fetching = BTreeMap::new();
        let (applying, rooms) = (Applying::default(), Rooms::default());
        let all = Self {
            folder,
            partial,
            given,
            tell,
            api,
            neighbours,
            slots,
            rooms,
            applying,
            fetching,
            seed,
        };
        Ok((all, there))
    }

    /// Folder of the complete artifacts.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Downloads an artifact, however many tries it takes. Reports `Fetched`.
    pub fn fetch(&mut self, artifact: Artifact) {
        self.fetching.retain(|_, task| !task.is_finished());
        if self.fetching.contains_key(&artifact.digest) {
            return;
        }
        let job = Job {
            artifact,
            path: self.folder.join(artifact.digest.hex()),
            partial: self.partial.join(artifact.digest.hex()),
            applying: self.applying.clone(),
            tell: self.tell.clone(),
            api: self.api.clone(),
            given: self.given.join(artifact.digest.hex()),
            neighbours: self.neighbours.clone(),
            rooms: self.rooms.clone(),
            fetching: None,
        };
        let slots = Arc::clone(&self.slots);
        let mut entropy = Entropy::new(self.seed ^ artifact.size);
        let task = tokio::spawn(async move { job.run(&slots, &mut entropy).await });
        self.fetching.insert(artifact.digest, task);
    }

    /// Stops a download and keeps what has come; `fetch` goes on at the byte.
    pub fn pause(&mut self, digest: Digest) {
        if let Some(task) = self.fetching.remove(&digest) {
            task.abort();
        }
    }

    /// Removes every artifact except these, and stops every other download.
    pub fn collect(&mut self, keep: &BTreeSet<Digest>) {
        self.fetching.retain(|digest, task| {
            let wanted = keep.contains(digest);
            if !wanted {
                task.abort();
            }
            wanted && !task.is_finished()
        });
        for folder in [&self.folder, &self.partial, &self.given] {
            for name in names(folder).unwrap_or_default() {
                if digest_of(&name).is_none_or(|digest| !keep.contains(&digest)) {
                    // A file that could not be removed goes with the next collection.
                    let _left = std::fs::remove_file(folder.join(&name));
                }
            }
        }
    }
}
