//! Tables from situation to effects, one for each stage of a workload's lifecycle
//! (`core/lifecycle.rs`). Each row has an event, the effects that the agent then asks for at once,
//! and the phase that it reports.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails loudly where it stands"
)]

use std::collections::{BTreeMap, BTreeSet};

use holdfast_agent::core::agent::{Agent, Start};
use holdfast_agent::core::effect::{Effect, Observed};
use holdfast_agent::core::restart::NotRestarted;
use holdfast_agent::core::saved::{Exit, Found, Instance, Revision, SavedWorkload};
use holdfast_base::WIRE_VERSION;
use holdfast_base::ids::{Digest, Name};
use holdfast_protocol::message::{DesiredState, DesiredWorkload};
use holdfast_protocol::workload::{
    Artifact, Executable, Health, Probe, Process, Resources, Restart, RestartPolicy, Run, Stop,
    WorkloadSpec,
};

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
    }
}

fn revision(number: u64, word: &str) -> Revision {
    Revision { number, spec: spec(word).into() }
}

fn instance(pid: u32) -> Instance {
    Instance { pid, start: u64::from(pid) * 10, boot: "b".into(), nonce: u64::from(pid) }
}

fn desired(generation: u64, wanted: Option<Revision>) -> DesiredState {
    desired_so(generation, wanted, false)
}

fn desired_so(generation: u64, wanted: Option<Revision>, paused: bool) -> DesiredState {
    let workload = |it: Revision| {
        let (revision, spec) = (it.number, (*it.spec).clone());
        DesiredWorkload { revision, paused, spec }
    };
    DesiredState {
        v: WIRE_VERSION,
        device: "default_d-1".parse().unwrap(),
        epoch: 1,
        generation,
        workloads: wanted.map(|it| (name(), workload(it))).into_iter().collect(),
        data: None,
    }
}

/// Agent under test, with its clock.
struct Bench {
    agent: Agent,
    now: u64,
    generation: u64,
    /// Processes that were found at the start of the agent.
    found: Vec<Instance>,
}

impl Bench {
    fn new(start: Start) -> Self {
        let found = start.found.iter().map(|it| it.instance.clone()).collect();
        Self { agent: Agent::new(start, 0), now: 0, generation: 1, found }
    }

    /// Applies an event, given in words such as `exited 7 1`.
    fn happens(&mut self, what: &str) {
        let words: Vec<&str> = what.split(' ').collect();
        let pid = || {
            let pid = words[1].parse().unwrap();
            self.found.iter().find(|it| it.pid == pid).cloned().unwrap_or_else(|| instance(pid))
        };
        let rest = |from: usize| words.get(from..).unwrap_or_default().join(" ");
        let observed = match words[0] {
            "start" => return,
            "want" => {
                self.generation += 1;
                let wanted =
                    (words[1] != "nothing").then(|| revision(words[1].parse().unwrap(), words[2]));
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
            "launched" => Observed::Launched(name(), Ok(pid())),
            "launch-failed" => Observed::Launched(name(), Err(rest(1))),
            "unfit" => Observed::Unfit(name(), rest(1)),
            "saved" => Observed::Saved(name(), true),
            "not-saved" => Observed::Saved(name(), false),
            "opened" => Observed::Opened(name(), pid(), Ok(())),
            "not-opened" => Observed::Opened(name(), pid(), Err(rest(2))),
            "exited" => Observed::Exited(name(), pid(), Exit::Code(words[2].parse().unwrap())),
            "killed" => Observed::Exited(name(), pid(), Exit::Signal(9)),
            "well" => Observed::Probed(name(), pid(), Ok(())),
            "unwell" => Observed::Probed(name(), pid(), Err("refused".into())),
            "behind" => Observed::LeftBehind(name(), words[1].parse().unwrap()),
            "swept" => Observed::Swept(name(), words[1].parse().unwrap()),
            "fetched" => Observed::Fetched(DIGEST),
            "missing" => Observed::Missing(name(), DIGEST),
            "torn" => Observed::FetchTrouble(DIGEST, rest(1)),
            "blind" => Observed::Blind,
            "census" => Observed::Census(
                words[1..].iter().map(|pid| found(pid.parse().unwrap(), 1, true, false)).collect(),
            ),
            "removed" => Observed::Removed(name(), Ok(())),
            "stuck" => Observed::Removed(name(), Err(rest(1))),
            other => panic!("{other}?"),
        };
        self.agent.observe(observed, self.now);
    }

    fn does(&mut self) -> String {
        let shown = self.agent.advance(self.now).iter().map(show).collect::<Vec<_>>();
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

fn show(effect: &Effect) -> String {
    match effect {
        Effect::Fetch(_) => "fetch".into(),
        Effect::Launch { revision, stale_config, .. } => {
            let stale = stale_config.join(" ");
            format!(
                "launch {}{}{stale}",
                revision.number,
                if stale.is_empty() { "" } else { " without " }
            )
        }
        Effect::Save { saved, .. } => {
            let current = saved.current.as_ref().map_or(0, |it| it.number);
            let pid = saved.instance.as_ref().map_or_else(|| "-".into(), |it| it.pid.to_string());
            let mut text = format!("save {current} {pid}");
            text += if saved.proven { " proven" } else { "" };
            text +=
                &saved.previous.as_ref().map_or(String::new(), |it| format!(" over {}", it.number));
            text += &saved
                .rejected
                .as_ref()
                .map_or(String::new(), |it| format!(" not {}", it.revision.number));
            text += if saved.ending.is_some() { " ended" } else { "" };
            text + if saved.paused { " paused" } else { "" }
        }
        Effect::Open { instance, .. } => format!("open {}", instance.pid),
        Effect::Watch { instance, .. } => format!("watch {}", instance.pid),
        Effect::Probe { instance, .. } => format!("probe {}", instance.pid),
        Effect::Signal { instance, signal, .. } => format!("signal {} {signal}", instance.pid),
        Effect::Sweep { last, spare, kill, .. } => {
            let pid = |it: &Option<Instance>| {
                it.as_ref().map_or_else(|| "-".into(), |it| it.pid.to_string())
            };
            format!("sweep {} spare {}{}", pid(last), pid(spare), if *kill { " kill" } else { "" })
        }
        Effect::Remove { .. } => "remove".into(),
        Effect::Census => "census".into(),
        Effect::Collect { keep } => format!("keep {}", keep.len()),
    }
}

/// Brings a workload from nothing to running.
fn running(pid: u32, word: &str) -> Bench {
    let mut bench = Bench::new(Start::default());
    for what in [
        format!("want 1 {word}"),
        format!("launched {pid}"),
        "saved".into(),
        format!("opened {pid}"),
    ] {
        bench.happens(&what);
        bench.does();
    }
    assert!(bench.reports().starts_with("running") || word == "probed", "{}", bench.reports());
    bench
}

#[test]
fn idle_launching_saving_opening() {
    Bench::new(Start::default()).follows(
        "a first start",
        &[
            ("start", "keep 0", "gone"),
            ("want 1 plain", "launch 1", "starting 1 0"),
            ("launched 7", "save 1 7", "starting 1 0"),
            ("saved", "open 7", "starting 1 0"),
            ("opened 7", "", "running 1 0"),
        ],
    );
    Bench::new(Start::default()).follows(
        "a full disk is no reason not to run",
        &[
            ("want 1 plain", "launch 1", "starting 1 0"),
            ("launched 7", "save 1 7", "starting 1 0"),
            ("not-saved", "open 7", "starting 1 0"),
            ("opened 7", "keep 0", "running 1 0"),
        ],
    );
    Bench::new(Start::default()).follows(
        "what is not wanted any more ends at the gate",
        &[
            ("want 1 plain", "launch 1", "starting 1 0"),
            ("want 2 other", "", "starting 2 0"),
            ("launched 7", "sweep 7 spare - kill", "starting 2 0"),
            ("swept 0", "launch 2", "starting 2 0"),
            ("want nothing", "", "starting 0 0"),
            ("launched 8", "sweep 8 spare - kill", "stopped 0 0"),
            ("swept 0", "remove", "stopped 0 0"),
            ("removed", "keep 0", "gone"),
        ],
    );
    Bench::new(Start::default()).follows(
        "an end before the gate opened",
        &[
            ("want 1 plain", "launch 1", "starting 1 0"),
            ("launched 7", "save 1 7", "starting 1 0"),
            ("exited 7 1", "sweep 7 spare - kill", "backoff 1 0"),
            ("saved", "", "backoff 1 0"),
            ("swept 0", "keep 0", "backoff 1 0"),
            ("wait 1000", "launch 1", "starting 1 0"),
        ],
    );
    Bench::new(Start::default()).follows(
        "no such program",
        &[
            ("want 1 plain", "launch 1", "starting 1 0"),
            ("launched 7", "save 1 7", "starting 1 0"),
            ("saved", "open 7", "starting 1 0"),
            ("not-opened 7 no such file", "keep 0", "failed 1 0"),
            ("exited 7 126", "", "failed 1 0"),
            ("wait 700", "", "failed 1 0"),
            ("wait 300", "launch 1", "starting 1 0"),
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
            ("want 1 job", "launch 1", "starting 1 0"),
            ("launched 7", "save 1 7", "starting 1 0"),
            ("saved", "open 7", "starting 1 0"),
            ("not-opened 7 no such file", "save 1 -, keep 0", "failed 1 0"),
            ("wait 1000", "launch 1", "starting 1 0"),
        ],
    );
}

#[test]
fn a_start_that_fails_waits_even_the_very_first() {
    for failure in ["launch-failed no room", "unfit no such user"] {
        let mut bench = Bench::new(Start::default());
        bench.follows(
            failure,
            &[
                ("want 1 plain", "launch 1", "starting 1 0"),
                (failure, "keep 0", "failed 1 0"),
                ("wait 700", "", "failed 1 0"),
                ("wait 300", "launch 1", "starting 1 0"),
                (failure, "", "failed 1 0"),
                ("wait 1400", "", "failed 1 0"),
                ("wait 600", "launch 1", "starting 1 0"),
                (failure, "", "failed 1 0"),
                // Another revision is tried at once; the same spec under another number is not.
                ("want 2 plain", "", "failed 2 0"),
                ("want 3 other", "launch 3", "starting 3 0"),
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
    bench.follows("and then it starts", &[("fetched", "launch 1", "starting 1 0")]);
    assert_eq!(bench.reason(), "");

    Bench::new(Start::default()).follows(
        "what needs no artifact any more does not wait for it",
        &[
            ("want 1 artifact", "fetch, keep 1", "fetching 1 0"),
            ("want 2 plain", "launch 2", "starting 2 0"),
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
            ("fetched", "signal 7 15", "stopped 1 0"),
            ("exited 7 0", "sweep 7 spare -", "starting 2 0"),
            ("swept 0", "launch 2 without plain.conf", "starting 2 0"),
        ],
    );
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
            ("fetched", "signal 7 15", "stopped 3 0"),
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
            ("fetched", "launch 1", "starting 1 0"),
            ("missing", "", "failed 1 0"),
        ],
    );
    assert!(bench.reason().contains("is gone from the disk"), "{}", bench.reason());
    bench.follows(
        "and comes again, with a pause, since the disk may lose it again",
        &[
            ("wait 700", "", "failed 1 0"),
            ("wait 300", "fetch", "fetching 1 0"),
            ("fetched", "launch 1", "starting 1 0"),
            ("launched 7", "save 1 7", "starting 1 0"),
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
            ("want 3 other", "signal 7 15", "stopped 2 0"),
        ],
    );
    running(7, "plain").follows(
        "it ends, is restarted, and counted",
        &[
            ("exited 7 0", "sweep 7 spare - kill", "backoff 1 0"),
            ("swept 2", "", "backoff 1 0"),
            ("wait 50", "sweep 7 spare - kill", "backoff 1 0"),
            ("swept 0", "", "backoff 1 0"),
            ("wait 1000", "launch 1", "starting 1 0"),
            ("launched 8", "save 1 8", "starting 1 1"),
        ],
    );
    running(7, "plain").follows(
        "news of another process is nothing",
        &[
            ("exited 6 1", "", "running 1 0"),
            ("unwell 7", "", "running 1 0"),
            ("opened 6", "", "running 1 0"),
            ("swept 0", "", "running 1 0"),
            ("launched 9", "", "running 1 0"),
        ],
    );
    running(7, "careful").follows(
        "on-failure: a good end is the end",
        &[
            ("exited 7 0", "sweep 7 spare - kill", "backoff 1 0"),
            ("swept 0", "save 1 - proven ended", "stopped 1 0"),
            ("wait 100000", "", "stopped 1 0"),
            ("want 2 careful", "save 2 - proven ended", "stopped 2 0"),
            ("want 3 plain", "launch 3 without careful.conf", "starting 3 0"),
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
            ("unwell 7", "signal 7 15", "unhealthy 1 0"),
        ],
    );
    assert_eq!(bench.reason(), "its probe failed 2 times: refused");
    bench.follows(
        "and is restarted",
        &[
            ("unwell 7", "", "unhealthy 1 0"),
            ("wait 3000", "signal 7 9", "unhealthy 1 0"),
            ("wait 9000", "", "unhealthy 1 0"),
            ("killed 7", "sweep 7 spare - kill", "backoff 1 0"),
            ("swept 0", "", "backoff 1 0"),
            ("wait 1000", "launch 1", "starting 1 0"),
        ],
    );
    running(7, "probed").follows(
        "failures count once the start period is over",
        &[
            ("wait 2000", "", "starting 1 0"),
            ("unwell 7", "", "unhealthy 1 0"),
            ("wait 1000", "probe 7", "unhealthy 1 0"),
            ("unwell 7", "signal 7 15", "unhealthy 1 0"),
        ],
    );
}

#[test]
fn stopping_and_sweeping() {
    running(7, "plain").follows(
        "in good order",
        &[
            ("want nothing", "signal 7 15", "stopped 1 0"),
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
            ("want nothing", "signal 7 15", "stopped 1 0"),
            ("wait 2999", "", "stopped 1 0"),
            ("wait 1", "signal 7 9", "stopped 1 0"),
            ("killed 7", "sweep 7 spare - kill", "stopped 1 0"),
        ],
    );
    running(7, "plain").follows(
        "wanted again while it ends: it starts again",
        &[
            ("want nothing", "signal 7 15", "stopped 1 0"),
            ("want 1 plain", "", "stopped 1 0"),
            ("exited 7 0", "sweep 7 spare -", "starting 1 0"),
            ("swept 0", "launch 1", "starting 1 0"),
        ],
    );
}

#[test]
fn what_is_left_is_looked_for_ever_less_often() {
    let mut bench = running(7, "plain");
    bench.follows(
        "grace is looked at ever less often, and its end to the millisecond",
        &[
            ("want nothing", "signal 7 15", "stopped 1 0"),
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
            ("want nothing", "signal 7 15", "stopped 1 0"),
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
            ("removed", "launch 2", "starting 2 0"),
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
            ("want 2 plain", "signal 7 15", "stopped 1 0"),
            ("exited 7 0", "sweep 7 spare -", "starting 2 0"),
            ("swept 0", "launch 2 without probed.conf", "starting 2 0"),
            ("launched 8", "save 2 8 over 1", "starting 2 0"),
            ("exited 8 1", "sweep 8 spare - kill", "backoff 2 0"),
            ("swept 0", "", "backoff 2 0"),
            ("wait 1000", "launch 2", "starting 2 0"),
            ("launched 9", "save 2 9 over 1", "starting 2 1"),
            ("exited 9 1", "sweep 9 spare - kill", "backoff 2 1"),
            ("swept 0", "", "backoff 2 1"),
            ("wait 2000", "launch 2", "starting 2 1"),
            ("launched 10", "save 2 10 over 1", "starting 2 2"),
            ("exited 10 1", "sweep 10 spare - kill", "backoff 2 2"),
            ("swept 0", "save 2 - over 1 not 2, launch 1 without plain.conf", "starting 1 2"),
            ("launched 11", "save 1 11 proven not 2", "starting 1 0"),
            ("saved", "open 11", "starting 1 0"),
            ("opened 11", "probe 11", "starting 1 0"),
            ("well 11", "", "running 1 0"),
        ],
    );
    assert!(bench.reason().starts_with("revision 2 failed and was given up"), "{}", bench.reason());

    let mut bench = proven();
    bench.follows(
        "what can never start is given up with nothing changed",
        &[
            ("want 2 plain", "signal 7 15", "stopped 1 0"),
            ("exited 7 0", "sweep 7 spare -", "starting 2 0"),
            ("swept 0", "launch 2 without probed.conf", "starting 2 0"),
            ("unfit no such user", "", "failed 2 0"),
            ("wait 1000", "launch 2 without probed.conf", "starting 2 0"),
            ("unfit no such user", "", "failed 2 0"),
            ("wait 2000", "launch 2 without probed.conf", "starting 2 0"),
            ("unfit no such user", "save 1 7 proven not 2, launch 1", "starting 1 0"),
        ],
    );
    assert!(bench.reason().contains("no such user"), "{}", bench.reason());

    proven().follows(
        "a machine in trouble is no revision's fault",
        &[
            ("want 2 plain", "signal 7 15", "stopped 1 0"),
            ("exited 7 0", "sweep 7 spare -", "starting 2 0"),
            ("swept 0", "launch 2 without probed.conf", "starting 2 0"),
            ("launch-failed full", "", "failed 2 0"),
            ("wait 1000", "launch 2 without probed.conf", "starting 2 0"),
            ("launch-failed full", "", "failed 2 0"),
            ("wait 2000", "launch 2 without probed.conf", "starting 2 0"),
            ("launch-failed full", "", "failed 2 0"),
            ("wait 4000", "launch 2 without probed.conf", "starting 2 0"),
        ],
    );
}

/// Makes a found process of revision 1, which the agent started as `plain`.
fn plainly(pid: u32) -> Instance {
    let nonce = revision(1, "plain").nonce(u64::from(pid) << 32);
    Instance { nonce, ..instance(pid) }
}

/// Makes a found process of the workload; if of revision 1, it was started as `plain`.
fn found(pid: u32, revision: u64, leader: bool, at_gate: bool) -> Found {
    let instance = if revision == 1 { plainly(pid) } else { instance(pid) };
    Found { workload: name(), revision, instance, leader, at_gate }
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
            let known = instance_saved.clone().filter(|it| it.pid == pid);
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
            ("swept 0", "launch 1", "starting 1 3"),
        ],
    );
    past(known(7), &[(7, 1, true, false)], None)
        .follows("not wanted any more", &[("start", "watch 7, signal 7 15", "stopped 1 3")]);
    past(known(7), &[(7, 1, true, false)], Some(revision(2, "plain"))).follows(
        "only renumbered",
        &[("start", "watch 7, save 2 7 proven, keep 0", "running 2 3")],
    );
    past(known(7), &[(7, 1, true, false)], Some(revision(2, "other")))
        .follows("another revision", &[("start", "watch 7, signal 7 15", "stopped 1 3")]);
    past(None, &[(7, 1, true, false)], plain()).follows(
        "its saved state is lost",
        &[("start", "watch 7, save 1 7, keep 0", "running 1 0")],
    );
    past(None, &[(7, 1, true, true)], plain()).follows(
        "a launcher at its gate is none",
        &[
            ("start", "sweep - spare - kill", "starting 1 0"),
            ("swept 0", "launch 1", "starting 1 0"),
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
            ("swept 0", "launch 1", "starting 1 3"),
        ],
    );
    assert_eq!(bench.agent.view().workloads.len(), 1);
}

#[test]
fn of_several_processes_of_one_instance_the_first_is_its_main_process() {
    let found = |pid: u32, revision: u64| Found {
        workload: name(),
        revision,
        instance: Instance { nonce: plainly(7).nonce, ..instance(pid) },
        leader: true,
        at_gate: false,
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
            ("want 2 other", "launch 2 without job.conf", "starting 2 3"),
        ],
    );
    let mut bench = past(Some(saved_state(Some(7), "job")), &[], Some(revision(1, "job")));
    for what in ["start", "swept 0"] {
        bench.happens(what);
        bench.does();
    }
    assert!(bench.reason().contains("while the agent was away"), "{}", bench.reason());
    past(Some(saved_state(None, "job")), &[], Some(revision(1, "job")))
        .follows("one that never ran does", &[("start", "launch 1", "starting 1 3")]);
    past(Some(saved_state(Some(7), "careful")), &[], Some(revision(1, "careful"))).follows(
        "on-failure: an end that nobody saw was no good end",
        &[
            ("start", "sweep 7 spare - kill", "starting 1 3"),
            ("swept 0", "launch 1", "starting 1 3"),
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
            ("census", "launch 2", "starting 2 0"),
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
    blind(None, &[], plain()).follows("it does not run", &[("start", "launch 1", "starting 1 0")]);
    blind(None, &[(7, 1, true, false)], plain()).follows(
        "it runs as it did then",
        &[("start", "watch 7, save 1 7, keep 0", "running 1 0")],
    );
    blind(None, &[(7, 2, true, false)], plain()).follows(
        "another revision runs by now",
        &[
            ("start", "watch 7", "running 2 0"),
            ("want 1 plain", "census", "running 2 0"),
            ("census", "launch 1", "starting 1 0"),
        ],
    );
    blind(None, &[(7, 2, true, false)], None)
        .follows("it did not know of this", &[("start", "watch 7", "running 2 0")]);
}

#[test]
fn numbers_that_come_again_after_a_restore_are_told_apart() {
    // Revision 1 was saved as `plain`; the process runs the new revision 1, `other`.
    let other = revision(1, "other");
    let running = Instance { nonce: other.nonce(0x1234_5678_9abc_def0), ..instance(8) };
    let found =
        Found { workload: name(), revision: 1, instance: running, leader: true, at_gate: false };
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
            ("pause 1 plain", "signal 7 15", "stopped 1 0"),
            ("wait 3000", "signal 7 9", "stopped 1 0"),
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
            ("want 1 plain", "launch 1", "starting 1 0"),
            ("launched 8", "save 1 8", "starting 1 0"),
            ("saved", "open 8", "starting 1 0"),
            ("opened 8", "", "running 1 0"),
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
            ("want 1 plain", "launch 1", "starting 1 0"),
            ("pause 1 plain", "", "starting 1 0"),
            ("launched 7", "sweep 7 spare - kill", "paused 1 0"),
            ("swept 0", "save 0 - paused, keep 0", "paused 1 0"),
        ],
    );
    running(7, "job").follows(
        "a job that was cut short runs when it is resumed; one that has ended stays as it is",
        &[
            ("pause 1 job", "signal 7 15", "stopped 1 0"),
            ("killed 7", "sweep 7 spare -", "paused 1 0"),
            ("swept 0", "save 1 - paused", "paused 1 0"),
            ("want 1 job", "launch 1", "starting 1 0"),
            ("launched 8", "save 1 8", "starting 1 0"),
            ("saved", "open 8", "starting 1 0"),
            ("opened 8", "", "running 1 0"),
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
            ("want 1 plain", "launch 1", "starting 1 3"),
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
            ("start", "watch 7, save 1 7 proven, signal 7 15", "stopped 1 3"),
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
            ("restart", "signal 7 15", "stopped 1 0"),
            ("restart", "", "stopped 1 0"),
            ("killed 7", "sweep 7 spare -", "starting 1 0"),
            ("swept 0", "launch 1", "starting 1 0"),
            ("restart", "", "starting 1 0"),
            ("launched 8", "save 1 8", "starting 1 0"),
            ("saved", "open 8", "starting 1 0"),
        ],
    );
    assert_eq!(bench.agent.restarted(&name()), None, "under way");
    bench.follows("", &[("opened 8", "", "running 1 0")]);
    assert_eq!(bench.agent.restarted(&name()), Some(Ok(())));
    bench.follows(
        "a back-off is cut short, once",
        &[
            ("exited 8 3", "sweep 8 spare - kill", "backoff 1 0"),
            ("swept 0", "", "backoff 1 0"),
            ("restart", "launch 1", "starting 1 0"),
            ("launch-failed no room", "", "failed 1 0"),
        ],
    );
    assert_eq!(bench.agent.restarted(&name()), Some(Err(NotRestarted::Ended("no room".into()))));
    let mut bench = running(7, "job");
    bench.follows(
        "a job that has ended runs again",
        &[
            ("exited 7 0", "sweep 7 spare - kill", "backoff 1 0"),
            ("swept 0", "save 1 - proven ended", "stopped 1 0"),
            ("restart", "launch 1", "starting 1 0"),
            ("launched 8", "save 1 8 proven", "starting 1 0"),
        ],
    );
    let mut bench = running(7, "plain");
    bench.follows(
        "another revision is what is started then",
        &[
            ("restart", "signal 7 15", "stopped 1 0"),
            ("want 2 other", "", "stopped 1 0"),
            ("killed 7", "sweep 7 spare -", "starting 2 0"),
            ("swept 0", "launch 2 without plain.conf", "starting 2 0"),
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
