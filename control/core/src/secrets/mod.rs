//! Secrets and configurations as values: their content ([`value`]), what of them a workload refers
//! to ([`references`]), and texts with `${…}` in them ([`template`]). Which device gets what of
//! them is decided in `desired/sealing.rs`. No plain secret is in the model: the service seals each
//! before a change is planned.
//!
//! See decision 0163.

pub mod generate;
pub mod place;
pub mod references;
pub mod template;
pub mod value;
