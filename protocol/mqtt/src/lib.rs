//! The MQTT server side of one connection, without I/O: bytes in, events and bytes out.
//!
//! Versions 3.1.1 and 5, at most QoS 1 out, no session that outlives its connection. It serves
//! the gateway (one device a connection, its topics fixed, QoS 0 and 1 in) and the agent's local
//! bus ([`Limits::lenient`]: any MQTT client, QoS 0 to 2 in); who may do what is a [`Policy`]. Packets are taken apart by `mqtt-protocol-core`'s
//! packet types, which accept several things that the standard forbids: what they let through
//! is checked here.
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
//! An ending session parses nothing more and still takes the host's answers: a client that is not
//! told of a publish that is stored sends it again after the next CONNECT.

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
    /// Publishes not yet answered by the host, after which no more are parsed. Unless
    /// [`Limits::lenient`], announced to v5 clients as Receive Maximum.
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
    /// Serves clients of every make, as brokers do: QoS 2 in, no Receive Maximum announced, and a
    /// publish that can never be taken is dropped and answered instead of ending the connection.
    pub lenient: bool,
}
