//! Secrets on a real device: sealed by this test in the place of a control plane, which signs too.
//! The device has no link, as after a reboot far away.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet_tests::harness::{DEADLINE, Device, Plane, eventually};
use holdfast_base::ids::{Name, unhex};
use holdfast_protocol::message::{DesiredState, DesiredWorkload};
use holdfast_protocol::sealing::{Bound, OnChange, Sealed, SealedContent, SealingKey, seal};
use holdfast_protocol::signing::Signer;
use holdfast_protocol::workload::{
    Executable, Process, Resources, Restart, RestartPolicy, Run, Stop, WorkloadSpec,
};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::assert_says;

const SIGHUP: u8 = 1;
/// Beginning of every secret of these tests.
const SECRET: &str = "xK7-do-not-tell-";

/// Shell script of a workload that tells digests of its secrets, and counts its signals.
const SCRIPT: &str = "umask 022\n\
    tell() { printf %s \"$PASSWORD\" | sha256sum > env.sum; sha256sum < conf/token > token.sum; }\n\
    hup() { tell; echo hup >> hups; }\n\
    trap hup HUP\n\
    tell\n\
    echo $$ > started\n\
    while :; do sleep 0.1; done\n";

/// Control plane that is this test: it signs and seals.
struct Control {
    signer: Signer,
    generation: u64,
    /// Version of the sealed content, what it is sealed to, and what it is.
    version: u64,
}

impl Control {
    /// Gives a device an identity as an enrolment here would.
    fn enrol(device: &Device) -> Self {
        let mut document: Vec<u8> = vec![
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        document.extend([5; 32]);
        let signer = Signer::from_pkcs8(&document).unwrap();
        let identity = json!({
            "url": "https://127.0.0.1:9",
            "caSha256": "00".repeat(32),
            "key": "AAAA",
            "name": device.name,
            "enrolment": {
                "tenant": "default",
                "device": device.name,
                "shard": 1,
                "topicPrefix": format!("hf/v1/1/default_{}/", device.name),
                "certificate": "none",
                "notBefore": 0,
                "notAfter": 4_000_000_000_u64,
                "ca": "none",
                "signingKey": STANDARD.encode(signer.public_key()),
                "mqtt": ["127.0.0.1:9"],
                "serverTime": 0,
            },
        });
        std::fs::create_dir_all(device.data()).unwrap();
        let path = device.data().join("identity.json");
        std::fs::write(path, serde_json::to_vec(&identity).unwrap()).unwrap();
        Self { signer, generation: 0, version: 0 }
    }

    /// Stores a desired state with the workload `w`, with secrets sealed to a key, as if it had come
    /// before the link was cut. None: without the workload.
    fn wants(&mut self, device: &Device, sealed: Option<(&SealingKey, OnChange, &SealedContent)>) {
        self.generation += 1;
        self.version += 1;
        let id = format!("default_{}", device.name).parse().unwrap();
        let workload: Name = "w".parse().unwrap();
        let (revision, epoch, version) = (1, 1, self.version);
        let bound = Bound { device: &id, workload: &workload, revision, epoch, version };
        let random = [u8::try_from(version).unwrap(); 32];
        let workloads = sealed.map(|(key, on_change, content)| {
            let bytes = seal(content, &key.public(), &bound, random).unwrap();
            let sealed = Some(Box::new(Sealed { version, on_change, bytes }));
            (workload.clone(), DesiredWorkload { revision, paused: false, spec: spec(), sealed })
        });
        let state = DesiredState {
            v: 1,
            device: id.clone(),
            epoch,
            generation: self.generation,
            workloads: workloads.into_iter().collect(),
            data: None,
            audit: None,
        };
        let bytes = self.signer.sign(&state).unwrap();
        std::fs::write(device.data().join("desired.cose"), bytes).unwrap();
    }
}

fn spec() -> WorkloadSpec {
    WorkloadSpec {
        run: Run::Process(Process {
            executable: Executable::Path("/bin/sh".into()),
            args: vec!["-c".into(), SCRIPT.into()],
            env: BTreeMap::new(),
            user: None,
            workdir: None,
        }),
        config: [("conf/plain".to_owned(), "plain".to_owned())].into(),
        resources: Resources::default(),
        restart: Restart {
            policy: RestartPolicy::Always,
            backoff_initial_ms: 100,
            backoff_max_ms: 500,
        },
        health: None,
        stop: Stop { signal: 15, grace_ms: 500 },
        bus: Default::default(),
        windows: Default::default(),
    }
}

fn content(password: &str, token: &str) -> SealedContent {
    SealedContent {
        env: [("PASSWORD".to_owned(), format!("{SECRET}{password}"))].into(),
        files: [("conf/token".to_owned(), format!("{SECRET}{token}").into_bytes().into())].into(),
    }
}

/// Returns the key that the agent of a device made.
fn key(device: &Device) -> SealingKey {
    let path = device.data().join("sealing.key");
    let text = eventually(DEADLINE, "the agent has made its key", || {
        std::fs::read_to_string(&path).map_err(|error| error.to_string())
    });
    SealingKey::new(unhex(text.trim()).unwrap()).unwrap()
}

fn own(device: &Device) -> PathBuf {
    device.data().join("workloads/w/files")
}

/// Waits until the workload has told the digests of these secrets.
fn await_told(device: &Device, password: &str, token: &str) {
    for (file, secret) in [("env.sum", password), ("token.sum", token)] {
        let sum = holdfast_base::ids::hex(
            digest(&SHA256, format!("{SECRET}{secret}").as_bytes()).as_ref(),
        );
        let path = own(device).join(file);
        eventually(DEADLINE, &format!("{file} is of {secret}"), || {
            let told = std::fs::read_to_string(&path).unwrap_or_default();
            if told.starts_with(&sum) { Ok(()) } else { Err(format!("{told:?}, not {sum}")) }
        });
    }
}

/// Lists every file below a folder; links are not followed.
pub(crate) fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

/// Asserts that no secret stands in any file of the device, in its log, or in what it says.
fn assert_nothing_told(device: &Device) {
    let mut found = Vec::new();
    files(device.data(), &mut found);
    assert!(found.len() > 5, "{found:?}");
    let mut told: Vec<(String, Vec<u8>)> = found
        .into_iter()
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    told.push(("log".into(), device.log().into_bytes()));
    told.push(("status".into(), device.status().unwrap().to_string().into_bytes()));
    assert_in_none(SECRET.as_bytes(), &told);
}

/// Asserts that a secret stands in none of these, as it is, and as base64 and hexadecimal digits
/// would have it.
pub(crate) fn assert_in_none(needle: &[u8], told: &[(String, Vec<u8>)]) {
    let hex = holdfast_base::ids::hex(needle);
    let base64: Vec<String> = (0..3)
        .map(|skipped| {
            let shifted = [&b"..."[..skipped], needle].concat();
            let text = STANDARD.encode(shifted);
            text[4..text.len() - 4].to_owned()
        })
        .collect();
    for (place, bytes) in told {
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|part| part == needle);
        assert!(!holds(needle) && !holds(hex.as_bytes()), "a secret stands in {place}");
        assert!(!base64.iter().any(|it| holds(it.as_bytes())), "a secret stands in {place}");
    }
}

/// Returns the folder in memory of the workload, and checks what is in it and who may read that.
fn memory_of(device: &Device) -> PathBuf {
    let link = own(device).join("conf/token");
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    let file = link.canonicalize().unwrap();
    let meta = std::fs::metadata(&file).unwrap();
    let owner = std::fs::metadata(own(device)).unwrap().uid();
    assert_eq!((meta.permissions().mode() & 0o7777, meta.uid()), (0o400, owner));
    let memory = file.ancestors().nth(3).unwrap().to_owned();
    assert!(memory.ends_with("w"), "{}", memory.display());
    let kind = rustix::fs::statfs(&memory).unwrap().f_type;
    assert!([0x0102_1994, 0x8584_58f6].contains(&kind), "{kind:x} is no file system in memory");
    memory
}

/// Switches power off, with the memory.
fn power_off(device: &mut Device, memory: &Path) {
    device.power_off();
    std::fs::remove_dir_all(memory).unwrap();
    for told in ["env.sum", "token.sum"] {
        std::fs::remove_file(own(device).join(told)).unwrap();
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "one story, from the first start to what is left")]
fn secrets_are_had_by_the_workload_alone_and_by_no_file() {
    let plane = Plane::start();
    let mut device = plane.bare_device("d-1");
    let mut control = Control::enrol(&device);
    device.up();
    device.await_problem("not-enrolled");
    let key = key(&device);
    device.stop_agent();
    let (restart, signal) = (OnChange::Restart, OnChange::Signal(SIGHUP));
    control.wants(&device, Some((&key, restart, &content("one", "uno"))));
    device.up();
    let first = device.await_phase("w", "running");
    await_told(&device, "one", "uno");

    let memory = memory_of(&device);
    assert_nothing_told(&device);

    // A restart of the agent changes nothing; a reboot without a link opens all anew.
    device.restart();
    assert_eq!(device.await_phase("w", "running"), first);
    power_off(&mut device, &memory);
    device.up();
    let second = device.await_phase("w", "running");
    await_told(&device, "one", "uno");

    // Rotated with a signal: the files are others, the process is the same.
    device.stop_agent();
    control.wants(&device, Some((&key, signal, &content("one", "dos"))));
    device.up();
    await_told(&device, "one", "dos");
    let hups = own(&device).join("hups");
    eventually(DEADLINE, "the signal came", || {
        std::fs::read_to_string(&hups).map_err(|error| error.to_string())
    });
    assert_eq!(device.await_phase("w", "running"), second);

    // Rotated with a restart, which counts as none.
    let restarts = |status: &Value| status["workloads"]["w"]["restarts"].as_u64().unwrap_or(0);
    let counted = restarts(
        &device.await_status("it runs", |status| status["workloads"]["w"]["phase"] == "running"),
    );
    device.stop_agent();
    control.wants(&device, Some((&key, restart, &content("three", "tres"))));
    device.up();
    await_told(&device, "three", "tres");
    let status = device.await_status("another process", |status| {
        let is = &status["workloads"]["w"];
        is["phase"] == "running" && is["pid"] != second
    });
    assert_eq!(restarts(&status), counted, "{status}");
    let third = device.await_phase("w", "running");

    // Sealed to another key: it goes on, says why, and is started again as it was.
    device.stop_agent();
    let other = SealingKey::new([9; 32]).unwrap();
    control.wants(&device, Some((&other, restart, &content("four", "cuatro"))));
    device.up();
    let said = device.await_problem("secrets-not-opened");
    assert_says(&said, &["w: ", "another key"]);
    assert_eq!(device.await_phase("w", "running"), third);
    let reason = device.status().unwrap()["workloads"]["w"]["reason"].to_string();
    assert_says(&reason, &["goes on as it was", "another key"]);
    power_off(&mut device, &memory);
    device.up();
    await_told(&device, "three", "tres");
    device.await_problem("secrets-not-opened");
    assert_nothing_told(&device);

    // Sealed to the right key again, the problem ends; and nothing is left of a workload that goes.
    device.stop_agent();
    control.wants(&device, Some((&key, restart, &content("five", "cinco"))));
    device.up();
    await_told(&device, "five", "cinco");
    device.await_healed("secrets-not-opened");
    assert_nothing_told(&device);
    device.stop_agent();
    control.wants(&device, None);
    device.up();
    device.await_status("w is gone", |status| status["workloads"]["w"].is_null());
    eventually(DEADLINE, "its memory is gone", || {
        if memory.exists() { Err(memory.display().to_string()) } else { Ok(()) }
    });
    assert_nothing_told(&device);
}

#[test]
fn an_agent_that_dies_between_the_files_and_the_signal_sends_it_again() {
    let plane = Plane::start();
    let mut device = plane.bare_device("d-1");
    let mut control = Control::enrol(&device);
    device.up();
    let key = key(&device);
    device.stop_agent();
    let signal = OnChange::Signal(SIGHUP);
    control.wants(&device, Some((&key, signal, &content("one", "uno"))));
    device.up();
    let pid = device.await_phase("w", "running");
    await_told(&device, "one", "uno");
    device.stop_agent();
    control.wants(&device, Some((&key, signal, &content("one", "dos"))));
    device.env.insert("HOLDFAST_CRASH_AT".into(), "secrets-laid".into());
    device.up();
    device.await_end();
    device.env.remove("HOLDFAST_CRASH_AT");
    device.up();
    await_told(&device, "one", "dos");
    assert_eq!(device.await_phase("w", "running"), pid);
}

#[test]
fn files_of_secrets_are_refused_where_nothing_is_in_memory() {
    let plane = Plane::start();
    let mut device = plane.bare_device("d-1");
    let mut control = Control::enrol(&device);
    let disk = plane.scratch.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let is_memory = rustix::fs::statfs(&disk).unwrap().f_type == 0x0102_1994;
    assert!(!is_memory, "the scratch folder of this test has to be on a disk");
    device.config = Some(format!("[secrets]\nfolder = '{}'\n", disk.display()));
    device.up();
    let key = key(&device);
    device.stop_agent();
    control.wants(&device, Some((&key, OnChange::Restart, &content("one", "uno"))));
    device.up();
    device.await_phase("w", "failed");
    let said = device.await_problem("secrets-not-opened");
    assert_says(&said, &["in memory alone", &disk.display().to_string(), "mount a tmpfs"]);
    assert_eq!(std::fs::read_dir(&disk).unwrap().count(), 0);
    // Values of the environment need no file.
    device.stop_agent();
    let values = SealedContent { files: BTreeMap::new(), ..content("two", "") };
    control.wants(&device, Some((&key, OnChange::Restart, &values)));
    device.up();
    device.await_phase("w", "running");
    device.await_healed("secrets-not-opened");
    assert_nothing_told(&device);
}

#[test]
fn an_agent_that_was_updated_sends_its_key_at_once() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &[]);
    device.await_link("up");
    let told = |device: &Device| {
        let identity = std::fs::read(device.data().join("identity.json")).unwrap();
        let identity: Value = serde_json::from_slice(&identity).unwrap();
        identity["enrolment"]["sealingKey"].as_str().map(str::to_owned)
    };
    assert_eq!(told(&device), Some(STANDARD.encode(key(&device).public())), "by the enrolment");
    let row = plane.cli().run(&["get", "devices", "-o", "wide"]).ok();
    assert!(row.contains("SECRETS") && row.contains(" yes "), "{row}");

    // As the folder of an agent that knew nothing of such a key.
    device.stop_agent();
    std::fs::remove_file(device.data().join("sealing.key")).unwrap();
    device.up();
    let own = STANDARD.encode(key(&device).public());
    eventually(DEADLINE, "the control plane knows the new key", || {
        let told = told(&device);
        if told.as_ref() == Some(&own) { Ok(()) } else { Err(format!("{told:?}, not {own}")) }
    });
    device.await_link("up");
}
