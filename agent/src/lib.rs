//! Holdfast's agent: runs the workloads of its device, through every outage.
//!
//! `core/` decides (values only), `driver` loops, `runtimes/` run workloads, `adapters/` act on and
//! observe the rest. The program is
//! `main.rs`; this library exists so that `fleet-tests` can drive the real core.

pub mod adapters;
pub mod cli;
pub mod config;
pub mod driver;
pub mod runtimes;

pub use holdfast_agent_core as core;
