//! One download: tried until it succeeds, from a neighbour where there is one, else from the control
//! plane as a delta where that helps, else whole.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_base::ids::Digest;
use holdfast_protocol::message::Origin;
use holdfast_protocol::workload::Artifact;
use tokio::fs::File;
use tokio::sync::{Semaphore, mpsc, watch};

use super::delta::{self, Applying, Files, is_useless};
use super::failure::NotFetched;
use super::file::{begin_anew, rehash};
use super::signs::Signs;
use super::source::{Coming, DeltaWanted, Wanted, ask};
use crate::adapters::https::{Api, HttpsError};
use crate::adapters::neighbours::{Fetched, Fetching, Neighbours};
use crate::adapters::room::{Claim, NoRoom, Rooms};
use crate::adapters::{crash, files};
use crate::core::backoff::{self, Entropy};
use crate::core::effect::Observed;

/// First and longest wait between tries, in milliseconds.
const RETRY: (u64, u64) = (1_000, 120_000);
/// Time for which a delta that is being made is waited for. The control plane gives up earlier.
const PATIENCE: Duration = Duration::from_secs(240);
/// Smallest artifact that a delta is asked for, in bytes: the control plane makes none below.
const SMALLEST: u64 = 256 * 1024;

/// Download of one artifact.
pub(super) struct Job {
    pub(super) artifact: Artifact,
    pub(super) path: PathBuf,
    pub(super) partial: PathBuf,
    pub(super) applying: Applying,
    pub(super) tell: mpsc::Sender<Observed>,
    pub(super) api: watch::Receiver<Option<Api>>,
    /// File of what neighbours give.
    pub(super) given: PathBuf,
    pub(super) neighbours: Neighbours,
    pub(super) rooms: Rooms,
    /// Sign to neighbours while this device fetches the artifact from the control plane.
    pub(super) fetching: Option<Fetching>,
}

/// Whether a delta is still worth asking for.
struct Deltas {
    wanted: bool,
    since: Instant,
}

impl Job {
    /// Downloads the artifact, however many tries it takes.
    pub(super) async fn run(mut self, slots: &Semaphore, entropy: &mut Entropy) {
        let digest = self.artifact.digest;
        let mut deltas = Deltas { wanted: self.artifact.size >= SMALLEST, since: Instant::now() };
        let mut failures = 0;
        loop {
            let Ok(slot) = slots.acquire().await else { return };
            let before = self.have();
            let tried = self.attempt(&mut deltas).await;
            drop(slot);
            if self.have() > before {
                // A link that tears again and again gets on: it is not waited for ever longer.
                failures = 0;
            }
            let wait = match tried {
                Ok(()) => {
                    crash::point("artifact-stored");
                    let _agent_ends = self.tell.send(Observed::Fetched(digest)).await;
                    return;
                }
                Err(NotFetched::Later(seconds)) => Duration::from_secs(seconds),
                Err(why) => {
                    // A neighbour may have more luck.
                    self.fetching = None;
                    failures += 1;
                    let why = format!("artifact {digest}: {why}; it is tried again");
                    tracing::warn!(%digest, failures, "{why}");
                    let _agent_ends = self.tell.send(Observed::FetchTrouble(digest, why)).await;
                    let wait = backoff::delay(failures, RETRY.0, RETRY.1, entropy);
                    Duration::from_millis(wait)
                }
            };
            // A new certificate, or a first one, is a reason to try at once.
            let _either = tokio::time::timeout(wait, self.api.changed()).await;
        }
    }

    /// Bytes that have come so far, of the file and of a delta to it.
    fn have(&self) -> u64 {
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
        length(&self.partial) + length(&Files::beside(&self.partial).delta)
    }

    async fn attempt(&mut self, deltas: &mut Deltas) -> Result<(), NotFetched> {
        let api = self.api.borrow_and_update().clone().ok_or(NotFetched::NotEnrolled)?;
        if self.fetching.is_none() {
            match self.neighbours.fetch(self.artifact, &self.given, &self.tell).await {
                Fetched::Here => {
                    self.keep(&self.given)?;
                    Files::beside(&self.partial).remove();
                    let _there_may_be_none = std::fs::remove_file(&self.partial);
                    return Ok(());
                }
                Fetched::Fetch(fetching) => self.fetching = Some(fetching),
                Fetched::Alone => {}
            }
        }
        let begun = std::fs::metadata(&self.partial).is_ok_and(|meta| meta.len() > 0);
        // What was begun whole goes on whole.
        if begun || !deltas.wanted {
            return self.whole(&api, None).await;
        }
        let waited = deltas.since.elapsed() > PATIENCE;
        match self.by_delta(&api).await {
            Err(NotFetched::Later(_)) if waited => {}
            // A control plane of an earlier version does not know the parameters.
            Err(NotFetched::Https(HttpsError::Failed { status: 400, .. })) => {}
            Err(error) if is_useless(&error) => {
                let digest = self.artifact.digest;
                tracing::warn!(%digest, %error, "a delta was no use: the whole artifact is fetched");
            }
            other => return other,
        }
        deltas.wanted = false;
        Files::beside(&self.partial).remove();
        self.whole(&api, None).await
    }

    /// Asks for a delta; takes the whole where the control plane gives that.
    async fn by_delta(&self, api: &Api) -> Result<(), NotFetched> {
        let Some(memory) = delta::memory() else { return self.whole(api, None).await };
        let here = Files::beside(&self.partial);
        let tag = here.tag();
        let failed = |error| NotFetched::File(here.delta.clone(), error);
        let have = match &tag {
            Some(_) => std::fs::metadata(&here.delta).map_err(failed)?.len(),
            None => 0,
        };
        let folder = self.path.parent().unwrap_or(&self.path);
        let bases = delta::bases(folder, &self.artifact);
        let wanted = DeltaWanted { bases, memory, tag: tag.clone() };
        let wanted = Wanted { digest: self.artifact.digest, from: have, delta: Some(wanted) };
        let coming = match ask(api, &wanted).await {
            // All of it is here already.
            Err(NotFetched::Https(HttpsError::Failed { status: 416, .. })) if have > 0 => None,
            other => Some(other?),
        };
        if let Some(coming) = coming {
            let Some(new_tag) = coming.delta.clone() else {
                here.remove();
                return self.whole(api, Some(coming)).await;
            };
            let goes_on = coming.from == have && have > 0;
            let have = if goes_on { have } else { 0 };
            if coming.from != have {
                return Err(NotFetched::Short);
            }
            let claim = self.check_room(coming.length.saturating_add(self.artifact.size))?;
            let mut file = if goes_on {
                tokio::fs::OpenOptions::new().append(true).open(&here.delta).await
            } else {
                File::create(&here.delta).await
            }
            .map_err(failed)?;
            here.begin(&new_tag)?;
            let size = have.saturating_add(coming.length);
            let mut signs = self.signs(Origin::Delta, (have, size), claim);
            coming.pour(&mut file, (have, size), |bytes| signs.see(bytes)).await?;
        }
        let made = self.applying.apply(&here, folder, self.artifact, memory).await?;
        let came = std::fs::metadata(&here.delta).map_or(0, |meta| meta.len());
        self.keep(&made)?;
        here.remove();
        let (digest, whole) = (self.artifact.digest, self.artifact.size);
        tracing::info!(%digest, came, whole, "fetched as a delta");
        Ok(())
    }

    /// Fetches the whole artifact, from where the last try ended. `coming`: the answer is here.
    async fn whole(&self, api: &Api, coming: Option<Coming>) -> Result<(), NotFetched> {
        let partial = self.partial.clone();
        let failed = |error: io::Error| NotFetched::File(partial.clone(), error);
        let mut options = tokio::fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&self.partial).await.map_err(failed)?;
        let (mut hash, mut have) = rehash(&mut file).await.map_err(failed)?;
        if have > self.artifact.size {
            (hash, have) = begin_anew(&mut file).await.map_err(failed)?;
        }
        if have < self.artifact.size {
            let claim = self.check_room(self.artifact.size - have)?;
            let coming = match coming {
                Some(coming) => coming,
                None => {
                    let digest = self.artifact.digest;
                    ask(api, &Wanted { digest, from: have, delta: None }).await?
                }
            };
            if coming.from != have {
                (hash, have) = begin_anew(&mut file).await.map_err(NotFetched::Io)?;
            }
            let size = self.artifact.size;
            let mut signs = self.signs(Origin::Whole, (have, size), claim);
            let see = |bytes: &[u8]| {
                hash.update(bytes);
                signs.see(bytes);
            };
            coming.pour(&mut file, (have, size), see).await?;
        }
        file.sync_all().await.map_err(failed)?;
        let found = Digest(hash.finish().as_ref().try_into().map_err(|_| NotFetched::NoDigest)?);
        if found != self.artifact.digest {
            // Damaged on the way or on the disk: none of it can be used.
            tokio::fs::remove_file(&self.partial).await.map_err(failed)?;
            return Err(NotFetched::Other(found));
        }
        // Closed for writing before anything executes it; the kernel refuses otherwise.
        drop(file.into_std().await);
        self.keep(&self.partial)
    }

    /// Gives a complete, durable file its name.
    fn keep(&self, from: &Path) -> Result<(), NotFetched> {
        let failed = |error: io::Error| NotFetched::File(from.to_owned(), error);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(from, mode).map_err(failed)?;
        std::fs::rename(from, &self.path).map_err(failed)?;
        files::sync_folder(&self.path).map_err(failed)
    }

    /// Claims room for so many bytes. None: the disk does not say how much is free.
    fn check_room(&self, needed: u64) -> Result<Option<Claim>, NoRoom> {
        let free = files::free_bytes(self.path.parent().unwrap_or(&self.path));
        let Ok(free) = free else { return Ok(None) };
        self.rooms.claim(self.artifact.digest, needed, free).map(Some)
    }

    fn signs(&self, from: Origin, bytes: (u64, u64), claim: Option<Claim>) -> Signs<'_> {
        let told = (self.fetching.as_ref(), &self.tell);
        Signs::new((self.artifact.digest, from), bytes, claim, told)
    }
}
