//! The driver of alarms: shows the engine every device's state every few seconds, stores what it
//! decides, and delivers messages, one attempt at a time for each receiver. Messages are delivered
//! also while the disk takes no writes.
//!
//! See decisions 0118 and 0120.

mod notifications;
mod notifier;
mod part;
mod read;
mod silences;
mod task;

pub use notifier::{Delivery, Notifier};
pub use part::Alarms;
pub(super) use part::put;
pub use read::{AlarmCounts, AlarmsQuery};
pub use task::run;
