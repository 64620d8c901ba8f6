//! People: local users with their passwords and second factors, logins by identity providers, and
//! everybody's sessions.
//!
//! See decisions 0158 and 0165.

mod device_login;
mod hashing;
mod known;
mod login;
mod own;
mod part;
mod provider_http;
mod provider_login;
mod sealed;
mod sessions;
mod users;
mod waiting;

pub(in crate::service) use known::Providers;
pub use part::People;
pub use provider_http::{ProviderAnswer, ProviderAsk, ProviderHttp};
pub use provider_login::{BegunLogin, Callback, ProviderLogin};
pub(in crate::service) use sealed::{ClientSecrets, SecondFactors};
