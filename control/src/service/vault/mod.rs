//! The vault: seals secrets before a change is planned, and opens them for devices and receivers.
//! Nothing else of the service sees a plain value.
//!
//! See decision 0163.

mod deliver;
mod part;
mod receivers;
mod rows;
mod sealing;

pub(in crate::service) use part::Vault;
pub(in crate::service) use rows::VaultRows;
