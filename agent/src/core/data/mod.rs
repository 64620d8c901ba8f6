//! Decisions about streams of records.

pub mod reduce;
