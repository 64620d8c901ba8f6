//! Tests of the example documents that `make demo` applies: they are admitted unchanged, placed on
//! the devices that their comments name, run anywhere, and show every field about data.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, read files and start the examples' own programs"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_base::ids::Digest;
use holdfast_control::core::admission::{Admitted, Stored, admit, admit_with};
use holdfast_control::core::images::NotResolved;
use holdfast_protocol::container::{Image, Platform};
use holdfast_protocol::workload::{Artifact, Executable, Probe, Run};
use serde_json::Value;

fn files(of: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images").join(of);
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Returns the documents of a folder's files, in their order.
fn documents(of: &str) -> Vec<Value> {
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.starts_with("# "), "{}: says first what it shows", file.display());
        let parse = |part: &str| {
            serde_saphyr::from_str::<Value>(part)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        };
        text.split("\n---\n").map(parse).collect::<Vec<_>>()
    };
    files(of).iter().flat_map(read).collect()
}

/// Returns the documents of both folders, admitted together as the demo applies them.
fn examples() -> Vec<Admitted> {
    let documents = [documents("workloads"), documents("streams")].concat();
    admit(&documents, &|_| None).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn workloads() -> impl Iterator<Item = Admitted> {
    examples().into_iter().filter(|example| example.workload().is_some())
}

/// Collects the path of every field below a value; the items of a list count as the list.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = format!("{path}.{key}");
                fields(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, path, found)),
        _ => {}
    }
}

/// Every field about data is in an example, and the README names each file.
#[test]
fn every_field_about_data_is_shown_and_every_file_is_linked() {
    let mut shown = BTreeSet::new();
    for document in documents("streams") {
        let kind = document["kind"].as_str().unwrap();
        fields(&document["spec"], kind, &mut shown);
    }
    for field in [
        "Stream.devices",
        "Stream.streams",
        "Stream.source.metrics.every",
        "Stream.source.logs.workload",
        "Stream.priority",
        "Stream.ttl",
        "Stream.quota",
        "Stream.overflow",
        "Stream.ship.onChange.field",
        "Stream.ship.onChange.deadband",
        "Stream.ship.window.every",
        "Stream.ship.window.fields",
        "Stream.ship.window.aggregates",
        "Stream.order",
        "Stream.compress",
        "Stream.durability",
        "Stream.windows",
        "Stream.retention.age",
        "Stream.retention.bytes",
        "LinkBudget.devices",
        "LinkBudget.per",
        "LinkBudget.bytes",
        "LinkBudget.shares.control",
        "LinkBudget.shares.events",
        "LinkBudget.shares.data",
        "LinkBudget.shares.logs",
        "LinkBudget.shares.artifacts",
        "LinkBudget.interfaces.name",
        "LinkBudget.interfaces.metered",
        "LinkBudget.interfaces.cost",
        "Workload.bus.subscribe",
        "Workload.bus.publish",
    ] {
        assert!(shown.contains(field), "{field} is in no file of images/streams: {shown:#?}");
    }
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    for file in files("streams") {
        let link = format!("(images/streams/{})", file.file_name().unwrap().display());
        assert!(readme.contains(&link), "README does not link {link}");
    }
}

/// The examples of secrets and configurations are admitted, and the README links them.
#[test]
fn secrets_are_shown() {
    let documents = documents("secrets");
    let admitted = admit(&documents, &|_| None).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let kinds: BTreeSet<&str> =
        admitted.iter().map(|document| document.what.kind().words().document).collect();
    assert_eq!(kinds, BTreeSet::from(["Config", "Secret", "Workload"]));
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    assert!(fs::read_to_string(readme).unwrap().contains("(images/secrets/greeter.yaml)"));
}

/// Every value of `whenOffline` is in an example that the README links.
#[test]
fn every_kind_of_absence_is_shown() {
    let documents = documents("devices");
    admit(&documents, &|_| None).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let mut shown: Vec<String> =
        documents.iter().map(|document| document["spec"]["whenOffline"].to_string()).collect();
    shown.sort();
    assert_eq!(shown, [r#""expected""#, r#""ignore""#, r#"{"alarmAfter":"12h"}"#]);
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    assert!(fs::read_to_string(readme).unwrap().contains("(images/devices/away.yaml)"));
}

/// Every quota is in the example of a tenant, which the README links.
#[test]
fn a_tenant_with_every_quota_is_shown() {
    let documents = documents("tenants");
    admit(&documents, &|_| None).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let quotas = documents[0]["spec"]["quotas"].as_object().unwrap();
    assert_eq!(quotas.len(), 6, "{quotas:?}");
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    assert!(fs::read_to_string(readme).unwrap().contains("(images/tenants/acme.yaml)"));
}

/// The example of a receiver of the audit log is admitted, and the README links it.
#[test]
fn a_sink_of_the_audit_log_is_shown() {
    let documents = documents("audit");
    admit(&documents, &|_| None).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    assert!(fs::read_to_string(readme).unwrap().contains("(images/audit/siem.yaml)"));
}

#[test]
fn each_is_placed_on_the_demos_devices() {
    let devices = [
        ("gateway-1", [("role", "gateway"), ("site", "berlin")]),
        ("gateway-2", [("role", "gateway"), ("site", "hamburg")]),
        ("sensor-1", [("role", "sensor"), ("site", "berlin")]),
    ];
    let placed: Vec<(String, Vec<&str>)> = examples()
        .into_iter()
        .map(|example| {
            let runs = devices.iter().filter(|(_, labels)| {
                let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
                example.devices.matches(&labels.into())
            });
            (example.name.to_string(), runs.map(|(name, _)| *name).collect())
        })
        .collect();
    let (gateways, all) =
        (vec!["gateway-1", "gateway-2"], vec!["gateway-1", "gateway-2", "sensor-1"]);
    let expected = [
        ("heartbeat", gateways.clone()),
        ("inventory", all.clone()),
        ("relay", vec!["gateway-1"]),
        ("sample", vec!["sensor-1"]),
        ("watch-config", vec!["gateway-1", "sensor-1"]),
        ("pressure", gateways.clone()),
        ("pump", gateways.clone()),
        ("satellite", vec!["gateway-2"]),
        ("at-night", vec!["gateway-2"]),
        ("heartbeat-log", gateways.clone()),
        ("figures", all),
        ("temperatures", gateways.clone()),
        ("vibration", gateways),
    ];
    assert_eq!(placed, expected.map(|(name, devices)| (name.to_owned(), devices)));
}

/// Each example runs without the agent as the agent would start it: it prints something, its probe
/// succeeds, and it runs on or ends well.
#[test]
fn each_runs_with_nothing_but_the_base_system() {
    for example in workloads() {
        let (name, scratch) = (&example.name, tempfile::tempdir().unwrap());
        for (path, content) in &example.workload().unwrap().config {
            let path = scratch.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let Run::Process(process) = &example.workload().unwrap().run else { panic!("a process") };
        let Executable::Path(program) = &process.executable else { panic!("{name}: an artifact") };
        assert!(program.starts_with("/bin/"), "{name}: {program}");
        let log = fs::File::create(scratch.path().join("log")).unwrap();
        let mut child = Command::new(program)
            .args(&process.args)
            .envs(&process.env)
            .current_dir(scratch.path())
            // Without an agent, an example that publishes says that nobody accepts it, and goes on.
            .env("HOLDFAST_SOCKET", scratch.path().join("none.sock"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let said = || fs::read_to_string(scratch.path().join("log")).unwrap();
        let works = || match &example.workload().unwrap().health {
            Some(health) => {
                let Probe::Exec { command } = &health.probe else { panic!("{name}: a port") };
                let mut probe = Command::new(&command[0]);
                probe.args(&command[1..]).current_dir(scratch.path());
                probe.status().unwrap().success()
            }
            None => program == "/bin/sleep" || !said().is_empty(),
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !works() {
            assert!(Instant::now() < deadline, "{name}: does nothing; said {:?}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
        if name.as_str() == "inventory" {
            assert!(child.wait().unwrap().success(), "{name}: {}", said());
        } else {
            assert_eq!(child.try_wait().unwrap(), None, "{name} ended: {}", said());
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// Finds any image, as if it had been pushed.
fn any_image(reference: &str) -> Result<Image, NotResolved> {
    let artifact = Artifact { digest: Digest([2; 32]), size: 900 };
    let platform = Platform { arch: "amd64".into(), config: artifact, layers: Vec::new() };
    let name = reference.split('@').next().unwrap().to_owned();
    Ok(Image { name, digest: Digest([1; 32]), platforms: vec![platform] })
}

/// What `apply --compose` writes is what the control plane takes.
#[test]
fn documents_of_compose_files_are_admitted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../control/cli/tests/compose");
    let mut shapes = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path().join("documents.golden");
        let text = fs::read_to_string(&file).unwrap();
        let parse = |part: &str| {
            serde_saphyr::from_str::<Value>(part)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        };
        let documents: Vec<Value> = text.split("\n---\n").map(parse).collect();
        let stored = Stored { artifact_size: &|_| None, image: &any_image };
        let admitted = admit_with(&documents, &stored)
            .unwrap_or_else(|faults| panic!("{}: {faults:#?}", file.display()));
        let runs = admitted.iter().filter_map(Admitted::workload);
        assert!(runs.map(|spec| spec.run.containers().count()).sum::<usize>() > 0);
        shapes += 1;
    }
    assert!(shapes >= 10, "{shapes} Compose files");
}
