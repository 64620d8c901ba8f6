//! The messages behind the vectors. Never changed: new ones are added.

use std::collections::BTreeMap;

use holdfast_protocol::ids::Digest;
use holdfast_protocol::message::{
    AgentInfo, Call, DesiredState, DesiredWorkload, Method, Phase, Presence, Problem, Reply,
    StateReport, WorkloadReport,
};
use holdfast_protocol::workload::{
    Artifact, Executable, Health, Probe, Process, Resources, Restart, RestartPolicy, Run, Stop,
    WorkloadSpec,
};

const DEVICE: &str = "acme.dev-1";

fn text(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn spec(executable: Executable) -> WorkloadSpec {
    WorkloadSpec {
        run: Run::Process(Process {
            executable,
            args: Vec::new(),
            env: BTreeMap::new(),
            user: None,
            workdir: None,
        }),
        config: BTreeMap::new(),
        resources: Resources::default(),
        restart: Restart::default(),
        health: None,
        stop: Stop::default(),
        bus: Default::default(),
    }
}

fn health(probe: Probe) -> Option<Health> {
    Some(Health {
        probe,
        start_period_ms: 5_000,
        interval_ms: 10_000,
        timeout_ms: 1_000,
        failures: 3,
    })
}

fn desired(generation: u64, workloads: Vec<(&str, u64, WorkloadSpec)>) -> DesiredState {
    let workloads = workloads
        .into_iter()
        .map(|(name, revision, spec)| (name.parse().unwrap(), DesiredWorkload { revision, spec }));
    DesiredState {
        v: 1,
        device: DEVICE.parse().unwrap(),
        epoch: 1,
        generation,
        workloads: workloads.collect(),
        data: None,
    }
}

pub(crate) fn desired_empty() -> DesiredState {
    desired(1, Vec::new())
}

pub(crate) fn desired_small() -> DesiredState {
    let mut hello = spec(Executable::Path("/bin/sleep".into()));
    let Run::Process(process) = &mut hello.run;
    process.args = text(&["1000"]);
    desired(2, vec![("hello", 1, hello)])
}

pub(crate) fn desired_all() -> DesiredState {
    let digest = Digest(std::array::from_fn(|at| u8::try_from(at).unwrap()));
    let web = WorkloadSpec {
        run: Run::Process(Process {
            executable: Executable::Artifact(Artifact { digest, size: 70_000 }),
            args: text(&["--port", "8080"]),
            env: map(&[("LANG", "C.UTF-8"), ("MODE", "edge")]),
            user: Some("www-data".into()),
            workdir: Some("site".into()),
        }),
        config: map(&[("conf/web.toml", "listen = 8080\n"), ("motd", "grüß dich\n")]),
        resources: Resources {
            cpu_millis: Some(500),
            memory_bytes: Some(64 * 1024 * 1024),
            pids: Some(32),
        },
        restart: Restart {
            policy: RestartPolicy::OnFailure,
            backoff_initial_ms: 500,
            backoff_max_ms: 30_000,
        },
        health: health(Probe::Http {
            host: Some("127.0.0.1".into()),
            port: 8080,
            path: "/healthz?deep=1".into(),
        }),
        stop: Stop { signal: 2, grace_ms: 20_000 },
        bus: Default::default(),
    };
    let mut cache = spec(Executable::Path("/usr/bin/cache".into()));
    cache.health = health(Probe::Tcp { host: None, port: 6379 });
    cache.resources.memory_bytes = Some(8 * 1024 * 1024 * 1024);
    let mut job = spec(Executable::Path("/bin/true".into()));
    job.restart.policy = RestartPolicy::Never;
    job.health = health(Probe::Exec { command: text(&["/bin/test", "-f", "ready"]) });
    let mut state = desired(70_000, vec![("web", 12, web), ("cache", 3, cache), ("job", 1, job)]);
    state.epoch = 1_795_467_600; // of a restored control plane: seconds since 1970
    state
}

fn call(id: u64, method: Method) -> Call {
    Call { v: 1, device: DEVICE.parse().unwrap(), session: u64::MAX - 1, id, method }
}

fn logs(tail: u32, follow_seconds: u32) -> Method {
    Method::Logs { workload: "web".parse().unwrap(), tail, follow_seconds }
}

pub(crate) fn call_logs() -> Call {
    call(1, logs(100, 0))
}

pub(crate) fn call_follow() -> Call {
    call(2, logs(0, 60))
}

pub(crate) fn call_cancel() -> Call {
    call(2, Method::Cancel)
}

fn report(generation: u64, workloads: Vec<(&str, Option<WorkloadReport>)>) -> StateReport {
    let workloads = workloads.into_iter().map(|(name, report)| (name.parse().unwrap(), report));
    StateReport {
        v: 1,
        full: false,
        epoch: 1,
        generation,
        workloads: workloads.collect(),
        problems: None,
        agent: None,
        data: None,
    }
}

fn workload(revision: u64, phase: Phase, restarts: u32, pid: u32, reason: &str) -> WorkloadReport {
    let pid = (pid != 0).then_some(pid);
    WorkloadReport { revision, phase, restarts, pid, reason: reason.into() }
}

fn agent() -> Option<AgentInfo> {
    Some(AgentInfo {
        version: "0.1.0".into(),
        arch: "aarch64".into(),
        kernel: "6.12.0".into(),
        certificate_not_after: Some(1_795_554_000),
        refused: 2,
    })
}

pub(crate) fn state_first() -> StateReport {
    let agent = AgentInfo {
        version: "0.1.0".into(),
        arch: "x86_64".into(),
        kernel: String::new(),
        certificate_not_after: None,
        refused: 0,
    };
    StateReport {
        full: true,
        epoch: 0,
        problems: Some(Vec::new()),
        agent: Some(agent),
        ..report(0, Vec::new())
    }
}

pub(crate) fn state_full() -> StateReport {
    let all = [
        ("pending", workload(1, Phase::Pending, 0, 0, "")),
        ("fetching", workload(1, Phase::Fetching, 0, 0, "12 of 64 MiB")),
        ("starting", workload(2, Phase::Starting, 0, 4_711, "")),
        ("running", workload(3, Phase::Running, 0, 4_712, "")),
        ("unhealthy", workload(3, Phase::Unhealthy, 1, 4_713, "GET /healthz: 503, 3 times")),
        ("backoff", workload(1, Phase::Backoff, 70_000, 0, "ended with code 1; again in 60 s")),
        ("stopped", workload(1, Phase::Stopped, 0, 0, "ended with code 0")),
        ("failed", workload(4, Phase::Failed, 0, 0, "/bin/none: not found on this device")),
    ];
    let problem = Problem {
        code: "disk-low".into(),
        message: "96 MiB left in /var/lib/holdfast-agent: free some".into(),
    };
    let workloads = all.map(|(name, report)| (name, Some(report))).to_vec();
    StateReport {
        full: true,
        problems: Some(vec![problem]),
        agent: agent(),
        ..report(70_000, workloads)
    }
}

pub(crate) fn state_delta() -> StateReport {
    report(8, vec![("web", Some(workload(13, Phase::Running, 0, 4_800, ""))), ("job", None)])
}

pub(crate) fn state_healed() -> StateReport {
    StateReport { problems: Some(Vec::new()), ..report(8, Vec::new()) }
}

fn reply(id: u64, sequence: u32, body: &[u8], end: bool, error: Option<&str>) -> Reply {
    Reply { v: 1, id, sequence, body: body.to_vec(), end, error: error.map(str::to_owned) }
}

pub(crate) fn reply_piece() -> Reply {
    reply(1, 0, b"started\nnot UTF-8: \xff\n", false, None)
}

pub(crate) fn reply_end() -> Reply {
    reply(1, 1, b"", true, None)
}

pub(crate) fn reply_error() -> Reply {
    reply(3, 0, b"", true, Some("no workload of this name on this device"))
}

pub(crate) fn online() -> Presence {
    Presence { v: 1, online: true, session: u64::MAX - 1 }
}

pub(crate) fn will() -> Presence {
    Presence { v: 1, online: false, session: 0 }
}
