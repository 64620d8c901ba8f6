//! The container runtime: runs workloads as containers, or groups of them, of this device's engine.
//! All its state can be found again after a restart of the agent, from labels that it writes on what
//! it makes. What carries no label of this agent is never touched.
//!
//! While the engine does not answer, what a saved state names is presumed to run: nothing is ended
//! or made anew on a guess, and it is compared when the engine is back.
//!
//! What is to be made of an engine's answers is decided in `core/container/`.
//!
//! See decisions 0149, 0175 and 0176.

mod client;
mod create;
pub mod engine;
mod failure;
pub mod images;
mod networks;
mod output;
mod prepare;
mod probing;
mod running;
mod shared;
mod sweep;
pub mod volumes;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_base::ids::Name;
use holdfast_protocol::message::{ContainerDetail, Detail};
use holdfast_protocol::workload::{Run, WorkloadSpec};
use tokio::sync::{mpsc, oneshot};

use super::common::Common;
use super::probe::ProbeError;
use super::{Prepare, Probing, Remains, Runtime, Sweep, send};
use crate::adapters::{crash, tasks};
use crate::core::container::parts;
use crate::core::effect::Observed;
use crate::core::runtime::{Found, Halt, Handle, Known, Reason, RuntimeKind};
use crate::core::saved::Revision;
use engine::Engine;
pub use shared::Settings;
use shared::{KILL, SHOWN, Shared};

/// Runtime that runs workloads as containers of this device's engine.
#[derive(Clone)]
pub struct Containers(Arc<Shared>);

impl Containers {
    /// Creates the runtime, which tells what it observes on `tell`.
    pub fn new(
        common: Arc<Common>,
        engine: Engine,
        settings: Settings,
        tell: mpsc::Sender<Observed>,
    ) -> Self {
        let shared = Shared {
            common,
            engine,
            settings,
            tell,
            outputs: output::Outputs::default(),
            details: Mutex::default(),
            unlimited: Mutex::default(),
            networks: tokio::sync::Mutex::new(()),
        };
        let this = Self(Arc::new(shared));
        let watching = Arc::clone(&this.0);
        tasks::spawn(async move { sweep::tell_when_back(&watching).await });
        this
    }
}

impl Runtime for Containers {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::CONTAINER
    }

    fn runs(&self, run: &Run) -> bool {
        matches!(run, Run::Container(_) | Run::Group(_))
    }

    /// Lays out the workload's folder, and makes its containers at the engine.
    fn prepare(&self, ask: Prepare) {
        let shared = Arc::clone(&self.0);
        tasks::spawn(async move {
            let prepared = prepare::prepare(&shared, &ask).await;
            crash::point("container-created");
            send(&shared.tell, Observed::Prepared(ask.name, prepared)).await;
        });
    }

    fn start(&self, name: Name, instance: Handle) {
        let shared = Arc::clone(&self.0);
        tasks::spawn(async move { running::start(&shared, name, instance).await });
    }

    fn watch(&self, name: Name, instance: Handle) {
        let shared = Arc::clone(&self.0);
        tasks::spawn(async move { running::watch(&shared, name, instance).await });
    }

    fn logs(&self, _name: &Name, instance: &Handle, file: &Path) {
        for part in parts(instance) {
            self.0.outputs.goes_to(&part, file);
        }
    }

    /// Sends a signal to each container, the last one first. One that has ended is fine; an engine
    /// that does not answer is waited for.
    fn stop(&self, _name: &Name, instance: &Handle, how: Halt) {
        let signal = match how {
            Halt::Ask(stop) => stop.signal,
            Halt::Kill => KILL,
        };
        for part in parts(instance).into_iter().rev() {
            let engine = self.0.engine.clone();
            engine.asked(&part.id);
            tasks::spawn(async move { running::signal(&engine, &part.id, signal).await });
        }
    }

    fn refresh(&self, name: Name, instance: Handle, revision: Revision, signal: u8) {
        let shared = Arc::clone(&self.0);
        tasks::spawn(async move {
            let result = prepare::refresh(&shared, &name, &instance, &revision, signal).await;
            send(&shared.tell, Observed::Refreshed(name, instance, result)).await;
        });
    }

    fn probe(&self, ask: Probing) {
        let shared = Arc::clone(&self.0);
        tasks::spawn(async move {
            let within = Duration::from_millis(ask.timeout_ms);
            let probed = probing::run(&shared.engine, &ask.instance, &ask.probe, within);
            let probed = tokio::time::timeout(within + probing::GRACE, probed).await;
            let result = probed.unwrap_or(Err(ProbeError::Late(within)));
            let result = result.map_err(|error| Reason::of(&error));
            send(&shared.tell, Observed::Probed(ask.name, ask.instance, result)).await;
        });
    }

    fn sweep(&self, sweeps: Vec<Sweep>, answer: oneshot::Sender<Vec<Option<Remains>>>) {
        let shared = Arc::clone(&self.0);
        tasks::spawn(async move {
            let remains = sweep::all(&shared, &sweeps).await;
            // The driver is gone only when the agent ends.
            let _ended = answer.send(remains);
        });
    }

    /// Asks the engine, for a second at most: a device that boots has processes to run. What a saved
    /// state names is presumed to run while the engine does not answer.
    fn census(&self, known: &[Known]) -> io::Result<Vec<Found>> {
        Ok(sweep::census(&self.0, known))
    }

    fn remove(&self, name: &Name) -> io::Result<()> {
        sweep::remove(&self.0, name);
        Ok(())
    }

    /// Does nothing: the engine keeps a container's limits.
    fn renew_limits(&self, _name: &Name, _spec: &WorkloadSpec) {}

    /// What the engine has warned of when it made their containers.
    fn limits_problem(&self, wanted: &[(&Name, &WorkloadSpec)]) -> Option<String> {
        let warned = self.0.unlimited();
        let told = wanted.iter().filter_map(|(name, _)| {
            let text = warned.get(*name).filter(|text| !text.is_empty())?;
            Some(format!("{name}: {text}"))
        });
        let told = told.collect::<Vec<_>>().join("; ");
        (!told.is_empty()).then(|| format!("the engine does not keep limits of containers: {told}"))
    }

    fn detail(&self, instance: &Handle) -> Option<Detail> {
        let parts = parts(instance);
        let id = parts.first()?.id.chars().take(SHOWN).collect();
        let details = self.0.details();
        let mut ports = BTreeMap::new();
        for known in parts.iter().filter_map(|part| details.get(&part.id)) {
            ports.extend(known.ports.clone());
        }
        Some(Detail::Container(Box::new(ContainerDetail { id, ports })))
    }
}
