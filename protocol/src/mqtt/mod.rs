//! The MQTT server side of one connection, without I/O: bytes in, events and bytes out.
//!
//! Versions 3.1.1 and 5, QoS 0 and 1 in, at most 1 out, no session that outlives its
//! connection. It serves the gateway (one device a connection, its topics fixed) and the agent's
//! local bus; who may do what is a [`Policy`]. Packets are taken apart by `mqtt-protocol-core`'s
//! packet types, which accept several things that the standard forbids: what they let through
//! is checked here.
//!
//! It must never panic, whatever the bytes are, and never hold more than [`Limits`] allow.
//!
//! ```text
//!                 CONNECT refused, or not a CONNECT
//!            ┌──────────────────────────────────────────┐
//!  ┌─────────┴──┐  CONNECT accepted   ┌───────────┐     ▼
//!  │ Connecting │ ──────────────────► │ Connected │ ──► Ended ── output flushed ──► close
//!  └────────────┘                     └───────────┘ DISCONNECT, fault, silence, close()
//! ```

mod connect;
mod encode;
mod filter;
mod frame;
mod outbound;
mod packet;
mod policy;
mod reason;
mod session;
mod subscriptions;

#[cfg(test)]
mod tests;

pub use filter::{is_filter, is_topic_name, matches};
pub use outbound::{Message, NotTaken, Origin, Retain};
pub use policy::{Client, DeviceTopics, Policy};
pub use reason::{Code, Ending, Fault};
pub use session::{Event, Session, Will};

/// Version of MQTT that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1.
    V311,
    /// 5.0.
    V5,
}

/// What a session lets its client take. Times in milliseconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest packet from the client; announced to v5 clients.
    pub max_packet: usize,
    /// Publishes not yet acknowledged by the host; announced to v5 clients as Receive Maximum.
    pub inbound_in_flight: u16,
    /// Bytes of such publishes, after which no more are parsed (one more is always taken).
    pub inbound_bytes: usize,
    /// Publishes to the client that it has not acknowledged.
    pub outbound_in_flight: u16,
    /// Messages that wait for the client.
    pub outbound_queue: usize,
    /// From the session's start to a whole CONNECT.
    pub connect_timeout: u64,
    /// A begun packet must grow within this.
    pub partial_timeout: u64,
    /// Longest keep-alive in seconds, also for who asks for none.
    pub max_keep_alive: u16,
}
