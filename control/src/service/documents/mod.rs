//! The documents of all tenants in memory, and how they change: one change at a time under one
//! lock, queued for the store in the same order, told once it is durable.
//!
//! Every other part of the service stands on this one. It knows none of them.
//!
//! See decisions 0018 and 0155.

mod changing;
mod due;
mod events;
mod jobs;
mod lease;
mod log;
mod moments;
mod part;
mod per_tenant;
mod renewing;
mod requests;
mod state;
mod storing;
mod writer;

pub use events::{Events, EventsRead, Page};
pub(super) use jobs::Jobs;
pub use lease::Uptime;
pub(super) use log::{PART, told};
pub use part::Documents;
pub(super) use part::load;
pub(super) use per_tenant::PerTenant;
pub(super) use renewing::Renewing;
pub(super) use writer::run as write;
