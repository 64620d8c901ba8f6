//! Faults of documents: collected with their paths, and with advice on misspelt words.
//!
//! See decision 0101.

use std::cell::{Cell, RefCell};

use holdfast_api::path::shorten;
use holdfast_protocol::enrol::Fault;
use serde_json::Value;

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
    pub(super) fn unknown(&self, path: &str, advice: &str) {
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
