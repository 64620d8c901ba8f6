//! Health checks of workloads.

use serde::{Deserialize, Serialize};

/// Health check of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Probe that is carried out each time.
    pub probe: Probe,
    /// Time after the start, in milliseconds, within which failures do not count.
    pub start_period_ms: u64,
    /// Wait from the end of a probe to the next one, in milliseconds.
    pub interval_ms: u64,
    /// Time in milliseconds after which an unfinished probe counts as failed.
    pub timeout_ms: u64,
    /// Number of failures in a row after which the workload is unhealthy and restarted.
    pub failures: u32,
}

/// Single test of a workload's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// Succeeds if an HTTP `GET` returns a status of 200 to 399.
    Http {
        /// Host name or address; None: 127.0.0.1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// TCP port, from 1.
        port: u16,
        /// Path with query, beginning with `/`.
        path: String,
    },
    /// Succeeds if a TCP connection can be opened.
    Tcp {
        /// Host name or address; None: 127.0.0.1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// TCP port, from 1.
        port: u16,
    },
    /// Succeeds if a command, run in the workload's folder and as its user, ends with code 0.
    Exec {
        /// Program and its arguments.
        command: Vec<String>,
    },
    /// Succeeds if the probe of each container of the group that has one succeeds.
    Members,
}
