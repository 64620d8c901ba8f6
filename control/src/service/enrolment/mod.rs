//! Enrolment and renewal of devices.
//!
//! See decisions 0083 and 0084.

mod enrolling;
mod part;
mod tokens;

pub use part::Enrolment;
pub(super) use part::Terms;
