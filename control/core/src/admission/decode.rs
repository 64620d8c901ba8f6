//! Reads JSON documents and collects every fault with its path. Reading does not stop at the first
//! fault, and never panics, whatever the document holds.
//!
//! See decision 0101.

use std::cell::{Cell, RefCell};

use holdfast_api::path::{path_of, shorten};
use holdfast_protocol::enrol::Fault;
use serde_json::{Map, Value};

use holdfast_api::units::{self, NotAUnit};

/// Most faults that one refusal lists; the rest is counted. A hostile document may have a hundred
/// thousand.
pub(super) const MAX_FAULTS: usize = 200;

/// Faults found so far in a set of documents.
#[derive(Debug, Default)]
pub(super) struct Faults {
    found: RefCell<Vec<Fault>>,
    more: Cell<usize>,
}

impl Faults {
    pub(super) fn add(&self, path: &str, message: impl Into<String>) {
        self.note(path, message.into(), false);
    }

    /// Notes a field that is not known.
    fn unknown(&self, path: &str, advice: &str) {
        self.note(path, format!("unknown field; {advice}"), true);
    }

    fn note(&self, path: &str, message: String, of_key: bool) {
        let mut found = self.found.borrow_mut();
        if found.len() < MAX_FAULTS {
            // A fault of the whole document gets a path that says so.
            let whole = path.is_empty() || path.ends_with(' ');
            let path = if whole { format!("{path}document") } else { path.to_owned() };
            found.push(Fault { path, message, of_key });
        } else {
            self.more.set(self.more.get() + 1);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.found.borrow().len() + self.more.get()
    }

    pub(super) fn into_vec(self) -> Vec<Fault> {
        let mut found = self.found.into_inner();
        let more = self.more.get();
        if more > 0 {
            let message = format!("and {more} more");
            found.push(Fault { path: "documents".into(), message, of_key: false });
        }
        found
    }
}

/// Value of a document with its path and the collection of faults.
#[derive(Clone)]
pub(crate) struct At<'a> {
    value: &'a Value,
    path: String,
    faults: &'a Faults,
}

impl<'a> At<'a> {
    pub(super) fn new(value: &'a Value, path: String, faults: &'a Faults) -> Self {
        Self { value, path, faults }
    }

    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    /// Notes a fault of the value.
    pub(super) fn fault(&self, message: impl Into<String>) {
        self.faults.add(&self.path, message);
    }

    /// Notes a fault of the value that begins with a quotation of it.
    pub(super) fn refuse(&self, why: impl std::fmt::Display) {
        self.fault(format!("{}: {why}", quote(self.value)));
    }

    /// Notes a fault of something below the value, at a relative path.
    pub(super) fn below(&self, path: &str, message: impl Into<String>) {
        self.faults.add(&format!("{}.{path}", self.path), message);
    }

    fn expected(&self, what: &str) {
        match self.value {
            Value::Null => self.fault(format!(
                "nothing stands here, expected {what}: give it a value or remove it"
            )),
            value => self.fault(format!("{}: expected {what}", quote(value))),
        }
    }

    /// Returns the fields of an object. Notes a fault for every field that is not in `known`.
    /// `None` if the value is no object.
    pub(super) fn fields(&self, known: &'static [&'static str]) -> Option<Fields<'a>> {
        self.fields_like(known, "")
    }

    /// Like [`At::fields`], with an example of such an object for the fault of a value that is
    /// none.
    pub(super) fn fields_like(
        &self,
        known: &'static [&'static str],
        example: &str,
    ) -> Option<Fields<'a>> {
        let Value::Object(object) = self.value else {
            let such = if example.is_empty() { "" } else { ", such as " };
            self.expected(&format!("an object with {}{such}{example}", known.join(", ")));
            return None;
        };
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            let advice = match nearest(key, known) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("known here: {}", known.join(", ")),
            };
            self.faults.unknown(&path_of(&self.path, key), &advice);
        }
        Some(Fields { object, at: self.clone() })
    }

    /// Returns the entries of an object whose keys the operator chooses, such as labels.
    pub(super) fn entries(&self) -> Vec<(&'a str, At<'a>)> {
        let Value::Object(object) = self.value else {
            self.expected("an object");
            return Vec::new();
        };
        object.iter().map(|(key, value)| (key.as_str(), self.child(key, value))).collect()
    }

    /// Returns the items of a list, or none if the value is no list, which is noted.
    pub(super) fn items(&self) -> Vec<At<'a>> {
        let Value::Array(items) = self.value else {
            self.expected("a list");
            return Vec::new();
        };
        let at = |(index, value)| self.step(format!("{}[{index}]", self.path), value);
        items.iter().enumerate().map(at).collect()
    }

    /// Returns a text. Other values are noted as faults.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.value {
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
    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.value.as_bool();
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
    pub(super) fn whole(&self, least: u64, most: u64) -> Option<u64> {
        let number = match self.value {
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
    pub(super) fn parsed<T, E: std::fmt::Display>(
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

    /// Parses a quantity with a unit. A number without a unit may stand without quotes.
    pub(super) fn quantity<T>(&self, parse: impl FnOnce(&str) -> Result<T, NotAUnit>) -> Option<T> {
        let text = match self.value {
            // Formats a float with its digits alone, because JSON writes small ones as 5e-7.
            Value::Number(number) if number.is_f64() => {
                number.as_f64().map_or_else(String::new, |float| float.to_string())
            }
            Value::Number(number) => number.to_string(),
            _ => self.text()?.to_owned(),
        };
        parse(&text).map_err(|why| self.refuse(why)).ok()
    }

    /// Parses a duration from `least` to `most`, in milliseconds.
    pub(super) fn duration(&self, least: u64, most: u64) -> Option<u64> {
        let millis = self.quantity(units::duration)?;
        if (least..=most).contains(&millis) {
            return Some(millis);
        }
        let (bound, word) = if millis < least { (least, "least") } else { (most, "most") };
        self.refuse(format!("out of bounds: at {word} {}", units::show_duration(bound)));
        None
    }

    /// Returns a field that the caller has looked up, with its path.
    pub(super) fn child(&self, key: &str, value: &'a Value) -> Self {
        self.step(path_of(&self.path, key), value)
    }

    /// Returns an item that the caller has looked up, with its path.
    pub(super) fn item(&self, index: usize, value: &'a Value) -> Self {
        self.step(format!("{}[{index}]", self.path), value)
    }

    /// Notes that a field is missing. `what` completes "is missing: ".
    pub(super) fn missing(&self, key: &str, what: &str) {
        self.faults.add(&path_of(&self.path, key), format!("is missing: {what}"));
    }

    /// Returns a value below this one with its path.
    fn step(&self, path: String, value: &'a Value) -> Self {
        Self { value, path, faults: self.faults }
    }
}

/// Object of a document, whose fields can be looked up by name.
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    at: At<'a>,
}

impl<'a> Fields<'a> {
    /// Returns a field that may be absent.
    pub(super) fn get(&self, key: &str) -> Option<At<'a>> {
        let value = self.object.get(key)?;
        Some(self.at.child(key, value))
    }

    /// Returns a field that must be present; its absence is noted as a fault. `what` completes "is
    /// missing: ".
    pub(super) fn required(&self, key: &str, what: &str) -> Option<At<'a>> {
        let found = self.get(key);
        if found.is_none() {
            self.at.missing(key, what);
        }
        found
    }

    /// Decodes exactly one of several fields. `what` names them in faults ("a probe"). If there are
    /// more, this is a fault, and so are the faults inside each of them.
    pub(super) fn one_of<T>(
        &self,
        keys: &[&'static str],
        what: &str,
        decode: impl Fn(&'static str, &At<'a>) -> Option<T>,
    ) -> Option<T> {
        let found: Vec<_> =
            keys.iter().filter_map(|&key| self.get(key).map(|at| (key, at))).collect();
        match found.as_slice() {
            [] => self.at.fault(format!("{what} is missing: give {}", keys.join(" or "))),
            [_] => {}
            [(first, _), (second, _), ..] => self
                .at
                .fault(format!("both {first} and {second}: {what} is one of {}", keys.join(", "))),
        }
        let mut decoded: Vec<Option<T>> = found.iter().map(|(key, at)| decode(key, at)).collect();
        let only = decoded.len() == 1;
        decoded.pop().flatten().filter(|_| only)
    }
}

/// Formats a value as faults quote it: texts shortened, lists and objects only named.
pub(super) fn quote(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{:?}", shorten(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Returns the known word that a misspelt one probably means: at most one edit away from a word of
/// four letters or less, two from a longer one.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if word.len() > 32 {
        return None;
    }
    let lower = word.to_lowercase();
    let near = |candidate: &&&str| {
        let allowed = if candidate.len() <= 4 { 1 } else { 2 };
        distance(&lower, &candidate.to_lowercase()) <= allowed
    };
    known
        .iter()
        .filter(near)
        .min_by_key(|candidate| distance(&lower, &candidate.to_lowercase()))
        .copied()
}

/// Returns the Levenshtein distance of two words. Its cost is the product of their lengths, so both
/// must be short.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, a) in from.chars().enumerate() {
        let mut next = vec![line + 1];
        let mut last = line + 1;
        for (&b, above) in to.iter().zip(row.windows(2)) {
            let [diagonal, up] = above else { continue };
            last = (diagonal + usize::from(a != b)).min(up + 1).min(last + 1);
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_fields_find_their_word() {
        let known = ["matchLabels", "matchExpressions", "run", "env", "args", "memory"];
        for (word, meant) in [
            ("matchlabels", Some("matchLabels")),
            ("matchLabel", Some("matchLabels")),
            ("memroy", Some("memory")),
            ("envs", Some("env")),
            ("arg", Some("args")),
            ("containers", None),
            ("zz", None),
        ] {
            assert_eq!(nearest(word, &known), meant, "{word}");
        }
    }
}
