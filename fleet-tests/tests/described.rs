//! Documentation follows the code: every problem code is reported by the program that its table
//! names, `docs/api.md` has every route of the API; `described/decisions.rs` holds decisions and code to
//! each other, `described/contracts.rs` looks for errors and decisions that are texts,
//! `described/walls.rs` keeps the rooms of the control plane apart, `described/circles.rs` looks for
//! files that lead to each other, and `described/words.rs` counts how the documentation in the
//! sources begins.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and read the sources"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use holdfast_protocol::problem::{ProblemCode, Reporter};

#[path = "described/circles.rs"]
mod circles;
#[path = "described/contracts.rs"]
mod contracts;
#[path = "described/decisions.rs"]
mod decisions;
#[path = "described/kinds.rs"]
mod kinds;
#[path = "described/walls.rs"]
mod walls;
#[path = "described/words.rs"]
mod words;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Sources of the crates below these folders, without the files of tests.
fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let root = root();
    let mut folders: Vec<_> = folders.iter().map(|it| root.join(it)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn every_problem_code_is_reported_by_whom_the_table_names() {
    let uses = |folders: &[&str]| -> BTreeSet<&str> {
        let sources = sources(folders);
        let is_used = |name: &str| {
            let used = format!("ProblemCode::{name}");
            sources.iter().any(|(_, text)| {
                let mut rest = text.split(&used).skip(1);
                rest.any(|rest| !rest.starts_with(char::is_alphanumeric))
            })
        };
        ProblemCode::ALL.iter().map(|code| code.name()).filter(|name| is_used(name)).collect()
    };
    let of = |reporters: [Reporter; 2]| -> BTreeSet<&str> {
        let all = ProblemCode::ALL.iter().filter(|code| reporters.contains(&code.reporter()));
        all.map(|code| code.name()).collect()
    };
    assert_eq!(uses(&["agent/src", "agent/core/src"]), of([Reporter::Device, Reporter::Both]));
    let by_control =
        ["lineage", "liveness", "records"].map(|it| format!("control/core/src/{it}.rs"));
    let raised: Vec<String> = by_control.iter().map(|path| read(path)).collect();
    for name in of([Reporter::ControlPlane, Reporter::Both]) {
        let word = format!("ProblemCode::{name}");
        assert!(raised.iter().any(|text| text.contains(&word)), "the control plane: {name}");
    }
}

#[test]
fn one_module_alone_holds_unsafe_code() {
    let root = root();
    let mut folders: Vec<_> =
        ["protocol", "agent", "control", "fleet-tests"].map(|it| root.join(it).join("src")).into();
    let mut opted_in = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs")
                && fs::read_to_string(&path).unwrap().contains("unsafe_code")
            {
                opted_in.push(path.strip_prefix(&root).unwrap().to_owned());
            }
        }
    }
    assert_eq!(opted_in, [Path::new("agent/src/runtimes/process/kernel.rs")]);
}

#[test]
fn the_api_page_names_every_route() {
    let table = read("docs/api.md");
    let api = serde_json::to_value(holdfast_control::adapters::http::openapi()).unwrap();
    let paths: Vec<&String> = api["paths"].as_object().unwrap().keys().collect();
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        let (parent, last) = path.rsplit_once('/').unwrap();
        // `/devices[/{name}]` stands for two paths, and `…/approve` is below the path before it.
        let forms = [path.clone(), format!("{parent}[/{last}]"), format!("…/{last}`")];
        assert!(forms.iter().any(|form| table.contains(form)), "{path} is not in the table");
    }
}
