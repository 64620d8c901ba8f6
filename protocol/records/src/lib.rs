//! Data that stays at the edge: streams of data records, how they are shipped and reported.
//!
//! A workload publishes a data record to a stream; the agent stores it, gives it the next sequence
//! number of that stream, and ships it when its policy, the link and the link budget allow. Records
//! that never arrive stand in the gap ledger with their reason.

pub mod block;
pub mod crc;
pub mod message;
pub mod name;
pub mod policy;
pub mod ranges;
pub mod report;

pub use block::{BlockError, Format, Layout, Record};
pub use message::{Acked, Acknowledgement, Batch, Gap, GapReason, Given};
pub use name::{Pattern, StreamName};
pub use policy::{
    Aggregate, DataPolicies, Interface, LinkBudget, Order, Overflow, Period, Share, Ship, Source,
    StreamPolicy, TrafficClass, Window, narrowest,
};
pub use ranges::{Range, RangeSet};
pub use report::{
    ClassUse, DataReport, Horizon, HorizonCause, LinkUse, NEVER, Storage, StreamReport,
};
