//! Adapters: everything that the agent does to the outside and sees of it, but for the runtimes.
#![allow(
    clippy::disallowed_methods,
    reason = "adapters read clocks, files and the environment, and start processes and tasks, so that nothing else has to"
)]

pub mod access;
pub mod artifacts;
pub mod buffer;
pub mod bus;
pub mod calls;
pub mod clock;
pub mod crash;
pub mod data_socket;
pub mod files;
pub mod format;
pub mod https;
pub mod identity;
pub mod intake;
#[cfg(test)]
mod intake_fake;
pub mod link;
pub mod lock;
pub mod log_lines;
pub mod log_watch;
pub mod logs;
pub mod machine;
pub mod meter;
pub mod mqtt311;
pub mod neighbours;
pub mod notify;
pub mod resolve;
pub mod room;
pub mod sealing;
pub mod status;
pub mod store;
pub mod tasks;
pub mod tls;
pub mod wire;
