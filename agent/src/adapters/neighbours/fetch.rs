//! Takes a file from a neighbour, waits for one that has it soon, or lets the caller fetch it over the
//! thin link, which the neighbours are told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::ids::{Digest, Name};
use holdfast_protocol::message::Origin;
use holdfast_protocol::workload::Artifact;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::ask::{self, NotAsked};
use super::peering::Peering;
use super::shared::Shared;
use super::{LEAST, Neighbours, addresses, multicast};
use crate::adapters::artifacts::{begin_anew, rehash};
use crate::adapters::clock::uptime_ms;
use crate::core::effect::Observed;
use crate::core::neighbours::{Choice, Offer, asked, choose};
use crate::core::progress::Pace;

/// First and longest pause between two rounds of questions, in milliseconds.
const ROUNDS: (u64, u64) = (500, 10_000);
/// Time within which a neighbour that fetches has to get ahead, in milliseconds: 5 minutes. It ends its
/// download by itself after a minute without a byte, and waits 4 minutes for a delta that is being made.
const PATIENCE: u64 = 300_000;
/// Time without a byte of a neighbour's response after which it is left.
const STALL: Duration = Duration::from_secs(10);
/// Time over which the rate of a neighbour is measured, in milliseconds, and the least rate in bytes a
/// second. A slower one is left: the control plane is no slower, or the next neighbour.
const SLOW: (u64, u64) = (15_000, 16 * 1024);
/// Size of a file in bytes above which the list of neighbours is worth its bytes each time, and the age
/// in milliseconds from which it is asked for again: for larger files, and for smaller ones. It costs
/// some 5 KB over the thin link.
const LIST: (u64, u64, u64) = (4 * 1024 * 1024, 60_000, 3_600_000);

/// What came of asking neighbours for a file.
#[derive(Debug)]
pub enum Fetched {
    /// The file lies whole at the path that was given, and has its digest.
    Here,
    /// This device is to fetch it from the control plane. Neighbours are told so until this is dropped.
    Fetch(Fetching),
    /// Files are not shared, or not this one.
    Alone,
}

/// Sign to neighbours that this device fetches a file over the thin link.
#[derive(Debug)]
pub struct Fetching {
    shared: Arc<Shared>,
    digest: Digest,
}

impl Fetching {
    /// Tells the number of bytes that have come.
    pub fn note(&self, done: u64) {
        self.shared.offer(self.digest, Some(Offer::Fetches(done)));
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.shared.offer(self.digest, None);
    }
}

/// Reason why a file did not come from a neighbour.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error(transparent)]
    NotAsked(#[from] NotAsked),
    #[error("it gives no file now ({0})")]
    Refused(StatusCode),
    #[error("it sends nothing, or too slowly")]
    Slow,
    #[error("it ended early")]
    Short,
    #[error("it sent other bytes than the file has, which are thrown away")]
    Wrong,
    #[error("{0}")]
    Broken(hyper::Error),
    #[error("{0}")]
    File(#[from] std::io::Error),
}

impl Neighbours {
    /// Asks the neighbours for a file, for as long as one of them is about to have it. `path`: file in
    /// which the bytes of neighbours are gathered, apart from those of the control plane, so that wrong
    /// ones cost no others.
    pub async fn fetch(
        &self,
        artifact: Artifact,
        path: &Path,
        tell: &mpsc::Sender<Observed>,
    ) -> Fetched {
        let shared = &self.0;
        if artifact.size < LEAST || shared.peering().is_none() {
            return Fetched::Alone;
        }
        // Until it says something else, or is dropped.
        let own = Fetching { shared: Arc::clone(shared), digest: artifact.digest };
        shared.offer(artifact.digest, Some(Offer::Waits));
        shared.find(artifact.size).await;
        let mut search = Search { shared, artifact, stuck: BTreeMap::new(), left: BTreeSet::new() };
        let mut pause = ROUNDS.0;
        loop {
            // The identity may be another by now, or sharing off.
            let Some(peering) = shared.peering() else { return Fetched::Alone };
            let have = match search.round(&peering, false).await {
                Choice::Take(have) => have,
                Choice::Wait => {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    pause = (pause * 2).min(ROUNDS.1);
                    continue;
                }
                Choice::Fetch => {
                    shared.offer(artifact.digest, Some(Offer::Begins));
                    if search.round(&peering, true).await == Choice::Fetch {
                        own.note(0);
                        return Fetched::Fetch(own);
                    }
                    shared.offer(artifact.digest, Some(Offer::Waits));
                    continue;
                }
            };
            if search.take(&peering, &have, path, tell).await {
                return Fetched::Here;
            }
        }
    }
}

impl Shared {
    /// Makes sure that the neighbours are known: by the control plane, or else by multicast.
    async fn find(&self, size: u64) {
        let (large, soon, late) = LIST;
        let age = if size >= large { soon } else { late };
        if self.directory.refresh(&self.api, age).await && !self.directory.lacks() {
            return;
        }
        for (name, address) in multicast::ask(&addresses::own()).await {
            self.directory.found(&name, address);
        }
    }
}

/// Search for one file.
struct Search<'a> {
    shared: &'a Arc<Shared>,
    artifact: Artifact,
    /// What each neighbour that fetches, begins or waits said last, and since when.
    stuck: BTreeMap<Name, (Offer, u64)>,
    /// Neighbours that are left, because they were slow or gave wrong bytes.
    left: BTreeSet<Name>,
}

impl Search<'_> {
    /// Asks all, and decides.
    async fn round(&mut self, peering: &Arc<Peering>, announced: bool) -> Choice {
        let digest = self.artifact.digest;
        let me = peering.device().device.clone();
        let known = self.shared.directory.all();
        let own = if announced { Offer::Begins } else { Offer::Waits };
        let mut tasks = JoinSet::new();
        for name in asked(&digest, &me, known.keys()) {
            let (name, peering) = (name.clone(), Arc::clone(peering));
            let addresses = known.get(&name).cloned().unwrap_or_default();
            tasks.spawn(async move {
                let request = ask::request("HEAD", &digest, own, 0).ok()?;
                let answer = ask::send(&peering, (&name, &addresses), request).await.ok()?;
                Some((name, ask::offer_of(&answer)))
            });
        }
        let mut answers = Vec::new();
        while let Some(answer) = tasks.join_next().await {
            answers.extend(answer.ok().flatten());
        }
        for name in self.shared.heard(digest) {
            // It announced itself after it was asked, or while it was.
            if let Some((_, offer)) = answers.iter_mut().find(|(known, _)| *known == name)
                && *offer == Offer::Waits
            {
                *offer = Offer::Begins;
            }
        }
        let stuck = self.stuck(&answers);
        choose(&digest, &me, announced, &answers, &stuck)
    }

    /// Neighbours that do not count: those that are left, and those that get no further.
    fn stuck(&mut self, answers: &[(Name, Offer)]) -> BTreeSet<Name> {
        let now = uptime_ms();
        let mut stuck = self.left.clone();
        for (name, offer) in answers {
            let known = self.stuck.entry(name.clone()).or_insert((*offer, now));
            if known.0 != *offer || matches!(offer, Offer::Has | Offer::None) {
                *known = (*offer, now);
            } else if now > known.1 + PATIENCE {
                stuck.insert(name.clone());
            }
        }
        stuck
    }

    /// Takes the file from the first that gives it. Returns false if none does; those that failed are
    /// asked no more.
    async fn take(
        &mut self,
        peering: &Peering,
        have: &[Name],
        path: &Path,
        tell: &mpsc::Sender<Observed>,
    ) -> bool {
        let known = self.shared.directory.all();
        let mut busy = false;
        for name in have {
            let addresses = known.get(name).map(Vec::as_slice).unwrap_or_default();
            match self.take_from(peering, (name, addresses), path, tell).await {
                Ok(()) => {
                    tracing::info!(digest = %self.artifact.digest, neighbour = %name, "from a neighbour");
                    return true;
                }
                Err(NotTaken::Refused(StatusCode::SERVICE_UNAVAILABLE)) => busy = true,
                Err(error) => {
                    tracing::warn!(digest = %self.artifact.digest, neighbour = %name, %error, "neighbour left");
                    self.left.insert(name.clone());
                }
            }
        }
        if busy {
            tokio::time::sleep(Duration::from_millis(ROUNDS.0 * 2)).await;
        }
        false
    }

    async fn take_from(
        &self,
        peering: &Peering,
        neighbour: (&Name, &[SocketAddr]),
        path: &Path,
        tell: &mpsc::Sender<Observed>,
    ) -> Result<(), NotTaken> {
        let Artifact { digest, size } = self.artifact;
        let mut options = tokio::fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).await?;
        let (mut hash, mut have) = rehash(&mut file).await?;
        if have >= size {
            (hash, have) = begin_anew(&mut file).await?;
        }
        let request = ask::request("GET", &digest, Offer::Waits, have)?;
        let answer = ask::send(peering, neighbour, request).await?;
        if answer.status() != StatusCode::PARTIAL_CONTENT {
            return Err(NotTaken::Refused(answer.status()));
        }
        let mut body = answer.into_body();
        let mut pace = Pace::new(size, have, uptime_ms());
        let mut looked = (uptime_ms(), have);
        while have < size {
            let frame = tokio::time::timeout(STALL, body.frame()).await;
            let frame = frame.map_err(|_| NotTaken::Slow)?.ok_or(NotTaken::Short)?;
            let Ok(bytes) = frame.map_err(NotTaken::Broken)?.into_data() else { continue };
            have = have.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            if have > size {
                break;
            }
            file.write_all(&bytes).await?;
            hash.update(&bytes);
            let now = uptime_ms();
            if now >= looked.0 + SLOW.0 {
                if (have - looked.1).saturating_mul(1_000) / (now - looked.0) < SLOW.1 {
                    return Err(NotTaken::Slow);
                }
                looked = (now, have);
            }
            if let Some(progress) = pace.note(have, Origin::Neighbour, now) {
                let _agent_ends = tell.send(Observed::Progress(digest, progress)).await;
            }
        }
        file.flush().await?;
        if have != size || hash.finish().as_ref() != digest.0 {
            drop(file);
            tokio::fs::remove_file(path).await?;
            return Err(NotTaken::Wrong);
        }
        file.sync_all().await?;
        Ok(())
    }
}
