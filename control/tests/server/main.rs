//! Tests of the control plane's service and API without sockets: on a real store in a scratch
//! folder, with a bus that remembers the calls to it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test fails loudly where it stands, and deals in files and clocks by trade"
)]

mod absence;
mod alarms;
mod api;
mod audit;
mod copies;
mod data;
mod durability;
mod enrolment;
mod events;
mod fairness;
mod fleet;
mod groups;
mod guards;
mod images;
mod jobs;
mod kept;
mod listing;
mod lists;
mod master_key;
mod matrix;
mod metrics;
mod outs;
mod pages;
mod parameters;
mod people;
mod ping;
mod policies;
mod providers;
mod query;
mod restore;
mod roles;
mod secrets;
mod session;
mod short;
mod tenancy;
mod tenants;
mod timeline;
mod volumes;
mod world;
