//! Messages behind the vectors. They are never changed; new ones are added.

use std::collections::BTreeMap;

use holdfast_base::ids::Digest;
use holdfast_protocol::checkpoint::{Checkpoint, Testimony, Witnessed};
use holdfast_protocol::container::{
    After, Container, DeviceFile, Devices, Group, Image, Member, Mount, MountFrom, Network,
    Platform, Port, Until,
};
use holdfast_protocol::message::{
    AgentInfo, Call, ContainerDetail, DesiredState, DesiredWorkload, Detail, EngineInfo, LogPart,
    Method, Origin, Phase, Presence, Problem, Progress, Reply, ReplyCode, ReplyError, ReportAck,
    StateReport, WorkloadReport,
};
use holdfast_protocol::sealing::{Bound, OnChange, Sealed, SealedContent, seal};
use holdfast_protocol::volume::{VolumeId, VolumeOrder};
use holdfast_protocol::workload::{
    Artifact, Bus, EVERY_DAY, Executable, Health, Probe, Process, Resources, Restart,
    RestartPolicy, Run, Stop, Window as DayWindow, Windows, WorkloadSpec,
};
use holdfast_query::{AT_THE_EDGE, Partial, Question, parse};
use holdfast_records::block::pack;
use holdfast_records::{
    Acked, Acknowledgement, Aggregate, Batch, ClassUse, DataPolicies, DataReport, Format, Gap,
    GapReason, Given, Horizon, HorizonCause, Interface, Layout, LinkBudget, LinkUse, NEVER, Order,
    Overflow, Period, Range, Record, Share, Ship, Source, Storage, StreamName, StreamPolicy,
    StreamReport, TrafficClass, Window,
};

pub(crate) const DEVICE: &str = "acme_dev-1";

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
        windows: Default::default(),
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
        .map(|(name, revision, spec)| {
            (name, DesiredWorkload { revision, paused: false, spec, sealed: None })
        })
        .map(|(name, workload)| (name.parse().unwrap(), workload));
    DesiredState {
        v: 1,
        device: DEVICE.parse().unwrap(),
        epoch: 1,
        generation,
        workloads: workloads.collect(),
        data: None,
        audit: None,
    }
}

pub(crate) fn desired_empty() -> DesiredState {
    desired(1, Vec::new())
}

pub(crate) fn desired_small() -> DesiredState {
    let mut hello = spec(Executable::Path("/bin/sleep".into()));
    let Run::Process(process) = &mut hello.run else { unreachable!("it is a process") };
    process.args = text(&["1000"]);
    desired(2, vec![("hello", 1, hello)])
}

pub(crate) fn desired_paused() -> DesiredState {
    let mut state = desired_small();
    state.workloads.values_mut().for_each(|workload| workload.paused = true);
    state
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
        windows: Default::default(),
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

fn artifact(first: u8, size: u64) -> Artifact {
    Artifact { digest: Digest([first; 32]), size }
}

fn image(name: &str) -> Image {
    let arm = Platform { arch: "arm64".into(), config: artifact(4, 900), layers: Vec::new() };
    let amd = Platform {
        arch: "amd64".into(),
        config: artifact(2, 1_400),
        layers: vec![artifact(3, 70_000_000), artifact(5, 2_048)],
    };
    Image { name: name.into(), digest: Digest([1; 32]), platforms: vec![amd, arm] }
}

/// Container of which every field is absent that may be.
fn bare(name: &str) -> Container {
    Container {
        image: image(name),
        command: Vec::new(),
        args: Vec::new(),
        env: BTreeMap::new(),
        workdir: None,
        user: None,
        ports: Vec::new(),
        mounts: Vec::new(),
        devices: Devices::default(),
        network: Network::Host,
        writable_root: false,
        capabilities: Vec::new(),
        seccomp_off: false,
        time_zone: None,
        dns: Vec::new(),
        hosts: BTreeMap::new(),
        init: false,
    }
}

fn full() -> Container {
    let port = |name: Option<&str>, container, host, address: Option<&str>, udp| Port {
        name: name.map(|name| name.parse().unwrap()),
        container,
        host,
        address: address.map(str::to_owned),
        udp,
    };
    let mount = |path: &str, from, read_only| Mount { path: path.into(), from, read_only };
    Container {
        command: text(&["/bin/till"]),
        args: text(&["--quiet"]),
        env: map(&[("LANG", "C.UTF-8")]),
        workdir: Some("/srv".into()),
        user: Some("1000:1000".into()),
        ports: vec![
            port(Some("web"), 80, None, None, false),
            port(None, 53, Some(5_353), Some("127.0.0.1"), true),
        ],
        mounts: vec![
            mount("/var/lib/till", MountFrom::Volume("data".parse().unwrap()), false),
            mount("/etc/hostname", MountFrom::Host("/etc/hostname".into()), true),
            mount("/etc/till.toml", MountFrom::Files("till.toml".into()), true),
            mount("/tmp", MountFrom::Memory(16 * 1024 * 1024), false),
        ],
        devices: Devices {
            files: vec![DeviceFile {
                host: "/dev/ttyUSB0".into(),
                container: "/dev/scale".into(),
                rights: "rw".into(),
            }],
            cdi: text(&["nvidia.com/gpu=all"]),
            gpus: Some(-1),
        },
        network: Network::Shared(vec!["shop".parse().unwrap()]),
        writable_root: true,
        capabilities: text(&["NET_BIND_SERVICE"]),
        seccomp_off: true,
        time_zone: Some("Europe/Oslo".into()),
        dns: text(&["10.0.0.2"]),
        hosts: map(&[("printer", "10.0.0.9")]),
        init: true,
        ..bare("shop/till:1.4")
    }
}

pub(crate) fn desired_containers() -> DesiredState {
    let mut till = spec(Executable::Path("/bin/true".into()));
    let mut hello = till.clone();
    let mut pair = till.clone();
    till.run = Run::Container(Box::new(full()));
    hello.run = Run::Container(Box::new(bare("hello")));
    let db = Member {
        name: "db".parse().unwrap(),
        container: bare("db:16"),
        probe: Some(Probe::Tcp { host: None, port: 5_432 }),
        after: Vec::new(),
    };
    let after = |name: &str, until| After { name: name.parse().unwrap(), until };
    let web = Member {
        name: "web".parse().unwrap(),
        container: Container { network: Network::Bridge, ..bare("web:2") },
        probe: None,
        after: vec![after("db", Until::Healthy), after("other", Until::Started)],
    };
    pair.run = Run::Group(Box::new(Group { containers: vec![db, web] }));
    pair.health = health(Probe::Members);
    desired(4, vec![("till", 2, till), ("hello", 1, hello), ("pair", 9, pair)])
}

pub(crate) fn desired_windows() -> DesiredState {
    let mut hello = spec(Executable::Path("/bin/true".into()));
    hello.windows = Windows {
        download: vec![DayWindow { from: 22 * 60, to: 6 * 60, days: EVERY_DAY }],
        switch: vec![
            DayWindow { from: 120, to: 240, days: 0b110_0000 },
            DayWindow { from: 0, to: 1_440, days: 1 },
        ],
    };
    desired(5, vec![("hello", 2, hello)])
}

pub(crate) fn desired_neighbours() -> DesiredState {
    let link = LinkBudget {
        period: Period::Day,
        bytes: 10 * 1024 * 1024,
        shares: BTreeMap::new(),
        interfaces: Vec::new(),
        neighbours: true,
    };
    let data = DataPolicies { link: Some(link), ..DataPolicies::default() };
    DesiredState { data: Some(Box::new(data)), ..desired(6, Vec::new()) }
}

/// Randomness of the sealed vectors.
pub(crate) const SEALED_RANDOM: [u8; 32] = [3; 32];

/// Content of the sealed vectors in one of their versions.
pub(crate) fn sealed_content(version: u64) -> SealedContent {
    SealedContent {
        env: map(&[("DB_PASSWORD", &format!("correct horse {version}"))]),
        files: [
            ("tls/key.pem".to_owned(), b"-----BEGIN\n".to_vec().into()),
            ("token.bin".to_owned(), vec![0, 159, 146, 150].into()),
        ]
        .into(),
    }
}

fn sealed(version: u64, on_change: OnChange) -> DesiredState {
    let mut state = desired_small();
    state.generation = 3 + version;
    let (device, epoch) = (state.device.clone(), state.epoch);
    for (workload, wanted) in &mut state.workloads {
        let bound = Bound { device: &device, workload, revision: wanted.revision, epoch, version };
        let public = crate::device_key().public();
        let bytes = seal(&sealed_content(version), &public, &bound, SEALED_RANDOM).unwrap();
        wanted.sealed = Some(Box::new(Sealed { version, on_change, bytes }));
    }
    state
}

pub(crate) fn desired_sealed() -> DesiredState {
    sealed(1, OnChange::Restart)
}

pub(crate) fn desired_sealed_signal() -> DesiredState {
    sealed(2, OnChange::Signal(1))
}

/// Session that the calls are signed for.
pub(crate) const SESSION: u64 = u64::MAX - 1;

fn call(id: u64, method: Method) -> Call {
    Call { v: 1, id, method }
}

fn logs(tail: u32, follow_seconds: u32) -> Method {
    let part = LogPart { tail, follow_seconds, ..LogPart::default() };
    Method::Logs { workload: "web".parse().unwrap(), part }
}

pub(crate) fn call_logs_part() -> Call {
    let part = LogPart {
        tail: 100_000,
        follow_seconds: 30,
        since: 1_795_467_600,
        until: 1_795_471_200,
        back: 1,
        times: true,
        log: 0x5eed_0001,
        from: 5_000_000_000,
    };
    call(7, Method::Logs { workload: "web".parse().unwrap(), part })
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

pub(crate) fn question() -> Question {
    let condition = "temp > 20.25 and (state in ('run', \"idle\", 1.5, null) or not ok) \
                     and line contains 'x' or exists(list.0) or ok != false or . = null \
                     or a < b or a <= 1 or a >= 1";
    let select = "count, count(temp), sum(temp), mean(temp), min(temp), max(temp), last(rpm), \
                  stddev(rpm), p95(temp), p99.9(`a b`.c)";
    let question = parse::question(select, condition, "state, list.0", "5m").unwrap();
    Question { since: 1_795_467_600_000, until: 1_795_554_000_000, ..question }
}

pub(crate) fn call_query() -> Call {
    let question = Box::new(question());
    call(3, Method::Query { stream: stream("pump/temp"), question, within_ms: 60_000 })
}

pub(crate) fn call_query_small() -> Call {
    let question = Box::new(parse::question("count", "", "", "").unwrap());
    call(4, Method::Query { stream: stream("x"), question, within_ms: 1_000 })
}

/// Returns a question about whole numbers that are the same as doubles.
pub(crate) fn question_whole() -> Question {
    let filter = "id in (9007199254740993, -9007199254740993) or id > 9223372036854775807";
    parse::question("min(id), max(id), last(id), sum(id)", filter, "id", "").unwrap()
}

pub(crate) fn call_query_whole() -> Call {
    let question = Box::new(question_whole());
    call(7, Method::Query { stream: stream("ids"), question, within_ms: 1_000 })
}

/// Returns a device's answer to `question_whole`.
pub(crate) fn partial_whole() -> Partial {
    let mut run = holdfast_query::Run::new(&question_whole(), AT_THE_EDGE).unwrap();
    for (seq, id) in (1..).zip([
        "9007199254740992",
        "9007199254740993",
        "-9007199254740993",
        "9223372036854775808",
        "18446744073709551615",
    ]) {
        let value = format!("{{\"id\":{id}}}").into_bytes();
        run.feed(&Record { seq, time: 1_795_467_900_000, format: Format::Plain, value });
    }
    run.finish()
}

/// Returns a checkpoint whose hash is 32 times this byte.
fn checkpoint(number: u64, byte: u8) -> Checkpoint {
    Checkpoint { number, hash: [byte; 32], at: 1_795_467_660 }
}

pub(crate) fn desired_audit() -> DesiredState {
    DesiredState { audit: Some(checkpoint(70_000, 7)), ..desired_small() }
}

pub(crate) fn call_volumes() -> Call {
    call(10, Method::Volume(VolumeOrder::List))
}

pub(crate) fn call_volume_restore() -> Call {
    let id = VolumeId { workload: "till".parse().unwrap(), volume: "data".parse().unwrap() };
    call(11, Method::Volume(VolumeOrder::Restore(id, artifact(6, 70_000))))
}

pub(crate) fn call_audit_checkpoint() -> Call {
    call(8, Method::AuditCheckpoint)
}

pub(crate) fn testimony() -> Testimony {
    let (first, second) = (checkpoint(12, 1), checkpoint(70_000, 7));
    Testimony(vec![
        Witnessed { epoch: 1, checkpoint: first },
        Witnessed { epoch: 1_795_467_600, checkpoint: second },
    ])
}

pub(crate) fn call_restart() -> Call {
    call(6, Method::Restart { workload: "web".parse().unwrap() })
}

pub(crate) fn call_fetch() -> Call {
    let (since, until) = (1_795_467_600_000, 1_795_467_900_000);
    let bytes = Some(10_000_000);
    call(5, Method::Fetch { stream: stream("pump/temp"), since, until, bytes })
}

/// Returns a device's answer to `question`, over the vectors' records and some more.
pub(crate) fn partial() -> Partial {
    let mut run = holdfast_query::Run::new(&question(), AT_THE_EDGE).unwrap();
    for record in records() {
        run.feed(&record);
    }
    for (seq, value) in (400..).zip([
        r#"{"temp":-1.5,"rpm":0,"list":[true],"a b":{"c":0}}"#,
        r#"{"temp":1e30,"rpm":12.5,"list":[7],"a b":{"c":-2}}"#,
        r#"{"temp":0.1,"rpm":12.75,"list":[7]}"#,
        r#"{"temp":0.2,"list":[7]}"#,
    ]) {
        let value = value.as_bytes().to_vec();
        run.feed(&Record { seq, time: 1_795_467_900_000, format: Format::Plain, value });
    }
    let partial = run.finish();
    Partial {
        shipping: 420,
        scanned: partial.scanned + 1,
        matched: partial.matched + 1,
        omitted: 1,
        note: "not all".into(),
        ..partial
    }
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
        history: Vec::new(),
        id: None,
    }
}

fn workload(revision: u64, phase: Phase, restarts: u32, pid: u32, reason: &str) -> WorkloadReport {
    let run = (pid != 0).then_some(pid);
    WorkloadReport {
        revision,
        phase,
        restarts,
        run,
        detail: None,
        reason: reason.into(),
        progress: None,
    }
}

fn agent() -> Option<AgentInfo> {
    Some(AgentInfo {
        version: "0.1.0".into(),
        arch: "aarch64".into(),
        kernel: "6.12.0".into(),
        certificate_not_after: Some(1_795_554_000),
        refused: 2,
        witness: false,
        engine: None,
        neighbours: Vec::new(),
    })
}

pub(crate) fn state_first() -> StateReport {
    let agent = AgentInfo {
        version: "0.1.0".into(),
        arch: "x86_64".into(),
        kernel: String::new(),
        certificate_not_after: None,
        refused: 0,
        witness: false,
        engine: None,
        neighbours: Vec::new(),
    };
    StateReport {
        full: true,
        epoch: 0,
        problems: Some(Vec::new()),
        agent: Some(agent),
        ..report(0, Vec::new())
    }
}

pub(crate) fn state_witness() -> StateReport {
    let first = state_first();
    let agent = first.agent.map(|agent| AgentInfo { witness: true, ..agent });
    StateReport { agent, ..state_first() }
}

pub(crate) fn state_containers() -> StateReport {
    let engine = EngineInfo {
        name: "docker".into(),
        version: "20.10.24".into(),
        api: "1.41".into(),
        problem: String::new(),
    };
    let ports = BTreeMap::from([("web".parse().unwrap(), 20_480)]);
    let id = "0123456789ab".into();
    let detail = Some(Detail::Container(Box::new(ContainerDetail { id, ports })));
    let till = WorkloadReport { detail, ..workload(2, Phase::Running, 0, 77, "") };
    let first = state_first();
    let agent = first.agent.map(|agent| AgentInfo { engine: Some(engine), ..agent });
    let workloads = BTreeMap::from([("till".parse().unwrap(), Some(till))]);
    StateReport { agent, workloads, ..state_first() }
}

pub(crate) fn state_neighbours() -> StateReport {
    let first = state_first();
    let neighbours = text(&["10.0.0.7:8886", "192.168.1.20:8886"]);
    let agent = first.agent.map(|agent| AgentInfo { neighbours, ..agent });
    StateReport { agent, ..state_first() }
}

pub(crate) fn state_progress() -> StateReport {
    let progress = |done, total, rate, from| Some(Progress { done, total, rate, from });
    let fetching = |progress| WorkloadReport { progress, ..workload(2, Phase::Fetching, 0, 0, "") };
    let all = [
        ("delta", fetching(progress(100, 4_000_000, 0, Origin::Delta))),
        ("lan", fetching(progress(2_000_000, 200_000_000, 11_000_000, Origin::Neighbour))),
        ("thin", fetching(progress(70_000, 200_000_000, 12_000, Origin::Whole))),
    ];
    report(3, all.map(|(name, report)| (name, Some(report))).to_vec())
}

pub(crate) fn state_full() -> StateReport {
    let all = [
        ("pending", workload(1, Phase::Pending, 0, 0, "")),
        ("fetching", workload(1, Phase::Fetching, 0, 0, "12 of 64 MiB")),
        ("starting", workload(2, Phase::Starting, 0, 4_711, "")),
        (
            "running",
            WorkloadReport {
                detail: Some(Detail::Process(4_712)),
                ..workload(3, Phase::Running, 0, 81, "")
            },
        ),
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

pub(crate) fn state_paused() -> StateReport {
    let reason = "paused: it starts when it is resumed";
    report(9, vec![("web", Some(workload(13, Phase::Paused, 2, 0, reason)))])
}

pub(crate) fn state_numbered() -> StateReport {
    StateReport { id: Some(300), ..state_delta() }
}

pub(crate) fn report_ack() -> ReportAck {
    ReportAck { v: 1, id: 300 }
}

pub(crate) fn state_healed() -> StateReport {
    StateReport { problems: Some(Vec::new()), ..report(8, Vec::new()) }
}

fn reply(id: u64, sequence: u32, body: &[u8], end: bool, error: Option<&str>) -> Reply {
    let (body, log) = (body.to_vec(), Vec::new());
    let error = error.map(|text| ReplyError::new(ReplyCode::Failed, text));
    Reply { v: 1, id, sequence, body, end, error, log }
}

pub(crate) fn reply_log() -> Reply {
    let log = vec![0x5eed_0001, 5_000_000_000, 6, 1_795_467_600, 7, 0];
    Reply { log, ..reply(1, 0, b"first\nsecond\n", false, None) }
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

pub(crate) fn reply_busy() -> Reply {
    let text = "busy: it is answering other questions; try again";
    let error = Some(ReplyError::new(ReplyCode::Busy, text));
    Reply { error, ..reply(4, 0, b"", true, None) }
}

pub(crate) fn online() -> Presence {
    Presence { v: 1, online: true, session: SESSION }
}

pub(crate) fn will() -> Presence {
    Presence { v: 1, online: false, session: 0 }
}

fn policy(patterns: &[&str]) -> StreamPolicy {
    let streams = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
    StreamPolicy { streams, ..StreamPolicy::default() }
}

fn policies() -> Vec<(&'static str, StreamPolicy)> {
    let plain = policy(&["pump/*", "*"]);
    let mut metrics = policy(&["device/metrics"]);
    metrics.source = Some(Source::Metrics { every_ms: 10_000 });
    metrics.ship = Ship::Window {
        every_ms: 300_000,
        fields: text(&["cpu", "temperature.soc"]),
        aggregates: vec![
            Aggregate::Min,
            Aggregate::Max,
            Aggregate::Mean,
            Aggregate::Last,
            Aggregate::Quantile(950),
        ],
    };
    let mut logs = policy(&["web/log"]);
    logs.source = Some(Source::Logs { workload: "web".parse().unwrap() });
    logs.priority = 0;
    logs.ttl_ms = Some(7 * 86_400_000);
    logs.overflow = Overflow::Thin { keep_every: 10 };
    logs.windows = vec![Window { from: 60, to: 240 }, Window { from: 1_380, to: 30 }];
    let mut alarms = policy(&["alarms"]);
    alarms.priority = 9;
    alarms.quota_bytes = Some(10 * 1024 * 1024 * 1024);
    alarms.overflow = Overflow::DropNewest;
    alarms.ship = Ship::OnChange { field: "level.bar".into(), deadband: "0.5".into() };
    alarms.order = Order::NewestFirst;
    alarms.durability_ms = 200;
    let mut raw = policy(&["camera/raw"]);
    raw.ship = Ship::Never;
    raw.compress = false;
    vec![("plain", plain), ("metrics", metrics), ("logs", logs), ("alarms", alarms), ("raw", raw)]
}

pub(crate) fn desired_data() -> DesiredState {
    let link = LinkBudget {
        period: Period::Month,
        bytes: 1024 * 1024 * 1024,
        shares: [(TrafficClass::Control, 10), (TrafficClass::Events, 20), (TrafficClass::Data, 60)]
            .map(|(class, percent)| (class, Share { percent }))
            .into(),
        interfaces: vec![
            Interface { name: "wwan*".into(), metered: true, cost_percent: 150 },
            Interface { name: "eth0".into(), metered: false, cost_percent: 0 },
        ],
        neighbours: false,
    };
    let streams = policies().into_iter().map(|(name, policy)| (name.parse().unwrap(), policy));
    let data = DataPolicies { streams: streams.collect(), link: Some(link), link_name: None };
    let mut web = spec(Executable::Path("/usr/bin/web".into()));
    web.bus = Bus { subscribe: text(&["pump/level/#"]), publish: text(&["pump/set", "+/reset"]) };
    let mut state = desired(3, vec![("web", 2, web)]);
    state.data = Some(Box::new(data));
    state
}

/// Returns `desired_data` with the name of the link's document.
pub(crate) fn desired_data_named() -> DesiredState {
    let mut state = desired_data();
    state.data.as_mut().unwrap().link_name = Some("satellite".parse().unwrap());
    state
}

pub(crate) fn desired_data_small() -> DesiredState {
    DesiredState { data: Some(Box::default()), ..desired(4, Vec::new()) }
}

fn stream(name: &str) -> StreamName {
    name.parse().unwrap()
}

pub(crate) fn state_data() -> StateReport {
    let pump = StreamReport {
        policy: Some("plain".parse().unwrap()),
        last: 1_000_000,
        waiting: 2_500,
        bytes: 70_000_000,
        oldest: Some(1_795_467_600_123),
        problem: String::new(),
    };
    let alarms = StreamReport {
        policy: Some("alarms".parse().unwrap()),
        last: 3,
        problem: "no number at level.bar in 3 of 3 records: shipped as they are".into(),
        ..StreamReport::default()
    };
    let streams = [("pump/temp", pump), ("alarms", alarms), ("x", StreamReport::default())];
    let classes = [
        (
            TrafficClass::Control,
            ClassUse { sent: 4_000, received: 9_000, budget: Some(100_000), ..ClassUse::default() },
        ),
        (TrafficClass::Data, ClassUse { sent: 70_000, received: 800, ..ClassUse::default() }),
    ];
    let data = DataReport {
        streams: streams.map(|(name, report)| (stream(name), report)).into(),
        storage: Storage {
            used: 70_000_000,
            quota: 1_000_000_000,
            written: 91_000_000,
            life_years_hundredths: Some(1_250),
        },
        link: LinkUse {
            since: 1_795_392_000,
            period: None,
            budget: Some(1_000_000),
            classes: classes.into(),
            ..LinkUse::default()
        },
        horizon: Some(Horizon {
            until: 1_795_900_000,
            cause: HorizonCause::Buffer,
            detail: "quota of plain".into(),
        }),
    };
    StateReport { data: Some(Box::new(data)), ..report(8, Vec::new()) }
}

/// Returns a report with the link's period, a field that was added later.
pub(crate) fn state_data_period() -> StateReport {
    let link = LinkUse { since: 1_793_491_200, period: Some(Period::Month), ..LinkUse::default() };
    let data = DataReport { link, ..DataReport::default() };
    StateReport { data: Some(Box::new(data)), ..report(8, Vec::new()) }
}

/// Returns a report with classes that wait for the link budget, and bytes of the last hour.
pub(crate) fn state_data_waits() -> StateReport {
    let used = |sent, charged, recent, waits| ClassUse {
        sent,
        received: 800,
        budget: Some(30_000),
        charged,
        recent,
        waits,
    };
    let classes = [
        (TrafficClass::Control, used(86_700, None, 9_000, None)),
        (TrafficClass::Events, used(0, Some(8_000), 1, Some(0))),
        (TrafficClass::Data, used(70_000, Some(700_000), 0, Some(1_795_910_400))),
        (TrafficClass::Logs, used(0, None, 0, Some(NEVER))),
    ];
    let link = LinkUse {
        since: 1_795_824_000,
        period: Some(Period::Day),
        at: 1_795_882_476,
        watched: 3_600,
        budget: Some(100_000),
        classes: classes.into(),
    };
    let data = DataReport { link, ..DataReport::default() };
    StateReport { data: Some(Box::new(data)), ..report(8, Vec::new()) }
}

pub(crate) fn state_data_small() -> StateReport {
    StateReport { data: Some(Box::default()), ..report(8, Vec::new()) }
}

/// Returns records as a machine's program publishes them; one is no JSON, one is CBOR.
fn records() -> Vec<Record> {
    let plain = |seq: u64, time: u64, value: &[u8]| Record {
        seq,
        time,
        format: Format::Plain,
        value: value.to_vec(),
    };
    let start = 1_795_467_600_000;
    vec![
        plain(1, start, br#"{"temp":20.5,"rpm":1500,"state":"run"}"#),
        plain(2, start + 1_000, br#"{"temp":20.6,"rpm":1502,"state":"run"}"#),
        plain(3, start + 2_001, br#"{"temp":20.55,"rpm":1499,"state":"stop"}"#),
        plain(5, start + 1_999, b"not JSON: \xff"),
        Record {
            seq: 300,
            time: start + 3_000,
            format: Format::Cbor,
            value: b"\xa1at\x01".to_vec(),
        },
        plain(301, start + 3_000, b""),
    ]
}

pub(crate) fn batch_rows() -> Batch {
    Batch {
        v: 1,
        stream: stream("pump/temp"),
        from: 1,
        to: 301,
        rest: Some(GapReason::Thinned),
        gaps: Vec::new(),
        fetched: false,
        doubt: false,
        block: pack(&records(), Layout::Rows, false),
    }
}

pub(crate) fn batch_whole() -> Batch {
    let first: Vec<Record> = records().into_iter().take(3).collect();
    Batch { to: 3, rest: None, block: pack(&first, Layout::Rows, false), ..batch_rows() }
}

/// Returns a batch with every kind of column: numbers of each form, texts with and without a
/// dictionary, times; and whole records among them.
pub(crate) fn batch_columns() -> Batch {
    let start = 1_795_467_600_000u64;
    let machine = |at: u64| {
        let (level, short) = (2050 - 3 * at, [20, 20, 21, 19][at as usize % 4]);
        let point = ["1.0", "1.25", "0.5", "-3.0"][at as usize % 4];
        let said = ["7", "7.10", "7.1", "7.0"][at as usize % 4];
        let state = if at < 5 { "run" } else { "stop" };
        format!(
            "{{\"at\":\"2026-11-23T21:00:{at:02}.{:03}Z\",\"fixed\":{}.{:02},\"short\":{short}{},\
             \"point\":{point},\"said\":{said},\"state\":\"{state}\",\"ok\":true,\
             \"each\":\"{}\",\"count\":{}}}",
            7 * at,
            level / 100,
            level % 100,
            if at.is_multiple_of(2) { "" } else { ".5" },
            "ab".repeat(1 + at as usize),
            1_000_000 + at,
        )
    };
    let mut records: Vec<Record> = (1..=8u64)
        .map(|at| Record {
            seq: if at < 7 { at } else { at + 10 },
            time: start + 1_000 * at + at % 3,
            format: Format::Plain,
            value: machine(at).into_bytes(),
        })
        .collect();
    let more = |seq, format, value: &[u8]| Record {
        seq,
        time: start + 9_000,
        format,
        value: value.to_vec(),
    };
    records.push(more(19, Format::Plain, b"whole \x01"));
    records.push(more(20, Format::Cbor, b"\xa1at\x01"));
    for at in 21..=24 {
        let line = format!("2026-11-23 21:00:{at} INFO pumped {} l", at * 10);
        records.push(more(at, Format::Plain, line.as_bytes()));
    }
    let block = pack(&records, Layout::Smallest, false);
    assert_eq!(block.first(), Some(&1), "it is in columns");
    Batch { to: 24, block, ..batch_rows() }
}

pub(crate) fn batch_gaps() -> Batch {
    let reasons = [
        GapReason::Expired,
        GapReason::Quota,
        GapReason::Thinned,
        GapReason::Reduced,
        GapReason::Withheld,
        GapReason::Damaged,
        GapReason::DiskFull,
    ];
    let gap = |(at, reason): (usize, GapReason)| {
        let from = 1_000 * u64::try_from(at).unwrap() + 1;
        Gap { from, to: from + 499, reason }
    };
    Batch {
        v: 1,
        stream: stream("alarms"),
        from: 1,
        to: 500,
        rest: None,
        gaps: reasons.into_iter().enumerate().map(gap).collect(),
        fetched: false,
        doubt: false,
        block: Vec::new(),
    }
}

pub(crate) fn ack_stored() -> Acknowledgement {
    let acked = vec![acked("pump/temp", 1, 301), acked("alarms", 1, u64::MAX)];
    Acknowledgement { acked, ..nothing() }
}

fn acked(name: &str, from: u64, to: u64) -> Acked {
    let conflict = Vec::new();
    Acked { stream: stream(name), from, to, refused: None, conflict, highest: 0 }
}

fn nothing() -> Acknowledgement {
    Acknowledgement {
        v: 1,
        acked: Vec::new(),
        hold_ms: 0,
        store: None,
        diverged: None,
        more: false,
        given: Vec::new(),
    }
}

pub(crate) fn ack_conflict() -> Acknowledgement {
    let conflict = vec![Range { from: 1, to: 3 }, Range { from: 5, to: 5 }];
    let acked = vec![Acked { conflict, highest: 412, ..acked("pump/temp", 1, 301) }];
    Acknowledgement { acked, ..nothing() }
}

pub(crate) fn ack_diverged() -> Acknowledgement {
    let given = vec![
        Given { stream: stream("alarms"), highest: 7 },
        Given { stream: stream("pump/temp"), highest: 412 },
    ];
    Acknowledgement { diverged: Some(4_000_000_000), more: true, given, ..nothing() }
}

pub(crate) fn batch_doubt() -> Batch {
    Batch { doubt: true, ..batch_whole() }
}

pub(crate) fn batch_fetched() -> Batch {
    Batch { fetched: true, ..batch_whole() }
}

pub(crate) fn state_diverged() -> StateReport {
    StateReport { problems: None, history: vec![4_000_000_000], ..state_healed() }
}

pub(crate) fn state_history() -> StateReport {
    StateReport { history: vec![7, 4_000_000_000], ..state_first() }
}

pub(crate) fn ack_refused() -> Acknowledgement {
    let refused = Some("a damaged block: a number cut short".into());
    let acked = vec![Acked { refused, ..acked("x", 7, 9) }];
    Acknowledgement { acked, ..nothing() }
}

pub(crate) fn ack_hold() -> Acknowledgement {
    Acknowledgement { hold_ms: 30_000, ..nothing() }
}

pub(crate) fn ack_store() -> Acknowledgement {
    Acknowledgement { store: Some(u64::MAX), ..nothing() }
}
