//! The agent's decisions, as values: no I/O, no clock, no async. Time is an argument, in
//! milliseconds of a clock that only rises; effects are data that the driver carries out, and
//! what came of them returns as the next observation.
//! See decision 0134.

pub mod agent;
pub mod backoff;
pub mod bus;
pub mod certificate;
pub mod clock;
pub mod data;
pub mod dns;
pub mod effect;
pub mod flow;
pub mod follow;
mod held;
pub mod history;
mod lifecycle;
pub mod lineage;
pub mod pulse;
pub mod record;
pub mod records;
pub mod report;
pub mod session;
