//! Reading a JSON document while collecting every fault with its path. It never stops at the
//! first fault, and never panics, whatever the document holds.

use std::cell::{Cell, RefCell};

use holdfast_api::path::{path_of, shorten};
use holdfast_protocol::enrol::Fault;
use serde_json::{Map, Value};

use holdfast_api::units::{self, NotAUnit};

/// Most faults that one refusal lists: more help nobody, and a hostile document may hold a
/// hundred thousand.
pub(super) const MAX_FAULTS: usize = 200;

/// Faults found so far.
#[derive(Debug, Default)]
pub(super) struct Faults {
    found: RefCell<Vec<Fault>>,
    more: Cell<usize>,
}

impl Faults {
    pub(super) fn add(&self, path: &str, message: impl Into<String>) {
        let mut found = self.found.borrow_mut();
        if found.len() < MAX_FAULTS {
            // Of the document as a whole: a path that says so.
            let whole = path.is_empty() || path.ends_with(' ');
            let path = if whole { format!("{path}document") } else { path.to_owned() };
            found.push(Fault { path, message: message.into() });
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
            found.push(Fault { path: "documents".into(), message: format!("and {more} more") });
        }
        found
    }
}

/// A value of a document, and where it stands.
#[derive(Clone)]
pub(super) struct At<'a> {
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

    /// Notes a fault of this value.
    pub(super) fn fault(&self, message: impl Into<String>) {
        self.faults.add(&self.path, message);
    }

    /// Notes that this value, which is quoted, is not what it should be.
    pub(super) fn refuse(&self, why: impl std::fmt::Display) {
        self.fault(format!("{}: {why}", quote(self.value)));
    }

    /// Notes a fault of what stands at this path below this value.
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

    /// An object with these fields and no others.
    pub(super) fn fields(&self, known: &'static [&'static str]) -> Option<Fields<'a>> {
        self.fields_like(known, "")
    }

    /// The same; `example` shows to whoever wrote something else how such an object is written.
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
            self.faults.add(&path_of(&self.path, key), format!("unknown field; {advice}"));
        }
        Some(Fields { object, at: self.clone() })
    }

    /// The entries of an object whose keys are the operator's own.
    pub(super) fn entries(&self) -> Vec<(&'a str, At<'a>)> {
        let Value::Object(object) = self.value else {
            self.expected("an object");
            return Vec::new();
        };
        object.iter().map(|(key, value)| (key.as_str(), self.child(key, value))).collect()
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Vec<At<'a>> {
        let Value::Array(items) = self.value else {
            self.expected("a list");
            return Vec::new();
        };
        let at = |(index, value)| self.step(format!("{}[{index}]", self.path), value);
        items.iter().enumerate().map(at).collect()
    }

    /// Text.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.value {
            Value::String(text) => return Some(text),
            // Without the text to write: of `on`, `0755` or `0x1F` only what YAML made of it is
            // left.
            Value::Number(_) => {
                self.expected("text, but this is read as a number: put what you wrote in quotes")
            }
            Value::Bool(_) => self
                .expected("text, but this is read as true or false: put what you wrote in quotes"),
            _ => self.expected("text"),
        }
        None
    }

    /// True or false.
    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            self.expected("true or false");
        }
        flag
    }

    /// Text without NUL, as the kernel wants of arguments and paths.
    pub(super) fn text_without_nul(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.contains('\0') {
            self.refuse("holds a NUL character, which no program can be given");
            return None;
        }
        Some(text)
    }

    /// A whole number within these bounds.
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

    /// Whatever `parse` makes of the text.
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(self.text()?) {
            Ok(value) => Some(value),
            Err(why) => {
                // Identifiers' errors quote the text themselves.
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

    /// A quantity with a unit; a bare number may stand without quotes.
    pub(super) fn quantity<T>(&self, parse: impl FnOnce(&str) -> Result<T, NotAUnit>) -> Option<T> {
        let text = match self.value {
            // A float as digits alone: JSON writes small ones as 5e-7.
            Value::Number(number) if number.is_f64() => {
                number.as_f64().map_or_else(String::new, |float| float.to_string())
            }
            Value::Number(number) => number.to_string(),
            _ => self.text()?.to_owned(),
        };
        parse(&text).map_err(|why| self.refuse(why)).ok()
    }

    /// A duration within these bounds, in milliseconds.
    pub(super) fn duration(&self, least: u64, most: u64) -> Option<u64> {
        let millis = self.quantity(units::duration)?;
        if (least..=most).contains(&millis) {
            return Some(millis);
        }
        let (bound, word) = if millis < least { (least, "least") } else { (most, "most") };
        self.refuse(format!("out of bounds: at {word} {}", units::show_duration(bound)));
        None
    }

    /// A field's value, for who has looked it up already.
    pub(super) fn child(&self, key: &str, value: &'a Value) -> Self {
        self.step(path_of(&self.path, key), value)
    }

    /// An item's value, for who has looked it up already.
    pub(super) fn item(&self, index: usize, value: &'a Value) -> Self {
        self.step(format!("{}[{index}]", self.path), value)
    }

    /// Notes that a field is not there; `what` completes "is missing: ".
    pub(super) fn missing(&self, key: &str, what: &str) {
        self.faults.add(&path_of(&self.path, key), format!("is missing: {what}"));
    }

    /// A value below this one.
    fn step(&self, path: String, value: &'a Value) -> Self {
        Self { value, path, faults: self.faults }
    }
}

/// The fields of an object.
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    at: At<'a>,
}

impl<'a> Fields<'a> {
    /// A field that may be absent.
    pub(super) fn get(&self, key: &str) -> Option<At<'a>> {
        let value = self.object.get(key)?;
        Some(self.at.child(key, value))
    }

    /// A field that must be there; `what` completes "is missing: ".
    pub(super) fn required(&self, key: &str, what: &str) -> Option<At<'a>> {
        let found = self.get(key);
        if found.is_none() {
            self.at.missing(key, what);
        }
        found
    }

    /// What `decode` makes of exactly one of these fields; `what` says what they are ("a
    /// probe"). Of those that are too many the faults are noted as well.
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

/// A value as a fault quotes it.
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

/// The known word that a misspelt one probably means.
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

/// Edits (insert, remove, replace) from one word to the other; both are short.
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
