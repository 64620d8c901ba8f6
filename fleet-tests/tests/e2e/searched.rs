//! A run of a whole fleet with secrets, searched byte by byte: every file of the control plane and of
//! the devices, every byte that crossed a link, logs, backups, and all that the command line prints.

use std::io::ErrorKind;

use fleet_tests::harness::{DEADLINE, Device, Plane, eventually, processes};

use crate::marker;
use crate::sealed::{assert_in_none, files};

/// Values that people gave: the first, and the one that replaced it.
const GIVEN: [&str; 2] = ["gM2-nobody-reads-this-0", "gM2-nobody-reads-this-1"];
/// Secret of a receiver of alarms, in the document itself.
const HOOK: &str = "hK9-signs-the-messages";

/// Configuration, notifications and a workload that use the secret `db`.
fn documents(marker: &str) -> String {
    format!(
        "apiVersion: holdfast/v1\nkind: Config\nmetadata: {{ name: place }}\nspec: {{ data: {{ host: db.local }} }}\n\
         ---\n\
         apiVersion: holdfast/v1\nkind: Notification\nmetadata: {{ name: own }}\nspec:\n\
         \x20 devices: all\n\
         \x20 to: {{ webhook: {{ url: \"http://127.0.0.1:9/\", secret: {HOOK} }} }}\n\
         ---\n\
         apiVersion: holdfast/v1\nkind: Notification\nmetadata: {{ name: referring }}\nspec:\n\
         \x20 devices: all\n\
         \x20 to: {{ webhook: {{ url: \"http://127.0.0.1:9/\", secret: {{ secret: db, key: password }} }} }}\n\
         ---\n\
         apiVersion: holdfast/v1\nkind: Workload\nmetadata: {{ name: w }}\nspec:\n\
         \x20 devices: {{ matchLabels: {{ role: a }} }}\n\
         \x20 run: {{ process: {{ path: /bin/sh, args: [-c, \"cat app.conf | sha256sum; exec sleep {marker}\"],\n\
         \x20   env: {{ PASSWORD: {{ secret: db, key: password }}, TOKEN: {{ secret: db, key: token }} }} }} }}\n\
         \x20 files:\n\
         \x20   app.conf: {{ template: \"${{secret.db.password}}@${{config.place.host}}\" }}\n"
    )
}

/// Waits until the only process with this argument has the password, and returns its token.
fn await_password(marker: &str, password: &str) -> String {
    let mut token = None;
    eventually(DEADLINE, "the workload has the password", || {
        let [pid] = processes::with_argument(marker)[..] else { return Err("not one".into()) };
        // It may have ended meanwhile.
        let all = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let text = String::from_utf8(all).unwrap();
        let of = |key: &str| text.split('\0').find_map(|it| it.strip_prefix(key));
        token = of("TOKEN=").map(str::to_owned);
        if of("PASSWORD=") == Some(password) { Ok(()) } else { Err("another one".into()) }
    });
    token.unwrap()
}

/// Everything that can be read of the control plane and the devices, each with its place.
fn everything(plane: &Plane, devices: &[&Device]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    files(plane.data(), &mut found);
    devices.iter().for_each(|device| files(device.data(), &mut found));
    let mut told = Vec::new();
    for path in found {
        match std::fs::read(&path) {
            Ok(bytes) => told.push((path.display().to_string(), bytes)),
            // A temporary file may have been renamed meanwhile; what cannot be read is a fault.
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{}", path.display()),
        }
    }
    told.push(("the control plane's log".into(), plane.log().into_bytes()));
    for device in devices {
        let crossed = device.link.recorded();
        assert!(crossed.len() > 1_000, "{} bytes crossed the link", crossed.len());
        told.push((format!("the link of {}", device.name), crossed));
        told.push((format!("the log of {}", device.name), device.log().into_bytes()));
    }
    told
}

/// What the command line prints about everything.
fn printed(plane: &Plane) -> Vec<(String, Vec<u8>)> {
    let mut asked: Vec<Vec<&str>> = vec![
        vec!["activity"],
        vec!["activity", "-o", "json"],
        vec!["history", "w"],
        vec!["logs", "d-1", "w"],
        vec!["describe", "secret", "db"],
        vec!["describe", "workload", "w"],
        vec!["describe", "device", "d-1"],
        vec!["timeline", "d-1"],
        vec!["status"],
        vec!["secret", "list"],
    ];
    for kind in ["devices", "workloads", "secrets", "configs", "notifications", "alarms"] {
        for format in ["wide", "json", "yaml"] {
            asked.push(vec!["get", kind, "-o", format]);
        }
    }
    let answers = asked.into_iter().map(|arguments| {
        let outcome = plane.cli().run(&arguments);
        assert_eq!(outcome.code, 0, "{outcome}");
        (arguments.join(" "), format!("{}{}", outcome.out, outcome.err).into_bytes())
    });
    answers.collect()
}

#[test]
fn secrets_of_a_whole_fleet_stand_nowhere_but_in_its_workloads() {
    let mut plane = Plane::start();
    let [mut user, mut other] = [("d-1", "role=a"), ("d-2", "role=b")].map(|(name, label)| {
        let mut device = plane.bare_device(name);
        device.link.record();
        device.enrol(&plane.token(&["--uses", "1"]), &[label]).ok();
        device.up();
        device
    });

    let marker = marker();
    let create = ["secret", "create", "db", "--from-file", "password=-", "--generate", "token:40"];
    plane.cli().run_with(&create, GIVEN[0]).ok();
    plane.cli().apply(&documents(&marker)).ok();
    // What is searched for below is what the workload has.
    let mut values = vec![await_password(&marker, GIVEN[0])];
    assert_eq!(values[0].len(), 40);

    let rotate = ["secret", "rotate", "db", "token", "--from-file", "password=-"];
    plane.cli().run_with(&rotate, GIVEN[1]).ok();
    values.push(await_password(&marker, GIVEN[1]));
    plane.await_settled("d-1");
    assert_ne!(values[0], values[1]);
    values.extend(GIVEN.map(str::to_owned));
    values.push(HOOK.to_owned());

    let mut told = printed(&plane);
    let phrase = plane.scratch.write("phrase", "six words that a dice chose");
    for (name, how) in [
        ("open.tar", &["--unencrypted"][..]),
        ("sealed.tar", &["--passphrase-file", phrase.to_str().unwrap()]),
    ] {
        let file = plane.scratch.join(name);
        plane.cli().run(&[&["backup", file.to_str().unwrap()], how].concat()).ok();
        told.push((name.to_owned(), std::fs::read(&file).unwrap()));
    }
    told.extend(everything(&plane, &[&user, &other]));
    // And once more after both ends were restarted, with what they wrote meanwhile.
    user.restart();
    other.restart();
    plane.kill();
    plane.up();
    plane.await_connection("d-1", "online");
    told.extend(everything(&plane, &[&user, &other]));
    // What is no secret is found where it should be: the search sees the files and the texts.
    let holds = |place: &str, needle: &str| {
        let mut found = told.iter().filter(|(at, _)| at.contains(place));
        found.any(|(_, bytes)| bytes.windows(needle.len()).any(|it| it == needle.as_bytes()))
    };
    assert!(holds("get configs -o yaml", "db.local") && holds("desired.cose", &marker));
    assert!(holds("open.tar", &marker) && holds("store", &marker));
    for value in &values {
        assert_in_none(value.as_bytes(), &told);
    }
}
