//! Ports of the control plane's drivers to the devices: what they need from the bus, and what the
//! bus needs from them.
//!
//! Adapters implement these traits, and `fleet-tests` has fakes. The ports of the stores are in
//! `store.rs` and `data_store.rs`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use holdfast_base::ids::{DeviceId, Name};
pub use holdfast_control_rows::Line;
use holdfast_protocol::topic::Channel;
use holdfast_records::{Record, StreamName};

/// Connection to the devices: the gateway inside `holdfast serve`, or an external broker.
///
/// No call blocks. What a device cannot take in time is conflated or refused, never queued without
/// bound.
pub trait Bus: Send + Sync + 'static {
    /// Announces that the desired state of a device changed. A connected device is sent the newest
    /// one (read with [`Desired::desired`] when it can be sent), so that several changes may
    /// become one message.
    fn desired_changed(&self, device: &DeviceId);
    /// Sends a signed call. Returns false when the device is not connected or cannot take it now.
    fn call(&self, device: &DeviceId, payload: Bytes) -> bool;
    /// Sends an acknowledgement of data. It may be lost: the device then redelivers its batch.
    fn ack(&self, device: &DeviceId, payload: Bytes);
    /// Ends the connection of a device that was revoked or has another identity now. Does nothing
    /// when it is not connected.
    fn disconnect(&self, device: &DeviceId);
}

/// Records of one stream that were stored together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Name of the tenant that the device belongs to.
    pub tenant: Name,
    /// Name of the device.
    pub device: Name,
    /// Name of the stream.
    pub stream: StreamName,
    /// Records by rising sequence number. None of them was in an earlier item.
    pub records: Vec<Record>,
}

/// Filter of streams, by device and stream, that one reader wants. It is called by the thread that
/// stores, so it must be quick.
pub type Wanted = Box<dyn Fn(&Name, &StreamName) -> bool + Send + Sync>;

/// Queue of stored records to one reader. It is bounded: when it is full, the oldest records are
/// dropped.
pub trait Feed: Send {
    /// Returns the next records. While there are none, the task is woken when some come.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Arc<Stored>>;
    /// Returns the number of records dropped since the last call.
    fn missed(&mut self) -> u64;
}

/// Access token of a reader, as it was when the reader connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Tenant that the token belongs to.
    pub tenant: Name,
    /// Id of the token.
    pub id: Box<str>,
    /// Digest of the token's secret, so that a token that was created again under the same id is
    /// not taken for this one.
    pub secret_sha256: [u8; 32],
}

/// Reason why a device may not connect. It is logged and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such device: it never enrolled here, or was deleted.
    #[error("unknown device")]
    Unknown,
    /// The device has enrolled and is not approved yet.
    #[error("waits for approval")]
    Pending,
    /// The device, or the serial number of its certificate, is revoked.
    #[error("revoked")]
    Revoked,
}

/// Decision of the control plane about the connections of devices. Every call returns at once.
pub trait Admission: Send + Sync + 'static {
    /// Admits a device by its certificate and returns the device's shard. It is called at every
    /// connect, also when a TLS session is resumed.
    ///
    /// # Errors
    /// [`Refusal`].
    fn admit(&self, device: &DeviceId, serial: &[u8]) -> Result<u8, Refusal>;
    /// Records that a device connected. `connection` is unique in this process and rises, so that a
    /// late report of an older connection's end changes nothing.
    ///
    /// `line` tells when the device was last heard. None: the bus cannot tell.
    fn connected(
        &self,
        device: &DeviceId,
        connection: u64,
        peer: SocketAddr,
        line: Option<Arc<dyn Line>>,
    );
    /// Records that a connection ended, with the reason in words.
    fn disconnected(&self, device: &DeviceId, connection: u64, reason: &str);
}

/// Source of the desired states of devices.
pub trait Desired: Send + Sync + 'static {
    /// Returns the newest desired state, signed. None: nothing was ever desired of this device.
    /// Returns at once.
    fn desired(&self, device: &DeviceId) -> Option<Bytes>;
}

/// Receiver of what devices publish. Every call returns at once.
pub trait Inbox: Send + Sync + 'static {
    /// Takes a message that a device published. The receiver keeps `done` until the payload is on
    /// disk, or refused.
    fn received(&self, device: &DeviceId, channel: Channel, payload: Bytes, done: Done);
    /// Returns the message for a device that has just subscribed to its acknowledgements: the id of
    /// the data store. None: it is not known yet, and is sent with [`Bus::ack`] when it is.
    fn store_notice(&self) -> Option<Bytes> {
        None
    }
}

/// Access of readers, who follow streams over MQTT. Every call returns at once.
pub trait Readers: Send + Sync + 'static {
    /// Returns the access token when it is valid and may read streams.
    fn reader(&self, token: &str) -> Option<Access>;
    /// Returns whether the token may still read. It is called repeatedly while a reader is
    /// connected.
    fn may_read(&self, access: &Access) -> bool;
    /// Returns a queue of the records of the token's tenant that are stored from now on. Dropping it
    /// ends the subscription.
    fn read_along(&self, access: &Access, wanted: Wanted) -> Box<dyn Feed>;
}

/// Ports of the control plane that a bus calls, one handle each.
#[derive(Clone)]
pub struct Ports {
    /// Decision about connections.
    pub admission: Arc<dyn Admission>,
    /// Source of desired states.
    pub desired: Arc<dyn Desired>,
    /// Receiver of what devices publish.
    pub inbox: Arc<dyn Inbox>,
    /// Access of readers.
    pub readers: Arc<dyn Readers>,
}

impl Ports {
    /// Makes the ports of one value that implements all of them.
    pub fn of<T: Admission + Desired + Inbox + Readers>(all: Arc<T>) -> Self {
        Self {
            admission: Arc::clone(&all) as _,
            desired: Arc::clone(&all) as _,
            inbox: Arc::clone(&all) as _,
            readers: all,
        }
    }
}

/// Fate of a message that a device published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The message is stored, or needs no storing.
    Stored,
    /// The message is stored, and this acknowledgement of it goes to the device on `ack`.
    Acknowledged(Bytes),
    /// The message was refused, or could not be stored.
    NotStored,
}

/// Duty to tell the bus, once, what became of a message. Dropping it tells
/// [`Outcome::NotStored`].
///
/// A bus may hold its PUBACK until then, as the gateway does: it bounds what a device has in flight
/// and lets it know early. A broker acknowledges what it has taken and loses some of it, so nothing
/// may depend on a PUBACK. What a device must know to be stored has an acknowledgement on `ack`:
/// reports by [`Done::acknowledged`], data by [`Bus::ack`]. See decision 0150.
pub struct Done(Option<Box<dyn FnOnce(Outcome) + Send>>);

impl Done {
    /// Makes a duty that calls `tell` once.
    pub fn new(tell: impl FnOnce(Outcome) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// Tells that the message is on disk, or needs not be.
    pub fn stored(self) {
        self.tell(Outcome::Stored);
    }

    /// Tells that the message is on disk, and hands over its acknowledgement. The bus sends it
    /// together with its PUBACK where it can, so that it costs no packet of its own.
    pub fn acknowledged(self, ack: Bytes) {
        self.tell(Outcome::Acknowledged(ack));
    }

    fn tell(mut self, outcome: Outcome) {
        if let Some(tell) = self.0.take() {
            tell(outcome);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(Outcome::NotStored);
        }
    }
}

impl std::fmt::Debug for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Done").finish()
    }
}
