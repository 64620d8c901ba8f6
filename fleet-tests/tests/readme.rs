//! What the README quotes is true of the programs: every command parses, every document is
//! admitted, every configuration is read and says the defaults. The tests that ARCHITECTURE.md
//! names exist.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, read files and run programs"
)]

use std::path::Path;
use std::process::{Command, Stdio};

use fleet_tests::harness::Binaries;
use holdfast_control::core::admission::admit;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap()
}

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let text = readme();
    let (fence, mut found) = (format!("```{language}"), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == fence {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push(block.join("\n"));
        }
    }
    assert!(!found.is_empty(), "no {fence} block");
    found
}

/// What the README tells people to type, and the commands that it names in passing.
fn quoted() -> Vec<String> {
    let console = blocks("console").join("\n");
    let typed = console.lines().filter_map(|line| line.strip_prefix("$ ")).map(ToOwned::to_owned);
    let text = readme();
    let fenced = |line: &&str| line.starts_with("```");
    let prose: Vec<&str> = text.split_inclusive('\n').collect();
    let mut inside = false;
    let mut named = Vec::new();
    for line in prose {
        inside ^= fenced(&line);
        if !inside {
            named.extend(line.split('`').skip(1).step_by(2).map(ToOwned::to_owned));
        }
    }
    typed.chain(named).collect()
}

/// The words of our program in a line of shell, up to where the shell takes over.
fn words(line: &str) -> Option<Vec<String>> {
    let line = line.replace("$(", " ").replace(')', " ");
    let line = line.split(" #").next()?;
    let mut words = line
        .split_whitespace()
        .skip_while(|word| *word == "sudo" || word.contains('=') && !word.starts_with("holdfast"));
    let program = words.next().filter(|word| *word == "holdfast" || *word == "holdfast-agent")?;
    let ends = |word: &&str| !word.starts_with(['>', '|', '&', ';']) && !word.starts_with("2>");
    let arguments = words.take_while(ends).map(ToOwned::to_owned);
    Some(std::iter::once(program.to_owned()).chain(arguments).collect())
}

#[test]
fn every_command_parses() {
    let binaries = Binaries::find();
    let commands: Vec<Vec<String>> = quoted().iter().filter_map(|line| words(line)).collect();
    assert!(commands.len() > 25, "{commands:?}");
    for command in commands {
        let program = if command[0] == "holdfast" { &binaries.control } else { &binaries.agent };
        // `--help` stops before anything is done; what is wrong before it is said all the same.
        let mut arguments = command[1..].to_vec();
        if arguments.first().is_none_or(|first| first != "help") {
            arguments.push("--help".into());
        }
        let ran = Command::new(program)
            .args(&arguments)
            .env_remove("HOLDFAST_TOKEN")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[test]
fn every_document_is_admitted() {
    for block in blocks("yaml") {
        let document: serde_json::Value = serde_saphyr::from_str(&block).unwrap();
        admit(&[document], &|_| None).unwrap_or_else(|faults| panic!("{faults:#?} in\n{block}"));
    }
}

#[test]
fn every_configuration_says_the_defaults() {
    let blocks = blocks("toml");
    let [control, agent] = &blocks[..] else { panic!("{blocks:?}") };
    assert_eq!(holdfast_control::config::Config::parse(control), Ok(Default::default()));
    assert_eq!(holdfast_agent::config::Config::parse(agent), Ok(Default::default()));
}

#[test]
fn the_table_of_options_is_that_of_serve() {
    let options = |text: &str, lead: &str| -> std::collections::BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix(lead));
        let names = lines.flat_map(|line| {
            let cell = line.split(" |").next().unwrap_or_default();
            cell.split("--").skip(1).map(|rest| rest.split([' ', '`', ',']).next().unwrap())
        });
        names.map(ToOwned::to_owned).collect()
    };
    let text = readme();
    let table = text.split("| option of `holdfast serve`").nth(1).unwrap();
    let told = options(table.split("\n\n").next().unwrap(), "| `");
    let help = Command::new(Binaries::find().control).args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let said = help.lines().map(str::trim_start).filter(|line| line.starts_with("--"));
    let said: std::collections::BTreeSet<String> = said
        .map(|line| line.trim_start_matches("--").split([' ', '<']).next().unwrap().to_owned())
        .collect();
    assert!(told.len() > 5, "{told:?}");
    assert_eq!(told, said);
}

/// Every `fn` under a folder's sources, by name.
fn functions(folder: &Path, found: &mut std::collections::BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            functions(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let after = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
            found.extend(after.map(ToOwned::to_owned));
        }
    }
}

#[test]
fn the_tests_that_the_architecture_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut known = std::collections::BTreeSet::new();
    for part in ["fleet-tests", "agent", "control", "protocol"] {
        functions(&root.join(part), &mut known);
    }
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let named: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.matches('_').count() >= 3 || *word == "clock_at_1970_on_boot")
        .filter(|word| {
            word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        })
        .collect();
    assert!(named.len() > 25, "{named:?}");
    let missing: Vec<_> = named.iter().filter(|name| !known.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
