//! Bounds on the time of a delivery, the same for every kind of receiver.

use std::time::Duration;

/// Longest time of one attempt.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Longest time to establish a connection.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
