//! What the gateway lets anybody take: time, connections, memory.

use std::time::Duration;

use holdfast_base::codec::MAX_PACKET;

/// Largest packet of a reader, in bytes: a CONNECT with a token, a SUBSCRIBE with 32 filters.
const READER_PACKET: usize = 16 * 1024;

/// Publishes to one reader that it has not acknowledged: at 100 ms there and back 2,500 a second.
const READER_WINDOW: u16 = 256;

/// The gateway's bounds. The defaults suit tens of thousands of devices on one machine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at the same time, handshakes included; beyond, they are closed at once.
    pub connections: usize,
    /// TLS handshakes and connections before CONNECT at the same time. When all are taken, those
    /// older than [`Limits::stalled_after`] make room and new ones wait in the kernel's queue.
    pub handshakes: usize,
    /// An unfinished handshake younger than this is never ended to make room, so that a rush
    /// of honest devices is served in turn instead of being thrown out.
    pub stalled_after: Duration,
    /// From accept to the end of the TLS handshake. Slow links need several round trips.
    pub handshake_timeout: Duration,
    /// From the end of the handshake to a whole CONNECT.
    pub connect_timeout: Duration,
    /// A device with data waiting that takes none of it for this long is cut, so that its data
    /// does not stay in memory. Its desired state waits in the store.
    pub stall_timeout: Duration,
    /// A packet that was begun and does not grow for this long ends its connection.
    pub partial_packet_timeout: Duration,
    /// Largest packet, in bytes, from a device.
    pub max_packet: usize,
    /// Publishes of one device that are not yet stored; no more are read from it meanwhile.
    pub inbound_in_flight: u16,
    /// Bytes of such publishes, likewise (one more is always taken).
    pub inbound_bytes: usize,
    /// Publishes to one device that it has not acknowledged.
    pub outbound_in_flight: u16,
    /// Messages that wait for one device, beside its desired state.
    pub outbound_queue: usize,
    /// Longest keep-alive, in seconds, also for a device that asks for none: without one, a
    /// device that vanished would be counted as connected for ever.
    pub max_keep_alive: u16,
    /// Readers at the same time: people's tools, not devices.
    pub readers: usize,
    /// How often it is asked whether a reader that is sent nothing may still read. One that is
    /// sent something is asked about before.
    pub reader_check: Duration,
    /// How long a graceful stop waits for connections to take their DISCONNECT.
    pub shutdown_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            handshakes: 1_024,
            stalled_after: Duration::from_secs(2),
            handshake_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(5),
            partial_packet_timeout: Duration::from_secs(60),
            max_packet: MAX_PACKET,
            inbound_in_flight: 16,
            inbound_bytes: 256 * 1024,
            outbound_in_flight: 8,
            outbound_queue: 32,
            max_keep_alive: 3_600,
            readers: 64,
            reader_check: Duration::from_secs(1),
            shutdown_timeout: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// The part of them that the MQTT session sees to.
    pub(super) fn session(&self) -> holdfast_mqtt::Limits {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        holdfast_mqtt::Limits {
            max_packet: self.max_packet,
            inbound_in_flight: self.inbound_in_flight.max(1),
            inbound_bytes: self.inbound_bytes,
            outbound_in_flight: self.outbound_in_flight.max(1),
            outbound_queue: self.outbound_queue,
            connect_timeout: millis(self.connect_timeout),
            partial_timeout: millis(self.partial_packet_timeout),
            max_keep_alive: self.max_keep_alive,
            lenient: false,
        }
    }

    /// The same for readers: they send little, and take much.
    pub(super) fn reader_session(&self) -> holdfast_mqtt::Limits {
        holdfast_mqtt::Limits {
            max_packet: READER_PACKET.min(self.max_packet),
            inbound_in_flight: 1,
            inbound_bytes: READER_PACKET,
            outbound_in_flight: READER_WINDOW,
            ..self.session()
        }
    }
}
