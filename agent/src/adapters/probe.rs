//! Probes of a workload: by HTTP, TCP or a command in its environment.
//!
//! See decision 0072.

use std::sync::Arc;
use std::time::Duration;

use holdfast_base::ids::Name;
use holdfast_protocol::workload::{Probe, WorkloadSpec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::ending;
use super::launcher::Plan;
use super::runtime::{RuntimeContext, Started, probe_plan, read_error, start};
use crate::core::saved::Instance;

/// Most bytes read of an HTTP response: only its status line counts.
const MAX_STATUS_LINE: u64 = 256;
/// Longest time for a probe's supervisor to end everything that the probe started.
const ENDING: Duration = Duration::from_secs(5);

/// Runs a probe to its end.
///
/// # Errors
/// The reason as text why the workload is not healthy.
pub async fn run(
    context: Arc<RuntimeContext>,
    name: Name,
    instance: Instance,
    probe: Probe,
    spec: Arc<WorkloadSpec>,
    timeout_ms: u64,
) -> Result<(), String> {
    let within = Duration::from_millis(timeout_ms);
    let late = || format!("no answer within {timeout_ms} ms");
    match probe {
        Probe::Tcp { host, port } => {
            let connected = tokio::time::timeout(within, connect(host, port)).await;
            connected.map_err(|_| late())?.map(drop)
        }
        Probe::Http { host, port, path } => {
            tokio::time::timeout(within, get(host, port, path)).await.map_err(|_| late())?
        }
        Probe::Exec { command } => {
            let plan = probe_plan(&context, &name, &spec, &command, instance.nonce)?;
            let shown = command.first().map_or("", String::as_str);
            execute(&context, &plan, shown, within).await.unwrap_or_else(|line| {
                let colon = if line.is_empty() { "" } else { ": " };
                Err(format!("{}{colon}{line}", late()))
            })
        }
    }
}

/// Runs a command under its supervisor. The outer error is the last line of output of a command
/// that took too long.
async fn execute(
    context: &RuntimeContext,
    plan: &Plan,
    shown: &str,
    within: Duration,
) -> Result<Result<(), String>, String> {
    let Started { pid, stdin, mut stdout } = match start(context, plan).await {
        Ok(started) => started,
        Err(why) => return Ok(Err(why)),
    };
    let mut report = Box::pin(read_error(&mut stdout));
    let mut text = tokio::time::timeout(within, &mut report).await;
    if text.is_err() {
        // Closing the pipe makes the supervisor end all that it started and report the last line.
        drop(stdin);
        text = tokio::time::timeout(ENDING, &mut report).await;
    }
    ending::kill_child(pid);
    ending::child_exit(pid, &context.awaited).await;
    let text = text.unwrap_or_default();
    let (refused, ended) = text.split_once('\0').unwrap_or((&text, "T"));
    if let Some(why) = refused.strip_prefix('E') {
        return Ok(Err(why.into()));
    }
    match ended.split_at_checked(1) {
        Some(("+", _)) => Ok(Ok(())),
        Some(("-", how)) => Ok(Err(format!("{shown} {how}"))),
        Some((_, line)) => Err(line.into()),
        None => Err(String::new()),
    }
}

async fn connect(host: Option<String>, port: u16) -> Result<TcpStream, String> {
    let host = host.unwrap_or_else(|| "127.0.0.1".into());
    let shown = format!("{host}:{port}");
    let addresses = super::resolve::addresses(&host, port).await;
    let addresses = addresses.map_err(|error| error.to_string())?;
    let mut last = format!("{shown}: no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("{shown}: {error}"),
        }
    }
    Err(last)
}

async fn get(host: Option<String>, port: u16, path: String) -> Result<(), String> {
    let shown = host.clone().unwrap_or_else(|| "127.0.0.1".into());
    let mut stream = connect(host, port).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {shown}:{port}\r\nUser-Agent: holdfast-agent\r\nConnection: close\r\n\r\n"
    );
    let failed = |error: std::io::Error| format!("{shown}:{port}: {error}");
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
        Some(status) => Err(format!("GET {path} answered {status}")),
        None => Err(format!("GET {path}: not an HTTP answer")),
    }
}
