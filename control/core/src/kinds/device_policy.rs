//! `DevicePolicy`: whether the absence of devices is expected.
//!
//! See decision 0132.

use super::{Looked, PolicyRules, Preview};
use crate::absence::{self as rules, LONGEST, SHORTEST, WhenOffline};
use crate::admission::document::devices;
use crate::admission::{At, Words};
use crate::apply::impact::CHANGED;
use crate::desired::Documents;
use crate::policies::some;
use crate::records::{Policy, PolicyRecord};
use crate::rights::Sight;
use holdfast_api::selector::Selector;
use holdfast_api::{Explanation, PolicyStatus};

/// Words of `whenOffline`.
const WHEN: Words<'static, WhenOffline> = Words {
    about: "Absence that never becomes an alarm.",
    what: "",
    list: &[
        (
            "expected",
            "A device may be away for any time. It is counted separately, and what failed on it when it was last heard raises no alarm while it is away. Its certificate still does.",
            WhenOffline::Expected,
        ),
        (
            "ignore",
            "A device may be away for any time, is counted as ignored, and not even its certificate raises an alarm while it is away.",
            WhenOffline::Ignore,
        ),
    ],
    or: &["{ alarmAfter: 12h }"],
};

/// Implementation of the kind `DevicePolicy`.
#[derive(Debug)]
pub(super) struct DevicePolicy;

impl PolicyRules for DevicePolicy {
    fn spec(&self, at: &At<'_>) -> Option<(Selector, Policy)> {
        at.object("Choice of devices, and meaning of their absence.", "", |spec| {
            let devices = spec.required(
                "devices",
                "Devices that the policy applies to: `all`, or a selector of labels. An empty selector is refused. If several policies select a device, the one with the most conditions takes effect, of those with equally many the first by name.",
                "which devices it holds on, such as { matchLabels: { kind: ship } }",
                devices,
            );
            let when_offline = spec.required(
                "whenOffline",
                "Meaning of a device that is offline or has never connected: `expected`, `ignore`, or `{ alarmAfter: 12h }`.",
                "what it means that they are offline: { alarmAfter: 12h }, expected or ignore",
                |at| at.either(|value| !value.is_object(), |at| at.word(&WHEN), alarm_after),
            );
            Some((devices?, Policy::DevicePolicy { when_offline: when_offline? }))
        })
    }

    fn preview(&self, documents: &Documents<'_>, record: &PolicyRecord) -> Preview {
        let model = documents.model();
        Preview {
            changed: rules::changes(model, documents.policies(), &record.name, CHANGED),
            streams: 0,
            warning: rules::shadowed(model, &Sight::All, documents.policies(), record),
        }
    }

    fn effect(&self, devices: u64, _preview: &Preview) -> String {
        format!("chooses {}", some(devices, "device"))
    }

    fn status(
        &self,
        looked: &Looked<'_>,
        record: &PolicyRecord,
        _followed: PolicyStatus,
    ) -> PolicyStatus {
        rules::policy_status(looked.model, looked.sight, &record.name, looked.now)
    }

    fn explain(&self, looked: &Looked<'_>, record: &PolicyRecord) -> Explanation {
        rules::explain_policy(looked.model, looked.sight, record, looked.now)
    }
}

fn alarm_after(at: &At<'_>) -> Option<WhenOffline> {
    let about = "Absence that becomes an alarm after some time.";
    at.object(about, "{ alarmAfter: 12h }", |fields| {
        let millis = fields.required(
            "alarmAfter",
            "Time after which an absence is an alarm, `10s` to `366d`; until then it is expected. Without a policy it is 5 minutes for a device that was connected before, and 15 minutes for one that never was.",
            "after how long an absence is an alarm, such as 12h",
            |at| at.duration(SHORTEST * 1_000, LONGEST * 1_000),
        );
        Some(WhenOffline::AlarmAfter(millis?.div_ceil(1_000)))
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
                What::Workload(..) => panic!("a workload"),
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
