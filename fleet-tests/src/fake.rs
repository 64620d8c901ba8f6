//! Fake runtime: instances that are no processes, by a script of a test or by a small engine of its
//! own. It is asked through the agent's shipped [`Runtimes`](holdfast_agent::runtimes::Runtimes).
//!
//! Its machine outlives the agent, as a container engine does: what was prepared and not started is
//! still there when the agent comes back.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use holdfast_agent::core::effect::Observed;
use holdfast_agent::core::runtime::{
    Found, Halt, Handle, Known, NotPrepared, Reason, Role, RuntimeKind,
};
use holdfast_agent::core::saved::{Exit, Revision};
use holdfast_agent::runtimes::{Prepare, Probing, Remains, Runtime, Sweep};
use holdfast_base::ids::Name;
use holdfast_protocol::message::Detail;
use holdfast_protocol::workload::{Run, WorkloadSpec};
use tokio::sync::{mpsc, oneshot};

/// Kind of the fake runtime, unless a test has several.
pub const KIND: RuntimeKind = RuntimeKind::new("fake");
/// Most observations that wait for the agent.
const OBSERVATIONS: usize = 256;

/// Instance on the machine of the fake runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Workload of the instance.
    pub name: Name,
    /// Revision number that is written on it.
    pub revision: u64,
    /// Identity of the instance.
    pub handle: Handle,
    /// True once it was started.
    pub runs: bool,
}

type Answer = oneshot::Sender<Vec<Option<Remains>>>;

#[derive(Default)]
struct State {
    /// Asks since the test looked last, in words.
    asked: Vec<String>,
    instances: Vec<Instance>,
    created: u64,
    /// Agent that waits for the end of an instance, by the instance's id.
    waiting: BTreeMap<String, (Name, mpsc::Sender<Observed>)>,
    /// Sweeps that a script has not answered yet.
    answers: Vec<Answer>,
    /// Result of the next census by script.
    census: Option<io::Result<Vec<Found>>>,
    /// Reason for which nothing can be removed.
    stuck: Option<String>,
    /// Reason for which nothing can be prepared.
    refuses: Option<NotPrepared>,
}

/// Machine of the fake runtime, which stays when the agent ends.
#[derive(Clone, Default)]
pub struct Machine(Arc<Mutex<State>>);

impl Machine {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Takes what was asked since the last look, in words such as `start 7`.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    /// Instances on the machine, prepared or running.
    pub fn instances(&self) -> Vec<Instance> {
        self.state().instances.clone()
    }

    /// Puts an instance on the machine that no agent of the test has started.
    pub fn has(&self, instance: Instance) {
        self.state().instances.push(instance);
    }

    /// Refuses to prepare anything from now on, or no more.
    pub fn refuses(&self, why: Option<NotPrepared>) {
        self.state().refuses = why;
    }

    /// Answers the oldest open sweep; false where none is open.
    pub fn answers(&self, remains: Remains) -> bool {
        let mut state = self.state();
        if state.answers.is_empty() {
            return false;
        }
        state.answers.remove(0).send(vec![Some(remains)]).is_ok()
    }

    /// Gives the next census its result.
    pub fn finds(&self, found: io::Result<Vec<Found>>) {
        self.state().census = Some(found);
    }

    /// Lets removals fail from now on for this reason, or succeed.
    pub fn is_stuck(&self, why: Option<String>) {
        self.state().stuck = why;
    }

    /// Ends an instance by itself, as a program that fails.
    pub fn end(&self, id: &str, exit: Exit) {
        let mut state = self.state();
        let Some(at) = state.instances.iter().position(|it| it.handle.id == id) else { return };
        let handle = state.instances.remove(at).handle;
        if let Some((name, tell)) = state.waiting.remove(id) {
            // An agent that is gone hears nothing.
            let _gone = tell.try_send(Observed::Exited(name, handle, exit));
        }
    }

    /// Switches power off and on: nothing runs, and what was prepared is still there.
    pub fn reboot(&self) {
        let mut state = self.state();
        state.instances.retain(|it| !it.runs);
        state.waiting.clear();
    }
}

/// Runtime of a test.
pub struct Fake {
    kind: RuntimeKind,
    machine: Machine,
    tell: mpsc::Sender<Observed>,
    /// True: it only notes what it is asked, and the test tells what happens.
    scripted: bool,
}

impl Fake {
    /// Makes a runtime that only notes what it is asked.
    pub fn scripted(machine: Machine, tell: mpsc::Sender<Observed>) -> Self {
        Self { kind: KIND, machine, tell, scripted: true }
    }

    /// Makes a runtime that does what it is asked on its machine.
    pub fn acting(kind: RuntimeKind, machine: Machine, tell: mpsc::Sender<Observed>) -> Self {
        Self { kind, machine, tell, scripted: false }
    }

    /// Channel between runtimes and an agent.
    pub fn channel() -> (mpsc::Sender<Observed>, mpsc::Receiver<Observed>) {
        mpsc::channel(OBSERVATIONS)
    }

    fn note(&self, what: String) {
        self.machine.state().asked.push(what);
    }

    fn tell(&self, observed: Observed) {
        self.tell.try_send(observed).unwrap();
    }

    fn waits(&self, name: &Name, instance: &Handle) {
        let wait = (name.clone(), self.tell.clone());
        self.machine.state().waiting.insert(instance.id.clone(), wait);
    }

    fn create(&self, ask: &Prepare) -> Result<Handle, NotPrepared> {
        let mut state = self.machine.state();
        if let Some(why) = &state.refuses {
            return Err(why.clone());
        }
        state.created += 1;
        let id = format!("{}-{}", self.kind, state.created);
        let handle = Handle { runtime: self.kind.clone(), id, nonce: ask.nonce };
        state.instances.push(Instance {
            name: ask.name.clone(),
            revision: ask.revision.number,
            handle: handle.clone(),
            runs: false,
        });
        Ok(handle)
    }
}

impl Runtime for Fake {
    fn kind(&self) -> RuntimeKind {
        self.kind.clone()
    }

    fn runs(&self, _run: &Run) -> bool {
        true
    }

    fn prepare(&self, ask: Prepare) {
        let stale = ask.stale_config.join(" ");
        let without = if stale.is_empty() { "" } else { " without " };
        self.note(format!("prepare {}{without}{stale}", ask.revision.number));
        if !self.scripted {
            let prepared = self.create(&ask);
            self.tell(Observed::Prepared(ask.name, prepared));
        }
    }

    fn start(&self, name: Name, instance: Handle) {
        self.note(format!("start {}", instance.id));
        if self.scripted {
            return;
        }
        let is_there = {
            let mut state = self.machine.state();
            let mine = state.instances.iter_mut().find(|it| it.handle == instance);
            mine.map(|it| it.runs = true).is_some()
        };
        self.waits(&name, &instance);
        let result = if is_there { Ok(()) } else { Err(Reason::from("it is gone")) };
        self.tell(Observed::Started(name, instance, result));
    }

    fn watch(&self, name: Name, instance: Handle) {
        self.note(format!("watch {}", instance.id));
        if self.scripted {
            return;
        }
        self.waits(&name, &instance);
        if self.machine.instances().iter().all(|it| it.handle != instance) {
            self.tell(Observed::Exited(name, instance, Exit::Unseen));
        }
    }

    fn logs(&self, name: &Name, instance: &Handle, file: &Path) {
        if !self.scripted {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, format!("{name} writes as {}\n", instance.id)).unwrap();
        }
    }

    fn stop(&self, _name: &Name, instance: &Handle, how: Halt) {
        let exit = match how {
            Halt::Ask(stop) => {
                self.note(format!("stop {} {}", instance.id, stop.signal));
                Exit::Signal(i32::from(stop.signal))
            }
            Halt::Kill => {
                self.note(format!("kill {}", instance.id));
                Exit::Signal(9)
            }
        };
        if !self.scripted {
            self.machine.end(&instance.id, exit);
        }
    }

    fn refresh(&self, name: Name, instance: Handle, revision: Revision, signal: u8) {
        self.note(format!("refresh {} {} {signal}", revision.number, instance.id));
        if !self.scripted {
            self.tell(Observed::Refreshed(name, instance, Ok(())));
        }
    }

    fn probe(&self, ask: Probing) {
        self.note(format!("probe {}", ask.instance.id));
        if self.scripted {
            return;
        }
        let runs = self.machine.instances().iter().any(|it| it.handle == ask.instance && it.runs);
        let result = if runs { Ok(()) } else { Err(Reason::from("it does not run")) };
        self.tell(Observed::Probed(ask.name, ask.instance, result));
    }

    fn sweep(&self, sweeps: Vec<Sweep>, answer: Answer) {
        let id = |it: &Option<Handle>| it.as_ref().map_or_else(|| "-".into(), |it| it.id.clone());
        for Sweep { last, spare, kill, .. } in &sweeps {
            let kill = if *kill { " kill" } else { "" };
            self.note(format!("sweep {} spare {}{kill}", id(last), id(spare)));
        }
        if self.scripted {
            return self.machine.state().answers.push(answer);
        }
        let mut remains = Vec::new();
        for Sweep { name, spare, kill, .. } in &sweeps {
            let instances = self.machine.instances().into_iter();
            let is_left = |it: &Instance| it.name == *name && Some(&it.handle) != spare.as_ref();
            let left: Vec<Instance> = instances.filter(is_left).collect();
            for it in left.iter().filter(|it| *kill || !it.runs) {
                self.machine.end(&it.handle.id, Exit::Signal(9));
            }
            let behind = left.iter().filter(|it| *kill && it.runs).count();
            remains.push(Some(Remains { behind, left: left.len() }));
        }
        answer.send(remains).unwrap();
    }

    fn census(&self, _known: &[Known]) -> io::Result<Vec<Found>> {
        let mut state = self.machine.state();
        if self.scripted {
            return state.census.take().unwrap_or_else(|| Ok(Vec::new()));
        }
        let found = (0..).zip(&state.instances).map(|(at, it)| Found {
            workload: it.name.clone(),
            revision: it.revision,
            instance: it.handle.clone(),
            role: if it.runs { Role::Main } else { Role::Prepared },
            order: (at, 0),
        });
        Ok(found.collect())
    }

    fn remove(&self, name: &Name) -> io::Result<()> {
        self.note("remove".into());
        let state = self.machine.state();
        assert!(state.instances.iter().all(|it| it.name != *name), "removed under its feet");
        match &state.stuck {
            Some(why) => Err(io::Error::other(why.clone())),
            None => Ok(()),
        }
    }

    fn renew_limits(&self, _name: &Name, _spec: &WorkloadSpec) {}

    fn limits_problem(&self, _wanted: &[(&Name, &WorkloadSpec)]) -> Option<String> {
        None
    }

    fn detail(&self, _instance: &Handle) -> Option<Detail> {
        None
    }
}
