//! Which labels a selector means.

use std::collections::BTreeMap;

use holdfast_protocol::ids::{IdError, Labels, check_label_key, check_label_value};
use serde::{Deserialize, Serialize};

/// Chooses by labels: all of it must hold. An empty one chooses nothing in a workload's
/// placement (admission refuses it there) and everything in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Labels with exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Expression>,
}

/// A condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expression {
    /// The label's key.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// What with; empty for `Exists` and `DoesNotExist`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// Its value is one of these.
    In,
    /// Its value is none of these, or it is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl Selector {
    /// Whether it chooses who has these labels.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|expression| expression.holds(labels))
    }

    /// True when it says nothing.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }
}

impl Expression {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// Most conditions in the text of a selector, as in a document.
const MAX_CONDITIONS: usize = 64;

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotASelector {
    /// Something between two commas says nothing.
    #[error(
        "a selector is conditions with commas between them, such as role=gateway,site!=north,gpu,!retired: one of them is empty"
    )]
    Empty,
    /// Too many.
    #[error("a selector has at most {MAX_CONDITIONS} conditions")]
    TooMany,
    /// A key or value that no label can have.
    #[error("in the selector's {condition:?}: {source}")]
    Label {
        /// The condition.
        condition: String,
        /// What is wrong with it.
        source: IdError,
    },
}

/// Reads `role=gateway,site!=north,gpu,!retired`: has this value (`=` or `==`), has not, is
/// there, is not there. An empty text chooses everything.
///
/// # Errors
/// [`NotASelector`].
pub fn parse(text: &str) -> Result<Selector, NotASelector> {
    let mut selector = Selector::default();
    if text.trim().is_empty() {
        return Ok(selector);
    }
    for (number, condition) in text.split(',').map(str::trim).enumerate() {
        if number == MAX_CONDITIONS {
            return Err(NotASelector::TooMany);
        }
        if condition.is_empty() {
            return Err(NotASelector::Empty);
        }
        let (key, operator, value) = split(condition);
        let wrong = |source| NotASelector::Label { condition: condition.to_owned(), source };
        check_label_key(key).map_err(wrong)?;
        check_label_value(value.unwrap_or_default()).map_err(wrong)?;
        selector.match_expressions.push(Expression {
            key: key.to_owned(),
            operator,
            values: value.map(ToOwned::to_owned).into_iter().collect(),
        });
    }
    Ok(selector)
}

fn split(condition: &str) -> (&str, Operator, Option<&str>) {
    if let Some((key, value)) = condition.split_once("!=") {
        (key.trim(), Operator::NotIn, Some(value.trim()))
    } else if let Some((key, value)) = condition.split_once('=') {
        (key.trim(), Operator::In, Some(value.strip_prefix('=').unwrap_or(value).trim()))
    } else if let Some(key) = condition.strip_prefix('!') {
        (key.trim(), Operator::DoesNotExist, None)
    } else {
        (condition, Operator::Exists, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        text.split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn texts_choose_by_labels() {
        for (text, of, chosen) in [
            ("", "", true),
            ("role=a", "role=a", true),
            ("role==a", "role=a", true),
            ("role=a", "role=b", false),
            ("role=a", "", false),
            ("role=", "role=", true),
            ("role!=a", "role=b", true),
            ("role!=a", "", true),
            ("role!=a", "role=a", false),
            ("gpu", "gpu=", true),
            ("gpu", "role=a", false),
            ("!gpu", "role=a", true),
            ("!gpu", "gpu=x", false),
            (" role = a , !gpu ", "role=a", true),
            ("role=a,site!=n,gpu,!old", "role=a,site=s,gpu=1", true),
            ("role=a,site!=n,gpu,!old", "role=a,site=n,gpu=1", false),
            ("role=a,role=b", "role=a", false),
        ] {
            assert_eq!(parse(text).unwrap().matches(&labels(of)), chosen, "{text} of {of}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in [",", "a=b,", "a b", "=x", "!", "a=b=c", "a in (b)", "-a", "a=ü"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse(&"a,".repeat(99)), Err(NotASelector::TooMany));
        let said = parse("role=a b").unwrap_err().to_string();
        assert!(said.contains("role=a b"), "{said}");
    }
}
