//! The devices of each tenant: what people see of them and do to them, and what happened to them.
//!
//! See decision 0155.

mod counts;
mod devices;
mod overview;
mod part;
mod settle;
mod timeline;

pub use counts::Counts;
pub use overview::DevicesQuery;
pub use part::Fleet;
pub use timeline::TimelineQuery;
