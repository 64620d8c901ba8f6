//! Tables of documents that are admitted and of faults that are found, and checks of the schema.

use std::collections::BTreeSet;

use holdfast_base::ids::Labels;
use holdfast_protocol::workload::{EVERY_DAY, Executable, Probe, RestartPolicy, Run, Window};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::secrets::place::Place;
use crate::secrets::references::OnChange;
use holdfast_api::selector::Selector;

const KNOWN: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const UNKNOWN: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

fn size_of(digest: &Digest) -> Option<u64> {
    (digest.to_string() == KNOWN).then_some(42)
}

fn admit_all(documents: &[Value]) -> Result<Vec<Admitted>, Vec<Fault>> {
    admit_with(documents, &Stored { artifact_size: &size_of, image: &container_samples::image })
}

pub(super) fn let_in(document: &Value) -> Admitted {
    admit_all(std::slice::from_ref(document)).unwrap().remove(0)
}

pub(super) fn faults(documents: &[Value]) -> Vec<String> {
    admit_all(documents).unwrap_err().iter().map(ToString::to_string).collect()
}

/// Returns the example document of the README.
fn hello() -> Value {
    json!({
        "apiVersion": "holdfast/v1",
        "kind": "Workload",
        "metadata": { "name": "hello" },
        "spec": {
            "devices": { "matchLabels": { "role": "gateway" } },
            "run": { "process": { "path": "/bin/sleep", "args": ["1000"] } },
            "resources": { "memory": "64Mi", "cpu": "500m", "pids": 32 },
            "restart": { "policy": "always" }
        }
    })
}

/// Returns documents that together have every field of a `Workload`. Fields that exclude each other
/// are in different documents.
#[allow(clippy::too_many_lines, reason = "a table of documents")]
fn full() -> Vec<Value> {
    let document = |name: &str, executable: Value, probe: Value| {
        let mut process = json!({
            "args": ["--fast"], "env": { "MODE": "edge", "PORT": { "config": "app", "key": "port" } }, "user": "nobody", "workdir": "data",
        });
        let mut health = json!({
            "startPeriod": "5s", "interval": "10s", "timeout": "1s", "failures": 3,
        });
        for (target, more) in [(&mut process, executable), (&mut health, probe)] {
            target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        }
        json!({
            "apiVersion": "holdfast/v1",
            "kind": "Workload",
            "metadata": { "name": name, "labels": { "team": "water" }, "resourceVersion": 7 },
            "spec": {
                "devices": {
                    "matchLabels": { "role": "gateway" },
                    "matchExpressions": [
                        { "key": "site", "operator": "In", "values": ["north", "south"] },
                        { "key": "retired", "operator": "DoesNotExist" },
                    ],
                },
                "run": { "process": process },
                "config": { "etc/app.toml": "level = 3\n" },
                "files": {
                    "db.key": { "secret": "db", "key": "key" },
                    "app.conf": { "template": "${label.site:-none} ${secret.db.password}" },
                },
                "onSecretChange": { "signal": "SIGHUP" },
                "resources": { "cpu": 1.5, "memory": 67_108_864, "pids": 32 },
                "restart": { "policy": "on-failure", "backoff": { "initial": "1s", "max": "5m" } },
                "health": health,
                "stop": { "signal": "SIGINT", "grace": "30s" },
                "bus": { "subscribe": ["pump/#", "+/alarm"], "publish": ["#"] },
                "windows": { "download": ["22:00-06:00"], "switch": ["Sat,Sun 02:00-04:00"] },
            }
        })
    };
    let mut all = data_documents();
    all.extend(notifications());
    all.extend(container_samples::full());
    all.push(json!({
        "apiVersion": "holdfast/v1",
        "kind": "Tenant",
        "metadata": { "name": "acme", "labels": { "team": "water" }, "resourceVersion": 7 },
        "spec": { "quotas": {
            "devices": 500, "artifacts": "20Gi", "dataPerDay": "5Gi", "requestsPerSecond": 50,
            "cpu": 200, "memory": "64Gi",
        } },
    }));
    all.splice(
        0..0,
        [
            document(
                "a",
                json!({ "path": "/usr/bin/node" }),
                json!({ "http": { "host": "localhost", "port": 80, "path": "/healthz" } }),
            ),
            document(
                "b",
                json!({ "artifact": KNOWN }),
                json!({ "tcp": { "host": "::1", "port": 80 } }),
            ),
            document(
                "c",
                json!({ "artifact": KNOWN }),
                json!({ "exec": { "command": ["/bin/true"] } }),
            ),
        ],
    );
    all
}

/// Valid certificate that belongs to nobody.
const PEM: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBNDCB56ADAgECAhRn3DrjkpcIY83hbkkkeJ3zl2SXejAFBgMrZXAwDzENMAsG\n\
A1UEAwwEdGVzdDAgFw0yNjExMjgyMjU1MTlaGA8yMTI2MTEwNDIyNTUxOVowDzEN\n\
MAsGA1UEAwwEdGVzdDAqMAUGAytlcAMhAKT0xedbEVGHybCSEdDBiFVYD8BzUCfk\n\
HfMhX6Q8vJfgo1MwUTAdBgNVHQ4EFgQUc2CcI6MdIsCBZB7ka4lb9nXpZakwHwYD\n\
VR0jBBgwFoAUc2CcI6MdIsCBZB7ka4lb9nXpZakwDwYDVR0TAQH/BAUwAwEB/zAF\n\
BgMrZXADQQAHLbJQn7Dx96W+sSibzKu3hC6C5DzzO/ofyc49br2zmne2C1qq5d/O\n\
1ZPtMkQJDYsqeilNqsyzFSL3o0XKIh0I\n\
-----END CERTIFICATE-----\n\
";

/// Returns the spec of a notification with every field.
fn told(to: Value) -> Value {
    json!({
        "severity": "critical", "kinds": ["lost", "failing"], "groupBy": ["site", "kind"],
        "delay": "2m", "groupWait": "10s", "groupInterval": "5m", "repeat": "4h",
        "sendResolved": false, "link": "https://holdfast.example", "to": to,
    })
}

/// Returns a document that selects some devices.
fn chosen(kind: &str, name: &str, spec: Value) -> Value {
    let devices = json!({ "matchLabels": { "role": "gateway" }, "matchExpressions": [
        { "key": "site", "operator": "In", "values": ["north"] },
        { "key": "retired", "operator": "DoesNotExist" },
    ] });
    let mut whole = json!({
        "apiVersion": "holdfast/v1",
        "kind": kind,
        "metadata": { "name": name, "labels": { "team": "water" }, "resourceVersion": 7 },
        "spec": spec,
    });
    whole["spec"]["devices"] = devices;
    whole
}

/// Returns documents of the kinds that devices do not receive, with every field.
fn notifications() -> Vec<Value> {
    let document = chosen;
    vec![
        document(
            "Notification",
            "g",
            told(json!({ "webhook": {
            "url": "https://a.example/x", "secret": "0123456789", "headers": { "Authorization": "x" }, "ca": PEM,
        } })),
        ),
        document(
            "Notification",
            "h",
            told(json!({ "webhook": { "secretUrl": "https://a.example/x" } })),
        ),
        document(
            "Notification",
            "i",
            told(json!({ "email": {
            "smtp": "smtp://mail.example:25", "tls": "starttls", "username": "u", "password": "p",
            "from": "a@b.example", "to": ["c@d.example"], "ca": PEM,
        } })),
        ),
        document(
            "Notification",
            "j",
            told(json!({ "alertmanager": {
            "url": "http://am.example:9093", "labels": { "team": "x" }, "headers": { "X-A": "b" }, "ca": PEM,
        } })),
        ),
        document("DevicePolicy", "g", json!({ "whenOffline": { "alarmAfter": "12h" } })),
        document(
            "RoleBinding",
            "r",
            json!({ "role": "operator", "subjects": ["anna", "bob@corp"] }),
        ),
        valued("Secret", json!({ "a": "x", "b": { "base64": "AA==" }, "c": { "generate": {} } })),
        valued("Config", json!({ "a": "x", "b": { "base64": "AA==" } })),
        identity_provider(),
        sink(
            "k",
            json!({ "webhook": {
            "url": "https://a.example/x", "secret": "0123456789", "headers": { "Authorization": "x" }, "ca": PEM,
        } }),
        ),
        sink("l", json!({ "webhook": { "secretUrl": "https://a.example/x" } })),
        sink("m", json!({ "syslog": { "address": "logs.example:6514", "ca": PEM } })),
    ]
}

/// Returns a document with values, which selects no devices.
fn valued(kind: &str, data: Value) -> Value {
    json!({
        "apiVersion": "holdfast/v1",
        "kind": kind,
        "metadata": { "name": "v", "labels": { "team": "water" }, "resourceVersion": 7 },
        "spec": { "data": data },
    })
}

/// Returns an identity provider with every field.
fn identity_provider() -> Value {
    json!({
        "apiVersion": "holdfast/v1",
        "kind": "IdentityProvider",
        "metadata": { "name": "k", "labels": { "team": "water" }, "resourceVersion": 7 },
        "spec": {
            "issuer": "https://id.example.com", "clientId": "holdfast", "clientSecret": "x",
            "scopes": ["groups"], "nameClaim": "email", "address": "https://holdfast.example.com",
            "ca": PEM,
            "rules": [{
                "claim": "groups", "value": "ops", "role": "operator",
                "devices": {
                    "matchLabels": { "site": "kiel" },
                    "matchExpressions": [{ "key": "role", "operator": "Exists", "values": [] }],
                },
            }],
        },
    })
}

/// Returns a document that forwards the audit log. It chooses no devices.
fn sink(name: &str, to: Value) -> Value {
    json!({
        "apiVersion": "holdfast/v1",
        "kind": "AuditSink",
        "metadata": { "name": name, "labels": { "team": "water" }, "resourceVersion": 7 },
        "spec": { "fromBeginning": true, "to": to },
    })
}

/// Returns documents of the kinds about data, with every field.
fn data_documents() -> Vec<Value> {
    let document = chosen;
    let stream = |streams: Value, more: Value| {
        let mut spec = json!({
            "streams": streams, "priority": 7, "ttl": "30d", "quota": "64Mi", "order": "newest-first",
            "compress": false, "durability": "200ms", "windows": ["01:00-04:00", "22:30-06:00"],
            "retention": { "age": "90d", "bytes": "10Gi" },
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    vec![
        document(
            "Stream",
            "d",
            stream(
                json!(["device/metrics"]),
                json!({
                    "source": { "metrics": { "every": "10s" } }, "overflow": { "thin": { "keepEvery": 10 } },
                    "ship": { "window": { "every": "5m", "fields": ["cpu.load", "temp"],
                        "aggregates": ["count", "min", "max", "mean", "last", "p50", "p99.9"] } },
                }),
            ),
        ),
        document(
            "Stream",
            "e",
            stream(
                json!(["pump-log"]),
                json!({
                    "source": { "logs": { "workload": "pump" } }, "overflow": "drop-newest",
                    "ship": { "onChange": { "field": "temp", "deadband": 0.5 } },
                }),
            ),
        ),
        document(
            "LinkBudget",
            "f",
            json!({
                "per": "day", "bytes": "10Mi",
                "shares": { "control": "10%", "events": "20%", "data": "60%", "logs": "5%", "artifacts": "5%" },
                "interfaces": [{ "name": "wwan*", "metered": true, "cost": 1.5 }],
                "neighbours": true,
            }),
        ),
    ]
}

#[test]
fn documents_about_data_become_their_values() {
    use holdfast_records::{
        Aggregate, Order, Overflow, Period, Ship, Source, TrafficClass, Window,
    };

    use crate::ingest::Retention;
    use crate::records::Policy;

    let all = admit_all(&data_documents()).unwrap();
    let policy = |at: usize| match &all[at].what {
        What::Policy(policy) => policy.as_ref().clone(),
        What::Workload(..) => panic!("a workload"),
    };
    let Policy::Stream { policy: metrics, retention } = policy(0) else { panic!("no stream") };
    assert_eq!(metrics.streams, ["device/metrics".parse().unwrap()]);
    assert_eq!(metrics.source, Some(Source::Metrics { every_ms: 10_000 }));
    assert_eq!((metrics.priority, metrics.ttl_ms), (7, Some(30 * 86_400_000)));
    assert_eq!((metrics.quota_bytes, metrics.compress), (Some(64 << 20), false));
    assert_eq!((metrics.order, metrics.durability_ms), (Order::NewestFirst, 200));
    assert_eq!(metrics.overflow, Overflow::Thin { keep_every: 10 });
    assert_eq!(metrics.windows, [Window { from: 60, to: 240 }, Window { from: 1_350, to: 360 }]);
    let Ship::Window { every_ms, fields, aggregates } = metrics.ship else { panic!("no window") };
    assert_eq!((every_ms, fields), (300_000, vec!["cpu.load".to_owned(), "temp".to_owned()]));
    let said = [Aggregate::Min, Aggregate::Max, Aggregate::Mean, Aggregate::Last];
    let said = said.into_iter().chain([500, 999].map(Aggregate::Quantile));
    assert_eq!(aggregates, said.collect::<Vec<_>>());
    assert_eq!(retention, Retention { age: Some(90 * 86_400), bytes: Some(10 << 30) });
    let Policy::Stream { policy: log, .. } = policy(1) else { panic!("no stream") };
    assert_eq!(log.source, Some(Source::Logs { workload: "pump".parse().unwrap() }));
    assert_eq!(log.ship, Ship::OnChange { field: "temp".into(), deadband: "0.5".into() });
    let Policy::LinkBudget { budget } = policy(2) else { panic!("no budget") };
    assert_eq!((budget.period, budget.bytes), (Period::Day, 10 << 20));
    assert_eq!(budget.shares[&TrafficClass::Data].percent, 60);
    assert_eq!(budget.interfaces[0].cost_percent, 150);
    assert!(budget.neighbours);
    let least = json!({
        "apiVersion": "holdfast/v1", "kind": "Stream", "metadata": { "name": "least" },
        "spec": { "devices": { "matchLabels": { "role": "a" } }, "streams": ["*"] },
    });
    let What::Policy(least) = let_in(&least).what else { panic!("a workload") };
    let Policy::Stream { policy: least, retention } = *least else { panic!("no stream") };
    let usual = holdfast_records::StreamPolicy::default();
    let streams = vec!["*".parse().unwrap()];
    assert_eq!(least, holdfast_records::StreamPolicy { streams, ..usual });
    assert_eq!(retention, Retention::default());
}

/// Faults of documents about data: index of the document, pointer, value that is put there, and the
/// expected fault.
const DATA_FAULTS: &[(usize, &str, &str, &str)] = &[
    (0, "/spec/devices", "null", "spec.devices: is missing"),
    (0, "/spec/streams", "null", "spec.streams: is missing"),
    (0, "/spec/streams", "[]", "spec.streams: an empty list; name at least one\n"),
    (0, "/spec/windows", "[]", "spec.windows: an empty list; name at least one, or leave it out\n"),
    (0, "/spec/streams", r#"["a#b"]"#, r#"spec.streams[0]: "a#b": not a stream's name"#),
    (0, "/spec/streams", r#"["local/x"]"#, "not a stream's name"),
    (0, "/spec/streams", r#"["*/x"]"#, "not a stream's name"),
    (0, "/spec/streams", r#"["a","b"]"#, "spec.streams: a source fills one stream"),
    (0, "/spec/streams", r#"["a*"]"#, "spec.streams: a source fills one stream"),
    (0, "/spec/priority", "10", "spec.priority: 10: expected a whole number from 0 to 9"),
    (0, "/spec/ttl", r#""10""#, "spec.ttl: \"10\": a duration needs its unit"),
    (0, "/spec/ttl", r#""1ms""#, "spec.ttl: \"1ms\": out of bounds: at least 1s"),
    (0, "/spec/ttl", r#""9999d""#, "at most 3653d"),
    (0, "/spec/quota", r#""1Ki""#, "spec.quota: \"1Ki\": 1024 bytes: at least 131072"),
    (0, "/spec/quota", r#""100MB""#, "\"100MB\": unknown unit; a size is bytes, or a number"),
    (0, "/spec/overflow", r#""drop""#, "spec.overflow: \"drop\": unknown; there are drop-oldest"),
    (
        0,
        "/spec/overflow",
        r#"{"thin":{"keepEvery":1}}"#,
        "spec.overflow.thin.keepEvery: 1: expected",
    ),
    (0, "/spec/overflow", "7", "spec.overflow: 7: expected text"),
    (0, "/spec/source", "{}", "spec.source: a source is missing: give metrics or logs"),
    (
        0,
        "/spec/source",
        r#""metrics""#,
        "spec.source: \"metrics\": expected an object with metrics, logs, such as { metrics: { every: 10s } } or { logs: { workload: NAME } }",
    ),
    (
        0,
        "/spec/source",
        r#"{"logs":"pump"}"#,
        "spec.source.logs: \"pump\": expected an object with workload, such as { workload: NAME }",
    ),
    (
        0,
        "/spec/ship",
        r#"{"onChange":"temp"}"#,
        "expected an object with field, deadband, such as { field: temp, deadband: \"0.5\" }",
    ),
    (0, "/spec/source", r#"{"metrics":{}}"#, "spec.source.metrics.every: is missing"),
    (0, "/spec/source", r#"{"metrics":{"every":"10ms"}}"#, "out of bounds: at least 1s"),
    (
        0,
        "/spec/source",
        r#"{"logs":{"workload":"A"}}"#,
        "spec.source.logs.workload: \"A\" is not a name",
    ),
    (0, "/spec/ship", r#""sometimes""#, "spec.ship: \"sometimes\": unknown; there are always"),
    (
        0,
        "/spec/ship",
        r#"{"window":{"every":"5m","fields":["a"]}}"#,
        "spec.ship.window.aggregates: is missing",
    ),
    (
        0,
        "/spec/ship",
        r#"{"window":{"every":"5m","fields":["a"],"aggregates":["p100"]}}"#,
        "aggregates[0]: \"p100\": unknown",
    ),
    (
        0,
        "/spec/ship",
        r#"{"window":{"every":"5m","fields":["a..b"],"aggregates":["p99"]}}"#,
        "fields[0]: \"a..b\": not the path",
    ),
    (
        0,
        "/spec/ship",
        r#"{"onChange":{"field":"motor current"}}"#,
        "spec.ship.onChange.field: \"motor current\": not the path of a field, at character 7",
    ),
    (0, "/spec/ship", r#"{"onChange":{"field":"`motor.current"}}"#, "the closing ` is missing"),
    (
        1,
        "/spec/ship",
        r#"{"onChange":{"deadband":"-1"}}"#,
        "spec.ship.onChange.deadband: \"-1\": not how far",
    ),
    (1, "/spec/ship", r#"{"onChange":{"deadband":"NaN"}}"#, "not how far"),
    (0, "/spec/order", r#""random""#, "unknown order; there are oldest-first and newest-first"),
    (0, "/spec/compress", r#""yes""#, "spec.compress: \"yes\": expected true or false"),
    (0, "/spec/durability", r#""2m""#, "spec.durability: \"2m\": out of bounds: at most 1m"),
    (
        0,
        "/spec/windows",
        r#"["1:00-04:00"]"#,
        "spec.windows[0]: \"1:00-04:00\": not a time of the day",
    ),
    (0, "/spec/windows", r#"["25:00-04:00"]"#, "not a time of the day"),
    (0, "/spec/windows", r#"["04:00-04:00"]"#, "not a time of the day"),
    (
        0,
        "/spec/retention",
        r#"{"age":"1s"}"#,
        "spec.retention.age: \"1s\": out of bounds: at least 1m",
    ),
    (
        0,
        "/spec/retention",
        r#"{"days":3}"#,
        "spec.retention.days: unknown field; known here: age, bytes",
    ),
    (0, "/spec/stream", "[]", "spec.stream: unknown field; did you mean \"streams\"?"),
    (2, "/spec/per", r#""week""#, "spec.per: \"week\": unknown; there are day and month"),
    (2, "/spec/bytes", "null", "spec.bytes: is missing"),
    (2, "/spec/bytes", r#""10""#, "spec.bytes: \"10\": 10 bytes: at least 16384"),
    (2, "/spec/shares", r#"{"data":"60"}"#, "spec.shares.data: \"60\": not a part of a whole"),
    (
        2,
        "/spec/shares",
        r#"{"data":"60%","logs":"60%"}"#,
        "spec.shares: together 120%: a budget has 100%",
    ),
    (2, "/spec/shares", r#"{"video":"60%"}"#, "spec.shares.video: unknown field"),
    (2, "/spec/interfaces", r#"[{"metered":true}]"#, "spec.interfaces[0].name: is missing"),
    (
        2,
        "/spec/interfaces",
        r#"[{"name":"a b"}]"#,
        "spec.interfaces[0].name: \"a b\": not the name",
    ),
    (
        2,
        "/spec/interfaces",
        r#"[{"name":"a","cost":0}]"#,
        "spec.interfaces[0].cost: 0: not what a byte counts",
    ),
];

#[test]
fn each_fault_about_data_is_said_with_its_path() {
    for (which, pointer, value, said) in DATA_FAULTS {
        let mut document = data_documents().remove(*which);
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = document.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match serde_json::from_str(value).unwrap() {
            Value::Null => drop(parent.remove(key)),
            value => drop(parent.insert(key.to_owned(), value)),
        }
        let found = faults(&[document]);
        assert_eq!(found.len(), 1, "{pointer} = {value}: {found:#?}");
        // An expected text that ends with a newline must be the end of the fault.
        let line = format!("{}\n", found[0]);
        assert!(line.contains(said), "{pointer} = {value}:\n{line}expected {said}");
    }
}

#[test]
fn the_document_of_the_documentation_is_let_in() {
    let hello = hello();
    let admitted = let_in(&hello);
    assert_eq!(admitted.name.as_str(), "hello");
    assert_eq!(admitted.devices.match_labels["role"], "gateway");
    assert_eq!(admitted.written, hello["spec"]);
    let spec = admitted.workload().unwrap();
    assert_eq!(spec.resources.memory_bytes, Some(64 << 20));
    assert_eq!(spec.resources.cpu_millis, Some(500));
    assert_eq!(spec.resources.pids, Some(32));
    let Run::Process(process) = &spec.run else { panic!("not a process") };
    assert_eq!(process.executable, Executable::Path("/bin/sleep".into()));
    assert_eq!(process.args, ["1000"]);
    assert_eq!((spec.stop.signal, spec.stop.grace_ms), (15, 10_000));
}

#[test]
fn every_field_becomes_its_value() {
    let all = admit_all(&full()).unwrap();
    let spec = all[0].workload().unwrap();
    assert_eq!(spec.resources.cpu_millis, Some(1_500));
    assert_eq!(spec.resources.memory_bytes, Some(64 << 20));
    assert_eq!(spec.restart.policy, RestartPolicy::OnFailure);
    assert_eq!((spec.restart.backoff_initial_ms, spec.restart.backoff_max_ms), (1_000, 300_000));
    assert_eq!((spec.stop.signal, spec.stop.grace_ms), (2, 30_000));
    assert_eq!(spec.config["etc/app.toml"], "level = 3\n");
    assert_eq!(spec.bus.subscribe, ["pump/#", "+/alarm"]);
    assert_eq!(spec.bus.publish, ["#"]);
    let window = |from, to, days| Window { from, to, days };
    assert_eq!(spec.windows.download, [window(22 * 60, 6 * 60, EVERY_DAY)]);
    assert_eq!(spec.windows.switch, [window(120, 240, 0b110_0000)]);
    let health = spec.health.as_ref().unwrap();
    assert_eq!((health.start_period_ms, health.interval_ms), (5_000, 10_000));
    assert_eq!((health.timeout_ms, health.failures), (1_000, 3));
    let probe = Probe::Http { host: Some("localhost".into()), port: 80, path: "/healthz".into() };
    assert_eq!(health.probe, probe);
    let Run::Process(process) = &all[1].workload().unwrap().run else { panic!("not a process") };
    let Executable::Artifact(artifact) = process.executable else { panic!("{process:?}") };
    assert_eq!((artifact.size, artifact.digest.to_string().as_str()), (42, KNOWN));
    assert_eq!(process.user.as_deref(), Some("nobody"));
    assert_eq!(process.workdir.as_deref(), Some("data"));
    assert_eq!(all[0].devices.match_expressions.len(), 2);
    let What::Workload(spec, references) = &all[0].what else { panic!("a workload") };
    let Run::Process(process) = &spec.run else { panic!("not a process") };
    assert_eq!(process.env.keys().collect::<Vec<_>>(), ["MODE"], "only texts are plain");
    let names = |place: &&Place| place.to_string();
    let places: Vec<String> = references.places().iter().map(names).collect();
    assert_eq!(
        places,
        ["key key of secret db", "key password of secret db", "key port of config app"]
    );
    assert_eq!(references.on_change, OnChange::Signal(1));
    assert_eq!(references.labels().into_iter().collect::<Vec<_>>(), ["site"]);
}

/// Faults of a workload: pointer, value that is put there (null removes the field), and the
/// expected faults, in their order and separated by `|`.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "/spec/run/process/env",
        r#"{"A":{"secret":"db"}}"#,
        "spec.run.process.env.A.key: is missing: which value of the secret",
    ),
    (
        "/spec/run/process/env",
        r#"{"A":{"secret":"db","key":"a b"}}"#,
        r#"spec.run.process.env.A.key: "a b": not a key"#,
    ),
    (
        "/spec/run/process/env",
        r#"{"A":{"template":"${HOME}"}}"#,
        "spec.run.process.env.A.template: line 1: ${HOME} is not a reference",
    ),
    ("/spec/files", r#"{"/a":{"config":"c","key":"k"}}"#, r#"spec.files["/a"]: an absolute path"#),
    (
        "/spec/files",
        r#"{"a":{"template":"x","key":"k"}}"#,
        "spec.files.a.key: a template has no key",
    ),
    ("/spec/files", r#"{"a":"text"}"#, r#"spec.files.a: "text": expected an object with secret"#),
    (
        "/spec/onSecretChange",
        r#""reload""#,
        r#"spec.onSecretChange: "reload": unknown action; there are restart and { signal: SIGHUP }"#,
    ),
    (
        "/spec/run/process/env",
        r#"{"HOLDFAST_X":"y"}"#,
        "spec.run.process.env.HOLDFAST_X: variables that begin",
    ),
    ("/spec/resources/memory", r#""12Q""#, r#"spec.resources.memory: "12Q": unknown unit"#),
    ("/spec/resources/memory", r#""64m""#, r#"spec.resources.memory: "64m": unknown unit"#),
    ("/spec/resources/memory", "64", "spec.resources.memory: 64: 64 bytes are too few"),
    ("/spec/resources/memory", "-1", "spec.resources.memory: -1: not a number"),
    ("/spec/resources/memory", "[]", "spec.resources.memory: a list: expected text"),
    ("/spec/resources/cpu", r#""0""#, r#"spec.resources.cpu: "0": nothing could run"#),
    (
        "/spec/resources/cpu",
        "0.0005",
        "spec.resources.cpu: 0.0005: finer than a thousandth of a core; the smallest is 1m",
    ),
    ("/spec/resources/cpu", "0.0000005", "finer than a thousandth of a core; the smallest is 1m"),
    ("/spec/resources/cpu", r#""0.0005""#, "the smallest is 1m"),
    ("/spec/resources/memory", "1024.0001", "at most three digits after the point"),
    ("/spec/resources/cpu", r#""2 cores""#, r#"spec.resources.cpu: "2 cores": unknown unit"#),
    ("/spec/resources/pids", "0", "spec.resources.pids: 0: expected a whole number from 1"),
    ("/spec/resources/pids", r#""32""#, r#"spec.resources.pids: "32": expected a whole number"#),
    ("/spec/resources/disk", r#""1Gi""#, "spec.resources.disk: unknown field; known here: cpu"),
    ("/spec/resources", "[]", "spec.resources: a list: expected an object with cpu, memory, pids"),
    ("/metadata/name", r#""Hello""#, r#"metadata.name: "Hello" is not a name"#),
    (
        "/metadata/name",
        "7",
        "metadata.name: 7: expected text, but this is read as a number: put what you wrote in quotes",
    ),
    ("/metadata/name", "null", "metadata.name: is missing"),
    ("/metadata/labels", r#"{"a b":"c"}"#, r#"metadata.labels["a b"]: "a b" is not a label"#),
    ("/metadata/labels", r#"{"a":"c d"}"#, r#"metadata.labels.a: "c d" is not a label"#),
    ("/metadata", "null", "metadata: is missing"),
    ("/spec", "null", "spec: is missing: it says what to run"),
    ("/spec", "[]", "spec: a list: expected an object with devices"),
    (
        "/apiVersion",
        r#""holdfast/v2""#,
        r#"apiVersion: "holdfast/v2": unknown version; there is holdfast/v1"#,
    ),
    ("/apiVersion", "null", "apiVersion: is missing: it is holdfast/v1"),
    ("/kind", r#""Deployment""#, r#"kind: "Deployment": cannot be applied; kinds are: Workload"#),
    ("/kind", r#""workload""#, r#"did you mean "Workload"?"#),
    ("/kind", "null", "kind: is missing: kinds are: Workload"),
    ("/status", "{}", "status: unknown field"),
    ("/spec/device", "{}", r#"spec.device: unknown field; did you mean "devices"?"#),
    ("/spec/devices", "null", "spec.devices: is missing"),
    (
        "/spec/devices",
        "{}",
        "spec.devices: an empty selector chooses no device; to choose every device write devices: all",
    ),
    ("/spec/devices", r#"{"matchLabels":{}}"#, "devices: all"),
    ("/spec/devices", r#""every""#, r#"spec.devices: "every": the only word here is all"#),
    ("/spec/devices", "true", "spec.devices: true: expected an object with matchLabels"),
    (
        "/spec/run/process/user",
        "4294967296",
        "spec.run.process.user: 4294967296: not a user's number: it is 0 to 4294967294",
    ),
    ("/spec/run/process/user", "-1", "spec.run.process.user: -1: not a user's number"),
    ("/spec/run/process/path", r#""/bin/..""#, "a folder, and no program"),
    (
        "/spec/devices/matchLabels/role",
        "true",
        "spec.devices.matchLabels.role: true: expected text, but this is read as true or false: put",
    ),
    (
        "/spec/devices/matchExpressions",
        r#"[{"key":"a","operator":"Is"}]"#,
        r#"spec.devices.matchExpressions[0].operator: "Is": unknown operator; there are In, NotIn"#,
    ),
    (
        "/spec/devices/matchExpressions",
        r#"[{"key":"a","operator":"In"}]"#,
        "spec.devices.matchExpressions[0].values: is missing",
    ),
    (
        "/spec/devices/matchExpressions",
        r#"[{"key":"a","operator":"In","values":[]}]"#,
        "In compares with at least one",
    ),
    (
        "/spec/devices/matchExpressions",
        r#"[{"key":"a","operator":"Exists","values":["b"]}]"#,
        "Exists takes no values",
    ),
    (
        "/spec/devices/matchExpressions",
        r#"[{"operator":"Exists"}]"#,
        "spec.devices.matchExpressions[0].key: is missing",
    ),
    ("/spec/run", "null", "spec.run: is missing"),
    ("/spec/run", "{}", "spec.run: what to run is missing: give process"),
    ("/spec/run/wasm", "{}", "spec.run.wasm: unknown field; known here: process, container, group"),
    (
        "/spec/run/process/path",
        "null",
        "spec.run.process: what a process executes is missing: give artifact or path",
    ),
    (
        "/spec/run/process/path",
        r#""bin/sleep""#,
        r#"spec.run.process.path: "bin/sleep": not the absolute path"#,
    ),
    ("/spec/run/process/path", r#""/bin/sl\u0000eep""#, "holds a NUL character"),
    (
        "/spec/run/process/artifact",
        "\"sha256:1111111111111111111111111111111111111111111111111111111111111111\"",
        "spec.run.process: both artifact and path",
    ),
    (
        "/spec/run/process/artifact",
        r#""sha256:12""#,
        "spec.run.process: both artifact and path|is not a digest",
    ),
    ("/spec/run/process/args", r#""1000""#, r#"spec.run.process.args: "1000": expected a list"#),
    (
        "/spec/run/process/args",
        r#"["a",1000]"#,
        "spec.run.process.args[1]: 1000: expected text, but this is read as a number: put",
    ),
    ("/spec/run/process/args", r#"["\u0000"]"#, "spec.run.process.args[0]: \"\\0\": holds a NUL"),
    ("/spec/run/process/env", r#"{"1A":"x"}"#, "spec.run.process.env.1A: not a variable's name"),
    (
        "/spec/run/process/env",
        r#"{"A=B":"x"}"#,
        r#"spec.run.process.env["A=B"]: not a variable's name"#,
    ),
    ("/spec/run/process/env", r#"{"A":1}"#, "spec.run.process.env.A: 1: expected text"),
    ("/spec/run/process/user", r#""a b""#, r#"spec.run.process.user: "a b": not a user"#),
    ("/spec/run/process/user", "4294967295", "spec.run.process.user: 4294967295"),
    (
        "/spec/run/process/workdir",
        r#""../up""#,
        "spec.run.process.workdir: \"../up\": not a folder",
    ),
    ("/spec/run/process/comand", "[]", "spec.run.process.comand: unknown field"),
    ("/spec/config", r#"{"../x":""}"#, r#"spec.config["../x"]: ".." would leave"#),
    ("/spec/config", r#"{"a/../x":""}"#, "would leave"),
    ("/spec/config", r#"{"/etc/x":""}"#, r#"spec.config["/etc/x"]: an absolute path"#),
    ("/spec/config", r#"{"a\u0000":""}"#, "NUL and control characters"),
    ("/spec/config", r#"{"a//b":""}"#, "no empty part"),
    ("/spec/config", r#"{"":""}"#, r#"spec.config[""]: a file needs a name"#),
    ("/spec/config", r#"{"":"","/etc/x":""}"#, "a file needs a name|an absolute path"),
    (
        "/spec/config",
        r#"{"a":1,"a/b":""}"#,
        r#"expected text|"a" is a file and, with "a/b", a folder"#,
    ),
    ("/spec/config", r#"{"a":"","a/b":""}"#, r#""a" is a file and, with "a/b", a folder"#),
    ("/spec/config", r#"{"a":{"b":"c"}}"#, "spec.config.a: an object: expected text"),
    (
        "/spec/restart/policy",
        r#""sometimes""#,
        r#"spec.restart.policy: "sometimes": unknown policy"#,
    ),
    (
        "/spec/restart/backoff",
        r#"{"initial":"10"}"#,
        "spec.restart.backoff.initial: \"10\": a duration needs its unit",
    ),
    ("/spec/restart/backoff", r#"{"initial":"1ms"}"#, "out of bounds: at least 10ms"),
    (
        "/spec/restart/backoff",
        r#"{"max":"48h"}"#,
        "spec.restart.backoff.max: \"48h\": out of bounds: at most 24h",
    ),
    (
        "/spec/restart/backoff",
        r#"{"initial":"10s","max":"5s"}"#,
        "spec.restart.backoff: initial is longer than max",
    ),
    ("/spec/health", "{}", "spec.health: a probe is missing: give http or tcp or exec"),
    (
        "/spec/health",
        r#"{"tcp":{"port":1},"exec":{"command":["x"]}}"#,
        "spec.health: both tcp and exec",
    ),
    (
        "/spec/health",
        r#"{"http":{"port":0},"tcp":{"port":70000}}"#,
        "spec.health: both http and tcp|spec.health.http.port: 0|spec.health.tcp.port: 70000",
    ),
    (
        "/spec/health",
        r#"{"tcp":{"port":70000}}"#,
        "spec.health.tcp.port: 70000: expected a whole number from 1 to 65535",
    ),
    (
        "/spec/health",
        r#"{"tcp":{"port":1,"host":"a b"}}"#,
        "spec.health.tcp.host: \"a b\": not a host",
    ),
    ("/spec/health", r#"{"http":{"path":"/"}}"#, "spec.health.http.port: is missing"),
    (
        "/spec/health",
        r#"{"http":{"port":1,"path":"x"}}"#,
        "spec.health.http.path: \"x\": not the path of a URL",
    ),
    (
        "/spec/health",
        r#"{"exec":{"command":[]}}"#,
        "spec.health.exec.command: a program and its arguments",
    ),
    (
        "/spec/health",
        r#"{"exec":{"command":["x"]},"interval":"0s"}"#,
        "spec.health.interval: \"0s\": out of bounds",
    ),
    (
        "/spec/health",
        r#"{"exec":{"command":["x"]},"failures":0}"#,
        "spec.health.failures: 0: expected",
    ),
    ("/spec/windows", r#"{"upload":[]}"#, "spec.windows.upload: unknown field"),
    (
        "/spec/windows",
        r#"{"switch":"02:00-04:00"}"#,
        "spec.windows.switch: \"02:00-04:00\": expected a list",
    ),
    (
        "/spec/windows",
        r#"{"switch":["at night"]}"#,
        "spec.windows.switch[0]: \"at night\": unknown day of the week",
    ),
    (
        "/spec/windows",
        r#"{"switch":["22-06"]}"#,
        "spec.windows.switch[0]: \"22-06\": not times of the day",
    ),
    ("/spec/bus", r#"{"read":["a/b"]}"#, "spec.bus.read: unknown field"),
    ("/spec/bus", r#"{"subscribe":"a/b"}"#, "spec.bus.subscribe: \"a/b\": expected a list"),
    (
        "/spec/bus",
        r#"{"subscribe":["pump"]}"#,
        "spec.bus.subscribe[0]: \"pump\": not an MQTT filter",
    ),
    ("/spec/bus", r#"{"publish":["Pump/x"]}"#, "spec.bus.publish[0]: \"Pump/x\": not an MQTT"),
    ("/spec/bus", r#"{"publish":["pump/a#"]}"#, "spec.bus.publish[0]: \"pump/a#\": not an MQTT"),
    ("/spec/bus", r#"{"publish":["pump/$x"]}"#, "spec.bus.publish[0]: \"pump/$x\": not an MQTT"),
    (
        "/spec/bus",
        r#"{"publish":["/x", 7]}"#,
        "not an MQTT filter|spec.bus.publish[1]: 7: expected text",
    ),
    ("/spec/stop", r#"{"signal":"SIGNOPE"}"#, "spec.stop.signal: \"SIGNOPE\": unknown signal"),
    ("/spec/stop", r#"{"grace":10}"#, "spec.stop.grace: 10: a duration needs its unit"),
    ("/spec/stop", r#"{"grace":"2h"}"#, "spec.stop.grace: \"2h\": out of bounds: at most 1h"),
];

/// Returns `hello` with another value at a pointer.
fn hello_with(pointer: &str, value: Value) -> Value {
    let mut document = hello();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Value::Null => drop(parent.remove(key)),
        value => drop(parent.insert(key.to_owned(), value)),
    }
    document
}

#[test]
fn each_fault_is_said_with_its_path() {
    for (pointer, value, said) in FAULTS {
        let document = hello_with(pointer, serde_json::from_str(value).unwrap());
        let found = faults(&[document]);
        let all: Vec<&str> = said.split('|').collect();
        assert_eq!(found.len(), all.len(), "{pointer} = {value}: {found:#?}");
        for (found, said) in found.iter().zip(all) {
            assert!(found.contains(said), "{pointer} = {value}:\n{found}\nexpected {said}");
        }
    }
}

/// Checks that no fault offers a text to write for `on`, `0755` or `0x1F`, because only what YAML
/// made of it is known.
#[test]
fn no_text_is_offered_that_nobody_wrote() {
    for yaml in ["on", "y", "0755", "0o17", "0x1F", "1_000", "1.50", "2.0", "1e3"] {
        let args: Value = serde_saphyr::from_str(&format!("[{yaml}]")).unwrap();
        if args[0].is_string() || args[0].is_null() {
            continue; // YAML reads it as text or as null.
        }
        let found = faults(&[hello_with("/spec/run/process/args", args)]);
        assert!(found[0].ends_with("put what you wrote in quotes"), "{yaml}: {found:?}");
        assert!(!found[0].contains('"'), "{yaml}: {found:?}");
    }
}

#[test]
fn all_faults_are_said_at_once() {
    let mut document = hello_with("/spec/resources/memory", json!("12Q"));
    document["metadata"]["name"] = json!("Bad Name");
    document["spec"]["typo"] = json!(1);
    document["spec"]["stop"] = json!({ "grace": "soon", "signal": null });
    let found = faults(&[document]);
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found.iter().any(|fault| fault.contains("spec.stop.signal: nothing stands here")));
}

#[test]
fn among_several_documents_each_fault_says_whose_it_is() {
    let bad = hello_with("/spec/resources/memory", json!("12Q"));
    let mut other = hello();
    other["metadata"]["name"] = json!("other");
    let found = faults(&[other, bad.clone()]);
    let said = r#"documents[1] (Workload/hello): spec.resources.memory: "12Q": unknown unit"#;
    assert!(found[0].starts_with(said), "{found:?}");
    let found = faults(&[hello(), json!(3), bad]);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("documents[1] (?/?): document: 3: expected a document"));
    assert!(found[1].contains("documents[0] has the same name"), "{found:#?}");
}

#[test]
fn sizes_are_bounded() {
    assert!(faults(&[json!("x")])[0].starts_with("document: \"x\": expected a document with"));
    let large = hello_with("/spec/config", json!({ "a": "x".repeat(MAX_DOCUMENT) }));
    assert!(faults(&[large])[0].contains("at most 262144"));
    let large = hello_with("/spec/config", json!({ "a": "x".repeat(200 * 1024) }));
    let found = faults(&[large]);
    assert!(found[0].starts_with("spec.config: 204800 bytes in all, at most 131072"), "{found:?}");
    assert!(faults(&[])[0].contains("nothing to apply"));
    assert!(faults(&vec![hello(); MAX_DOCUMENTS + 1])[0].contains("at most 1000"));
    let mut hostile = hello();
    for number in 0..10_000 {
        hostile[format!("field-{number}")] = json!(1);
    }
    let found = faults(&[hostile]);
    assert_eq!(found.len(), faults::MAX_FAULTS + 1);
    assert!(found[faults::MAX_FAULTS].ends_with("and 9800 more"));
}

#[test]
fn an_artifact_must_have_been_pushed() {
    let mut document = hello_with("/spec/run/process/path", Value::Null);
    document["spec"]["run"]["process"]["artifact"] = json!(UNKNOWN);
    let found = faults(&[document.clone()]);
    assert!(found[0].contains("holdfast artifact push"), "{found:?}");
    document["spec"]["run"]["process"]["artifact"] = json!("sha256:12");
    let found = faults(&[document]);
    assert!(found[0].contains("is not a digest"), "{found:?}");
}

/// Collects the pointers of all objects in a document that have fixed fields.
fn objects(value: &Value, pointer: &str, found: &mut Vec<String>) {
    const FREE: [&str; 8] =
        ["/labels", "/matchLabels", "/env", "/config", "/files", "/data", "/headers", "/hosts"];
    match value {
        Value::Object(object) if !FREE.iter().any(|free| pointer.ends_with(free)) => {
            found.push(pointer.to_owned());
            for (key, value) in object {
                objects(value, &format!("{pointer}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                objects(value, &format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// Returns what the schema says of a pointer in a document of a kind. `value` chooses between the
/// forms of a field that has several.
fn described<'s>(schema: &'s Value, document: &Value, pointer: &str) -> &'s Value {
    let kind = document["kind"].as_str().unwrap();
    let mut node = &schema["$defs"][format!("{kind}Document")];
    let mut here = String::new();
    for step in pointer.split('/').skip(1) {
        here = format!("{here}/{step}");
        let item = step.parse::<usize>().is_ok();
        node = if item { &node["items"] } else { &node["properties"][step] };
        if let Some(forms) = node["anyOf"].as_array() {
            let value = document.pointer(&here).unwrap();
            let fits = |form: &&Value| match form["type"].as_str() {
                Some("object") => value.is_object(),
                Some("number" | "integer") => value.is_number(),
                _ => value.is_string(),
            };
            node = forms.iter().find(fits).unwrap_or_else(|| panic!("{here} fits no form"));
        }
    }
    node
}

/// Checks the schema against documents that have every field, and against the names that the decoder
/// lists when it meets an unknown one. A field that is asked for after an early return is missing in
/// both, and its document is refused.
#[test]
fn full_documents_have_the_fields_of_the_schema_and_no_others() {
    let schema = schema();
    let mut used: BTreeSet<(String, String)> = BTreeSet::new();
    let mut known: BTreeSet<(String, String)> = BTreeSet::new();
    for document in full() {
        assert!(admit_all(std::slice::from_ref(&document)).is_ok(), "{document:#}");
        let kind = document["kind"].as_str().unwrap();
        let mut pointers = Vec::new();
        objects(&document, "", &mut pointers);
        for pointer in pointers {
            let mut asked = document.clone();
            let here = asked.pointer_mut(&pointer).unwrap().as_object_mut().unwrap();
            let keys: Vec<String> = here.keys().cloned().collect();
            here.insert("qqqqqqqqqq".to_owned(), json!(0));
            let found = faults(&[asked]);
            let names = found[0].split("known here: ").nth(1).unwrap();
            let names: BTreeSet<String> = names.split(", ").map(ToOwned::to_owned).collect();
            let node = described(&schema, &document, &pointer);
            assert_eq!(node["additionalProperties"], json!(false), "{kind}{pointer}");
            let fields = node["properties"].as_object().unwrap();
            let fields: BTreeSet<String> = fields.keys().cloned().collect();
            assert_eq!(fields, names, "{kind}{pointer}");
            let place = format!("{kind}{pointer}");
            used.extend(keys.into_iter().map(|key| (place.clone(), key)));
            known.extend(names.into_iter().map(|key| (place.clone(), key)));
        }
    }
    for kind in known_kinds() {
        let place = format!("{kind}/spec/devices/matchExpressions/1");
        used.remove(&(place.clone(), "values".into()));
        known.remove(&(place, "values".into()));
    }
    // The first container of a group has none to wait for.
    known.remove(&("Workload/spec/run/group/containers/0".to_owned(), "after".into()));
    assert_eq!(used, known, "the full documents use every field there is");
}

/// Collects the paths of the fields below a schema that lack a description, and of words.
fn undescribed(node: &Value, path: &str, found: &mut Vec<String>) {
    for (key, below) in node["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        let about = below["description"].as_str().unwrap_or_default();
        if about.len() < 12 || !about.ends_with('.') {
            found.push(path.clone());
        }
        undescribed(below, &path, found);
    }
    for form in ["oneOf", "anyOf"].iter().flat_map(|of| node[of].as_array().into_iter().flatten()) {
        if let Some(word) = form["const"].as_str()
            && form["description"].as_str().is_none_or(str::is_empty)
        {
            found.push(format!("{path} = {word}"));
        }
        undescribed(form, path, found);
    }
    if node["items"].is_object() {
        undescribed(&node["items"], &format!("{path}[]"), found);
    }
}

#[test]
fn the_schema_describes_every_field_and_word() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(!schema.to_string().contains("null"), "{schema:#}");
    let mut found = Vec::new();
    for (name, document) in schema["$defs"].as_object().unwrap() {
        undescribed(document, name, &mut found);
    }
    assert_eq!(found, Vec::<String>::new(), "without a description");
    assert_eq!(schema["anyOf"].as_array().unwrap().len(), known_kinds().len());
}

/// Checks keywords that completion and checks in editors rest on, one of each sort.
#[test]
fn the_schema_has_the_bounds_of_the_decoder() {
    let schema = schema();
    let at = |kind: &str, path: &str| {
        let spec = &schema["$defs"][format!("{kind}Document")]["properties"]["spec"];
        spec.pointer(path).unwrap_or_else(|| panic!("{kind} {path}")).clone()
    };
    for (kind, path, expected) in [
        ("Workload", "/required", json!(["devices", "run"])),
        ("Workload", "/properties/resources/properties/pids/maximum", json!(4_194_304)),
        ("Workload", "/properties/resources/properties/cpu/anyOf/1/type", json!("number")),
        ("Workload", "/properties/stop/properties/signal/anyOf/1/type", json!("integer")),
        ("Workload", "/properties/health/oneOf/2/required", json!(["exec"])),
        ("Workload", "/properties/restart/properties/policy/oneOf/1/const", json!("on-failure")),
        ("Workload", "/properties/config/additionalProperties/type", json!("string")),
        ("Workload", "/properties/run/oneOf/2/required", json!(["group"])),
        ("Workload", "/properties/devices/anyOf/0/oneOf/0/const", json!("all")),
        ("Workload", "/properties/devices/anyOf/1/minProperties", json!(1)),
        ("Stream", "/properties/streams/minItems", json!(1)),
        ("Stream", "/properties/priority/maximum", json!(9)),
        ("Stream", "/properties/compress/type", json!("boolean")),
        ("LinkBudget", "/properties/interfaces/maxItems", json!(16)),
        (
            "Notification",
            "/properties/to/properties/email/properties/smtp/pattern",
            json!("^smtps?://"),
        ),
        ("DevicePolicy", "/properties/whenOffline/anyOf/1/required", json!(["alarmAfter"])),
    ] {
        assert_eq!(at(kind, path), expected, "{kind} {path}");
    }
    let ttl = at("Stream", "/properties/ttl/pattern");
    assert_eq!(
        ttl,
        at("DevicePolicy", "/properties/whenOffline/anyOf/1/properties/alarmAfter/pattern")
    );
}

/// Sets several fields of a valid document and returns its faults.
fn faults_with(fields: &[(&str, Value)]) -> Vec<String> {
    let mut document = hello_with("/spec/run/process/args", json!([]));
    for (pointer, value) in fields {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[key] = value.clone();
    }
    match admit_all(&[document]) {
        Ok(_) => Vec::new(),
        Err(found) => found.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn what_no_linux_can_execute_is_refused_with_its_path() {
    let long = |count: usize| Value::from("x".repeat(count));
    let command = |words: Value| json!({ "exec": { "command": words } });
    for (pointer, value, path) in [
        (
            "/spec/run/process/args",
            json!(["a", "x".repeat(131_072)]),
            "spec.run.process.args[1]: 131073 bytes",
        ),
        (
            "/spec/run/process/env",
            json!({ "A": "x".repeat(131_070) }),
            "spec.run.process.env.A: 131073 bytes",
        ),
        (
            "/spec/run/process/env",
            json!({ "LONG_NAME": "x".repeat(131_062) }),
            "spec.run.process.env.LONG_NAME: 131073",
        ),
        (
            "/spec/run/process/env",
            json!({ "": "x" }),
            "spec.run.process.env[\"\"]: not a variable's name",
        ),
        (
            "/spec/run/process/env",
            json!({ "A=B": "x" }),
            "spec.run.process.env[\"A=B\"]: not a variable's name",
        ),
        (
            "/spec/health",
            command(json!(["/bin/a", "x".repeat(131_072)])),
            "spec.health.exec.command[1]: 131073 bytes",
        ),
        (
            "/spec/health",
            command(json!([format!("/{}", "x".repeat(256))])),
            "spec.health.exec.command[0]: ",
        ),
        ("/spec/health", command(json!(["/bin/a", "a\u{0}b"])), "spec.health.exec.command[1]: "),
        (
            "/spec/run/process/path",
            format!("/{}", "x".repeat(256)).into(),
            "a name in it has 256 bytes",
        ),
        ("/spec/run/process/path", "/x".repeat(2_048).into(), "4096 bytes, longer than the 4095"),
        (
            "/spec/run/process/workdir",
            format!("/{}", "x".repeat(256)).into(),
            "a name in it has 256 bytes",
        ),
        ("/spec/run/process/workdir", "x/".repeat(600).into(), "1200 bytes, longer than the 1024"),
    ] {
        let found = faults_with(&[(pointer, value)]);
        assert!(found.len() == 1 && found[0].contains(path), "{pointer}: {found:.300?}");
    }
    for (pointer, value) in [
        ("/spec/run/process/args", json!(["x".repeat(131_071)])),
        ("/spec/run/process/env", json!({ "A": "x".repeat(131_069) })),
        ("/spec/run/process/path", format!("/{}", "x".repeat(255)).into()),
        ("/spec/run/process/workdir", long(255)),
    ] {
        assert_eq!(faults_with(&[(pointer, value)]), Vec::<String>::new(), "{pointer}");
    }
}

#[test]
fn a_working_folder_and_a_file_in_one_place_are_refused_with_both_paths() {
    let workdir = "/spec/run/process/workdir";
    for (file, folder, good) in [
        ("etc", "etc", false),
        ("etc", "etc/x", false),
        ("etc", "./etc//x/", false),
        ("etc/d.conf", "etc/d.conf/", false),
        ("etc/d.conf", "etc", true),
        ("etc/d.conf", "et", true),
        ("etc", "etcetera", true),
        ("etc", "/etc", true),
        ("etc", ".", true),
    ] {
        let found = faults_with(&[("/spec/config", json!({ file: "" })), (workdir, json!(folder))]);
        assert_eq!(found.is_empty(), good, "{file} {folder}: {found:?}");
        let both = |said: &String| {
            said.starts_with("spec.run.process.workdir: ")
                && said.contains(&format!("spec.config[{file:?}]"))
        };
        assert!(found.iter().all(both), "{found:?}");
    }
}

#[test]
fn all_devices_are_chosen_by_a_word_in_every_kind() {
    let chooses = |document: &Value| {
        let without = ["Secret", "Config", "IdentityProvider", "Tenant", "AuditSink"];
        !without.contains(&document["kind"].as_str().unwrap())
    };
    for mut document in full().into_iter().filter(chooses) {
        document["spec"]["devices"] = json!("all");
        let admitted = admit_all(&[document]).unwrap().remove(0);
        assert_eq!(admitted.written["devices"], "all", "it reads back as it was written");
        for labels in [Labels::new(), Labels::from([("a".to_owned(), "b".to_owned())])] {
            assert!(admitted.devices.matches(&labels));
        }
        let kept = serde_json::to_string(&admitted.devices).unwrap();
        assert_eq!(serde_json::from_str::<Selector>(&kept).unwrap(), admitted.devices);
        let read: Selector = serde_json::from_value(admitted.written["devices"].clone()).unwrap();
        assert_eq!(read, admitted.devices);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let words = prop_oneof![
        Just("apiVersion"),
        Just("holdfast/v1"),
        Just("kind"),
        Just("Workload"),
        Just("metadata"),
        Just("name"),
        Just("labels"),
        Just("spec"),
        Just("devices"),
        Just("matchLabels"),
        Just("matchExpressions"),
        Just("run"),
        Just("process"),
        Just("artifact"),
        Just("path"),
        Just("args"),
        Just("env"),
        Just("config"),
        Just("resources"),
        Just("memory"),
        Just("cpu"),
        Just("restart"),
        Just("backoff"),
        Just("health"),
        Just("http"),
        Just("tcp"),
        Just("exec"),
        Just("stop"),
        Just("bus"),
        Just("windows"),
        Just("64Mi"),
        Just("1.5"),
        Just("10s"),
        Just("a/b"),
        Just("../x"),
    ];
    let text = prop_oneof![words.prop_map(str::to_owned), any::<String>()];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(text.clone(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(documents in proptest::collection::vec(any_json(), 0..4)) {
        let _judged = admit_all(&documents);
    }

    #[test]
    fn anything_anywhere_in_a_good_document_is_judged(
        value in any_json(),
        place in 0..40_usize,
    ) {
        let mut document = full().remove(0);
        let mut pointers = Vec::new();
        objects(&document, "", &mut pointers);
        let pointer = &pointers[place % pointers.len()];
        let object = document.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
        for field in object.values_mut() {
            *field = value.clone();
        }
        if let Err(found) = admit_all(&[document]) {
            prop_assert!(!found.is_empty());
        }
    }

    #[test]
    fn units_never_panic(text in any::<String>()) {
        let _judged = (holdfast_api::units::memory(&text), holdfast_api::units::cpu(&text), holdfast_api::units::duration(&text), holdfast_api::units::signal(&text));
    }
}
