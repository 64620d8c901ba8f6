//! Control plane of Holdfast and its command line.
//!
//! `core/` decides (values only), `service/` drives, `adapters/` act on the outside (store,
//! certificate authority, gateway, HTTP), and `cli/` is a client of the HTTPS API.

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
