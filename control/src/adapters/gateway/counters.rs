//! What the gateway counts. No names: counts alone, safe to show to anyone.

use std::sync::atomic::{AtomicU64, Ordering};

/// Plain counters, read at any time; all but `connections`, `handshakes` and
/// `readers` only rise.
#[derive(Debug, Default)]
pub struct Counters {
    /// Devices connected now.
    pub connections: AtomicU64,
    /// TLS handshakes and waits for CONNECT under way now.
    pub handshakes: AtomicU64,
    /// TCP connections accepted.
    pub accepted: AtomicU64,
    /// Devices let in.
    pub connected: AtomicU64,
    /// Closed at once: too many connections.
    pub refused_full: AtomicU64,
    /// TLS handshakes that failed: a foreign or expired certificate, not TLS at all.
    pub refused_tls: AtomicU64,
    /// Handshakes or CONNECTs that took too long, or made room for others.
    pub refused_slow: AtomicU64,
    /// A certificate of our CA that names no device, or has expired since its session began.
    pub refused_certificate: AtomicU64,
    /// Devices that are not enrolled (any more).
    pub refused_unknown: AtomicU64,
    /// Devices that wait for approval.
    pub refused_pending: AtomicU64,
    /// Revoked devices and certificates.
    pub refused_revoked: AtomicU64,
    /// CONNECT packets refused for any other reason (client id, version, malformed).
    pub refused_connect: AtomicU64,
    /// Publishes and subscriptions outside the device's own topics.
    pub refused_topic: AtomicU64,
    /// Connections ended by a packet that breaks the protocol.
    pub protocol_errors: AtomicU64,
    /// Connections ended because the device was silent, or did not read.
    pub cut_silent: AtomicU64,
    /// Connections replaced by a newer one of the same device.
    pub taken_over: AtomicU64,
    /// MQTT bytes from devices (TLS taken off).
    pub bytes_in: AtomicU64,
    /// MQTT bytes to devices (before TLS).
    pub bytes_out: AtomicU64,
    /// Publishes from devices.
    pub publishes_in: AtomicU64,
    /// Publishes to devices.
    pub publishes_out: AtomicU64,
    /// PUBACKs to devices: what they published is stored.
    pub pubacks_out: AtomicU64,
    /// Publishes of devices that could not be stored.
    pub not_stored: AtomicU64,
    /// Messages that a device's queue or its own packet limit did not take.
    pub not_delivered: AtomicU64,
    /// Readers connected now.
    pub readers: AtomicU64,
    /// Readers refused: no access token that is known, or too many at the same time.
    pub refused_readers: AtomicU64,
    /// Readers cut: they took nothing of what waited, or their token ended.
    pub cut_readers: AtomicU64,
    /// Records put on their way to readers, once for each.
    pub reader_records: AtomicU64,
    /// Records that readers were too slow for, or that were larger than they take.
    pub reader_dropped: AtomicU64,
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Adds.
pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// Takes one from a gauge.
pub(super) fn drop_one(gauge: &AtomicU64) {
    gauge.fetch_sub(1, Ordering::Relaxed);
}
