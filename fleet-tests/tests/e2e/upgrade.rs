//! Data folders of earlier formats, as earlier programs made them (`fixtures/format-N/`): today's
//! programs open them in place, and everything is there.
//!
//! The folders of format 1 are of the programs of 2026-11-29: two devices, a workload of two
//! revisions, a document of each kind, access tokens of each scope, 25 records that arrived and 5
//! that did not. Their certificates last until 2043.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use fleet_tests::harness::{DEADLINE, Device, Https, Options, Plane, Scratch, eventually};
use serde_json::Value;

use crate::data::records;

/// Addresses that the device of the folder knows.
const API: &str = "127.12.12.1:28443";
const MQTT: &str = "127.12.12.1:28883";

/// Returns the folder of the fixtures of a format.
fn fixtures(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/format-{format}"))
}

/// Unpacks a data folder into the scratch folder, under its own name.
fn unpack(scratch: &Scratch, archive: &Path) {
    let done = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(scratch.path()).status();
    assert!(done.unwrap().success(), "{}", archive.display());
}

/// Secrets of the fixtures by their names.
fn secrets(format: u32) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(fixtures(format).join("tokens")).unwrap();
    let pair = |line: &str| line.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
    text.lines().filter_map(pair).collect()
}

fn holds(path: &Path, what: &str) -> bool {
    let bytes = std::fs::read(path).unwrap();
    bytes.windows(what.len()).any(|window| window == what.as_bytes())
}

/// Number of items of a list of the API.
fn count(plane: &Plane, path: &str) -> usize {
    plane.get(path).json()["items"].as_array().unwrap_or_else(|| panic!("{path}")).len()
}

fn names(plane: &Plane, path: &str) -> Vec<String> {
    let list = plane.get(path).json();
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    list["items"].as_array().unwrap().iter().map(name).collect()
}

/// Starts the agent of the fixture and waits until it runs what it ran, without a control plane.
fn offline(plane: &Plane) -> Device {
    let mut device = Device::new(plane, "old-1");
    std::fs::rename(plane.scratch.join("agent"), device.data()).unwrap();
    device.up();
    device.await_phase("heartbeat", "running");
    let log = device.data().join("workloads/heartbeat/log");
    eventually(DEADLINE, "the log goes on behind what it had", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let goes_on = text.contains("first") && text.matches("second").count() > 1;
        if goes_on { Ok(()) } else { Err(text) }
    });
    let status = device.status().unwrap();
    assert_eq!(status["generation"]["applied"], 2, "{status}");
    let format = std::fs::read_to_string(device.data().join("format")).unwrap();
    assert!(format.starts_with("2 holdfast-agent "), "{format}");
    for aside in ["store.damaged", "data.damaged"] {
        assert!(!device.data().join(aside).exists(), "{aside}");
    }
    device
}

/// The old entries stay as they are, and the chain of hashes says that it begins behind them.
fn the_chain_begins_behind_old_entries(plane: &Plane) {
    let found = eventually(DEADLINE, "the chain of the audit log begins", || {
        let found = plane.get("/api/v1/audit/verification").json();
        if found["entries"].as_u64() > found["former"].as_u64() {
            Ok(found)
        } else {
            Err(found.to_string())
        }
    });
    let former = found["former"].as_u64().unwrap();
    assert!(found["intact"] == true && former >= 5, "{found}");
    let audit = plane.get("/api/v1/audit?limit=1000").json();
    let entries = audit["items"].as_array().unwrap();
    let (old, new): (Vec<_>, Vec<_>) = entries.iter().partition(|it| it["hash"].is_null());
    assert_eq!(old.len() as u64, former, "{audit}");
    assert_eq!(new[0]["action"], "audit.begin", "{audit}");
    assert_eq!(new[0]["count"].as_u64().unwrap_or(1), former);
    assert!(new[0]["message"].as_str().unwrap().contains("of an earlier version"), "{audit}");
}

#[test]
fn folders_of_format_1_are_upgraded_in_place_and_everything_is_there() {
    let (scratch, secrets) = (Scratch::new(), secrets(1));
    unpack(&scratch, &fixtures(1).join("plane.tar.gz"));
    unpack(&scratch, &fixtures(1).join("agent.tar.gz"));
    let data = scratch.join("plane");
    let store = data.join("store.redb");
    assert!(holds(&store, "BEGIN PRIVATE KEY"), "it was in the clear");
    let addresses = (API.parse().unwrap(), MQTT.parse().unwrap());
    let mut plane = Plane::closed_in(scratch, data, Options::default(), addresses);
    plane.admin_token = secrets["admin"].clone();

    let device = offline(&plane);
    plane.up();
    assert_eq!(plane.ca_sha256, secrets["ca"], "the CA that devices know");
    let mode = std::fs::metadata(plane.data().join("master.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let aside = std::fs::read_dir(plane.data()).unwrap().flatten();
    let aside = aside.filter(|it| it.file_name().to_string_lossy().starts_with("before"));
    assert_eq!(aside.count(), 0, "nothing is set aside");

    for name in ["read", "operate", "admin-scope", "prometheus"] {
        let https = Https::new(plane.api, &plane.ca_sha256, Some(&secrets[name]));
        assert_eq!(https.get("/api/v1/devices").unwrap().status, 200, "{name}");
    }
    let admin = Https::new(plane.api, &plane.ca_sha256, Some(&secrets["admin-scope"]));
    assert_eq!(admin.get("/api/v1/access").unwrap().status, 200);
    assert_eq!(names(&plane, "/api/v1/devices"), ["old-1", "waits"]);
    assert_eq!(names(&plane, "/api/v1/workloads"), ["heartbeat"]);
    assert_eq!(count(&plane, "/api/v1/revisions?workload=heartbeat"), 2);
    for (kind, name) in [
        ("streams", "temperatures"),
        ("linkbudgets", "satellite"),
        ("devicepolicies", "trucks"),
        ("notifications", "duty"),
    ] {
        assert_eq!(names(&plane, &format!("/api/v1/policies/{kind}")), [name]);
    }
    assert_eq!(count(&plane, "/api/v1/tokens"), 2);
    assert_eq!(count(&plane, "/api/v1/access"), 5);
    let audit = plane.get("/api/v1/audit").text();
    for action in
        ["access.create", "token.create", "workload.apply", "device.enrol", "device.label"]
    {
        assert!(audit.contains(action), "{action}: {audit}");
    }
    assert_eq!(plane.view("old-1")["metadata"]["labels"]["line"], "7");

    the_chain_begins_behind_old_entries(&plane);

    // The device comes back as itself, and brings what it could not send.
    plane.await_connection("old-1", "online");
    plane.await_settled("old-1");
    eventually(DEADLINE, "all 30 records", || {
        let got = records(&plane, "old-1", "pump/temperature").len();
        if got == 30 { Ok(()) } else { Err(format!("{got}")) }
    });
    let newcomer = Device::new(&plane, "new-1");
    assert_eq!(newcomer.enrol(&secrets["enrol"], &[]).code, 0, "an old token enrols");
    plane.cli().run(&["device", "approve", "waits"]).ok();

    // What was in the clear is nowhere in the folder, and the next start finds the same.
    assert_eq!(plane.stop(), Some(0));
    let keys = ["BEGIN PRIVATE KEY", "signingKey"];
    assert!(keys.iter().all(|key| !holds(&store, key)));
    plane.up();
    assert_eq!(names(&plane, "/api/v1/workloads"), ["heartbeat"]);
    plane.await_connection("old-1", "online");
    drop(device);
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

#[test]
fn the_master_key_lies_elsewhere_is_rotated_and_its_loss_is_said() {
    let scratch = Scratch::new();
    let (data, key) = (scratch.join("plane"), scratch.join("elsewhere.key"));
    let arguments = vec!["--master-key".to_owned(), key.display().to_string()];
    let options = Options { arguments, ..Options::default() };
    let mut plane = Plane::start_in(scratch, data, options);
    assert!(!plane.data().join("master.key").exists());
    let secrets = plane.secrets();
    let former = std::fs::read(&key).unwrap();
    let said = plane.cli().run(&["master-key", "rotate", "--data-keys"]).ok();
    assert!(said.contains("master key ") && said.contains("data keys: "), "{said}");
    assert_ne!(std::fs::read(&key).unwrap(), former);
    plane.kill();
    plane.up();
    let made = plane.scratch.join("given.key");
    plane.cli().run(&["master-key", "generate", made.to_str().unwrap()]).ok();
    plane.cli().run(&["master-key", "rotate", "--file", made.to_str().unwrap()]).ok();
    assert_eq!(plane.stop(), Some(0));

    // The former file is not the one any more, and says so; nothing is changed by the try.
    let refused = |key: &Path| {
        let output = Command::new(&plane.binaries().control)
            .args(["serve", "--api", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--data"])
            .arg(plane.data())
            .arg("--master-key")
            .arg(key)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refused(&key);
    assert!(said.contains("holds another one") && said.contains("--master-key FILE"), "{said}");
    let missing = plane.scratch.join("missing.key");
    let said = refused(&missing);
    assert!(said.contains("is not there") && said.contains("Is the disk"), "{said}");
    assert!(!missing.exists(), "none is made");
    plane.options_mut().arguments = vec!["--master-key".into(), made.display().to_string()];
    plane.up();
    assert_eq!(plane.cli().run(&["get", "devices"]).code, 0);

    // No file of the data folder and no log has a key in the clear.
    let line = secrets.ca_key.lines().nth(1).unwrap();
    let mut all = vec![plane.log_path()];
    files(plane.data(), &mut all);
    assert!(all.len() > 3, "{all:?}");
    for file in all {
        assert!(!holds(&file, line), "{}", file.display());
        assert!(!holds(&file, "hfmk1."), "{}", file.display());
    }
}
