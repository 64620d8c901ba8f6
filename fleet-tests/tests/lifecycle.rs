//! Tables from situation to effects, one for each stage of a workload's lifecycle
//! (`agent/core/src/lifecycle.rs`). Each row has an event, what the agent then asks for at once, and
//! the phase that it reports.
//!
//! What is asked of a runtime goes through the agent's shipped table of runtimes to a fake one,
//! which knows no process: the lifecycle is that of any runtime.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails loudly where it stands"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_agent::core::agent::{Agent, Start};
use holdfast_agent::core::effect::{Effect, Observed};
use holdfast_agent::core::restart::NotRestarted;
use holdfast_agent::core::runtime::{Found, Handle, NotPrepared, Reason, Role};
use holdfast_agent::core::saved::{Exit, Revision, SavedWorkload};
use holdfast_agent::core::secrets::{Opener, Secrets};
use holdfast_agent::runtimes::{Prepare, Probing, Remains, Runtimes, Sweep};
use holdfast_base::WIRE_VERSION;
use holdfast_base::ids::{Digest, Name};
use holdfast_protocol::message::{DesiredState, DesiredWorkload};
use holdfast_protocol::sealing::{OnChange, Sealed, SealedContent};
use holdfast_protocol::workload::{
    Artifact, Executable, Health, Probe, Process, Resources, Restart, RestartPolicy, Run, Stop,
    WorkloadSpec,
};

use fleet_tests::fake::{Fake, KIND, Machine};
use tokio::sync::mpsc;

const DIGEST: Digest = Digest([7; 32]);

fn name() -> Name {
    "w".parse().unwrap()
}

/// Makes a spec by a word: `plain`, `other`, `job`, `careful` (on-failure), `probed`, `sick`
/// (probed, another program), `artifact`.
fn spec(word: &str) -> WorkloadSpec {
    let executable = match word {
        "artifact" => Executable::Artifact(Artifact { digest: DIGEST, size: 9 }),
        path => Executable::Path(format!("/bin/{path}")),
    };
    let process =
        Process { executable, args: vec![], env: BTreeMap::new(), user: None, workdir: None };
    let policy = match word {
        "job" => RestartPolicy::Never,
        "careful" => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    };
    let health = matches!(word, "probed" | "sick").then(|| Health {
        probe: Probe::Tcp { host: None, port: 80 },
        start_period_ms: 2_000,
        interval_ms: 1_000,
        timeout_ms: 100,
        failures: 2,
    });
    WorkloadSpec {
        run: Run::Process(process),
        config: BTreeMap::from([(format!("{word}.conf"), String::new())]),
        resources: Resources::default(),
        restart: Restart { policy, backoff_initial_ms: 1_000, backoff_max_ms: 4_000 },
        health,
        stop: Stop { signal: 15, grace_ms: 3_000 },
        bus: Default::default(),
        windows: Default::default(),
    }
}

fn revision(number: u64, word: &str) -> Revision {
    Revision { number, spec: spec(word).into(), secrets: None }
}

/// Makes secrets of words such as `signal:2:env:file`: action, version, environment value, file.
fn secrets(revision: u64, words: &str) -> Secrets {
    let words: Vec<&str> = words.split(':').collect();
    let on_change = if words[0] == "signal" { OnChange::Signal(1) } else { OnChange::Restart };
    let (version, bytes) = (words[1].parse().unwrap(), words[2..].join(":").into_bytes());
    let sealed = Sealed { version, on_change, bytes };
    Secrets { device: "default_d-1".parse().unwrap(), revision, epoch: 1, sealed }
}

/// Opener of the secrets that [`secrets`] makes, but for those with `closed` in them.
#[derive(Debug)]
struct Words;

impl Opener for Words {
    fn open(&self, _workload: &Name, secrets: &Secrets) -> Result<SealedContent, Reason> {
        let text = String::from_utf8(secrets.sealed.bytes.clone()).unwrap();
        let (env, file) = text.split_once(':').unwrap();
        if text.contains("closed") {
            return Err("sealed to another key".into());
        }
        Ok(SealedContent {
            env: [("A".to_owned(), env.to_owned())].into(),
            files: [("f".to_owned(), file.as_bytes().to_vec().into())].into(),
        })
    }
}

fn instance(id: u32) -> Handle {
    Handle { runtime: KIND, id: id.to_string(), nonce: u64::from(id) }
}

fn desired(generation: u64, wanted: Option<Revision>) -> DesiredState {
    desired_so(generation, wanted, false)
}

fn desired_so(generation: u64, wanted: Option<Revision>, paused: bool) -> DesiredState {
    let workload = |it: Revision| {
        let (revision, spec) = (it.number, (*it.spec).clone());
        let sealed = it.secrets.map(|secrets| Box::new(secrets.sealed.clone()));
        DesiredWorkload { revision, paused, spec, sealed }
    };
    DesiredState {
        v: WIRE_VERSION,
        device: "default_d-1".parse().unwrap(),
        epoch: 1,
        generation,
        workloads: wanted.map(|it| (name(), workload(it))).into_iter().collect(),
        data: None,
        audit: None,
    }
}

/// Agent under test, with its clock and its runtime.
struct Bench {
    agent: Agent,
    now: u64,
    generation: u64,
    /// Handles that were found at the start of the agent.
    found: Vec<Handle>,
    machine: Machine,
    runtimes: Runtimes,
    tell: mpsc::Sender<Observed>,
    observed: mpsc::Receiver<Observed>,
    tasks: tokio::runtime::Runtime,
}

impl Bench {
    fn new(start: Start) -> Self {
        let found = start.found.iter().map(|it| it.instance.clone()).collect();
        let ((tell, observed), machine) = (Fake::channel(), Machine::default());
        let fake = Fake::scripted(machine.clone(), tell.clone());
        let runtimes = Runtimes::new(vec![Box::new(fake)], "/nowhere".into(), tell.clone());
        let tasks = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let agent = Agent::new(start, 0);
        Self { agent, now: 0, generation: 1, found, machine, runtimes, tell, observed, tasks }
    }

    /// Lets the tasks of the runtimes go on until each of them waits, and takes in what they tell.
    fn settle(&mut self) {
        self.tasks.block_on(async {
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
        });
        while let Ok(observed) = self.observed.try_recv() {
            self.agent.observe(observed, self.now);
        }
    }

    /// Applies an event, given in words such as `exited 7 1`.
    fn happens(&mut self, what: &str) {
        let words: Vec<&str> = what.split(' ').collect();
        let it = || {
            let found = self.found.iter().find(|it| it.id == words[1]).cloned();
            found.unwrap_or_else(|| instance(words[1].parse().unwrap()))
        };
        let rest = |from: usize| words.get(from..).unwrap_or_default().join(" ");
        let observed = match words[0] {
            "start" => return,
            "want" => {
                self.generation += 1;
                let wanted = (words[1] != "nothing").then(|| {
                    let number = words[1].parse().unwrap();
                    let secrets = words.get(3).map(|words| secrets(number, words).into());
                    Revision { secrets, ..revision(number, words[2]) }
                });
                return self.agent.follow(&desired(self.generation, wanted));
            }
            "pause" => {
                self.generation += 1;
                let wanted = Some(revision(words[1].parse().unwrap(), words[2]));
                return self.agent.follow(&desired_so(self.generation, wanted, true));
            }
            "restart" => return self.agent.restart(&name()).unwrap(),
            "wait" => {
                self.now += words[1].parse::<u64>().unwrap();
                return;
            }
            "prepared" => Observed::Prepared(name(), Ok(it())),
            "not-prepared" => {
                Observed::Prepared(name(), Err(NotPrepared::Machine(Reason(rest(1)))))
            }
            "unfit" => Observed::Prepared(name(), Err(NotPrepared::Revision(Reason(rest(1))))),
            "missing" => Observed::Prepared(name(), Err(NotPrepared::Artifact(DIGEST))),
            "saved" => Observed::Saved(name(), true),
            "not-saved" => Observed::Saved(name(), false),
            "started" => Observed::Started(name(), it(), Ok(())),
            "not-started" => Observed::Started(name(), it(), Err(Reason(rest(2)))),
            "exited" => Observed::Exited(name(), it(), Exit::Code(words[2].parse().unwrap())),
            "killed" => Observed::Exited(name(), it(), Exit::Signal(9)),
            "closed" => Observed::Prepared(name(), Err(NotPrepared::Secrets(Reason(rest(1))))),
            "refreshed" => Observed::Refreshed(name(), it(), Ok(())),
            "not-refreshed" => Observed::Refreshed(name(), it(), Err(Reason(rest(2)))),
            "well" => Observed::Probed(name(), it(), Ok(())),
            "unwell" => Observed::Probed(name(), it(), Err("refused".into())),
            "behind" => Observed::LeftBehind(name(), words[1].parse().unwrap()),
            "swept" => {
                let left = words[1].parse().unwrap();
                if self.machine.answers(Remains { behind: 0, left }) {
                    return self.settle();
                }
                Observed::Swept(name(), left)
            }
            "fetched" => Observed::Fetched(DIGEST),
            "torn" => Observed::FetchTrouble(DIGEST, rest(1)),
            "blind" => Observed::Blind,
            "census" => {
                let found = words[1..].iter().map(|id| found(id.parse().unwrap(), 1, true, false));
                self.machine.finds(Ok(found.collect()));
                Observed::Census(self.runtimes.census(&self.agent.known()).unwrap())
            }
            "removed" | "stuck" => {
                self.machine.is_stuck((words[0] == "stuck").then(|| rest(1)));
                let removed = self.runtimes.remove(&name()).map_err(|error| Reason::of(&error));
                assert_eq!(self.machine.asked(), ["remove"]);
                Observed::Removed(name(), removed)
            }
            other => panic!("{other}?"),
        };
        self.tell.try_send(observed).unwrap();
        self.settle();
    }

    /// Carries out what the core asks for, as the driver does; returns it in words.
    fn does(&mut self) -> String {
        let mut shown = Vec::new();
        for effect in self.agent.advance(self.now) {
            let tasks = self.tasks.enter();
            shown.extend(show(&effect));
            match effect {
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
                Effect::Fetch(_)
                | Effect::Pause(_)
                | Effect::Save { .. }
                | Effect::Remove { .. }
                | Effect::Census
                | Effect::Collect { .. } => {}
            }
            drop(tasks);
            self.settle();
            shown.extend(self.machine.asked());
        }
        shown.join(", ")
    }

    /// Phase, revision and restarts as reported, or `gone`.
    fn reports(&self) -> String {
        self.agent.view().workloads.get(&name()).map_or_else(
            || "gone".into(),
            |it| {
                format!(
                    "{} {} {}",
                    format!("{:?}", it.phase).to_lowercase(),
                    it.revision,
                    it.restarts
                )
            },
        )
    }

    fn reason(&self) -> String {
        self.agent.view().workloads.get(&name()).map(|it| it.reason.clone()).unwrap_or_default()
    }

    fn follows(&mut self, title: &str, rows: &[(&str, &str, &str)]) {
        for (at, (what, effects, report)) in rows.iter().enumerate() {
            self.happens(what);
            assert_eq!(self.does(), *effects, "{title}, row {at}: {what}: effects");
            assert_eq!(self.reports(), *report, "{title}, row {at}: {what}: report");
            assert_eq!(self.does(), "", "{title}, row {at}: {what}: asked again, nothing is left");
        }
    }
}

/// Start of an agent that can open secrets.
fn opening() -> Start {
    Start { opener: Some(Arc::new(Words)), ..Start::default() }
}

/// Brings a workload with secrets from nothing to running.
fn running_with(pid: u32, word: &str, secrets: &str) -> Bench {
    let mut bench = Bench::new(opening());
    for what in [
        format!("want 1 {word} {secrets}"),
        format!("prepared {pid}"),
        "saved".into(),
        format!("started {pid}"),
    ] {
        bench.happens(&what);
        bench.does();
    }
    assert!(bench.reports().starts_with("running"), "{}", bench.reports());
    bench
}

/// Shows an effect that no runtime is asked for at once.
fn show(effect: &Effect) -> Option<String> {
    match effect {
        Effect::Fetch(_) => Some("fetch".into()),
        Effect::Save { saved, .. } => {
            let current = saved.current.as_ref().map_or(0, |it| it.number);
            let id = saved.instance.as_ref().map_or("-", |it| it.id.as_str());
            let mut text = format!("save {current} {id}");
            text += if saved.proven { " proven" } else { "" };
            text +=
                &saved.previous.as_ref().map_or(String::new(), |it| format!(" over {}", it.number));
            text += &saved
                .rejected
                .as_ref()
                .map_or(String::new(), |it| format!(" not {}", it.revision.number));
            text += if saved.ending.is_some() { " ended" } else { "" };
            Some(text + if saved.paused { " paused" } else { "" })
        }
        Effect::Remove { .. } => Some("remove".into()),
        Effect::Census => Some("census".into()),
        Effect::Collect { keep } => Some(format!("keep {}", keep.len())),
        _ => None,
    }
}

/// Brings a workload from nothing to running.
fn running(pid: u32, word: &str) -> Bench {
    let mut bench = Bench::new(Start::default());
    for what in [
        format!("want 1 {word}"),
        format!("prepared {pid}"),
        "saved".into(),
        format!("started {pid}"),
    ] {
        bench.happens(&what);
        bench.does();
    }
    assert!(bench.reports().starts_with("running") || word == "probed", "{}", bench.reports());
    bench
}

#[test]
fn idle_preparing_saving_starting() {
    Bench::new(Start::default()).follows(
        "a first start",
        &[
            ("start", "keep 0", "gone"),
            ("want 1 plain", "prepare 1", "starting 1 0"),
            ("prepared 7", "save 1 7", "starting 1 0"),
            ("saved", "start 7", "starting 1 0"),
            ("started 7", "", "running 1 0"),
        ],
    );
    Bench::new(Start::default()).follows(
        "a full disk is no reason not to run",
        &[
            ("want 1 plain", "prepare 1", "starting 1 0"),
            ("prepared 7", "save 1 7", "starting 1 0"),
            ("not-saved", "start 7", "starting 1 0"),
            ("started 7", "keep 0", "running 1 0"),
        ],
    );
    Bench::new(Start::default()).follows(
        "what is not wanted any more ends at the gate",
        &[
            ("want 1 plain", "prepare 1", "starting 1 0"),
            ("want 2 other", "", "starting 2 0"),
            ("prepared 7", "sweep 7 spare - kill", "starting 2 0"),
            ("swept 0", "prepare 2", "starting 2 0"),
            ("want nothing", "", "starting 0 0"),
            ("prepared 8", "sweep 8 spare - kill", "stopped 0 0"),
            ("swept 0", "remove", "stopped 0 0"),
            ("removed", "keep 0", "gone"),
        ],
    );
    Bench::new(Start::default()).follows(
        "an end before it was started",
        &[
            ("want 1 plain", "prepare 1", "starting 1 0"),
            ("prepared 7", "save 1 7", "starting 1 0"),
            ("exited 7 1", "sweep 7 spare - kill", "backoff 1 0"),
            ("saved", "", "backoff 1 0"),
            ("swept 0", "keep 0", "backoff 1 0"),
            ("wait 1000", "prepare 1", "starting 1 0"),
        ],
    );
    Bench::new(Start::default()).follows(
        "no such program",
        &[
            ("want 1 plain", "prepare 1", "starting 1 0"),
            ("prepared 7", "save 1 7", "starting 1 0"),
            ("saved", "start 7", "starting 1 0"),
            ("not-started 7 no such file", "keep 0", "failed 1 0"),
            ("exited 7 126", "", "failed 1 0"),
            ("wait 700", "", "failed 1 0"),
            ("wait 300", "prepare 1", "starting 1 0"),
        ],
    );
}

#[test]
fn what_a_program_leaves_behind_is_told_with_what_to_do() {
    for (ending, behind, said) in [
        (
            "exited 7 0",
            "behind 1",
            "ended with code 0 and left 1 process behind, which was ended: a program must stay in the foreground",
        ),
        (
            "exited 7 3",
            "behind 2",
            "ended with code 3 and left 2 processes behind, which were ended",
        ),
        (
            "killed 7",
            "behind 2",
            "was ended by signal 9 (SIGKILL) and left 2 processes behind, which were ended",
        ),
    ] {
        let mut bench = running(7, "plain");
        for what in
            [ending, behind, "swept 2", "wait 60", "behind 1", "swept 1", "wait 200", "swept 0"]
        {
            bench.happens(what);
            bench.does();
        }
        assert_eq!(bench.reason(), said, "said once, of the first look");
        assert!(bench.reports().starts_with("backoff"), "{}", bench.reports());
    }
    // Processes left of a workload that was asked to end are not reported.
    let mut bench = running(7, "plain");
    for what in ["want 2 other", "exited 7 0", "behind 3", "swept 0"] {
        bench.happens(what);
        bench.does();
    }
    assert_eq!(bench.reason(), "");
}

#[test]
fn a_job_that_could_not_be_executed_has_not_run() {
    Bench::new(Start::default()).follows(
        "no such program",
        &[
            ("want 1 job", "prepare 1", "starting 1 0"),
            ("prepared 7", "save 1 7", "starting 1 0"),
            ("saved", "start 7", "starting 1 0"),
            ("not-started 7 no such file", "save 1 -, keep 0", "failed 1 0"),
            ("wait 1000", "prepare 1", "starting 1 0"),
        ],
    );
}

#[test]
fn a_start_that_fails_waits_even_the_very_first() {
    for failure in ["not-prepared no room", "unfit no such user"] {
        let mut bench = Bench::new(Start::default());
        bench.follows(
            failure,
            &[
                ("want 1 plain", "prepare 1", "starting 1 0"),
                (failure, "keep 0", "failed 1 0"),
                ("wait 700", "", "failed 1 0"),
                ("wait 300", "prepare 1", "starting 1 0"),
                (failure, "", "failed 1 0"),
                ("wait 1400", "", "failed 1 0"),
                ("wait 600", "prepare 1", "starting 1 0"),
                (failure, "", "failed 1 0"),
                // Another revision is tried at once; the same spec under another number is not.
                ("want 2 plain", "", "failed 2 0"),
                ("want 3 other", "prepare 3", "starting 3 0"),
                (failure, "", "failed 3 0"),
                ("want nothing", "remove", "stopped 0 0"),
            ],
        );
    }
}

#[test]
fn fetching() {
    let mut bench = Bench::new(Start::default());
    bench.follows(
        "an artifact comes first",
        &[
            ("want 1 artifact", "fetch, keep 1", "fetching 1 0"),
            ("torn the link is down", "", "fetching 1 0"),
        ],
    );
    assert_eq!(bench.reason(), "the link is down");
    bench.follows("and then it starts", &[("fetched", "prepare 1", "starting 1 0")]);
    assert_eq!(bench.reason(), "");

    Bench::new(Start::default()).follows(
        "what needs no artifact any more does not wait for it",
        &[
            ("want 1 artifact", "fetch, keep 1", "fetching 1 0"),
            ("want 2 plain", "prepare 2", "starting 2 0"),
        ],
    );
    Bench::new(Start::default()).follows(
        "nor does what goes",
        &[
            ("want 1 artifact", "fetch, keep 1", "fetching 1 0"),
            ("want nothing", "remove", "stopped 0 0"),
            ("removed", "keep 0", "gone"),
            ("fetched", "keep 0", "gone"),
        ],
    );
    let mut bench = running(7, "plain");
    bench.follows(
        "the old one runs until the new one can",
        &[("want 2 artifact", "fetch, keep 1", "running 1 0"), ("torn no way", "", "running 1 0")],
    );
    assert_eq!(bench.reason(), "no way");
    bench.follows(
        "and then makes way",
        &[
            ("fetched", "stop 7 15", "stopped 1 0"),
            ("exited 7 0", "sweep 7 spare -", "starting 2 0"),
            ("swept 0", "prepare 2 without plain.conf", "starting 2 0"),
        ],
    );
}

#[test]
fn what_ran_goes_on_while_what_is_wanted_is_fetched() {
    running(7, "plain").follows(
        "a crash: the former revision is started again, after its back-off",
        &[
            ("want 2 artifact", "fetch, keep 1", "running 1 0"),
            ("exited 7 1", "sweep 7 spare - kill", "backoff 2 0"),
            ("swept 0", "", "backoff 2 0"),
            ("wait 1000", "prepare 1", "starting 2 0"),
            ("prepared 8", "save 1 8", "starting 2 1"),
            ("saved", "start 8", "starting 2 1"),
            ("started 8", "", "running 1 1"),
            ("fetched", "stop 8 15", "stopped 1 1"),
        ],
    );
    running(7, "plain").follows(
        "what arrives during the back-off is started at once",
        &[
            ("want 2 artifact", "fetch, keep 1", "running 1 0"),
            ("exited 7 1", "sweep 7 spare - kill", "backoff 2 0"),
            ("swept 0", "", "backoff 2 0"),
            ("fetched", "prepare 2 without plain.conf", "starting 2 0"),
        ],
    );
    running(7, "probed").follows(
        "its probe is asked, and counts",
        &[
            ("want 2 artifact", "fetch, keep 1", "starting 1 0"),
            ("well 7", "save 1 7 proven", "running 1 0"),
            ("wait 1000", "probe 7", "running 1 0"),
        ],
    );
    let artifact = || Some(revision(2, "artifact"));
    past(Some(saved_state(Some(7), "plain")), &[], artifact()).follows(
        "a reboot without a link: the former revision is started, and the wanted one asked for",
        &[
            ("start", "sweep 7 spare - kill", "starting 2 3"),
            ("swept 0", "fetch, prepare 1", "starting 2 3"),
            ("prepared 8", "save 1 8 proven", "starting 2 4"),
            ("saved", "start 8", "starting 2 4"),
            ("started 8", "keep 1", "running 1 4"),
            ("torn the link is down", "", "running 1 4"),
        ],
    );
    let ended = SavedWorkload { ending: Some(Exit::Code(0)), ..saved_state(None, "plain") };
    past(Some(ended), &[], artifact()).follows(
        "what has ended for good is not started again",
        &[("start", "fetch, keep 1", "fetching 2 3")],
    );
    past(Some(saved_state(None, "job")), &[], artifact())
        .follows("nor is a job", &[("start", "fetch, keep 1", "fetching 2 3")]);
}

#[test]
fn a_revision_that_is_wanted_again_is_fetched_again() {
    // The collection gives up the download that is not wanted any more: the next one is asked for.
    running(7, "plain").follows(
        "back and forth while it is fetched",
        &[
            ("want 2 artifact", "fetch, keep 1", "running 1 0"),
            ("want 3 plain", "save 3 7, keep 0", "running 3 0"),
            ("want 4 artifact", "fetch, keep 1", "running 3 0"),
            ("fetched", "stop 7 15", "stopped 3 0"),
        ],
    );
    running(7, "plain").follows(
        "forth and forth again within a turn",
        &[
            ("want 2 artifact", "fetch, keep 1", "running 1 0"),
            ("want 3 artifact", "", "running 1 0"),
        ],
    );
}

#[test]
fn an_artifact_that_is_gone_from_the_disk_is_fetched_again() {
    let mut bench = Bench::new(Start::default());
    bench.follows(
        "it was there",
        &[
            ("want 1 artifact", "fetch, keep 1", "fetching 1 0"),
            ("fetched", "prepare 1", "starting 1 0"),
            ("missing", "", "failed 1 0"),
        ],
    );
    assert!(bench.reason().contains("is gone from the disk"), "{}", bench.reason());
    bench.follows(
        "and comes again, with a pause, since the disk may lose it again",
        &[
            ("wait 700", "", "failed 1 0"),
            ("wait 300", "fetch", "fetching 1 0"),
            ("fetched", "prepare 1", "starting 1 0"),
            ("prepared 7", "save 1 7", "starting 1 0"),
        ],
    );
}

#[test]
fn running_and_what_ends_it() {
    running(7, "plain").follows(
        "proven after a while; its number changes without a restart",
        &[
            ("wait 9999", "", "running 1 0"),
            ("wait 1", "save 1 7 proven", "running 1 0"),
            ("want 2 plain", "save 2 7 proven", "running 2 0"),
            ("want 3 other", "stop 7 15", "stopped 2 0"),
        ],
    );
    running(7, "plain").follows(
        "it ends, is restarted, and counted",
        &[
            ("exited 7 0", "sweep 7 spare - kill", "backoff 1 0"),
            ("swept 2", "", "backoff 1 0"),
            ("wait 50", "sweep 7 spare - kill", "backoff 1 0"),
            ("swept 0", "", "backoff 1 0"),
            ("wait 1000", "prepare 1", "starting 1 0"),
            ("prepared 8", "save 1 8", "starting 1 1"),
        ],
    );
    running(7, "plain").follows(
        "news of another process is nothing",
        &[
            ("exited 6 1", "", "running 1 0"),
            ("unwell 7", "", "running 1 0"),
            ("started 6", "", "running 1 0"),
            ("swept 0", "", "running 1 0"),
            ("prepared 9", "", "running 1 0"),
        ],
    );
    running(7, "careful").follows(
        "on-failure: a good end is the end",
        &[
            ("exited 7 0", "sweep 7 spare - kill", "backoff 1 0"),
            ("swept 0", "save 1 - proven ended", "stopped 1 0"),
            ("wait 100000", "", "stopped 1 0"),
            ("want 2 careful", "save 2 - proven ended", "stopped 2 0"),
            ("want 3 plain", "prepare 3 without careful.conf", "starting 3 0"),
        ],
    );
    running(7, "careful").follows(
        "on-failure: a bad end is not",
        &[("killed 7", "sweep 7 spare - kill", "backoff 1 0"), ("swept 0", "", "backoff 1 0")],
    );
    running(7, "job").follows(
        "never: any end is the end",
        &[
            ("exited 7 3", "sweep 7 spare - kill", "backoff 1 0"),
            ("swept 0", "save 1 - ended", "failed 1 0"),
            ("want nothing", "remove", "stopped 1 0"),
        ],
    );
}

#[test]
fn probes() {
    let mut bench = running(7, "probed");
    bench.follows(
        "starting until it answers once, which proves it",
        &[
            ("unwell 7", "", "starting 1 0"),
            ("wait 499", "", "starting 1 0"),
            ("wait 1", "probe 7", "starting 1 0"),
            ("well 7", "save 1 7 proven", "running 1 0"),
            ("wait 1000", "probe 7", "running 1 0"),
            ("unwell 7", "", "running 1 0"),
            ("wait 1000", "probe 7", "running 1 0"),
            ("well 7", "", "running 1 0"),
            ("wait 1000", "probe 7", "running 1 0"),
            ("unwell 7", "", "running 1 0"),
            ("wait 1000", "probe 7", "running 1 0"),
            ("unwell 7", "stop 7 15", "unhealthy 1 0"),
        ],
    );
    assert_eq!(bench.reason(), "its probe failed 2 times: refused");
    bench.follows(
        "and is restarted",
        &[
            ("unwell 7", "", "unhealthy 1 0"),
            ("wait 3000", "kill 7", "unhealthy 1 0"),
            ("wait 9000", "", "unhealthy 1 0"),
            ("killed 7", "sweep 7 spare - kill", "backoff 1 0"),
            ("swept 0", "", "backoff 1 0"),
            ("wait 1000", "prepare 1", "starting 1 0"),
        ],
    );
    running(7, "probed").follows(
        "failures count once the start period is over",
        &[
            ("wait 2000", "", "starting 1 0"),
            ("unwell 7", "", "unhealthy 1 0"),
            ("wait 1000", "probe 7", "unhealthy 1 0"),
            ("unwell 7", "stop 7 15", "unhealthy 1 0"),
        ],
    );
}

#[test]
fn stopping_and_sweeping() {
    running(7, "plain").follows(
        "in good order",
        &[
            ("want nothing", "stop 7 15", "stopped 1 0"),
            ("exited 7 0", "sweep 7 spare -", "stopped 1 0"),
            ("swept 1", "", "stopped 1 0"),
            ("wait 50", "sweep 7 spare -", "stopped 1 0"),
            ("swept 1", "", "stopped 1 0"),
            ("wait 3000", "sweep 7 spare - kill", "stopped 1 0"),
            ("swept 0", "remove", "stopped 1 0"),
            ("removed", "", "gone"),
        ],
    );
    running(7, "plain").follows(
        "stubborn",
        &[
            ("want nothing", "stop 7 15", "stopped 1 0"),
            ("wait 2999", "", "stopped 1 0"),
            ("wait 1", "kill 7", "stopped 1 0"),
            ("killed 7", "sweep 7 spare - kill", "stopped 1 0"),
        ],
    );
    running(7, "plain").follows(
        "wanted again while it ends: it starts again",
        &[
            ("want nothing", "stop 7 15", "stopped 1 0"),
            ("want 1 plain", "", "stopped 1 0"),
            ("exited 7 0", "sweep 7 spare -", "starting 1 0"),
            ("swept 0", "prepare 1", "starting 1 0"),
        ],
    );
}

#[test]
fn what_is_left_is_looked_for_ever_less_often() {
    let mut bench = running(7, "plain");
    bench.follows(
        "grace is looked at ever less often, and its end to the millisecond",
        &[
            ("want nothing", "stop 7 15", "stopped 1 0"),
            ("exited 7 0", "sweep 7 spare -", "stopped 1 0"),
            ("swept 1", "", "stopped 1 0"),
            ("wait 50", "sweep 7 spare -", "stopped 1 0"),
            ("swept 1", "", "stopped 1 0"),
            ("wait 99", "", "stopped 1 0"),
            ("wait 1", "sweep 7 spare -", "stopped 1 0"),
            ("wait 2700", "", "stopped 1 0"),
            ("swept 1", "", "stopped 1 0"),
            ("wait 149", "", "stopped 1 0"),
            ("wait 1", "sweep 7 spare - kill", "stopped 1 0"),
            ("swept 1", "", "stopped 1 0"),
            ("wait 50", "sweep 7 spare - kill", "stopped 1 0"),
        ],
    );
    for pause in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
        bench.happens("swept 2");
        assert_eq!(bench.does(), "");
        let told = bench.reason().starts_with("2 of its processes cannot be killed");
        assert_eq!(told, pause >= 800, "{pause}: {}", bench.reason());
        bench.happens(&format!("wait {}", pause - 1));
        assert_eq!(bench.does(), "", "{pause} was shorter");
        bench.happens("wait 1");
        assert_eq!(bench.does(), "sweep 7 spare - kill", "{pause} was longer");
    }
    bench.follows("they are gone at last", &[("swept 0", "remove", "stopped 1 0")]);
    assert_eq!(bench.reason(), "");
}

#[test]
fn removing() {
    let mut bench = running(7, "plain");
    bench.follows(
        "a folder that cannot be removed is tried again",
        &[
            ("want nothing", "stop 7 15", "stopped 1 0"),
            ("exited 7 0", "sweep 7 spare -", "stopped 1 0"),
            ("swept 0", "remove", "stopped 1 0"),
            ("stuck it is busy", "", "stopped 1 0"),
        ],
    );
    assert_eq!(bench.reason(), "its folder cannot be removed: it is busy");
    bench.follows(
        "later",
        &[
            ("wait 14999", "", "stopped 1 0"),
            ("wait 1", "remove", "stopped 1 0"),
            ("want 2 plain", "", "stopped 2 0"),
            ("removed", "prepare 2", "starting 2 0"),
        ],
    );
}

#[test]
fn the_way_back() {
    let proven = || {
        let mut bench = running(7, "probed");
        bench.follows("revision 1 works", &[("well 7", "save 1 7 proven", "running 1 0")]);
        bench
    };
    let mut bench = proven();
    bench.follows(
        "three failures, and back",
        &[
            ("want 2 plain", "stop 7 15", "stopped 1 0"),
            ("exited 7 0", "sweep 7 spare -", "starting 2 0"),
            ("swept 0", "prepare 2 without probed.conf", "starting 2 0"),
            ("prepared 8", "save 2 8 over 1", "starting 2 0"),
            ("exited 8 1", "sweep 8 spare - kill", "backoff 2 0"),
            ("swept 0", "", "backoff 2 0"),
            ("wait 1000", "prepare 2", "starting 2 0"),
            ("prepared 9", "save 2 9 over 1", "starting 2 1"),
            ("exited 9 1", "sweep 9 spare - kill", "backoff 2 1"),
            ("swept 0", "", "backoff 2 1"),
            ("wait 2000", "prepare 2", "starting 2 1"),
            ("prepared 10", "save 2 10 over 1", "starting 2 2"),
            ("exited 10 1", "sweep 10 spare - kill", "backoff 2 2"),
            ("swept 0", "save 2 - over 1 not 2, prepare 1 without plain.conf", "starting 1 2"),
            ("prepared 11", "save 1 11 proven not 2", "starting 1 0"),
            ("saved", "start 11", "starting 1 0"),
            ("started 11", "probe 11", "starting 1 0"),
            ("well 11", "", "running 1 0"),
        ],
    );
    assert!(bench.reason().starts_with("revision 2 failed and was given up"), "{}", bench.reason());

    let mut bench = proven();
    bench.follows(
        "what can never start is given up with nothing changed",
        &[
            ("want 2 plain", "stop 7 15", "stopped 1 0"),
            ("exited 7 0", "sweep 7 spare -", "starting 2 0"),
            ("swept 0", "prepare 2 without probed.conf", "starting 2 0"),
            ("unfit no such user", "", "failed 2 0"),
            ("wait 1000", "prepare 2 without probed.conf", "starting 2 0"),
            ("unfit no such user", "", "failed 2 0"),
            ("wait 2000", "prepare 2 without probed.conf", "starting 2 0"),
            ("unfit no such user", "save 1 7 proven not 2, prepare 1", "starting 1 0"),
        ],
    );
    assert!(bench.reason().contains("no such user"), "{}", bench.reason());

    proven().follows(
        "a machine in trouble is no revision's fault",
        &[
            ("want 2 plain", "stop 7 15", "stopped 1 0"),
            ("exited 7 0", "sweep 7 spare -", "starting 2 0"),
            ("swept 0", "prepare 2 without probed.conf", "starting 2 0"),
            ("not-prepared full", "", "failed 2 0"),
            ("wait 1000", "prepare 2 without probed.conf", "starting 2 0"),
            ("not-prepared full", "", "failed 2 0"),
            ("wait 2000", "prepare 2 without probed.conf", "starting 2 0"),
            ("not-prepared full", "", "failed 2 0"),
            ("wait 4000", "prepare 2 without probed.conf", "starting 2 0"),
        ],
    );
}

/// Makes a found process of revision 1, which the agent started as `plain`.
fn plainly(pid: u32) -> Handle {
    let nonce = revision(1, "plain").nonce(u64::from(pid) << 32);
    Handle { nonce, ..instance(pid) }
}

/// Makes a found process of the workload; if of revision 1, it was started as `plain`.
fn found(pid: u32, revision: u64, leader: bool, at_gate: bool) -> Found {
    let instance = if revision == 1 { plainly(pid) } else { instance(pid) };
    let role = match (at_gate, leader) {
        (true, _) => Role::Prepared,
        (false, true) => Role::Main,
        (false, false) => Role::Part,
    };
    Found { workload: name(), revision, instance, role, order: (u64::from(pid), 0) }
}

/// Starts the agent on a machine with processes. Each is in the saved state, or was started as
/// `plain`.
fn past(
    saved: Option<SavedWorkload>,
    found: &[(u32, u64, bool, bool)],
    wanted: Option<Revision>,
) -> Bench {
    let instance_saved = saved.as_ref().and_then(|saved| saved.instance.clone());
    let found = found
        .iter()
        .map(|&(pid, revision, leader, at_gate)| {
            let found = self::found(pid, revision, leader, at_gate);
            let known = instance_saved.clone().filter(|it| it.id == pid.to_string());
            Found { instance: known.unwrap_or_else(|| plainly(pid)), ..found }
        })
        .collect();
    let folders = saved.iter().map(|_| name()).collect::<BTreeSet<_>>();
    Bench::new(Start {
        desired: Some(desired(1, wanted)),
        saved: saved.map(|it| (name(), it)).into_iter().collect(),
        found,
        folders,
        artifacts: BTreeSet::new(),
        entropy: 1,
        ..Start::default()
    })
}

fn saved_state(pid: Option<u32>, word: &str) -> SavedWorkload {
    SavedWorkload {
        current: Some(revision(1, word)),
        instance: pid.map(instance),
        proven: true,
        restarts: 3,
        ..SavedWorkload::default()
    }
}

#[test]
fn adoption() {
    let plain = || Some(revision(1, "plain"));
    let known = |pid| Some(saved_state(Some(pid), "plain"));
    past(known(7), &[(7, 1, true, false)], plain())
        .follows("just as saved", &[("start", "watch 7, keep 0", "running 1 3")]);
    past(known(7), &[(7, 1, true, false), (8, 1, false, false)], plain()).follows(
        "with a child of its own or of one before",
        &[("start", "watch 7, sweep - spare 7 kill, keep 0", "running 1 3")]
            .map(|(what, _, report)| (what, "watch 7, sweep 7 spare 7 kill, keep 0", report)),
    );
    past(known(7), &[], plain()).follows(
        "it is gone",
        &[
            ("start", "sweep 7 spare - kill", "starting 1 3"),
            ("swept 0", "prepare 1", "starting 1 3"),
        ],
    );
    past(known(7), &[(7, 1, true, false)], None)
        .follows("not wanted any more", &[("start", "watch 7, stop 7 15", "stopped 1 3")]);
    past(known(7), &[(7, 1, true, false)], Some(revision(2, "plain"))).follows(
        "only renumbered",
        &[("start", "watch 7, save 2 7 proven, keep 0", "running 2 3")],
    );
    past(known(7), &[(7, 1, true, false)], Some(revision(2, "other")))
        .follows("another revision", &[("start", "watch 7, stop 7 15", "stopped 1 3")]);
    past(None, &[(7, 1, true, false)], plain()).follows(
        "its saved state is lost",
        &[("start", "watch 7, save 1 7, keep 0", "running 1 0")],
    );
    past(None, &[(7, 1, true, true)], plain()).follows(
        "what is only prepared is none",
        &[
            ("start", "sweep - spare - kill", "starting 1 0"),
            ("swept 0", "prepare 1", "starting 1 0"),
        ],
    );
    past(None, &[(7, 1, true, false), (8, 1, true, false)], plain())
        .follows("two: neither", &[("start", "sweep - spare - kill", "starting 1 0")]);
    past(None, &[(7, 1, true, false)], Some(revision(1, "other"))).follows(
        "a number that is another revision's: the nonce tells",
        &[("start", "sweep - spare - kill", "starting 1 0")],
    );
    past(None, &[(7, 0, true, false)], plain()).follows(
        "what does not say its revision is no main process",
        &[("start", "sweep - spare - kill", "starting 1 0")],
    );
    let mut bench = Bench::new(Start {
        saved: BTreeMap::from([(name(), saved_state(Some(7), "plain"))]),
        folders: BTreeSet::from([name(), "old".parse().unwrap()]),
        ..Start::default()
    });
    bench.follows(
        "no desired state: what ran is started, nothing is removed",
        &[
            ("start", "sweep 7 spare - kill", "starting 1 3"),
            ("swept 0", "prepare 1", "starting 1 3"),
        ],
    );
    assert_eq!(bench.agent.view().workloads.len(), 1);
}

#[test]
fn of_several_processes_of_one_instance_the_first_is_its_main_process() {
    let found = |pid: u32, revision: u64| Found {
        workload: name(),
        revision,
        instance: Handle { nonce: plainly(7).nonce, ..instance(pid) },
        role: Role::Main,
        order: (u64::from(pid), 0),
    };
    let mut bench = Bench::new(Start {
        desired: Some(desired(1, Some(revision(1, "plain")))),
        // A probe that runs, a child with a session of its own, and the main process.
        found: vec![found(3, 0), found(8, 1), found(7, 1)],
        ..Start::default()
    });
    bench.follows(
        "the rest is its own",
        &[("start", "watch 7, save 1 7, sweep - spare 7 kill, keep 0", "running 1 0")],
    );
}

#[test]
fn jobs_after_a_start_of_the_agent() {
    let ended = SavedWorkload { ending: Some(Exit::Code(0)), ..saved_state(None, "job") };
    past(Some(ended), &[], Some(revision(1, "job")))
        .follows("a job that ended stays so", &[("start", "keep 0", "stopped 1 3")]);
    let mut bench = past(Some(saved_state(Some(7), "job")), &[], Some(revision(1, "job")));
    bench.follows(
        "nor does a job run again that ended while nobody looked, or with its machine",
        &[
            ("start", "sweep 7 spare - kill", "backoff 1 3"),
            ("swept 0", "save 1 - proven ended, keep 0", "failed 1 3"),
            ("wait 100000", "", "failed 1 3"),
            ("want 2 other", "prepare 2 without job.conf", "starting 2 3"),
        ],
    );
    let mut bench = past(Some(saved_state(Some(7), "job")), &[], Some(revision(1, "job")));
    for what in ["start", "swept 0"] {
        bench.happens(what);
        bench.does();
    }
    assert!(bench.reason().contains("while the agent was away"), "{}", bench.reason());
    past(Some(saved_state(None, "job")), &[], Some(revision(1, "job")))
        .follows("one that never ran does", &[("start", "prepare 1", "starting 1 3")]);
    past(Some(saved_state(Some(7), "careful")), &[], Some(revision(1, "careful"))).follows(
        "on-failure: an end that nobody saw was no good end",
        &[
            ("start", "sweep 7 spare - kill", "starting 1 3"),
            ("swept 0", "prepare 1", "starting 1 3"),
        ],
    );
}

/// Starts the agent with a desired state that cannot be read.
fn blind(
    saved: Option<SavedWorkload>,
    found: &[(u32, u64, bool, bool)],
    former: Option<Revision>,
) -> Bench {
    let found = found
        .iter()
        .map(|&(pid, revision, leader, at_gate)| self::found(pid, revision, leader, at_gate));
    Bench::new(Start {
        former: former.map(|it| desired(1, Some(it))),
        saved: saved.map(|it| (name(), it)).into_iter().collect(),
        found: found.collect(),
        folders: BTreeSet::from([name()]),
        ..Start::default()
    })
}

#[test]
fn what_nobody_can_tell_anything_of_is_left_alone() {
    let lost = || blind(None, &[(7, 1, true, false)], None);
    let mut bench = lost();
    bench.follows(
        "no saved state and no desired state",
        &[("start", "watch 7", "running 1 0"), ("wait 100000", "", "running 1 0")],
    );
    assert!(bench.reason().contains("left alone"), "{}", bench.reason());
    assert!(bench.agent.view().settled);
    assert_eq!(bench.agent.saved().count(), 1, "its log is looked after");
    bench.follows(
        "until one comes, and just that is wanted",
        &[
            ("want 1 plain", "census", "running 1 0"),
            ("blind", "", "running 1 0"),
            ("wait 1000", "census", "running 1 0"),
            ("census 7", "watch 7, save 1 7, keep 0", "running 1 0"),
        ],
    );
    assert_eq!(bench.reason(), "");
    lost().follows(
        "until one comes, and nothing is wanted of it",
        &[
            ("start", "watch 7", "running 1 0"),
            ("want nothing", "census", "running 1 0"),
            ("census 7", "sweep - spare - kill", "stopped 0 0"),
            ("swept 0", "remove", "stopped 0 0"),
            ("removed", "keep 0", "gone"),
        ],
    );
    lost().follows(
        "it ends meanwhile",
        &[
            ("start", "watch 7", "running 1 0"),
            ("exited 7 0", "", "gone"),
            ("want 1 plain", "census", "gone"),
            ("want 2 other", "", "gone"),
            ("census", "prepare 2", "starting 2 0"),
        ],
    );
    blind(Some(saved_state(Some(7), "plain")), &[(8, 9, true, false)], None).follows(
        "it runs, but not what was saved",
        &[("start", "watch 8", "running 9 0"), ("wait 100000", "", "running 9 0")],
    );
    blind(Some(saved_state(Some(7), "plain")), &[(8, 1, false, false)], None).follows(
        "what a saved one left is swept",
        &[("start", "sweep 7 spare - kill", "starting 1 3")],
    );
}

#[test]
fn a_former_desired_state_tells_what_may_run_and_not_what_may_not() {
    let plain = || Some(revision(1, "plain"));
    blind(None, &[], plain()).follows("it does not run", &[("start", "prepare 1", "starting 1 0")]);
    blind(None, &[(7, 1, true, false)], plain()).follows(
        "it runs as it did then",
        &[("start", "watch 7, save 1 7, keep 0", "running 1 0")],
    );
    blind(None, &[(7, 2, true, false)], plain()).follows(
        "another revision runs by now",
        &[
            ("start", "watch 7", "running 2 0"),
            ("want 1 plain", "census", "running 2 0"),
            ("census", "prepare 1", "starting 1 0"),
        ],
    );
    blind(None, &[(7, 2, true, false)], None)
        .follows("it did not know of this", &[("start", "watch 7", "running 2 0")]);
}

#[test]
fn numbers_that_come_again_after_a_restore_are_told_apart() {
    // Revision 1 was saved as `plain`; the process runs the new revision 1, `other`.
    let other = revision(1, "other");
    let running = Handle { nonce: other.nonce(0x1234_5678_9abc_def0), ..instance(8) };
    let found =
        Found { workload: name(), revision: 1, instance: running, role: Role::Main, order: (8, 0) };
    let mut bench = Bench::new(Start {
        desired: Some(desired(1, Some(other))),
        saved: BTreeMap::from([(name(), saved_state(Some(7), "plain"))]),
        found: vec![found],
        ..Start::default()
    });
    bench.follows(
        "the one that is wanted is adopted",
        &[("start", "watch 8, save 1 8 over 1, keep 0", "running 1 0")],
    );
}

#[test]
fn paused_and_resumed() {
    let mut bench = running(7, "plain");
    bench.follows(
        "what runs is stopped by its own signal and grace, and runs again when it is resumed",
        &[
            ("pause 1 plain", "stop 7 15", "stopped 1 0"),
            ("wait 3000", "kill 7", "stopped 1 0"),
            ("killed 7", "sweep 7 spare - kill", "paused 1 0"),
            ("swept 0", "save 1 - paused", "paused 1 0"),
            ("wait 100000", "", "paused 1 0"),
        ],
    );
    assert_eq!(bench.reason(), "paused: it starts when it is resumed");
    assert!(bench.agent.view().settled);
    bench.follows(
        "another revision is not started either, and the end of the pause counts as no restart",
        &[
            ("pause 2 other", "", "paused 2 0"),
            ("pause 1 plain", "", "paused 1 0"),
            ("want 1 plain", "prepare 1", "starting 1 0"),
            ("prepared 8", "save 1 8", "starting 1 0"),
            ("saved", "start 8", "starting 1 0"),
            ("started 8", "", "running 1 0"),
            ("wait 10000", "save 1 8 proven", "running 1 0"),
            ("exited 8 1", "sweep 8 spare - kill", "backoff 1 0"),
            ("swept 0", "", "backoff 1 0"),
            ("pause 1 plain", "save 1 - proven paused", "paused 1 0"),
            ("wait 100000", "", "paused 1 0"),
            ("want nothing", "remove", "stopped 1 0"),
        ],
    );
    Bench::new(Start::default()).follows(
        "what is new is not started, and a download is not waited for",
        &[
            ("pause 1 artifact", "save 0 - paused, keep 1", "paused 1 0"),
            ("want 1 artifact", "fetch", "fetching 1 0"),
            ("pause 1 artifact", "", "paused 1 0"),
        ],
    );
    Bench::new(Start::default()).follows(
        "paused at the gate",
        &[
            ("want 1 plain", "prepare 1", "starting 1 0"),
            ("pause 1 plain", "", "starting 1 0"),
            ("prepared 7", "sweep 7 spare - kill", "paused 1 0"),
            ("swept 0", "save 0 - paused, keep 0", "paused 1 0"),
        ],
    );
    running(7, "job").follows(
        "a job that was cut short runs when it is resumed; one that has ended stays as it is",
        &[
            ("pause 1 job", "stop 7 15", "stopped 1 0"),
            ("killed 7", "sweep 7 spare -", "paused 1 0"),
            ("swept 0", "save 1 - paused", "paused 1 0"),
            ("want 1 job", "prepare 1", "starting 1 0"),
            ("prepared 8", "save 1 8", "starting 1 0"),
            ("saved", "start 8", "starting 1 0"),
            ("started 8", "", "running 1 0"),
            ("exited 8 0", "sweep 8 spare - kill", "backoff 1 0"),
            ("swept 0", "save 1 - proven ended", "stopped 1 0"),
            ("pause 1 job", "", "stopped 1 0"),
            ("want 1 job", "", "stopped 1 0"),
        ],
    );
}

#[test]
fn what_is_paused_stays_so_after_a_start_of_the_agent() {
    let start = |saved: SavedWorkload, found: Vec<Found>, desired: Option<DesiredState>| {
        Bench::new(Start {
            desired,
            saved: BTreeMap::from([(name(), saved)]),
            found,
            folders: BTreeSet::from([name()]),
            ..Start::default()
        })
    };
    let paused = || SavedWorkload { paused: true, ..saved_state(None, "plain") };
    let wanted = || Some(desired_so(1, Some(revision(1, "plain")), true));
    start(paused(), vec![], wanted())
        .follows("it is not started", &[("start", "keep 0", "paused 1 3")]);
    start(paused(), vec![], None).follows(
        "nor where the desired state cannot be read, until one comes",
        &[
            ("start", "keep 0", "paused 1 3"),
            ("wait 100000", "", "paused 1 3"),
            ("want 1 plain", "prepare 1", "starting 1 3"),
        ],
    );
    start(saved_state(Some(7), "plain"), vec![], wanted()).follows(
        "it was being stopped when the machine went down",
        &[
            ("start", "sweep 7 spare - kill", "paused 1 3"),
            ("swept 0", "save 1 - proven paused, keep 0", "paused 1 3"),
        ],
    );
    let runs = found(7, 1, true, false);
    start(saved_state(Some(7), "plain"), vec![runs], wanted()).follows(
        "it was to be stopped when the agent went down",
        &[
            ("start", "watch 7, save 1 7 proven, stop 7 15", "stopped 1 3"),
            ("killed 7", "sweep 7 spare -", "paused 1 3"),
            ("swept 0", "save 1 - proven paused, keep 0", "paused 1 3"),
        ],
    );
    let mut bench = Bench::new(Start { former: wanted(), ..Start::default() });
    bench.follows(
        "the store is lost, and the former desired state says it",
        &[("start", "save 0 - paused, keep 0", "paused 1 0")],
    );
}

#[test]
fn restarted_by_an_operator() {
    let mut bench = running(7, "plain");
    bench.follows(
        "it ends by its own signal, starts at once, and the restart is not counted",
        &[
            ("restart", "stop 7 15", "stopped 1 0"),
            ("restart", "", "stopped 1 0"),
            ("killed 7", "sweep 7 spare -", "starting 1 0"),
            ("swept 0", "prepare 1", "starting 1 0"),
            ("restart", "", "starting 1 0"),
            ("prepared 8", "save 1 8", "starting 1 0"),
            ("saved", "start 8", "starting 1 0"),
        ],
    );
    assert_eq!(bench.agent.restarted(&name()), None, "under way");
    bench.follows("", &[("started 8", "", "running 1 0")]);
    assert_eq!(bench.agent.restarted(&name()), Some(Ok(())));
    bench.follows(
        "a back-off is cut short, once",
        &[
            ("exited 8 3", "sweep 8 spare - kill", "backoff 1 0"),
            ("swept 0", "", "backoff 1 0"),
            ("restart", "prepare 1", "starting 1 0"),
            ("not-prepared no room", "", "failed 1 0"),
        ],
    );
    assert_eq!(bench.agent.restarted(&name()), Some(Err(NotRestarted::Ended("no room".into()))));
    let mut bench = running(7, "job");
    bench.follows(
        "a job that has ended runs again",
        &[
            ("exited 7 0", "sweep 7 spare - kill", "backoff 1 0"),
            ("swept 0", "save 1 - proven ended", "stopped 1 0"),
            ("restart", "prepare 1", "starting 1 0"),
            ("prepared 8", "save 1 8 proven", "starting 1 0"),
        ],
    );
    let mut bench = running(7, "plain");
    bench.follows(
        "another revision is what is started then",
        &[
            ("restart", "stop 7 15", "stopped 1 0"),
            ("want 2 other", "", "stopped 1 0"),
            ("killed 7", "sweep 7 spare -", "starting 2 0"),
            ("swept 0", "prepare 2 without plain.conf", "starting 2 0"),
        ],
    );
    let refused = |bench: &mut Bench| bench.agent.restart(&name()).unwrap_err();
    let mut bench = running(7, "plain");
    bench.happens("want 2 artifact");
    assert_eq!(bench.does(), "fetch, keep 1");
    assert_eq!(refused(&mut bench), NotRestarted::NoArtifact, "the former one would not come back");
    assert_eq!(bench.does(), "", "and goes on");
    bench.happens("pause 1 plain");
    bench.does();
    assert_eq!(refused(&mut bench), NotRestarted::Paused);
    assert_eq!(bench.agent.restarted(&name()), Some(Err(NotRestarted::PausedMeanwhile)));
    let unknown = refused(&mut Bench::new(Start::default()));
    assert_eq!(unknown, NotRestarted::NoWorkload);
    assert_eq!(unknown.to_string(), "this device has no such workload");
}

#[test]
fn secrets_that_change_restart_or_signal_as_they_say() {
    running_with(7, "plain", "restart:1:a:f").follows(
        "the same content sealed anew changes nothing",
        &[
            ("want 1 plain restart:2:a:f", "save 1 7", "running 1 0"),
            ("want 2 plain signal:3:a:f", "save 2 7", "running 2 0"),
        ],
    );
    running_with(7, "plain", "restart:1:a:f").follows(
        "a restart that counts as none",
        &[
            ("want 1 plain restart:2:b:f", "stop 7 15", "stopped 1 0"),
            ("exited 7 0", "sweep 7 spare -", "starting 1 0"),
            ("swept 0", "prepare 1", "starting 1 0"),
            ("prepared 8", "save 1 8", "starting 1 0"),
            ("saved", "start 8", "starting 1 0"),
            ("started 8", "", "running 1 0"),
        ],
    );
    running_with(7, "plain", "signal:1:a:f").follows(
        "a signal, and the state is stored after it",
        &[
            ("want 1 plain signal:2:a:g", "refresh 1 7 1", "running 1 0"),
            ("refreshed 7", "save 1 7", "running 1 0"),
            ("want 2 plain signal:3:a:h", "refresh 2 7 1", "running 1 0"),
            ("refreshed 7", "save 2 7", "running 2 0"),
        ],
    );
    let mut bench = running_with(7, "plain", "signal:1:a:f");
    bench.follows(
        "a replacement that fails is tried again",
        &[
            ("want 1 plain signal:2:a:g", "refresh 1 7 1", "running 1 0"),
            ("not-refreshed 7 no space", "", "running 1 0"),
            ("wait 14999", "save 1 7 proven", "running 1 0"),
        ],
    );
    assert!(bench.reason().contains("cannot be replaced while it runs: no space"));
    bench.follows(
        "and then succeeds",
        &[
            ("wait 1", "refresh 1 7 1", "running 1 0"),
            ("want 1 plain signal:3:a:h", "", "running 1 0"),
            ("refreshed 7", "save 1 7 proven, refresh 1 7 1", "running 1 0"),
            ("refreshed 7", "save 1 7 proven", "running 1 0"),
        ],
    );
    assert_eq!(bench.reason(), "");
    running_with(7, "plain", "signal:1:a:f").follows(
        "no signal brings an environment value into a process",
        &[("want 1 plain signal:2:b:f", "stop 7 15", "stopped 1 0")],
    );
    running_with(7, "plain", "signal:1:a:f")
        .follows("secrets that are no more", &[("want 1 plain", "stop 7 15", "stopped 1 0")]);
    running_with(7, "job", "restart:1:a:f").follows(
        "a job runs once, whatever becomes of its secrets",
        &[
            ("want 1 job restart:2:b:f", "save 1 7", "running 1 0"),
            ("exited 7 0", "sweep 7 spare - kill", "backoff 1 0"),
            ("swept 0", "save 1 - proven ended", "stopped 1 0"),
            ("want 1 job restart:3:c:f", "save 1 - proven ended", "stopped 1 0"),
        ],
    );
}

#[test]
fn secrets_that_cannot_be_opened_stop_nothing() {
    let mut bench = running_with(7, "plain", "restart:1:a:f");
    bench.follows(
        "what runs goes on with what it has",
        &[("want 1 plain restart:2:closed:f", "", "running 1 0")],
    );
    assert!(bench.reason().contains("cannot be used: sealed to another key"), "{}", bench.reason());
    assert_eq!(bench.agent.unopened().count(), 1);
    bench.follows(
        "another specification with such secrets does not stop it either",
        &[("want 2 other restart:1:closed:f", "", "running 1 0")],
    );
    assert!(bench.reason().contains("sealed to another key"), "{}", bench.reason());
    bench.follows(
        "it is started again as it was, and waits for its back-off",
        &[
            ("exited 7 1", "sweep 7 spare - kill", "backoff 2 0"),
            ("swept 0", "", "backoff 2 0"),
            ("wait 1000", "prepare 1", "starting 2 0"),
        ],
    );
}

#[test]
fn secrets_that_cannot_be_opened_at_first_are_said_and_tried_again() {
    let mut bench = Bench::new(opening());
    bench.follows(
        "there is nothing to go on with",
        &[
            ("want 1 plain restart:1:closed:f", "prepare 1", "starting 1 0"),
            ("closed sealed to another key", "keep 0", "failed 1 0"),
        ],
    );
    assert_eq!(bench.reason(), "sealed to another key");
    bench.follows(
        "sealed to the right key it is started at once",
        &[("want 1 plain restart:2:a:f", "prepare 1", "starting 1 0")],
    );
    assert_eq!(bench.agent.unopened().count(), 0);
}
