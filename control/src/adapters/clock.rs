//! Clock of the operating system.
#![allow(clippy::disallowed_methods, reason = "this is where the clock is read")]

use std::time::{SystemTime, UNIX_EPOCH};

/// Present time, in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
