//! Runtimes: what runs a workload's instances on this device. Each kind has a room of its own; the
//! driver asks all of them through [`Runtimes`], in the words of [`Runtime`].
//!
//! See decision 0149.
#![allow(
    clippy::disallowed_methods,
    reason = "runtimes are adapters: they read clocks and files, and start processes and tasks"
)]

pub mod common;
pub mod container;
mod probe;
pub mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::ids::Name;
use holdfast_protocol::message::Detail;
use holdfast_protocol::workload::{Probe, Run, WorkloadSpec};
use tokio::sync::{mpsc, oneshot};

use crate::adapters::tasks;
use crate::core::effect::Observed;
use crate::core::runtime::{Found, Halt, Handle, Known, NotPrepared, Reason, RuntimeKind};
use crate::core::saved::{Exit, Revision};
use crate::core::secrets::Secrets;

/// Name of a workload's log in its folder.
pub const LOG: &str = "log";
/// Stack of a thread for work that blocks, in bytes.
pub const STACK: usize = 256 * 1024;
/// Pause before a sweep is asked for again that a runtime has given up without an answer.
const SWEEP_RETRY: Duration = Duration::from_secs(1);

/// Instance that is to be prepared; see `Effect::Prepare`.
#[derive(Debug, Clone)]
pub struct Prepare {
    /// Workload of the instance.
    pub name: Name,
    /// Revision with the specification to run.
    pub revision: Revision,
    /// Random number that marks the instance: it is found again by it.
    pub nonce: u64,
    /// Paths of configuration files that only the former revision had.
    pub stale_config: Vec<String>,
}

/// Probe that is to be run; see `Effect::Probe`.
#[derive(Debug, Clone)]
pub struct Probing {
    /// Workload to probe.
    pub name: Name,
    /// Instance that is probed.
    pub instance: Handle,
    /// Probe with its parameters.
    pub probe: Probe,
    /// Specification of the running revision.
    pub spec: Arc<WorkloadSpec>,
    /// Secrets of the running revision, sealed.
    pub secrets: Option<Arc<Secrets>>,
    /// Timeout of the probe in milliseconds.
    pub timeout_ms: u64,
}

/// One workload of a sweep; see `Effect::Sweep`.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Workload to sweep.
    pub name: Name,
    /// Runtimes that may have something of it. Empty: all.
    pub runtimes: BTreeSet<RuntimeKind>,
    /// Last known instance.
    pub last: Option<Handle>,
    /// Instance that is spared, with what it started.
    pub spare: Option<Handle>,
    /// True: end what is found.
    pub kill: bool,
}

/// Counts of a sweep for one workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remains {
    /// Number of those that were left behind and ended, without those of probes.
    pub behind: usize,
    /// Number of all that are left.
    pub left: usize,
}

/// One way to run workloads on this device. It decides nothing: what is to be done comes from the
/// core, and what has happened goes back to it as an [`Observed`], later and in any order, unless a
/// method says otherwise. No method but [`Runtime::census`] and [`Runtime::remove`] may block.
///
/// An implementation keeps nothing that it could not find again after a restart of the agent.
pub trait Runtime: Send + Sync {
    /// Kind of this runtime, which stands in the handles of its instances.
    fn kind(&self) -> RuntimeKind;

    /// True if this runtime can run such a workload.
    fn runs(&self, run: &Run) -> bool;

    /// Makes an instance that can be identified and does not run yet. Tells `Prepared`.
    fn prepare(&self, ask: Prepare);

    /// Lets a prepared instance run; its handle is stored. Tells `Started`, and `Exited` after that.
    fn start(&self, name: Name, instance: Handle);

    /// Watches an instance that a former agent started. Tells `Exited`.
    fn watch(&self, name: Name, instance: Handle);

    /// Takes care that what the instance writes from now on goes to this file. Asked before the
    /// start of an instance, and before an adopted one is watched.
    fn logs(&self, name: &Name, instance: &Handle, file: &Path);

    /// Stops an instance; one that is gone is fine. Its end is told by who waits for it.
    fn stop(&self, name: &Name, instance: &Handle, how: Halt);

    /// Replaces the files of the secrets of an instance by those of this revision, and then sends a
    /// signal to its main process. Tells `Refreshed`.
    fn refresh(&self, name: Name, instance: Handle, revision: Revision, signal: u8);

    /// Runs a probe once. Tells `Probed`.
    fn probe(&self, ask: Probing);

    /// Finds what is left of workloads, ends it where asked, and answers for each in their order.
    /// It goes on trying until it has seen everything: "nothing left" is only answered of what was
    /// seen. `None`: the spared instance has ended, so what was seen may be of a newer one.
    fn sweep(&self, sweeps: Vec<Sweep>, answer: oneshot::Sender<Vec<Option<Remains>>>);

    /// Lists everything of this agent's workloads that it has on the machine; `known` are the
    /// instances of saved states. May block for seconds.
    ///
    /// # Errors
    /// When not everything could be seen: what was overlooked would be taken for gone.
    fn census(&self, known: &[Known]) -> io::Result<Vec<Found>>;

    /// Removes what it keeps of a workload of which nothing runs any more, its folder and log among
    /// it. May block for long.
    ///
    /// # Errors
    /// The system's error, if something is left.
    fn remove(&self, name: &Name) -> io::Result<()>;

    /// Sets the limits of an adopted instance again, which may have been lost while the agent was
    /// not running.
    fn renew_limits(&self, name: &Name, spec: &WorkloadSpec);

    /// Text about limits of these workloads that are not enforced as they should be.
    fn limits_problem(&self, wanted: &[(&Name, &WorkloadSpec)]) -> Option<String>;

    /// Returns the facts of an instance that only this runtime knows, for reports. Every runtime of
    /// devices gives some: the control plane takes a report without them for that of a process.
    fn detail(&self, instance: &Handle) -> Option<Detail>;
}

/// All runtimes of this device. Asks the one that a handle names, or that can run a specification.
#[derive(Clone)]
pub struct Runtimes {
    all: Arc<[Box<dyn Runtime>]>,
    workloads: PathBuf,
    tell: mpsc::Sender<Observed>,
}

impl Runtimes {
    /// Makes the table of these runtimes, which tell what they observe on `tell`. `workloads`: the
    /// folder that holds one folder for each workload.
    pub fn new(
        all: Vec<Box<dyn Runtime>>,
        workloads: PathBuf,
        tell: mpsc::Sender<Observed>,
    ) -> Self {
        Self { all: all.into(), workloads, tell }
    }

    /// Folder that holds one folder for each workload.
    pub fn workloads(&self) -> &Path {
        &self.workloads
    }

    /// Path of a workload's log, whatever runs it.
    pub fn log(&self, name: &Name) -> PathBuf {
        self.workloads.join(name.as_str()).join(LOG)
    }

    fn of(&self, instance: &Handle) -> Option<&dyn Runtime> {
        self.all.iter().find(|it| it.kind() == instance.runtime).map(|it| &**it)
    }

    fn say(&self, observed: Observed) {
        let tell = self.tell.clone();
        tasks::spawn(async move { send(&tell, observed).await });
    }

    /// Prepares an instance by the first runtime that can run it.
    pub fn prepare(&self, ask: Prepare) {
        match self.all.iter().find(|it| it.runs(&ask.revision.spec.run)) {
            Some(runtime) => runtime.prepare(ask),
            None => {
                let why = match &ask.revision.spec.run {
                    Run::Unknown(kind) => format!(
                        "agent {} does not know workloads of kind {kind:?}: update the agent",
                        env!("CARGO_PKG_VERSION")
                    ),
                    run => format!("this agent runs no workloads of kind {:?}", run.kind()),
                };
                let why = Reason(why);
                self.say(Observed::Prepared(ask.name, Err(NotPrepared::Revision(why))));
            }
        }
    }

    /// Lets a prepared instance run.
    pub fn start(&self, name: Name, instance: Handle) {
        match self.of(&instance) {
            Some(runtime) => {
                runtime.logs(&name, &instance, &self.log(&name));
                runtime.start(name, instance);
            }
            None => {
                let why = Reason(format!("this agent has no runtime {}", instance.runtime));
                self.say(Observed::Started(name, instance, Err(why)));
            }
        }
    }

    /// Watches an adopted instance.
    pub fn watch(&self, name: Name, instance: Handle) {
        match self.of(&instance) {
            Some(runtime) => {
                runtime.logs(&name, &instance, &self.log(&name));
                runtime.watch(name, instance);
            }
            None => self.say(Observed::Exited(name, instance, Exit::Unseen)),
        }
    }

    /// Stops an instance.
    pub fn stop(&self, name: Name, instance: Handle, how: Halt) {
        match self.of(&instance) {
            Some(runtime) => runtime.stop(&name, &instance, how),
            None => self.say(Observed::Exited(name, instance, Exit::Unseen)),
        }
    }

    /// Replaces the files of an instance's secrets, and sends it a signal.
    pub fn refresh(&self, name: Name, instance: Handle, revision: Revision, signal: u8) {
        match self.of(&instance) {
            Some(runtime) => runtime.refresh(name, instance, revision, signal),
            None => {
                let why = Reason(format!("this agent has no runtime {}", instance.runtime));
                self.say(Observed::Refreshed(name, instance, Err(why)));
            }
        }
    }

    /// Runs a probe of an instance.
    pub fn probe(&self, ask: Probing) {
        match self.of(&ask.instance) {
            Some(runtime) => runtime.probe(ask),
            None => {
                let why = Reason(format!("this agent has no runtime {}", ask.instance.runtime));
                self.say(Observed::Probed(ask.name, ask.instance, Err(why)));
            }
        }
    }

    /// Sweeps workloads, each by the runtimes that may have something of it. Those of the same
    /// runtimes are swept at once: one look at the processes serves all. Tells `LeftBehind` and
    /// `Swept`.
    pub fn sweep(&self, sweeps: Vec<Sweep>) {
        let mut groups: BTreeMap<Vec<usize>, Vec<Sweep>> = BTreeMap::new();
        for sweep in sweeps {
            let concerns =
                |it: &dyn Runtime| sweep.runtimes.is_empty() || sweep.runtimes.contains(&it.kind());
            let all = self.all.iter().enumerate();
            let by = all.filter(|(_, it)| concerns(&***it)).map(|(at, _)| at).collect();
            groups.entry(by).or_default().push(sweep);
        }
        for (by, sweeps) in groups {
            let (all, tell) = (Arc::clone(&self.all), self.tell.clone());
            tasks::spawn(async move {
                let mut found = vec![Some(Remains { behind: 0, left: 0 }); sweeps.len()];
                for runtime in by.into_iter().filter_map(|at| all.get(at)) {
                    for (found, remains) in found.iter_mut().zip(swept(&**runtime, &sweeps).await) {
                        *found = found.zip(remains).map(|(one, other)| Remains {
                            behind: one.behind + other.behind,
                            left: one.left + other.left,
                        });
                    }
                }
                for (sweep, found) in sweeps.into_iter().zip(found) {
                    let Some(Remains { behind, left }) = found else { continue };
                    if behind > 0 {
                        send(&tell, Observed::LeftBehind(sweep.name.clone(), behind)).await;
                    }
                    send(&tell, Observed::Swept(sweep.name, left)).await;
                }
            });
        }
    }

    /// Lists everything of this agent's workloads; blocks for seconds where it must.
    ///
    /// # Errors
    /// When a runtime could not see everything.
    pub fn census(&self, known: &[Known]) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for runtime in &*self.all {
            found.extend(runtime.census(known)?);
        }
        Ok(found)
    }

    /// Removes what is kept of a workload; blocks for long where it must.
    ///
    /// # Errors
    /// The first error, after all have been asked.
    pub fn remove(&self, name: &Name) -> io::Result<()> {
        let removed: Vec<io::Result<()>> = self.all.iter().map(|it| it.remove(name)).collect();
        removed.into_iter().collect()
    }

    /// Sets the limits of an adopted instance again.
    pub fn renew_limits(&self, name: &Name, instance: &Handle, spec: &WorkloadSpec) {
        if let Some(runtime) = self.of(instance) {
            runtime.renew_limits(name, spec);
        }
    }

    /// Text about limits of these workloads that are not enforced as they should be.
    pub fn limits_problem(&self, wanted: &[(&Name, &WorkloadSpec)]) -> Option<String> {
        let said = self.all.iter().filter_map(|runtime| {
            let of: Vec<(&Name, &WorkloadSpec)> =
                wanted.iter().copied().filter(|(_, spec)| runtime.runs(&spec.run)).collect();
            runtime.limits_problem(&of)
        });
        let said: Vec<String> = said.collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// Returns the facts of an instance that only its runtime knows.
    pub fn detail(&self, instance: &Handle) -> Option<Detail> {
        self.of(instance)?.detail(instance)
    }
}

/// Asks a runtime for sweeps until it answers, each with its own instances alone.
async fn swept(runtime: &dyn Runtime, sweeps: &[Sweep]) -> Vec<Option<Remains>> {
    let kind = runtime.kind();
    let own = |instance: &Option<Handle>| instance.clone().filter(|it| it.runtime == kind);
    loop {
        let (answer, answered) = oneshot::channel();
        let mine = sweeps.iter().map(|sweep| Sweep {
            last: own(&sweep.last),
            spare: own(&sweep.spare),
            ..sweep.clone()
        });
        runtime.sweep(mine.collect(), answer);
        match answered.await {
            Ok(remains) => return remains,
            Err(_) => tracing::error!(runtime = %kind, "a sweep was not answered"),
        }
        tokio::time::sleep(SWEEP_RETRY).await;
    }
}

/// Tells the driver of an observation.
pub(crate) async fn send(tell: &mpsc::Sender<Observed>, observed: Observed) {
    // The driver is gone only when the agent ends.
    let _ended = tell.send(observed).await;
}

/// Runs work that may block for long on a new thread, since the threads of the pool are few.
///
/// # Errors
/// The error of the work, or of the system when there is no thread.
pub async fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (tell, outcome) = oneshot::channel();
    std::thread::Builder::new().stack_size(STACK).spawn(move || {
        let _nobody_waits = tell.send(work());
    })?;
    outcome.await.unwrap_or_else(|_| Err(io::Error::other("the thread ended early")))
}
