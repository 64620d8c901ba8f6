//! One layer from another registry: fetched, unpacked on the way, checked twice (as it came, and as
//! it is), and stored as an artifact. A cut connection goes on at the byte where it was cut.
#![allow(
    clippy::disallowed_methods,
    reason = "an adapter: it writes files and unpacks on a thread of its own"
)]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use holdfast_base::ids::Digest;
use holdfast_oci::{Blob, NotUnpacked, Unpacked, Unpacking};
use reqwest::StatusCode;
use tokio::sync::mpsc;

use super::client::{PATIENCE, Registry};
use super::error::NotCopied;
use crate::adapters::artifacts::{Artifacts, Temporary};

/// Pieces that wait for the unpacking thread, each of at most some 64 KiB.
const WAITING: usize = 16;

/// Cuts in a row, none of which brought a byte, after which a layer is given up.
const MOST_CUTS: u32 = 5;

/// Wait after the first cut; it doubles.
const PAUSE: Duration = Duration::from_millis(250);

/// Layer as it is to be.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Packed layer at the registry.
    pub(super) packed: Blob,
    /// Digest of the uncompressed layer.
    pub(super) digest: Digest,
}

/// Layer in a temporary file.
pub(super) struct Fetched {
    pub(super) temporary: Temporary,
    pub(super) size: u64,
}

/// Fetches a layer into a temporary file, at most `most` bytes unpacked. `came` counts the bytes.
pub(super) async fn fetch(
    registry: &Registry,
    artifacts: &Arc<Artifacts>,
    wanted: &Wanted,
    most: u64,
    came: &AtomicU64,
) -> Result<Fetched, NotCopied> {
    let temporary = artifacts.temporary();
    let file = File::options().write(true).create_new(true).open(&temporary.0)?;
    let (to, mut from) = mpsc::channel::<Bytes>(WAITING);
    let thread = tokio::task::spawn_blocking(move || {
        let mut unpacking = Unpacking::new(BufWriter::with_capacity(256 * 1024, file), most);
        while let Some(piece) = from.blocking_recv() {
            unpacking.write(&piece)?;
        }
        unpacking.finish()
    });
    let sent = send(registry, wanted, &to, came).await;
    drop(to);
    // The thread's reason comes first: when it has ended, sending fails for no reason of its own.
    let layer = |why| NotCopied::Layer(wanted.packed.digest, why);
    let unpacked = match (thread.await, sent) {
        (Ok(Err(why @ (NotUnpacked::TooLarge(_) | NotUnpacked::Disk(_)))), _) => {
            return Err(layer(why));
        }
        (_, Err(why)) => return Err(why),
        (Ok(unpacked), Ok(())) => unpacked,
        (Err(_panicked), Ok(())) => {
            return Err(std::io::Error::other("the unpacking thread ended").into());
        }
    };
    store(registry, wanted, unpacked.map_err(layer)?, temporary).await
}

/// Checks what was unpacked, and makes it durable.
async fn store(
    registry: &Registry,
    wanted: &Wanted,
    unpacked: Unpacked<BufWriter<File>>,
    temporary: Temporary,
) -> Result<Fetched, NotCopied> {
    let Unpacked { mut to, packed, digest, size, .. } = unpacked;
    if packed != wanted.packed.digest {
        let (registry, wanted) = (registry.host.clone(), wanted.packed.digest);
        return Err(NotCopied::Lie { registry, wanted, found: packed });
    }
    if digest != wanted.digest {
        let (layer, wanted) = (wanted.packed.digest, wanted.digest);
        return Err(NotCopied::OtherLayer { layer, wanted, found: digest });
    }
    let synced = tokio::task::spawn_blocking(move || {
        to.flush()?;
        to.into_inner().map_err(|error| error.into_error())?.sync_all()
    });
    synced.await.map_err(std::io::Error::other)??;
    Ok(Fetched { temporary, size })
}

/// Sends the bytes of a layer to the unpacking thread. It ends early without an error when that
/// thread has ended.
async fn send(
    registry: &Registry,
    wanted: &Wanted,
    to: &mpsc::Sender<Bytes>,
    came: &AtomicU64,
) -> Result<(), NotCopied> {
    let (mut at, mut cuts) = (0_u64, 0_u32);
    loop {
        let before = at;
        let cut = match registry.open(&wanted.packed.digest, at).await {
            Ok(response) => match pass(registry, wanted, response, &mut at, to, came).await {
                Ok(()) => return Ok(()),
                Err(cut) => cut,
            },
            Err(cut) => cut,
        };
        cuts = if at > before { 1 } else { cuts + 1 };
        let again = matches!(cut, NotCopied::Unreached(_)) && cuts < MOST_CUTS;
        if !again {
            return Err(cut);
        }
        tracing::debug!(digest = %wanted.packed.digest, at, error = %cut, "a layer goes on after a cut");
        tokio::time::sleep(PAUSE * 2_u32.pow(cuts - 1)).await;
    }
}

/// Passes on the body of one response. `at` is the number of bytes that were passed on before and
/// after.
async fn pass(
    registry: &Registry,
    wanted: &Wanted,
    mut response: reqwest::Response,
    at: &mut u64,
    to: &mpsc::Sender<Bytes>,
    came: &AtomicU64,
) -> Result<(), NotCopied> {
    // A registry without ranges begins anew: what was passed on already is left out.
    let mut skip = if response.status() == StatusCode::PARTIAL_CONTENT { 0 } else { *at };
    let size = wanted.packed.size;
    loop {
        let next = tokio::time::timeout(PATIENCE, response.chunk()).await;
        let quiet = |_| {
            let seconds = PATIENCE.as_secs();
            NotCopied::Unreached(format!("{} sent nothing for {seconds} s", registry.host))
        };
        let next = next.map_err(quiet)?.map_err(|error| registry.unreached(&error))?;
        let Some(mut piece) = next else {
            if *at < size {
                let text = format!("{} ended a layer at byte {at} of {size}", registry.host);
                return Err(NotCopied::Unreached(text));
            }
            return Ok(());
        };
        let passed = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
        skip -= passed as u64;
        piece = piece.slice(passed..);
        *at += piece.len() as u64;
        if *at > size {
            let what = format!("layer {}", wanted.packed.digest);
            return Err(NotCopied::Large(what, registry.host.clone(), size));
        }
        came.fetch_add(piece.len() as u64, Ordering::Relaxed);
        if !piece.is_empty() && to.send(piece).await.is_err() {
            return Ok(());
        }
    }
}
