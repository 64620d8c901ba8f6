//! Makes deltas of the format `HFD1`: aligns two files, codes what differs with the model that the
//! applier has too, keeps the smallest of the methods that fit the device's memory, and applies
//! each before it is offered.
//!
//! Works on bytes that it is given, without files, clock or processes of its own; the control plane
//! runs it in a child process with limits. See decisions 0172 and 0173.

mod align;
mod coarse;
mod encoder;
mod executable;
mod make;

pub use make::{Made, MakeError, make};

#[cfg(test)]
mod tests;
