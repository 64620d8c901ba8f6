//! Label selectors: their form in documents, their text form, and matching.
//!
//! See decision 0101.

use std::collections::BTreeMap;

use holdfast_base::ids::{IdError, Labels, check_label_key, check_label_value};
use serde::{Deserialize, Serialize};

/// Word that a document writes to select every device.
pub const ALL: &str = "all";

/// Selects by labels; all conditions must hold. A selector without conditions selects everything:
/// in a document it is written `all` (admission refuses `{}`), in a list it is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "Written")]
pub struct Selector {
    /// Labels that must be present with exactly these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions on labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Expression>,
}

/// Form of a selector in documents.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    All(All),
    #[serde(rename_all = "camelCase")]
    Labels {
        #[serde(default)]
        match_labels: BTreeMap<String, String>,
        #[serde(default)]
        match_expressions: Vec<Expression>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum All {
    All,
}

impl From<Written> for Selector {
    fn from(written: Written) -> Self {
        match written {
            Written::All(All::All) => Self::default(),
            Written::Labels { match_labels, match_expressions } => {
                Self { match_labels, match_expressions }
            }
        }
    }
}

/// Condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expression {
    /// Key of the label.
    pub key: String,
    /// Comparison that the label must pass.
    pub operator: Operator,
    /// Values to compare with; empty for `Exists` and `DoesNotExist`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// Comparison of a label with a list of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// The label is present and has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is present, with any value.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl Selector {
    /// True if the selector matches an object with these labels.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|expression| expression.holds(labels))
    }

    /// Returns the text form of the selector, such as `site=kiel,role in (a,b)`.
    pub fn words(&self) -> String {
        let labels = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let further = self.match_expressions.iter().map(|one| {
            let (key, values) = (&one.key, one.values.join(","));
            match (one.operator, one.values.as_slice()) {
                (Operator::In, [only]) => format!("{key}={only}"),
                (Operator::NotIn, [only]) => format!("{key}!={only}"),
                (Operator::In, _) => format!("{key} in ({values})"),
                (Operator::NotIn, _) => format!("{key} notin ({values})"),
                (Operator::Exists, _) => key.clone(),
                (Operator::DoesNotExist, _) => format!("!{key}"),
            }
        });
        labels.chain(further).collect::<Vec<_>>().join(",")
    }

    /// True if every object that this selector can select is selected by `wider` too, as far as one
    /// condition at a time shows it: each condition of `wider` follows from one of this selector.
    pub fn implies(&self, wider: &Self) -> bool {
        let own: Vec<Expression> = self.conditions().collect();
        wider.conditions().all(|wanted| own.iter().any(|has| has.implies(&wanted)))
    }

    /// Returns the conditions of `wider` that follow from none of this selector: with them added it
    /// implies `wider`.
    pub fn lacks(&self, wider: &Self) -> Self {
        let own: Vec<Expression> = self.conditions().collect();
        let lacking = |wanted: &Expression| !own.iter().any(|has| has.implies(wanted));
        Self { match_expressions: wider.conditions().filter(lacking).collect(), ..Self::default() }
    }

    /// Returns the selector with the conditions of `wider` that it lacks, so that it implies `wider`.
    pub fn within(&self, wider: &Self) -> Self {
        let mut narrow = self.clone();
        narrow.match_expressions.extend(self.lacks(wider).match_expressions);
        narrow
    }

    /// True if the selector matches these labels, whatever values the labels that are not among
    /// them get whose keys are `open`.
    pub fn keeps(&self, labels: &Labels, open: impl Fn(&str) -> bool) -> bool {
        self.conditions()
            .all(|one| (labels.contains_key(&one.key) || !open(&one.key)) && one.holds(labels))
    }

    /// All conditions, labels that must be present among them.
    fn conditions(&self) -> impl Iterator<Item = Expression> {
        let labels = self.match_labels.iter().map(|(key, value)| Expression {
            key: key.clone(),
            operator: Operator::In,
            values: vec![value.clone()],
        });
        labels.chain(self.match_expressions.iter().cloned())
    }

    /// True if there are no conditions: everything is selected.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }
}

impl Expression {
    /// True if `wanted` holds for every label that this condition holds for.
    fn implies(&self, wanted: &Self) -> bool {
        let within = |few: &[String], many: &[String]| few.iter().all(|one| many.contains(one));
        let apart = |few: &[String], many: &[String]| few.iter().all(|one| !many.contains(one));
        self.key == wanted.key
            && match (self.operator, wanted.operator) {
                (Operator::In, Operator::In) => within(&self.values, &wanted.values),
                (Operator::In, Operator::NotIn) => apart(&self.values, &wanted.values),
                (Operator::NotIn, Operator::NotIn) => within(&wanted.values, &self.values),
                (Operator::In | Operator::Exists, Operator::Exists)
                | (Operator::DoesNotExist, Operator::DoesNotExist | Operator::NotIn) => true,
                _ => false,
            }
    }

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

/// Most conditions in the text form of a selector, as in a document.
const MAX_CONDITIONS: usize = 64;

/// Reason why a text is not a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotASelector {
    /// A condition between two commas is empty.
    #[error(
        "a selector is conditions with commas between them, such as role=gateway,site!=north,gpu,!retired: one of them is empty"
    )]
    Empty,
    /// More than 64 conditions.
    #[error("a selector has at most {MAX_CONDITIONS} conditions")]
    TooMany,
    /// Parentheses that do not enclose a list of values after `in` or `notin`.
    #[error(
        "in the selector's {condition:?}: a set is written KEY in (A,B) or KEY notin (A,B), such as role in (gateway,camera)"
    )]
    Set {
        /// Text of the condition.
        condition: String,
    },
    /// A key or value that a label cannot have.
    #[error("in the selector's {condition:?}: {source}")]
    Label {
        /// Text of the condition.
        condition: String,
        /// Fault of the key or value.
        source: IdError,
    },
}

/// Parses conditions with commas between them, such as `role=gateway,site!=north,gpu,!retired,zone
/// in (a,b),rack notin (c)`. An empty text selects everything.
///
/// In the order of the example: the label has the value (`=` or `==`), does not have it, is
/// present, is absent, has one of the values, has none of them.
///
/// # Errors
/// [`NotASelector`].
pub fn parse(text: &str) -> Result<Selector, NotASelector> {
    let mut selector = Selector::default();
    if text.trim().is_empty() {
        return Ok(selector);
    }
    for (number, condition) in conditions(text).into_iter().map(str::trim).enumerate() {
        if number == MAX_CONDITIONS {
            return Err(NotASelector::TooMany);
        }
        if condition.is_empty() {
            return Err(NotASelector::Empty);
        }
        let (key, operator, values) = split(condition)?;
        let wrong = |source| NotASelector::Label { condition: condition.to_owned(), source };
        check_label_key(key).map_err(wrong)?;
        for value in &values {
            check_label_value(value).map_err(wrong)?;
        }
        let values = values.into_iter().map(ToOwned::to_owned).collect();
        selector.match_expressions.push(Expression { key: key.to_owned(), operator, values });
    }
    Ok(selector)
}

/// Splits at commas outside of parentheses.
fn conditions(text: &str) -> Vec<&str> {
    let mut inside = false;
    let between = |c: char| {
        inside = match c {
            '(' => true,
            ')' => false,
            _ => inside,
        };
        c == ',' && !inside
    };
    text.split(between).collect()
}

/// Splits a condition into key, operator and values.
fn split(condition: &str) -> Result<(&str, Operator, Vec<&str>), NotASelector> {
    if let Some(set) = set(condition) {
        return set;
    }
    Ok(if let Some((key, value)) = condition.split_once("!=") {
        (key.trim(), Operator::NotIn, vec![value.trim()])
    } else if let Some((key, value)) = condition.split_once('=') {
        (key.trim(), Operator::In, vec![value.strip_prefix('=').unwrap_or(value).trim()])
    } else if let Some(key) = condition.strip_prefix('!') {
        (key.trim(), Operator::DoesNotExist, Vec::new())
    } else {
        (condition, Operator::Exists, Vec::new())
    })
}

/// Key, operator and values of a condition.
type Condition<'a> = (&'a str, Operator, Vec<&'a str>);

/// Parses `KEY in (A,B)` or `KEY notin (A,B)`. None: the condition has another form.
fn set(condition: &str) -> Option<Result<Condition<'_>, NotASelector>> {
    let wrong = || NotASelector::Set { condition: condition.to_owned() };
    let (key, rest) = condition.split_once(|c: char| c.is_whitespace() || c == '(')?;
    let rest = condition.get(key.len()..).unwrap_or(rest).trim_start();
    let word = |word: &str| {
        let behind = rest.strip_prefix(word)?;
        let ends = behind.is_empty() || behind.starts_with(|c: char| c == '(' || c.is_whitespace());
        ends.then(|| behind.trim_start())
    };
    let (operator, listed) = match (word("in"), word("notin")) {
        (Some(listed), _) => (Operator::In, listed),
        (_, Some(listed)) => (Operator::NotIn, listed),
        _ if condition.contains(['(', ')']) => return Some(Err(wrong())),
        _ => return None,
    };
    let listed = listed.strip_prefix('(').and_then(|listed| listed.strip_suffix(')'));
    let Some(listed) = listed.filter(|listed| !listed.contains(['(', ')'])) else {
        return Some(Err(wrong()));
    };
    let values: Vec<&str> = listed.split(',').map(str::trim).collect();
    // As in kubectl, `in ()` is the empty value; an empty one among several is a mistake.
    if values.len() > 1 && values.contains(&"") {
        return Some(Err(wrong()));
    }
    Some(Ok((key, operator, values)))
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
            ("role in (a,b)", "role=a", true),
            ("role in (a,b)", "role=b", true),
            ("role in (a,b)", "role=c", false),
            ("role in (a,b)", "", false),
            ("role in(a)", "role=a", true),
            ("role  in  ( a , b )", "role=b", true),
            ("role in ()", "role=", true),
            ("role notin (a,b)", "role=a", false),
            ("role notin (a,b)", "role=c", true),
            ("role notin (a,b)", "", true),
            ("role in (a,b),site=x,!old", "role=b,site=x", true),
            ("site=x,role notin (a,b),gpu", "site=x,role=a,gpu=1", false),
            ("in in (in)", "in=in", true),
            ("in", "in=x", true),
            ("notin=in", "notin=in", true),
        ] {
            assert_eq!(parse(text).unwrap().matches(&labels(of)), chosen, "{text} of {of}");
        }
    }

    #[test]
    fn a_selector_is_written_as_it_is_read() {
        for text in ["role=a,site!=n,gpu,!old", "role in (a,b),zone notin (c,d)", ""] {
            assert_eq!(parse(text).unwrap().words(), text);
        }
    }

    #[test]
    fn a_selector_implies_what_holds_for_all_that_it_selects() {
        for (narrow, wide, implied) in [
            ("site=kiel", "site=kiel", true),
            ("site=kiel,role=pump", "site=kiel", true),
            ("site=kiel", "site in (kiel,bonn)", true),
            ("site in (kiel,bonn)", "site=kiel", false),
            ("site=kiel", "site", true),
            ("site", "site=kiel", false),
            ("site=kiel", "site!=bonn", true),
            ("site notin (bonn,kiel)", "site!=bonn", true),
            ("site!=bonn", "site notin (bonn,kiel)", false),
            ("!site", "site!=bonn", true),
            ("site!=bonn", "!site", false),
            ("role=pump", "site=kiel", false),
            ("", "site=kiel", false),
            ("site=kiel", "", true),
        ] {
            let (narrow_one, wide_one) = (parse(narrow).unwrap(), parse(wide).unwrap());
            assert_eq!(narrow_one.implies(&wide_one), implied, "{narrow} implies {wide}");
        }
        let written = Selector {
            match_labels: BTreeMap::from([("site".to_owned(), "kiel".to_owned())]),
            ..Selector::default()
        };
        assert!(written.implies(&parse("site=kiel").unwrap()));
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in [
            ",",
            "a=b,",
            "a b",
            "=x",
            "!",
            "a=b=c",
            "-a",
            "a=ü",
            "a in",
            "a in b",
            "a in (b",
            "a in b)",
            "a in (b,)",
            "a in (b)c",
            "a in ((b))",
            "in (a)",
            "a IN (b)",
            "!a in (b)",
            "a in (b c)",
            "a=(b)",
            "(a)",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse(&"a,".repeat(99)), Err(NotASelector::TooMany));
        let said = parse("role=a b").unwrap_err().to_string();
        assert!(said.contains("role=a b"), "{said}");
    }
}
