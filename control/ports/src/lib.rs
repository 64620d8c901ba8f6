//! Ports of the control plane: what its service asks of the outside, as traits that adapters
//! implement and tests fake. `bus` leads to the devices, `artifacts` knows the files that they
//! fetch, `authority` certifies them and signs, `keyring` seals what lies in the store, `passwords` hashes, `store` keeps
//! documents and leases, `data_store` keeps data records.
//!
//! Imports no core and no adapter. The values that a port and a decision of the core share stand in
//! a crate below both, which is `rows` here.
//!
//! See decision 0135.

pub mod artifacts;
pub mod authority;
pub mod bus;
pub mod data_store;
pub mod keyring;
pub mod passwords;
pub mod store;

pub use holdfast_control_rows as rows;
