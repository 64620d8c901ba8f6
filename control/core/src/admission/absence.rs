//! Decodes the fields of `DevicePolicy` documents.
//!
//! See decision 0132.

use super::decode::At;
use super::workload::devices;
use crate::absence::{LONGEST, SHORTEST, WhenOffline};
use crate::records::Policy;
use holdfast_api::selector::Selector;

const SPEC: &[&str] = &["devices", "whenOffline"];
const WHEN: &[&str] = &["alarmAfter"];

/// Possible values of `whenOffline`, for faults.
const WORDS: &str = "{ alarmAfter: 12h }, expected or ignore";

/// Decodes the spec of a `DevicePolicy`. `None` if faults were noted.
pub(crate) fn device_policy(at: &At<'_>) -> Option<(Selector, Policy)> {
    let spec = at.fields(SPEC)?;
    let devices = spec
        .required("devices", "which devices it holds on, such as { matchLabels: { kind: ship } }")
        .and_then(|at| devices(&at));
    let when_offline = spec
        .required("whenOffline", &format!("what it means that they are offline: {WORDS}"))
        .and_then(|at| when_offline(&at));
    Some((devices?, Policy::DevicePolicy { when_offline: when_offline? }))
}

fn when_offline(at: &At<'_>) -> Option<WhenOffline> {
    if at.value().is_object() {
        let after = at
            .fields_like(WHEN, "{ alarmAfter: 12h }")?
            .required("alarmAfter", "after how long an absence is an alarm, such as 12h")?;
        let millis = after.duration(SHORTEST * 1_000, LONGEST * 1_000)?;
        return Some(WhenOffline::AlarmAfter(millis.div_ceil(1_000)));
    }
    at.parsed(|text| match text {
        "expected" => Ok(WhenOffline::Expected),
        "ignore" => Ok(WhenOffline::Ignore),
        _ => Err(format!("unknown; there are {WORDS}")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::admission::{What, admit};

    fn document(spec: &Value) -> Value {
        json!({ "apiVersion": "holdfast/v1", "kind": "DevicePolicy", "metadata": { "name": "p" }, "spec": spec })
    }

    fn judge(when: &Value) -> Result<WhenOffline, String> {
        let spec = json!({ "devices": { "matchLabels": { "kind": "ship" } }, "whenOffline": when });
        match admit(&[document(&spec)], &|_| None) {
            Ok(admitted) => match &admitted[0].what {
                What::Policy(policy) => match **policy {
                    Policy::DevicePolicy { when_offline } => Ok(when_offline),
                    _ => panic!("another policy"),
                },
                What::Workload(_) => panic!("a workload"),
            },
            Err(faults) => Err(format!("{}: {}", faults[0].path, faults[0].message)),
        }
    }

    #[test]
    fn what_an_absence_means_is_read_from_three_forms() {
        for (written, read) in [
            (json!("expected"), WhenOffline::Expected),
            (json!("ignore"), WhenOffline::Ignore),
            (json!({ "alarmAfter": "12h" }), WhenOffline::AlarmAfter(12 * 3_600)),
            (json!({ "alarmAfter": "10s" }), WhenOffline::AlarmAfter(10)),
            (json!({ "alarmAfter": "366d" }), WhenOffline::AlarmAfter(366 * 86_400)),
        ] {
            assert_eq!(judge(&written), Ok(read), "{written}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_place() {
        for (written, said) in [
            (json!("alarm"), "spec.whenOffline: \"alarm\": unknown; there are"),
            (json!(null), "spec.whenOffline: nothing stands here"),
            (json!(12), "spec.whenOffline: 12: expected"),
            (json!({}), "spec.whenOffline.alarmAfter: is missing"),
            (json!({ "after": "1h" }), "spec.whenOffline.after"),
            (json!({ "alarmAfter": "5" }), "spec.whenOffline.alarmAfter: \"5\""),
            (json!({ "alarmAfter": "5s" }), "spec.whenOffline.alarmAfter: \"5s\""),
            (json!({ "alarmAfter": "400d" }), "spec.whenOffline.alarmAfter: \"400d\""),
        ] {
            let refused = judge(&written).unwrap_err();
            assert!(refused.starts_with(said), "{written}: {refused}");
        }
        let all = admit(&[document(&json!({ "devices": {}, "whenOfline": "x" }))], &|_| None);
        let paths: Vec<String> = all.unwrap_err().into_iter().map(|fault| fault.path).collect();
        assert_eq!(paths.len(), 3, "all faults at once: {paths:?}");
    }
}
