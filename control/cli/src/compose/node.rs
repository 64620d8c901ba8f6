//! Values of a YAML text with the line of each, and a cursor that names the path of what it reads.

use std::cell::RefCell;
use std::collections::BTreeSet;

use holdfast_api::path::{path_of, shorten};

use super::notes::{At, Level, Notes};

/// Value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Place of the value.
    pub(super) at: At,
    /// Content of the value.
    pub(super) tree: Tree,
    /// Mark of Compose for what merging does with the value.
    pub(super) mark: Mark,
}

/// Mark of Compose for what merging does with a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mark {
    /// None: it is merged.
    #[default]
    Merged,
    /// `!reset`: the key is gone.
    Reset,
    /// `!override`: the value takes the place of the former one.
    Override,
}

/// Content of a value. Numbers and truth values are kept as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tree {
    /// No value.
    Null,
    /// Text, number or truth value.
    Text(String),
    /// List of values.
    List(Vec<Node>),
    /// Object, in the order of the text.
    Map(Vec<Entry>),
}

/// Key of an object, and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Key.
    pub(super) key: String,
    /// Place of the key.
    pub(super) at: At,
    /// Value.
    pub(super) value: Node,
}

impl Node {
    /// Makes a value without a mark.
    pub(super) fn new(at: At, tree: Tree) -> Self {
        Self { at, tree, mark: Mark::Merged }
    }

    /// Returns the value of a key. None: there is none, or the value is no object.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// Returns a key with its value.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// Returns the keys of an object. Empty: there are none, or the value is no object.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.tree {
            Tree::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Returns a text, number or truth value as it was written.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.tree {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Calls a function with each text of the value.
    pub(super) fn each_text<'a>(&'a self, call: &mut impl FnMut(&'a Self, &'a str)) {
        match &self.tree {
            Tree::Null => {}
            Tree::Text(text) => call(self, text),
            Tree::List(items) => items.iter().for_each(|item| item.each_text(call)),
            Tree::Map(entries) => entries.iter().for_each(|entry| entry.value.each_text(call)),
        }
    }
}

/// Value of a Compose file with its path, and the messages that are collected.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    /// Value.
    pub(super) node: &'a Node,
    /// Place of the key, or of the value in a list.
    pub(super) at: At,
    /// Path, such as `services.web.ports[0]`.
    pub(super) path: String,
    notes: &'a Notes,
}

impl<'a> Item<'a> {
    /// Makes the cursor of a whole file.
    pub(super) fn root(node: &'a Node, notes: &'a Notes) -> Self {
        Self { node, at: node.at, path: String::new(), notes }
    }

    fn add(&self, level: Level, text: impl Into<String>) {
        self.notes.add(level, self.at, &self.path, text);
    }

    /// Says that the value is not valid.
    pub(super) fn fault(&self, text: impl Into<String>) {
        self.add(Level::Fault, text);
    }

    /// Says that the value cannot be honoured, and that this changes what the containers do.
    pub(super) fn unsupported(&self, text: impl Into<String>) {
        self.add(Level::Unsupported, text);
    }

    /// Says that the value is not honoured, which changes nothing that matters.
    pub(super) fn warning(&self, text: impl Into<String>) {
        self.add(Level::Warning, text);
    }

    /// Says what became of the value.
    pub(super) fn note(&self, text: impl Into<String>) {
        self.add(Level::Note, text);
    }

    /// Says that the value is not what its key takes.
    pub(super) fn expected(&self, what: &str) {
        match &self.node.tree {
            Tree::Text(text) => self.fault(format!("{:?}: expected {what}", shorten(text))),
            Tree::Null => self.fault(format!("no value: expected {what}")),
            Tree::List(_) => self.fault(format!("a list: expected {what}")),
            Tree::Map(_) => self.fault(format!("an object: expected {what}")),
        }
    }

    fn child(&self, key: &str, at: At, node: &'a Node) -> Self {
        Self { node, at, path: path_of(&self.path, key), notes: self.notes }
    }

    /// Returns the same value under another path.
    pub(super) fn with_path(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    /// Returns the text of the value. Notes a fault if it is none.
    pub(super) fn text(&self) -> Option<&'a str> {
        let text = self.node.text();
        if text.is_none() {
            self.expected("a text");
        }
        text
    }

    /// Returns the truth value. Notes a fault if it is none.
    pub(super) fn flag(&self) -> Option<bool> {
        match self.node.text().map(str::to_ascii_lowercase).as_deref() {
            Some("true" | "yes" | "on" | "y") => Some(true),
            Some("false" | "no" | "off" | "n") => Some(false),
            _ => {
                self.expected("true or false");
                None
            }
        }
    }

    /// Reads the text of the value. Notes a fault with `what` if it cannot be read.
    pub(super) fn parsed<T>(&self, what: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = self.node.text().and_then(parse);
        if value.is_none() {
            self.expected(what);
        }
        value
    }

    /// Returns the values of a list. Notes a fault if it is none.
    pub(super) fn list(&self) -> Vec<Self> {
        let Tree::List(items) = &self.node.tree else {
            self.expected("a list");
            return Vec::new();
        };
        let item = |(index, node): (usize, &'a Node)| Self {
            node,
            at: node.at,
            path: format!("{}[{index}]", self.path),
            notes: self.notes,
        };
        items.iter().enumerate().map(item).collect()
    }

    /// Returns the value itself if it is a text, otherwise the values of a list.
    pub(super) fn one_or_list(&self) -> Vec<Self> {
        if self.node.text().is_some() { vec![self.clone()] } else { self.list() }
    }

    /// Returns the keys of an object with their values. Notes a fault if it is none.
    pub(super) fn entries(&self) -> Vec<(&'a str, Self)> {
        let Tree::Map(entries) = &self.node.tree else {
            if self.node.tree != Tree::Null {
                self.expected("an object");
            }
            return Vec::new();
        };
        let child =
            |entry: &'a Entry| (entry.key.as_str(), self.child(&entry.key, entry.at, &entry.value));
        entries.iter().map(child).collect()
    }

    /// Returns the entries of an object, or of a list of texts in which `ends` divides key and value.
    pub(super) fn pairs(&self, ends: &[char]) -> Vec<(String, Option<String>, Self)> {
        if !matches!(self.node.tree, Tree::List(_)) {
            let value = |item: &Self| match &item.node.tree {
                Tree::Null => None,
                _ => item.text().map(ToOwned::to_owned),
            };
            let all = self.entries().into_iter();
            return all.map(|(key, item)| (key.to_owned(), value(&item), item)).collect();
        }
        let divided = |item: Self| {
            let text = item.text()?;
            let (key, value) = match text.split_once(ends) {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (text, None),
            };
            Some((key.to_owned(), value, item))
        };
        self.list().into_iter().filter_map(divided).collect()
    }

    /// Reads the object by its keys.
    pub(super) fn fields(&self) -> Fields<'a> {
        if !matches!(self.node.tree, Tree::Map(_) | Tree::Null) {
            self.expected("an object");
        }
        Fields { item: self.clone(), taken: RefCell::default() }
    }
}

/// Object whose keys are read one by one, so that none is passed over in silence.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    /// The object itself.
    pub(super) item: Item<'a>,
    taken: RefCell<BTreeSet<&'a str>>,
}

/// Key that is not honoured, with what is said of it. An empty text: nothing is lost by it.
pub(super) type Known = (&'static str, Level, &'static str);

impl<'a> Fields<'a> {
    /// Returns the value of a key. None: there is none.
    pub(super) fn get(&self, key: &str) -> Option<Item<'a>> {
        let entry = self.item.node.entry(key)?;
        self.taken.borrow_mut().insert(&entry.key);
        let item = self.item.child(&entry.key, entry.at, &entry.value);
        (entry.value.tree != Tree::Null).then_some(item)
    }

    /// Says of each key that was not asked for what becomes of it: those of `known` as it stands
    /// there, others as keys that are not known. Keys that begin with `x-` are anybody's own.
    pub(super) fn end(&self, known: &[Known]) {
        for (key, item) in self.item.entries() {
            if self.taken.borrow().contains(key) || key.starts_with("x-") {
                continue;
            }
            match known.iter().find(|(name, ..)| *name == key) {
                Some((_, _, "")) => {}
                Some((_, level, text)) => item.add(*level, *text),
                None => {
                    item.unsupported(
                        "no key of the Compose specification that is known here; is it misspelt?",
                    );
                }
            }
        }
    }
}
