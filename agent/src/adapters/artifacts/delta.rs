//! Deltas: which artifacts may serve as their base, what is here of one, and how one is applied: in
//! a thread of its own, one at a time, in bounded memory, to a temporary file.

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_base::ids::Digest;
use holdfast_delta::{DeltaError, Header, Limits, Method, apply};
use holdfast_protocol::workload::Artifact;
use tokio::sync::{Mutex, oneshot};

use super::failure::NotFetched;
use super::{digest_of, names};
use crate::adapters::files;

/// Most bases that the control plane is told of.
const MOST_BASES: usize = 8;
/// Most memory for applying, in bytes.
const MOST_MEMORY: u64 = 24 << 20;
/// Share of the memory that is free on the device, of which applying takes one.
const OF_FREE: u64 = 4;
/// Stack of the thread that applies: nothing large lies on it.
const STACK: usize = 256 * 1024;
/// Bytes of a piece that is written at once.
const PIECE: usize = 64 * 1024;
/// Longest tag that is kept, in bytes.
const MOST_TAG: u64 = 256;

/// Turn to apply a delta: one at a time, whatever the number of downloads.
#[derive(Debug, Clone, Default)]
pub(super) struct Applying(Arc<Mutex<()>>);

/// Files of a delta that is being fetched.
#[derive(Debug, Clone)]
pub(super) struct Files {
    /// The delta, as far as it is here.
    pub(super) delta: PathBuf,
    /// Tag of the delta that the file is of.
    tag: PathBuf,
    /// Result, as far as it is made.
    made: PathBuf,
}

impl Files {
    /// Files beside the partial file of an artifact.
    pub(super) fn beside(partial: &Path) -> Self {
        let with = |ending| partial.with_extension(ending);
        Self { delta: with("delta"), tag: with("tag"), made: with("made") }
    }

    /// Tag of the delta of which a part is here.
    pub(super) fn tag(&self) -> Option<String> {
        let tag = files::read(&self.tag, MOST_TAG).ok()?;
        String::from_utf8(tag).ok().filter(|tag| !tag.is_empty() && self.delta.exists())
    }

    /// Notes which delta begins.
    pub(super) fn begin(&self, tag: &str) -> Result<(), NotFetched> {
        files::put(&self.tag, tag.as_bytes(), 0o600)
            .map_err(|error| NotFetched::File(self.tag.clone(), error))
    }

    /// Removes them all. One that stays goes with the next collection.
    pub(super) fn remove(&self) {
        for file in [&self.delta, &self.tag, &self.made] {
            let _there_or_not = std::fs::remove_file(file);
        }
    }
}

/// Memory that applying may take now; `None` when the device has too little to spare, or does not
/// tell.
pub(super) fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let free: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some((free * 1024 / OF_FREE).min(MOST_MEMORY))
}

/// Artifacts that may serve as a base, the best first: those of half to twice the size, the most
/// similar one first. A former version of a program is about as large as the next one.
pub(super) fn bases(folder: &Path, wanted: &Artifact) -> Vec<Digest> {
    let files = names(folder).unwrap_or_default().into_iter();
    let mut bases: Vec<(u64, Digest)> = files
        .filter_map(|name| {
            let size = std::fs::metadata(folder.join(&name)).ok()?.len();
            let similar = size >= wanted.size / 2 && size / 2 <= wanted.size;
            similar.then_some((size.abs_diff(wanted.size), digest_of(&name)?))
        })
        .filter(|(_, digest)| *digest != wanted.digest)
        .collect();
    bases.sort_unstable();
    bases.into_iter().take(MOST_BASES).map(|(_, digest)| digest).collect()
}

impl Applying {
    /// Applies a delta that is here whole. Returns the file of the result, which is durable and has
    /// the artifact's digest.
    pub(super) async fn apply(
        &self,
        files: &Files,
        folder: &Path,
        artifact: Artifact,
        memory: u64,
    ) -> Result<PathBuf, NotFetched> {
        let _turn = self.0.lock().await;
        let (files, folder) = (files.clone(), folder.to_owned());
        let (tell, outcome) = oneshot::channel();
        let thread = std::thread::Builder::new().name("delta".into()).stack_size(STACK);
        let work = move || {
            let _nobody_waits = tell.send(apply_one(&files, &folder, &artifact, memory));
        };
        thread.spawn(work).map_err(NotFetched::Io)?;
        let ended = || NotFetched::Io(io::Error::other("the thread that applies a delta ended"));
        outcome.await.map_err(|_| ended())?
    }
}

fn apply_one(
    files: &Files,
    folder: &Path,
    artifact: &Artifact,
    memory: u64,
) -> Result<PathBuf, NotFetched> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| NotFetched::File(path, error)
    };
    let open = |path: &Path| std::fs::File::open(path).map_err(at(path));
    let header = Header::read(&mut open(&files.delta)?)?;
    let old = (header.method != Method::Whole).then_some(header.old);
    // Without a base nothing is read of it.
    let base = old.map_or_else(|| files.delta.clone(), |old| folder.join(Digest(old).hex()));
    let (mut delta, base) = (open(&files.delta)?, open(&base)?);
    let limits = Limits { memory, size: artifact.size, new: artifact.digest.0, old };
    let made = std::fs::File::create(&files.made).map_err(at(&files.made))?;
    let mut made = BufWriter::with_capacity(PIECE, made);
    apply(&mut delta, &base, &limits, &mut made)?;
    made.flush().map_err(at(&files.made))?;
    made.get_ref().sync_all().map_err(at(&files.made))?;
    Ok(files.made.clone())
}

/// Whether a failure is the delta's own, so that no other try with it helps.
pub(super) fn is_useless(error: &NotFetched) -> bool {
    match error {
        NotFetched::Delta(DeltaError::New(error)) => !files::is_full(error),
        NotFetched::Delta(_) | NotFetched::Long => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_of_a_similar_size_the_most_similar_first() {
        let folder = tempfile::tempdir().unwrap();
        for (digest, size) in [(1, 40), (2, 60), (3, 99), (4, 210), (5, 103), (6, 199), (7, 100)] {
            let file = std::fs::File::create(folder.path().join(Digest([digest; 32]).hex()));
            file.unwrap().set_len(size).unwrap();
        }
        std::fs::write(folder.path().join("no digest"), [0; 100]).unwrap();
        let wanted = Artifact { digest: Digest([7; 32]), size: 100 };
        let found = bases(folder.path(), &wanted);
        assert_eq!(found, [3, 5, 2, 6].map(|digest| Digest([digest; 32])));
        for digest in 10..30 {
            let file = std::fs::File::create(folder.path().join(Digest([digest; 32]).hex()));
            file.unwrap().set_len(100).unwrap();
        }
        assert_eq!(bases(folder.path(), &wanted).len(), MOST_BASES);
    }

    #[test]
    fn the_files_of_a_delta_are_known_by_their_artifact() {
        let folder = tempfile::tempdir().unwrap();
        let digest = Digest([7; 32]);
        let files = Files::beside(&folder.path().join(digest.hex()));
        assert_eq!(files.tag(), None);
        files.begin("\"tag\"").unwrap();
        assert_eq!(files.tag(), None, "a tag without a delta is of none");
        std::fs::write(&files.delta, b"part").unwrap();
        assert_eq!(files.tag().as_deref(), Some("\"tag\""));
        for name in names(folder.path()).unwrap() {
            assert_eq!(digest_of(&name), Some(digest), "{name}");
        }
        files.remove();
        assert_eq!(names(folder.path()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn applying_takes_at_most_its_share_of_the_memory() {
        assert!(memory().unwrap() <= MOST_MEMORY);
    }
}
