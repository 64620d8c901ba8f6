//! The agent's core, its shipped table of runtimes and its store on runtimes that run no process:
//! adoption, agents that die between two steps, sweeps, probes, and several runtimes side by side.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails loudly where it stands, and reads what was written"
)]

use std::collections::BTreeMap;
use std::path::Path;

use fleet_tests::fake::{Fake, Instance, KIND, Machine};
use holdfast_agent::adapters::store::Store;
use holdfast_agent::core::agent::{Agent, Start};
use holdfast_agent::core::effect::{Effect, Observed};
use holdfast_agent::core::runtime::{Found, Handle, NotPrepared, Reason, Role, RuntimeKind};
use holdfast_agent::core::saved::{Exit, SavedWorkload};
use holdfast_agent::runtimes::{Prepare, Probing, Remains, Runtime, Runtimes, Sweep};
use holdfast_base::WIRE_VERSION;
use holdfast_base::ids::Name;
use holdfast_protocol::message::{DesiredState, DesiredWorkload, Phase, WorkloadReport};
use holdfast_protocol::workload::{
    Executable, Health, Probe, Process, Resources, Restart, RestartPolicy, Run, Stop, WorkloadSpec,
};
use tokio::sync::mpsc;

fn name() -> Name {
    "w".parse().unwrap()
}

fn spec(policy: RestartPolicy, health: Option<Health>) -> WorkloadSpec {
    let process = Process {
        executable: Executable::Path("/bin/w".into()),
        args: vec![],
        env: BTreeMap::new(),
        user: None,
        workdir: None,
    };
    WorkloadSpec {
        run: Run::Process(process),
        config: BTreeMap::new(),
        resources: Resources::default(),
        restart: Restart { policy, backoff_initial_ms: 1_000, backoff_max_ms: 4_000 },
        health,
        stop: Stop { signal: 15, grace_ms: 3_000 },
        bus: Default::default(),
        windows: Default::default(),
    }
}

fn desired(spec: Option<WorkloadSpec>) -> DesiredState {
    let wanted = spec
        .map(|spec| (name(), DesiredWorkload { revision: 1, paused: false, spec, sealed: None }));
    DesiredState {
        v: WIRE_VERSION,
        device: "default_d-1".parse().unwrap(),
        epoch: 1,
        generation: 1,
        workloads: wanted.into_iter().collect(),
        data: None,
        audit: None,
    }
}

/// Agent on a disk and a machine, carried out as the driver does.
struct Device {
    agent: Agent,
    now: u64,
    store: Store,
    runtimes: Runtimes,
    observed: mpsc::Receiver<Observed>,
    /// Effect at which the agent dies, in the first word of its name.
    dies_at: Option<&'static str>,
    dead: bool,
}

impl Device {
    /// Starts an agent on what is on disk and on the machine.
    fn start(data: &Path, machine: &Machine, desired: &DesiredState) -> Self {
        let (tell, observed) = Fake::channel();
        let fake = Fake::acting(KIND, machine.clone(), tell.clone());
        let runtimes = Runtimes::new(vec![Box::new(fake)], data.join("workloads"), tell);
        let (store, loaded) = Store::open(&data.join("store.redb"));
        let known = loaded.saved.iter().filter_map(|(name, saved)| saved.known(name));
        let start = Start {
            desired: Some(desired.clone()),
            found: runtimes.census(&known.collect::<Vec<_>>()).unwrap(),
            saved: loaded.saved,
            entropy: 7,
            ..Start::default()
        };
        let agent = Agent::new(start, 0);
        Self { agent, now: 0, store, runtimes, observed, dies_at: None, dead: false }
    }

    /// Goes on until nothing is left to do at this time, or the agent has died.
    async fn settle(&mut self) {
        for _ in 0..64 {
            for effect in self.agent.advance(self.now) {
                if self.dies_at.is_some_and(|word| format!("{effect:?}").starts_with(word)) {
                    self.dead = true;
                    return;
                }
                self.carry_out(effect);
            }
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            while let Ok(observed) = self.observed.try_recv() {
                self.agent.observe(observed, self.now);
            }
        }
    }

    async fn waits(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.settle().await;
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Save { name, saved } => {
                self.store.put(&[(name.clone(), Some(*saved))]).unwrap();
                self.agent.observe(Observed::Saved(name, true), self.now);
            }
            Effect::Prepare { name, revision, nonce, stale_config } => {
                self.runtimes.prepare(Prepare { name, revision, nonce, stale_config });
            }
            Effect::Start { name, instance } => self.runtimes.start(name, instance),
            Effect::Watch { name, instance } => self.runtimes.watch(name, instance),
            Effect::Stop { name, instance, how } => self.runtimes.stop(name, instance, how),
            Effect::Refresh { name, instance, revision, signal } => {
                self.runtimes.refresh(name, instance, revision, signal);
            }
            Effect::Probe { name, instance, probe, spec, secrets, timeout_ms } => {
                let ask = Probing { name, instance, probe, spec, secrets, timeout_ms };
                self.runtimes.probe(ask);
            }
            Effect::Sweep { name, runtimes, last, spare, kill } => {
                self.runtimes.sweep(vec![Sweep { name, runtimes, last, spare, kill }]);
            }
            Effect::Remove { name } => {
                self.runtimes.remove(&name).unwrap();
                self.store.put(&[(name.clone(), None)]).unwrap();
                self.agent.observe(Observed::Removed(name, Ok(())), self.now);
            }
            Effect::Census => {
                let found = self.runtimes.census(&self.agent.known()).unwrap();
                self.agent.observe(Observed::Census(found), self.now);
            }
            Effect::Fetch(_) | Effect::Pause(_) | Effect::Collect { .. } => {}
        }
    }

    fn report(&self) -> WorkloadReport {
        self.agent.view().workloads[&name()].clone()
    }
}

/// A data folder and a machine, with a desired state of one workload.
struct Place {
    data: tempfile::TempDir,
    machine: Machine,
    desired: DesiredState,
}

impl Place {
    fn new(policy: RestartPolicy) -> Self {
        let desired = desired(Some(spec(policy, None)));
        Self { data: tempfile::tempdir().unwrap(), machine: Machine::default(), desired }
    }

    fn agent(&self) -> Device {
        Device::start(self.data.path(), &self.machine, &self.desired)
    }

    /// Runs an agent that dies before it carries out the first effect of this name.
    async fn agent_that_dies_at(&self, word: &'static str) {
        let mut agent = self.agent();
        agent.dies_at = Some(word);
        agent.settle().await;
        assert!(agent.dead, "it never came to {word}");
    }

    fn running(&self) -> Vec<Instance> {
        self.machine.instances().into_iter().filter(|it| it.runs).collect()
    }
}

#[tokio::test]
async fn an_instance_is_prepared_stored_started_probed_and_stopped_without_any_process() {
    let mut place = Place::new(RestartPolicy::Always);
    let health = Health {
        probe: Probe::Exec { command: vec!["/bin/true".into()] },
        start_period_ms: 0,
        interval_ms: 1_000,
        timeout_ms: 100,
        failures: 2,
    };
    place.desired = desired(Some(spec(RestartPolicy::Always, Some(health))));
    let mut agent = place.agent();
    agent.settle().await;
    assert_eq!(place.machine.asked(), ["prepare 1", "start fake-1", "probe fake-1"]);
    let report = agent.report();
    assert_eq!((report.phase, report.detail), (Phase::Running, None));
    assert_eq!(report.run, Some(place.running()[0].handle.run()));
    let log = std::fs::read_to_string(agent.runtimes.log(&name())).unwrap();
    assert_eq!(log, "w writes as fake-1\n");

    place.machine.end("fake-1", Exit::Code(1));
    agent.settle().await;
    assert_eq!(place.machine.asked(), ["sweep fake-1 spare - kill"]);
    assert_eq!((agent.report().phase, agent.report().run), (Phase::Backoff, None));
    agent.waits(5_000).await;
    assert_eq!(place.machine.asked(), ["prepare 1", "start fake-2", "probe fake-2"]);
    assert_ne!(agent.report().run, report.run, "another run");

    agent.agent.follow(&DesiredState { generation: 2, ..desired(None) });
    agent.settle().await;
    agent.waits(5_000).await;
    assert_eq!(place.machine.asked(), ["stop fake-2 15", "sweep fake-2 spare -", "remove"]);
    assert!(place.machine.instances().is_empty());
    assert!(agent.agent.view().workloads.is_empty());
}

#[tokio::test]
async fn what_runs_is_adopted_and_what_ended_meanwhile_is_started_anew() {
    let place = Place::new(RestartPolicy::Always);
    place.agent().settle().await;
    let before = place.running();
    place.machine.asked();
    for lost in [false, true] {
        if lost {
            // Without any saved state it is known by its nonce.
            std::fs::remove_file(place.data.path().join("store.redb")).unwrap();
        }
        let mut agent = place.agent();
        agent.settle().await;
        assert_eq!(place.machine.asked(), ["watch fake-1"], "the store was lost: {lost}");
        assert_eq!(place.running(), before);
        assert_eq!(agent.report().phase, Phase::Running);
    }
    place.machine.reboot();
    place.agent().settle().await;
    let asked = ["sweep fake-1 spare - kill", "prepare 1", "start fake-2"];
    assert_eq!(place.machine.asked(), asked);
}

#[tokio::test]
async fn an_agent_that_dies_at_any_step_leaves_one_instance_that_runs() {
    for word in ["Prepare", "Save", "Start"] {
        let place = Place::new(RestartPolicy::Always);
        place.agent_that_dies_at(word).await;
        assert!(place.running().is_empty(), "{word}: nothing runs before it is stored");
        let mut agent = place.agent();
        agent.settle().await;
        // Until a second sweep finds nothing.
        agent.waits(100).await;
        let instances = place.machine.instances();
        assert_eq!(instances.len(), 1, "{word}: {instances:?}");
        assert!(instances[0].runs, "{word}");
        assert_eq!(agent.report().phase, Phase::Running, "{word}");
    }
    // Dead after the start, before it was known: adopted.
    let place = Place::new(RestartPolicy::Always);
    let mut agent = place.agent();
    agent.dies_at = Some("Collect");
    agent.settle().await;
    place.machine.asked();
    place.agent().settle().await;
    assert_eq!(place.machine.asked(), ["watch fake-1"]);
}

#[tokio::test]
async fn a_job_that_was_stored_and_never_started_is_started_and_one_that_may_have_run_is_not() {
    let place = Place::new(RestartPolicy::Never);
    place.agent_that_dies_at("Start").await;
    place.machine.asked();
    let mut agent = place.agent();
    agent.settle().await;
    agent.waits(100).await;
    let sweep = "sweep fake-1 spare - kill";
    assert_eq!(place.machine.asked(), [sweep, sweep, "prepare 1", "start fake-2"]);
    drop(agent);
    place.machine.reboot();
    let mut agent = place.agent();
    agent.settle().await;
    assert_eq!(place.machine.asked(), ["sweep fake-2 spare - kill"]);
    assert_eq!(agent.report().phase, Phase::Failed);
}

#[tokio::test]
async fn what_a_runtime_refuses_is_the_revisions_fault_or_the_machines() {
    for (why, text) in [
        (NotPrepared::Revision(Reason::from("no such image")), "no such image"),
        (NotPrepared::Machine(Reason::from("no engine")), "no engine"),
    ] {
        let place = Place::new(RestartPolicy::Always);
        place.machine.refuses(Some(why));
        let mut agent = place.agent();
        agent.settle().await;
        assert_eq!((agent.report().phase, &*agent.report().reason), (Phase::Failed, text));
        place.machine.refuses(None);
        agent.waits(5_000).await;
        assert_eq!(agent.report().phase, Phase::Running);
    }
}

/// Everything on a machine, as a runtime that is back tells it.
fn back(machine: &Machine) -> Observed {
    let found = machine.instances().into_iter().map(|it| Found {
        workload: it.name,
        revision: it.revision,
        instance: it.handle,
        role: Role::Main,
        order: (0, 0),
    });
    Observed::Back(found.collect())
}

#[tokio::test]
async fn a_runtime_that_is_back_is_compared_with_what_is_known() {
    let place = Place::new(RestartPolicy::Always);
    let mut agent = place.agent();
    agent.settle().await;
    place.machine.asked();
    // Nothing but what is known: nothing happens.
    agent.agent.observe(back(&place.machine), 0);
    agent.settle().await;
    assert_eq!(place.machine.asked(), Vec::<String>::new());
    // A second one of the same workload, and one of a workload that nobody wants.
    let stray = |workload: &str, id: &str, nonce| Instance {
        name: workload.parse().unwrap(),
        revision: 1,
        handle: Handle { runtime: KIND, id: id.into(), nonce },
        runs: true,
    };
    let unwanted = stray("unwanted", "s-2", 2);
    place.machine.has(unwanted.clone());
    place.machine.has(stray("w", "s-3", 3));
    agent.agent.observe(back(&place.machine), 0);
    agent.settle().await;
    let asked = place.machine.asked();
    assert!(asked.contains(&"sweep - spare fake-1 kill".to_owned()), "{asked:?}");
    agent.waits(5_000).await;
    let left: Vec<String> = place.machine.instances().into_iter().map(|it| it.handle.id).collect();
    assert_eq!(left, ["fake-1"], "what is known goes on");
    assert_eq!(agent.report().phase, Phase::Running);
    assert!(!agent.agent.view().workloads.contains_key(&unwanted.name));
}

#[tokio::test]
async fn what_could_not_be_started_is_tried_at_once_when_its_runtime_is_back() {
    let place = Place::new(RestartPolicy::Always);
    place.machine.refuses(Some(NotPrepared::Machine(Reason::from("no engine"))));
    let mut agent = place.agent();
    agent.settle().await;
    for _ in 0..4 {
        agent.waits(20_000).await;
    }
    assert_eq!(agent.report().phase, Phase::Failed);
    place.machine.refuses(None);
    agent.agent.observe(Observed::Back(vec![]), agent.now);
    agent.settle().await;
    assert_eq!(agent.report().phase, Phase::Running, "without a wait");
}

#[tokio::test]
async fn an_instance_of_a_runtime_that_this_agent_has_not_is_given_up() {
    let place = Place::new(RestartPolicy::Always);
    let former = place.desired.workloads[&name()].clone();
    let instance =
        Handle { runtime: RuntimeKind::new("from-another-build"), id: "a b".into(), nonce: 9 };
    let revision = holdfast_agent::core::saved::Revision {
        number: 1,
        spec: former.spec.into(),
        secrets: None,
    };
    let saved = SavedWorkload {
        current: Some(revision),
        instance: Some(instance),
        ..SavedWorkload::default()
    };
    let (mut store, _) = Store::open(&place.data.path().join("store.redb"));
    store.put(&[(name(), Some(saved))]).unwrap();
    drop(store);
    place.agent().settle().await;
    assert_eq!(place.machine.asked(), ["prepare 1", "start fake-1"]);
}

/// Two runtimes in one table, each with a machine of its own.
fn two(workloads: &Path) -> ([Machine; 2], Runtimes, mpsc::Receiver<Observed>) {
    let (tell, observed) = Fake::channel();
    let machines = [Machine::default(), Machine::default()];
    let silent = Fake::scripted(machines[0].clone(), tell.clone());
    let other = RuntimeKind::new("other");
    let acting = Fake::acting(other, machines[1].clone(), tell.clone());
    let all: Vec<Box<dyn Runtime>> = vec![Box::new(silent), Box::new(acting)];
    (machines, Runtimes::new(all, workloads.to_owned(), tell), observed)
}

fn handle(runtime: RuntimeKind) -> Handle {
    Handle { runtime, id: "7".into(), nonce: 7 }
}

#[tokio::test]
async fn a_handle_says_which_runtime_is_asked() {
    let scratch = tempfile::tempdir().unwrap();
    let ([silent, other], runtimes, _observed) = two(scratch.path());
    for runtime in [KIND, RuntimeKind::new("other")] {
        runtimes.start(name(), handle(runtime));
    }
    runtimes.watch(name(), handle(KIND));
    assert_eq!(silent.asked(), ["start 7", "watch 7"]);
    assert_eq!(other.asked(), ["start 7"]);
}

#[tokio::test]
async fn a_runtime_that_does_not_answer_delays_no_sweep_of_another() {
    let scratch = tempfile::tempdir().unwrap();
    let ([silent, other], runtimes, mut observed) = two(scratch.path());
    let sweep = |name: &str, kinds: &[RuntimeKind], last: Option<RuntimeKind>| Sweep {
        name: name.parse().unwrap(),
        runtimes: kinds.iter().cloned().collect(),
        last: last.map(handle),
        spare: None,
        kill: true,
    };
    let handle = |nonce| Handle { runtime: RuntimeKind::new("other"), id: "1".into(), nonce };
    let name: Name = "both".parse().unwrap();
    other.has(Instance { name: name.clone(), revision: 1, handle: handle(1), runs: true });
    let quick = RuntimeKind::new("other");
    runtimes.sweep(vec![
        sweep("slow", &[KIND], Some(KIND)),
        sweep("quick", std::slice::from_ref(&quick), Some(quick.clone())),
        sweep("both", &[], Some(KIND)),
    ]);
    assert_eq!(observed.recv().await.unwrap(), Observed::Swept("quick".parse().unwrap(), 0));
    assert!(silent.answers(Remains { behind: 0, left: 2 }));
    assert!(silent.answers(Remains { behind: 1, left: 1 }));
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(observed.recv().await.unwrap());
    }
    told.sort_by_key(|it| format!("{it:?}"));
    assert_eq!(
        told,
        [
            // One of the silent runtime, and the one that the other has ended.
            Observed::LeftBehind(name.clone(), 2),
            Observed::Swept(name, 2),
            Observed::Swept("slow".parse().unwrap(), 2),
        ]
    );
    // Each runtime is told of its own instances alone.
    let mut asked = other.asked();
    asked.sort();
    assert_eq!(asked, ["sweep - spare - kill", "sweep 7 spare - kill"]);
}
