//! Simulated devices: identities enrolled like any other, and MQTT clients so small that one
//! process holds thousands. For benchmarks, and for behaviour that a real agent would never show.

pub mod enrolling;
pub mod fleet;
pub mod identity;
pub mod packets;
pub mod raw;
pub mod seed;

pub use fleet::{Fleet, Stats};
pub use identity::Identity;
pub use raw::Raw;
