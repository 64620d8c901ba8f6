//! Adapters: everything that the agent does to the outside and sees of it.
#![allow(
    clippy::disallowed_methods,
    reason = "adapters read clocks, files and the environment, and start processes and tasks, so that nothing else has to"
)]

pub mod access;
pub mod artifacts;
pub mod buffer;
pub mod bus;
pub mod calls;
pub mod census;
pub mod cgroup;
pub mod clock;
pub mod crash;
pub mod data_socket;
pub mod ending;
pub mod files;
pub mod folder;
pub mod https;
pub mod identity;
pub mod intake;
#[cfg(test)]
mod intake_fake;
pub mod kernel;
pub mod launcher;
pub mod link;
pub mod lock;
pub mod log_watch;
pub mod logs;
pub mod machine;
pub mod meter;
pub mod mqtt311;
pub mod notify;
pub mod probe;
mod probe_supervisor;
pub mod procfs;
mod program;
pub mod resolve;
pub mod runtime;
pub mod status;
pub mod store;
pub mod tls;
mod tree;
pub mod users;
