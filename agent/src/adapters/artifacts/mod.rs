//! Artifacts: downloaded over HTTPS, whole or as a delta from one that is here, resumed where the
//! last try ended, checked against their digest, kept under it, and removed when nothing refers to
//! them.
//!
//! What is wanted and where it lands is here and in `job.rs`; where bytes come from is `source.rs`;
//! what is done with a delta is `delta.rs`. See decision 0173.

mod delta;
mod failure;
mod folder;
mod job;
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
use self::folder::{digest_of, names};
use self::job::Job;
use super::files;
use super::https::Api;
use crate::core::backoff::Entropy;
use crate::core::effect::Observed;

/// Most downloads at the same time; more would only slow each other down on a thin link.
const MAX_DOWNLOADS: usize = 2;
/// Artifacts of this device, and the downloads under way.
#[derive(Debug)]
pub struct Artifacts {
    folder: PathBuf,
    partial: PathBuf,
    tell: mpsc::Sender<Observed>,
    api: watch::Receiver<Option<Api>>,
    slots: Arc<Semaphore>,
    applying: Applying,
    fetching: BTreeMap<Digest, JoinHandle<()>>,
    seed: u64,
}

impl Artifacts {
    /// Opens the folders and lists the artifacts that are complete. `api` is the connection to
    /// download over, once the device is enrolled.
    ///
    /// # Errors
    /// When the folders cannot be created.
    pub fn open(
        data: &Path,
        tell: mpsc::Sender<Observed>,
        api: watch::Receiver<Option<Api>>,
        seed: u64,
    ) -> io::Result<(Self, BTreeSet<Digest>)> {
        let folder = data.join("artifacts/sha256");
        let partial = data.join("artifacts/partial");
        files::folder(&data.join("artifacts"), 0o711)?;
        files::folder(&folder, 0o711)?;
        files::folder(&partial, 0o700)?;
        // A file under its digest is complete: it was renamed to it after the check.
        let there = collect::set(names(&folder)?.into_iter().filter_map(|name| digest_of(&name)));
        let slots = Arc::new(Semaphore::new(MAX_DOWNLOADS));
        let fetching = BTreeMap::new();
        let applying = Applying::default();
        Ok((Self { folder, partial, tell, api, slots, applying, fetching, seed }, there))
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
        };
        let slots = Arc::clone(&self.slots);
        let mut entropy = Entropy::new(self.seed ^ artifact.size);
        let task = tokio::spawn(async move { job.run(&slots, &mut entropy).await });
        self.fetching.insert(artifact.digest, task);
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
        for folder in [&self.folder, &self.partial] {
            for name in names(folder).unwrap_or_default() {
                if digest_of(&name).is_none_or(|digest| !keep.contains(&digest)) {
                    // A file that could not be removed goes with the next collection.
                    let _left = std::fs::remove_file(folder.join(&name));
                }
            }
        }
    }
}
