//! Other registries: images are copied from them into the store of artifacts.
//!
//! See decision 0174.

mod challenge;
mod client;
mod copy;
mod error;
mod layer;

pub use copy::{Copying, copy};
pub use error::NotCopied;
