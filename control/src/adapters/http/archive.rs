//! Routes of backup and restore: a tar file with the store, the authority's keys and the artifacts.
//!
//! See decision 0099.
#![allow(clippy::disallowed_methods, reason = "an adapter: files are its trade")]

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, Read, Seek as _, Write};
use std::path::Path as FilePath;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::stream;
use holdfast_base::ids::{Digest, Name, unhex};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::app::App;
use super::artifacts::{disk, take};
use crate::adapters::artifacts::{Artifacts, Temporary, digest};
use crate::adapters::authority;
use crate::api::{BACKUP_HEAD, BACKUP_MANIFEST, Restored, begins_like_a_backup};
use crate::core::model::{AUTHORITY, key};
use crate::core::rights::Actor;
use crate::ports::authority::Keys;
use crate::service::{Backup, Checked, Checking, Failure};

/// Maximum size of a backup that can be restored, artifacts included, in bytes.
const MAX_BACKUP: u64 = 256 * 1024 * 1024 * 1024;

/// Maximum size of a backup's store, in bytes. Its records are held in memory until they are
/// written.
const MAX_STORE: u64 = 1024 * 1024 * 1024;

/// Maximum length of one record of the store, in bytes: more than the largest workload that can be
/// applied.
const MAX_LINE: u64 = 32 * 1024 * 1024;

/// Maximum number of artifacts in a backup.
const MAX_ARTIFACTS: usize = 100_000;

/// Prefixes of keys that a backup leaves out: logins end with a restore, and timelines of devices
/// are worth less than the space that they take.
const LEFT_OUT: [&str; 5] =
    [key::HISTORIES, key::SESSIONS, key::TOLD[0], key::TOLD[1], key::TOLD[2]];

/// Maximum size of each small file in a backup, in bytes.
const MAX_SMALL: u64 = 1024 * 1024;

/// Maximum number of characters of a tar entry's name that an error quotes.
const QUOTED: usize = 100;

/// Version of the backup format that this program writes and reads.
const FORMAT: u32 = 1;

/// First file of a backup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    format: u32,
    program: String,
    created_at: String,
}

/// Line of a backup's `store.ndjson`: one record of the store.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    key: String,
    #[serde(borrow)]
    value: &'a RawValue,
}

/// Writer whose bytes are sent to the client.
struct Pipe {
    to: mpsc::Sender<io::Result<Bytes>>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to
            .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Downloads a backup: a tar file with the whole state, the keys and the artifacts.
///
/// The backup contains the private keys of the control plane. Store it as safely as those.
#[utoipa::path(get, path = "/api/v1/backup", operation_id = "getBackup", tag = "system", security(("bearer" = [])),
    responses((status = 200, body = Vec<u8>, content_type = "application/x-tar"),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn backup(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
) -> Result<Response, Failure> {
    let backup = app.service.archive.backup(&actor).await?;
    let (to, from) = mpsc::channel(8);
    let artifacts = Arc::clone(&app.artifacts);
    tokio::task::spawn_blocking(move || {
        let pipe = io::BufWriter::with_capacity(64 * 1024, Pipe { to: to.clone() });
        if let Err(error) = write(&backup, &artifacts, pipe) {
            tracing::warn!(%error, "a backup was not read to its end");
            // The response of a failed backup ends without the last chunk, so that the client
            // notices that it is incomplete.
            drop(to.blocking_send(Err(error)));
        }
    });
    let body = Body::from_stream(stream::unfold(from, |mut from| async {
        from.recv().await.map(|piece| (piece, from))
    }));
    Ok(([(header::CONTENT_TYPE, "application/x-tar")], body).into_response())
}

fn entry(size: u64, at: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(at);
    header
}

fn write(backup: &Backup, artifacts: &Artifacts, to: impl Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(to);
    let manifest = Manifest {
        format: FORMAT,
        program: format!("holdfast {}", env!("CARGO_PKG_VERSION")),
        created_at: crate::api::time::rfc3339(backup.at),
    };
    for (name, json) in [
        (BACKUP_MANIFEST, serde_json::to_vec_pretty(&manifest)?),
        ("authority.json", serde_json::to_vec_pretty(&backup.keys)?),
    ] {
        let mut header = entry(json.len() as u64, backup.at);
        tar.append_data(&mut header, name, json.as_slice())?;
    }
    // A tar entry states its size first, so the snapshot is read twice.
    let mut size = 0;
    lines(backup, |line| {
        size += line.len() as u64;
        Ok(())
    })?;
    let mut header = entry(size, backup.at);
    header.set_path("store.ndjson")?;
    header.set_cksum();
    let out = tar.get_mut();
    out.write_all(header.as_bytes())?;
    lines(backup, |line| out.write_all(line))?;
    let padding = usize::try_from((512 - size % 512) % 512).unwrap_or(0);
    out.write_all(&vec![0; padding])?;
    for (digest, size) in artifacts.all() {
        let file = std::fs::File::open(artifacts.path(&digest))?;
        let mut header = entry(size, backup.at);
        tar.append_data(
            &mut header,
            format!("artifacts/sha256/{}", digest.hex()),
            file.take(size),
        )?;
    }
    tar.into_inner()?.flush()
}

fn lines(backup: &Backup, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut line = Vec::new();
    backup.snapshot.visit(&LEFT_OUT, &mut |key, value| {
        if key == AUTHORITY {
            return Ok(()); // The keys are in a file of their own.
        }
        let value: &RawValue = serde_json::from_slice(value)?;
        line.clear();
        serde_json::to_writer(&mut line, &Line { key: key.to_owned(), value })?;
        line.push(b'\n');
        each(&line)
    })
}

/// Replaces the whole state by a backup.
///
/// The backup is checked completely before anything is replaced. The epoch rises, so that devices
/// follow the restored state.
#[utoipa::path(post, path = "/api/v1/restore", operation_id = "restoreBackup", tag = "system", security(("bearer" = [])),
    request_body(content = Vec<u8>, content_type = "application/x-tar"),
    responses((status = 200, body = Restored), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn restore(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<Json<Restored>, Failure> {
    // Before anything of it is written: artifacts of a backup are stored as it is read.
    app.service.archive.admit_restore(&actor)?;
    let mut upload = app.artifacts.begin().await.map_err(disk)?;
    let spare = spare(&app.artifacts);
    let (most, what) = if spare < MAX_BACKUP {
        (spare, "the disk of the control plane has little room left: a backup")
    } else {
        (MAX_BACKUP, "a backup")
    };
    take(body, &mut upload, most, what).await?;
    let file = upload.into_file().await.map_err(disk)?;
    let artifacts = Arc::clone(&app.artifacts);
    let tenant = app.service.documents.first_tenant().clone();
    let read = tokio::task::spawn_blocking(move || read_backup(&file.0, &artifacts, &tenant));
    let checked = read.await.map_err(Failure::internal)??;
    let restored = app.service.archive.restore(&actor, checked).await?;
    // A backup from before artifacts belonged to tenants says nothing of them.
    app.service.workloads.adopt_artifacts().await?;
    Ok(Json(restored))
}

/// Space that a restore leaves free on the disk, in bytes, so that what it brings can be stored.
/// The reserve (`--reserve`) is kept free of data records for work like this.
const KEPT_FREE: u64 = 16 * 1024 * 1024;

/// Number of bytes that a restore may write.
fn spare(artifacts: &Artifacts) -> u64 {
    let disk = artifacts.disk();
    disk.map_or(u64::MAX, |disk| disk.free.saturating_sub(KEPT_FREE.min(disk.total / 20)))
}

/// Reads a backup from a file. Its artifacts are stored; the rest is checked and not used yet.
///
/// # Errors
/// Returns [`Failure::Invalid`] for a file that is no valid backup, and [`Failure::Unavailable`]
/// when the disk fails.
pub fn read_backup(
    file: &FilePath,
    artifacts: &Artifacts,
    tenant: &Name,
) -> Result<Checked, Failure> {
    let Whole { checked, artifacts: found } = read(file, artifacts, tenant)?;
    for (temporary, digest, size) in &found {
        artifacts.adopt(temporary, *digest, *size).map_err(disk)?;
    }
    Ok(checked)
}

struct Whole {
    checked: Checked,
    artifacts: Vec<(Temporary, Digest, u64)>,
}

fn bad(what: impl std::fmt::Display) -> Failure {
    Failure::invalid(format!("this is not a usable backup: {what}"))
}

/// Converts an error of the tar reader. The reader's own messages quote the file's bytes, whatever
/// they are, so only the system's errors are shown.
fn damaged(error: io::Error) -> Failure {
    match error.kind() {
        _ if error.raw_os_error().is_some() => disk(error),
        io::ErrorKind::UnexpectedEof => bad("it ends too early"),
        _ => bad("it is damaged, or is no tar"),
    }
}

/// Quotes a tar entry's name for an error: without control characters, and at most 100 characters.
fn quoted(path: &str) -> String {
    format!("{:?}", path.chars().take(QUOTED).collect::<String>())
}

/// Names the kind of a tar entry that is no regular file.
fn kind(of: tar::EntryType) -> &'static str {
    match of {
        tar::EntryType::GNUSparse => "a file with holes",
        tar::EntryType::Link | tar::EntryType::Symlink => "a link",
        tar::EntryType::Directory => "a folder",
        tar::EntryType::Fifo => "a FIFO",
        tar::EntryType::Char | tar::EntryType::Block => "a device",
        _ => "of a kind that a backup never holds",
    }
}

/// Reads a whole backup: artifacts into temporary files, the rest into memory. Only headers of
/// regular files are interpreted, and their bytes are all in the tar, so no more is ever written
/// than was sent.
fn read(file: &FilePath, artifacts: &Artifacts, tenant: &Name) -> Result<Whole, Failure> {
    let mut file = std::fs::File::open(file).map_err(disk)?;
    let mut head = Vec::new();
    (&file).take(BACKUP_HEAD as u64).read_to_end(&mut head).map_err(disk)?;
    if !begins_like_a_backup(&head) {
        return Err(Failure::invalid("this is not a backup of holdfast"));
    }
    file.rewind().map_err(disk)?;
    let mut tar = tar::Archive::new(io::BufReader::new(file));
    let (mut manifest, mut keys, mut records) = (None, None, None);
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for entry in tar.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        let path = entry.path().map_err(damaged)?.to_string_lossy().into_owned();
        let of = entry.header().entry_type();
        if !of.is_file() {
            return Err(bad(format!("{} is {}, not a regular file", quoted(&path), kind(of))));
        }
        if !seen.insert(path.clone()) {
            return Err(bad(format!("{} is in it twice", quoted(&path))));
        }
        match path.as_str() {
            BACKUP_MANIFEST => manifest = Some(small::<Manifest>(&mut entry, &path)?),
            "authority.json" => keys = Some(small::<Keys>(&mut entry, &path)?),
            "store.ndjson" => records = Some(read_store(entry, tenant)?),
            _ => {
                let digest = path
                    .strip_prefix("artifacts/sha256/")
                    .and_then(unhex::<32>)
                    .map(Digest)
                    .ok_or_else(|| bad(format!("{} does not belong into it", quoted(&path))))?;
                if found.len() >= MAX_ARTIFACTS {
                    return Err(bad(format!("it holds more than {MAX_ARTIFACTS} artifacts")));
                }
                if let Some(artifact) = artifact(&mut entry, artifacts, digest)? {
                    found.push(artifact);
                }
            }
        }
    }
    let manifest = manifest.ok_or_else(|| bad(format!("{BACKUP_MANIFEST} is missing")))?;
    if manifest.format != FORMAT {
        return Err(bad(format!(
            "it is of format {}, this program reads format {FORMAT}",
            manifest.format
        )));
    }
    let keys = keys.ok_or_else(|| bad("authority.json is missing"))?;
    let records = records.ok_or_else(|| bad("store.ndjson is missing"))?;
    Ok(Whole { checked: records.finish(keys, authority::check)?, artifacts: found })
}

fn small<T: serde::de::DeserializeOwned>(from: &mut impl Read, name: &str) -> Result<T, Failure> {
    let mut bytes = Vec::new();
    from.take(MAX_SMALL).read_to_end(&mut bytes).map_err(damaged)?;
    serde_json::from_slice(&bytes).map_err(|error| bad(format!("{name}: {error}")))
}

fn read_store(from: tar::Entry<'_, impl Read>, tenant: &Name) -> Result<Checking, Failure> {
    if from.size() > MAX_STORE {
        return Err(bad(format!("store.ndjson is larger than {MAX_STORE} bytes")));
    }
    let mut checking = Checking::new(tenant);
    let (mut from, mut line) = (io::BufReader::new(from), Vec::new());
    for number in 1_u64.. {
        line.clear();
        let count = (&mut from).take(MAX_LINE).read_until(b'\n', &mut line).map_err(damaged)?;
        if count == 0 {
            break;
        }
        let wrong =
            |why: &dyn std::fmt::Display| bad(format!("store.ndjson, line {number}: {why}"));
        if count as u64 == MAX_LINE {
            return Err(wrong(&format!("longer than {MAX_LINE} bytes")));
        }
        let Line { key, value } = serde_json::from_slice(&line).map_err(|error| wrong(&error))?;
        checking.take(key, value.get().as_bytes().to_vec())?;
    }
    Ok(checking)
}

/// Reads one artifact into a temporary file. Returns `None` when it is stored already.
fn artifact(
    from: &mut tar::Entry<'_, impl Read>,
    artifacts: &Artifacts,
    expected: Digest,
) -> Result<Option<(Temporary, Digest, u64)>, Failure> {
    let size = from.size();
    let known = artifacts.size(&expected) == Some(size);
    if !known && size > spare(artifacts) {
        return Err(Failure::Unavailable(format!(
            "the control plane's disk has no room for artifact {expected} of {size} bytes: free some and restore again"
        )));
    }
    let temporary = artifacts.temporary();
    let mut out = if known { None } else { Some(create(&temporary.0).map_err(disk)?) };
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).map_err(damaged)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        hash.update(bytes);
        if let Some(out) = &mut out {
            out.write_all(bytes).map_err(disk)?;
        }
    }
    if digest(hash) != expected {
        return Err(bad(format!("artifact {expected} is damaged")));
    }
    if let Some(out) = out {
        out.sync_all().map_err(disk)?;
        return Ok(Some((temporary, expected, size)));
    }
    Ok(None)
}

fn create(path: &FilePath) -> io::Result<std::fs::File> {
    std::fs::File::create_new(path)
}
