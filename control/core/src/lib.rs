//! Decisions of the control plane as plain values: no I/O, no clock, no async runtime, no logging.
//!
//! See decision 0134.

pub mod absence;
pub mod activity;
pub mod admission;
pub mod alarms;
pub mod answering;
pub mod apply;
pub mod attention;
pub mod change;
pub mod crowd;
pub mod desired;
pub mod device_topics;
pub mod enrolment;
pub mod explain;
pub mod exposition;
pub mod fleet;
pub mod groups;
pub mod ingest;
pub mod jobs;
pub mod kinds;
pub mod ledger;
pub mod ledger_page;
pub mod lineage;
pub mod listing;
pub mod liveness;
pub mod model;
pub mod notification;
pub mod pause;
pub mod placement;
pub mod policies;
pub mod query;
pub mod records;
pub mod retry;
pub mod revisions;
pub mod room;
pub mod scope;
pub mod session;
pub mod shipping;
pub mod state;
pub mod throttle;
pub mod timeline;
pub mod trend;
pub mod values;
pub mod view;
