//! Revisions of workloads in the API's form: the paths that changed from one to the next, how many
//! devices report each, and a document that can be applied again.
//!
//! See decision 0117.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use serde_json::{Value, json};

use super::model::{Model, Workload};
use super::records::{RevisionRecord, Standing};
use super::rights::Sight;
use holdfast_api::time::rfc3339;
use holdfast_api::{API_VERSION, Metadata};

/// Counts the approved devices in sight that report each revision of each workload. `only`: of the
/// workload with this name.
pub fn reported(
    model: &Model,
    sight: &Sight<'_>,
    only: Option<&str>,
) -> BTreeMap<(Name, u64), u64> {
    let mut all = BTreeMap::new();
    let approved = model.devices.values().filter(|device| {
        device.record.standing == Standing::Approved && sight.sees(&device.record.labels)
    });
    for (name, said) in approved.flat_map(|device| &device.report.workloads) {
        if only.is_none_or(|only| only == name.as_str()) {
            *all.entry((name.clone(), said.revision)).or_insert(0) += 1;
        }
    }
    all
}

/// Converts a revision to the API's form. `at` is its index among the workload's revisions,
/// `devices` the number of devices that report it.
pub fn shown(
    workload: &Workload,
    at: usize,
    record: &RevisionRecord,
    devices: u64,
) -> holdfast_api::Revision {
    let before = at.checked_sub(1).and_then(|at| workload.revisions.get(at));
    holdfast_api::Revision {
        api_version: API_VERSION.into(),
        kind: "Revision".into(),
        metadata: Metadata {
            name: format!("{}.{}", record.workload, record.revision),
            labels: record.labels.clone(),
            resource_version: record.version,
            created_at: Some(rfc3339(record.created_at)),
            updated_at: None,
        },
        workload: record.workload.to_string(),
        revision: record.revision,
        created_by: record.created_by.to_string(),
        created_by_name: record.created_by_name.as_deref().map(str::to_owned),
        current: record.revision == workload.record.revision,
        devices,
        changed: before.map_or_else(Vec::new, |it| paths(&it.written, &record.written)),
        spec: record.written.clone(),
    }
}

/// Returns the document that would make the content of a revision the newest one again.
pub fn document(record: &RevisionRecord, resource_version: Option<u64>) -> Value {
    let mut metadata = json!({ "name": record.workload });
    if let Some(metadata) = metadata.as_object_mut() {
        if !record.labels.is_empty() {
            metadata.insert("labels".into(), json!(record.labels));
        }
        if let Some(version) = resource_version {
            metadata.insert("resourceVersion".into(), json!(version));
        }
    }
    json!({
        "apiVersion": API_VERSION, "kind": "Workload", "metadata": metadata,
        "spec": record.written,
    })
}

/// Most changed paths that are listed.
pub const MAX_PATHS: usize = 20;

/// Returns the paths at which two documents differ, such as `run.process.args`, at most
/// [`MAX_PATHS`]. A path is as deep as both documents have objects there.
pub fn paths(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(before, after, "", &mut found);
    found.truncate(MAX_PATHS);
    found
}

fn walk(before: &Value, after: &Value, path: &str, found: &mut Vec<String>) {
    if before == after || found.len() >= MAX_PATHS {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        found.push(path.to_owned());
        return;
    };
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let whole = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (old.get(key), new.get(key)) {
            (Some(before), Some(after)) => walk(before, after, &whole, found),
            _ => found.push(whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_other_is_named_by_its_path() {
        let old = json!({ "run": { "process": { "path": "/bin/a", "args": ["1"] } },
            "devices": "all", "config": { "a.conf": "1" } });
        for (new, found) in [
            (old.clone(), vec![]),
            (
                json!({ "run": { "process": { "path": "/bin/a", "args": ["2"] } },
                    "devices": { "matchLabels": { "site": "a" } }, "config": { "a.conf": "1" } }),
                vec!["devices", "run.process.args"],
            ),
            (
                json!({ "run": { "process": { "path": "/bin/a", "args": ["1"] } },
                    "devices": "all", "config": { "b.conf": "1" }, "stop": {} }),
                vec!["config.a.conf", "config.b.conf", "stop"],
            ),
            (json!(7), vec![""]),
        ] {
            assert_eq!(paths(&old, &new), found, "{new}");
        }
        let many =
            |value: u8| Value::Object((0..99).map(|at| (at.to_string(), json!(value))).collect());
        assert_eq!(paths(&many(1), &many(2)).len(), MAX_PATHS);
    }
}
