//! People: local users, their passwords and second factors, and everybody's sessions.
//!
//! See decision 0158.

mod hashing;
mod login;
mod own;
mod part;
mod sealed;
mod sessions;
mod users;

pub use part::People;
pub(in crate::service) use sealed::SecondFactors;
