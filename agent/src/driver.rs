//! The driver: the loop (`run.rs`) and the parts that it gives each input to. A part owns its state
//! and its way back to the loop, and sees another part only as an argument.
//!
//! See decisions 0145 and 0156.
#![allow(
    clippy::disallowed_methods,
    reason = "the driver spawns what it awaits, and reads the files of its data folder"
)]

mod data;
mod data_report;
mod desired;
mod folder;
mod host;
mod identity;
mod inputs;
mod intake;
mod link;
mod link_use;
mod logs;
mod problems;
mod rates;
mod reports;
mod restarts;
mod run;
mod sources;
mod start;
mod status;
mod witness;
mod workloads;

pub use run::Driver;
pub use start::StartError;
