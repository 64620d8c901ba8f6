//! Host of one MQTT connection: the task that moves bytes between a [`Transport`] and a
//! [`Session`](holdfast_mqtt::Session), with one timer, the detection of a peer that takes no
//! output, and an orderly close.
//!
//! What the events mean, and what is sent, is the business of a [`Side`]: a device at the gateway, a
//! reader of data at the gateway, or a client of the agent's local bus. The host knows no topics,
//! logs nothing and counts nothing.
//!
//! It must never hold memory for a connection that is idle, nor let one peer keep the thread: reads
//! go through one buffer of the thread, and a poll has a bounded number of turns.
//!
//! ```text
//!            ┌───────────────── a turn, at most `Side::TURNS_A_POLL` in one poll ────────────────┐
//!            │ inbox ─► events ─► offer ─► events ─► write ─┬─ all written: events ─► offer ─► … │
//!            │   ▲                                          ├─ nothing taken too long: stalled   │
//!            │   └──────────── read ◄───────────────────────┘                                    │
//!            └───────────────────────────────────────────────────────────────────────────────────┘
//!  session ended: last output, shutdown, and what the peer still sends is dropped until it closes
//! ```
//!
//! See decision 0154.

mod host;
mod side;
mod transport;

#[cfg(test)]
mod tests;

pub use host::Host;
pub use side::{HalfClose, Side};
pub use transport::Transport;
