//! Places in documents. A function of a place ([`At`]) is the only description of what may stand
//! there. It has two passes: one reads a value and notes every fault with its path, the other
//! writes the JSON Schema. So a field, its bounds and its description are written once.
//!
//! Reading does not stop at the first fault, and never panics, whatever the document holds.
//!
//! See decisions 0101 and 0147.

use std::cell::RefCell;

use holdfast_api::path::path_of;
use serde_json::{Map, Value, json};

use super::faults::{Faults, quote};
use holdfast_api::units::{self, NotAUnit};

/// Schema of a place while it is written: keywords with their values.
#[derive(Debug, Default)]
pub(super) struct Node(RefCell<Map<String, Value>>);

impl Node {
    /// Writes a keyword.
    pub(super) fn put(&self, keyword: &str, value: impl Into<Value>) {
        self.0.borrow_mut().insert(keyword.to_owned(), value.into());
    }

    /// Adds to the object behind a keyword.
    pub(super) fn put_below(&self, keyword: &str, key: &str, value: Value) {
        let mut node = self.0.borrow_mut();
        if let Some(object) = node.entry(keyword).or_insert_with(|| json!({})).as_object_mut() {
            object.insert(key.to_owned(), value);
        }
    }

    /// Adds to the list behind a keyword.
    pub(super) fn push(&self, keyword: &str, item: Value) {
        let mut node = self.0.borrow_mut();
        if let Some(items) = node.entry(keyword).or_insert_with(|| json!([])).as_array_mut() {
            items.push(item);
        }
    }
}

/// Pass over a document.
#[derive(Clone)]
enum Pass<'a> {
    /// Reads the value at `path`.
    Read { value: &'a Value, path: String, faults: &'a Faults },
    /// Writes the schema of the value. Nothing is read, and no fault is noted.
    Describe(&'a Node),
}

/// Place in a document: its value with its path, or its schema.
#[derive(Clone)]
pub(crate) struct At<'a> {
    pass: Pass<'a>,
}

/// Form of a quantity: its parser and what the schema says of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantity<T> {
    /// Parser of the text.
    pub(crate) parse: fn(&str) -> Result<T, NotAUnit>,
    /// Regular expression of the text. Empty: any text.
    pub(crate) pattern: &'static str,
    /// JSON type of a quantity without a unit, such as `number`. Empty: it needs its unit.
    pub(crate) bare: &'static str,
}

/// Regular expression of a duration.
const DURATION: &str = r"^[0-9]+(\.[0-9]{1,3})?(ms|s|m|h|d)$";

/// Words that may stand at a place, each with its description and its meaning.
pub(crate) struct Words<'w, T> {
    /// Description of the place.
    pub(crate) about: &'w str,
    /// Noun for faults, as in "unknown policy". May be empty.
    pub(crate) what: &'w str,
    /// Words, descriptions and meanings.
    pub(crate) list: &'w [(&'static str, &'static str, T)],
    /// Other forms that the value may have, for faults.
    pub(crate) or: &'w [&'w str],
}

impl<T: Clone> Words<'_, T> {
    fn meaning(&self, text: &str) -> Option<T> {
        let found = self.list.iter().find(|(word, ..)| *word == text);
        found.map(|(_, _, meaning)| meaning.clone())
    }

    /// Returns the fault of an unknown word, such as `unknown policy; there are always and never`.
    fn unknown(&self) -> String {
        let words = self.list.iter().map(|(word, ..)| *word);
        let mut all: Vec<&str> = words.chain(self.or.iter().copied()).collect();
        let last = all.pop().unwrap_or_default();
        let gap = if self.what.is_empty() { "" } else { " " };
        match all.as_slice() {
            [] => format!("unknown{gap}{}; there is {last}", self.what),
            some => format!("unknown{gap}{}; there are {} and {last}", self.what, some.join(", ")),
        }
    }
}

impl<'a> At<'a> {
    /// Returns the place of a value that is read.
    pub(super) fn new(value: &'a Value, path: String, faults: &'a Faults) -> Self {
        Self { pass: Pass::Read { value, path, faults } }
    }

    /// Returns the schema that a form writes.
    pub(super) fn describe(form: impl FnOnce(&At<'_>)) -> Value {
        let node = Node::default();
        form(&At { pass: Pass::Describe(&node) });
        Value::Object(node.0.into_inner())
    }

    /// Returns the schema that a form writes, with another description. Empty: it keeps its own.
    pub(super) fn describe_as(about: &str, form: impl FnOnce(&At<'_>)) -> Value {
        At::describe(|at| {
            form(at);
            if !about.is_empty() {
                at.put("description", about);
            }
        })
    }

    /// Returns the value; null in the pass that writes the schema.
    pub(crate) fn value(&self) -> &'a Value {
        match &self.pass {
            Pass::Read { value, .. } => value,
            Pass::Describe(_) => &Value::Null,
        }
    }

    /// Returns the value. None in the pass that writes the schema.
    fn read(&self) -> Option<&'a Value> {
        match &self.pass {
            Pass::Read { value, .. } => Some(value),
            Pass::Describe(_) => None,
        }
    }

    /// Returns the schema that is written. None in the pass that reads.
    pub(super) fn node(&self) -> Option<&'a Node> {
        match &self.pass {
            Pass::Read { .. } => None,
            Pass::Describe(node) => Some(node),
        }
    }

    /// Writes a keyword of the schema, such as `pattern`.
    pub(crate) fn put(&self, keyword: &str, value: impl Into<Value>) -> &Self {
        if let Some(node) = self.node() {
            node.put(keyword, value);
        }
        self
    }

    fn add(&self, path: impl FnOnce(&str) -> String, message: impl Into<String>) {
        if let Pass::Read { path: here, faults, .. } = &self.pass {
            faults.add(&path(here), message);
        }
    }

    /// Notes a fault of the value.
    pub(crate) fn fault(&self, message: impl Into<String>) {
        self.add(ToOwned::to_owned, message);
    }

    /// Notes a fault of the value that begins with a quotation of it.
    pub(crate) fn refuse(&self, why: impl std::fmt::Display) {
        self.fault(format!("{}: {why}", quote(self.value())));
    }

    /// Notes a fault of something below the value, at a relative path.
    pub(super) fn below(&self, path: &str, message: impl Into<String>) {
        self.add(|here| format!("{here}.{path}"), message);
    }

    /// Notes a fault of a field of the value.
    pub(super) fn fault_of(&self, key: &str, message: impl Into<String>) {
        self.add(|here| path_of(here, key), message);
    }

    /// Notes a field that is not known. `advice` says which are.
    pub(super) fn unknown_field(&self, key: &str, advice: &str) {
        if let Pass::Read { path, faults, .. } = &self.pass {
            faults.unknown(&path_of(path, key), advice);
        }
    }

    /// Notes that a field is missing. `what` completes "is missing: ".
    pub(super) fn missing(&self, key: &str, what: &str) {
        self.fault_of(key, format!("is missing: {what}"));
    }

    pub(super) fn expected(&self, what: &str) {
        match self.value() {
            Value::Null => self.fault(format!(
                "nothing stands here, expected {what}: give it a value or remove it"
            )),
            value => self.fault(format!("{}: expected {what}", quote(value))),
        }
    }

    /// Returns the entries of an object whose keys the operator chooses and whose values are texts,
    /// such as labels.
    pub(crate) fn entries(&self) -> Vec<(&'a str, At<'a>)> {
        self.put("type", "object").put("additionalProperties", json!({ "type": "string" }));
        match self.read() {
            Some(Value::Object(object)) => {
                object.iter().map(|(key, value)| (key.as_str(), self.child(key, value))).collect()
            }
            Some(_) => {
                self.expected("an object");
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Decodes the entries of an object whose keys the operator chooses. A value that is no object
    /// is noted, and has none.
    pub(crate) fn map<T>(
        &self,
        form: impl Fn(&str, &At<'_>) -> Option<T>,
    ) -> Vec<(&'a str, Option<T>)> {
        if let Some(node) = self.node() {
            node.put("type", "object");
            node.put("additionalProperties", At::describe(|at| drop(form("", at))));
            return Vec::new();
        }
        let Value::Object(object) = self.value() else {
            // The object may hold secrets, so what stands in its place is not quoted.
            self.fault("expected an object");
            return Vec::new();
        };
        let each = object.iter().map(|(key, value)| {
            let decoded = form(key, &self.child(key, value));
            (key.as_str(), decoded)
        });
        each.collect()
    }

    /// Decodes each item of a list. A value that is no list is noted, and has none.
    pub(crate) fn each<T>(&self, item: impl Fn(&At<'_>) -> Option<T>) -> Vec<Option<T>> {
        if let Some(node) = self.node() {
            node.put("type", "array");
            node.put("items", At::describe(|at| drop(item(at))));
            return Vec::new();
        }
        let Value::Array(items) = self.value() else {
            self.expected("a list");
            return Vec::new();
        };
        items.iter().enumerate().map(|(index, value)| item(&self.item(index, value))).collect()
    }

    /// Decodes a list of 1 to `most` items. `or_not` ends the fault of an empty list and tells what
    /// to do to have no items. `None` if faults were noted.
    pub(crate) fn list<T>(
        &self,
        most: usize,
        or_not: &str,
        item: impl Fn(&At<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.put("minItems", 1).put("maxItems", most);
        let items = self.value().as_array().map_or(0, Vec::len);
        if items > most {
            self.fault(format!("{items} of them, at most {most}"));
            return None;
        }
        let all = self.each(item);
        if items == 0 {
            if self.value().is_array() {
                self.fault(format!("an empty list; name at least one{or_not}"));
            }
            return None;
        }
        all.into_iter().collect()
    }

    /// Decodes a value that has one of two forms; `is_first` tells which.
    pub(crate) fn either<T>(
        &self,
        is_first: impl Fn(&Value) -> bool,
        first: impl Fn(&At<'_>) -> Option<T>,
        second: impl Fn(&At<'_>) -> Option<T>,
    ) -> Option<T> {
        let Some(value) = self.read() else {
            let forms = [At::describe(|at| drop(first(at))), At::describe(|at| drop(second(at)))];
            self.put("anyOf", forms.to_vec());
            return None;
        };
        if is_first(value) { first(self) } else { second(self) }
    }

    /// Returns a text. Other values are noted as faults.
    pub(crate) fn text(&self) -> Option<&'a str> {
        self.put("type", "string");
        match self.read()? {
            Value::String(text) => return Some(text),
            // The fault does not offer the text to write: of `on`, `0755` or `0x1F` only what YAML
            // made of it is left.
            Value::Number(_) => {
                self.expected("text, but this is read as a number: put what you wrote in quotes")
            }
            Value::Bool(_) => self
                .expected("text, but this is read as true or false: put what you wrote in quotes"),
            _ => self.expected("text"),
        }
        None
    }

    /// Returns a boolean. Other values are noted as faults.
    pub(crate) fn flag(&self) -> Option<bool> {
        self.put("type", "boolean");
        let flag = self.read()?.as_bool();
        if flag.is_none() {
            self.expected("true or false");
        }
        flag
    }

    /// Returns a text without NUL characters, which the kernel does not take in arguments and
    /// paths.
    pub(super) fn text_without_nul(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.contains('\0') {
            self.refuse("holds a NUL character, which no program can be given");
            return None;
        }
        Some(text)
    }

    /// Returns a whole number from `least` to `most`. Other values are noted as faults.
    pub(crate) fn whole(&self, least: u64, most: u64) -> Option<u64> {
        self.put("type", "integer").put("minimum", least);
        if most < u64::MAX {
            self.put("maximum", most);
        }
        let number = match self.read()? {
            Value::Number(number) => number.as_u64(),
            _ => None,
        };
        let good = number.filter(|number| (least..=most).contains(number));
        if good.is_none() {
            self.expected(&format!("a whole number from {least} to {most}"));
        }
        good
    }

    /// Parses a text with `parse`, and notes its error as a fault.
    pub(crate) fn parsed<T, E: std::fmt::Display>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(self.text()?) {
            Ok(value) => Some(value),
            Err(why) => {
                // Errors of identifiers already begin with a quotation of the text.
                let why = why.to_string();
                if why.starts_with('"') {
                    self.fault(why)
                } else {
                    self.refuse(why)
                }
                None
            }
        }
    }

    /// Decodes one of several words.
    pub(crate) fn word<T: Clone>(&self, words: &Words<'_, T>) -> Option<T> {
        if let Some(node) = self.node() {
            node.put("description", words.about);
            for (word, about, _) in words.list {
                let one = json!({ "type": "string", "const": word, "description": about });
                node.push("oneOf", one);
            }
            return None;
        }
        self.parsed(|text| words.meaning(text).ok_or_else(|| words.unknown()))
    }

    /// Parses a quantity with a unit. A number without a unit may stand without quotes.
    pub(crate) fn quantity<T>(&self, form: &Quantity<T>) -> Option<T> {
        if let Some(node) = self.node() {
            if form.bare.is_empty() {
                node.put("type", "string");
                node.put("pattern", form.pattern);
                return None;
            }
            let text = match form.pattern {
                "" => json!({ "type": "string" }),
                pattern => json!({ "type": "string", "pattern": pattern }),
            };
            let bare = match form.bare {
                "integer" => json!({ "type": "integer", "minimum": 0 }),
                bare => json!({ "type": bare }),
            };
            node.put("anyOf", vec![text, bare]);
            return None;
        }
        let text = match self.value() {
            // Formats a float with its digits alone, because JSON writes small ones as 5e-7.
            Value::Number(number) if number.is_f64() => {
                number.as_f64().map_or_else(String::new, |float| float.to_string())
            }
            Value::Number(number) => number.to_string(),
            _ => self.text()?.to_owned(),
        };
        (form.parse)(&text).map_err(|why| self.refuse(why)).ok()
    }

    /// Parses a duration from `least` to `most`, in milliseconds.
    pub(crate) fn duration(&self, least: u64, most: u64) -> Option<u64> {
        let form = Quantity { parse: units::duration, pattern: DURATION, bare: "" };
        let millis = self.quantity(&form)?;
        if (least..=most).contains(&millis) {
            return Some(millis);
        }
        let (bound, word) = if millis < least { (least, "least") } else { (most, "most") };
        self.refuse(format!("out of bounds: at {word} {}", units::show_duration(bound)));
        None
    }

    /// Returns a field that the caller has looked up, with its path.
    pub(super) fn child(&self, key: &str, value: &'a Value) -> Self {
        self.step(|path| path_of(path, key), value)
    }

    /// Returns an item that the caller has looked up, with its path.
    pub(super) fn item(&self, index: usize, value: &'a Value) -> Self {
        self.step(|path| format!("{path}[{index}]"), value)
    }

    /// Returns a value below this one with its path.
    fn step(&self, path: impl FnOnce(&str) -> String, value: &'a Value) -> Self {
        let pass = match &self.pass {
            Pass::Read { path: here, faults, .. } => Pass::Read { value, path: path(here), faults },
            Pass::Describe(node) => Pass::Describe(node),
        };
        Self { pass }
    }
}
