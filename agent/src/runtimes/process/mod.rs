//! The process runtime: runs workloads as processes of this machine, by a launcher that waits at a
//! gate until its process id is stored. All its state can be found again after a restart of the
//! agent.
//!
//! Whose a process is, and whose fault it is that one cannot be prepared, is decided in
//! `core/process/`.
//!
//! See decisions 0002, 0010 and 0149.

pub mod census;
pub mod cgroup;
pub mod context;
pub mod ending;
pub mod execution;
pub mod gate;
pub mod kernel;
pub mod launcher;
mod limits;
pub mod plan;
mod probe;
mod probe_supervisor;
mod program;
mod register;
mod sweep;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use holdfast_base::ids::Name;
use holdfast_protocol::message::Detail;
use holdfast_protocol::workload::{Run, WorkloadSpec};
use tokio::sync::{mpsc, oneshot};

pub use context::Context;
use gate::{Gate, GateError};

use super::common::{folder, procfs};
use super::{Prepare, Probing, Remains, Runtime, Sweep, on_own_thread, send};
use crate::adapters::crash;
use crate::adapters::tasks;
use crate::core::effect::Observed;
use crate::core::process::ProcessId;
use crate::core::process::fault::Failed;
use crate::core::runtime::{Found, Halt, Handle, Known, Reason, RuntimeKind};
use crate::core::saved::{Exit, Revision};

/// Number of SIGKILL on Linux.
const KILL: u8 = 9;

/// Runtime that runs workloads as processes of this machine.
#[derive(Debug)]
pub struct Processes {
    context: Arc<Context>,
    tell: mpsc::Sender<Observed>,
    gates: Arc<std::sync::Mutex<BTreeMap<Name, Gate>>>,
}

impl Processes {
    /// Creates the runtime, which tells what it observes on `tell`, and begins to reap orphans.
    pub fn new(context: Context, tell: mpsc::Sender<Observed>) -> Self {
        tasks::spawn(context.awaited.clone().reap_orphans());
        Self { context: Arc::new(context), tell, gates: Arc::default() }
    }
}

impl Runtime for Processes {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::PROCESS
    }

    fn runs(&self, run: &Run) -> bool {
        matches!(run, Run::Process(_))
    }

    /// Lays out the workload's folder, starts the launcher and waits until it is at the gate.
    fn prepare(&self, ask: Prepare) {
        let (context, tell, gates) = (self.context.clone(), self.tell.clone(), self.gates.clone());
        tasks::spawn(async move {
            let prepared = match plan::prepare(&context, &ask) {
                Ok(plan) => {
                    crash::point("folder-laid");
                    let gate = gate::to_gate(&context, &ask.name, &plan, ask.nonce, &tell).await;
                    let kept = gate.map(|gate| keep(&gates, &ask.name, gate));
                    kept.map_err(|error| Failed::Launcher.because(Reason::of(&error)))
                }
                Err(why) => Err(why),
            };
            send(&tell, Observed::Prepared(ask.name, prepared)).await;
        });
    }

    /// Opens the gate: the launcher executes the workload.
    fn start(&self, name: Name, instance: Handle) {
        let gate = self.gates.lock().ok().and_then(|mut gates| gates.remove(&name));
        let tell = self.tell.clone();
        tasks::spawn(async move {
            let mut gate = gate.filter(|gate| gate.instance == instance);
            let result = match &mut gate {
                Some(gate) => {
                    let opened = gate::pass(gate).await;
                    crash::point("gate-opened");
                    opened
                }
                None => Err(GateError::Gone),
            };
            let result = result.map_err(|error| Reason::of(&error));
            send(&tell, Observed::Started(name, instance, result)).await;
            drop(gate);
        });
    }

    fn watch(&self, name: Name, instance: Handle) {
        let (tell, context) = (self.tell.clone(), self.context.clone());
        tasks::spawn(async move {
            let exit = match ProcessId::of(&instance) {
                Some(process) => {
                    context.awaited.add(process.pid);
                    let exit = ending::adopted_exit(&process, &context.boot).await;
                    context.awaited.remove(process.pid);
                    exit
                }
                None => Exit::Unseen,
            };
            send(&tell, Observed::Exited(name, instance, exit)).await;
        });
    }

    /// Does nothing: the launcher opens the log before it waits at its gate, and the process
    /// inherits it (decision 0001).
    fn logs(&self, _name: &Name, _instance: &Handle, _file: &Path) {}

    /// Sends a signal to the instance's process group. A group that is gone is fine; one that
    /// cannot be looked at now (no free descriptors) is signalled as soon as it can be.
    fn stop(&self, _name: &Name, instance: &Handle, how: Halt) {
        let Some(process) = ProcessId::of(instance) else { return };
        let signal = match how {
            Halt::Ask(stop) => stop.signal,
            Halt::Kill => KILL,
        };
        if ending::signal(&process, &self.context.boot, signal).is_err() {
            let boot = self.context.boot.clone();
            tasks::spawn(async move {
                while ending::signal(&process, &boot, signal).is_err() {
                    tokio::time::sleep(ending::POLL_INTERVAL).await;
                }
            });
        }
        crash::point("signal-sent");
    }

    fn refresh(&self, name: Name, instance: Handle, revision: Revision, signal: u8) {
        let (context, tell) = (Arc::clone(&self.context), self.tell.clone());
        tasks::spawn(async move {
            let laid = plan::refresh(&context, &name, &revision);
            let result = laid.map_err(|error| Reason::of(&error)).and_then(|()| {
                crash::point("secrets-laid");
                let Some(process) = ProcessId::of(&instance) else { return Ok(()) };
                let sent = ending::signal_main(&process, &context.boot, signal);
                sent.map_err(|error| Reason(format!("signal {signal}: {error}")))
            });
            send(&tell, Observed::Refreshed(name, instance, result)).await;
        });
    }

    fn probe(&self, ask: Probing) {
        let (context, tell) = (Arc::clone(&self.context), self.tell.clone());
        tasks::spawn(async move {
            let (who, which) = (ask.name.clone(), ask.instance.clone());
            let result = probe::run(context, ask).await.map_err(|error| Reason::of(&error));
            send(&tell, Observed::Probed(who, which, result)).await;
        });
    }

    /// Looks at all processes on a thread of its own; see [`census::take`]. When processes cannot be
    /// read (no free descriptors) it tries again until they can.
    fn sweep(&self, sweeps: Vec<Sweep>, answer: oneshot::Sender<Vec<Option<Remains>>>) {
        // A workload that is no longer wanted loses its gate: its launcher ends when the pipe
        // closes.
        if let Ok(mut gates) = self.gates.lock() {
            for sweep in sweeps.iter().filter(|sweep| sweep.spare.is_none()) {
                gates.remove(&sweep.name);
            }
        }
        let (context, sweeps) = (self.context.clone(), Arc::new(sweeps));
        tasks::spawn(async move {
            loop {
                let (here, these) = (Arc::clone(&context), Arc::clone(&sweeps));
                match on_own_thread(move || sweep::all(&here, &these)).await {
                    Ok(remains) => {
                        // The driver is gone only when the agent ends.
                        let _ended = answer.send(remains);
                        return;
                    }
                    Err(error) => tracing::warn!(%error, "processes cannot be looked at"),
                }
                tokio::time::sleep(ending::POLL_INTERVAL).await;
            }
        });
    }

    fn census(&self, known: &[Known]) -> io::Result<Vec<Found>> {
        let lives =
            |process: &ProcessId| !matches!(procfs::lives(process, &self.context.boot), Ok(false));
        Ok(census::take(&self.context)?.found(known, lives))
    }

    fn remove(&self, name: &Name) -> io::Result<()> {
        self.context.secrets.remove(name);
        let removed = folder::remove(&self.context.folder(name));
        if let Ok(cgroups) = &self.context.cgroups {
            cgroups.remove(name);
        }
        removed
    }

    fn renew_limits(&self, name: &Name, spec: &WorkloadSpec) {
        let Ok(cgroups) = &self.context.cgroups else { return };
        if let Err(error) = cgroups.prepare(name, spec.resources) {
            tracing::warn!(workload = %name, %error, "its limits cannot be set again");
        }
    }

    fn limits_problem(&self, wanted: &[(&Name, &WorkloadSpec)]) -> Option<String> {
        limits::problem(self.context.cgroups.as_ref().err()?, wanted)
    }

    fn detail(&self, instance: &Handle) -> Option<Detail> {
        ProcessId::of(instance).map(|process| Detail::Process(process.pid))
    }
}

/// Keeps the gate of a launcher until it is opened; returns the instance that waits at it.
fn keep(gates: &std::sync::Mutex<BTreeMap<Name, Gate>>, name: &Name, gate: Gate) -> Handle {
    crash::point("launched");
    let instance = gate.instance.clone();
    if let Ok(mut gates) = gates.lock() {
        gates.insert(name.clone(), gate);
    }
    instance
}
