//! Transfers of long bodies: artifacts and backups, streamed and never held in memory.

#![allow(
    clippy::disallowed_methods,
    reason = "the command line reads and writes the files it is given"
)]

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use holdfast_base::ids::Digest;
use reqwest::Method;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use super::cells::read;
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::login::{begin, finish};
use super::table::{Cell, table};
use super::text::{Output, clean};
use holdfast_api::{ArtifactOfTenant, StoredArtifact};

/// Silence of the control plane during a backup after which the transfer is given up.
const SILENCE: Duration = Duration::from_secs(120);

/// Bytes read from a file at once.
const CHUNK: usize = 64 * 1024;

/// Stores a file in the control plane and prints its digest.
pub(crate) async fn push(client: &Client, output: Output, path: &Path) -> Outcome {
    let stored = store(client, path).await?;
    output.line(&clean(&stored.digest))
}

/// Stores a file in the control plane as an artifact.
pub(crate) async fn store(client: &Client, path: &Path) -> Outcome<StoredArtifact> {
    let (body, length, digest) = upload_of(path, "pushing").await?;
    let answer = client.upload(Method::PUT, &["artifacts"], (body, length), None).await?;
    let stored: StoredArtifact = read(&answer)?;
    if let Some(sent) = digest.get()
        && sent.to_string() != stored.digest
    {
        return Err(Failure::failed(format!(
            "{} was changed on its way: {sent} was sent, {} is stored; push it again",
            path.display(),
            stored.digest
        )));
    }
    Ok(stored)
}

/// Prints the artifacts that the tenant has pushed.
pub(crate) async fn artifacts(client: &Client, output: Output) -> Outcome {
    let all = client.list(&["artifacts"], &[]).await?;
    let rows = all
        .iter()
        .map(|item| {
            let artifact: ArtifactOfTenant = read(item)?;
            Ok(vec![
                artifact.digest.into(),
                artifact.size.to_string().into(),
                artifact.created_at.into(),
            ])
        })
        .collect::<Outcome<Vec<Vec<Cell>>>>()?;
    output.bytes(table(output, 0, &["DIGEST", "BYTES", "PUSHED"], &rows).as_bytes())
}

/// Deletes an artifact.
pub(crate) async fn delete(client: &Client, output: Output, digest: &str) -> Outcome {
    client.send(Method::DELETE, &["artifacts", digest], &[], &Value::Null).await?;
    output.line(&format!("artifact {digest} deleted"))
}

/// Digest of a body, set once all of it was sent.
pub(crate) type Sent = std::sync::Arc<std::sync::OnceLock<Digest>>;

struct Upload {
    file: tokio::fs::File,
    left: u64,
    length: u64,
    hash: ring::digest::Context,
    sent: Sent,
    progress: Progress,
}

/// Opens a file as the body of a request, with its length.
pub(crate) async fn upload_of(
    path: &Path,
    verb: &'static str,
) -> Outcome<(reqwest::Body, u64, Sent)> {
    let wrong = |error: io::Error| Failure::file("read", path, error);
    let file = tokio::fs::File::open(path).await.map_err(wrong)?;
    let metadata = file.metadata().await.map_err(wrong)?;
    if !metadata.is_file() {
        return Err(Failure::file("read", path, "it is not a file"));
    }
    let (length, sent) = (metadata.len(), Sent::default());
    let upload = Upload {
        file,
        left: length,
        length,
        hash: ring::digest::Context::new(&ring::digest::SHA256),
        sent: Sent::clone(&sent),
        progress: Progress::new(verb),
    };
    let body = reqwest::Body::wrap_stream(stream::try_unfold(upload, next_chunk));
    Ok((body, length, sent))
}

async fn next_chunk(mut upload: Upload) -> io::Result<Option<(Bytes, Upload)>> {
    if upload.left == 0 {
        let digest = upload.hash.finish();
        if let Ok(bytes) = <[u8; 32]>::try_from(digest.as_ref()) {
            // The digest is set only here, and once.
            let _first = upload.sent.set(Digest(bytes));
        }
        upload.progress.end();
        return Ok(None);
    }
    let most = usize::try_from(upload.left).unwrap_or(CHUNK).min(CHUNK);
    let mut chunk = vec![0; most];
    let read = upload.file.read(&mut chunk).await?;
    if read == 0 {
        return Err(io::Error::other("the file became shorter while it was read"));
    }
    chunk.truncate(read);
    upload.hash.update(&chunk);
    upload.left -= read as u64;
    upload.progress.at(upload.length - upload.left, Some(upload.length));
    Ok(Some((chunk.into(), upload)))
}

/// Progress of a transfer, shown on standard error on a terminal only.
struct Progress {
    verb: &'static str,
    shown: Option<u64>,
    terminal: bool,
}

impl Progress {
    fn new(verb: &'static str) -> Self {
        Self { verb, shown: None, terminal: io::stderr().is_terminal() }
    }

    fn at(&mut self, done: u64, of: Option<u64>) {
        const MIB: u64 = 1024 * 1024;
        let step = of.map_or(done / MIB, |of| done * 100 / of.max(1));
        if !self.terminal || self.shown == Some(step) {
            return;
        }
        self.shown = Some(step);
        let much = match of {
            Some(of) => format!("{step:3}% of {:.1} MiB", of as f64 / MIB as f64),
            None => format!("{step} MiB"),
        };
        let _nobody_reads = write!(io::stderr().lock(), "\r{} {much}", self.verb);
    }

    fn end(&mut self) {
        if self.terminal && self.shown.take().is_some() {
            let _nobody_reads = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// Prints the CA's certificate as PEM.
pub(crate) async fn ca(client: &Client, output: Output) -> Outcome {
    let mut response = client.stream(&["ca"], &[]).await?;
    while let Some(chunk) = response.chunk().await.map_err(|error| client.unreachable(&error))? {
        output.bytes(&chunk)?;
    }
    Ok(())
}

/// Request of a long response.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked<'a> {
    /// Path and query parameters.
    Get(&'a [&'a str], &'a [(&'a str, &'a str)]),
    /// Path and JSON body.
    Post(&'a [&'a str], &'a Value),
}

/// Writes a long response to a file and returns its size. Only a complete file takes the place of
/// an older one.
pub(crate) async fn fetch(
    client: &Client,
    of: Asked<'_>,
    path: &Path,
    verb: &'static str,
) -> Outcome<u64> {
    let wrong = |error: io::Error| Failure::file("write", path, error);
    replaceable(path)?;
    // The temporary file is created first, so that a folder that cannot be written fails at once.
    let (mut file, temporary) = begin(path).map_err(wrong)?;
    let copied = copy(client, of, &mut file, verb, wrong).await;
    let done = copied.and_then(|size| finish(file, &temporary, path).map_err(wrong).map(|()| size));
    done.inspect_err(|_| {
        let _left_behind = std::fs::remove_file(&temporary);
    })
}

/// Checks that a file may be replaced: it is a regular file or does not exist. A device is never
/// replaced, nor a symbolic link, which would leave its target as it was.
fn replaceable(path: &Path) -> Outcome {
    if path == Path::new("-") {
        return Err(Failure::usage("it goes to a file, not to standard output; give a file"));
    }
    let what = match std::fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => "a folder",
        Ok(there) if there.is_symlink() => "a link",
        Ok(there) if !there.is_file() => "not a regular file",
        _ => return Ok(()),
    };
    Err(Failure::usage(format!("{} is {what}; give a file", path.display())))
}

async fn copy(
    client: &Client,
    of: Asked<'_>,
    file: &mut std::fs::File,
    verb: &'static str,
    wrong: impl Fn(io::Error) -> Failure,
) -> Outcome<u64> {
    let mut response = match of {
        Asked::Get(parts, query) => client.stream(parts, query).await?,
        Asked::Post(parts, body) => client.post_stream(parts, body).await?,
    };
    let (mut size, of) = (0_u64, response.content_length());
    let mut progress = Progress::new(verb);
    loop {
        let next = tokio::time::timeout(SILENCE, response.chunk()).await;
        let next = next.map_err(|_| {
            Failure::failed(format!("the control plane sent nothing for {} s", SILENCE.as_secs()))
        })?;
        let Some(chunk) = next.map_err(|error| client.unreachable(&error))? else { break };
        file.write_all(&chunk).map_err(&wrong)?;
        size += chunk.len() as u64;
        progress.at(size, of);
    }
    progress.end();
    if size == 0 {
        return Err(Failure::failed("the control plane sent nothing at all; nothing was written"));
    }
    Ok(size)
}
