//! Copy of an image from another registry. Each file that is here already is left out, so a copy
//! that was cut goes on where it was; the image itself is stored at the end.
//!
//! See decision 0174.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{TryStreamExt as _, stream};
use holdfast_base::ids::Digest;
use holdfast_oci::{
    Config, Document, MAX_CONFIG, MAX_MANIFEST, Manifest, Reference, WantedPlatform,
};
use tokio::sync::Semaphore;

use super::client::Registry;
use super::error::NotCopied;
use super::layer::{Wanted, fetch};
use crate::adapters::artifacts::Artifacts;
use crate::api::{CopyProgress, Image, PushedImage, PushedPlatform};
use crate::core::rights::Actor;
use crate::service::{Credentials, Failure, Workloads};

/// Layers of one copy that come at the same time.
const AT_ONCE: usize = 4;

/// Copies at the same time, over all tenants: each has up to four connections and threads. Others
/// wait.
static COPIES: Semaphore = Semaphore::const_new(4);

/// Time between two notes of progress.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// Copy that is about to begin.
pub struct Copying {
    /// Artifacts that the files of the image become.
    pub artifacts: Arc<Artifacts>,
    /// Who copies.
    pub actor: Actor,
    /// Image at the other registry.
    pub from: Reference,
    /// Name that it gets here.
    pub to: Reference,
    /// Platforms that are copied. Empty: all.
    pub platforms: Vec<WantedPlatform>,
    /// User and password at the registry.
    pub credentials: Option<Credentials>,
    /// Certificates of the registry's authority as PEM. None: those that the system trusts.
    pub ca: Option<String>,
    /// True if the registry speaks HTTP without TLS.
    pub plain_http: bool,
}

impl std::fmt::Debug for Copying {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copying").field("from", &self.from).finish_non_exhaustive()
    }
}

/// Counters of a copy.
#[derive(Debug, Default)]
struct Counters {
    files: AtomicU64,
    of: AtomicU64,
    bytes: AtomicU64,
    of_bytes: AtomicU64,
}

impl Counters {
    fn progress(&self) -> CopyProgress {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CopyProgress {
            files: of(&self.files),
            of: of(&self.of),
            bytes: of(&self.bytes),
            of_bytes: of(&self.of_bytes),
        }
    }
}

/// Copies an image. Calls `tell` with the progress again and again.
///
/// # Errors
/// [`NotCopied`]; files that are here by then stay as artifacts.
pub async fn copy(
    workloads: &Workloads,
    copying: Copying,
    tell: impl Fn(CopyProgress),
) -> Result<Image, NotCopied> {
    let counters = Counters::default();
    let running = run(workloads, copying, &counters);
    futures_util::pin_mut!(running);
    loop {
        tokio::select! {
            result = &mut running => {
                tell(counters.progress());
                return result;
            }
            () = tokio::time::sleep(TELL_EVERY) => tell(counters.progress()),
        }
    }
}

async fn run(
    workloads: &Workloads,
    copying: Copying,
    counters: &Counters,
) -> Result<Image, NotCopied> {
    let _place = COPIES.acquire().await.map_err(|_| Failure::internal("no place for a copy"))?;
    let name = &copying.from.repository;
    let (credentials, ca) = (copying.credentials.clone(), copying.ca.as_deref());
    let registry = Registry::new(name, credentials, ca, copying.plain_http)?;
    let (manifests, sources) = manifests(&registry, &copying).await?;
    let (mut platforms, mut layers) = (Vec::new(), BTreeMap::new());
    for manifest in manifests {
        let bytes = registry.blob(&manifest.config.digest, MAX_CONFIG).await?;
        let config =
            Config::read(&bytes).map_err(|why| NotCopied::Config(copying.from.to_string(), why))?;
        if config.layers.len() != manifest.layers.len() {
            return Err(NotCopied::Count(manifest.layers.len(), config.layers.len()));
        }
        for (digest, packed) in config.layers.iter().zip(manifest.layers) {
            layers.entry(*digest).or_insert(Wanted { packed, digest: *digest });
        }
        keep_bytes(workloads, &copying, &bytes, manifest.config.digest).await?;
        platforms.push(PushedPlatform {
            config: manifest.config.digest.to_string(),
            layers: config.layers.iter().map(ToString::to_string).collect(),
        });
    }
    keep_layers(workloads, &copying, &registry, layers.into_values().collect(), counters).await?;
    let sources = sources.iter().map(ToString::to_string).collect();
    let image = PushedImage { name: copying.to.to_string(), platforms, sources };
    Ok(workloads.copied_image(&copying.actor, &image, &copying.from).await?)
}

/// Returns the manifests of the wanted platforms, and the digests that the image has at the registry.
async fn manifests(
    registry: &Registry,
    copying: &Copying,
) -> Result<(Vec<Manifest>, Vec<Digest>), NotCopied> {
    let from = &copying.from;
    let bad = |why| NotCopied::Manifest(from.to_string(), why);
    let wanted = match (&from.digest, from.tag_to_set()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.map(|tag| tag.to_string()).unwrap_or_default(),
    };
    let bytes = registry.manifest(&wanted, MAX_MANIFEST).await?;
    if let Some(digest) = &from.digest {
        registry.check(&bytes, digest)?;
    }
    let mut sources = vec![holdfast_oci::digest_of(&bytes)];
    let index = match Document::read(&bytes).map_err(bad)? {
        Document::Manifest(manifest) => return Ok((vec![manifest], sources)),
        Document::Index(index) => index,
    };
    let chosen = index.choose(&copying.platforms).map_err(bad)?;
    let mut all = Vec::new();
    for entry in &chosen {
        let digest = entry.manifest.digest;
        let bytes = registry.manifest(&digest.to_string(), MAX_MANIFEST).await?;
        registry.check(&bytes, &digest)?;
        match Document::read(&bytes).map_err(bad)? {
            Document::Manifest(manifest) => all.push(manifest),
            Document::Index(_) => return Err(bad(holdfast_oci::BadManifest::Kind("index".into()))),
        }
    }
    if let [only] = chosen.as_slice() {
        sources.push(only.manifest.digest);
    }
    Ok((all, sources))
}

/// Stores a small file as an artifact, unless it is one.
async fn keep_bytes(
    workloads: &Workloads,
    copying: &Copying,
    bytes: &[u8],
    digest: Digest,
) -> Result<(), NotCopied> {
    let actor = &copying.actor;
    if workloads.has_file(actor, &digest).is_some() {
        return Ok(());
    }
    workloads.artifact_room(actor, Some(bytes.len() as u64))?;
    let mut upload = copying.artifacts.begin().await?;
    upload.write(bytes).await?;
    let (temporary, digest, size) = upload.finish().await?;
    workloads.own_artifact(actor, digest, size).await?;
    copying.artifacts.adopt(&temporary, digest, size)?;
    Ok(())
}

/// Fetches the layers that are not here, some at a time.
async fn keep_layers(
    workloads: &Workloads,
    copying: &Copying,
    registry: &Registry,
    layers: Vec<Wanted>,
    counters: &Counters,
) -> Result<(), NotCopied> {
    counters.of.store(layers.len() as u64, Ordering::Relaxed);
    let (here, missing): (Vec<Wanted>, Vec<Wanted>) = layers
        .into_iter()
        .partition(|layer| workloads.has_file(&copying.actor, &layer.digest).is_some());
    counters.files.store(here.len() as u64, Ordering::Relaxed);
    let bytes = missing.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.packed.size));
    counters.of_bytes.store(bytes, Ordering::Relaxed);
    stream::iter(missing.into_iter().map(Ok))
        .try_for_each_concurrent(AT_ONCE, |layer| async move {
            let most = copying.artifacts.max;
            let room = workloads.artifact_room(&copying.actor, Some(layer.packed.size.min(1)))?;
            let most = room.map_or(most, |(left, _)| left.min(most));
            let fetched =
                fetch(registry, &copying.artifacts, &layer, most, &counters.bytes).await?;
            workloads.own_artifact(&copying.actor, layer.digest, fetched.size).await?;
            copying.artifacts.adopt(&fetched.temporary, layer.digest, fetched.size)?;
            counters.files.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .await
}
