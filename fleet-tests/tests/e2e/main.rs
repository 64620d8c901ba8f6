//! End-to-end tests on real binaries: both programs, real sockets, `kill -9`, cut links.
//!
//! One module per theme. Tests run in parallel, each with a control plane, addresses and folders of
//! its own; every process that a test started ends with it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "a test fails loudly where it stands, and deals in processes, files and clocks by trade"
)]

mod adversity;
mod agent;
mod arm;
mod artifacts;
mod audit;
mod brokers;
mod command_line;
mod copies;
mod crash_points;
mod data;
mod data_chaos;
mod data_intake;
mod data_keeping;
mod data_link;
mod data_policies;
mod data_query;
mod data_trouble;
mod deltas;
mod features;
mod hostile;
mod jobs;
mod launching;
mod lifecycle;
mod logins;
mod main_job;
mod neighbours;
mod outage;
mod plane_crash;
mod plane_data;
mod plane_trouble;
mod restore;
mod sealed;
mod searched;
mod trust;
mod upgrade;
mod windows;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fleet_tests::harness::{eventually, processes};

/// Returns seconds to sleep that no other process on this machine has as its argument, so that
/// copies of a workload can be counted by it.
pub(crate) fn marker() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("86400.{}{:04}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Returns a workload that sleeps, on devices with `role: <role>`.
pub(crate) fn sleeper(name: &str, role: &str, marker: &str) -> String {
    format!(
        "apiVersion: holdfast/v1\n\
         kind: Workload\n\
         metadata: {{ name: {name} }}\n\
         spec:\n\
         \x20 devices: {{ matchLabels: {{ role: {role} }} }}\n\
         \x20 run: {{ process: {{ path: /bin/sleep, args: [\"{marker}\"] }} }}\n\
         \x20 restart: {{ policy: always, backoff: {{ initial: 100ms, max: 1s }} }}\n\
         \x20 stop: {{ grace: 1s }}\n"
    )
}

/// Returns a workload that runs a shell script, on devices with `role: <role>`; `more` are lines of
/// `spec`, indented by two.
pub(crate) fn script(name: &str, role: &str, script: &str, more: &str) -> String {
    let script = serde_json::to_string(script).unwrap();
    format!(
        "apiVersion: holdfast/v1\n\
         kind: Workload\n\
         metadata: {{ name: {name} }}\n\
         spec:\n\
         \x20 devices: {{ matchLabels: {{ role: {role} }} }}\n\
         \x20 run: {{ process: {{ path: /bin/sh, args: [\"-c\", {script}] }} }}\n{more}"
    )
}

/// Restart policy for tests that do not want to wait.
pub(crate) const QUICK: &str = "  restart: { policy: always, backoff: { initial: 100ms, max: 500ms } }\n  stop: { grace: 1s }\n";

/// Waits until exactly `count` processes have this argument, and returns their ids.
pub(crate) fn await_copies(marker: &str, count: usize) -> Vec<u32> {
    eventually(Duration::from_secs(60), &format!("{count} processes with {marker}"), || {
        let found = processes::with_argument(marker);
        if found.len() == count { Ok(found) } else { Err(format!("processes {found:?}")) }
    })
}

/// Asserts that a text contains all these parts, ignoring case.
pub(crate) fn assert_says(text: &str, parts: &[&str]) {
    let lower = text.to_lowercase();
    for part in parts {
        assert!(lower.contains(&part.to_lowercase()), "{part:?} is not said in: {text}");
    }
}
