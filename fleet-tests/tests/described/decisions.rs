//! Decisions (`docs/decisions/`) and the code name each other: numbers, paths, tests and links of
//! both sides exist, and each accepted decision is named by the code that rests on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const FOLDERS: [&str; 6] = ["agent", "control", "protocol", "fleet-tests", "images", "docs"];
const DOCUMENTS: [&str; 4] = ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "CHANGELOG.md"];
/// Folders of what is built, fetched or recorded.
const SKIPPED: [&str; 7] =
    ["target", "node_modules", "dist", "corpus", "seeds", "screenshots", ".git"];
const KINDS: [&str; 9] = ["rs", "ts", "tsx", "mjs", "md", "ld", "toml", "cddl", "yml"];

/// One file of `docs/decisions/`.
struct Decision {
    number: u32,
    /// Numbers that were merged into it.
    merged: Vec<u32>,
    file: String,
    text: String,
}

impl Decision {
    fn read(path: &Path) -> Option<Self> {
        let file = path.file_name()?.to_str()?.to_owned();
        let (number, _) = file.split_once('-')?;
        let text = fs::read_to_string(path).unwrap();
        let merged = field(&text, "Also holds decisions");
        let merged = merged.map_or_else(Vec::new, |it| {
            it.split(", ").map(|number| number.parse().unwrap()).collect()
        });
        Some(Self { number: number.parse().ok()?, merged, file, text })
    }

    fn title(&self) -> &str {
        let head = format!("# {:04}: ", self.number);
        let first = self.text.lines().next().unwrap();
        first.strip_prefix(&head).unwrap_or_else(|| panic!("{} begins with {first:?}", self.file))
    }
}

/// The value of a line `- NAME: value` in a decision's head.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let start = format!("- {name}: ");
    text.lines().find_map(|line| line.strip_prefix(&start))
}

/// The texts between back-ticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn decisions() -> Vec<Decision> {
    let entries = fs::read_dir(root().join("docs/decisions")).unwrap();
    let mut all: Vec<_> =
        entries.filter_map(|entry| Decision::read(&entry.unwrap().path())).collect();
    all.sort_by_key(|decision| decision.number);
    assert!(all.len() > 100, "only {} decisions were found", all.len());
    all
}

/// Every file of code and documentation, by its path from the root.
fn files() -> BTreeMap<String, String> {
    let root = root();
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = FOLDERS.map(|folder| root.join(folder)).into();
    let mut paths: Vec<PathBuf> = DOCUMENTS.map(|document| root.join(document)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if !SKIPPED.contains(&name) {
                    folders.push(path);
                }
            } else if name == "build"
                || path.extension().is_some_and(|it| KINDS.iter().any(|kind| it == *kind))
            {
                paths.push(path);
            }
        }
    }
    for path in paths {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        found.insert(name, fs::read_to_string(path).unwrap());
    }
    found
}

/// The numbers behind `decision` or `decisions` in a text, as they are written. In lists
/// (`decisions 0045, 0067 and 0080`) each of them; links (`[0045](…)`) like plain numbers.
fn named(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    for rest in text.split("ecision").skip(1) {
        let mut rest = rest.strip_prefix('s').unwrap_or(rest);
        loop {
            // A comment may be wrapped between the word and its number.
            let start = rest.trim_start_matches(|c: char| " \n/!*#[,".contains(c));
            let start = start.strip_prefix("and ").map_or(start, |it| it.trim_start_matches('['));
            let end = start.find(|c: char| !c.is_ascii_digit()).unwrap_or(start.len());
            let (number, after) = start.split_at(end);
            if number.is_empty() || rest.len() == start.len() {
                break;
            }
            all.push(number);
            rest = match after.strip_prefix("](").and_then(|link| link.split_once(')')) {
                Some((_, after)) => after,
                None => after,
            };
        }
    }
    all
}

#[test]
fn numbers_behind_the_word_are_found() {
    let text = "See decision 0036.\n//! Decisions 0045, [0067](0067-x.md) and 0080 say (decision\n\
                /// 7). A decision of 12 people, decisions as values.";
    assert_eq!(named(text), ["0036", "0045", "0067", "0080", "7"]);
}

#[test]
fn every_decision_that_is_named_exists() {
    let decisions = decisions();
    let known: BTreeSet<String> = decisions
        .iter()
        .flat_map(|it| it.merged.iter().chain([&it.number]))
        .map(|number| format!("{number:04}"))
        .collect();
    let newest = decisions.last().unwrap().number;
    let lost: Vec<_> = (1..=newest).filter(|it| !known.contains(&format!("{it:04}"))).collect();
    assert!(lost.is_empty(), "these numbers have neither a file nor one that holds them: {lost:?}");
    for (file, text) in files() {
        if file == "fleet-tests/tests/described/decisions.rs" {
            continue;
        }
        for number in named(&text) {
            assert!(known.contains(number), "{file} names decision {number}: there is none");
        }
    }
}

#[test]
fn every_path_and_every_test_that_a_decision_names_exists() {
    let mut functions = BTreeSet::new();
    for (file, text) in files() {
        if Path::new(&file).extension().is_some_and(|it| it == "rs") {
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
            functions.extend(names.map(ToOwned::to_owned));
        }
    }
    for decision in decisions() {
        let file = &decision.file;
        let code = field(&decision.text, "Code");
        assert!(code.is_some(), "{file} names no code");
        let tests = field(&decision.text, "Tests");
        for test in tests.into_iter().flat_map(quoted) {
            assert!(functions.contains(test), "{file} names the test {test}: there is none");
        }
        for section in ["Context", "Decision", "Consequences"] {
            let head = format!("\n## {section}\n");
            assert!(decision.text.contains(&head), "{file} has no section {section}");
        }
    }
}

#[test]
fn every_path_in_a_document_exists() {
    let mut documents = files();
    documents.retain(|file, _| {
        let document = Path::new(file).extension().is_some_and(|it| it == "md");
        document && file != "CHANGELOG.md" && !file.starts_with("control/dashboard")
    });
    for (file, text) in documents {
        let above = root().join(&file);
        let above = above.parent().unwrap();
        for path in quoted(&text) {
            let folder = path.split('/').next().unwrap();
            let plain = !path.contains(|c: char| " \n{}*<>$…:()".contains(c));
            let path = path.split_once("::").map_or(path, |(path, _)| path);
            let built = path.split('/').any(|part| SKIPPED.contains(&part));
            if plain && !built && path.contains('/') && FOLDERS.contains(&folder) {
                assert!(root().join(path).exists(), "{file} names {path}: there is none");
            }
        }
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if !target.is_empty() && !target.contains(':') {
                assert!(above.join(target).exists(), "{file} links to {link}: there is none");
            }
        }
    }
}

#[test]
fn every_decision_is_in_the_index() {
    let index = fs::read_to_string(root().join("docs/decisions/README.md")).unwrap();
    for decision in decisions() {
        let (number, file) = (decision.number, &decision.file);
        let row = format!("| [{number:04}]({file}) | {} | ", decision.title());
        assert!(index.contains(&row), "the index has no row {row:?}");
        for merged in &decision.merged {
            let row = format!("| {merged:04} | merged into [{number:04}]({file}) | ");
            assert!(index.contains(&row), "the index has no row {row:?}");
        }
    }
}

#[test]
fn every_accepted_decision_is_named_by_code() {
    let mut by_code = BTreeSet::new();
    for (file, text) in files() {
        let document = Path::new(&file).extension().is_some_and(|it| it == "md");
        if !document && file != "fleet-tests/tests/described/decisions.rs" {
            by_code.extend(named(&text).into_iter().map(ToOwned::to_owned));
        }
    }
    let decisions = decisions();
    let unnamed: Vec<&str> = decisions
        .iter()
        .filter(|it| field(&it.text, "Status").unwrap().starts_with("accepted"))
        .filter(|it| !field(&it.text, "Code").unwrap().contains("no code: "))
        .filter(|it| !by_code.contains(&format!("{:04}", it.number)))
        .map(|it| it.file.as_str())
        .collect();
    assert!(
        unnamed.is_empty(),
        "no source names these decisions (add `See decision NNNN.` to the head of the file that \
         rests on it, or write `no code: why` behind its paths): {unnamed:#?}"
    );
}

#[test]
fn every_type_in_the_glossary_exists() {
    let mut types = BTreeSet::new();
    for (_, text) in files().into_iter().filter(|(file, _)| file.ends_with(".rs")) {
        for word in ["struct ", "enum ", "trait ", "type "] {
            let names = text.split(word).skip(1);
            let end = |rest: &str| rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(0);
            types.extend(names.filter_map(|rest| rest.get(..end(rest))).map(ToOwned::to_owned));
        }
    }
    let glossary = fs::read_to_string(root().join("docs/glossary.md")).unwrap();
    let mut before = String::new();
    for row in glossary.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let mut cells = row.split('|').skip(1);
        let (term, meaning) = (cells.next().unwrap().trim(), cells.next().unwrap());
        let order = term.to_lowercase();
        assert!(before <= order, "{term} stands behind {before}");
        before = order;
        for name in quoted(meaning) {
            let is_type = name.starts_with(|c: char| c.is_ascii_uppercase())
                && name.chars().all(|c| c.is_ascii_alphanumeric());
            // Kinds of documents are words of the product, not of the code.
            let is_kind = ["Workload", "Stream", "DevicePolicy"].contains(&name);
            assert!(!is_type || is_kind || types.contains(name), "{term} names {name}");
        }
    }
}
