//! Ports of the control plane: what its service asks of the outside, as traits that adapters
//! implement and tests fake. `bus` leads to the devices, `artifacts` knows the files that they fetch, `store` keeps documents and leases,
//! `data_store` keeps data records; `rows` holds the values that both a store and a decision of the
//! core know.
//!
//! Imports no core and no adapter. The core may use the values of this crate and never calls a
//! port.
//!
//! See decision 0135.

pub mod artifacts;
pub mod bus;
pub mod data_store;
pub mod rows;
pub mod store;
