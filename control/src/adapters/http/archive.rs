//! Routes of backup and restore: a tar file with the store, the authority's keys and the artifacts,
//! encrypted in the format of age unless something else was asked for.
//!
//! See decisions 0099 and 0160.
#![allow(clippy::disallowed_methods, reason = "an adapter: files are its trade")]

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, Read, Write};
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use holdfast_age::{AgeError, Decrypting, Encrypting, FileKey, Head, With};
use holdfast_base::ids::{Digest, Name, unhex};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::app::App;
use super::artifacts::{disk, take};
use super::extract::{SMALL, json};
use crate::adapters::artifacts::{Artifacts, Temporary, digest};
use crate::adapters::authority;
use crate::api::{
    BACKUP_HEAD, BACKUP_KEY, BACKUP_MANIFEST, BACKUP_PASSPHRASE, BackupRequest, ENCRYPTED_BACKUP,
    Restored, begins_like_a_backup,
};
use crate::core::model::{SHARED, key};
use crate::core::rights::Actor;
use crate::ports::authority::{Keys, SealedKeys};
use crate::ports::keyring::{DataKey, ManagedKeyring};
use crate::service::{Backup, Carried, Checked, Checking, Failure};

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

/// Version of the backup format that this program writes. It reads version 1 as well, whose keys are
/// in the clear and whose store has nothing sealed.
const FORMAT: u32 = 2;

/// Files of an encrypted backup: the authority's keys, and the data keys. That of the authority is in
/// backups of version 1, too.
const OPEN_AUTHORITY: &str = "authority.json";
const OPEN_KEYRING: &str = "keyring.json";

/// Files of a backup that is not encrypted: the rows of the authority and of the keyring.
const SEALED_AUTHORITY: &str = "authority.sealed.json";
const SEALED_KEYRING: &str = "keyring.sealed.json";

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

/// Makes an encrypted backup: a tar file with the whole state, every key and the artifacts, in the
/// format of age.
///
/// Whoever can open it can act as the control plane.
#[utoipa::path(post, path = "/api/v1/backup", operation_id = "getBackup", tag = "system", security(("bearer" = [])),
    request_body = BackupRequest,
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn backup(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<Response, Failure> {
    let wanted: BackupRequest = json(body, SMALL).await?;
    let backup = app.service.archive.backup(&actor, wanted).await?;
    Ok(sent(&app, backup, "application/octet-stream"))
}

/// Makes a backup that is not encrypted: a tar file with the whole state and the artifacts.
///
/// Documents, labels and names in it can be read by whoever has it. Keys and secrets stay sealed
/// under the master key: without that key it cannot be restored.
#[utoipa::path(post, path = "/api/v1/backup/unencrypted", operation_id = "getUnencryptedBackup", tag = "system",
    security(("bearer" = [])),
    responses((status = 200, body = Vec<u8>, content_type = "application/x-tar"),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn backup_unencrypted(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
) -> Result<Response, Failure> {
    let backup = app.service.archive.backup_unencrypted(&actor).await?;
    Ok(sent(&app, backup, "application/x-tar"))
}

/// Sends a backup while it is made.
fn sent(app: &App, backup: Backup, of: &'static str) -> Response {
    let (to, from) = mpsc::channel(8);
    let (artifacts, archive) = (Arc::clone(&app.artifacts), Arc::clone(&app.service.archive));
    tokio::task::spawn_blocking(move || {
        let pipe = io::BufWriter::with_capacity(64 * 1024, Pipe { to: to.clone() });
        if let Err(error) = write_to(&backup, &artifacts, archive.passphrases(), pipe) {
            tracing::warn!(%error, "a backup was not read to its end");
            // The response of a failed backup ends without the last chunk, so that the client
            // notices that it is incomplete.
            drop(to.blocking_send(Err(error)));
        }
    });
    let body = Body::from_stream(stream::unfold(from, |mut from| async {
        from.recv().await.map(|piece| (piece, from))
    }));
    ([(header::CONTENT_TYPE, of)], body).into_response()
}

/// Writes a backup, encrypted to whom it is for. `one` is held while the key of a passphrase is made,
/// which takes 64 MiB.
fn write_to(
    backup: &Backup,
    artifacts: &Artifacts,
    one: &Mutex<()>,
    mut to: impl Write,
) -> io::Result<()> {
    let Some(receivers) = &backup.to else {
        write(backup, artifacts, &mut to)?;
        return to.flush();
    };
    let begun = {
        let _one = one.lock().unwrap_or_else(PoisonError::into_inner);
        Encrypting::begin(receivers, to)
    };
    let mut encrypting = begun.map_err(|error| match error {
        AgeError::Io(error) => error,
        error => io::Error::other(error.to_string()),
    })?;
    write(backup, artifacts, &mut encrypting)?;
    encrypting.finish()?.flush()
}

fn entry(size: u64, at: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(at);
    header
}

/// Writes the tar of a backup.
fn write(backup: &Backup, artifacts: &Artifacts, to: impl Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(to);
    let manifest = Manifest {
        format: FORMAT,
        program: crate::PROGRAM.into(),
        created_at: crate::api::time::rfc3339(backup.at),
    };
    let keys = match &backup.keys {
        Carried::Open { authority, data_keys } => [
            (OPEN_AUTHORITY, serde_json::to_vec_pretty(authority)?),
            (OPEN_KEYRING, serde_json::to_vec_pretty(data_keys)?),
        ],
        Carried::Sealed { authority, keyring } => {
            [(SEALED_AUTHORITY, authority.clone()), (SEALED_KEYRING, keyring.clone())]
        }
    };
    let manifest = [(BACKUP_MANIFEST, serde_json::to_vec_pretty(&manifest)?)];
    for (name, json) in manifest.into_iter().chain(keys) {
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
        if SHARED.contains(&key) {
            return Ok(()); // The keys are in files of their own.
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
///
/// An encrypted backup is sent as it is, with the header `holdfast-backup-key` (its own key, which
/// `holdfast restore` opens) or `holdfast-backup-passphrase`, both in base64.
#[utoipa::path(post, path = "/api/v1/restore", operation_id = "restoreBackup", tag = "system", security(("bearer" = [])),
    params(
        ("holdfast-backup-key" = Option<String>, Header, description = "Key of the encrypted file, base64"),
        ("holdfast-backup-passphrase" = Option<String>, Header, description = "Passphrase of the encrypted file, UTF-8 in base64"),
    ),
    request_body(content = Vec<u8>, content_type = "application/x-tar"),
    responses((status = 200, body = Restored), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn restore(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Restored>, Failure> {
    // Before anything of it is written: artifacts of a backup are stored as it is read.
    app.service.archive.may_restore(&actor)?;
    let opening = opening(&headers)?;
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
    let archive = Arc::clone(&app.service.archive);
    let read = tokio::task::spawn_blocking(move || {
        let (keyring, one) = (archive.keyring(), archive.passphrases());
        let with = Reading { artifacts: &artifacts, tenant: &tenant, keyring, one };
        read_backup(&file.0, &opening, &with)
    });
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

/// What opens a backup.
#[derive(Debug)]
pub enum Opening {
    /// Nothing: it is not encrypted.
    Nothing,
    /// The key of this one file.
    Key(FileKey),
    /// A passphrase, or identities.
    With(With),
}

/// Returns what the headers of a request open a backup with.
fn opening(headers: &HeaderMap) -> Result<Opening, Failure> {
    let decoded = |name: &str| -> Result<Option<Vec<u8>>, Failure> {
        let Some(value) = headers.get(name) else { return Ok(None) };
        let no = || Failure::invalid(format!("the header {name} is no base64"));
        STANDARD.decode(value.as_bytes()).map(Some).map_err(|_| no())
    };
    if let Some(key) = decoded(BACKUP_KEY)? {
        let wrong = |_| Failure::invalid(format!("the header {BACKUP_KEY} is no key of 16 bytes"));
        return Ok(Opening::Key(FileKey::new(key.try_into().map_err(wrong)?)));
    }
    match decoded(BACKUP_PASSPHRASE)? {
        Some(text) => {
            let wrong = |_| Failure::invalid(format!("the header {BACKUP_PASSPHRASE} is no UTF-8"));
            Ok(Opening::With(With::Passphrase(String::from_utf8(text).map_err(wrong)?)))
        }
        None => Ok(Opening::Nothing),
    }
}

/// What a backup is read with.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// Where its artifacts are stored.
    pub artifacts: &'a Artifacts,
    /// Tenant that must be able to log in with it.
    pub tenant: &'a Name,
    /// Keyring with the master key, for a backup whose keys are sealed.
    pub keyring: &'a dyn ManagedKeyring,
    /// Held while the key of a passphrase is made, which takes up to 256 MiB.
    pub one: &'a Mutex<()>,
}

impl std::fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("tenant", self.tenant).finish_non_exhaustive()
    }
}

/// Reads a backup from a file. Its artifacts are stored; the rest is checked and not used yet. An
/// encrypted one is decrypted while it is read, and never lies on the disk in the clear.
///
/// # Errors
/// Returns [`Failure::Invalid`] for a file that is no valid backup, and [`Failure::Unavailable`]
/// when the disk fails.
pub fn read_backup(
    file: &FilePath,
    opening: &Opening,
    with: &Reading<'_>,
) -> Result<Checked, Failure> {
    let file = std::fs::File::open(file).map_err(disk)?;
    let mut from = io::BufReader::with_capacity(64 * 1024, file);
    let first = from.fill_buf().map_err(disk)?;
    let whole = if first.starts_with(ENCRYPTED_BACKUP.as_bytes()) {
        read(decrypted(from, opening, with.one)?, with)?
    } else {
        read(from, with)?
    };
    for (temporary, digest, size) in &whole.artifacts {
        with.artifacts.adopt(temporary, *digest, *size).map_err(disk)?;
    }
    Ok(whole.checked)
}

/// Begins to decrypt a backup.
fn decrypted<R: Read>(
    mut from: R,
    opening: &Opening,
    one: &Mutex<()>,
) -> Result<Decrypting<R>, Failure> {
    let refused = |error: AgeError| match error {
        AgeError::Io(error) => damaged(error),
        error => Failure::invalid(error.to_string()),
    };
    let head = Head::read(&mut from).map_err(refused)?;
    let key = match opening {
        Opening::Key(key) => key.clone(),
        Opening::With(with) => {
            let _one = one.lock().unwrap_or_else(PoisonError::into_inner);
            head.file_key(with).map_err(refused)?
        }
        Opening::Nothing if head.is_by_passphrase() => {
            return Err(Failure::invalid(
                "the backup is encrypted by a passphrase: give it (--passphrase-file FILE)",
            ));
        }
        Opening::Nothing => {
            return Err(Failure::invalid(
                "the backup is encrypted to a recipient: give an identity (--identity FILE)",
            ));
        }
    };
    Decrypting::begin(&head, &key, from).map_err(refused)
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
fn read(mut from: impl Read, with: &Reading<'_>) -> Result<Whole, Failure> {
    let mut head = Vec::new();
    (&mut from).take(BACKUP_HEAD as u64).read_to_end(&mut head).map_err(damaged)?;
    if !begins_like_a_backup(&head) {
        return Err(Failure::invalid("this is not a backup of holdfast"));
    }
    let mut tar = tar::Archive::new(io::Cursor::new(head).chain(from));
    let (mut manifest, mut records, mut keys) = (None, None, Keyed::default());
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
            OPEN_AUTHORITY => keys.authority = Some(small(&mut entry, &path)?),
            OPEN_KEYRING => keys.data_keys = Some(small(&mut entry, &path)?),
            SEALED_AUTHORITY => keys.sealed = Some(small(&mut entry, &path)?),
            SEALED_KEYRING => keys.wrapped = Some(small_bytes(&mut entry)?),
            "store.ndjson" => records = Some(read_store(entry, with.tenant)?),
            _ => {
                let digest = path
                    .strip_prefix("artifacts/sha256/")
                    .and_then(unhex::<32>)
                    .map(Digest)
                    .ok_or_else(|| bad(format!("{} does not belong into it", quoted(&path))))?;
                if found.len() >= MAX_ARTIFACTS {
                    return Err(bad(format!("it holds more than {MAX_ARTIFACTS} artifacts")));
                }
                if let Some(artifact) = artifact(&mut entry, with.artifacts, digest)? {
                    found.push(artifact);
                }
            }
        }
    }
    // The end of an encrypted file is authenticated, too: one that was cut behind the tar is noticed.
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(damaged)?;
    let manifest = manifest.ok_or_else(|| bad(format!("{BACKUP_MANIFEST} is missing")))?;
    if !(1..=FORMAT).contains(&manifest.format) {
        return Err(bad(format!(
            "it is of format {} and made by {}, this program reads formats up to {FORMAT}: restore it with {} or a newer one",
            manifest.format, manifest.program, manifest.program
        )));
    }
    let (authority, data_keys) = keys.opened(manifest.format, with.keyring)?;
    let records = records.ok_or_else(|| bad("store.ndjson is missing"))?;
    Ok(Whole { checked: records.finish(authority, data_keys, authority::check)?, artifacts: found })
}

/// Keys of a backup as they are found in it.
#[derive(Default)]
struct Keyed {
    authority: Option<Keys>,
    data_keys: Option<Vec<DataKey>>,
    sealed: Option<SealedKeys>,
    wrapped: Option<Vec<u8>>,
}

impl Keyed {
    /// Returns the keys of the authority and the data keys, opened by the master key where they are
    /// sealed.
    fn opened(
        self,
        format: u32,
        keyring: &dyn ManagedKeyring,
    ) -> Result<(Keys, Vec<DataKey>), Failure> {
        let missing = |name: &str| bad(format!("{name} is missing"));
        if let Some(wrapped) = self.wrapped {
            let sealed = self.sealed.ok_or_else(|| missing(SEALED_AUTHORITY))?;
            let data_keys = keyring.unwrap(&wrapped).map_err(bad)?;
            let of_backup = keyring.of_backup(&data_keys).map_err(bad)?;
            return Ok((sealed.open(&*of_backup).map_err(bad)?, data_keys));
        }
        let authority = self.authority.ok_or_else(|| missing(OPEN_AUTHORITY))?;
        match self.data_keys {
            Some(data_keys) => {
                keyring.of_backup(&data_keys).map_err(bad)?;
                Ok((authority, data_keys))
            }
            None if format == 1 => Ok((authority, Vec::new())),
            None => Err(missing(OPEN_KEYRING)),
        }
    }
}

fn small_bytes(from: &mut impl Read) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(MAX_SMALL).read_to_end(&mut bytes).map_err(damaged)?;
    Ok(bytes)
}

fn small<T: serde::de::DeserializeOwned>(from: &mut impl Read, name: &str) -> Result<T, Failure> {
    let bytes = small_bytes(from)?;
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
