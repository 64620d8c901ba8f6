//! The example workloads that `make demo` applies: admitted as they stand, placed on the devices
//! that their comments name, and programs that run anywhere.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, read files and start the examples' own programs"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_control::core::admission::{Admitted, admit};
use holdfast_protocol::workload::{Executable, Probe, Run};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/workloads")
}

fn examples() -> Vec<Admitted> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.starts_with("# "), "{}: says first what it shows", file.display());
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    let documents: Vec<serde_json::Value> = files.iter().map(read).collect();
    admit(&documents, &|_| None).unwrap_or_else(|faults| panic!("{faults:#?}"))
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
    let expected = [
        ("heartbeat", vec!["gateway-1", "gateway-2"]),
        ("inventory", vec!["gateway-1", "gateway-2", "sensor-1"]),
        ("relay", vec!["gateway-1"]),
        ("sample", vec!["sensor-1"]),
        ("watch-config", vec!["gateway-1", "sensor-1"]),
    ];
    assert_eq!(placed, expected.map(|(name, devices)| (name.to_owned(), devices)));
}

/// As the agent would start it, without the agent: it says something, its probe answers, and it
/// runs on or ends well.
#[test]
fn each_runs_with_nothing_but_the_base_system() {
    for example in examples() {
        let (name, scratch) = (&example.name, tempfile::tempdir().unwrap());
        for (path, content) in &example.workload().unwrap().config {
            let path = scratch.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let Run::Process(process) = &example.workload().unwrap().run;
        let Executable::Path(program) = &process.executable else { panic!("{name}: an artifact") };
        assert!(program.starts_with("/bin/"), "{name}: {program}");
        let log = fs::File::create(scratch.path().join("log")).unwrap();
        let mut child = Command::new(program)
            .args(&process.args)
            .envs(&process.env)
            .current_dir(scratch.path())
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
