//! Documentation reads alone: counts how the documentation items of the whole repository begin.
//!
//! An item is a block of `///` or `//!` lines. It is headless when its first word is a pronoun, a
//! question word or a conjunction ("What is left", "Its number"), since a reader then needs the
//! neighbours to know what it is about. It is short when it has three words or fewer.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::{read, root};

/// Most headless items, in thousandths of all.
const HEADLESS: usize = 40;

/// Most short items, in thousandths of all.
const SHORT: usize = 60;

/// Number of offending items that a failure names.
const SHOWN: usize = 40;

/// First words of a headless item. `this` and `both` are among them although they may stand before
/// a noun: telling that apart is not worth it.
const POINTERS: &str = "what which who whom whose whoever whatever whichever why how when where \
                        whether it its itself they their them theirs he she his her that those \
                        these this as so and but or nor than then there otherwise also not of \
                        neither either both";

/// Documentation item: its line and the text of its lines.
struct Item<'a> {
    line: usize,
    text: Vec<&'a str>,
}

impl Item<'_> {
    /// Returns true for an item that begins with a code block or a table, and for an empty one.
    fn is_exempt(&self) -> bool {
        let first = self.text.first().map_or("", |line| line.trim());
        first.is_empty() || first.starts_with("```") || first.starts_with('|')
    }

    fn is_headless(&self) -> bool {
        let first = self.text.first().and_then(|line| line.split_whitespace().next());
        let kept = |letter: &char| letter.is_ascii_alphabetic() || *letter == '\'';
        let word: String = first.unwrap_or_default().chars().filter(kept).collect();
        let word = word.to_lowercase();
        let word = word.split('\'').next().unwrap_or_default();
        POINTERS.split_whitespace().any(|pointer| pointer == word)
    }

    fn is_short(&self) -> bool {
        self.text.iter().flat_map(|line| line.split_whitespace()).count() <= 3
    }
}

/// Returns the marker (`///` or `//!`) of a documentation line, and its text.
fn documented(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let (marker, text) = line.split_at_checked(3)?;
    let is_one = matches!(marker, "///" | "//!") && !text.starts_with('/');
    is_one.then(|| (marker, text.strip_prefix(' ').unwrap_or(text)))
}

/// Returns the documentation items of a source.
fn items(source: &str) -> Vec<Item<'_>> {
    let mut items: Vec<Item<'_>> = Vec::new();
    let mut open = None;
    for (number, line) in (1..).zip(source.lines()) {
        let found = documented(line);
        if let Some((marker, text)) = found {
            match items.last_mut().filter(|_| open == Some(marker)) {
                Some(item) => item.text.push(text),
                None => items.push(Item { line: number, text: vec![text] }),
            }
        }
        open = found.map(|(marker, _)| marker);
    }
    items
}

/// Returns every Rust source of the repository, relative to its root, in order.
fn sources() -> Vec<PathBuf> {
    let (root, mut found) = (root(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if entry.file_type().unwrap().is_dir() {
                if !name.starts_with('.') && name != "target" && name != "node_modules" {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                found.push(path.strip_prefix(&root).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Counts of items in a folder.
#[derive(Clone, Copy, Default)]
struct Count {
    items: usize,
    headless: usize,
    short: usize,
}

impl Count {
    fn add(&mut self, headless: bool, short: bool) {
        self.items += 1;
        self.headless += usize::from(headless);
        self.short += usize::from(short);
    }

    fn line(&self, name: &str) -> String {
        let percent = |part: usize| part as f64 * 100.0 / self.items.max(1) as f64;
        let Self { items, headless, short } = *self;
        format!(
            "{name:<12} {items:>6} items, {headless:>5} headless ({:>4.1} %), {short:>5} short ({:>4.1} %)",
            percent(headless),
            percent(short)
        )
    }
}

#[test]
fn documentation_can_be_read_item_by_item() {
    let mut folders: BTreeMap<String, Count> = BTreeMap::new();
    let mut total = Count::default();
    let mut offenders = Vec::new();
    for path in sources() {
        let source = read(path.to_str().unwrap());
        let top = path.iter().next().map_or_else(String::new, |top| top.to_string_lossy().into());
        for item in items(&source).iter().filter(|item| !item.is_exempt()) {
            let (headless, short) = (item.is_headless(), item.is_short());
            folders.entry(top.clone()).or_default().add(headless, short);
            total.add(headless, short);
            if headless || short {
                let kind = if headless { "headless" } else { "short" };
                let first = item.text.first().copied().unwrap_or_default();
                offenders.push(format!("{}:{}: {kind}: {first}", path.display(), item.line));
            }
        }
    }
    let mut lines: Vec<String> = folders.iter().map(|(name, count)| count.line(name)).collect();
    lines.push(total.line("total"));
    let table = lines.join("\n");
    println!("{table}");
    assert!(total.items > 1_000, "the repository's sources are elsewhere: {table}");
    let met = |part: usize, most: usize| part * 1_000 <= total.items * most;
    assert!(
        met(total.headless, HEADLESS) && met(total.short, SHORT),
        "At most 4 % of the documentation items may be headless, and 6 % have three words or \
         fewer.\n{table}\nBegin an item with a verb (\"Returns …\") or a noun phrase that can be \
         understood alone. The first {SHOWN}:\n{}",
        offenders.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn items_are_told_apart() {
    let source = "//! What it is.\n//! More.\n\n/// Whose.\nfn a() {}\n/// Returns\n/// a number of it.\n\
                  fn b() {}\n//// no documentation\n/// ```\n/// code\n/// It's late, so end.";
    let found: Vec<(usize, bool, bool)> = items(source)
        .iter()
        .filter(|item| !item.is_exempt())
        .map(|item| (item.line, item.is_headless(), item.is_short()))
        .collect();
    assert_eq!(found, [(1, true, false), (4, true, true), (6, false, false)]);
    assert!(items("/// It's late, so end.")[0].is_headless());
}
