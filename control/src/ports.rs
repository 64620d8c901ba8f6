//! What the control plane's drivers ask of the outside, as traits; adapters implement them and
//! `fleet-tests` has fakes. The store's port is `store.rs`' business; these are the bus's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use holdfast_base::ids::{DeviceId, Digest, Name};
use holdfast_protocol::topic::Channel;
use holdfast_records::{Record, StreamName};

use crate::core::liveness::Line;

/// The way to the devices: the gateway inside `holdfast serve`, or an external broker.
/// No call blocks; what a device cannot take in time is conflated or refused, never queued
/// without bound.
pub trait Bus: Send + Sync + 'static {
    /// The device's desired state changed. A connected device gets the newest (read by
    /// [`Directory::desired`] when it can be sent); several changes may become one.
    fn desired_changed(&self, device: &DeviceId);
    /// Sends a signed call. False: the device is not connected, or cannot take it now.
    fn call(&self, device: &DeviceId, payload: Bytes) -> bool;
    /// Sends an acknowledgement of data. It may be lost: the device sends its batch again then.
    fn ack(&self, device: &DeviceId, payload: Bytes);
    /// Ends the device's connection, if there is one (revoked, or replaced identity).
    fn disconnect(&self, device: &DeviceId);
}

/// Artifacts that the control plane stores and devices fetch.
pub trait ArtifactSizes: Send + Sync + 'static {
    /// Returns the size of an artifact in bytes. `None`: it is not stored.
    fn size(&self, digest: &Digest) -> Option<u64>;
}

/// Records of one stream that were stored together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Whose.
    pub device: Name,
    /// Of which stream.
    pub stream: StreamName,
    /// By number; none of them was ever told before.
    pub records: Vec<Record>,
}

/// Which streams of which devices a reader wants; asked by the thread that stores.
pub type Wanted = Box<dyn Fn(&Name, &StreamName) -> bool + Send + Sync>;

/// Records on their way to one reader: bounded, the oldest go first.
pub trait Feed: Send {
    /// The next ones. Pending: the task is woken when there are some.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Arc<Stored>>;
    /// How many records were lost to the bound since this was last asked.
    fn missed(&mut self) -> u64;
}

/// Who reads along: an access token, as it was when its holder connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The token's id.
    pub id: Box<str>,
    /// Digest of its secret: a token that was made anew under the same id is another.
    pub secret_sha256: [u8; 32],
}

/// Why a device may not connect; said in its log and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such device: never enrolled here, or deleted.
    #[error("unknown device")]
    Unknown,
    /// Enrolled, not yet approved by a person.
    #[error("waits for approval")]
    Pending,
    /// Revoked, or this certificate's serial number was.
    #[error("revoked")]
    Revoked,
}

/// What a bus asks of the control plane. Every call returns at once.
pub trait Directory: Send + Sync + 'static {
    /// May this certificate connect? Gives the device's shard. Asked at every connect, resumed
    /// TLS sessions included.
    ///
    /// # Errors
    /// [`Refusal`].
    fn admit(&self, device: &DeviceId, serial: &[u8]) -> Result<u8, Refusal>;
    /// The newest desired state, signed. None: nothing was ever desired of this device.
    fn desired(&self, device: &DeviceId) -> Option<Bytes>;
    /// What a device is told that has just subscribed to its acknowledgements: which data store
    /// this is. None: that is not known yet, and is told by [`Bus::ack`] when it is.
    fn store_notice(&self) -> Option<Bytes> {
        None
    }
    /// A device is connected. `connection` is unique in this process and rises: an end reported
    /// late for an older connection changes nothing.
    /// `line` tells when it was last heard; None: whoever serves the bus does not know.
    fn connected(
        &self,
        device: &DeviceId,
        connection: u64,
        peer: SocketAddr,
        line: Option<Arc<dyn Line>>,
    );
    /// That connection ended, for this reason in words.
    fn disconnected(&self, device: &DeviceId, connection: u64, reason: &str);
    /// A device published. `done` must be kept until the payload is stored, then
    /// [`Done::stored`]; the PUBACK goes out then.
    fn received(&self, device: &DeviceId, channel: Channel, payload: Bytes, done: Done);
    /// Whose access token this is, if it may read along.
    fn reader(&self, token: &str) -> Option<Access>;
    /// May its holder still read? Asked again and again while a reader is connected.
    fn may_read(&self, access: &Access) -> bool;
    /// Reads along what is stored from now on, until it is dropped.
    fn read_along(&self, wanted: Wanted) -> Box<dyn Feed>;
}

/// Says that what was received is safe. Dropped without that, it says that it is not: the
/// publisher gets no PUBACK (v5: a reason code) and will send again.
pub struct Done(Option<Box<dyn FnOnce(bool) + Send>>);

impl Done {
    /// Calls `tell` once with whether it was stored.
    pub fn new(tell: impl FnOnce(bool) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// It is stored.
    pub fn stored(mut self) {
        if let Some(tell) = self.0.take() {
            tell(true);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(false);
        }
    }
}

impl std::fmt::Debug for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Done").finish()
    }
}
