//! What holds for the whole workload and is said of each service: limits, restart and stop.
//!
//! A group has limits of all its containers together, one restart policy and one way to stop. The
//! limits of services are added up where every service has one.

use serde_json::{Map, Value, json};

use super::node::{Fields, Item};
use super::notes::Level::{Unsupported, Warning};
use super::quantity::{bytes, cpus, duration, write_bytes, write_cpus, write_duration};
use super::rights;
use holdfast_api::units;

/// Time of a stop in Compose of which nothing is said, in milliseconds.
const USUAL_GRACE: u64 = 10_000;
/// Longest time of a stop, in milliseconds, as the control plane takes it.
const LONGEST_GRACE: u64 = 3_600_000;
/// Largest number of processes that the control plane takes.
const MOST_PIDS: u32 = 4_194_304;

/// Policy of restarts, from the weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Policy {
    /// It is not started again.
    Never,
    /// It is started again after a failure.
    OnFailure,
    /// It is always started again.
    Always,
}

impl Policy {
    fn word(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::OnFailure => "on-failure",
            Self::Always => "always",
        }
    }
}

/// Part of a service that holds for the whole workload.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    service: Item<'a>,
    cpu_millis: Option<(u32, Item<'a>)>,
    memory: Option<(u64, Item<'a>)>,
    pids: Option<(u32, Item<'a>)>,
    policy: Option<(Policy, Item<'a>)>,
    signal: Option<(String, Item<'a>)>,
    grace: Option<(u64, Item<'a>)>,
    /// True if another service waits until this one has ended.
    pub(super) is_job: bool,
}

/// Reads the part of a service that holds for the whole workload; GPUs go into the container.
pub(super) fn whole<'a>(fields: &Fields<'a>, container: &mut Map<String, Value>) -> Whole<'a> {
    let mut whole = Whole {
        service: fields.item.clone(),
        cpu_millis: limit(fields.get("cpus"), "a number of processors, such as 0.5", cpus),
        memory: limit(fields.get("mem_limit"), SIZE, bytes),
        pids: limit(fields.get("pids_limit"), PIDS, pids),
        policy: fields.get("restart").and_then(restart),
        signal: None,
        grace: None,
        is_job: false,
    };
    if let Some(deploy) = fields.get("deploy") {
        self::deploy(&deploy, &mut whole, container);
    }
    if let Some(scale) = fields.get("scale") {
        one(&scale);
    }
    if let Some(signal) = fields.get("stop_signal") {
        let name = signal.parsed("a signal, such as SIGINT", |text| {
            units::signal(text).ok().map(|_| text.to_owned())
        });
        whole.signal = name.map(|name| (name, signal));
    }
    if let Some(grace) = fields.get("stop_grace_period") {
        let millis = grace.parsed("a duration, such as 30s", duration);
        if millis.is_some_and(|millis| millis > LONGEST_GRACE) {
            grace.unsupported("longer than an hour: an hour is taken");
        }
        whole.grace = millis.map(|millis| (millis.min(LONGEST_GRACE), grace));
    }
    whole
}

const SIZE: &str = "a size, such as 64m";
const PIDS: &str = "a number of processes";

fn pids(text: &str) -> Option<u32> {
    text.parse::<i64>().ok().map(|number| u32::try_from(number).unwrap_or(0).min(MOST_PIDS))
}

/// Reads a limit. None: there is none, and 0 means none.
fn limit<'a, T: Default + PartialEq>(
    item: Option<Item<'a>>,
    what: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<(T, Item<'a>)> {
    let item = item?;
    let value = item.parsed(what, parse).filter(|value| *value != T::default())?;
    Some((value, item))
}

fn one(item: &Item<'_>) {
    if item.text().is_some_and(|text| text != "1") {
        item.unsupported("not honoured: one container of each service runs on a device; more devices, or a service more, is more");
    }
}

fn restart(item: Item<'_>) -> Option<(Policy, Item<'_>)> {
    let what = "no, always, on-failure or unless-stopped";
    let policy = item.parsed(what, |text| match text.split_once(':').unwrap_or((text, "")) {
        ("no" | "false", "") => Some(Policy::Never),
        ("always" | "unless-stopped", "") => Some(Policy::Always),
        ("on-failure", _) => Some(Policy::OnFailure),
        _ => None,
    })?;
    if item.node.text().is_some_and(|text| text.contains(':')) {
        item.warning("the most tries are not honoured: it is tried again for ever, each time later, up to once a minute");
    }
    Some((policy, item))
}

fn deploy<'a>(deploy: &Item<'a>, whole: &mut Whole<'a>, container: &mut Map<String, Value>) {
    let fields = deploy.fields();
    if let Some(replicas) = fields.get("replicas") {
        one(&replicas);
    }
    if let Some(policy) = fields.get("restart_policy") {
        let inner = policy.fields();
        let condition = inner.get("condition").and_then(|item| {
            let policy = item.parsed("none, on-failure or any", |text| match text {
                "none" => Some(Policy::Never),
                "on-failure" => Some(Policy::OnFailure),
                "any" => Some(Policy::Always),
                _ => None,
            });
            policy.map(|policy| (policy, item))
        });
        inner.end(&[
            (
                "delay",
                Warning,
                "not honoured: it is tried again after a second, then later each time",
            ),
            (
                "max_attempts",
                Warning,
                "not honoured: it is tried again for ever, each time later, up to once a minute",
            ),
            ("window", Warning, "not honoured"),
        ]);
        whole.policy = condition.or(Some((Policy::Always, policy)));
    }
    if let Some(resources) = fields.get("resources") {
        self::resources(&resources, whole, container);
    }
    fields.end(&[
        ("mode", Warning, ""),
        ("endpoint_mode", Warning, ""),
        ("labels", Warning, "not honoured: they are of a service in a swarm"),
        ("placement", Warning, "not honoured: devices are chosen by --devices or --selector"),
        ("update_config", Warning, "not honoured: each device changes to a new revision by itself"),
        (
            "rollback_config",
            Warning,
            "not honoured: a revision that fails is left for the former one by holdfast rollback",
        ),
    ]);
}

fn resources<'a>(resources: &Item<'a>, whole: &mut Whole<'a>, container: &mut Map<String, Value>) {
    let fields = resources.fields();
    if let Some(limits) = fields.get("limits") {
        let inner = limits.fields();
        let processors = limit(inner.get("cpus"), "a number of processors, such as 0.5", cpus);
        whole.cpu_millis = processors.or(whole.cpu_millis.take());
        whole.memory = limit(inner.get("memory"), SIZE, bytes).or(whole.memory.take());
        whole.pids = limit(inner.get("pids"), PIDS, pids).or(whole.pids.take());
        inner.end(&[]);
    }
    if let Some(reservations) = fields.get("reservations") {
        let inner = reservations.fields();
        if let Some(devices) = inner.get("devices") {
            rights::gpus(&devices, container);
        }
        inner.end(&[
            ("cpus", Warning, "not honoured: nothing is reserved on a device"),
            ("memory", Warning, "not honoured: nothing is reserved on a device"),
            ("generic_resources", Unsupported, "not honoured: name devices by devices:"),
        ]);
    }
    fields.end(&[]);
}

/// Puts the parts of all services together, and into the spec of the workload.
pub(super) fn join(all: &[&Whole<'_>], spec: &mut Map<String, Value>) {
    let mut resources = Map::new();
    let cpu = all
        .iter()
        .map(|whole| whole.cpu_millis.as_ref().map(|(some, item)| (u64::from(*some), item)));
    let memory = all.iter().map(|whole| whole.memory.as_ref().map(|(some, item)| (*some, item)));
    let pids =
        all.iter().map(|whole| whole.pids.as_ref().map(|(some, item)| (u64::from(*some), item)));
    if let Some(sum) = added(cpu) {
        resources.insert("cpu".into(), write_cpus(u32::try_from(sum).unwrap_or(u32::MAX)));
    }
    if let Some(sum) = added(memory) {
        resources.insert("memory".into(), write_bytes(sum));
    }
    if let Some(sum) = added(pids) {
        resources.insert("pids".into(), sum.min(u64::from(MOST_PIDS)).into());
    }
    if !resources.is_empty() {
        spec.insert("resources".into(), Value::Object(resources));
    }
    let policy = policy(all);
    if policy != Policy::Always {
        spec.insert("restart".into(), json!({ "policy": policy.word() }));
    }
    let mut stop = Map::new();
    if let Some(signal) = signal(all) {
        stop.insert("signal".into(), signal.into());
    }
    if all.iter().any(|whole| whole.grace.is_some()) {
        let each =
            all.iter().map(|whole| whole.grace.as_ref().map_or(USUAL_GRACE, |(millis, _)| *millis));
        stop.insert("grace".into(), write_duration(each.max().unwrap_or(USUAL_GRACE)));
    }
    if !stop.is_empty() {
        spec.insert("stop".into(), Value::Object(stop));
    }
}

/// Adds limits up. None: no service has one, or some have none.
fn added<'a, 'b: 'a>(
    all: impl ExactSizeIterator<Item = Option<(u64, &'a Item<'b>)>>,
) -> Option<u64> {
    let count = all.len();
    let given: Vec<(u64, &Item<'_>)> = all.flatten().collect();
    let sum = given.iter().fold(0_u64, |sum, (some, _)| sum.saturating_add(*some));
    if count < 2 {
        return given.first().map(|(some, _)| *some);
    }
    if given.len() < count {
        for (_, item) in given {
            item.warning("not honoured: a limit holds for the whole workload, and another service has none; give every service one, and they are added up");
        }
        return None;
    }
    if let Some((_, first)) = given.first() {
        first.warning("the limits of all services are added up, and hold for all of them together: one of them may use what another leaves");
    }
    Some(sum)
}

/// Strongest policy of the services; one that another waits for until it has ended does not count.
fn policy(all: &[&Whole<'_>]) -> Policy {
    let of = |whole: &Whole<'_>| whole.policy.as_ref().map_or(Policy::Never, |(policy, _)| *policy);
    let counting: Vec<&&Whole<'_>> =
        all.iter().filter(|whole| !whole.is_job || all.len() == 1).collect();
    let strongest = counting.iter().map(|whole| of(whole)).max().unwrap_or(Policy::Never);
    for whole in &counting {
        if of(whole) < strongest {
            let item = whole.policy.as_ref().map_or(&whole.service, |(_, item)| item);
            item.warning(format!(
                "the containers of a workload are restarted together, by the policy {} that another service asks for; if this one ends by itself, let another wait for it (service_completed_successfully)",
                strongest.word()
            ));
        }
    }
    if strongest == Policy::Never
        && let Some(first) = counting.first()
    {
        first.service.note("no service says restart, so the workload is not started again when it ends; restart: unless-stopped does it");
    }
    strongest
}

/// Signal that all services name. None: some name none, or another one.
fn signal(all: &[&Whole<'_>]) -> Option<String> {
    let first = all.first()?.signal.as_ref().map(|(name, _)| name.clone());
    let same =
        all.iter().all(|whole| whole.signal.as_ref().map(|(name, _)| name) == first.as_ref());
    if same {
        return first;
    }
    for (name, item) in all.iter().filter_map(|whole| whole.signal.as_ref()) {
        item.warning(format!(
            "not honoured: a workload is stopped by one signal, and not every service names {name}"
        ));
    }
    None
}
