//! Tests that generated files in the repository are up to date. Each says how to write its file
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_control::adapters::http::openapi;
use holdfast_control::api::{Licence, Licences};
use serde_json::Value;

/// Compares a file with what it should be, or writes it when `HOLDFAST_UPDATE` is set.
fn hold(path: &str, wanted: &str, test: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("HOLDFAST_UPDATE").is_some() {
        std::fs::write(&path, wanted).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == wanted,
        "{} is not current; write it anew with\n  HOLDFAST_UPDATE=1 cargo nextest run -p holdfast-control {test}",
        path.display()
    );
}

#[test]
fn the_pages_openapi_document_is_current() {
    // As a value, whose keys are sorted: the extensions of a route have no order of their own.
    let document = serde_json::to_value(openapi()).unwrap();
    let mut text = serde_json::to_string_pretty(&document).unwrap();
    text.push('\n');
    hold("dashboard/openapi.json", &text, "the_pages_openapi_document_is_current");
}

/// Returns the output of `cargo metadata` for the programs as they are shipped.
fn metadata() -> Value {
    let root: PathBuf = [env!("CARGO_MANIFEST_DIR"), ".."].iter().collect();
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .arg("--filter-platform=x86_64-unknown-linux-gnu")
        .current_dir(root)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Returns the crates that are part of the programs, without those used only by tests and build
/// scripts.
fn crates(metadata: &Value, programs: &[&str]) -> BTreeSet<Licence> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<String, Value> =
        list(&metadata["packages"]).into_iter().map(|one| (text(&one["id"]), one)).collect();
    let nodes: BTreeMap<String, Value> = list(&metadata["resolve"]["nodes"])
        .into_iter()
        .map(|one| (text(&one["id"]), one))
        .collect();
    let is_macro = |package: &Value| {
        list(&package["targets"]).iter().any(|target| target["kind"][0] == "proc-macro")
    };
    let begin = packages.iter().filter(|(_, one)| programs.contains(&text(&one["name"]).as_str()));
    let mut todo: Vec<String> = begin.map(|(id, _)| id.clone()).collect();
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    while let Some(id) = todo.pop() {
        let package = &packages[&id];
        if !seen.insert(id.clone()) || is_macro(package) {
            continue;
        }
        if !package["source"].is_null() {
            let licence = package["license"].as_str().unwrap_or("see its sources").into();
            let (name, version) = (text(&package["name"]), text(&package["version"]));
            found.insert(Licence { name, version, licence });
        }
        for needed in list(&nodes[&id]["deps"]) {
            if list(&needed["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                todo.push(text(&needed["pkg"]));
            }
        }
    }
    found
}

#[test]
fn the_list_of_licences_is_current() {
    let found = crates(&metadata(), &["holdfast-control", "holdfast-agent"]);
    for known in ["tokio", "ring", "redb", "axum", "rumqttc-v5-next"] {
        assert!(found.iter().any(|one| one.name == known), "{known} is in the programs");
    }
    for tool in ["proptest", "cddl-cat", "serde_derive"] {
        assert!(found.iter().all(|one| one.name != tool), "{tool} is in no program");
    }
    let licences = Licences { items: found.into_iter().collect() };
    let mut text = serde_json::to_string_pretty(&licences).unwrap();
    text.push('\n');
    hold("src/adapters/http/licences.json", &text, "the_list_of_licences_is_current");
}
