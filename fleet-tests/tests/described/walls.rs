//! Walls between the rooms of the control plane, beyond those that a `Cargo.toml` draws by itself:
//! which crates may stand below which, that the service knows ports and no adapter, and which of its
//! parts may know which. Of the protocol: which crate has a runtime.
//!
//! See decisions 0134, 0135, 0154 and 0155.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{read, root};

/// Crates of the control plane that each of its inner crates may stand on. Crates of the protocol
/// are free to all.
const MAY: [(&str, &[&str]); 6] = [
    ("control/age", &[]),
    ("control/delta", &[]),
    ("control/rows", &[]),
    ("control/ports", &["holdfast-control-rows"]),
    ("control/core", &["holdfast-api", "holdfast-control-rows"]),
    ("control/api", &[]),
];

/// Crates of the program, of which the crates above may use none but those that they are allowed.
const ROOMS: [&str; 8] = [
    "holdfast-age",
    "holdfast-api",
    "holdfast-cli",
    "holdfast-control",
    "holdfast-control-core",
    "holdfast-control-ports",
    "holdfast-control-rows",
    "holdfast-delta-maker",
];

/// Crates of the protocol without a runtime; `protocol/mqtt-host` is the one that has one.
const WITHOUT_RUNTIME: [&str; 6] = [
    "protocol/base",
    "protocol/records",
    "protocol/query",
    "protocol/mqtt",
    "protocol/delta",
    "protocol",
];

/// Crates that do I/O, which no core and no port uses.
const OUTSIDE: [&str; 9] =
    ["tokio", "redb", "hyper", "axum", "reqwest", "rustls", "rustix", "rcgen", "tower"];

/// Parts of the service, each with the parts that it may use. A part uses only those before it, so
/// that there is no circle.
const PARTS: [(&str, &[&str]); 13] = [
    ("documents", &[]),
    ("data", &["documents"]),
    ("access", &["documents"]),
    ("calls", &["documents", "data"]),
    ("alarms", &["documents"]),
    ("enrolment", &["documents"]),
    ("workloads", &["documents", "calls", "alarms"]),
    ("fleet", &["documents", "data", "alarms"]),
    ("directory", &["documents", "data", "access", "calls"]),
    ("keys", &["documents"]),
    ("people", &["documents", "access", "keys"]),
    ("tenancy", &["documents", "data", "access", "alarms", "workloads", "fleet"]),
    ("archive", &["documents", "data", "alarms", "enrolment", "keys"]),
];

/// Maximum number of fields of a type of the service.
const FIELDS: usize = 10;

/// Names of the dependencies of a crate, those of its tests excepted.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let text = read(&format!("{folder}/Cargo.toml"));
    let lines = text.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let own = lines.take_while(|line| !line.starts_with('['));
    own.filter_map(|line| Some(line.split_once('=')?.0.trim().to_owned())).collect()
}

#[test]
fn the_control_planes_crates_stand_on_each_other_in_one_direction() {
    for (folder, may) in MAY {
        let found = dependencies(folder);
        assert!(!found.is_empty(), "{folder} has no dependencies");
        for name in &found {
            let is_room = ROOMS.contains(&name.as_str());
            assert!(!is_room || may.contains(&name.as_str()), "{folder} stands on {name}");
            assert!(!OUTSIDE.contains(&name.as_str()), "{folder} uses {name}");
        }
    }
}

#[test]
fn of_the_protocols_crates_the_mqtt_host_alone_has_a_runtime() {
    for folder in WITHOUT_RUNTIME {
        for name in dependencies(folder) {
            assert!(!OUTSIDE.contains(&name.as_str()), "{folder} uses {name}");
            assert_ne!(name, "holdfast-mqtt-host", "{folder} stands on the host");
        }
    }
    let host = dependencies("protocol/mqtt-host");
    assert_eq!(host, ["holdfast-mqtt", "tokio"].map(ToOwned::to_owned).into());
}

#[test]
fn mqtt_connections_have_one_loop() {
    let words = ["impl Future for", "Sleep"];
    assert_eq!(lines_with("agent/src/adapters/bus", &words), [""; 0]);
    assert_eq!(lines_with("control/src/adapters/gateway", &words), [""; 0]);
    assert!(!lines_with("protocol/mqtt-host/src", &words).is_empty());
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Returns the lines of code that name a module or crate, with their places. Comments do not count.
fn lines_with(folder: &str, words: &[&str]) -> Vec<String> {
    let mut files = Vec::new();
    sources(&root().join(folder), &mut files);
    assert!(files.len() > 2, "{folder} is elsewhere now");
    let mut found = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().enumerate().filter(|(_, line)| !line.trim().starts_with("//"));
        let named = code.filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        found.extend(named.map(|(at, line)| format!("{}:{}: {line}", path.display(), at + 1)));
    }
    found
}

#[test]
fn the_service_knows_ports_and_no_adapter() {
    let words = ["adapters::", "adapters::{", "redb", "rcgen", "crate::serve", "rustix"];
    assert_eq!(lines_with("control/src/service", &words), [""; 0]);
}

#[test]
fn core_and_ports_name_no_service_and_no_adapter() {
    let words = ["holdfast_control::", "adapters::", "service::", "holdfast_control_ports"];
    assert_eq!(lines_with("control/core/src", &words), [""; 0]);
    let words = ["holdfast_control::", "adapters::", "service::", "holdfast_control_core"];
    assert_eq!(lines_with("control/ports/src", &words), [""; 0]);
    assert_eq!(lines_with("control/rows/src", &words), [""; 0]);
}

/// Text of a part of the service without its comments.
fn code_of_part(part: &str) -> String {
    let folder = root().join("control/src/service");
    let (file, mut files) = (folder.join(format!("{part}.rs")), Vec::new());
    if file.exists() {
        files.push(file);
    } else {
        sources(&folder.join(part), &mut files);
    }
    let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    text.lines()
        .filter(|line| !line.trim().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn a_part_of_the_service_uses_only_parts_below_it() {
    let known: BTreeSet<&str> = PARTS.iter().map(|(part, _)| *part).collect();
    let service = read("control/src/service/mod.rs");
    let fields = service.split("pub struct Service {\n").nth(1).unwrap();
    let fields = fields.split("\n}").next().unwrap().lines();
    let fields = fields.filter_map(|line| Some(line.strip_prefix("    pub ")?.split_once(':')?.0));
    assert_eq!(fields.collect::<BTreeSet<_>>(), known, "the parts of `Service`");
    for (at, (part, may)) in PARTS.iter().enumerate() {
        let before: BTreeSet<&str> = PARTS[..at].iter().map(|(part, _)| *part).collect();
        assert!(may.iter().all(|other| before.contains(other)), "{part} uses one above it");
        let code = code_of_part(part);
        for (other, _) in PARTS.iter().filter(|(other, _)| other != part) {
            let (first, rest) = other.split_at(1);
            let kind = format!("{}{rest}", first.to_ascii_uppercase());
            let words = [
                format!("super::{other}::"),
                format!("service::{other}::"),
                format!("Arc<{kind}>"),
                format!("&{kind}"),
            ];
            let used = words.iter().any(|word| code.contains(word.as_str()));
            assert_eq!(used, may.contains(other), "does {part} use {other}?");
        }
    }
}

#[test]
fn types_of_the_service_own_little() {
    let mut files = Vec::new();
    sources(&root().join("control/src/service"), &mut files);
    let (mut blocks, mut structs) = (0, 0);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        blocks += text.matches("\nimpl Service {").count();
        for after in text.split("struct ").skip(1) {
            let Some((name, rest)) = after.split_once(" {\n") else { continue };
            if name.contains([';', '(', '\n']) {
                continue;
            }
            let body = rest.split("\n}").next().unwrap();
            let field = |line: &&str| {
                let line = line.strip_prefix("    ").unwrap_or_default();
                !line.starts_with([' ', '/', '#', '}', ')']) && line.contains(": ")
            };
            let count = body.lines().filter(field).count();
            // Of `Service` each field is a part, and the table above counts them.
            let most = if name == "Service" { PARTS.len() } else { FIELDS };
            assert!(count <= most, "{}: {name} has {count} fields", file.display());
            structs += 1;
        }
    }
    assert!(structs > 40, "structs are found: {structs}");
    assert!((1..=2).contains(&blocks), "{blocks} blocks `impl Service`");
}
