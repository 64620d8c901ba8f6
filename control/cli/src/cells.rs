//! Contents of documents of the API in short, for tables and descriptions.

use holdfast_base::ids::Labels;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::{Failure, Outcome};
use holdfast_api::Revision;

/// Longest list of problems in a table that is not wide, in characters.
const NARROW: usize = 48;

/// Reads a document of the API into its type.
pub(crate) fn read<T: DeserializeOwned>(item: &Value) -> Outcome<T> {
    T::deserialize(item).map_err(|error| {
        Failure::failed(format!(
            "the control plane's answer is not understood ({error}): is it as new as this program? \
             -o json shows it as it is"
        ))
    })
}

/// Returns in short what a workload's spec runs.
pub(crate) fn runs(spec: &Value) -> String {
    let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str);
    let args = spec.pointer("/run/process/args").and_then(Value::as_array);
    let args = args.into_iter().flatten().filter_map(Value::as_str);
    let program = text("/run/process/path").map(ToOwned::to_owned).or_else(|| {
        // Twelve digits of a digest tell artifacts apart.
        text("/run/process/artifact").map(|digest| digest.chars().take(7 + 12).collect())
    });
    let words: Vec<String> = program.into_iter().chain(args.map(ToOwned::to_owned)).collect();
    cut(&words.join(" "))
}

/// Returns in short which devices a spec chooses.
pub(crate) fn chosen(spec: &Value) -> String {
    if spec.get("devices").and_then(Value::as_str) == Some(holdfast_api::selector::ALL) {
        return "all devices".to_owned();
    }
    let selector: holdfast_api::selector::Selector =
        spec.get("devices").and_then(|devices| read(devices).ok()).unwrap_or_default();
    let mut parts: Vec<String> =
        selector.match_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    parts.extend(selector.match_expressions.iter().map(|expression| {
        use holdfast_api::selector::Operator;
        let (key, values) = (&expression.key, expression.values.join("|"));
        match expression.operator {
            Operator::In => format!("{key}={values}"),
            Operator::NotIn => format!("{key}!={values}"),
            Operator::Exists => key.clone(),
            Operator::DoesNotExist => format!("!{key}"),
        }
    }));
    parts.join(",")
}

/// Returns labels on one line.
pub(crate) fn labels(labels: &Labels) -> String {
    pairs(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

/// Returns keys with their values on one line.
pub(crate) fn pairs<'a>(all: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    all.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// Shortens a text to what a narrow table has room for.
pub(crate) fn cut(text: &str) -> String {
    if text.chars().count() <= NARROW {
        return text.to_owned();
    }
    let short: String = text.chars().take(NARROW - 1).collect();
    format!("{short}…")
}

/// Returns the words by which people know who made a revision.
pub(crate) fn made_by(revision: &Revision) -> &str {
    revision.created_by_name.as_deref().unwrap_or(&revision.created_by)
}
