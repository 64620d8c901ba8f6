//! `Sample`: a kind that exists in tests alone. Everything that it needs beside the lists of
//! `kinds/mod.rs` stands in this file, which shows what a new kind costs. It chooses no devices, no
//! device gets it, and it has a secret.

use holdfast_protocol::enrol::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{AnyKind, Facts, Looked, Page, PolicyRules, Preview};
use crate::admission::{At, Words, admit, schema};
use crate::alarms::delivery::Standings;
use crate::apply::{Refusal, plan};
use crate::change::Change;
use crate::loading::Late;
use crate::model::{Model, key};
use crate::records::{Policy, PolicyKind, PolicyRecord};
use crate::rights::Sight;
use holdfast_api::PolicyStatus;
use holdfast_api::kinds::{Case, Column, DocumentKind, Section, Show, Tone};
use holdfast_api::selector::Selector;

/// Words and columns. Those of a real kind stand in `control/api/src/kinds.rs`.
static SAMPLE: DocumentKind = DocumentKind {
    document: "Sample",
    word: "sample",
    plural: "samples",
    short: "",
    about: "Samples of the tests",
    path: &["policies", "samples"],
    columns: &[Column {
        heading: "MODE",
        wide: false,
        cases: &[Case { at: "/spec/mode", show: Show::Value, tone: Tone::Plain }],
    }],
    sections: &[Section::Document],
};

/// Largest number of samples in a store.
const MOST: usize = 3;

/// Bounds of the kind. Those of a real kind stand in `kinds/mod.rs`.
pub(super) static FACTS: Facts = Facts {
    chooses: false,
    ..Facts::of(&SAMPLE, MOST, "A kind of the tests.", "it says the mode")
};

/// Text that is shown in the place of a secret.
const HIDDEN: &str = "(hidden)";

/// Content of a `Sample` document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    mode: Mode,
    secret: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Mode {
    Slow,
    Fast,
}

const MODES: Words<'static, Mode> = Words {
    about: "Mode of a sample.",
    what: "mode",
    list: &[("slow", "Takes its time.", Mode::Slow), ("fast", "Takes no time.", Mode::Fast)],
    or: &[],
};

/// Implementation of the kind `Sample`.
#[derive(Debug)]
pub(super) struct Sample;

impl PolicyRules for Sample {
    fn spec(&self, at: &At<'_>) -> Option<(Selector, Policy)> {
        at.object("Content of a sample.", "{ mode: slow }", |spec| {
            let mode =
                spec.required("mode", "Mode of the sample. No default.", "slow or fast", |at| {
                    at.word(&MODES)
                });
            let secret = spec.or("secret", "Secret of the sample.", String::new(), |at| {
                at.text().map(ToOwned::to_owned)
            });
            let sample = Content { mode: mode?, secret: secret? };
            Some((Selector::default(), Policy::Sample { sample }))
        })
    }

    fn effect(&self, _devices: u64, _preview: &Preview) -> String {
        "samples what is there".to_owned()
    }

    fn keep_secrets(
        &self,
        written: &mut Value,
        policy: &mut Policy,
        known: Option<&Policy>,
    ) -> Result<(), Vec<Fault>> {
        let Policy::Sample { sample } = policy else { return Ok(()) };
        if sample.secret != HIDDEN {
            return Ok(());
        }
        let Some(Policy::Sample { sample: known }) = known else {
            let fault = Fault {
                path: "spec.secret".into(),
                message: "is not stored".into(),
                of_key: false,
            };
            return Err(vec![fault]);
        };
        sample.secret.clone_from(&known.secret);
        written["secret"] = json!(sample.secret);
        Ok(())
    }

    fn shown(&self, record: &PolicyRecord) -> Value {
        let mut written = record.written.clone();
        if let Some(secret) = written.get_mut("secret") {
            *secret = json!(HIDDEN);
        }
        written
    }

    fn status(&self, _: &Looked<'_>, _: &PolicyRecord, _: PolicyStatus) -> PolicyStatus {
        PolicyStatus { misfits: vec!["it is only a sample".to_owned()], ..Default::default() }
    }
}

fn document(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "holdfast/v1", "kind": "Sample", "metadata": { "name": name }, "spec": spec,
    })
}

fn refused(spec: Value) -> Vec<String> {
    let faults = admit(&[document("s", spec)], &|_| None).unwrap_err();
    faults.iter().map(ToString::to_string).collect()
}

/// Applies a document and returns the rows that are written.
fn apply(model: &mut Model, name: &str, spec: Value) -> Vec<(String, Option<Vec<u8>>)> {
    let plan = plan(model, admit(&[document(name, spec)], &|_| None).unwrap(), 8).unwrap();
    let mut change = Change::new(model, 8);
    plan.carry_out(&mut change, "me", None);
    change.finish().writes.rows
}

#[test]
fn faults_and_schema_come_from_the_one_description_of_the_fields() {
    let found = refused(json!({ "mode": "quick", "secret": 7, "extra": 1 }));
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0], "spec.extra: unknown field; known here: mode, secret");
    assert_eq!(found[1], "spec.mode: \"quick\": unknown mode; there are slow and fast");
    assert!(found[2].starts_with("spec.secret: 7: expected text"), "{found:?}");
    assert_eq!(refused(json!({}))[0], "spec.mode: is missing: slow or fast");
    let spec = schema().pointer("/$defs/SampleDocument/properties/spec").cloned().unwrap();
    assert_eq!(spec["required"], json!(["mode"]));
    assert_eq!(spec["additionalProperties"], json!(false));
    let mode = &spec["properties"]["mode"];
    assert_eq!(mode["description"], "Mode of the sample. No default.");
    assert_eq!(mode["oneOf"][1]["const"], "fast");
    assert_eq!(mode["oneOf"][1]["description"], "Takes no time.");
    assert_eq!(spec["properties"]["secret"]["type"], "string");
}

#[test]
fn it_is_planned_stored_read_back_listed_and_explained() {
    let mut model = Model::empty("acme".parse().unwrap());
    let spec = json!({ "mode": "fast", "secret": "x" });
    let admitted = admit(&[document("s", spec.clone())], &|_| None).unwrap();
    let dry = plan(&model, admitted, 7).unwrap();
    let result = &dry.applied.results[0];
    assert_eq!((result.kind.as_str(), result.action.as_str()), ("Sample", "created"));
    assert_eq!(result.effect, "samples what is there");
    assert!(result.warnings.is_empty(), "it chooses no device: {:?}", result.warnings);
    assert_eq!(result.after["spec"]["secret"], HIDDEN);

    let rows = apply(&mut model, "s", spec);
    let wanted = (PolicyKind::Sample, "s".parse().unwrap());
    let stored = key::of(&model.tenant, &key::policy(&wanted));
    let (_, row) = rows.iter().find(|(row, _)| *row == stored).unwrap();
    let mut again = Model::empty("acme".parse().unwrap());
    again.take(&mut Late::default(), "sample/s", row.as_ref().unwrap()).unwrap();
    let record = &again.policies[&wanted].record;
    assert_eq!(record, &model.policies[&wanted].record, "the row reads back");

    let told = Standings::new();
    let looked = Looked { model: &again, sight: &Sight::All, told: &told, now: 9 };
    let (kind, selector) = (AnyKind::parse("samples").unwrap(), Selector::default());
    let list = |after| kind.list(&looked, &Page { after, selector: &selector, limit: 10 });
    assert!(list("s").is_empty(), "nothing comes after it");
    let [(name, listed)] = &list("")[..] else { panic!("one is stored") };
    let listed = serde_json::to_value(listed).unwrap();
    assert_eq!(name, "s");
    let shown = serde_json::to_value(kind.show(&looked, "s")).unwrap();
    assert_eq!(shown, listed, "by itself it is as in the list");
    assert!(kind.show(&looked, "t").is_none() && !kind.delivers());
    assert_eq!(listed["status"]["misfits"][0], "it is only a sample");
    assert_eq!(listed["spec"], json!({ "mode": "fast", "secret": HIDDEN }));
    let (case, value) = SAMPLE.columns[0].content(&listed).unwrap();
    assert_eq!((case.show, value), (Show::Value, &json!("fast")));

    let explained = kind.explain(&looked, "s").unwrap();
    assert_eq!((explained.kind.as_str(), explained.settled), ("sample", true));
    assert_eq!(explained.reasons, ["it is only a sample"]);
    assert!(AnyKind::Policy(PolicyKind::Sample).explain(&looked, "t").is_none());
}

#[test]
fn what_the_model_forbids_is_refused() {
    let mut model = Model::empty("acme".parse().unwrap());
    let hidden = json!({ "mode": "slow", "secret": HIDDEN });
    let planned = |model: &Model, name: &str, spec: &Value| {
        plan(model, admit(&[document(name, spec.clone())], &|_| None).unwrap(), 7)
    };
    assert!(matches!(planned(&model, "s", &hidden), Err(Refusal::Secret(_))));
    for number in 0..MOST {
        let name = format!("s-{number}");
        apply(&mut model, &name, json!({ "mode": "slow", "secret": "x" }));
    }
    let kept = planned(&model, "s-0", &hidden).unwrap();
    assert_eq!(kept.applied.results[0].action.as_str(), "unchanged", "the stored secret is kept");
    let full = planned(&model, "one-more", &json!({ "mode": "slow" }));
    assert_eq!(full.unwrap_err(), Refusal::Full { most: MOST, plural: "samples" });
}
