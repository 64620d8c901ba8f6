//! Harness for tests on real binaries, real sockets and `kill -9`: starts control planes and
//! devices, cuts their links, and observes what they report and what `/proc` shows.
//!
//! Every process that it starts ends with it, workloads included, by process id.

mod binaries;
mod broker;
mod cli;
mod device;
mod disk;
pub mod engine;
mod eventually;
mod http;
pub mod image;
mod link;
mod loner;
mod plane;
pub mod processes;
pub mod publisher;
mod scratch;

pub use binaries::{Binaries, target_dir};
pub use broker::{EvilBroker, Flaw};
pub use cli::{Cli, Outcome};
pub use device::Device;
pub use disk::SmallDisk;
pub use eventually::{DEADLINE, eventually, holds_for, keep_log};
pub use http::{Answer, Https};
pub use link::Link;
pub use loner::Loner;
pub use plane::{Options, Plane, Secrets};
pub use scratch::{Scratch, loopback};
