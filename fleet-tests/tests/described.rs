//! Documentation follows the code: PROTOCOL.md names every problem that the agent can report and no
//! other, `docs/api.md` every route of the API; `described/decisions.rs` holds decisions and code to
//! each other, `described/words.rs` counts how the documentation in the sources begins.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and read the sources"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "described/decisions.rs"]
mod decisions;
#[path = "described/kinds.rs"]
mod kinds;
#[path = "described/words.rs"]
mod words;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_agents_problem_codes_are_described() {
    let source = read("agent/src/driver/health.rs");
    let said: BTreeSet<&str> = source
        .split("say(")
        .skip(1)
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .collect();
    assert!(said.len() > 8, "the agent says its problems elsewhere now: {said:?}");
    let protocol = read("protocol/PROTOCOL.md");
    let section = protocol.split("**Problem codes**").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let described: BTreeSet<&str> =
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(described, said);
    let besides = section.split("About data streams besides:").nth(1).unwrap();
    let named: BTreeSet<&str> = besides.split('`').skip(1).step_by(2).collect();
    for (file, before) in [("data", "say("), ("intake", "(")] {
        let source = read(&format!("agent/src/driver/{file}.rs"));
        // A problem code, followed by its text.
        let codes = source.split(before).skip(1).filter_map(|rest| {
            let (code, after) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
            after.starts_with(", ").then_some(code)
        });
        let codes: Vec<&str> = codes.collect();
        assert!(codes.len() > 1, "{file}: {codes:?}");
        for code in codes {
            assert!(named.contains(code), "{code} is not described");
        }
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
    assert_eq!(opted_in, [Path::new("agent/src/adapters/kernel.rs")]);
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
