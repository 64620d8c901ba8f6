//! The vault: seals secrets before a change is planned, and opens them for devices and receivers.
//! Nothing else of the service sees a plain value.
//!
//! See decision NEW-secrets-are-resolved-for-each-device.

mod deliver;
mod part;
mod receivers;
mod rows;
mod sealing;

pub(in crate::service) use part::Vault;
pub(in crate::service) use rows::VaultRows;
