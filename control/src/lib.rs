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
