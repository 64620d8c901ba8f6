//! Control plane of Holdfast and its command line.
//!
//! `core/` decides (values only), `service/` drives, `adapters/` act on the outside (store,
//! certificate authority, gateway, HTTP), and `cli/` is a client of the HTTPS API.

pub mod adapters;
pub mod api;
pub mod cli;
pub mod config;
pub mod core;
pub mod data_store;
mod folder;
pub mod ports;
pub mod serve;
pub mod service;
pub mod store;
