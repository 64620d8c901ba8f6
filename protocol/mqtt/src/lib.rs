//! Server side of one MQTT connection, without I/O: bytes in, events and bytes out.
//!
//! Versions 3.1.1 and 5, at most QoS 1 to the client, no session that outlives its connection. It
//! serves the gateway (one device per connection, its topics fixed, QoS 0 and 1 from the client)
//! and the agent's local bus ([`Limits::lenient`]: any MQTT client, QoS 0 to 2); a [`Policy`]
//! decides what a client may do. Packets are parsed by `mqtt-protocol-core`'s packet types, which
//! accept several things that the standard forbids; these are refused here.
//!
//! It must never panic, whatever the bytes are, and never hold more than [`Limits`] allow.
//!
//! ```text
//!                 CONNECT refused, or not a CONNECT
//!            ┌─────────────────────────────────────────────────────────┐
//!  ┌─────────┴──┐  CONNECT accepted   ┌───────────┐     ┌────────┐     ▼
//!  │ Connecting │ ──────────────────► │ Connected │ ──► │ Ending │ ──► Ended ── output flushed ──► close
//!  └────────────┘                     └───────────┘     └────────┘ all answered, or too late
//!                       DISCONNECT, fault, silence, close()
//! ```
//!
//! An ending session parses nothing more, but still sends the host's answers: a client that is not
//! told that its publish was stored sends it again after the next CONNECT.

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
pub use policy::{Client, Policy};
pub use reason::{Code, Ending, Fault};
pub use session::{Answer, Event, Session, Will};

/// Version of MQTT that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5.0, protocol level 5.
    V5,
}

/// Bounds on what a client may use. Times in milliseconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest packet from the client in bytes; announced to v5 clients.
    pub max_packet: usize,
    /// Number of publishes not yet answered by the host at which parsing stops. Announced to v5
    /// clients as Receive Maximum, unless [`Limits::lenient`].
    pub inbound_in_flight: u16,
    /// Bytes of such publishes at which parsing stops; one publish more is always accepted.
    pub inbound_bytes: usize,
    /// Most publishes to the client that it has not acknowledged.
    pub outbound_in_flight: u16,
    /// Most messages that wait for the client.
    pub outbound_queue: usize,
    /// Most topics that are sent to a v5 client by a number after their first message, if it
    /// accepts that; each is kept as long as the connection.
    pub topic_aliases: u16,
    /// Time from the session's start to a complete CONNECT, in milliseconds.
    pub connect_timeout: u64,
    /// Time within which an incomplete packet must grow, in milliseconds.
    pub partial_timeout: u64,
    /// Longest keep-alive in seconds, also for a client that asks for none.
    pub max_keep_alive: u16,
    /// True: serves clients of every make, as brokers do. QoS 2 is accepted, no Receive Maximum is
    /// announced, and a publish that can never be accepted is dropped and answered instead of
    /// ending the connection.
    pub lenient: bool,
}
