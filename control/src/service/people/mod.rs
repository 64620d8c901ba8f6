//! People: local users, their passwords and second factors, and everybody's sessions.
//!
//! See decision 0158.

mod hashing;
mod login;
mod own;
mod part;
mod sessions;
mod users;

pub use part::People;
