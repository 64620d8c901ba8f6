//! Volumes of this device's containers, on an operator's order: listed, deleted, backed up and
//! restored. Their content is reached through the engine, by a container that is made for it and
//! never started, so it does not matter where and how the engine keeps it.
//!
//! See decision 0180.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_base::WIRE_VERSION;
use holdfast_base::codec;
use holdfast_base::ids::{Digest, Name};
use holdfast_protocol::message::{ReplyCode, ReplyError};
use holdfast_protocol::volume::{
    MAX_VOLUMES, Volume, VolumeBackup, VolumeId, VolumeOrder, Volumes as Listed,
};
use holdfast_protocol::workload::Artifact;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Mutex, mpsc, watch};

use super::client::query;
use super::engine::{Engine, Here};
use crate::adapters::https::{Api, error_from};
use crate::adapters::wire::Sent;
use crate::adapters::{files, tasks};
use crate::core::container::marks;

/// Label of a container that was made to reach a volume, with the agent's mark.
const HELPER: &str = "holdfast.helper";
/// Path at which a volume is seen in such a container.
const SEEN_AT: &str = "/holdfast-volume";
/// Time without a byte after which a transfer is given up.
const STALL: Duration = Duration::from_secs(60);
/// Longest time for an upload: an operator who waits longer is gone.
const UPLOAD: Duration = Duration::from_secs(3_600);
/// Bytes of a file that are read at a time, and how many such pieces are read ahead.
const PIECE: (usize, usize) = (128 * 1024, 4);
/// Bytes that stay free on the disk beside a tar.
const HEADROOM: u64 = 16 << 20;

/// What an order to a volume needs.
#[derive(Clone)]
pub struct Volumes {
    /// Mark of this agent's containers and volumes.
    agent: String,
    engine: Engine,
    /// Folder of unfinished files.
    folder: PathBuf,
    api: watch::Receiver<Option<Api>>,
    /// Held while an order is carried out: they share a file and containers.
    turn: Arc<Mutex<()>>,
}

fn failed(why: impl std::fmt::Display) -> ReplyError {
    ReplyError::new(ReplyCode::Failed, why.to_string())
}

impl Volumes {
    /// Makes what carries out orders. `data`: the agent's data folder.
    pub fn new(
        agent: &str,
        engine: Engine,
        data: &Path,
        api: watch::Receiver<Option<Api>>,
    ) -> Self {
        let folder = data.join("artifacts/partial");
        Self { agent: agent.to_owned(), engine, folder, api, turn: Arc::default() }
    }

    /// Carries out an order; returns the body of the reply.
    ///
    /// # Errors
    /// The reason why it was not carried out.
    pub async fn run(&self, order: VolumeOrder) -> Result<Vec<u8>, ReplyError> {
        let Ok(_turn) = self.turn.try_lock() else {
            let why = "another order to a volume of this device is under way";
            return Err(ReplyError::new(ReplyCode::Busy, why));
        };
        let here = self.engine.now();
        let here =
            here.map_err(|away| ReplyError::new(ReplyCode::Unsupported, away.to_string()))?;
        match order {
            VolumeOrder::List => self.list(&here).await,
            VolumeOrder::Delete(id) => {
                self.known(&here, &id).await?;
                self.unused(&here, &id).await?;
                self.remove_helpers(&here).await;
                let name = query(&marks::volume(&id.workload, &id.volume));
                here.client.delete(&format!("/volumes/{name}")).await.map_err(failed)?;
                Ok(Vec::new())
            }
            VolumeOrder::Backup(id) => self.back_up(&here, &id).await,
            VolumeOrder::Restore(id, artifact) => self.restore(&here, &id, &artifact).await,
        }
    }

    async fn list(&self, here: &Here) -> Result<Vec<u8>, ReplyError> {
        let sizes = self.sizes(here).await;
        let running = self.running(here).await?;
        let mut volumes = Vec::new();
        for (name, id) in self.all(here).await? {
            let used = running.contains(&id.workload);
            volumes.push(Volume { id, bytes: sizes.get(&name).copied(), used });
        }
        volumes.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        volumes.truncate(MAX_VOLUMES);
        codec::encode(&Listed { v: WIRE_VERSION, volumes }).map_err(failed)
    }

    /// Volumes of this agent, by their names at the engine.
    async fn all(&self, here: &Here) -> Result<BTreeMap<String, VolumeId>, ReplyError> {
        let said = here.client.get("/volumes").await.map_err(failed)?;
        let list = said.get("Volumes").and_then(Value::as_array);
        let mine = list.into_iter().flatten().filter_map(|volume| {
            let text = |key: &str| volume.get("Labels")?.get(key)?.as_str();
            if text(marks::AGENT)? != self.agent {
                return None;
            }
            let id = VolumeId {
                workload: text(marks::WORKLOAD)?.parse().ok()?,
                volume: text(marks::VOLUME)?.parse().ok()?,
            };
            Some((volume.get("Name")?.as_str()?.to_owned(), id))
        });
        Ok(holdfast_base::collect::map(mine))
    }

    /// Bytes of volumes by their names, as far as the engine counts them.
    async fn sizes(&self, here: &Here) -> BTreeMap<String, u64> {
        let said = here.client.get("/system/df").await.unwrap_or_default();
        let list = said.get("Volumes").and_then(Value::as_array);
        let sizes = list.into_iter().flatten().filter_map(|volume| {
            let size = volume.get("UsageData")?.get("Size")?.as_u64()?;
            Some((volume.get("Name")?.as_str()?.to_owned(), size))
        });
        holdfast_base::collect::map(sizes)
    }

    /// Workloads of which a container runs.
    async fn running(&self, here: &Here) -> Result<BTreeSet<Name>, ReplyError> {
        let label = format!("{}={}", marks::AGENT, self.agent);
        let list = containers(here, &label).await?;
        let runs = |it: &&Value| {
            matches!(it.get("State").and_then(Value::as_str), Some("running" | "paused"))
        };
        let names = list
            .iter()
            .filter(runs)
            .filter_map(|it| it.get("Labels")?.get(marks::WORKLOAD)?.as_str()?.parse().ok());
        Ok(holdfast_base::collect::set(names))
    }

    async fn known(&self, here: &Here, id: &VolumeId) -> Result<(), ReplyError> {
        if self.all(here).await?.values().any(|known| known == id) {
            return Ok(());
        }
        Err(ReplyError::new(ReplyCode::NotFound, format!("there is no volume {id}")))
    }

    async fn unused(&self, here: &Here, id: &VolumeId) -> Result<(), ReplyError> {
        if !self.running(here).await?.contains(&id.workload) {
            return Ok(());
        }
        Err(failed(format!(
            "volume {id} is in use: a container of {0} runs; pause or delete {0} first",
            id.workload
        )))
    }

    /// Makes a container that sees the volume and is never started; returns its id.
    async fn helper(&self, here: &Here, id: &VolumeId) -> Result<String, ReplyError> {
        let images = here.client.get("/images/json").await.map_err(failed)?;
        let image = images.as_array().into_iter().flatten().find_map(|it| it.get("Id")?.as_str());
        let image = image.ok_or_else(|| {
            failed(
                "the engine has no image, and needs one to reach a volume: apply a workload first",
            )
        })?;
        let body = json!({
            "Image": image,
            "Entrypoint": ["/never-started"],
            "Cmd": [],
            "Labels": { HELPER: self.agent },
            "NetworkDisabled": true,
            "HostConfig": {
                "NetworkMode": "none",
                "Mounts": [{
                    "Type": "volume",
                    "Source": marks::volume(&id.workload, &id.volume),
                    "Target": SEEN_AT,
                }],
            },
        });
        let made = here.client.post("/containers/create", Some(&body)).await.map_err(failed)?;
        let id = made.get("Id").and_then(Value::as_str);
        id.map(str::to_owned).ok_or_else(|| failed("the engine gave no id of a container"))
    }

    /// Removes the containers that were made to reach volumes, also those of a former agent.
    async fn remove_helpers(&self, here: &Here) {
        let label = format!("{HELPER}={}", self.agent);
        for container in containers(here, &label).await.unwrap_or_default() {
            if let Some(id) = container.get("Id").and_then(Value::as_str)
                && let Err(error) = here.client.delete(&format!("/containers/{id}?force=1")).await
            {
                tracing::warn!(container = id, %error, "it cannot be removed");
            }
        }
    }

    fn api(&self) -> Result<Api, ReplyError> {
        self.api.borrow().clone().ok_or_else(|| failed("the device is not enrolled"))
    }

    async fn back_up(&self, here: &Here, id: &VolumeId) -> Result<Vec<u8>, ReplyError> {
        self.known(here, id).await?;
        self.remove_helpers(here).await;
        let path = self.folder.join("volume.tar");
        let packed = async {
            let helper = self.helper(here, id).await?;
            let from =
                format!("/containers/{helper}/archive?path={}", query(&format!("{SEEN_AT}/.")));
            let body = here.client.stream("GET", &from, None).await.map_err(failed)?;
            poured(body, &path, u64::MAX).await
        };
        let packed = packed.await;
        self.remove_helpers(here).await;
        let stored = match packed {
            Ok(artifact) => self.upload(&path, artifact).await.map(|()| artifact),
            Err(why) => Err(why),
        };
        removed(&path).await;
        let backup = VolumeBackup { v: WIRE_VERSION, artifact: stored? };
        codec::encode(&backup).map_err(failed)
    }

    async fn upload(&self, path: &Path, artifact: Artifact) -> Result<(), ReplyError> {
        let api = self.api()?;
        let body = fed(path, artifact.size).await.map_err(failed)?;
        let request = api
            .request("PUT", "/api/v1/artifacts")
            .header("content-type", "application/octet-stream")
            .body(body)
            .map_err(failed)?;
        let answer = api.send_within(request, UPLOAD).await.map_err(failed)?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(failed(error_from(answer).await))
    }

    async fn restore(
        &self,
        here: &Here,
        id: &VolumeId,
        artifact: &Artifact,
    ) -> Result<Vec<u8>, ReplyError> {
        self.unused(here, id).await?;
        self.remove_helpers(here).await;
        let path = self.folder.join("volume.tar");
        // The content is here whole, and is what was asked for, before anything of the volume goes.
        let done = match self.download(&path, artifact).await {
            Ok(()) => self.replace(here, id, &path, artifact.size).await,
            Err(why) => Err(why),
        };
        self.remove_helpers(here).await;
        removed(&path).await;
        done.map(|()| Vec::new())
    }

    async fn download(&self, path: &Path, artifact: &Artifact) -> Result<(), ReplyError> {
        let api = self.api()?;
        let from = format!("/api/v1/artifacts/{}", artifact.digest);
        let request = api.request("GET", &from).body(Full::default()).map_err(failed)?;
        let answer = api.send(request).await.map_err(failed)?;
        if !answer.status().is_success() {
            return Err(failed(error_from(answer).await));
        }
        let came = poured(answer.into_body(), path, artifact.size).await?;
        if came.digest == artifact.digest {
            return Ok(());
        }
        Err(failed(format!("what came has digest {}: it was thrown away", came.digest)))
    }

    async fn replace(
        &self,
        here: &Here,
        id: &VolumeId,
        path: &Path,
        size: u64,
    ) -> Result<(), ReplyError> {
        let name = marks::volume(&id.workload, &id.volume);
        let there = self.all(here).await?;
        if there.contains_key(&name) {
            here.client.delete(&format!("/volumes/{}", query(&name))).await.map_err(failed)?;
        }
        let labels = json!({
            marks::AGENT: self.agent,
            marks::WORKLOAD: id.workload,
            marks::VOLUME: id.volume,
        });
        let body = json!({ "Name": name, "Labels": labels });
        here.client.post("/volumes/create", Some(&body)).await.map_err(failed)?;
        let helper = self.helper(here, id).await?;
        let to = format!("/containers/{helper}/archive?path={}", query(SEEN_AT));
        let body = fed(path, size).await.map_err(failed)?;
        here.client.put(&to, body).await.map_err(failed)
    }
}

/// Containers with a label.
async fn containers(here: &Here, label: &str) -> Result<Vec<Value>, ReplyError> {
    let filters = json!({ "label": [label] }).to_string();
    let path = format!("/containers/json?all=1&filters={}", query(&filters));
    let list = here.client.get(&path).await.map_err(failed)?;
    Ok(list.as_array().cloned().unwrap_or_default())
}

/// Writes a stream into a file, of at most so many bytes; returns what was written. The disk keeps
/// some room free.
async fn poured(mut body: Incoming, path: &Path, most: u64) -> Result<Artifact, ReplyError> {
    let at = |error: std::io::Error| failed(format!("{}: {error}", path.display()));
    let mut file = tokio::fs::File::create(path).await.map_err(at)?;
    let (mut hash, mut size) = (Context::new(&SHA256), 0_u64);
    loop {
        let frame = tokio::time::timeout(STALL, body.frame()).await;
        let frame = frame.map_err(|_| failed("the transfer stalled"))?;
        let Some(frame) = frame else { break };
        let Ok(bytes) = frame.map_err(failed)?.into_data() else { continue };
        size += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > most {
            return Err(failed("more came than the file has"));
        }
        if files::free_bytes(path).is_ok_and(|free| free < HEADROOM) {
            return Err(failed(format!(
                "{}: the disk is nearly full after {size} bytes: free some space",
                path.display()
            )));
        }
        file.write_all(&bytes).await.map_err(at)?;
        hash.update(&bytes);
    }
    file.flush().await.map_err(at)?;
    let digest = hash.finish().as_ref().try_into().map_err(|_| failed("no digest"))?;
    Ok(Artifact { digest: Digest(digest), size })
}

/// A file as the body of a request.
async fn fed(path: &Path, size: u64) -> std::io::Result<Sent> {
    let (bytes, ahead) = PIECE;
    let mut file = tokio::fs::File::open(path).await?;
    let (feed, sent) = mpsc::channel(ahead);
    tasks::spawn(async move {
        let mut piece = vec![0; bytes];
        // What ends early is noticed by who reads: the length was announced.
        while let Ok(read @ 1..) = file.read(&mut piece).await {
            let Some(part) = piece.get(..read) else { return };
            if feed.send(Bytes::copy_from_slice(part)).await.is_err() {
                return;
            }
        }
    });
    Ok(Sent::Fed(sent, size))
}

async fn removed(path: &Path) {
    if let Err(error) = tokio::fs::remove_file(path).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "it cannot be removed");
    }
}
