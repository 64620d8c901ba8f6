//! Artifacts: downloaded over HTTPS, resumed where the last try ended, checked against their
//! digest, kept under it, and removed when nothing refers to them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_base::collect;
use holdfast_base::ids::Digest;
use holdfast_protocol::message::Origin;
use holdfast_protocol::workload::Artifact;
use http_body_util::{BodyExt as _, Full};
use hyper::StatusCode;
use ring::digest::{Context, SHA256};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use super::clock::uptime_ms;
use super::https::{Api, HttpsError, error_from};
use super::neighbours::{Fetched, Fetching, Neighbours};
use super::room::{Claim, NoRoom, Rooms};
use super::{crash, files};
use crate::core::backoff::{self, Entropy};
use crate::core::effect::Observed;
use crate::core::progress::Pace;

/// Time without a byte after which a download is given up and resumed.
const STALL: Duration = Duration::from_secs(60);
/// First and longest wait between tries, in milliseconds.
const RETRY: (u64, u64) = (1_000, 120_000);

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
        let (rooms, fetching) = (Rooms::default(), BTreeMap::new());
        let all =
            Self { folder, partial, given, tell, api, neighbours, slots, rooms, fetching, seed };
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
            tell: self.tell.clone(),
            api: self.api.clone(),
            rooms: self.rooms.clone(),
            given: self.given.join(artifact.digest.hex()),
            neighbours: self.neighbours.clone(),
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

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

fn digest_of(name: &str) -> Option<Digest> {
    format!("sha256:{name}").parse().ok()
}

/// Reason why one try to download an artifact failed.
#[derive(Debug, thiserror::Error)]
enum NotFetched {
    #[error("the device is not enrolled")]
    NotEnrolled,
    #[error("{}: {}", .0.display(), .1)]
    File(PathBuf, io::Error),
    #[error("{0}")]
    Io(io::Error),
    #[error("no digest")]
    NoDigest,
    #[error("what came has digest {0}, thrown away")]
    Other(Digest),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error("the link budget for artifacts is used up: it waits until more is due")]
    Budget,
    #[error("{0}")]
    Request(hyper::http::Error),
    #[error(transparent)]
    Https(#[from] HttpsError),
    #[error("the transfer stalled")]
    Stalled,
    #[error("the transfer ended early")]
    Short,
    #[error("more came than the artifact has")]
    Long,
    #[error("{0}")]
    Transfer(hyper::Error),
}

struct Job {
    artifact: Artifact,
    path: PathBuf,
    partial: PathBuf,
    tell: mpsc::Sender<Observed>,
    api: watch::Receiver<Option<Api>>,
    rooms: Rooms,
    given: PathBuf,
    neighbours: Neighbours,
}

impl Job {
    async fn run(mut self, slots: &Semaphore, entropy: &mut Entropy) {
        let digest = self.artifact.digest;
        let mut failures = 0;
        loop {
            let Ok(slot) = slots.acquire().await else { return };
            let tried = self.attempt().await;
            drop(slot);
            match tried {
                Ok(()) => {
                    crash::point("artifact-stored");
                    let _agent_ends = self.tell.send(Observed::Fetched(digest)).await;
                    return;
                }
                Err(why) => {
                    failures += 1;
                    let why = format!("artifact {digest}: {why}; it is tried again");
                    tracing::warn!(%digest, failures, "{why}");
                    let _agent_ends = self.tell.send(Observed::FetchTrouble(digest, why)).await;
                }
            }
            let wait = backoff::delay(failures, RETRY.0, RETRY.1, entropy);
            // A new certificate, or a first one, is a reason to try at once.
            let _either =
                tokio::time::timeout(Duration::from_millis(wait), self.api.changed()).await;
        }
    }

    async fn attempt(&mut self) -> Result<(), NotFetched> {
        let api = self.api.borrow_and_update().clone().ok_or(NotFetched::NotEnrolled)?;
        let asked = self.neighbours.fetch(self.artifact, &self.given, &self.tell).await;
        if let Fetched::Here = asked {
            return self.adopt_given();
        }
        let fetching = match asked {
            Fetched::Fetch(fetching) => Some(fetching),
            Fetched::Here | Fetched::Alone => None,
        };
        let partial = self.partial.clone();
        let failed = |error: io::Error| NotFetched::File(partial.clone(), error);
        let mut options = tokio::fs::OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.partial)
            .await
            .map_err(failed)?;
        let (mut hash, mut have) = rehash(&mut file).await.map_err(failed)?;
        if have > self.artifact.size {
            (hash, have) = begin_anew(&mut file).await.map_err(failed)?;
        }
        if have < self.artifact.size {
            let claim = self.check_room(have)?;
            let signs = (claim.as_ref(), fetching.as_ref());
            self.download(&api, &mut file, &mut hash, have, signs).await?;
        }
        file.sync_all().await.map_err(failed)?;
        let found = Digest(hash.finish().as_ref().try_into().map_err(|_| NotFetched::NoDigest)?);
        if found != self.artifact.digest {
            // Damaged on the way or on the disk: none of it can be used.
            tokio::fs::remove_file(&self.partial).await.map_err(failed)?;
            return Err(NotFetched::Other(found));
        }
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        file.set_permissions(mode).await.map_err(failed)?;
        // Closed for writing before anything executes it; the kernel refuses otherwise.
        drop(file.into_std().await);
        std::fs::rename(&self.partial, &self.path).map_err(failed)?;
        files::sync_folder(&self.path).map_err(failed)
    }

    /// Takes a file that a neighbour gave, whose digest was checked.
    fn adopt_given(&self) -> Result<(), NotFetched> {
        let failed = |error: io::Error| NotFetched::File(self.given.clone(), error);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&self.given, mode).map_err(failed)?;
        std::fs::rename(&self.given, &self.path).map_err(failed)?;
        let _there_may_be_none = std::fs::remove_file(&self.partial);
        files::sync_folder(&self.path).map_err(failed)
    }

    /// Claims room for the rest. None: the disk does not say how much is free.
    fn check_room(&self, have: u64) -> Result<Option<Claim>, NoRoom> {
        let needed = self.artifact.size.saturating_sub(have);
        let Ok(free) = files::free_bytes(&self.partial) else { return Ok(None) };
        self.rooms.claim(self.artifact.digest, needed, free).map(Some)
    }

    async fn download(
        &self,
        api: &Api,
        file: &mut tokio::fs::File,
        hash: &mut Context,
        mut have: u64,
        (claim, fetching): (Option<&Claim>, Option<&Fetching>),
    ) -> Result<(), NotFetched> {
        if api.tap.is_held() {
            return Err(NotFetched::Budget);
        }
        let path = format!("/api/v1/artifacts/{}", self.artifact.digest);
        let request = api
            .request("GET", &path)
            .header("range", format!("bytes={have}-"))
            .body(Full::new(Bytes::new()))
            .map_err(NotFetched::Request)?;
        let answer = api.send(request).await?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::OK if have == 0 => {}
            StatusCode::OK => (*hash, have) = begin_anew(file).await.map_err(NotFetched::Io)?,
            _ => return Err(error_from(answer).await.into()),
        }
        let mut body = answer.into_body();
        let mut pace = Pace::new(self.artifact.size, have, uptime_ms());
        while have < self.artifact.size {
            let frame = tokio::time::timeout(STALL, body.frame()).await;
            let Some(frame) = frame.map_err(|_| NotFetched::Stalled)? else {
                return Err(NotFetched::Short);
            };
            let frame = frame.map_err(NotFetched::Transfer)?;
            let Ok(bytes) = frame.into_data() else { continue };
            have += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if have > self.artifact.size {
                return Err(NotFetched::Long);
            }
            file.write_all(&bytes).await.map_err(NotFetched::Io)?;
            hash.update(&bytes);
            if let Some(claim) = claim {
                claim.written(u64::try_from(bytes.len()).unwrap_or(0));
            }
            if let Some(fetching) = fetching {
                fetching.note(have);
            }
            if let Some(progress) = pace.note(have, Origin::Whole, uptime_ms()) {
                let told = Observed::Progress(self.artifact.digest, progress);
                let _agent_ends = self.tell.send(told).await;
            }
        }
        file.flush().await.map_err(NotFetched::Io)
    }
}

/// Hashes what is already in the file; returns the digest so far and the length. The file is then
/// at its end.
pub(super) async fn rehash(file: &mut tokio::fs::File) -> io::Result<(Context, u64)> {
    let mut hash = Context::new(&SHA256);
    let mut have = 0;
    let mut piece = vec![0; 64 * 1024];
    file.seek(io::SeekFrom::Start(0)).await?;
    loop {
        let length = file.read(&mut piece).await?;
        let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else {
            return Ok((hash, have));
        };
        hash.update(read);
        have += u64::try_from(length).unwrap_or(0);
    }
}

/// Empties a file.
pub(super) async fn begin_anew(file: &mut tokio::fs::File) -> io::Result<(Context, u64)> {
    file.set_len(0).await?;
    file.seek(io::SeekFrom::Start(0)).await?;
    Ok((Context::new(&SHA256), 0))
}
