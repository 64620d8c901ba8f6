//! Probes of a process: over the network, or by a command in its environment.
//!
//! See decision 0072.

use std::sync::Arc;
use std::time::Duration;

use holdfast_protocol::workload::Probe;

use super::Context;
use super::ending;
use super::execution::Plan;
use super::gate::{Started, launch, read_error};
use super::plan::probe_plan;
use crate::runtimes::Probing;
use crate::runtimes::probe::{ProbeError, http, tcp};

/// Longest time for a probe's supervisor to end everything that the probe started.
const ENDING: Duration = Duration::from_secs(5);

/// Runs a probe to its end.
///
/// # Errors
/// The reason why the workload is not healthy.
pub(super) async fn run(context: Arc<Context>, ask: Probing) -> Result<(), ProbeError> {
    let within = Duration::from_millis(ask.timeout_ms);
    match &ask.probe {
        Probe::Tcp { host, port } => tcp(host.clone(), *port, within).await,
        Probe::Http { host, port, path } => http(host.clone(), *port, path.clone(), within).await,
        Probe::Exec { command } => {
            let plan = probe_plan(&context, &ask, command)
                .map_err(|error| ProbeError::Runtime(error.into()))?;
            let shown = command.first().map_or("", String::as_str);
            execute(&context, &plan, shown, within).await
        }
        Probe::Members => Err(ProbeError::OfGroups),
    }
}

/// Runs a command under its supervisor.
async fn execute(
    context: &Context,
    plan: &Plan,
    shown: &str,
    within: Duration,
) -> Result<(), ProbeError> {
    let started = launch(context, plan).await;
    let Started { pid, stdin, mut stdout } =
        started.map_err(|error| ProbeError::Runtime(error.into()))?;
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
        return Err(ProbeError::Said(why.into()));
    }
    let line = match ended.split_at_checked(1) {
        Some(("+", _)) => return Ok(()),
        Some(("-", how)) => return Err(ProbeError::Said(format!("{shown} {how}"))),
        Some((_, line)) => line.to_owned(),
        None => String::new(),
    };
    Err(ProbeError::LateCommand { within, line })
}
