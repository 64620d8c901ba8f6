//! Texts and figures about absences for people: of one device, and of all devices of one document.
//!
//! See decision 0132.

use holdfast_base::ids::Name;

use super::rule::exactly;
use super::{LOST_AFTER, Made, NEVER_AFTER, Rule, Rules, WhenOffline, of};
use crate::model::{Device, Model};
use crate::records::{PolicyKind, PolicyRecord, Standing};
use crate::rights::Sight;
use holdfast_api::Absence;
use holdfast_api::count::count;
use holdfast_api::time::{rfc3339, words};

/// Most device names listed in a reply about one document.
const NAMED: usize = 20;

/// Returns the absence section of a device's API document. `None` if the device is not approved.
pub fn status(device: &Device, now: u64) -> Option<holdfast_api::AbsenceStatus> {
    if device.record.standing != Standing::Approved {
        return None;
    }
    let away = of(device, now, 0);
    let rule = device.rule.as_deref();
    let names = |names: &[Name]| names.iter().map(ToString::to_string).collect();
    let usual = if device.report.last_seen > 0 { LOST_AFTER } else { NEVER_AFTER };
    let when = rule.and_then(|rule| rule.when).unwrap_or(WhenOffline::AlarmAfter(usual));
    Some(holdfast_api::AbsenceStatus {
        policy: rule.and_then(|rule| rule.policies.first()).map(ToString::to_string),
        rule: when.words(),
        state: away.map(|away| away.class),
        expected: away.is_none_or(|away| away.class != Absence::Unexpected),
        alarm_at: away.and_then(|away| away.alarm_at).map(rfc3339),
        overridden: rule.and_then(|rule| rule.policies.get(1..)).map(names).unwrap_or_default(),
        conflicts: rule.map(|rule| names(&rule.conflicts)).unwrap_or_default(),
    })
}

/// Returns sentences about a device's absence and about policies of equal precedence that
/// contradict each other. Empty if no policy selects the device.
pub fn reasons(device: &Device, now: u64) -> Vec<String> {
    let mut reasons = Vec::new();
    let Some(rule) = device.rule.as_deref() else { return reasons };
    let (Some(policy), Some(when)) = (rule.policies.first(), rule.when) else { return reasons };
    if let Some(away) = of(device, now, 0) {
        let ago = |at: u64| words(now.saturating_sub(at));
        reasons.push(match (when, away.alarm_at) {
            (WhenOffline::AlarmAfter(after), Some(at)) if now >= at => format!(
                "it may be away for {} by device policy {policy}: this has been an alarm for {}",
                exactly(after),
                ago(at)
            ),
            (WhenOffline::AlarmAfter(after), Some(at)) => format!(
                "it may be away for {} by device policy {policy}: this becomes an alarm in {}",
                exactly(after),
                words(at - now)
            ),
            (WhenOffline::Ignore, _) => {
                format!("its absence is ignored, by device policy {policy}")
            }
            _ => format!("it is expected to be away, by device policy {policy}"),
        });
    }
    if !rule.conflicts.is_empty() {
        let others: Vec<&str> = rule.conflicts.iter().map(Name::as_str).collect();
        reasons.push(format!(
            "device policy {policy} holds because its name comes first: {} has as many conditions and says something else",
            others.join(", ")
        ));
    }
    reasons
}

/// Returns the status of a `DevicePolicy` document: counts of its devices, with unexpected absences
/// counted as problems.
pub fn policy_status(
    model: &Model,
    sight: &Sight<'_>,
    name: &Name,
    now: u64,
) -> holdfast_api::PolicyStatus {
    let absence = of_policy(model, sight, name, now);
    holdfast_api::PolicyStatus {
        devices: absence.devices,
        applied: absence.devices,
        problems: absence.unexpected,
        absence: Some(absence),
        ..Default::default()
    }
}

/// Lists the approved devices for which a change of policies matters to the policy `name`: devices
/// on which it comes into effect, ceases to be, or gets another setting. `all` are the documents
/// after the change. At most `most` names are listed for each of the three; the counts are
/// complete.
pub fn changes<'a>(
    model: &Model,
    all: impl Iterator<Item = &'a PolicyRecord>,
    name: &Name,
    most: usize,
) -> holdfast_api::ChangedDevices {
    let mut changed = holdfast_api::ChangedDevices::default();
    let mut rules = Rules::new(all, model.started, Made::new());
    let holds = |rule: &Rule| rule.when.filter(|_| rule.policies.first() == Some(name));
    let approved = |device: &&Device| device.record.standing == Standing::Approved;
    for device in model.devices.values().filter(approved) {
        let was = device.rule.as_deref().and_then(holds);
        let (names, count) = match (was, holds(&rules.of(&device.record.labels))) {
            (None, Some(_)) => (&mut changed.gain, &mut changed.gain_count),
            (Some(_), None) => (&mut changed.lose, &mut changed.lose_count),
            (Some(was), Some(is)) if was != is => (&mut changed.update, &mut changed.update_count),
            _ => continue,
        };
        *count += 1;
        if names.len() < most {
            names.push(device.record.name.to_string());
        }
    }
    changed
}

/// Returns a warning if on some devices in sight that a document selects another document is in
/// effect. `all` are the documents to be compared with; at most five of them are named.
pub fn shadowed<'a>(
    model: &Model,
    sight: &Sight<'_>,
    all: impl Iterator<Item = &'a PolicyRecord>,
    record: &PolicyRecord,
) -> Option<String> {
    let mut rules = Rules::new(all, model.started, Made::new());
    let (mut count, mut names) = (0_u64, Vec::new());
    let approved = |device: &&Device| {
        device.record.standing == Standing::Approved && sight.sees(&device.record.labels)
    };
    for device in model.devices.values().filter(approved) {
        let rule = rules.of(&device.record.labels);
        let first = rule.policies.first().filter(|first| **first != record.name);
        if let Some(first) = first.filter(|_| rule.policies.contains(&record.name)) {
            count += 1;
            if !names.contains(first) && names.len() < 5 {
                names.push(first.clone());
            }
        }
    }
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    (count > 0).then(|| {
        format!(
            "on {count} of its devices another device policy holds, with more conditions or the first by name: {}",
            names.join(", ")
        )
    })
}

/// Explains a `DevicePolicy`: the devices on which it is in effect, and those that are away
/// unexpectedly.
pub fn explain_policy(
    model: &Model,
    sight: &Sight<'_>,
    record: &PolicyRecord,
    now: u64,
) -> holdfast_api::Explanation {
    let absence = of_policy(model, sight, &record.name, now);
    let mut reasons = Vec::new();
    if absence.devices + absence.overridden == 0 {
        reasons.push("its spec.devices matches the labels of no approved device".to_owned());
    }
    let records = model.policies.values().map(|known| &known.record);
    reasons.extend(shadowed(model, sight, records, record));
    if absence.conflicts > 0 {
        reasons.push(format!(
            "on {} of its devices it holds because its name comes first: another device policy has as many conditions and says something else",
            absence.conflicts
        ));
    }
    for name in &absence.unexpected_names {
        let device = model.devices.get(name.as_str());
        let said = device.map(|device| self::reasons(device, now)).unwrap_or_default();
        reasons.extend(said.first().map(|said| format!("{name}: {said}")));
    }
    let more = absence.unexpected.saturating_sub(absence.unexpected_names.len() as u64);
    if more > 0 {
        reasons.push(format!("and {}", count(more, "more device")));
    }
    holdfast_api::Explanation {
        kind: PolicyKind::DevicePolicy.word().into(),
        name: record.name.to_string(),
        settled: absence.devices > 0 && absence.unexpected == 0 && absence.conflicts == 0,
        summary: format!(
            "holds on {}: {} connected, {} away as expected, {} ignored, {} away against expectation",
            count(absence.devices, "device"),
            absence.connected,
            absence.expected,
            absence.ignored,
            absence.unexpected
        ),
        reasons,
        hints: Vec::new(),
    }
}

/// Counts the approved devices in sight that a document selects: those on which it is in effect by their
/// connection, and those on which another document is in effect instead.
pub fn of_policy(
    model: &Model,
    sight: &Sight<'_>,
    name: &Name,
    now: u64,
) -> holdfast_api::PolicyAbsence {
    let mut all = holdfast_api::PolicyAbsence::default();
    for device in model.devices.values() {
        let Some(rule) = device.rule.as_deref() else { continue };
        if device.record.standing != Standing::Approved
            || !rule.policies.contains(name)
            || !sight.sees(&device.record.labels)
        {
            continue;
        }
        if let Some(first) = rule.policies.first().filter(|first| *first != name) {
            all.overridden += 1;
            if !all.overridden_by.iter().any(|known| known == first.as_str()) {
                all.overridden_by.push(first.to_string());
            }
            continue;
        }
        all.devices += 1;
        all.conflicts += u64::from(!rule.conflicts.is_empty());
        let named = |names: &mut Vec<String>| {
            if names.len() < NAMED {
                names.push(device.record.name.to_string());
            }
        };
        match of(device, now, 0).map(|away| away.class) {
            None => all.connected += 1,
            Some(Absence::Unexpected) => {
                all.unexpected += 1;
                named(&mut all.unexpected_names);
            }
            Some(Absence::Expected) => {
                all.expected += 1;
                named(&mut all.expected_names);
            }
            Some(Absence::Ignored) => {
                all.ignored += 1;
                named(&mut all.expected_names);
            }
        }
    }
    all.overridden_by.truncate(NAMED);
    all
}
