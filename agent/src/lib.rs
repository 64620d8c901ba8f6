//! Holdfast's agent: runs what its device should run, through every outage.
//!
//! `core/` decides (values only), `driver` loops, `adapters/` do and report. The binary is
//! `main.rs`; this library exists so that `fleet-tests` can drive the real core.

pub mod adapters;
pub mod cli;
pub mod config;
pub mod driver;

pub use holdfast_agent_core as core;
