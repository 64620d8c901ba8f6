//! Control plane of Holdfast and its command line.
//!
//! `core/` decides (values only), `service/` drives, `adapters/` act on the outside (store,
//! certificate authority, gateway, HTTP), and `cli/` is a client of the HTTPS API.

pub mod adapters;
pub mod config;
mod folder;
pub mod serve;
pub mod service;

pub use holdfast_api as api;
pub use holdfast_control_core as core;
pub use holdfast_control_ports as ports;

/// Name and version of this program, as backups and data folders have it.
pub(crate) const PROGRAM: &str = concat!("holdfast ", env!("CARGO_PKG_VERSION"));
