//! Wire protocol between Holdfast's agent and control plane.
//!
//! Identifiers, messages, the CBOR codec and its size limits, topics, signing and the enrolment
//! documents; and the words in which both programs tell people of times and amounts. `PROTOCOL.md`
//! and `holdfast.cddl` beside this crate describe the same for someone who writes an agent in
//! another language.
//!
//! Both programs stand on this crate: it has no async runtime, no clock, no randomness and no file
//! access. It must never panic on what comes off the network.

pub mod cost;
pub mod enrol;
pub mod message;
pub mod signing;
pub mod topic;
mod wire;
pub mod workload;
