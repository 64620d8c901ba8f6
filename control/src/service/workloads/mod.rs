//! What devices should run and do: workloads and policies are applied, read and deleted, and
//! operators act on workloads.
//!
//! See decision 0155.

mod apply;
mod artifacts;
mod client_secrets;
mod images;
mod jobs;
mod part;
mod policies;
mod read;
mod secrets;
mod transfers;
mod volumes;

pub(super) use artifacts::used as artifact_bytes;
pub use images::{Credentials, ImageDocument};
pub use jobs::Restarting;
pub use part::Workloads;
