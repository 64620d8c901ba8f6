//! Holdfast's control plane and its command line.
//!
//! `core/` decides (values only), `service/` drives, `adapters/` do (store, authority, gateway,
//! http), `cli/` is a client of the HTTPS API.

pub mod adapters;
pub mod config;
pub mod data_store;
mod folder;
pub mod ports;
pub mod serve;
pub mod service;
pub mod store;

pub use holdfast_api as api;
pub use holdfast_control_core as core;
