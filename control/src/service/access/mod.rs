//! Who may reach the control plane: access tokens, logins, and open streams of each token.
//!
//! See decisions 0026 and 0097.

mod part;
mod sessions;
mod tokens;
mod watching;
mod who;

pub use part::Access;
pub use sessions::Client;
pub(in crate::service) use sessions::{caller_of, end, end_but};
pub use watching::Watch;
