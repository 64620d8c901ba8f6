//! Bounds of the gateway on time, connections and memory.

use std::time::Duration;

use holdfast_base::codec::MAX_PACKET;

/// Number of topics that a device subscribes to: `desired`, `call` and `ack`.
const DOWN_CHANNELS: u16 = 3;

/// Maximum size of a reader's packet, in bytes: a CONNECT with a token, or a SUBSCRIBE with 32
/// filters.
const READER_PACKET: usize = 16 * 1024;

/// Maximum number of publishes to one reader that it has not acknowledged. With a round trip of 100
/// ms it allows about 2,500 a second.
const READER_WINDOW: u16 = 256;

/// Bounds of the gateway. The defaults suit tens of thousands of devices on one machine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Maximum number of connections, handshakes included. Further ones are closed at once.
    pub connections: usize,
    /// Maximum number of TLS handshakes and connections before CONNECT. When all places are taken,
    /// those older than [`Limits::stalled_after`] make room, and new ones wait in the kernel's
    /// queue.
    pub handshakes: usize,
    /// Age below which an unfinished handshake is never ended to make room, so that a rush of
    /// honest devices is served in turn instead of being thrown out.
    pub stalled_after: Duration,
    /// Longest time from accept to the end of the TLS handshake. Slow links need several round
    /// trips.
    pub handshake_timeout: Duration,
    /// Longest time from the end of the handshake to a complete CONNECT.
    pub connect_timeout: Duration,
    /// Time after which a device is cut that takes none of the data that waits for it, so that the
    /// data does not stay in memory. Its desired state waits in the store.
    pub stall_timeout: Duration,
    /// Time after which a connection is ended whose begun packet does not grow.
    pub partial_packet_timeout: Duration,
    /// Maximum size of a packet from a device, in bytes.
    pub max_packet: usize,
    /// Maximum number of publishes of one device that are not stored yet. No more are read from it
    /// meanwhile.
    pub inbound_in_flight: u16,
    /// Maximum number of bytes of such publishes; one more publish is always taken.
    pub inbound_bytes: usize,
    /// Maximum number of publishes to one device that it has not acknowledged.
    pub outbound_in_flight: u16,
    /// Maximum number of messages that wait for one device, beside its desired state.
    pub outbound_queue: usize,
    /// Longest keep-alive, in seconds. It also holds for a device that asks for none: otherwise a
    /// device that vanished would count as connected for ever.
    pub max_keep_alive: u16,
    /// Maximum number of readers (tools of people that read live data).
    pub readers: usize,
    /// Time between two checks whether a reader that is sent nothing may still read. A reader that
    /// is sent something is checked before.
    pub reader_check: Duration,
    /// Time for which a graceful stop waits for connections to take their DISCONNECT.
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

/// Whole milliseconds of a duration.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Limits {
    /// [`Limits::stall_timeout`] in milliseconds.
    pub(super) fn stall_limit(&self) -> u64 {
        millis(self.stall_timeout)
    }

    /// Bounds that the MQTT session of a device enforces.
    pub(super) fn session(&self) -> holdfast_mqtt::Limits {
        holdfast_mqtt::Limits {
            max_packet: self.max_packet,
            inbound_in_flight: self.inbound_in_flight.max(1),
            inbound_bytes: self.inbound_bytes,
            outbound_in_flight: self.outbound_in_flight.max(1),
            outbound_queue: self.outbound_queue,
            topic_aliases: DOWN_CHANNELS,
            connect_timeout: millis(self.connect_timeout),
            partial_timeout: millis(self.partial_packet_timeout),
            max_keep_alive: self.max_keep_alive,
            lenient: false,
        }
    }

    /// Bounds that the MQTT session of a reader enforces: readers send little and take much.
    pub(super) fn reader_session(&self) -> holdfast_mqtt::Limits {
        holdfast_mqtt::Limits {
            max_packet: READER_PACKET.min(self.max_packet),
            inbound_in_flight: 1,
            inbound_bytes: READER_PACKET,
            outbound_in_flight: READER_WINDOW,
            topic_aliases: 0,
            ..self.session()
        }
    }
}
