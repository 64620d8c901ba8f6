//! Images of a tenant: what each is, which tags name it, and what an operator's reference means.
//!
//! See decision 0174.

mod known;
mod resolve;

#[cfg(test)]
mod tests;

pub use known::{Held, ImageRecord, Images, KnownImage, MAX_SOURCES, RepositoryRecord};
pub use resolve::NotResolved;
