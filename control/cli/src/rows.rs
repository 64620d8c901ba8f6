//! Table rows of all kinds of resources: what an operator needs to see at three in the morning.

use holdfast_base::words;
use serde_json::Value;

use super::alarms;
use super::args::Kind;
use super::cells::{chosen, cut, labels, made_by, read, runs};
use super::columns;
use super::failure::Outcome;
use super::image_rows;
use super::moment;
use super::table::Cell;
use super::text::Mood;
use holdfast_api::Role;
use holdfast_api::{
    Absence, Access, Approve, Connection, Device, HealthState, Revision, State, Token,
};

/// Horizon in seconds below which it is highlighted: a day, as in the alert rules.
const NEAR: u64 = 86_400;

/// Returns the headings of a kind.
pub(crate) fn headings(kind: Kind, wide: bool) -> Vec<&'static str> {
    let (narrow, more): (&[_], &[_]) = match kind {
        Kind::Device => (
            &["NAME", "CONNECTION", "SINCE", "HEARD", "WORKLOADS", "GENERATION", "PROBLEMS"],
            &["HORIZON", "EPOCH", "ADDRESS", "AGENT", "ARCH", "ENGINE", "SECRETS", "LABELS"],
        ),
        Kind::Revision => (&["NAME", "MADE", "BY", "RUNS"], &["ON"]),
        Kind::Token => (&["ID", "STATE", "USED", "EXPIRES", "APPROVE", "LABELS", "MAY CLAIM"], &[]),
        Kind::Access => (&["ID", "ROLE", "DEVICES", "ENDS", "LAST USED", "MADE", "NAME"], &[]),
        Kind::Alarm | Kind::Silence => alarms::headings(kind),
        Kind::Image => image_rows::HEADINGS,
        Kind::Document(kind) => return columns::headings(kind, wide),
    };
    narrow.iter().chain(more.iter().filter(|_| wide)).copied().collect()
}

/// Returns the table row of a resource.
pub(crate) fn row(kind: Kind, wide: bool, now: u64, item: &Value) -> Outcome<Vec<Cell>> {
    Ok(match kind {
        Kind::Device => device(wide, now, &read(item)?),
        Kind::Revision => revision(wide, now, &read(item)?),
        Kind::Token => token(now, &read(item)?),
        Kind::Access => access(now, &read(item)?),
        Kind::Alarm | Kind::Silence => alarms::row(kind, wide, now, item)?,
        Kind::Image => image_rows::row(wide, now, item)?,
        Kind::Document(kind) => columns::row(kind, wide, now, item),
    })
}

fn device(wide: bool, now: u64, device: &Device) -> Vec<Cell> {
    let status = &device.status;
    let (shown, mood) = workloads(device);
    let problems = problems(device, now);
    let short = if wide { problems.join(", ") } else { cut(&problems.join(", ")) };
    let generation = status.generation;
    let behind = generation.applied != generation.desired;
    let mut row = vec![
        Cell::from(device.metadata.name.as_str()),
        connection(device),
        Cell::from(ago(&status.connection_since, now)),
        heard(device, now),
        Cell::new(shown, mood),
        Cell::new(
            format!("{}/{}", generation.applied, generation.desired),
            if behind { Mood::Busy } else { Mood::Plain },
        ),
        Cell::new(short, if problems.is_empty() { Mood::Faint } else { Mood::Bad }),
    ];
    if wide {
        row.extend([
            horizon(status.data.as_ref(), now),
            Cell::from(status.epoch.to_string()),
            Cell::from(status.address.clone().unwrap_or_default()),
            Cell::from(status.agent.clone().unwrap_or_default()),
            Cell::from(status.arch.clone().unwrap_or_default()),
            engine(device),
            secrets(device),
            Cell::from(labels(&device.metadata.labels)),
        ]);
    }
    row
}

/// Returns the container engine of the device with its version. Empty: the agent says nothing of one.
fn engine(device: &Device) -> Cell {
    let Some(engine) = &device.status.engine else { return Cell::from("") };
    let mood = match (&engine.problem, &engine.name) {
        (Some(_), Some(_)) => Mood::Bad,
        (_, None) => Mood::Faint,
        (None, Some(_)) => Mood::Plain,
    };
    Cell::new(engine.to_string(), mood)
}

/// Returns whether secrets can be sealed to the device.
pub(crate) fn secrets(device: &Device) -> Cell {
    if device.status.secrets { Cell::from("yes") } else { Cell::new("no", Mood::Faint) }
}

/// Returns until when the device can go on without a link, and what ends that.
pub(crate) fn horizon(data: Option<&Value>, now: u64) -> Cell {
    let said = data.and_then(|data| data.get("horizon"));
    let until = said.and_then(|said| said.get("until")).and_then(Value::as_u64);
    let Some(until) = until else { return Cell::from("") };
    let cause = said.and_then(|said| said.get("cause")).and_then(Value::as_str);
    let mood = match until.saturating_sub(now) {
        0 => Mood::Bad,
        1..NEAR => Mood::Busy,
        _ => Mood::Plain,
    };
    let words = words::until(until, now);
    Cell::new(format!("{words} ({})", cause.unwrap_or("unknown")), mood)
}

/// Returns the number of workloads that run or are done, and of those that are desired: `3/4`. For
/// a device that is offline or silent the first is not known: `?/4`.
fn workloads(device: &Device) -> (String, Mood) {
    let desired = device.desired.len();
    let state = |name: &String| device.status.workloads.get(name).and_then(|is| is.state);
    let is_silent = device.desired.keys().any(|name| state(name) == Some(State::Unknown));
    if device.status.connection != Connection::Online || is_silent {
        return (format!("?/{desired}"), Mood::Faint);
    }
    let good = |name: &&String| matches!(state(name), Some(State::Running | State::Done));
    let good = device.desired.keys().filter(good).count();
    let mood = match device.status.health.state {
        HealthState::Failing => Mood::Bad,
        _ if good < desired => Mood::Busy,
        _ => Mood::Plain,
    };
    (format!("{good}/{desired}"), mood)
}

/// Returns how long ago a moment was. Empty when it is not known.
pub(crate) fn ago(at: &Option<String>, now: u64) -> String {
    at.as_ref().map(|moment| moment::ago(moment, now)).unwrap_or_default()
}

/// Returns for how many seconds the device's next packet is overdue. None: it is not.
pub(crate) fn overdue(device: &Device, now: u64) -> Option<u64> {
    let by = moment::seconds(device.status.heard_by.as_ref()?)?;
    device.status.overdue.then(|| now.saturating_sub(by))
}

/// Returns the connection state and, for a device that is away, whether that is expected.
pub(crate) fn connection(device: &Device) -> Cell {
    let status = &device.status;
    let away = status.absence.as_ref().and_then(|absence| absence.state);
    match away.filter(|away| *away != Absence::Unexpected) {
        Some(away) => {
            let words = format!("{} ({})", status.connection.as_str(), away.as_str());
            Cell::new(words, Mood::Faint)
        }
        None => Cell::new(status.connection.as_str(), mood_of_connection(status.connection)),
    }
}

/// Returns when the device was last heard, highlighted when its next packet is overdue.
pub(crate) fn heard(device: &Device, now: u64) -> Cell {
    let mood = if overdue(device, now).is_some() { Mood::Busy } else { Mood::Plain };
    match &device.status.heard_at {
        None => Cell::new("never", Mood::Faint),
        Some(moment) => Cell::new(moment::ago(moment, now), mood),
    }
}

/// Returns problems in a few words each, with their beginning: failing workloads first, then the
/// device's own. For an offline device they are as of when it was last heard.
fn problems(device: &Device, now: u64) -> Vec<String> {
    let status = &device.status;
    let long = |since: &Option<String>| match since.as_ref().and_then(|at| moment::seconds(at)) {
        Some(at) => format!(" {}", words::length(now.saturating_sub(at))),
        None => String::new(),
    };
    let failing = status.workloads.iter().filter_map(|(name, is)| {
        let (fails, was) =
            (is.state == Some(State::Failing), is.last_state == Some(State::Failing));
        if fails {
            return Some(format!("{name} failing{}", long(&is.since)));
        }
        was.then(|| format!("{name} was failing"))
    });
    let codes: Vec<&str> = status.problems.iter().map(|problem| problem.code.as_str()).collect();
    let of_device = status.problems.iter().enumerate().filter_map(|(at, problem)| {
        let code = problem.code.as_str();
        let is_first = !codes.iter().take(at).any(|earlier| *earlier == code);
        let count = codes.iter().filter(|other| **other == code).count();
        let since = long(&problem.since);
        is_first
            .then(|| if count > 1 { format!("{code} ({count})") } else { format!("{code}{since}") })
    });
    failing.chain(of_device).collect()
}

fn revision(wide: bool, now: u64, revision: &Revision) -> Vec<Cell> {
    let made = revision.metadata.created_at.as_ref();
    let mut row = vec![
        Cell::from(format!("{}.{}", revision.workload, revision.revision)),
        Cell::from(made.map(|moment| moment::ago(moment, now)).unwrap_or_default()),
        Cell::from(made_by(revision)),
        Cell::from(runs(&revision.spec)),
    ];
    if wide {
        row.push(Cell::from(chosen(&revision.spec)));
    }
    row
}

fn token(now: u64, token: &Token) -> Vec<Cell> {
    let good = token.state == "active";
    vec![
        Cell::from(token.metadata.name.as_str()),
        Cell::new(token.state.as_str(), if good { Mood::Good } else { Mood::Faint }),
        Cell::from(format!("{}/{}", token.used, token.uses)),
        Cell::from(moment::until(&token.expires_at, now)),
        Cell::from(match token.approve {
            Approve::Auto => "auto",
            Approve::Manual => "manual",
        }),
        Cell::from(labels(&token.metadata.labels)),
        Cell::from(match token.allow_labels.as_slice() {
            [] => "-".into(),
            keys => keys.join(","),
        }),
    ]
}

fn access(now: u64, access: &Access) -> Vec<Cell> {
    let when = |at: &Option<String>, or: &str| match at {
        None => or.to_owned(),
        Some(moment) => moment::ago(moment, now),
    };
    vec![
        Cell::from(access.metadata.name.as_str()),
        Cell::new(
            access.role.as_str(),
            if access.role == Role::Admin { Mood::Busy } else { Mood::Plain },
        ),
        Cell::from(access.selector.as_deref().unwrap_or("-")),
        Cell::from(match &access.expires_at {
            None => "never".to_owned(),
            Some(moment) => moment::until(moment, now),
        }),
        Cell::from(when(&access.last_used_at, "never")),
        Cell::from(moment::ago(&access.metadata.created_at, now)),
        Cell::from(access.name.as_str()),
    ]
}

/// Returns the colour of a workload's state.
pub(crate) fn mood_of_state(state: State) -> Mood {
    match state {
        State::Running | State::Done => Mood::Good,
        State::Failing => Mood::Bad,
        State::Unknown => Mood::Faint,
        State::Progressing | State::Paused => Mood::Busy,
    }
}

/// Returns the colour of a connection state.
pub(crate) fn mood_of_connection(connection: Connection) -> Mood {
    match connection {
        Connection::Online => Mood::Good,
        Connection::Pending => Mood::Busy,
        Connection::Offline | Connection::NeverSeen => Mood::Bad,
        Connection::Revoked => Mood::Faint,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::table::table;
    use crate::text::Output;
    use holdfast_api::kinds::WORKLOAD;

    fn shown(kind: Kind, wide: bool, item: &Value) -> String {
        // 2026-11-23T21:01:01Z
        let row = row(kind, wide, 1_795_467_661, item).unwrap();
        table(Output { colour: false }, 0, &headings(kind, wide), &[row])
    }

    #[test]
    fn a_device_at_a_glance() {
        let device = json!({
            "apiVersion": "holdfast/v1", "kind": "Device",
            "metadata": { "name": "gw-1", "labels": { "role": "gateway" } },
            "desired": { "a": { "revision": 2 }, "b": { "revision": 1 } },
            "status": {
                "connection": "offline", "connectionSince": "2026-11-23T20:52:01Z",
                "heardAt": "2026-11-23T20:51:01Z", "shard": 1, "epoch": 1,
                "generation": { "desired": 3, "applied": 2 },
                "workloads": {
                    "a": { "revision": 1, "phase": "running", "restarts": 0, "pid": 7, "reason": "" },
                    "b": { "revision": 1, "phase": "backoff", "restarts": 9, "pid": null, "reason": "x", "state": "unknown", "lastState": "failing" },
                },
                "problems": [{ "since": "2026-11-23T20:01:01Z", "code": "disk-full", "message": "no space" }],
            },
        });
        assert_eq!(
            shown(Kind::Device, false, &device),
            "NAME  CONNECTION  SINCE   HEARD    WORKLOADS  GENERATION  PROBLEMS\n\
             gw-1  offline     9m ago  10m ago  ?/2        2/3         b was failing, disk-full 60m\n",
            "what an offline device did when last heard is not what it does"
        );
        assert!(shown(Kind::Device, true, &device).contains("role=gateway"));
        let mut device = device;
        let same = json!({ "code": "stream-policy", "message": "x" });
        device["status"]["problems"] = json!([same, { "code": "clock", "message": "" }, same]);
        let text = shown(Kind::Device, false, &device);
        assert!(text.ends_with("b was failing, stream-policy (2), clock\n"), "{text}");
        device["status"]["connection"] = json!("online");
        device["status"]["health"] = json!({ "state": "failing", "failing": ["b"] });
        device["status"]["heardBy"] = json!("2026-11-23T21:00:01Z");
        device["status"]["workloads"]["a"]["state"] = json!("running");
        device["status"]["workloads"]["b"]["state"] = json!("failing");
        device["status"]["workloads"]["b"]["since"] = json!("2026-11-23T20:01:01Z");
        let text = shown(Kind::Device, false, &device);
        assert!(text.contains("1/2") && text.contains("b failing 60m, stream-policy"), "{text}");
        for name in ["a", "b"] {
            device["status"]["workloads"][name]["state"] = json!("unknown");
        }
        let text = shown(Kind::Device, false, &device);
        assert!(text.contains("?/2"), "it is connected and does not answer: {text}");
    }

    #[test]
    fn a_workload_a_revision_and_a_token_at_a_glance() {
        let spec = json!({
            "devices": { "matchLabels": { "role": "gateway" }, "matchExpressions": [{ "key": "old", "operator": "DoesNotExist" }] },
            "run": { "process": { "path": "/bin/sleep", "args": ["1000"] } },
        });
        let workload = json!({
            "apiVersion": "holdfast/v1", "kind": "Workload", "metadata": { "name": "w" }, "spec": spec,
            "status": { "revision": 4, "desired": 9, "running": 7, "progressing": 1, "failing": 0, "unknown": 1, "lastRunning": 1 },
        });
        let text = shown(Kind::Document(&WORKLOAD), true, &workload);
        assert!(text.contains("/bin/sleep 1000") && text.contains("role=gateway,!old"), "{text}");
        let revision = json!({
            "apiVersion": "holdfast/v1", "kind": "Revision", "metadata": { "name": "w.4" },
            "workload": "w", "revision": 4, "createdBy": "admin", "spec": spec,
        });
        assert!(
            shown(Kind::Revision, false, &revision).contains("w.4   -     admin  /bin/sleep 1000")
        );
        let token = json!({
            "apiVersion": "holdfast/v1", "kind": "Token", "metadata": { "name": "0011" },
            "expiresAt": "2026-11-24T21:01:01Z", "uses": 5, "used": 2, "approve": "manual", "state": "active",
        });
        assert!(
            shown(Kind::Token, false, &token)
                .contains("0011  active  2/5   in 24h   manual   -       -")
        );
        let access = json!({
            "metadata": { "name": "0022", "createdAt": "2026-11-23T20:51:01Z" }, "name": "wall",
            "role": "viewer", "expiresAt": "2026-11-24T21:01:01Z",
        });
        let text = shown(Kind::Access, false, &access);
        assert!(text.contains("0022  viewer  -        in 24h  never      10m ago  wall"), "{text}");
    }
}
