//! Wire protocol between Holdfast's agent and control plane.
//!
//! Identifiers, messages, the CBOR codec and its size limits, topics, signing and the enrolment
//! documents; and the words in which both programs tell people of times and amounts. `PROTOCOL.md`
//! and `holdfast.cddl` beside this crate describe the same for someone who writes an agent in
//! another language.
//!
//! Both programs stand on this crate: it has no async runtime, no clock, no randomness and no file
//! access. It must never panic on what comes off the network.

pub mod codec;
pub mod cost;
pub mod data;
pub mod enrol;
pub mod ids;
pub mod message;
#[cfg(feature = "mqtt-server")]
pub mod mqtt;
pub mod signing;
pub mod topic;
mod wire;
pub mod words;
pub mod workload;

/// Version of the wire that this crate speaks: the `v` field of every message. Fields may be added
/// within a version (readers ignore unknown ones); any other change raises it.
pub const WIRE_VERSION: u8 = 1;
