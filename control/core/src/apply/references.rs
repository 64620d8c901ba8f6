//! References of workloads and notifications in a plan: what they name must exist, fit, and be had
//! by each device that is chosen. What is named cannot be deleted.

use std::collections::BTreeMap;

use holdfast_api::path::path_of;
use holdfast_base::ids::Name;
use holdfast_protocol::enrol::Fault;

use crate::desired::sealing::{self, Problem};
use crate::desired::{Documents, approved};
use crate::kinds::AnyKind;
use crate::model::Model;
use crate::records::{Policy, PolicyKey, PolicyRecord, WorkloadRecord};
use crate::secrets::place::{Place, Store};
use crate::secrets::references::Source;

/// Most devices that a fault names.
const NAMED: usize = 10;

/// Most faults of one plan.
const MAX_FAULTS: usize = 200;

/// Longest variable (`NAME=VALUE` and its NUL) that Linux gives a program, in bytes.
const MAX_VARIABLE: usize = 131_072;

/// Beginnings of paths in the documents of an apply, such as `documents[2] (Secret/db): `. With a
/// single document there are none.
pub(super) type Prefixes = BTreeMap<(AnyKind, Name), String>;

/// Returns the faults of all references that the changed documents concern.
pub(super) fn faults(documents: &Documents<'_>, prefixes: &Prefixes) -> Vec<Fault> {
    let mut all = Faults { documents, prefixes, found: Vec::new() };
    for name in sealing::touched(documents).keys() {
        if let Some(record) = documents.workload(name).filter(|it| !it.references.is_empty()) {
            all.workload(record);
        }
    }
    for record in documents.policies() {
        all.notification(record);
    }
    all.found.truncate(MAX_FAULTS);
    all.found
}

/// Returns the names of workloads and notifications that refer to a document, such as
/// `workload pump`.
pub(crate) fn users(documents: &Documents<'_>, store: Store, name: &Name) -> Vec<String> {
    let workloads = documents.workloads().filter(|it| it.references.uses(store, name));
    let mut all: Vec<String> = workloads.map(|it| format!("workload {}", it.name)).collect();
    let receivers = documents.policies().filter(|record| {
        store == Store::Secret && places(record).iter().any(|(_, place)| place.name == *name)
    });
    all.extend(receivers.map(|it| format!("{} {}", it.key().0.word(), it.name)));
    all
}

/// Returns the names of those that refer to a document which is to be deleted.
pub(super) fn users_of(model: &Model, key: &PolicyKey) -> Vec<String> {
    let Some(store) = sealing::store_of(key.0) else { return Vec::new() };
    users(&Documents::of(model), store, &key.1)
}

/// Returns the values that a receiver refers to, with their paths below `spec.to`.
fn places(record: &PolicyRecord) -> Vec<(String, Place)> {
    match &record.policy {
        Policy::Notification { notification } => notification.places(),
        Policy::AuditSink { sink } => {
            sink.receiver().map(|receiver| receiver.places()).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

struct Faults<'a> {
    documents: &'a Documents<'a>,
    prefixes: &'a Prefixes,
    found: Vec<Fault>,
}

impl Faults<'_> {
    fn add(&mut self, prefix: &str, path: &str, message: String) {
        self.found.push(Fault { path: format!("{prefix}{path}"), message, of_key: false });
    }

    /// Notes what is wrong with a value that something refers to. `user` names what refers to it,
    /// for a fault of the document that has the value.
    fn problem(&mut self, user: (AnyKind, &Name), path: &str, place: &Place, problem: &Problem) {
        let (kind, name) = user;
        if let Some(prefix) = self.prefixes.get(&(kind, name.clone())) {
            let prefix = prefix.clone();
            return self.add(&prefix, path, problem.to_string());
        }
        // The user is not among the documents: the one with the value is.
        let key =
            (AnyKind::Policy(sealing::key_of(place.store, &place.name).0), place.name.clone());
        let prefix = self.prefixes.get(&key).cloned().unwrap_or_default();
        let word = kind.words().word;
        let message = format!("{word} {name} refers to it ({path}): {problem}");
        self.add(&prefix, &path_of("spec.data", &place.key), message);
    }

    fn workload(&mut self, record: &WorkloadRecord) {
        let user = (AnyKind::Workload, &record.name);
        let references = &record.references;
        for (name, source) in &references.env {
            let path = path_of("spec.run.process.env", name);
            self.values(user, &path, source, true);
            let length = sealing::length(self.documents, source).saturating_add(name.len() + 2);
            if length > MAX_VARIABLE {
                let message = format!(
                    "up to {length} bytes (NAME=, value and the NUL behind it): Linux executes nothing with more than {MAX_VARIABLE}; lay it as a file by spec.files"
                );
                let prefix = self.prefix(user);
                self.add(&prefix, &path, message);
            }
        }
        for (name, source) in &references.files {
            self.values(user, &path_of("spec.files", name), source, false);
        }
        self.devices(record);
    }

    fn prefix(&self, (kind, name): (AnyKind, &Name)) -> String {
        self.prefixes.get(&(kind, name.clone())).cloned().unwrap_or_default()
    }

    /// Checks the values that a source refers to. `text`: they must be texts.
    fn values(&mut self, user: (AnyKind, &Name), path: &str, source: &Source, text: bool) {
        let text = text || matches!(source, Source::Template(_));
        for place in source.places() {
            if let Some(problem) = sealing::problem(self.documents, place, text) {
                self.problem(user, path, place, &problem);
            }
        }
    }

    /// Checks that each chosen device has what the workload refers to.
    fn devices(&mut self, record: &WorkloadRecord) {
        let prefix = self.prefix((AnyKind::Workload, &record.name));
        let chosen = || {
            let all = approved(self.documents.model());
            all.map(|device| &device.record).filter(|it| record.devices.matches(&it.labels))
        };
        let mut found = Vec::new();
        let keyless = chosen().filter(|it| it.sealing_key.is_none()).map(|it| &it.name);
        if let Some(names) = named(keyless) {
            found.push(("spec.devices".to_owned(), format!(
                "{names}: secrets and files are sealed to a device's key, and the agents there have none; update them, or choose other devices"
            )));
        }
        let env = record.references.env.iter().map(|it| ("spec.run.process.env", it));
        let files = record.references.files.iter().map(|it| ("spec.files", it));
        for (below, (name, source)) in env.chain(files) {
            for (key, _) in source.labels().filter(|(_, has_default)| !has_default) {
                let without = chosen().filter(|it| !it.labels.contains_key(key));
                if let Some(names) = named(without.map(|it| &it.name)) {
                    found.push((path_of(below, name), format!(
                        "{names}: no label {key}; give the devices one, or write a default, as ${{label.{key}:-none}}"
                    )));
                }
            }
        }
        for (path, message) in found {
            self.add(&prefix, &path, message);
        }
    }

    fn notification(&mut self, record: &PolicyRecord) {
        let kind = AnyKind::Policy(record.policy.kind());
        for (path, place) in places(record) {
            if let Some(problem) = sealing::problem(self.documents, &place, true) {
                let path = format!("spec.to.{path}");
                self.problem((kind, &record.name), &path, &place, &problem);
            }
        }
    }
}

/// Names devices, the first ten, with the number of the others. None: there is none.
fn named<'a>(names: impl Iterator<Item = &'a Name>) -> Option<String> {
    let mut names = names.map(Name::as_str);
    let first: Vec<&str> = names.by_ref().take(NAMED).collect();
    let more = names.count();
    let (count, text) = (first.len() + more, first.join(", "));
    match (count, more) {
        (0, _) => None,
        (1, _) => Some(format!("device {text}")),
        (_, 0) => Some(format!("devices {text}")),
        _ => Some(format!("devices {text} and {more} more")),
    }
}
