//! Tests of Holdfast from outside: the harness for end-to-end tests on real binaries, the
//! deterministic world, a fake runtime, the fleet simulator, the demo, and the instruments of the benchmarks.
//!
//! Nothing uses this crate. It may use all the others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    clippy::let_underscore_must_use,
    reason = "a test tool fails loudly where it stands, and deals in processes, files and clocks by trade"
)]

pub mod bench;
pub mod demo;
pub mod fake;
pub mod fake_engine;
pub mod harness;
pub mod manuals;
pub mod sim;
pub mod stores;
pub mod telemetry;
pub mod world;
