//! Deltas between artifacts in the format `HFD1`, and their applier.
//!
//! A delta is made by the control plane (crate `holdfast-delta-maker`) and applied by a device, in
//! memory that its header states and that the device may refuse. What a delta says is never
//! trusted: every count is bounded before anything is allocated, each step of the work writes at
//! least a byte of the result, and the result is worth something only if it has the digest that
//! the *caller* asked for.
//!
//! Without files or a clock of its own: it works on readers and writers that it is given. Model and
//! coder are shared by both directions, so that maker and applier cannot differ. See decision 0172.

pub mod aim;
pub mod apply;
pub mod bytes;
pub mod coder;
pub mod error;
pub mod header;
pub mod layout;
pub mod model;
pub mod numbers;
pub mod old;
pub mod patch;
pub mod references;
pub mod sites;
pub mod steps;
pub mod tables;

#[cfg(test)]
mod tests;

pub use apply::{Limits, apply};
pub use error::DeltaError;
pub use header::{Header, MAGIC, Method};
pub use old::ReadAt;
