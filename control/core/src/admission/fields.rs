//! Fields of an object. Each is asked for once, with its name, its description and its form; that
//! gives the list of known names, the decoder and the schema.
//!
//! See decision 0147.

use std::cell::RefCell;

use serde_json::{Map, Value, json};

use super::at::{At, Node};
use super::faults::nearest;

impl At<'_> {
    /// Decodes an object with fixed fields; unknown ones are noted as faults. `about` describes it,
    /// `such` is an example for the fault of a value that is no object, and may be empty.
    ///
    /// `fields` runs twice for each value, first for the names alone. It must ask for every field
    /// before it returns: no `?` between two fields.
    pub(crate) fn object<T>(
        &self,
        about: &str,
        such: &str,
        fields: impl Fn(&Fields<'_>) -> Option<T>,
    ) -> Option<T> {
        if let Some(node) = self.node() {
            node.put("type", "object");
            node.put("description", about);
            node.put("additionalProperties", false);
            return fields(&Fields::describe(node));
        }
        let known = Fields::names(&fields);
        let Value::Object(object) = self.value() else {
            let gap = if such.is_empty() { "" } else { ", such as " };
            self.expected(&format!("an object with {}{gap}{such}", known.join(", ")));
            return None;
        };
        fields(&Fields::read(object, self, &known))
    }
}

/// Pass over the fields of an object.
enum Pass<'a> {
    /// Lists the names.
    Name(&'a RefCell<Vec<&'static str>>),
    /// Writes the schema of each field.
    Describe(&'a Node),
    /// Reads the fields of `object`, which stands at `at`.
    Read { object: &'a Map<String, Value>, at: At<'a> },
}

/// Object of a document, whose fields are asked for by name.
pub(crate) struct Fields<'a> {
    pass: Pass<'a>,
}

/// Result of asking for a field.
enum Found<T> {
    /// The object does not have the field.
    Absent,
    /// The object has the field. None: faults were noted, or nothing is read in this pass.
    Present(Option<T>),
}

impl<'a> Fields<'a> {
    /// Returns the names that a function asks for, in their order.
    pub(super) fn names<T>(fields: &impl Fn(&Fields<'_>) -> Option<T>) -> Vec<&'static str> {
        let names = RefCell::default();
        drop(fields(&Fields { pass: Pass::Name(&names) }));
        names.into_inner()
    }

    /// Returns the fields for the pass that writes the schema.
    pub(super) fn describe(node: &'a Node) -> Self {
        Self { pass: Pass::Describe(node) }
    }

    /// Returns the fields of an object. Notes a fault for every field that is not in `known`.
    pub(super) fn read(
        object: &'a Map<String, Value>,
        at: &At<'a>,
        known: &[&'static str],
    ) -> Self {
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            let advice = match nearest(key, known) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("known here: {}", known.join(", ")),
            };
            at.unknown_field(key, &advice);
        }
        Self { pass: Pass::Read { object, at: at.clone() } }
    }

    fn ask<T>(
        &self,
        key: &'static str,
        about: &str,
        decode: impl FnOnce(&At<'_>) -> Option<T>,
    ) -> Found<T> {
        match &self.pass {
            Pass::Name(names) => {
                names.borrow_mut().push(key);
                Found::Present(None)
            }
            Pass::Describe(node) => {
                let form = At::describe_as(about, |at| drop(decode(at)));
                node.put_below("properties", key, form);
                Found::Present(None)
            }
            Pass::Read { object, at } => match object.get(key) {
                None => Found::Absent,
                Some(value) => Found::Present(decode(&at.child(key, value))),
            },
        }
    }

    /// Decodes a field that must be present; its absence is noted as a fault. `about` describes the
    /// field (empty: its form describes itself), `what` completes "is missing: ".
    pub(crate) fn required<T>(
        &self,
        key: &'static str,
        about: &str,
        what: &str,
        decode: impl FnOnce(&At<'_>) -> Option<T>,
    ) -> Option<T> {
        if let Pass::Describe(node) = &self.pass {
            node.push("required", key.into());
        }
        match self.ask(key, about, decode) {
            Found::Present(value) => value,
            Found::Absent => {
                if let Pass::Read { at, .. } = &self.pass {
                    at.missing(key, what);
                }
                None
            }
        }
    }

    /// Decodes a field that may be absent; `usual` is its value then. `None` if faults were noted.
    pub(crate) fn or<T>(
        &self,
        key: &'static str,
        about: &str,
        usual: T,
        decode: impl FnOnce(&At<'_>) -> Option<T>,
    ) -> Option<T> {
        match self.ask(key, about, decode) {
            Found::Present(value) => value,
            Found::Absent => Some(usual),
        }
    }

    /// Decodes a field that may be absent. The outer `None`: faults were noted.
    pub(crate) fn maybe<T>(
        &self,
        key: &'static str,
        about: &str,
        decode: impl FnOnce(&At<'_>) -> Option<T>,
    ) -> Option<Option<T>> {
        self.or(key, about, None, |at| decode(at).map(Some))
    }

    /// Decodes exactly one of several fields, which are given with their descriptions. `what` names
    /// them in faults ("a probe"). If there are more, this is a fault, and so are the faults inside
    /// each of them.
    pub(crate) fn one_of<T>(
        &self,
        what: &str,
        keys: &[(&'static str, &str)],
        decode: impl Fn(&'static str, &At<'_>) -> Option<T>,
    ) -> Option<T> {
        if let Pass::Describe(node) = &self.pass {
            match keys {
                [(only, _)] => node.push("required", (*only).into()),
                _ => keys.iter().for_each(|(key, _)| {
                    node.push("oneOf", json!({ "required": [key] }));
                }),
            }
        }
        let ask = |(key, about): &(&'static str, &str)| match self
            .ask(key, about, |at| Some((*key, decode(key, at))))
        {
            Found::Present(found) => found,
            Found::Absent => None,
        };
        // A field is decoded only when the number of them was looked at, so that this fault comes
        // first.
        self.exactly_one(what, keys);
        let mut found: Vec<_> = keys.iter().filter_map(ask).collect();
        let only = found.len() == 1;
        found.pop().and_then(|(_, value)| value).filter(|_| only)
    }

    /// Notes a fault unless exactly one of the fields is present.
    fn exactly_one(&self, what: &str, keys: &[(&'static str, &str)]) {
        let Pass::Read { object, at } = &self.pass else { return };
        let names: Vec<&str> = keys.iter().map(|(key, _)| *key).collect();
        let found: Vec<&str> =
            names.iter().copied().filter(|key| object.contains_key(*key)).collect();
        match found.as_slice() {
            [] => at.fault(format!("{what} is missing: give {}", names.join(" or "))),
            [_] => {}
            [first, second, ..] => at
                .fault(format!("both {first} and {second}: {what} is one of {}", names.join(", "))),
        }
    }

    /// Declares a field that is checked elsewhere and has one possible value.
    pub(super) fn constant(&self, key: &'static str, about: &str, value: &str) {
        if let Pass::Describe(node) = &self.pass {
            node.push("required", key.into());
        }
        let form = |at: &At<'_>| -> Option<()> {
            at.put("type", "string").put("enum", vec![value]);
            None
        };
        match self.ask(key, about, form) {
            Found::Absent | Found::Present(_) => {}
        }
    }

    /// Returns a field that was asked for already, to compare it with others. None: it is absent, or
    /// nothing is read in this pass.
    pub(crate) fn get(&self, key: &str) -> Option<At<'a>> {
        match &self.pass {
            Pass::Read { object, at } => Some(at.child(key, object.get(key)?)),
            Pass::Name(_) | Pass::Describe(_) => None,
        }
    }

    /// Adds a keyword to the schema of the whole object.
    pub(super) fn put(&self, keyword: &str, value: impl Into<Value>) {
        if let Pass::Describe(node) = &self.pass {
            node.put(keyword, value);
        }
    }
}
