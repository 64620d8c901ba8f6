//! Starts of launchers by the agent: the pipes to them, and the gate at which they wait.
//!
//! See decision 0002.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use holdfast_base::ids::Name;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::execution::Plan;
use super::launcher;
use super::{Context, ending};
use crate::adapters::tasks;
use crate::core::effect::Observed;
use crate::core::process::ProcessId;
use crate::core::runtime::Handle;
use crate::runtimes::common::procfs;
use crate::runtimes::send;

/// Longest time for a launcher to reach the gate; after that it is killed. A slow SD card under
/// load needs seconds.
const GATE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest error text that is read from a launcher, in bytes.
const MAX_ERROR: u64 = 1024;

/// Reasons why a launcher cannot be started, or does not become the workload.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The command line of the launcher is empty.
    #[error("no launcher")]
    NoLauncher,
    /// The plan cannot be encoded.
    #[error("its plan: {0}")]
    Plan(#[source] serde_cbor::Error),
    /// The system starts no process.
    #[error("its launcher: {0}")]
    Spawn(#[source] io::Error),
    /// The plan does not get to the launcher.
    #[error("its launcher's pipe: {0}")]
    Pipe(#[source] io::Error),
    /// The launcher cannot be examined.
    #[error("its launcher cannot be looked at: {0}")]
    Unseen(#[source] io::Error),
    /// The launcher was gone before it could be examined.
    #[error("its launcher ended at once")]
    EndedAtOnce,
    /// The launcher did not get to its gate in time.
    #[error("its launcher did not get ready in time")]
    Late,
    /// The launcher ended before it was at its gate.
    #[error("its launcher ended before it was ready")]
    EndedEarly,
    /// The launcher is not there any more when its gate is opened.
    #[error("its launcher is gone")]
    Gone,
    /// The launcher's pipes are closed or broken.
    #[error("its launcher is gone: {0}")]
    Broken(#[source] io::Error),
    /// The launcher says why it cannot become the workload.
    #[error("{0}")]
    Said(String),
}

/// Pipes to a launcher that waits at its gate.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) instance: Handle,
    open: pipe::Sender,
    status: pipe::Receiver,
    /// Dropped with the gate, which lets the exit be reported: whether the workload was executed is
    /// reported first, then how it ended.
    _reported: oneshot::Sender<()>,
}

/// A launcher that runs and has its plan.
pub(super) struct Started {
    pub(super) pid: u32,
    pub(super) stdin: pipe::Sender,
    pub(super) stdout: pipe::Receiver,
}

/// Starts a launcher and sends it its plan.
///
/// # Errors
/// The reason why there is none.
pub(super) async fn launch(context: &Context, plan: &Plan) -> Result<Started, GateError> {
    let (program, before) = context.launcher.split_first().ok_or(GateError::NoLauncher)?;
    let mut command = Command::new(program);
    command
        .arg0(launcher::NAME)
        .args(before)
        .arg(launcher::ARGUMENT)
        .env_clear()
        // Found by its marker from its first moment on.
        .envs(plan.env.iter().filter(|(key, _)| key.starts_with("HOLDFAST_")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .current_dir("/");
    let bytes = launcher::encode(plan).map_err(GateError::Plan)?;
    let mut child = command.spawn().map_err(GateError::Spawn)?;
    context.awaited.add(child.id());
    match give(&mut child, &bytes).await {
        Ok((stdin, stdout)) => Ok(Started { pid: child.id(), stdin, stdout }),
        Err(error) => {
            // It may have ended early; nobody else would reap it.
            let _ended = child.kill();
            let _reaped = child.wait();
            context.awaited.remove(child.id());
            Err(GateError::Pipe(error))
        }
    }
}

/// Sends a launcher its plan; returns the pipes to and from it.
async fn give(child: &mut Child, plan: &[u8]) -> io::Result<(pipe::Sender, pipe::Receiver)> {
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let mut stdin = pipe::Sender::from_owned_fd(OwnedFd::from(stdin))?;
    let stdout = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))?;
    stdin.write_all(plan).await?;
    Ok((stdin, stdout))
}

/// Starts a launcher and waits until it is at the gate. A launcher that does not get there is
/// killed and reaped.
///
/// # Errors
/// The reason why it does not.
pub(super) async fn to_gate(
    context: &Context,
    name: &Name,
    plan: &Plan,
    nonce: u64,
    tell: &mpsc::Sender<Observed>,
) -> Result<Gate, GateError> {
    let Started { pid, stdin, stdout } = launch(context, plan).await?;
    let awaited = context.awaited.clone();
    let start = match procfs::stat(pid) {
        Ok(Some(stat)) => stat.start,
        other => {
            ending::kill_child(pid);
            tokio::spawn(async move { ending::child_exit(pid, &awaited).await });
            return Err(other.err().map_or(GateError::EndedAtOnce, GateError::Unseen));
        }
    };
    let instance = ProcessId { pid, start, boot: context.boot.clone() }.handle(nonce);
    let (who, which, tell) = (name.clone(), instance.clone(), tell.clone());
    let (gone, is_reported) = oneshot::channel();
    // The process is reaped in any case, but `Exited` is held back until the gate is dropped: the
    // driver learns of `Opened` first, even if the workload ends within a millisecond.
    tasks::spawn(async move {
        let exit = ending::child_exit(pid, &awaited).await;
        let _reported = is_reported.await;
        send(&tell, Observed::Exited(who, which, exit)).await;
    });
    let mut gate = Gate { instance, open: stdin, status: stdout, _reported: gone };
    let ready = tokio::time::timeout(GATE_TIMEOUT, await_ready(&mut gate.status)).await;
    match ready.unwrap_or(Err(GateError::Late)) {
        Ok(()) => Ok(gate),
        Err(why) => {
            ending::kill_exactly(pid, start);
            Err(why)
        }
    }
}

async fn await_ready(status: &mut pipe::Receiver) -> Result<(), GateError> {
    let mut first = [0];
    match status.read(&mut first).await {
        Ok(1) if first == [launcher::READY] => Ok(()),
        Ok(1) => Err(GateError::Said(read_error(status).await)),
        _ => Err(GateError::EndedEarly),
    }
}

/// Opens the gate and waits for the outcome: the status pipe closes when the workload is executed.
///
/// # Errors
/// The reason why it was not.
pub(super) async fn pass(gate: &mut Gate) -> Result<(), GateError> {
    let written = gate.open.write_all(&[launcher::OPEN]).await;
    written.map_err(GateError::Broken)?;
    let mut first = [0];
    match gate.status.read(&mut first).await {
        Ok(0) => Ok(()),
        Ok(_) => Err(GateError::Said(read_error(&mut gate.status).await)),
        Err(error) => Err(GateError::Broken(error)),
    }
}

/// Reads the error text that the launcher sends after its "E".
pub(super) async fn read_error(status: &mut pipe::Receiver) -> String {
    let mut text = Vec::new();
    let _as_far_as_it_came = status.take(MAX_ERROR).read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}
