//! Tenants: made, listed with the use of their quotas, and deleted. All of it belongs to admins of
//! the tenant that the control plane began with; any other tenant sees itself alone.
//!
//! See decision 0168.

mod ending;
mod making;
mod part;
mod using;

pub use part::Tenancy;
