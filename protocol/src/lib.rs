//! Wire protocol between Holdfast's agent and control plane: messages, topics, signing, the documents
//! of enrolment, and what bytes cost on a link. `PROTOCOL.md` and `holdfast.cddl` beside this crate
//! describe the same for someone who writes an agent in another language.
//!
//! Below it stand `holdfast-base` (identifiers, codec), `holdfast-records` (data streams) and
//! `holdfast-query` (questions to streams). None of them has an async runtime, a clock, randomness
//! or file access, and none may ever panic on what comes off the network.
//!
//! See decision 0134.

mod absent;
pub mod artifact;
pub mod checkpoint;
pub mod container;
pub mod cost;
pub mod enrol;
pub mod health;
pub mod message;
pub mod neighbours;
pub mod problem;
pub mod sealing;
pub mod signing;
pub mod topic;
pub mod volume;
mod wire;
pub mod workload;
