//! YAML as operators write it: faults in this project's words, and the spelling of numbers and
//! truth values, which the parser does not keep (`0755` becomes 755.0).
//!
//! See decision 0102.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, MessageFormatter, Spanned, UserMessageFormatter};

use super::failure::{Failure, Outcome};
use holdfast_api::path::path_of;
use holdfast_api::words;

/// Fault of a text that is no YAML, for its author: what is wrong, with the lines around it.
#[derive(Debug)]
pub(super) struct NotYaml(String);

impl fmt::Display for NotYaml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotYaml {}

/// Reads all documents of a text.
pub(super) fn read(text: &str) -> Result<Vec<Value>, NotYaml> {
    let read = serde_saphyr::from_multiple(text);
    read.map_err(|error| NotYaml(error.render_with_formatter(&Words)))
}

/// Returns a value as YAML.
pub(crate) fn write(value: &Value) -> Outcome<String> {
    serde_saphyr::to_string(value)
        .map_err(|error| Failure::failed(format!("cannot write YAML: {error}")))
}

/// Translation of the parser's messages for the author of the text.
struct Words;

impl MessageFormatter for Words {
    fn format_message<'a>(&self, error: &'a Error) -> Cow<'a, str> {
        Cow::Owned(match error {
            Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("the key {key:?} stands here twice: remove one of them")
            }
            Error::DuplicateMappingKey { key: None, .. } => {
                "a key stands here twice: remove one of them".to_owned()
            }
            Error::NonFiniteFloat { value, .. } => {
                format!(
                    "{value} is no number that a document can hold: if it is text, put it in quotes"
                )
            }
            Error::Budget { breach, .. } => too_large(breach),
            Error::AliasReplayLimitExceeded { .. }
            | Error::AliasReplayCounterOverflow { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. } => {
                "its aliases (*name) stand for too much: write out what they mean".to_owned()
            }
            Error::RecursiveReferencesRequireWeakTypes { .. } => {
                "an alias (*name) stands within what it means".to_owned()
            }
            Error::UnknownAnchor { .. } => {
                "an alias (*name) without its anchor (&name) before it".to_owned()
            }
            Error::MergeValueNotMapOrSeqOfMaps { .. } => {
                "<< takes in an object, or a list of objects".to_owned()
            }
            Error::InvalidUtf8Input => "it is not UTF-8 text".to_owned(),
            Error::SerdeInvalidType { unexpected, expected, .. } => {
                words::plain(&format!("invalid type: {unexpected}, expected {expected}"))
            }
            Error::SerdeInvalidValue { unexpected, expected, .. } => {
                words::plain(&format!("invalid value: {unexpected}, expected {expected}"))
            }
            other => {
                let said = UserMessageFormatter.format_message(other);
                if !said.contains("recursion limit") {
                    return said;
                }
                "too deep: lists and objects within each other".to_owned()
            }
        })
    }
}

/// Returns which limit a text exceeds.
fn too_large(breach: &BudgetBreach) -> String {
    let (found, what) = match breach {
        BudgetBreach::Depth { depth } => (*depth, "levels of lists and objects in each other"),
        BudgetBreach::Documents { documents } => (*documents, "documents"),
        BudgetBreach::Aliases { .. } | BudgetBreach::AliasAnchorRatio { .. } => {
            return "it has too many aliases (*name)".to_owned();
        }
        BudgetBreach::Anchors { anchors } => (*anchors, "anchors (&name)"),
        BudgetBreach::MergeKeys { merge_keys } => (*merge_keys, "merges (<<)"),
        BudgetBreach::Nodes { nodes: found } | BudgetBreach::Events { events: found } => {
            (*found, "values, those that aliases (*name) stand for counted as well")
        }
        BudgetBreach::SequenceUnbalanced => return "a list or object that does not end".to_owned(),
        _ => return "the document is too large".to_owned(),
    };
    format!("the document is too large: more than {} {what}", found.saturating_sub(1))
}

/// A number or truth value of a document that is shown otherwise than it was written.
pub(super) struct Shown {
    /// Path of the value, as faults name it.
    pub(super) path: String,
    /// Spelling in a fault.
    pub(super) read: String,
    /// Spelling in the text.
    pub(super) written: String,
}

/// Returns such values of the document with this number, from 0. Empty when the text is not the one
/// that was read.
pub(super) fn shown(text: &str, number: usize) -> Vec<Shown> {
    let Ok(documents) = serde_saphyr::from_multiple::<Node>(text) else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(document) = documents.get(number) {
        document.walk(text, String::new(), &mut found);
    }
    found
}

struct Node(Spanned<Plain>);

enum Plain {
    Other,
    Scalar(Value),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    fn walk(&self, text: &str, path: String, found: &mut Vec<Shown>) {
        match &self.0.value {
            Plain::Other => {}
            Plain::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.walk(text, format!("{path}[{index}]"), found);
                }
            }
            Plain::Object(fields) => {
                for (key, value) in fields {
                    value.walk(text, path_of(&path, key), found);
                }
            }
            Plain::Scalar(value) => {
                let span = self.0.defined.span();
                let begin = span.byte_offset().and_then(|begin| usize::try_from(begin).ok());
                let rest = begin.and_then(|begin| text.get(begin..)).unwrap_or_default();
                let ends = |c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}' | '#');
                let written = rest.split(ends).next().unwrap_or_default();
                let read = value.to_string();
                if !written.is_empty() && written != read {
                    found.push(Shown { path, read, written: written.to_owned() });
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Spanned::deserialize(from).map(Self)
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Plain, E> {
        Ok(Plain::Other)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Plain, E> {
        Ok(Plain::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Plain, E> {
        Ok(Plain::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Plain, E> {
        Ok(Plain::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Plain, E> {
        Ok(Plain::Scalar(value.into()))
    }

    fn visit_str<E>(self, _: &str) -> Result<Plain, E> {
        Ok(Plain::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Plain, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Plain::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Plain, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = from.next_entry()? {
            fields.push(field);
        }
        Ok(Plain::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_found_again() {
        let text = "a: 0755\nb:\n  - 1.10 # two\n  - {no: no, \"x.y\": 1e3, z: 08080}\nc: \"7\"\nd: 7\n---\ne: 007\n";
        let all = shown(text, 0);
        let all: Vec<_> = all.iter().map(|one| (one.path.as_str(), one.written.as_str())).collect();
        for (path, written) in
            [("a", "0755"), ("b[0]", "1.10"), ("b[1][\"x.y\"]", "1e3"), ("b[1].z", "08080")]
        {
            assert!(all.contains(&(path, written)), "{path}: {all:?}");
        }
        assert!(!all.iter().any(|(path, _)| matches!(*path, "c" | "d")), "{all:?}");
        assert_eq!(shown(text, 1)[0].written, "007");
        assert_eq!(shown("a: [", 0).len(), 0);
    }

    #[test]
    fn no_word_of_a_library_is_said() {
        let bomb: String =
            (1..12).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, level| {
                let aliases = vec![format!("*a{}", level - 1); 9].join(",");
                text + &format!("a{level}: &a{level} [{aliases}]\n")
            });
        let deep = "[".repeat(5_000);
        for text in [
            "a: 1\na: 2\n",
            "{a: 1, a: 2}",
            "a: .inf",
            "a: .nan",
            "a: -.inf",
            "a: *b",
            "a: &a [*a]",
            "a: [1",
            "a: {",
            "a:\n\t- b",
            "a: 'x",
            "a: \"\\q\"",
            "? [a]\n: b\n",
            "<<: 1\n",
            "- a\nb: c\n",
            "a: !!binary x",
            "a: !foo b",
            "%YAML 9.9\n---\na",
            "a: !!int x",
            "&a &b c",
            "a: b: c",
            "@",
            "`x`",
            "a: |\n x\n  y\n z\n- q",
            &bomb,
            &deep,
            "[a]: b",
            "{[a]: b}",
            "1: a\n",
            "~: a",
            "a: !!set {x}",
        ] {
            let Err(NotYaml(said)) = read(text) else { continue };
            for word in [
                "Policy",
                "Options",
                "serde",
                "invalid type",
                "{ ",
                "limit exceeded",
                "struct ",
                "_",
                "deserialize",
                "visitor",
                "IO error",
            ] {
                // Only the first line is the message; the others quote the text with line numbers.
                let shown = said.lines().next().unwrap_or_default();
                assert!(!shown.contains(word), "{text:.40}: {said}");
            }
        }
        let said = read(&bomb).unwrap_err().to_string();
        assert!(said.contains("too large"), "{said}");
    }
}
