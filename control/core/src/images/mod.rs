//! Images of a tenant: what each is, which tags name it, and what an operator's reference means.
//!
//! See decision 0174.

mod changing;
mod known;
mod resolve;
mod shown;

#[cfg(test)]
mod tests;

pub use changing::{Deleted, Pushed, Refusal, delete, push, tag};
pub use known::{Held, ImageRecord, Images, KnownImage, MAX_SOURCES, RepositoryRecord};
pub use resolve::NotResolved;
pub use shown::{list, list_key, one};
