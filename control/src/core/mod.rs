//! The control plane's decisions, as values: no I/O, no clock, no async.

pub mod admission;
pub mod attention;
pub mod enrolment;
pub mod explain;
pub mod exposition;
pub mod fleet;
pub mod ingest;
pub mod ledger;
pub mod lineage;
pub mod listing;
pub mod liveness;
pub mod model;
pub mod placement;
pub mod query;
pub mod records;
pub mod room;
pub mod selector;
pub mod session;
pub mod shipping;
pub mod throttle;
pub mod time;
pub mod values;
pub mod view;
