//! Form of what documents of all kinds have: version, kind, metadata, and the choice of devices.
//!
//! See decision 0147.

use holdfast_base::ids::{Labels, Name, check_label_key, check_label_value};
use serde_json::{Value, json};

use super::admitted::{Admitted, What};
use super::at::{At, Words};
use crate::kinds::Facts;
use holdfast_api::API_VERSION;
use holdfast_api::selector::{ALL, Expression, Operator, Selector};

/// Most labels of a document, as of a device.
const MAX_LABELS: usize = 64;

/// Regular expressions of names and of values of labels, for the schema.
pub(crate) const NAME: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
const LABEL_VALUE: &str = "^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$";

/// Decodes a document of any kind, with `decode` for its spec. `None` if faults were noted.
pub(super) fn document(
    at: &At<'_>,
    facts: &Facts,
    decode: impl Fn(&At<'_>) -> Option<(Selector, What)>,
) -> Option<Admitted> {
    at.object(facts.about, "", |document| {
        // Version and kind are checked before anything else of the document.
        document.constant("apiVersion", "Version of the format of documents.", API_VERSION);
        document.constant("kind", "Kind of this document.", facts.words.document);
        let named = document.required("metadata", "", "it holds the name", metadata);
        let spec = document.required("spec", "", facts.says, |at| {
            let (devices, what) = decode(at)?;
            Some((devices, what, at.value().clone()))
        });
        let (Named { name, labels, resource_version }, (devices, what, written)) = (named?, spec?);
        Some(Admitted { name, labels, resource_version, devices, what, written })
    })
}

struct Named {
    name: Name,
    labels: Labels,
    resource_version: Option<u64>,
}

fn metadata(at: &At<'_>) -> Option<Named> {
    at.object("Name and labels of a document.", "", |metadata| {
        let name = metadata.required(
            "name",
            "Name of the document: 1 to 63 of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit.",
            "everything has one",
            |at| at.put("pattern", NAME).parsed(str::parse::<Name>),
        );
        let labels = metadata.or(
            "labels",
            "Labels of the document, for people and for `holdfast get -l`. They do not select devices.",
            Labels::new(),
            |at| Some(labels(at)),
        );
        let resource_version = metadata.maybe(
            "resourceVersion",
            "Resource version of the document that was edited, which guards against overwriting another change: nothing is applied if the stored version differs. Default: the stored document is replaced.",
            |at| at.whole(0, u64::MAX),
        );
        Some(Named { name: name?, labels: labels?, resource_version: resource_version? })
    })
}

/// Decodes labels. Faults are noted, and labels with a faulty value left out.
fn labels(at: &At<'_>) -> Labels {
    let entries = at.entries();
    if entries.len() > MAX_LABELS {
        at.fault(format!("{} labels, at most {MAX_LABELS}", entries.len()));
        return Labels::new();
    }
    let mut labels = Labels::new();
    for (key, at) in entries {
        if let Err(why) = check_label_key(key) {
            at.fault(why.to_string());
        }
        if let Some(value) = at.parsed(|value| check_label_value(value).map(|()| value.to_owned()))
        {
            labels.insert(key.to_owned(), value);
        }
    }
    labels
}

/// Decodes a choice of devices: `all`, or a selector of labels.
pub(crate) fn devices(at: &At<'_>) -> Option<Selector> {
    at.put("description", "Choice of devices: `all`, or a selector of labels.");
    at.either(Value::is_string, all_devices, selector)
}

fn all_devices(at: &At<'_>) -> Option<Selector> {
    let every = "Every device, whatever its labels, and those that enrol later.";
    let list = [(ALL, every, ())];
    let about = "Word in the place of a selector.";
    if at.value().is_string() && at.value() != ALL {
        at.refuse("the only word here is all, for every device; others are chosen by matchLabels, matchExpressions");
        return None;
    }
    at.word(&Words { about, what: "", list: &list, or: &[] }).map(|()| Selector::default())
}

fn selector(at: &At<'_>) -> Option<Selector> {
    let about = "Selector of devices by their labels. All of its conditions must hold.";
    at.object(about, "", |fields| {
        fields.put("minProperties", 1);
        let match_labels = fields.or(
            "matchLabels",
            "Labels that a device must have, with exactly these values.",
            Labels::new(),
            |at| Some(labels(at)),
        );
        let expressions = fields.or(
            "matchExpressions",
            "Further conditions on labels, all of which must hold.",
            Vec::new(),
            |at| Some(expressions(at)),
        );
        let (match_labels, expressions) = (match_labels?, expressions?);
        let written = fields.get("matchLabels").is_some_and(|at| at.value() != &json!({}));
        if !written && expressions.is_empty() {
            at.fault(
                "an empty selector chooses no device; to choose every device write devices: all",
            );
            return None;
        }
        Some(Selector {
            match_labels,
            match_expressions: expressions.into_iter().flatten().collect(),
        })
    })
}

/// Decodes conditions. `None` stands for one with a fault.
fn expressions(at: &At<'_>) -> Vec<Option<Expression>> {
    let count = at.value().as_array().map_or(0, Vec::len);
    if count > MAX_LABELS {
        at.fault(format!("{count} expressions, at most {MAX_LABELS}"));
        return vec![None];
    }
    at.each(expression)
}

fn expression(at: &At<'_>) -> Option<Expression> {
    let label_value = |at: &At<'_>| {
        at.put("pattern", LABEL_VALUE)
            .parsed(|value| check_label_value(value).map(|()| value.to_owned()))
    };
    at.object("Condition on one label of a device.", "", |fields| {
        let key = fields.required("key", "Key of the device's label.", "the label's key", |at| {
            at.parsed(|key| check_label_key(key).map(|()| key.to_owned()))
        });
        let operator = fields.required(
            "operator",
            "Comparison of the label with `values`.",
            "In, NotIn, Exists or DoesNotExist",
            |at| at.word(&OPERATORS),
        );
        let values = fields.or(
            "values",
            "Values to compare with, for `In` and `NotIn` only.",
            Vec::new(),
            |at| Some(at.each(label_value)),
        );
        let (operator, values) = (operator?, values?);
        let wants_values = matches!(operator, Operator::In | Operator::NotIn);
        if wants_values && values.is_empty() {
            at.missing("values", &format!("{operator:?} compares with at least one"));
            return None;
        }
        if !wants_values && !values.is_empty() {
            fields.get("values")?.fault(format!("{operator:?} takes no values"));
            return None;
        }
        Some(Expression { key: key?, operator, values: values.into_iter().flatten().collect() })
    })
}

const OPERATORS: Words<'static, Operator> = Words {
    about: "Comparison of a label.",
    what: "operator",
    list: &[
        ("In", "The label has one of the values.", Operator::In),
        ("NotIn", "The label has none of the values, or is absent.", Operator::NotIn),
        ("Exists", "The label is present with any value.", Operator::Exists),
        ("DoesNotExist", "The label is absent.", Operator::DoesNotExist),
    ],
    or: &[],
};
