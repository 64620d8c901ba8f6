//! Cost of a new kind of document, counted on the kind `Sample`, which exists in the tests of the
//! control plane's core alone. See decision 0139.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the Rust sources of the control plane, without tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["dashboard", "tests", "node_modules"].contains(&name) {
            sources(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

/// Returns the sources whose code, apart from comments, has all of these words.
fn with(words: &[&str]) -> Vec<String> {
    let root = super::root().canonicalize().unwrap();
    let mut all = Vec::new();
    sources(&root.join("control"), &mut all);
    assert!(all.len() > 150, "only {} sources were found", all.len());
    let has_all = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let (code, _) = text.split_once("#[cfg(test)]\nmod tests {").unwrap_or((&text, ""));
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = code.collect::<Vec<_>>().join("\n");
        words.iter().all(|word| {
            code.split(|c: char| !c.is_ascii_alphanumeric()).any(|found| found == *word)
        })
    };
    let mut found: Vec<String> = all
        .iter()
        .filter(|path| has_all(path))
        .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
        .collect();
    found.sort();
    found
}

#[test]
fn a_kind_of_the_tests_touches_two_files() {
    let expected = ["control/core/src/kinds/mod.rs", "control/core/src/kinds/sample.rs"];
    assert_eq!(with(&["Sample"]), expected);
}

/// Checks that nothing but two files lists all kinds. A list elsewhere would be a further file that
/// every new kind touches.
#[test]
fn kinds_are_listed_in_two_files() {
    let expected = ["control/api/src/kinds.rs", "control/core/src/kinds/mod.rs"];
    assert_eq!(with(&["Stream", "LinkBudget", "Notification", "DevicePolicy"]), expected);
    let plurals = ["streams", "linkbudgets", "notifications", "devicepolicies"];
    assert_eq!(with(&plurals), ["control/api/src/kinds.rs"]);
}
