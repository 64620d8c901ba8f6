//! Device policies in `describe`: which devices may be away, and which are.

use serde_json::Value;

use super::cells::read;
use super::failure::Outcome;
use super::table::{Cell, facts};
use super::text::{Mood, Output};
use holdfast_api::count::count;
use holdfast_api::{AbsenceStatus, Policy, PolicyAbsence};

/// Returns the rule of a document in words.
fn rule(policy: &Policy) -> String {
    match policy.spec.get("whenOffline") {
        Some(Value::String(word)) => word.clone(),
        Some(Value::Object(after)) => {
            let after = after.get("alarmAfter").and_then(Value::as_str).unwrap_or_default();
            format!("alarm after {after}")
        }
        _ => String::new(),
    }
}

/// Returns some names, and how many more there are.
fn named(names: &[String], of: u64) -> String {
    let more = of.saturating_sub(names.len() as u64);
    let mut text = names.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    if text.is_empty() { "none".to_owned() } else { text }
}

/// Describes the devices to which a policy applies, and which of them are away.
pub(super) fn of_policy(output: Output, item: &Value) -> Outcome<String> {
    let policy: Policy = read(item)?;
    let PolicyAbsence {
        devices,
        connected,
        expected,
        ignored,
        unexpected,
        expected_names,
        unexpected_names,
        overridden,
        overridden_by,
        ..
    } = policy.status.absence.clone().unwrap_or_default();
    let bad = if unexpected == 0 { Mood::Plain } else { Mood::Bad };
    let mut said = vec![
        ("When offline", Cell::from(rule(&policy))),
        (
            "Holds on",
            Cell::from(format!("{}, {connected} of them connected", count(devices, "device"))),
        ),
        ("Away, unexpected", Cell::new(named(&unexpected_names, unexpected), bad)),
        ("Away, as expected", Cell::from(named(&expected_names, expected + ignored))),
    ];
    if overridden > 0 {
        let by = named(&overridden_by, 0);
        said.push((
            "Overridden",
            Cell::from(format!("on {} another one holds: {by}", count(overridden, "device"))),
        ));
    }
    Ok(facts(output, 0, said))
}

/// Returns the rule for one device, for `describe device`.
pub(super) fn of_device(absence: &AbsenceStatus) -> Cell {
    let by = match &absence.policy {
        Some(policy) => format!(" (device policy {policy})"),
        None => " (no device policy)".to_owned(),
    };
    let state = match absence.state {
        Some(state) => format!("; now away, {}", state.as_str()),
        None => String::new(),
    };
    let alarm = match &absence.alarm_at {
        Some(at) => format!(", alarm at {at}"),
        None => String::new(),
    };
    let others = match absence.overridden.as_slice() {
        [] => String::new(),
        names => format!("; also chosen by {}", names.join(", ")),
    };
    let mood = if absence.expected { Mood::Plain } else { Mood::Bad };
    Cell::new(format!("{}{by}{state}{alarm}{others}", absence.rule), mood)
}
