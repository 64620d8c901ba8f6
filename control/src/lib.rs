//! Holdfast's control plane and its command line.
//!
//! `core/` decides (values only), `service/` drives, `adapters/` do (store, authority, gateway,
//! http), `cli/` is a client of the HTTPS API.

pub mod adapters;
pub mod config;
mod folder;
pub mod serve;
pub mod service;

pub use holdfast_api as api;
pub use holdfast_control_core as core;
pub use holdfast_control_ports as ports;
