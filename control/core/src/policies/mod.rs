//! Status of policy documents: the devices and streams that they apply to, where they have no
//! effect or another document takes precedence, and a preview of a change in words.
//!
//! See decision 0123.

mod explain;
pub(crate) mod values;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::ids::Name;
use holdfast_records::{StreamName, StreamPolicy, narrowest};

use crate::desired::approved;
use crate::model::{Device, Model};
use crate::records::{Policy, PolicyKey, PolicyKind, PolicyRecord};
use crate::rights::Sight;
use holdfast_api::link;
use holdfast_api::{ChangedDevices, PolicyDevice, PolicyStatus, PolicyStream};

pub(crate) use self::explain::in_force;

/// Most devices that a status names.
const NAMED: usize = 20;
/// Most misfits of one sort that are listed one by one.
const MISFITS: usize = 5;
/// Most streams of a device that are listed one by one.
const STREAMS: usize = 50;

/// Findings about one document, gathered over all devices.
#[derive(Debug, Default)]
pub(crate) struct Reach<'a> {
    status: PolicyStatus,
    /// True if one of its devices has reported its streams.
    heard: bool,
    /// Indexes of the patterns that match at least one stream.
    matched: BTreeSet<usize>,
    /// Numbers of streams that match but follow another document, by that document.
    overridden: BTreeMap<&'a Name, u64>,
    /// Numbers of devices that match but follow another `LinkBudget`, by that document.
    shadowed: BTreeMap<&'a Name, u64>,
    /// Problems that devices report about the document, in words.
    said: Vec<String>,
}

impl Reach<'_> {
    /// Counts a device that should follow the document. `current`: it follows it as it is now.
    pub(crate) fn count(&mut self, device: &Device, current: bool) {
        let status = &mut self.status;
        status.devices += 1;
        if status.names.len() < NAMED {
            status.names.push(device.record.name.to_string());
        }
        status.applied += u64::from(current);
    }
}

/// Findings about the documents of one kind, by name.
pub(crate) type Reaches<'a> = BTreeMap<&'a Name, Reach<'a>>;

/// Returns the documents of one kind that a device should follow, with the revisions desired of it,
/// sorted by name.
fn desired<'a>(
    model: &'a Model,
    device: &'a Device,
    kind: PolicyKind,
) -> impl Iterator<Item = (&'a PolicyRecord, u64)> + 'a {
    let keys = device.desired.data.iter().filter(move |((of, _), _)| *of == kind);
    keys.filter_map(|(key, revision)| Some((&model.policies.get(key)?.record, *revision)))
}

/// Returns name and content of a `Stream` document. None: it is of another kind.
fn stream_policy(record: &PolicyRecord) -> Option<(&Name, &StreamPolicy)> {
    match &record.policy {
        Policy::Stream { policy, .. } => Some((&record.name, policy)),
        _ => None,
    }
}

fn has_applied(model: &Model, device: &Device) -> bool {
    device.report.applied.epoch == model.meta.epoch
        && device.report.applied.generation == device.desired.generation
}

/// Computes the status of all documents of one kind in one pass over all devices. `only`: that of
/// this document alone. `gather` adds what one device says of them. Devices out of sight are left
/// out.
pub(crate) fn statuses<'a>(
    (model, sight): (&'a Model, &Sight<'_>),
    kind: PolicyKind,
    only: Option<&Name>,
    gather: &dyn Fn(&'a Model, &'a Device, &mut Reaches<'a>),
) -> BTreeMap<Name, PolicyStatus> {
    let records = model
        .policies
        .iter()
        .filter(|((of, name), _)| *of == kind && only.is_none_or(|only| only == name));
    let mut all: Reaches<'_> =
        records.clone().map(|((_, name), _)| (name, Reach::default())).collect();
    for device in approved(model).filter(|device| sight.sees(&device.record.labels)) {
        for (record, revision) in desired(model, device, kind) {
            let Some(reach) = all.get_mut(&record.name) else { continue };
            reach.count(device, has_applied(model, device) && revision == record.revision);
        }
        gather(model, device, &mut all);
    }
    let records: BTreeMap<&Name, &PolicyRecord> =
        records.map(|((_, name), known)| (name, &known.record)).collect();
    let finished =
        |(name, reach): (&Name, Reach<'_>)| Some((name.clone(), finish(reach, records.get(name)?)));
    all.into_iter().filter_map(finished).collect()
}

/// Adds what a device reports of its streams to the findings about `Stream` documents.
pub(crate) fn streams<'a>(model: &'a Model, device: &'a Device, all: &mut Reaches<'a>) {
    let Some(data) = device.report.data.as_deref() else { return };
    let documents: Vec<(&Name, &StreamPolicy)> = desired(model, device, PolicyKind::Stream)
        .filter_map(|(it, _)| stream_policy(it))
        .collect();
    for (name, _) in &documents {
        if let Some(reach) = all.get_mut(*name) {
            reach.heard = true;
        }
    }
    let mut ailing: BTreeSet<&Name> = BTreeSet::new();
    for (stream, said) in &data.streams {
        let holds = narrowest(documents.iter().copied(), stream).map(|(name, _)| name);
        for (name, policy) in &documents {
            let Some(reach) = all.get_mut(*name) else { continue };
            let patterns = policy.streams.iter().enumerate();
            let fitting = patterns.filter(|(_, pattern)| pattern.matches(stream));
            let fitting: Vec<usize> = fitting.map(|(at, _)| at).collect();
            if fitting.is_empty() {
                continue;
            }
            reach.matched.extend(fitting);
            match holds {
                Some(other) if other != *name => *reach.overridden.entry(other).or_default() += 1,
                _ => reach.status.streams += 1,
            }
            if !said.problem.is_empty() && said.policy.as_ref() == Some(*name) {
                ailing.insert(name);
                if reach.said.len() < MISFITS {
                    let on = &device.record.name;
                    reach.said.push(format!("{on}: {stream}: {}", said.problem));
                }
            }
        }
    }
    for name in ailing {
        if let Some(reach) = all.get_mut(name) {
            reach.status.problems += 1;
        }
    }
}

/// Adds what a device reports of its link to the findings about `LinkBudget` documents.
pub(crate) fn budgets<'a>(model: &'a Model, device: &'a Device, all: &mut Reaches<'a>) {
    let Some((holds, _)) = desired(model, device, PolicyKind::LinkBudget).next() else { return };
    for (name, reach) in all.iter_mut().filter(|(name, _)| **name != &holds.name) {
        let known = model.policies.get(&(PolicyKind::LinkBudget, (*name).clone()));
        if known.is_some_and(|it| it.record.devices.matches(&device.record.labels)) {
            *reach.shadowed.entry(&holds.name).or_default() += 1;
        }
    }
    let Some(reach) = all.get_mut(&holds.name) else { return };
    let link = device.report.data.as_deref().map(|data| &data.link);
    let waits = link.map(link::consequences).unwrap_or_default();
    if !waits.is_empty() {
        reach.status.problems += 1;
        if reach.said.len() < MISFITS {
            reach.said.push(format!("{}: {}", device.record.name, waits.join("; ")));
        }
    }
}

fn finish(reach: Reach<'_>, record: &PolicyRecord) -> PolicyStatus {
    let mut status = reach.status;
    let mut say = |text: String| status.misfits.push(text);
    let chooses = record.policy.kind().facts().chooses;
    if chooses && status.devices == 0 && reach.shadowed.is_empty() {
        say("spec.devices matches the labels of no approved device".into());
    }
    if let Some((_, policy)) = stream_policy(record).filter(|_| reach.heard) {
        let patterns = policy.streams.iter().enumerate();
        let unmatched = patterns.filter(|(at, _)| !reach.matched.contains(at));
        for (_, pattern) in unmatched.take(MISFITS) {
            say(format!("{} matches no stream of its devices", pattern.as_str()));
        }
    }
    for (other, streams) in reach.overridden.iter().take(MISFITS) {
        let (what, follow) =
            if *streams == 1 { ("stream", "follows") } else { ("streams", "follow") };
        say(format!(
            "{streams} {what} that it matches {follow} {other} instead, whose pattern is narrower or whose name comes first"
        ));
    }
    for (other, devices) in reach.shadowed.iter().take(MISFITS) {
        let what = if *devices == 1 { "device" } else { "devices" };
        say(format!("on {devices} {what} that it chooses {other} holds, the first by name"));
    }
    reach.said.into_iter().for_each(say);
    status
}

/// True if a policy document is part of a device's desired state.
pub fn is_desired(device: &Device, key: &PolicyKey) -> bool {
    device.desired.data.iter().any(|(known, _)| known == key)
        || values::given(device, key).next().is_some()
}

/// Describes how a policy document applies to one of its devices.
pub fn on_device(model: &Model, device: &Device, record: &PolicyRecord) -> PolicyDevice {
    let key = record.key();
    let revision = device.desired.data.iter().find(|(known, _)| *known == key);
    let current = revision.is_some_and(|(_, revision)| *revision == record.revision);
    let values = values::on_device(model, device, &key);
    let has_values =
        !values.is_empty() && values.iter().all(|it| it.has.as_ref() == Some(&it.sha256));
    let data = device.report.data.as_deref();
    let mut streams = Vec::new();
    let mut stream_count = 0;
    if let (Some((name, policy)), Some(data)) = (stream_policy(record), data) {
        let documents: Vec<_> = desired(model, device, PolicyKind::Stream)
            .filter_map(|(record, _)| stream_policy(record))
            .collect();
        for (stream, said) in &data.streams {
            if policy.weight(stream).is_none() {
                continue;
            }
            stream_count += 1;
            let holds = narrowest(documents.iter().copied(), stream).map(|(holds, _)| holds);
            let problem = !said.problem.is_empty() && said.policy.as_ref() == Some(name);
            if streams.len() < STREAMS {
                streams.push(PolicyStream {
                    stream: stream.to_string(),
                    overridden_by: holds.filter(|holds| *holds != name).map(ToString::to_string),
                    problem: problem.then(|| said.problem.clone()),
                });
            }
        }
    }
    let is_budget = record.policy.kind() == PolicyKind::LinkBudget;
    let link =
        data.filter(|_| is_budget).map(|data| link::link(&data.link, Some(record.name.as_str())));
    PolicyDevice {
        device: device.record.name.to_string(),
        online: device.live.connection != 0,
        applied: (current && has_applied(model, device)) || has_values,
        streams,
        stream_count,
        link,
        values,
    }
}

/// Returns a device's link in the API's form. None: the device has not reported on it.
pub fn device_link(device: &Device) -> Option<holdfast_api::Link> {
    let data = device.report.data.as_deref()?;
    Some(link::link(&data.link, budget_of(device)))
}

/// Returns the name of the `LinkBudget` that applies to a device.
pub fn budget_of(device: &Device) -> Option<&str> {
    let mut data = device.desired.data.iter();
    let (key, _) = data.find(|((kind, _), _)| *kind == PolicyKind::LinkBudget)?;
    Some(key.1.as_str())
}

/// Returns how many of a device's streams would follow another policy if the documents were `next`.
pub fn changed_streams(model: &Model, device: &Device, next: &[&PolicyRecord]) -> u64 {
    let Some(data) = device.report.data.as_deref() else { return 0 };
    let before: Vec<_> = desired(model, device, PolicyKind::Stream)
        .filter_map(|(record, _)| stream_policy(record))
        .collect();
    let after: Vec<_> = next.iter().filter_map(|record| stream_policy(record)).collect();
    let of = |documents: &[(&Name, &StreamPolicy)], stream: &StreamName| {
        narrowest(documents.iter().copied(), stream)
            .map(|(name, policy)| (name.clone(), policy.clone()))
    };
    let other = |stream: &&StreamName| of(&before, stream) != of(&after, stream);
    data.streams.keys().filter(other).count() as u64
}

/// Returns a number with its noun: `1 device`, `4 devices`.
pub(crate) fn some(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// Describes the effect of a workload's document on devices, such as `is to run on 4 devices; 2
/// devices begin to run it`.
pub fn workload_effect(devices: u64, changed: &ChangedDevices) -> String {
    let mut parts = vec![format!("is to run on {}", some(devices, "device"))];
    let mut say = |count: u64, one: &str, more: &str| {
        if count > 0 {
            parts.push(format!(
                "{} {}",
                some(count, "device"),
                if count == 1 { one } else { more }
            ));
        }
    };
    say(changed.gain_count, "begins to run it", "begin to run it");
    say(changed.update_count, "goes to the new revision", "go to the new revision");
    say(changed.lose_count, "stops it", "stop it");
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Preview;

    #[test]
    fn what_a_change_does_is_said_in_the_kinds_own_words() {
        let changed = |gain_count, update_count, lose_count| ChangedDevices {
            gain_count,
            update_count,
            lose_count,
            ..ChangedDevices::default()
        };
        let (stream, budget) = (PolicyKind::Stream, PolicyKind::LinkBudget);
        for (kind, devices, changed, streams, said) in [
            (stream, 4, changed(4, 0, 0), 2, "applies to 4 devices; 2 streams change policy"),
            (stream, 1, changed(0, 1, 0), 1, "applies to 1 device; 1 stream changes policy"),
            (stream, 0, changed(0, 0, 0), 0, "applies to 0 devices; no stream changes policy"),
            (
                stream,
                3,
                changed(0, 0, 2),
                5,
                "applies to 3 devices; 5 streams change policy; no longer applies to 2 devices",
            ),
            (budget, 4, changed(3, 0, 0), 0, "applies to 4 devices; 3 links get another bound"),
            (budget, 4, changed(0, 1, 0), 0, "applies to 4 devices; 1 link gets another bound"),
            (budget, 4, changed(0, 0, 0), 0, "applies to 4 devices; no link changes"),
        ] {
            let preview = Preview { changed, streams, warning: None };
            assert_eq!(kind.rules().effect(devices, &preview), said);
        }
        assert_eq!(
            workload_effect(4, &changed(2, 1, 3)),
            "is to run on 4 devices; 2 devices begin to run it; 1 device goes to the new revision; 3 devices stop it"
        );
        assert_eq!(workload_effect(1, &changed(0, 0, 0)), "is to run on 1 device");
    }
}
