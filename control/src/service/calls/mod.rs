//! Calls to devices that wait for a reply: logs, questions, and fetches of records.
//!
//! See decisions 0006, 0106 and 0127.

mod answers;
mod logs;
mod looked_at;
mod looking;
mod part;
mod pending;
mod query;
mod questions;

pub(super) use answers::{NoAnswer, NotNow};
pub use logs::{LogEnd, LogStream};
pub use part::Calls;
pub use pending::{Cut, Part, Piece};
pub use query::Asking;
