//! PROTOCOL.md names every problem that the agent can report, and none that it cannot.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and read the sources"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
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
}
