//! Tables of a workload with windows: what happens, what the agent then asks for, and what it
//! reports. Downloads are from 22:00 to 06:00, other revisions from 02:00 to 04:00 on Saturday and
//! Sunday, in UTC. The clock begins on Friday, 2026-12-04, at noon.

use std::collections::BTreeMap;

use holdfast_base::WIRE_VERSION;
use holdfast_base::ids::{Digest, Name};
use holdfast_protocol::message::{DesiredState, DesiredWorkload, Origin, Progress};
use holdfast_protocol::workload::{
    Artifact, EVERY_DAY, Executable, Process, Resources, Restart, RestartPolicy, Run, Stop, Window,
    Windows, WorkloadSpec,
};

use crate::agent::{Agent, Start};
use crate::effect::{Effect, Observed};
use crate::runtime::{Handle, RuntimeKind};
use crate::saved::Exit;

const NOON: u64 = 1_796_385_600;
const HOUR: u64 = 3_600_000;

fn name() -> Name {
    "w".parse().unwrap()
}

fn windows() -> Windows {
    let download = vec![Window { from: 22 * 60, to: 6 * 60, days: EVERY_DAY }];
    let switch = vec![Window { from: 2 * 60, to: 4 * 60, days: 0b110_0000 }];
    Windows { download, switch }
}

/// Makes a spec whose program is an artifact with this number; `job` runs once.
fn spec(number: u8, job: bool, windows: Windows) -> WorkloadSpec {
    let artifact = Artifact { digest: Digest([number; 32]), size: 9 };
    let process = Process {
        executable: Executable::Artifact(artifact),
        args: Vec::new(),
        env: BTreeMap::new(),
        user: None,
        workdir: None,
    };
    let policy = if job { RestartPolicy::Never } else { RestartPolicy::Always };
    WorkloadSpec {
        run: Run::Process(process),
        config: BTreeMap::new(),
        resources: Resources::default(),
        restart: Restart { policy, backoff_initial_ms: 1_000, backoff_max_ms: 4_000 },
        health: None,
        stop: Stop::default(),
        bus: Default::default(),
        windows,
    }
}

struct Bench {
    agent: Agent,
    now: u64,
    unsure: bool,
    generation: u64,
}

impl Bench {
    fn new() -> Self {
        Self { agent: Agent::new(Start::default(), 0), now: 0, unsure: false, generation: 0 }
    }

    fn want(&mut self, words: &[&str]) {
        self.generation += 1;
        let number: u8 = words[0].parse().unwrap();
        let kind = words.get(1).copied().unwrap_or("");
        let windows = if kind == "now" { Windows::default() } else { windows() };
        let workload = DesiredWorkload {
            revision: number.into(),
            paused: kind == "paused",
            spec: spec(number, kind == "job", windows),
            sealed: None,
        };
        self.agent.follow(&DesiredState {
            v: WIRE_VERSION,
            device: "default_d-1".parse().unwrap(),
            epoch: 1,
            generation: self.generation,
            workloads: [(name(), workload)].into(),
            data: None,
            audit: None,
        });
    }

    fn happens(&mut self, what: &str) {
        let words: Vec<&str> = what.split(' ').collect();
        let it = || Handle {
            runtime: RuntimeKind::PROCESS,
            id: words[1].into(),
            nonce: words[1].parse().unwrap(),
        };
        let digest = || Digest([words[1].parse().unwrap(); 32]);
        let observed = match words[0] {
            "want" => return self.want(&words[1..]),
            "hours" => {
                self.now += words[1].parse::<u64>().unwrap() * HOUR;
                return;
            }
            "wait" => {
                self.now += words[1].parse::<u64>().unwrap();
                return;
            }
            "clock" => {
                self.unsure = words[1] == "unsure";
                return;
            }
            "restart" => return self.agent.restart(&name()).unwrap(),
            "fetched" => Observed::Fetched(digest()),
            "torn" => Observed::FetchTrouble(digest(), "torn".into()),
            "part" => {
                let progress = Progress { done: 5, total: 9, rate: 1, from: Origin::Whole };
                Observed::Progress(digest(), progress)
            }
            "prepared" => Observed::Prepared(name(), Ok(it())),
            "saved" => Observed::Saved(name(), true),
            "started" => Observed::Started(name(), it(), Ok(())),
            "exited" => Observed::Exited(name(), it(), Exit::Code(words[2].parse().unwrap())),
            "swept" => Observed::Swept(name(), 0),
            other => panic!("{other}?"),
        };
        self.agent.observe(observed, self.now);
    }

    fn does(&mut self) -> String {
        let seconds = (!self.unsure).then_some(NOON + self.now / 1_000);
        self.agent.tell_time(seconds, self.now);
        let shown = |effect: Effect| match effect {
            Effect::Fetch(need) => Some(format!("fetch {}", need.digest().0[0])),
            Effect::Pause(digest) => Some(format!("pause {}", digest.0[0])),
            Effect::Prepare { revision, .. } => Some(format!("prepare {}", revision.number)),
            Effect::Start { .. } => Some("start".into()),
            Effect::Stop { .. } => Some("stop".into()),
            Effect::Sweep { .. } => Some("sweep".into()),
            _ => None,
        };
        let effects = self.agent.advance(self.now);
        effects.into_iter().filter_map(shown).collect::<Vec<_>>().join(", ")
    }

    /// Phase and revision with the end of the reason, such as `running 1 Sat 02:00`.
    fn reports(&self) -> String {
        let view = self.agent.view();
        let it = &view.workloads[&name()];
        let reason = it.reason.replace(" 2026-12-", " ").replace(" UTC", "");
        let waits = reason.split_once(" waits for its ").map_or("", |(_, waits)| waits);
        let done = it.progress.map_or(String::new(), |it| format!(" {}/{}", it.done, it.total));
        let text = format!("{} {}{done} {waits}", it.phase, it.revision);
        text.trim_end().replace(" window:", "")
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

/// First start at once, without windows, as revision 1.
fn running() -> Bench {
    let mut bench = Bench::new();
    for what in ["want 1 now", "fetched 1", "prepared 7", "saved", "started 7", "wait 60000"] {
        bench.happens(what);
        bench.does();
    }
    assert_eq!(bench.reports(), "running 1");
    bench
}

#[test]
fn a_download_waits_and_the_first_start_does_not() {
    Bench::new().follows(
        "a device that has nothing",
        &[
            ("want 1", "", "pending 1 download Fri 04 22:00"),
            ("hours 9", "", "pending 1 download Fri 04 22:00"),
            ("hours 1", "fetch 1", "fetching 1"),
            ("fetched 1", "prepare 1", "starting 1"),
            ("prepared 7", "", "starting 1"),
            ("saved", "start", "starting 1"),
            ("started 7", "", "running 1"),
        ],
    );
}

#[test]
fn another_revision_is_fetched_and_turned_to_within_its_windows() {
    running().follows(
        "prefetch now, switch then",
        &[
            ("want 2", "", "running 1 download Fri 04 22:00"),
            ("hours 10", "fetch 2", "running 1"),
            ("part 2", "", "running 1 5/9"),
            ("fetched 2", "", "running 1 switch Sat 05 02:00"),
            // 22:01, and then 02:01 on Saturday.
            ("hours 4", "stop", "stopped 1"),
            ("exited 7 0", "sweep", "starting 2"),
            ("swept", "prepare 2", "starting 2"),
        ],
    );
    running().follows(
        "a window that ends",
        &[
            ("want 2", "", "running 1 download Fri 04 22:00"),
            ("hours 10", "fetch 2", "running 1"),
            ("part 2", "", "running 1 5/9"),
            // 06:01: what has come stays, and the rest comes at night.
            ("hours 8", "pause 2", "running 1 download Sat 05 22:00"),
            ("part 2", "", "running 1 download Sat 05 22:00"),
            ("hours 16", "fetch 2", "running 1"),
            ("fetched 2", "", "running 1 switch Sun 06 02:00"),
            ("want 3 now", "fetch 3", "running 1"),
        ],
    );
    let mut bench = running();
    for what in ["want 2", "hours 10", "fetched 2", "hours 2"] {
        bench.happens(what);
        bench.does();
    }
    // It is 00:01 on Saturday: two hours but a minute.
    assert_eq!(bench.agent.next_wake(), Some(bench.now + 2 * HOUR - 60_000));
    assert!(bench.agent.view().settled, "it only waits for something that may take long");
}

#[test]
fn restarts_and_the_way_back_do_not_wait() {
    let mut bench = running();
    for what in ["want 2", "hours 10", "fetched 2"] {
        bench.happens(what);
        bench.does();
    }
    bench.follows(
        "what ran is started again, and not what is to follow",
        &[
            ("exited 7 1", "sweep", "backoff 2"),
            ("swept", "", "backoff 2 switch Sat 05 02:00"),
            ("wait 4000", "prepare 1", "starting 2 switch Sat 05 02:00"),
            ("prepared 8", "", "starting 2"),
            ("saved", "start", "starting 2"),
            ("started 8", "", "running 1 switch Sat 05 02:00"),
            ("restart", "stop", "stopped 1"),
            ("exited 8 0", "sweep", "starting 2"),
            ("swept", "prepare 1", "starting 2 switch Sat 05 02:00"),
        ],
    );
}

#[test]
fn a_job_that_is_over_is_not_run_again_and_its_successor_waits() {
    let mut bench = Bench::new();
    for what in ["want 1 job", "hours 10", "fetched 1", "prepared 7", "saved", "started 7"] {
        bench.happens(what);
        bench.does();
    }
    bench.follows(
        "a job",
        &[
            ("exited 7 0", "sweep", "backoff 1"),
            ("swept", "", "stopped 1"),
            ("want 2 job", "", "stopped 2 switch Sat 05 02:00"),
            ("hours 4", "fetch 2", "fetching 2"),
        ],
    );
}

#[test]
fn a_restart_of_what_is_over_says_that_its_successor_waits() {
    let mut bench = Bench::new();
    let first = ["want 1 job", "hours 10", "fetched 1", "prepared 7", "saved", "started 7"];
    let then = ["exited 7 0", "swept", "want 2 job", "fetched 2"];
    for what in first.into_iter().chain(then) {
        bench.happens(what);
        bench.does();
    }
    bench.agent.restart(&name()).unwrap();
    assert_eq!(bench.does(), "", "nothing is started");
    let why = bench.agent.restarted(&name()).unwrap().unwrap_err();
    let said = "it has ended, and revision 2 waits for its switch window: Sat 2026-12-05 02:00 UTC";
    assert_eq!(why.to_string(), said);
}

#[test]
fn a_clock_that_cannot_be_relied_on_holds_nothing_back_for_ever() {
    let unsure =
        "window: the device's clock cannot be relied on, so it goes on after at most 6 hours";
    let (download, switch) = (
        format!("running 1 download {unsure}").replace(" window:", ""),
        format!("running 1 switch {unsure}").replace(" window:", ""),
    );
    running().follows(
        "no clock",
        &[
            ("clock unsure", "", "running 1"),
            ("want 2", "", &download),
            ("hours 5", "", &download),
            ("hours 1", "fetch 2", "running 1"),
            // It has waited long enough for both.
            ("fetched 2", "stop", "stopped 1"),
        ],
    );
    running().follows(
        "a clock that is set right",
        &[
            ("clock unsure", "", "running 1"),
            ("want 2", "", &download),
            ("hours 5", "", &download),
            ("clock right", "", "running 1 download Fri 04 22:00"),
            ("hours 5", "fetch 2", "running 1"),
            ("fetched 2", "", "running 1 switch Sat 05 02:00"),
            ("clock unsure", "", &switch),
        ],
    );
}

#[test]
fn a_download_that_another_workload_wants_now_is_not_paused() {
    let mut bench = running();
    let other: Name = "x".parse().unwrap();
    let workload =
        |spec: WorkloadSpec| DesiredWorkload { revision: 2, paused: false, spec, sealed: None };
    let state = DesiredState {
        v: WIRE_VERSION,
        device: "default_d-1".parse().unwrap(),
        epoch: 1,
        generation: 9,
        workloads: [
            (name(), workload(spec(2, false, windows()))),
            (other, workload(spec(2, false, Windows::default()))),
        ]
        .into(),
        data: None,
        audit: None,
    };
    bench.agent.follow(&state);
    assert_eq!(bench.does(), "fetch 2", "for the one without windows");
    bench.happens("hours 10");
    assert_eq!(bench.does(), "fetch 2", "and for the other at 22:00");
    bench.happens("hours 8");
    assert_eq!(bench.does(), "", "at 06:00 the first one still wants it");
    bench.happens("fetched 2");
    assert_eq!(bench.does(), "prepare 2");
}
