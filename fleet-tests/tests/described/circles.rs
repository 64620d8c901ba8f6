//! Circles of files: a file that uses a name of another one which, over any number of files, uses a
//! name of the first. In a circle no file can be understood before the others.
//!
//! The finder reads tokens, not types. A file depends on another one if it names something defined
//! there, by a `use` or by a path, also through re-exports. Comments, texts and items under
//! `#[cfg(test)]` do not count. What it does not see: methods and associated items (a call `x.f()`
//! depends on the file of the type of `x`, which somebody names), names that a macro makes (taken
//! for names of the module in whose path they stand), and what a macro's body names at its call.
//! A module's root that declares and re-exports its children depends on them only where it uses them.
#![allow(
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test: a source that it cannot read fails it"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::root;

/// Folders of the crates.
const CRATES: [&str; 18] = [
    "agent",
    "agent/core",
    "control",
    "control/age",
    "control/api",
    "control/cli",
    "control/core",
    "control/delta",
    "control/ports",
    "control/rows",
    "fleet-tests",
    "protocol",
    "protocol/base",
    "protocol/delta",
    "protocol/mqtt",
    "protocol/mqtt-host",
    "protocol/query",
    "protocol/records",
];

/// Most re-exports that one name passes through.
const HOPS: usize = 16;

/// Words that begin an item with a name.
const ITEMS: [&str; 8] = ["fn", "struct", "enum", "trait", "type", "const", "static", "mod"];

/// Words that an item can begin with, by which it is told from a variant, a field or an arm.
const BEGINS: [&str; 14] = [
    "pub",
    "fn",
    "struct",
    "enum",
    "trait",
    "type",
    "const",
    "static",
    "mod",
    "use",
    "impl",
    "let",
    "async",
    "macro_rules",
];

fn is_word(one: char) -> bool {
    one.is_alphanumeric() || one == '_'
}

fn is_name(token: &str) -> bool {
    token.starts_with(|one: char| one.is_alphabetic() || one == '_')
}

/// Returns the place behind the comment, text, character or lifetime at `place`. None: it is code.
fn skipped(chars: &[char], mut place: usize) -> Option<usize> {
    let at = |place: usize| chars.get(place).copied().unwrap_or('\0');
    let until = |place: usize, end: &dyn Fn(char) -> bool| {
        (place..chars.len()).find(|place| end(at(*place))).unwrap_or(chars.len())
    };
    match (at(place), at(place + 1)) {
        ('/', '/') => Some(until(place, &|one| one == '\n')),
        ('/', '*') => {
            let mut depth = 0;
            loop {
                match (at(place), at(place + 1)) {
                    ('/', '*') => (depth, place) = (depth + 1, place + 2),
                    ('*', '/') => (depth, place) = (depth - 1, place + 2),
                    _ => place += 1,
                }
                if depth == 0 || place >= chars.len() {
                    return Some(place);
                }
            }
        }
        ('"', _) => {
            place += 1;
            while place < chars.len() && at(place) != '"' {
                place += if at(place) == '\\' { 2 } else { 1 };
            }
            Some(place + 1)
        }
        ('\'', '\\') => Some(until(place + 3, &|one| one == '\'') + 1),
        ('\'', _) if at(place + 2) == '\'' => Some(place + 3),
        ('\'', _) => Some(until(place + 1, &|one| !is_word(one))),
        _ => None,
    }
}

/// Returns the place behind a raw text whose quotes begin at `place`. None: none begins there.
fn behind_raw(chars: &[char], place: usize) -> Option<usize> {
    let hashes = chars[place..].iter().take_while(|one| **one == '#').count();
    let begin = place + hashes + 1;
    if chars.get(begin - 1) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"').chain((0..hashes).map(|_| '#')).collect();
    let inside = chars[begin..].windows(end.len()).position(|part| part == end);
    Some(inside.map_or(chars.len(), |inside| begin + inside + end.len()))
}

/// Returns code without comments, texts and lifetimes.
fn stripped(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::new();
    let mut place = 0;
    while let Some(one) = chars.get(place) {
        if let Some(behind) = skipped(&chars, place) {
            code.push(' ');
            place = behind;
        } else if is_word(*one) {
            let word: String = chars[place..].iter().take_while(|one| is_word(**one)).collect();
            place += word.chars().count();
            let is_raw = matches!(word.as_str(), "r" | "br" | "cr");
            match is_raw.then(|| behind_raw(&chars, place)).flatten() {
                Some(behind) => place = behind,
                None => code.push_str(&word),
            }
        } else {
            code.push(*one);
            place += 1;
        }
    }
    code
}

/// Words, numbers and signs of code; `::` is one sign.
fn tokens(code: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(one) = chars.next() {
        if one.is_whitespace() {
            continue;
        }
        let mut token = one.to_string();
        if is_word(one) {
            while let Some(more) = chars.next_if(|one| is_word(*one)) {
                token.push(more);
            }
        } else if one == ':' && chars.next_if_eq(&':').is_some() {
            token.push(':');
        }
        all.push(token);
    }
    all
}

/// Returns the place behind the bracket that closes the one at `place`.
fn closed(tokens: &[String], place: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(place) {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// Returns the place behind the item, variant, field or arm that begins at `place`.
fn item_end(tokens: &[String], mut place: usize) -> usize {
    while tokens.get(place).is_some_and(|token| token == "#") {
        place = closed(tokens, place + 1);
    }
    let is_item = tokens.get(place).is_some_and(|token| BEGINS.contains(&token.as_str()));
    while let Some(token) = tokens.get(place) {
        match token.as_str() {
            "{" => return closed(tokens, place),
            "(" | "[" => place = closed(tokens, place),
            ";" => return place + 1,
            "," if !is_item => return place + 1,
            "}" | ")" | "]" => return place,
            _ => place += 1,
        }
    }
    place
}

/// Removes what is compiled for tests alone.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut place = 0;
    while place < tokens.len() {
        if tokens[place..].iter().take(TEST.len()).eq(TEST.iter()) {
            place = item_end(tokens, place);
        } else {
            kept.push(tokens[place].clone());
            place += 1;
        }
    }
    kept
}

/// Leaf of a `use`.
#[derive(Debug, Clone)]
struct Use {
    path: Vec<String>,
    /// Name by which the file uses it; `*` for all names of the path, `_` for none.
    name: String,
    /// True if it hands the name on.
    public: bool,
}

/// Reads the tree of a `use` at `place`, and returns the place behind it.
fn read_use(
    tokens: &[String],
    mut place: usize,
    before: &[String],
    public: bool,
    found: &mut Vec<Use>,
) -> usize {
    let mut path = before.to_vec();
    while let Some(token) = tokens.get(place) {
        match token.as_str() {
            "::" => place += 1,
            "{" => {
                place += 1;
                while tokens.get(place).is_some_and(|token| token != "}") {
                    place = read_use(tokens, place, &path, public, found);
                    place += usize::from(tokens.get(place).is_some_and(|token| token == ","));
                }
                return place + 1;
            }
            "as" => {
                let name = tokens.get(place + 1).cloned().unwrap_or_default();
                found.push(Use { path, name, public });
                return place + 2;
            }
            "," | ";" | "}" => break,
            word => {
                path.push(word.to_owned());
                place += 1;
            }
        }
    }
    if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
        path.pop();
    }
    let name = path.last().cloned().unwrap_or_default();
    if name == "*" {
        path.pop();
    }
    found.push(Use { path, name, public });
    place
}

/// Module with a file of its own.
#[derive(Debug, Default)]
struct Module {
    /// Place of the file, from the root of the repository.
    file: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Names defined at the top of the file.
    defined: BTreeSet<String>,
    uses: Vec<Use>,
    /// Paths in the code, as they stand there; single words too.
    paths: BTreeSet<Vec<String>>,
    /// Modules declared with a file of their own.
    declared: Vec<String>,
}

impl Module {
    fn read(file: String, parent: Option<usize>, text: &str) -> Self {
        let tokens = without_tests(&tokens(&stripped(text)));
        let mut module = Self { file, parent, ..Self::default() };
        let mut depth = 0;
        let mut place = 0;
        while let Some(token) = tokens.get(place) {
            let next = tokens.get(place + 1).map(String::as_str).unwrap_or_default();
            let before = place.checked_sub(1).map(|at| tokens[at].as_str()).unwrap_or_default();
            match token.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                "use" if next != "<" => {
                    let public = matches!(before, "pub" | ")");
                    place = read_use(&tokens, place + 1, &[], public, &mut module.uses);
                    continue;
                }
                "macro_rules" if next == "!" => {
                    module.defined.extend(tokens.get(place + 2).cloned());
                }
                "mod" if tokens.get(place + 2).is_some_and(|token| token == ";") => {
                    module.declared.push(next.to_owned());
                }
                word if ITEMS.contains(&word) && depth == 0 && !ITEMS.contains(&next) => {
                    module.defined.insert(next.to_owned());
                }
                word if is_name(word) && before != "." && before != "::" => {
                    place = module.path(&tokens, place);
                    continue;
                }
                _ => {}
            }
            place += 1;
        }
        module
    }

    /// Notes the path that begins at `place`, and returns the place behind it.
    fn path(&mut self, tokens: &[String], mut place: usize) -> usize {
        let mut path = vec![tokens[place].clone()];
        place += 1;
        while tokens.get(place).is_some_and(|token| token == "::")
            && tokens.get(place + 1).is_some_and(|token| is_name(token))
        {
            path.push(tokens[place + 1].clone());
            place += 2;
        }
        self.paths.insert(path);
        place
    }
}

/// Modules of a crate.
#[derive(Debug, Default)]
struct Tree {
    modules: Vec<Module>,
}

impl Tree {
    /// Reads a crate from its root's file on. `read` returns the text of a file, None if there is
    /// no such file.
    fn read(root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Self {
        let mut tree = Self::default();
        let mut waiting = vec![(root.to_owned(), root.parent().unwrap().to_owned(), None)];
        while let Some((file, folder, above)) = waiting.pop() {
            let Some(text) = read(&file) else { panic!("{} is not there", file.display()) };
            let parent = above.as_ref().map(|(parent, _)| *parent);
            let module = Module::read(file.display().to_string(), parent, &text);
            let at = tree.modules.len();
            for name in &module.declared {
                let (flat, own) = (format!("{name}.rs"), folder.join(name));
                let flat = folder.join(flat);
                let file = if read(&flat).is_some() { flat } else { own.join("mod.rs") };
                waiting.push((file, own, Some((at, name.clone()))));
            }
            tree.modules.push(module);
            if let Some((parent, name)) = above {
                tree.modules[parent].children.insert(name, at);
            }
        }
        tree
    }

    /// Returns the module in whose file a path ends that stands in the code of module `at`. None: it
    /// leads out of the crate, or to a module itself.
    fn find(&self, at: usize, path: &[String], hops: usize) -> Option<usize> {
        let (mut at, mut rest) = (at, path);
        let mut inside = false;
        while let Some((first, more)) = rest.split_first() {
            match first.as_str() {
                "crate" => at = 0,
                "self" => {}
                "super" => at = self.modules[at].parent?,
                name => return self.find_name(at, name, more, inside, hops),
            }
            (rest, inside) = (more, true);
        }
        None
    }

    fn find_name(
        &self,
        at: usize,
        name: &str,
        rest: &[String],
        inside: bool,
        hops: usize,
    ) -> Option<usize> {
        let module = &self.modules[at];
        if let Some(child) = module.children.get(name) {
            let (first, rest) = rest.split_first()?;
            return self.find_name(*child, first, rest, true, hops);
        }
        if module.defined.contains(name) {
            return Some(at);
        }
        let hops = hops.checked_sub(1)?;
        if name == "_" {
            return None;
        }
        if let Some(known) = module.uses.iter().find(|known| known.name == name) {
            let path: Vec<String> = known.path.iter().chain(rest).cloned().collect();
            return self.find(at, &path, hops);
        }
        let mut globs = module.uses.iter().filter(|known| known.name == "*");
        let through = globs.find_map(|glob| {
            let mut path = glob.path.clone();
            path.push(name.to_owned());
            path.extend_from_slice(rest);
            let found = self.find(at, &path, hops)?;
            self.modules[found].defined.contains(name).then_some(found)
        });
        through.or(inside.then_some(at))
    }

    /// Returns which files use names of which others, with the names.
    fn arrows(&self) -> BTreeMap<(usize, usize), BTreeSet<String>> {
        let mut arrows: BTreeMap<(usize, usize), BTreeSet<String>> = BTreeMap::new();
        for (at, module) in self.modules.iter().enumerate() {
            // A private `use` counts by itself: the trait that it brings in is named nowhere else.
            let private = module.uses.iter().filter(|known| !known.public);
            for path in private.map(|known| &known.path).chain(&module.paths) {
                if let Some(to) = self.find(at, path, HOPS)
                    && to != at
                {
                    arrows.entry((at, to)).or_default().insert(path.join("::"));
                }
            }
        }
        arrows
    }

    /// Returns the circles: sets of files that each lead to each other, with the arrows between them.
    fn circles(&self) -> Vec<Circle> {
        let arrows = self.arrows();
        let reach = |from: usize| {
            let (mut seen, mut waiting) = (BTreeSet::new(), vec![from]);
            while let Some(at) = waiting.pop() {
                let next = arrows.keys().filter(|(one, _)| *one == at).map(|(_, to)| *to);
                waiting.extend(next.filter(|to| seen.insert(*to)));
            }
            seen
        };
        let all: Vec<BTreeSet<usize>> = (0..self.modules.len()).map(reach).collect();
        let mut circles = BTreeMap::new();
        for (at, reached) in all.iter().enumerate() {
            let back = reached.iter().copied().filter(|to| all[*to].contains(&at));
            let circle: BTreeSet<usize> = back.collect();
            if circle.len() > 1 {
                circles.insert(circle, ());
            }
        }
        let file = |at: usize| self.modules[at].file.clone();
        let told = |circle: BTreeSet<usize>| {
            let inside =
                arrows.iter().filter(|((a, b), _)| circle.contains(a) && circle.contains(b));
            let arrow = |((from, to), names): (&(usize, usize), &BTreeSet<String>)| {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                format!("{} -> {}: {}", file(*from), file(*to), names.join(", "))
            };
            let arrows = inside.map(arrow).collect();
            Circle { files: circle.iter().map(|at| file(*at)).collect(), arrows }
        };
        circles.into_keys().map(told).collect()
    }
}

/// Files that lead to each other.
#[derive(Debug)]
struct Circle {
    files: BTreeSet<String>,
    /// Arrows between them: file, other file, and the names that the first uses of the second.
    arrows: Vec<String>,
}

/// Returns the files from which the crates in a folder are compiled.
fn roots(folder: &str) -> Vec<PathBuf> {
    let source = Path::new(folder).join("src");
    let mut roots = vec![source.join("lib.rs"), source.join("main.rs")];
    if let Ok(entries) = fs::read_dir(root().join(source.join("bin"))) {
        roots.extend(entries.map(|entry| source.join("bin").join(entry.unwrap().file_name())));
    }
    roots.retain(|path| root().join(path).is_file());
    roots
}

#[test]
fn no_files_lead_to_each_other() {
    let read = |path: &Path| fs::read_to_string(root().join(path)).ok();
    let mut found = Vec::new();
    let mut files = 0;
    for folder in CRATES {
        let roots = roots(folder);
        assert!(!roots.is_empty(), "{folder} is elsewhere now");
        for path in roots {
            let tree = Tree::read(&path, &read);
            files += tree.modules.len();
            found.extend(tree.circles());
        }
    }
    assert!(files > 400, "only {files} files were found");
    let told = found.iter().map(|circle| {
        format!("a circle of {} files:\n  {}\n", circle.files.len(), circle.arrows.join("\n  "))
    });
    assert!(found.is_empty(), "{}", told.collect::<String>());
}

/// Circles of a crate of these files, without the arrows.
fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let read = |path: &Path| {
        let found = files.iter().find(|(file, _)| Path::new(file) == path);
        found.map(|(_, text)| (*text).to_owned())
    };
    let circles = Tree::read(Path::new("src/lib.rs"), &read).circles();
    circles.into_iter().map(|circle| circle.files.into_iter().collect()).collect()
}

#[test]
fn the_finder_finds_circles_and_nothing_else() {
    let root = "pub mod a; pub mod b; mod c; pub use c::Leaf;";
    let leaf = "pub struct Leaf; pub const MOST: u8 = 1;";
    let of = |a: &str, b: &str| {
        let files =
            [("src/lib.rs", root), ("src/a.rs", a), ("src/b/mod.rs", b), ("src/c.rs", leaf)];
        circles_of(&files)
    };
    let pair = [["src/a.rs", "src/b/mod.rs"]];
    let uses_b = "use super::b::B; pub struct A(B);";
    assert_eq!(of(uses_b, "pub struct B(crate::a::A);"), pair, "a path in the code");
    assert_eq!(of(uses_b, "use crate::{a::A as Other}; pub struct B(Other);"), pair, "a group");
    assert_eq!(of(uses_b, "use crate::a; pub fn B() { a::A::new(); }"), pair, "through a module");
    assert_eq!(of(uses_b, "use super::a::*; pub struct B(A);"), pair, "through all names");
    assert_eq!(of(uses_b, "use super::a::A as _; pub struct B;"), pair, "a trait without a name");
    assert_eq!(of(uses_b, "pub struct B; // crate::a::A"), [[""; 0]; 0], "a comment");
    assert_eq!(of(uses_b, "pub struct B; /* /* */ crate::a::A */"), [[""; 0]; 0], "a comment");
    assert_eq!(of(uses_b, r##"pub const B: &str = r#"" crate::a::A"#;"##), [[""; 0]; 0], "a text");
    assert_eq!(of(uses_b, "pub struct B(char::<'a'>); use crate::a;"), [[""; 0]; 0], "a module");
    let test = "pub struct B; #[cfg(test)] mod tests { use crate::a::A; fn f(_: A) {} }";
    assert_eq!(of(uses_b, test), [[""; 0]; 0], "a test");
    let arm = "pub fn B() { match 1 { #[cfg(test)] 2 => crate::a::A, _ => {} } }";
    assert_eq!(of(uses_b, arm), [[""; 0]; 0], "an arm of a test");
    let handed_on = "use crate::Leaf; pub struct B(Leaf, crate::Leaf);";
    assert_eq!(of(uses_b, handed_on), [[""; 0]; 0], "the root hands on what a leaf defines");
}

#[test]
fn a_root_and_its_child_are_a_circle_if_they_use_each_other() {
    let of = |root: &str, child: &str| circles_of(&[("src/lib.rs", root), ("src/a.rs", child)]);
    let child = "use super::Root; pub struct A(Root);";
    assert_eq!(of("mod a; pub use a::A; pub struct Root;", child), [[""; 0]; 0]);
    let used = of("mod a; pub use a::A; pub struct Root; fn f(_: A) {}", child);
    assert_eq!(used, [["src/a.rs", "src/lib.rs"]]);
    assert_eq!(of("mod a; pub struct Root(a::A);", child), [["src/a.rs", "src/lib.rs"]]);
    assert_eq!(of("mod a; pub struct Root(a::A);", "pub struct A;"), [[""; 0]; 0]);
    let three = [
        ("src/lib.rs", "mod a; mod b; mod c;"),
        ("src/a.rs", "fn a() { super::b::b(); }"),
        ("src/b.rs", "fn b() { super::c::c(); }"),
        ("src/c.rs", "fn c() { super::a::a(); }"),
    ];
    assert_eq!(circles_of(&three), [["src/a.rs", "src/b.rs", "src/c.rs"]]);
}
