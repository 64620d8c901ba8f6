//! Stores in memory, and the tests that every implementation of the control plane's store ports has
//! to pass: tables ([`contract`]) and random interleavings of two holders ([`model`],
//! [`data_model`]).
//!
//! See decision 0136.

pub mod contract;
pub mod data_contract;
pub mod data_model;
mod memory;
mod memory_data;
pub mod model;

pub use memory::MemoryStore;
pub use memory_data::MemoryDataStore;
