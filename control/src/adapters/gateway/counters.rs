//! Counters of the gateway. They hold no names, so that they may be shown to anyone.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that can be read at any time. All but `connections`, `handshakes` and `readers` only
/// rise.
#[derive(Debug, Default)]
pub struct Counters {
    /// Devices that are connected now.
    pub connections: AtomicU64,
    /// Handshakes and waits for CONNECT that are under way now.
    pub handshakes: AtomicU64,
    /// TCP connections that were accepted.
    pub accepted: AtomicU64,
    /// Devices that were admitted.
    pub connected: AtomicU64,
    /// Connections that were closed at once because there were too many.
    pub refused_full: AtomicU64,
    /// TLS handshakes that failed, for example for a foreign or expired certificate.
    pub refused_tls: AtomicU64,
    /// Handshakes and CONNECTs that took too long, or were ended to make room for others.
    pub refused_slow: AtomicU64,
    /// Connections with a certificate of our CA that names no device, or has expired since its TLS
    /// session began.
    pub refused_certificate: AtomicU64,
    /// Connections of devices that are not enrolled, or no longer.
    pub refused_unknown: AtomicU64,
    /// Connections of devices that wait for approval.
    pub refused_pending: AtomicU64,
    /// Connections of revoked devices, or with revoked certificates.
    pub refused_revoked: AtomicU64,
    /// CONNECT packets that were refused for any other reason (client id, version, malformed).
    pub refused_connect: AtomicU64,
    /// Publishes and subscriptions outside the device's own topics.
    pub refused_topic: AtomicU64,
    /// Connections that were ended by a packet which breaks the protocol.
    pub protocol_errors: AtomicU64,
    /// Connections that were ended because the device was silent or did not read.
    pub cut_silent: AtomicU64,
    /// Connections that were replaced by a newer one of the same device.
    pub taken_over: AtomicU64,
    /// MQTT bytes from devices, without TLS.
    pub bytes_in: AtomicU64,
    /// MQTT bytes to devices, without TLS.
    pub bytes_out: AtomicU64,
    /// Publishes that came from devices.
    pub publishes_in: AtomicU64,
    /// Publishes that were sent to devices.
    pub publishes_out: AtomicU64,
    /// PUBACKs that were sent to devices, each for a stored publish.
    pub pubacks_out: AtomicU64,
    /// Publishes from devices that could not be stored.
    pub not_stored: AtomicU64,
    /// Messages that did not fit a device's queue or its packet limit.
    pub not_delivered: AtomicU64,
    /// Readers that are connected now.
    pub readers: AtomicU64,
    /// Readers that were refused: no known access token, or too many at the same time.
    pub refused_readers: AtomicU64,
    /// Readers that were cut: they took nothing of what waited, or their token ended.
    pub cut_readers: AtomicU64,
    /// Data records that were sent to readers, counted for each reader.
    pub reader_records: AtomicU64,
    /// Data records that a reader lost because it was too slow, or that were larger than it takes.
    pub reader_dropped: AtomicU64,
}

/// Adds one to a counter.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Adds an amount to a counter.
pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// Subtracts one from a gauge.
pub(super) fn drop_one(gauge: &AtomicU64) {
    gauge.fetch_sub(1, Ordering::Relaxed);
}
