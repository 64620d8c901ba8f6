//! Contracts by type: errors between modules are enums, and no decision is made by an English text.
//!
//! The searches are of texts and find the usual forms. They do not find a text that was put into a
//! variable of another name first.
//!
//! See decision 0144.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::{root, sources};

/// Folders of the shipped sources.
const SHIPPED: [&str; 17] = [
    "control/age/src",
    "control/oci/src",
    "control/delta/src",
    "protocol/delta/src",
    "protocol/base/src",
    "protocol/records/src",
    "protocol/query/src",
    "protocol/mqtt/src",
    "protocol/mqtt-host/src",
    "protocol/src",
    "agent/core/src",
    "agent/src",
    "control/api/src",
    "control/ports/src",
    "control/core/src",
    "control/cli/src",
    "control/src",
];

/// Files with `Result<_, String>`, how many each may have, and why.
const TEXTS: [(&str, usize, &str); 6] = [
    ("control/cli/src/args.rs", 2, PARSER),
    ("control/cli/src/args/format.rs", 1, PARSER),
    ("control/cli/src/moment.rs", 3, PARSER),
    ("control/cli/src/serve_args.rs", 1, PARSER),
    ("control/src/adapters/oidc.rs", 2, PROVIDER),
    ("control/src/service/people/provider_http.rs", 1, PROVIDER),
];

/// Reason of a text in the value parsers of the command lines.
const PARSER: &str = "a value parser of clap, which prints the text after the option's name";

/// Reason of the text in what a provider did not answer.
const PROVIDER: &str = "what failed on the way to a provider, which is shown and decides nothing";

/// Sources that look into texts, and why that decides nothing.
const READERS: [(&str, &str); 13] = [
    ("agent/core/src/container/dialect.rs", "Podman answers almost everything with 500 and a text"),
    ("agent/src/adapters/neighbours/addresses.rs", "reads the kernel's table of addresses"),
    ("control/api/src/words.rs", "translates serde_json's texts, which has no types for them"),
    ("control/cli/src/yaml.rs", "translates a text of the YAML parser without a type"),
    ("control/cli/src/client.rs", "translates texts of the HTTP library without types"),
    ("control/cli/src/login.rs", "finds the certificate between its marks"),
    ("control/src/adapters/notify/smtp.rs", "finds certificates between their marks"),
    ("control/core/src/admission/at.rs", "does not quote a text twice"),
    ("control/core/src/activity.rs", "says once what a reason begins with"),
    ("control/core/src/secrets/template.rs", "reads a template, whose default stands behind `:-`"),
    ("control/core/src/kinds/sample.rs", "a kind of the tests alone"),
    ("control/dashboard/src/login/form.ts", "chooses the words beside its own label"),
    ("control/dashboard/src/lib/activity.ts", "leaves out a name that stands beside the text"),
];

/// Code of a source: without its tests and comments.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code = code.split("#[cfg(test)]\npub(crate) mod tests").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Sources that are shipped, by their paths, without tests.
fn shipped() -> BTreeMap<String, String> {
    let all = sources(&SHIPPED).into_iter();
    let all = all.map(|(path, text)| (path.to_string_lossy().into_owned(), code(&text)));
    all.filter(|(path, _)| path.contains("/src/") && !path.contains("/tests/")).collect()
}

/// Number of types `Result<_, String>` in a text.
fn results_with_a_text(code: &str) -> usize {
    let with_a_text = |rest: &str| {
        let (mut depth, mut last, mut before) = (1, 0, ' ');
        for (at, letter) in rest.char_indices() {
            match letter {
                '<' | '(' | '[' => depth += 1,
                '>' if before == '-' => {}
                '>' | ')' | ']' => depth -= 1,
                ',' if depth == 1 => last = at + 1,
                _ => {}
            }
            if depth == 0 {
                return last > 0 && rest.get(last..at).is_some_and(|it| it.trim() == "String");
            }
            before = letter;
        }
        false
    };
    let all = code.match_indices("Result<").map(|(at, found)| at + found.len());
    all.filter(|from| code.get(*from..).is_some_and(with_a_text)).count()
}

#[test]
fn errors_between_modules_are_types() {
    assert_eq!(results_with_a_text("fn a() -> Result<(), String>; b: Result<u8, E>"), 1);
    assert_eq!(results_with_a_text("Option<Result<Result<(), String>, String>> Result<String>"), 2);
    assert_eq!(results_with_a_text("fn(&str) -> Result<(String, String), IdError>"), 0);
    let mut wrong = Vec::new();
    for (path, code) in shipped() {
        let may = TEXTS.iter().find(|(file, ..)| *file == path).map_or(0, |(_, may, _)| *may);
        let has = results_with_a_text(&code);
        if has > may {
            wrong.push(format!("{path}: {has}, and {may} have a reason in TEXTS"));
        }
    }
    assert!(wrong.is_empty(), "Result<_, String>: make the error an enum\n{}", wrong.join("\n"));
}

/// True for a text in which two words stand beside each other.
fn is_english(text: &str) -> bool {
    let word = |word: &str| word.len() > 1 && word.bytes().all(|it| it.is_ascii_alphabetic());
    let words: Vec<&str> = text.split(' ').collect();
    words.windows(2).any(|pair| pair.iter().all(|it| word(it.trim_end_matches([',', ':', '.']))))
}

/// Places of a text that look into an English text: by a literal that is one, or in a value that is
/// named as errors and their texts are.
fn looks_into_texts(code: &str, calls: &[&str]) -> Vec<String> {
    let named = ["error", "why", "message", "reason", "failure", "said"];
    let mut found = Vec::new();
    for call in calls {
        for (at, _) in code.match_indices(call) {
            let (before, after) = code.split_at(at);
            let mut before = before.trim_end();
            for step in [".to_string()", ".as_str()", ".text", "?"] {
                before = before.strip_suffix(step).unwrap_or(before);
            }
            let name = before.rsplit(|it: char| !it.is_alphanumeric() && it != '_').next();
            let argument = after.strip_prefix(call).unwrap_or(after).trim_start();
            let literal = argument.strip_prefix('"').and_then(|rest| rest.split('"').next());
            if literal.is_some_and(is_english) || name.is_some_and(|name| named.contains(&name)) {
                let line = argument.lines().next().unwrap_or_default();
                found.push(format!("{}{call}{line}", name.unwrap_or_default()));
            }
        }
    }
    for (at, equals) in code.match_indices("== \"") {
        let rest = code.get(at + equals.len()..).unwrap_or_default();
        let literal = rest.split('"').next().unwrap_or_default();
        if !literal.contains('\n') && is_english(literal) {
            found.push(format!("== {literal:?}"));
        }
    }
    found
}

const RUST: [&str; 7] = [
    ".contains(",
    ".starts_with(",
    ".ends_with(",
    ".strip_prefix(",
    ".strip_suffix(",
    ".find(",
    ".split_once(",
];

const TYPESCRIPT: [&str; 6] =
    [".includes(", ".startsWith(", ".endsWith(", ".match(", ".search(", ".indexOf("];

/// Sources of the pages, without tests and without what is generated.
fn pages() -> Vec<(String, String)> {
    let root = root();
    let mut folders = vec![root.join("control/dashboard/src")];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
    let is_source = |path: &String| {
        (path.ends_with(".ts") || path.ends_with(".tsx"))
            && !path.contains(".test.")
            && !path.ends_with("schema.d.ts")
    };
    let files = files.iter().map(name).filter(is_source);
    files.map(|path| (path.clone(), code(&super::read(&path)))).collect()
}

/// Regular expressions of the pages that are tried on the text of an error or a fault.
fn tested_texts(code: &str) -> Vec<String> {
    let tested = code.split(".test(").skip(1).filter_map(|rest| rest.split(')').next());
    let of_text = |it: &&str| {
        let mut words = it.split(|letter: char| !letter.is_alphanumeric());
        words.any(|word| matches!(word, "message" | "reason" | "why" | "error"))
    };
    tested.filter(of_text).map(|it| format!(".test({it})")).collect()
}

#[test]
fn no_decision_is_made_by_an_english_text() {
    for wrong in [
        "if message.contains(TOO_MANY) {",
        "error.to_string().starts_with(\"a\")",
        "x.contains(\"cannot listen on\")",
        "if text == \"is offline\" {",
    ] {
        assert_eq!(looks_into_texts(wrong, &RUST).len(), 1, "{wrong}");
    }
    for right in ["path.starts_with(\"/api/\")", "known.contains(\"kebab-case\")", "== \"paused\""]
    {
        assert_eq!(looks_into_texts(right, &RUST), Vec::<String>::new(), "{right}");
    }
    assert_eq!(tested_texts("/^(is missing)/.test(fault.message)").len(), 1);
    let mut wrong = Vec::new();
    let is_reader = |path: &str| READERS.iter().any(|(file, _)| *file == path);
    for (path, code) in shipped().into_iter().filter(|(path, _)| !is_reader(path)) {
        wrong.extend(looks_into_texts(&code, &RUST).into_iter().map(|it| format!("{path}: {it}")));
    }
    for (path, code) in pages().into_iter().filter(|(path, _)| !is_reader(path)) {
        let found = looks_into_texts(&code, &TYPESCRIPT).into_iter().chain(tested_texts(&code));
        wrong.extend(found.map(|it| format!("{path}: {it}")));
    }
    let help = "decide by a code or a type; where it decides nothing, say so in READERS";
    assert!(wrong.is_empty(), "{help}\n{}", wrong.join("\n"));
}
