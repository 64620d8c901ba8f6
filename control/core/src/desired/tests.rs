use holdfast_api::selector::Selector;
use holdfast_base::ids::Labels;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::{KnownPolicy, Workload};
use crate::records::{PolicyKind, PolicyRecord};
use crate::secrets::place::{Place, Store};
use crate::secrets::references::{References, Source};
use crate::secrets::template::Piece;

const ROLES: [&str; 3] = ["a", "b", "c"];
const NAMES: [&str; 4] = ["alpha", "beta", "gamma", "delta"];
const DEVICES: [&str; 6] = ["d-0", "d-1", "d-2", "d-3", "d-4", "d-5"];

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Selects the devices of one of two roles.
fn selector(roles: [&str; 2]) -> Selector {
    let condition = json!({ "key": "role", "operator": "In", "values": roles });
    serde_json::from_value(json!({ "matchExpressions": [condition] })).unwrap()
}

fn workload(name: &str, roles: [&str; 2], revision: u64) -> WorkloadRecord {
    let process = json!({ "executable": { "path": "/bin/true" }, "args": [], "env": {} });
    let record = json!({
        "name": name, "devices": selector(roles), "spec": { "run": { "process": process } },
        "written": null, "revision": revision, "createdAt": 0, "updatedAt": 0, "version": 0,
    });
    serde_json::from_value(record).unwrap()
}

fn policy(kind: PolicyKind, name: &str, roles: [&str; 2], revision: u64) -> PolicyRecord {
    let policy = match kind {
        PolicyKind::LinkBudget => {
            json!({ "linkbudget": { "budget": { "bytes": 1_000_000, "period": "day" } } })
        }
        _ => json!({ "devicepolicy": { "when_offline": "expected" } }),
    };
    let record = json!({
        "name": name, "devices": selector(roles), "policy": policy, "written": {},
        "revision": revision, "createdAt": 0, "updatedAt": 0, "version": 0,
    });
    serde_json::from_value(record).unwrap()
}

/// Returns a `Config` document with this value.
fn config(name: &str, value: &str, revision: u64) -> PolicyRecord {
    let record = json!({
        "name": name, "devices": {}, "policy": { "config": { "config": { "data": { "k": value } } } },
        "written": {}, "revision": revision, "createdAt": 0, "updatedAt": 0, "version": 0,
    });
    serde_json::from_value(record).unwrap()
}

/// Returns references to a value of a configuration, to a label, to both or to nothing.
fn references(which: u8, one: u8, other: u8) -> References {
    let mut references = References::default();
    let (name, key) = (name(NAMES[usize::from(which / 4) % 4]), "k".to_owned());
    let place = Place { store: Store::Config, name, key };
    if one % 2 == 1 {
        references.env.insert("A".into(), Source::Value(place));
    }
    if other % 2 == 1 {
        let pieces = vec![Piece::Label { key: "role".into(), default: None }];
        references.files.insert("b".into(), Source::Template(pieces));
    }
    references
}

fn device(name: &str, role: &str, standing: &str) -> Device {
    let record = json!({
        "name": name, "shard": 1, "publicKey": name, "standing": standing, "createdAt": 1,
        "updatedAt": 1, "version": 1, "token": "t", "labels": { "role": role },
        "sealingKey": "key",
    });
    Device::new(serde_json::from_value(record).unwrap())
}

fn world() -> Model {
    let mut model = Model::empty(name("default"));
    for (at, device_name) in DEVICES.into_iter().enumerate() {
        let standing = ["approved", "approved", "approved", "approved", "pending", "revoked"][at];
        model.devices.insert(name(device_name), device(device_name, ROLES[at % 3], standing));
    }
    model
}

fn follow(model: &mut Model, changed: Changed) {
    for (name, desired) in changed {
        let device = model.devices.get_mut(&name).unwrap();
        assert!(desired.generation > device.desired.generation);
        device.desired = desired;
    }
}

/// One change of documents or of a device, by numbers.
type Step = (u8, u8, u8, u8);

/// Carries out one step as the control plane does, by [`diff`] or [`admit_device`].
fn step(model: &mut Model, number: u64, (what, which, one, other): Step) {
    let roles = [ROLES[usize::from(one) % 3], ROLES[usize::from(other) % 3]];
    let called = name(NAMES[usize::from(which) % 4]);
    let changed = match what % 8 {
        0 => {
            let mut record = workload(called.as_str(), roles, number);
            record.references = references(which, one, other);
            if let Some(known) = model.workloads.get(&called) {
                record.paused = known.record.paused.clone();
            }
            let changed = diff(&Documents::of(model).with_workload(&record));
            model.workloads.insert(called, Workload::new(record));
            changed
        }
        1 => {
            let changed = diff(&Documents::of(model).without_workload(&called));
            model.workloads.remove(&called);
            changed
        }
        2 => {
            let Some(known) = model.workloads.get(&called) else { return };
            let mut record = known.record.clone();
            let stamp = Stamp { by: "me".into(), by_name: None, at: number };
            let on = [name(DEVICES[usize::from(one) % 6])];
            let on = (other % 3 > 0).then_some(&on[..]);
            match other % 2 {
                0 => record.paused.pause(on, &stamp).unwrap(),
                _ => record.paused.resume(on).unwrap(),
            }
            let changed = diff(&Documents::of(model).with_workload(&record));
            model.workloads.get_mut(&called).unwrap().record = record;
            changed
        }
        3 => {
            let kind = [PolicyKind::LinkBudget, PolicyKind::DevicePolicy][usize::from(one) % 2];
            let record = policy(kind, called.as_str(), roles, number);
            let changed = diff(&Documents::of(model).with_policy(&record));
            model.policies.insert(record.key(), KnownPolicy::new(record));
            changed
        }
        6 => {
            let record = config(called.as_str(), &format!("{}", other % 3), number);
            let changed = diff(&Documents::of(model).with_policy(&record));
            model.policies.insert(record.key(), KnownPolicy::new(record));
            changed
        }
        4 | 7 => {
            let kind = if what % 8 == 4 { PolicyKind::LinkBudget } else { PolicyKind::Config };
            let key = (kind, called);
            let changed = diff(&Documents::of(model).without_policy(&key));
            model.policies.remove(&key);
            changed
        }
        _ => {
            let mut device = model.devices[&name(DEVICES[usize::from(which) % 6])].clone();
            device.record.labels = Labels::from([("role".into(), roles[0].into())]);
            let next = admit_device(model, &device).unwrap();
            let name = device.record.name.clone();
            model.devices.insert(name.clone(), device);
            next.map(|next| (name, next)).into_iter().collect()
        }
    };
    follow(model, changed);
}

proptest! {
    #[test]
    fn what_changes_one_after_the_other_comes_to_what_is_projected(
        steps in prop::collection::vec(any::<Step>(), 1..60)
    ) {
        let mut model = world();
        for (number, it) in steps.into_iter().enumerate() {
            step(&mut model, number as u64 + 1, it);
            let documents = Documents::of(&model);
            for device in model.devices.values() {
                let wanted = project(&documents, device);
                prop_assert_eq!(&wanted, &Wanted::present(&device.desired), "{:?}", it);
            }
            prop_assert!(diff(&documents).is_empty(), "nothing is changed twice");
            for record in model.workloads.values().map(|known| &known.record) {
                prop_assert!(diff(&Documents::of(&model).with_workload(record)).is_empty());
            }
        }
    }
}

#[test]
fn documents_are_listed_in_order_with_their_changes() {
    let mut model = world();
    for known in ["beta", "delta"] {
        let record = workload(known, ["a", "b"], 1);
        model.workloads.insert(name(known), Workload::new(record));
    }
    let (alpha, beta) = (workload("alpha", ["a", "b"], 2), workload("beta", ["a", "b"], 2));
    let zeta = workload("zeta", ["a", "b"], 2);
    let documents = Documents::of(&model);
    let names = |documents: &Documents<'_>| {
        documents.workloads().map(|it| format!("{}.{}", it.name, it.revision)).collect::<Vec<_>>()
    };
    assert_eq!(names(&documents), ["beta.1", "delta.1"]);
    let documents = documents.with_workload(&alpha).with_workload(&beta).with_workload(&zeta);
    assert_eq!(names(&documents), ["alpha.2", "beta.2", "delta.1", "zeta.2"]);
    let documents = documents.without_workload(&beta.name).without_workload(&name("delta"));
    assert_eq!(names(&documents), ["alpha.2", "zeta.2"]);
    assert!(documents.workload(&beta.name).is_none());
    assert_eq!(documents.workload_size(&beta.name), 0);
    assert!(documents.workload_size(&alpha.name) > 20);
}

#[test]
fn a_device_that_is_not_approved_gets_nothing_new_and_keeps_nothing_that_is_gone() {
    let mut model = world();
    let (one, other) = (workload("alpha", ["a", "b"], 1), workload("beta", ["a", "b"], 1));
    for record in [&one, &other] {
        let changed = diff(&Documents::of(&model).with_workload(record));
        model.workloads.insert(record.name.clone(), Workload::new(record.clone()));
        follow(&mut model, changed);
    }
    let revoked = name("d-0");
    model.devices.get_mut(&revoked).unwrap().record.standing = Standing::Revoked;
    let newer = workload("alpha", ["a", "b"], 2);
    let changed = diff(&Documents::of(&model).with_workload(&newer));
    assert!(!changed.is_empty() && changed.iter().all(|(name, _)| *name != revoked));
    let changed = diff(&Documents::of(&model).without_workload(&one.name));
    let (_, kept) = changed.iter().find(|(name, _)| *name == revoked).unwrap();
    assert_eq!(kept.workloads, [(other.name.clone(), 1)]);
    assert_eq!(kept.generation, 3);
    assert_eq!(admit_device(&model, &model.devices[&revoked]), Ok(None));
}

#[test]
fn a_name_that_a_deleted_device_had_is_told_of_an_empty_state() {
    let mut model = world();
    let fresh = device("d-9", "a", "approved");
    assert_eq!(admit_device(&model, &fresh), Ok(None), "there is nothing to say");
    model.meta.generation_floor = 7;
    let next = admit_device(&model, &fresh).unwrap().unwrap();
    assert_eq!((next.generation, next.workloads.len()), (8, 0));
    let said = Device { desired: next, ..fresh };
    assert_eq!(admit_device(&model, &said), Ok(None), "it was said");
}

#[test]
fn a_state_that_fits_into_no_message_is_a_fault() {
    let mut model = world();
    let mut large = workload("alpha", ["a", "b"], 1);
    large.spec.config.insert("file".into(), "x".repeat(MAX_MESSAGE));
    let documents = Documents::of(&model).with_workload(&large);
    let changed = diff(&documents);
    let faults = faults(&documents, &changed);
    assert_eq!(faults.len(), changed.len());
    assert_eq!(faults[0].path, "devices.d-0");
    model.workloads.insert(large.name.clone(), Workload::new(large));
    let fault = admit_device(&model, &model.devices[&name("d-0")]).unwrap_err();
    assert!(fault.message.starts_with("its 1 workloads, their secrets"), "{fault}");
}

/// Applies a document and returns the devices that it changes, with their new desired states.
fn apply(model: &mut Model, record: PolicyRecord) -> Changed {
    let changed = diff(&Documents::of(model).with_policy(&record));
    model.policies.insert(record.key(), KnownPolicy::new(record));
    follow(model, changed.clone());
    changed
}

#[test]
fn a_version_follows_from_the_content_alone() {
    let mut model = world();
    apply(&mut model, config("alpha", "one", 1));
    let mut record = workload("w", ["a", "b"], 1);
    record.references = references(0, 1, 0);
    let changed = diff(&Documents::of(&model).with_workload(&record));
    model.workloads.insert(record.name.clone(), Workload::new(record.clone()));
    follow(&mut model, changed);
    let given = |model: &Model| model.devices[&name("d-0")].desired.sealed[&record.name].clone();
    let first = given(&model);
    assert_eq!((first.since, first.before.is_none()), (1, true));
    assert!(first.version > 0 && first.version < 1 << 53);
    let changed = apply(&mut model, config("alpha", "two", 2));
    let names: Vec<&str> = changed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["d-0", "d-1", "d-3"], "no other device uses it");
    let second = given(&model);
    assert_ne!(second.version, first.version);
    assert_eq!((second.since, second.before.unwrap().uses), (2, first.uses));
    assert!(apply(&mut model, config("beta", "two", 3)).is_empty(), "nobody uses it");
    apply(&mut model, config("alpha", "one", 4));
    assert_eq!(given(&model).version, first.version, "the same content, the same version");
}

#[test]
fn what_a_device_lacks_is_a_fault() {
    let mut model = world();
    let mut record = workload("w", ["a", "b"], 1);
    record.references = references(0, 0, 1);
    model.workloads.insert(record.name.clone(), Workload::new(record));
    let mut bare = device("d-9", "a", "approved");
    bare.record.sealing_key = None;
    let fault = admit_device(&model, &bare).unwrap_err();
    assert_eq!(fault.path, "devices.d-9");
    assert!(fault.message.contains("workload w") && fault.message.contains("update the agent"));
    let mut other = device("d-9", "a", "approved");
    other.record.labels.insert("x".into(), "y".into());
    assert!(admit_device(&model, &other).unwrap().is_some());
    let pieces = vec![Piece::Label { key: "site".into(), default: None }];
    let known = model.workloads.get_mut(&name("w")).unwrap();
    known.record.references.files.insert("b".into(), Source::Template(pieces));
    let fault = admit_device(&model, &other).unwrap_err();
    assert_eq!(fault.path, "labels.site");
    assert!(fault.message.contains("${label.site:-none}"), "{fault}");
}
