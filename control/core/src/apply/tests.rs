use serde_json::{Value, json};

use super::*;
use crate::admission::admit;
use crate::model::Device;
use crate::records::{PolicyKind, Standing};
use holdfast_api::AppliedAction;

fn device(name: &str, role: &str) -> Device {
    let record = json!({
        "name": name, "shard": 1, "publicKey": name, "standing": "approved", "createdAt": 1,
        "updatedAt": 1, "version": 1, "token": "t", "labels": { "role": role },
    });
    Device::new(serde_json::from_value(record).unwrap())
}

fn model() -> Model {
    let mut model = Model::empty("default".parse().unwrap());
    for (name, role) in [("d-1", "a"), ("d-2", "a"), ("d-3", "b")] {
        model.devices.insert(name.parse().unwrap(), device(name, role));
    }
    model
}

fn document(kind: &str, name: &str, role: &str, more: Value) -> Value {
    let mut spec = json!({ "devices": { "matchLabels": { "role": role } } });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "apiVersion": "holdfast/v1", "kind": kind, "metadata": { "name": name }, "spec": spec,
    })
}

fn workload(name: &str, role: &str, argument: &str) -> Value {
    let run = json!({ "run": { "process": { "path": "/bin/true", "args": [argument] } } });
    document("Workload", name, role, run)
}

fn budget(name: &str, role: &str) -> Value {
    document("LinkBudget", name, role, json!({ "bytes": "10Mi", "per": "day" }))
}

fn admitted(documents: &[Value]) -> Vec<Admitted> {
    admit(documents, &|_| None).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn apply(model: &mut Model, documents: &[Value]) -> Applied {
    let plan = plan(model, admitted(documents), 9).unwrap();
    let mut change = Change::new(model, 9);
    let applied = plan.carry_out(&mut change, "me", None);
    assert!(change.finish().defects.is_empty());
    applied
}

fn sets(model: &Model) -> Vec<String> {
    let all = model.devices.values();
    all.map(|device| {
        let workloads = device.desired.workloads.iter();
        let workloads: Vec<_> = workloads.map(|(name, at)| format!("{name}.{at}")).collect();
        format!("{}: {}", device.record.name, workloads.join(" "))
    })
    .collect()
}

#[test]
fn what_is_carried_out_is_what_was_planned() {
    let mut model = model();
    let applied = apply(&mut model, &[workload("w", "a", "1"), workload("v", "b", "1")]);
    let said: Vec<_> = applied.results.iter().map(|it| (it.action.as_str(), &*it.effect)).collect();
    let one = "is to run on 2 devices; 2 devices begin to run it";
    let other = "is to run on 1 device; 1 device begins to run it";
    assert_eq!(said, [("created", one), ("created", other)]);
    assert_eq!(sets(&model), ["d-1: w.1", "d-2: w.1", "d-3: v.1"]);
    let before: Vec<_> = model.devices.values().map(|it| it.desired.clone()).collect();
    let again = apply(&mut model, &[workload("w", "a", "1")]);
    assert_eq!(again.results[0].action, AppliedAction::Unchanged);
    assert!(model.devices.values().map(|it| &it.desired).eq(&before));
    apply(&mut model, &[workload("w", "b", "2")]);
    assert_eq!(sets(&model), ["d-1: ", "d-2: ", "d-3: v.1 w.2"]);
}

#[test]
fn a_plan_and_a_dry_run_change_nothing() {
    let model = model();
    let planned = plan(&model, admitted(&[workload("w", "a", "1")]), 9).unwrap();
    assert_eq!(planned.applied.results[0].changed_devices.gain, ["d-1", "d-2"]);
    assert!(model.workloads.is_empty() && !planned.changes_rules());
}

#[test]
fn a_change_writes_and_tells_all_that_it_did() {
    let mut model = model();
    let planned = plan(&model, admitted(&[workload("w", "a", "1")]), 9).unwrap();
    let mut change = Change::new(&mut model, 9);
    planned.carry_out(&mut change, "me", Some(3));
    let done = change.finish();
    let keys: Vec<&str> = done.writes.rows.iter().map(|(key, _)| &**key).collect();
    let expected = [
        "workload/default/w",
        "revision/default/w/00000000000000000001",
        "desired/default/d-1",
        "desired/default/d-2",
        "audit/default/00000000000000000000",
        "meta/default",
    ];
    assert_eq!(keys, expected);
    let told: Vec<String> = done.after.desired.iter().map(|id| id.device.to_string()).collect();
    assert_eq!(told, ["d-1", "d-2"]);
    assert_eq!(model.audit[0].action, "workload.rollback");
    assert!(model.audit[0].message.starts_with("back to revision 3: created"), "{model:?}");
}

#[test]
fn a_number_is_never_used_twice_for_one_name() {
    let mut model = model();
    for argument in ["1", "2", "3"] {
        apply(&mut model, &[workload("w", "a", argument)]);
    }
    let mut change = Change::new(&mut model, 9);
    let present = change.model.workloads["w"].record.version;
    let other = delete_workload(&mut change, "w", Some(present + 1), "me");
    assert!(matches!(other, Err(Refusal::Changed { .. })), "{other:?}");
    assert_eq!(delete_workload(&mut change, "w", Some(present), "me"), Ok(()));
    let none = delete_workload(&mut change, "w", None, "me").unwrap_err();
    assert_eq!(none.to_string(), "there is no workload \"w\"");
    assert_eq!(sets(&model), ["d-1: ", "d-2: ", "d-3: "]);
    apply(&mut model, &[workload("w", "a", "1")]);
    assert_eq!(sets(&model), ["d-1: w.4", "d-2: w.4", "d-3: "]);
}

#[test]
fn what_is_not_the_next_step_is_refused_as_a_whole() {
    let mut model = model();
    apply(&mut model, &[workload("w", "a", "1")]);
    let version = model.workloads["w"].record.version;
    let versioned = |version: u64| {
        let mut it = admitted(&[workload("w", "a", "2")]);
        it[0].resource_version = Some(version);
        it
    };
    assert!(plan(&model, versioned(version), 9).is_ok());
    let refused = plan(&model, versioned(version + 7), 9).unwrap_err();
    assert!(refused.to_string().contains("workload w was changed by somebody else"), "{refused}");
    let mut unknown = admitted(&[workload("v", "a", "1")]);
    unknown[0].resource_version = Some(3);
    let both = [versioned(version), unknown].concat();
    let refused = plan(&model, both, 9).unwrap_err();
    assert!(refused.to_string().starts_with("workload v was deleted meanwhile"), "{refused}");
    let mut same = admitted(&[workload("w", "a", "1")]);
    same[0].resource_version = Some(version + 7);
    assert!(plan(&model, same, 9).is_ok(), "it changes nothing");
    let one = admitted(&[workload("w", "a", "2")]);
    let twice = plan(&model, [one.clone(), one].concat(), 9).unwrap_err();
    assert_eq!(twice.to_string(), "Workload w stands in more than one document");
}

#[test]
fn the_first_budget_by_name_holds_and_the_others_are_told() {
    let mut model = model();
    let applied = apply(&mut model, &[budget("m", "a")]);
    assert_eq!(applied.results[0].changed_devices.gain, ["d-1", "d-2"]);
    let applied = apply(&mut model, &[budget("z", "a")]);
    let result = &applied.results[0];
    assert_eq!(result.changed_devices.gain_count, 0);
    let warning = "on 2 of its devices another budget holds, the first by name: m";
    assert_eq!(result.warnings, [warning]);
    let applied = apply(&mut model, &[budget("a", "a")]);
    assert!(applied.results[0].warnings.is_empty());
    let holds = |model: &Model| model.devices["d-1"].desired.data.clone();
    assert_eq!(holds(&model)[0].0.1.as_str(), "a");
    let mut change = Change::new(&mut model, 9);
    delete_policy(&mut change, PolicyKind::LinkBudget, "a", None, "me").unwrap();
    assert_eq!(holds(&model)[0].0.1.as_str(), "m", "the next one holds");
}

#[test]
fn too_much_for_one_device_is_refused() {
    let mut model = model();
    model.devices.get_mut("d-3").unwrap().record.standing = Standing::Revoked;
    let config = json!({ "run": { "process": { "path": "/bin/true" } }, "config": { "f": "x".repeat(130_000) } });
    let documents: Vec<Value> =
        (0..12).map(|at| document("Workload", &format!("w-{at}"), "a", config.clone())).collect();
    let refused = plan(&model, admitted(&documents), 9).unwrap_err();
    let Refusal::TooLarge(faults) = refused else { panic!("{refused}") };
    let paths: Vec<&str> = faults.iter().map(|fault| &*fault.path).collect();
    assert_eq!(paths, ["devices.d-1", "devices.d-2"]);
}

#[test]
fn a_document_is_changed_by_whoever_reaches_all_of_its_devices() {
    use crate::kinds::AnyKind;
    use crate::rights::Sight;

    let mut model = model();
    let all = json!({ "devices": "all", "run": { "process": { "path": "/bin/true" } } });
    let all = json!({
        "apiVersion": "holdfast/v1", "kind": "Workload", "metadata": { "name": "all" }, "spec": all,
    });
    apply(&mut model, &[workload("mine", "a", "1"), workload("theirs", "b", "1"), all.clone()]);
    let of_a = holdfast_api::selector::parse("role=a").unwrap();
    let sight = Sight::Selected(vec![&of_a]);
    let may = |document: Value| {
        let admitted = admitted(&[document]);
        may_apply(&model, &sight, &admitted).map_err(|refusal| refusal.to_string())
    };
    assert_eq!(may(workload("mine", "a", "2")), Ok(()));
    assert_eq!(may(workload("new", "a", "2")), Ok(()));
    for (document, said) in [
        (workload("new", "b", "2"), "add role=a to its selector"),
        (workload("mine", "b", "2"), "add role=a to its selector"),
        (workload("theirs", "a", "2"), "is taken by a Workload"),
        (workload("all", "a", "2"), "Workload all is for all devices"),
        (all, "Workload all is for all devices"),
    ] {
        let why = may(document).unwrap_err();
        assert!(why.contains(said), "{why}");
    }
    let name = |text: &str| text.parse().unwrap();
    let delete = |text: &str| may_change(&model, &sight, AnyKind::Workload, &name(text));
    assert_eq!((delete("mine"), delete("none")), (Ok(()), Ok(())));
    assert!(matches!(delete("all"), Err(Refusal::Theirs { .. })));
    assert!(matches!(delete("theirs"), Err(Refusal::Unknown { .. })), "it is not there");
    assert_eq!(may_change(&model, &Sight::All, AnyKind::Workload, &name("theirs")), Ok(()));
}

#[test]
fn a_workload_refers_to_what_its_devices_were_given() {
    use crate::rights::Sight;

    let mut model = model();
    let config = json!({
        "apiVersion": "holdfast/v1", "kind": "Config", "metadata": { "name": "shared" },
        "spec": { "data": { "k1": "x", "k2": "y" } },
    });
    let refers = |name: &str, role: &str, key: &str| {
        let env = json!({ "V": { "config": "shared", "key": key } });
        let run = json!({ "run": { "process": { "path": "/bin/true", "env": env } } });
        document("Workload", name, role, run)
    };
    apply(&mut model, &[config, refers("given", "z", "k1"), refers("theirs", "y", "k2")]);
    let of_z = holdfast_api::selector::parse("role=z").unwrap();
    let may = |sight: &Sight<'_>, name: &str, key: &str| {
        let admitted = admitted(&[refers(name, "z", key)]);
        may_apply(&model, sight, &admitted).map_err(|refusal| refusal.to_string())
    };
    let sight = Sight::Selected(vec![&of_z]);
    assert_eq!(may(&sight, "given", "k1"), Ok(()));
    assert_eq!(may(&sight, "new", "k1"), Ok(()), "the devices have it already");
    assert_eq!(may(&Sight::All, "new", "k2"), Ok(()));
    for name in ["given", "new"] {
        let why = may(&sight, name, "k2").unwrap_err();
        assert!(why.contains("refers to key k2 of config shared"), "{why}");
        let none = may(&sight, name, "none").unwrap_err();
        assert_eq!(why.replace("k2", "none"), none, "it does not tell which values there are");
    }
}
