//! Probes over the network, which are the same for all runtimes, and what a probe can fail of.
//!
//! See decision 0072.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::adapters::resolve::{self, Unresolved};

/// Most bytes read of an HTTP response: only its status line counts.
const MAX_STATUS_LINE: u64 = 256;

/// Reasons why a probe does not find a workload healthy.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    /// The probe took longer than its timeout.
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// The command took longer than its timeout; the last line of its output may be empty.
    #[error("no answer within {} ms{}{line}", .within.as_millis(), colon(.line))]
    LateCommand {
        /// Timeout of the probe.
        within: Duration,
        /// Last line of the output.
        line: String,
    },
    /// The host has no address that could be tried.
    #[error(transparent)]
    Address(#[from] Unresolved),
    /// No address of the host lets the probe connect, or the connection broke.
    #[error("{shown}: {source}")]
    Connection {
        /// Host and port.
        shown: String,
        /// Error of the system.
        source: std::io::Error,
    },
    /// The probe asks containers of a group, and the workload is none.
    #[error("its probe is that of a group of containers")]
    OfGroups,
    /// The host's name resolves to nothing.
    #[error("{0}: no address")]
    NoAddress(String),
    /// The HTTP server answered with a status that is no success.
    #[error("GET {path} answered {status}")]
    Status {
        /// Path that was asked for.
        path: String,
        /// Status of the response.
        status: u16,
    },
    /// The response is not HTTP.
    #[error("GET {0}: not an HTTP answer")]
    NotHttp(String),
    /// The command, or what runs it, says what is wrong.
    #[error("{0}")]
    Said(String),
    /// The command could not be run by its runtime.
    #[error(transparent)]
    Runtime(Box<dyn std::error::Error + Send + Sync>),
}

fn colon(line: &str) -> &'static str {
    if line.is_empty() { "" } else { ": " }
}

/// Connects to a port within a time.
pub(super) async fn tcp(
    host: Option<String>,
    port: u16,
    within: Duration,
) -> Result<(), ProbeError> {
    let connected = tokio::time::timeout(within, connect(host, port)).await;
    connected.map_err(|_| ProbeError::Late(within))?.map(drop)
}

/// Asks an HTTP server for a path within a time.
pub(super) async fn http(
    host: Option<String>,
    port: u16,
    path: String,
    within: Duration,
) -> Result<(), ProbeError> {
    let got = tokio::time::timeout(within, get(host, port, path)).await;
    got.map_err(|_| ProbeError::Late(within))?
}

async fn connect(host: Option<String>, port: u16) -> Result<TcpStream, ProbeError> {
    let host = host.unwrap_or_else(|| "127.0.0.1".into());
    let shown = format!("{host}:{port}");
    let addresses = resolve::addresses(&host, port).await?;
    let mut last = ProbeError::NoAddress(shown.clone());
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(source) => last = ProbeError::Connection { shown: shown.clone(), source },
        }
    }
    Err(last)
}

async fn get(host: Option<String>, port: u16, path: String) -> Result<(), ProbeError> {
    let shown = host.clone().unwrap_or_else(|| "127.0.0.1".into());
    let mut stream = connect(host, port).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {shown}:{port}\r\nUser-Agent: holdfast-agent\r\nConnection: close\r\n\r\n"
    );
    let failed = |source| ProbeError::Connection { shown: format!("{shown}:{port}"), source };
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut line = Vec::new();
    let mut stream = stream.take(MAX_STATUS_LINE);
    while !line.contains(&b'\n') {
        if stream.read_buf(&mut line).await.map_err(failed)? == 0 {
            break;
        }
    }
    let line = String::from_utf8_lossy(&line);
    let status = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.get(..3))
        .and_then(|code| code.parse::<u16>().ok());
    match status {
        Some(200..=399) => Ok(()),
        Some(status) => Err(ProbeError::Status { path, status }),
        None => Err(ProbeError::NotHttp(path)),
    }
}
