//! The agent's decisions, as values: no I/O, no clock, no async. Time is an argument, in
//! milliseconds of a monotonic clock; effects are data that the driver carries out, and their
//! results return as the next observation.
//!
//! See decision 0134.

pub mod acceptance;
pub mod agent;
pub mod backoff;
pub mod bodies;
pub mod bus;
pub mod caller;
pub mod certificate;
pub mod clock;
pub mod container;
pub mod data;
pub mod disk;
pub mod dns;
pub mod effect;
pub mod follow;
pub mod heartbeat;
pub mod history;
mod lifecycle;
pub mod lineage;
pub mod log_poll;
pub mod mdns;
pub mod mqtt311;
pub mod need;
pub mod negotiation;
pub mod neighbours;
pub mod peer;
pub mod process;
pub mod progress;
pub mod renewal;
pub mod report;
pub mod restart;
pub mod runtime;
pub mod saved;
pub mod secrets;
mod unidentified;
pub mod version;
pub mod window;
pub mod witness;
pub mod zone;
