//! What touches the outside: sockets, disks, clocks.

pub mod artifacts;
pub mod authority;
pub mod clock;
pub mod data_store;
pub mod gateway;
pub mod http;
pub mod parquet;
pub mod store;
