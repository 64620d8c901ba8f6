//! Images: found at the engine, or fetched as files and handed to it. A present image is never
//! fetched, and nothing asks a registry.
//!
//! The images that this agent has handed over stand in a list of its own: an agent that starts while
//! neither link nor engine is there knows them by it, and only they are ever removed.
//!
//! See decision 0176.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use holdfast_base::collect;
use holdfast_base::ids::Digest;
use holdfast_protocol::container::{Image, Platform};
use holdfast_protocol::message::Progress;
use holdfast_protocol::workload::Artifact;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::client::{EngineError, query};
use super::engine::{Away, Engine, Here};
use crate::adapters::wire::Sent;
use crate::adapters::{crash, files, tasks};
use crate::core::container::dialect::Refusal;
use crate::core::container::images::{
    Content, Entry, Loaded, TooLarge, archive, is_content, known_layers, layers, length, names,
    surplus, tag,
};
use crate::core::effect::Observed;
use crate::runtimes::send;

/// File of the images that this agent has handed over, in the data folder.
const LIST: &str = "images.json";
/// Longest list that is read, in bytes: some 30,000 images.
const MAX_LIST: u64 = 4 << 20;
/// First and longest pause before a hand-over is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Bytes of an archive that are read at a time.
const PIECE: usize = 128 * 1024;
/// Pieces that are read ahead of the engine.
const AHEAD: usize = 4;
/// Most images of an engine whose layers are looked at, the newest first.
const MAX_IMAGES: usize = 200;

/// Image at the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct There {
    /// Name by which the engine knows it.
    pub name: String,
    /// User that it runs as, by its own configuration; may be empty.
    pub user: String,
}

/// Looks for an image at the engine.
///
/// # Errors
/// When the engine cannot tell.
pub(super) async fn find(here: &Here, image: &Image) -> Result<Option<There>, EngineError> {
    let Some(platform) = image.platform(std::env::consts::ARCH) else { return Ok(None) };
    for name in names(image, platform) {
        let inspected = match here.client.get(&format!("/images/{}/json", query(&name))).await {
            Ok(inspected) => inspected,
            Err(error) if error.is_absent() => continue,
            Err(error) => return Err(error),
        };
        if is_content(&inspected, platform) {
            let user = inspected.get("Config").and_then(|it| it.get("User"));
            let user = user.and_then(Value::as_str).unwrap_or_default().to_owned();
            return Ok(Some(There { name, user }));
        }
    }
    Ok(None)
}

/// Reasons why an image is not at the engine yet.
#[derive(Debug, thiserror::Error)]
enum NotThere {
    #[error(
        "it has no content for machines of this kind ({}): push it for them, too",
        std::env::consts::ARCH
    )]
    NoPlatform,
    #[error(transparent)]
    Away(#[from] Away),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{needed} bytes do not fit on the disk of {} ({free} are free): free some space", .folder.display())]
    NoRoom { needed: u64, free: u64, folder: PathBuf },
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the engine did not take it: {0}")]
    NotTaken(String),
    #[error("the engine took it, and has it not: {0}")]
    NotKept(String),
    #[error("a file of it was thrown away meanwhile")]
    FileGone,
}

/// What images are kept, and what of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of images that this agent has handed over, from which on unused ones are removed.
    pub quota: u64,
    /// True if the files of an image stay on the disk after it was handed over.
    pub keep_files: bool,
}

struct Shared {
    engine: Engine,
    /// Folder of the artifacts.
    artifacts: PathBuf,
    list: PathBuf,
    limits: Limits,
    tell: mpsc::Sender<Observed>,
    /// Tells the driver which files are to be downloaded.
    want: mpsc::Sender<Vec<Artifact>>,
    /// Changes whenever a file has come.
    came: watch::Sender<u64>,
    loaded: Mutex<Vec<Loaded>>,
    /// Files that each image needs that is being fetched.
    needs: Mutex<BTreeMap<Digest, BTreeSet<Digest>>>,
}

/// Images of this device, and those that are being fetched.
pub struct Images {
    shared: Arc<Shared>,
    fetching: BTreeMap<Digest, (Arc<Image>, JoinHandle<()>)>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Images {
    /// Reads the list of images; returns the digests of those on it, which are taken to be at the
    /// engine. `want` tells the driver what is to be downloaded.
    pub fn open(
        data: &Path,
        artifacts: &Path,
        engine: Engine,
        limits: Limits,
        tell: mpsc::Sender<Observed>,
        want: mpsc::Sender<Vec<Artifact>>,
    ) -> (Self, BTreeSet<Digest>) {
        let list = data.join(LIST);
        let read = files::read(&list, MAX_LIST).unwrap_or_default();
        // A damaged list begins anew: what is at the engine is found there, and stays.
        let loaded: Vec<Loaded> = serde_json::from_slice(&read).unwrap_or_default();
        let there = collect::set(loaded.iter().map(|it| it.digest));
        let shared = Shared {
            engine,
            artifacts: artifacts.to_owned(),
            list,
            limits,
            tell,
            want,
            came: watch::channel(0).0,
            loaded: Mutex::new(loaded),
            needs: Mutex::default(),
        };
        (Self { shared: Arc::new(shared), fetching: BTreeMap::new() }, there)
    }

    /// Brings an image to the engine, however many tries it takes. Tells `Fetched`.
    pub fn fetch(&mut self, image: Arc<Image>) {
        self.fetching.retain(|_, (_, task)| !task.is_finished());
        if self.fetching.contains_key(&image.digest) {
            return;
        }
        let (shared, wanted) = (Arc::clone(&self.shared), Arc::clone(&image));
        let task = tasks::spawn(async move { shared.bring(&wanted).await });
        self.fetching.insert(image.digest, (image, task));
    }

    /// Takes in what was observed of files: they may be of an image.
    pub fn observed(&self, observed: &Observed) {
        match observed {
            Observed::Fetched(_) => self.shared.came.send_modify(|count| *count += 1),
            Observed::Progress(digest, progress) => {
                for (image, (known, _)) in &self.fetching {
                    let of_image = self.shared.progress(known, digest, *progress);
                    if let Some(of_image) = of_image {
                        let (tell, image) = (self.shared.tell.clone(), *image);
                        tasks::spawn(async move {
                            send(&tell, Observed::Progress(image, of_image)).await;
                        });
                    }
                }
            }
            Observed::FetchTrouble(digest, why) => {
                let needs = locked(&self.shared.needs);
                for (image, (known, _)) in &self.fetching {
                    if needs.get(image).is_some_and(|files| files.contains(digest)) {
                        let why = format!("image {}: {why}", known.name);
                        let (tell, image) = (self.shared.tell.clone(), *image);
                        tasks::spawn(async move {
                            send(&tell, Observed::FetchTrouble(image, why)).await;
                        });
                    }
                }
            }
            _ => {}
        }
    }

    /// Stops the fetching of an image. Returns the files that no other image needs that is being
    /// fetched: their downloads are to be paused, too.
    pub fn pause(&mut self, image: Digest) -> Vec<Digest> {
        if let Some((_, task)) = self.fetching.remove(&image) {
            task.abort();
        }
        let mut needs = locked(&self.shared.needs);
        let files = needs.remove(&image).unwrap_or_default();
        files.into_iter().filter(|file| !needs.values().any(|it| it.contains(file))).collect()
    }

    /// Stops the fetching of images that are not kept, and removes surplus ones from the engine.
    pub fn collect(&mut self, keep: &BTreeSet<Digest>) {
        self.fetching.retain(|digest, (_, task)| {
            let wanted = keep.contains(digest);
            if !wanted {
                task.abort();
                locked(&self.shared.needs).remove(digest);
            }
            wanted && !task.is_finished()
        });
        let (shared, keep) = (Arc::clone(&self.shared), keep.clone());
        tasks::spawn(async move { shared.remove_surplus(&keep).await });
    }
}

impl Shared {
    /// Progress of an image, by that of one of its files. None: it is no file that it needs.
    fn progress(&self, image: &Image, file: &Digest, of_file: Progress) -> Option<Progress> {
        if !locked(&self.needs).get(&image.digest)?.contains(file) {
            return None;
        }
        let files: Vec<&Artifact> = image.platform(std::env::consts::ARCH)?.files().collect();
        let size = files.iter().find(|it| it.digest == *file)?.size;
        let whole = files.iter().filter(|it| self.path(it).exists()).map(|it| it.size);
        // A delta has another length than the file that it becomes.
        let part = u128::from(size) * u128::from(of_file.done) / u128::from(of_file.total.max(1));
        let part = u64::try_from(part).unwrap_or(size).min(size);
        let total = files.iter().map(|it| it.size).sum();
        Some(Progress { done: whole.sum::<u64>() + part, total, ..of_file })
    }

    /// Brings an image to the engine.
    async fn bring(&self, image: &Image) {
        let mut pause = RETRY.0;
        // True once the engine did not take an archive without the layers that it has.
        let mut whole = false;
        loop {
            let tried = self.attempt(image, whole).await;
            locked(&self.needs).remove(&image.digest);
            match tried {
                Ok(()) => {
                    crash::point("image-loaded");
                    send(&self.tell, Observed::Fetched(image.digest)).await;
                    return;
                }
                Err(why) => {
                    whole |= matches!(why, NotThere::NotTaken(_) | NotThere::NotKept(_));
                    let waits = matches!(why, NotThere::Away(_));
                    let why = format!("image {}: {why}", image.name);
                    tracing::warn!("{why}");
                    send(&self.tell, Observed::FetchTrouble(image.digest, why)).await;
                    if waits {
                        self.engine.here().await;
                        continue;
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        }
    }

    async fn attempt(&self, image: &Image, whole: bool) -> Result<(), NotThere> {
        let here = self.engine.now().map_err(NotThere::Away)?;
        let platform = image.platform(std::env::consts::ARCH).ok_or(NotThere::NoPlatform)?;
        if find(&here, image).await?.is_some() {
            return Ok(());
        }
        let partly = here.dialect.loads_without_known_layers() && !whole;
        let known = if partly { known_layers(platform, &all_layers(&here).await?) } else { 0 };
        let archive = archive(&image.digest, platform, known)?;
        self.files(image, &here, &archive).await?;
        self.hand_over(&here, &archive).await?;
        let Some(there) = find(&here, image).await? else {
            return Err(NotThere::NotKept(tag(&image.digest)));
        };
        self.note(image, platform, there.name);
        if !self.limits.keep_files {
            self.drop_files(&archive);
        }
        Ok(())
    }

    fn path(&self, artifact: &Artifact) -> PathBuf {
        self.artifacts.join(artifact.digest.hex())
    }

    /// Waits until all files of an archive are on the disk.
    async fn files(&self, image: &Image, here: &Here, archive: &[Entry]) -> Result<(), NotThere> {
        let all: Vec<Artifact> = archive.iter().filter_map(file_of).collect();
        let mut came = self.came.subscribe();
        let mut asked = false;
        loop {
            came.mark_unchanged();
            let lacking: Vec<Artifact> =
                all.iter().filter(|it| !self.path(it).exists()).copied().collect();
            if lacking.is_empty() {
                return Ok(());
            }
            if !asked {
                self.check_room(here, &lacking, &all).await?;
                let digests = collect::set(all.iter().map(|it| it.digest));
                locked(&self.needs).insert(image.digest, digests);
                // The driver is gone only when the agent ends.
                let _ended = self.want.send(lacking).await;
                asked = true;
            }
            if came.changed().await.is_err() {
                return Err(NotThere::FileGone);
            }
        }
    }

    /// Checks that the files that lack, and what the engine makes of all, have room.
    async fn check_room(
        &self,
        here: &Here,
        lacking: &[Artifact],
        all: &[Artifact],
    ) -> Result<(), NotThere> {
        let sum = |list: &[Artifact]| list.iter().map(|it| it.size).fold(0, u64::saturating_add);
        let info = here.client.get("/info").await.unwrap_or_default();
        let root = info.get("DockerRootDir").and_then(Value::as_str).map(PathBuf::from);
        let root = root.filter(|root| root.exists());
        let mine = (self.artifacts.clone(), sum(lacking));
        let is_same = |root: &PathBuf| device(root).is_none_or(|it| Some(it) == device(&mine.0));
        let checks = match root {
            Some(root) if !is_same(&root) => vec![mine, (root, sum(all))],
            _ => vec![(mine.0, mine.1.saturating_add(sum(all)))],
        };
        for (folder, needed) in checks {
            match files::free_bytes(&folder) {
                Ok(free) if free < needed => return Err(NotThere::NoRoom { needed, free, folder }),
                _ => {}
            }
        }
        Ok(())
    }

    /// Hands an archive to the engine, which reads it as it is read from the disk.
    async fn hand_over(&self, here: &Here, archive: &[Entry]) -> Result<(), NotThere> {
        let (feed, fed) = mpsc::channel(AHEAD);
        let (entries, artifacts) = (archive.to_vec(), self.artifacts.clone());
        let reading = crate::runtimes::on_own_thread(move || {
            let mut failed = None;
            for entry in &entries {
                if let Err((path, source)) = read_into(entry, &artifacts, &feed) {
                    failed = Some((path, source));
                    break;
                }
            }
            Ok(failed)
        });
        let sending = here.client.feed("/images/load?quiet=1", Sent::Fed(fed, length(archive)));
        let (sent, read) = tokio::join!(sending, reading);
        if let Ok(Some((path, source))) = read {
            return Err(NotThere::File { path, source });
        }
        let said = match sent {
            Err(error) if error.refusal() == Some(Refusal::Trouble) => {
                return Err(NotThere::NotTaken(error.to_string()));
            }
            other => other?,
        };
        // The engine tells of failures in a stream that began as a success.
        let text = String::from_utf8_lossy(&said);
        let failed = text.lines().find_map(|line| {
            let value: Value = serde_json::from_str(line).ok()?;
            value.get("error")?.as_str().map(str::to_owned)
        });
        failed.map_or(Ok(()), |why| Err(NotThere::NotTaken(why.chars().take(200).collect())))
    }

    /// Takes an image down in the list.
    fn note(&self, image: &Image, platform: &Platform, id: String) {
        let mut loaded = locked(&self.loaded);
        let at = loaded.iter().map(|it| it.at).max().unwrap_or(0) + 1;
        let size = platform.layers.iter().map(|it| it.size).fold(0, u64::saturating_add);
        loaded.retain(|it| it.digest != image.digest);
        loaded.push(Loaded { digest: image.digest, id, size, at });
        self.keep(&loaded);
    }

    fn keep(&self, loaded: &[Loaded]) {
        let text = serde_json::to_vec(loaded).unwrap_or_default();
        if let Err(error) = files::replace(&self.list, &text, 0o600) {
            tracing::warn!(%error, "the list of images cannot be kept");
        }
    }

    /// Removes files that were handed over, but for those that another image waits for.
    fn drop_files(&self, archive: &[Entry]) {
        let needs = locked(&self.needs);
        for artifact in archive.iter().filter_map(file_of) {
            if !needs.values().any(|files| files.contains(&artifact.digest)) {
                let _collected_later = std::fs::remove_file(self.path(&artifact));
            }
        }
    }

    /// Removes images beyond the quota, but for those that are kept or in use.
    async fn remove_surplus(&self, keep: &BTreeSet<Digest>) {
        let surplus = surplus(&locked(&self.loaded), keep, self.limits.quota);
        if surplus.is_empty() {
            return;
        }
        let here = self.engine.here().await;
        for digest in surplus {
            // By the agent's own name: one that has others stays under them.
            match here.client.delete(&format!("/images/{}", query(&tag(&digest)))).await {
                Ok(()) => {
                    tracing::info!(%digest, "an image is removed: nothing uses it any more");
                    let mut loaded = locked(&self.loaded);
                    loaded.retain(|it| it.digest != digest);
                    self.keep(&loaded);
                }
                Err(error) => tracing::info!(%digest, %error, "an image stays"),
            }
        }
    }
}

fn file_of(entry: &Entry) -> Option<Artifact> {
    match &entry.content {
        Content::File(artifact) => Some(*artifact),
        Content::Text(_) => None,
    }
}

fn device(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).ok().map(|meta| meta.dev())
}

/// Layers of the images that the engine has.
async fn all_layers(here: &Here) -> Result<Vec<Vec<String>>, EngineError> {
    let list = here.client.get("/images/json").await?;
    let mut all = Vec::new();
    for image in list.as_array().into_iter().flatten().take(MAX_IMAGES) {
        let Some(id) = image.get("Id").and_then(Value::as_str) else { continue };
        match here.client.get(&format!("/images/{}/json", query(id))).await {
            Ok(inspected) => all.push(layers(&inspected)),
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Reads one piece of an archive to the engine. An engine that does not take it any more is no
/// failure of this one.
fn read_into(
    entry: &Entry,
    artifacts: &Path,
    feed: &mpsc::Sender<Bytes>,
) -> Result<(), (PathBuf, io::Error)> {
    let give = |bytes: Vec<u8>| {
        let _engine_says_why = bytes.is_empty() || feed.blocking_send(bytes.into()).is_ok();
    };
    give(entry.header.clone());
    match &entry.content {
        Content::Text(text) => give(text.clone()),
        Content::File(artifact) => {
            let path = artifacts.join(artifact.digest.hex());
            let failed = |source| (path.clone(), source);
            let mut file = std::fs::File::open(&path).map_err(failed)?.take(artifact.size);
            let mut left = artifact.size;
            while left > 0 {
                let mut piece = vec![0; PIECE];
                let read = file.read(&mut piece).map_err(failed)?;
                if read == 0 {
                    return Err(failed(io::ErrorKind::UnexpectedEof.into()));
                }
                left -= u64::try_from(read).unwrap_or(left).min(left);
                piece.truncate(read);
                give(piece);
            }
        }
    }
    give(vec![0; entry.padding]);
    Ok(())
}
