//! Decides whether a device may be away: which of the `DevicePolicy` documents that select an
//! offline or never connected device takes effect, and whether the absence is expected, ignored or
//! an alarm. Counts, alarms, filters and explanations all use this module, so that they cannot
//! disagree.
//!
//! See decisions 0132 and 0133.

mod rule;
mod told;

use std::sync::Arc;

use holdfast_base::ids::{Labels, Name};

use super::mark::CLOCK_STEP;
use super::model::{Device, Model};
use super::records::{Policy, PolicyRecord};
use holdfast_api::selector::Selector;
use holdfast_api::{Absence, Connection};

use self::rule::exactly;
pub use self::rule::{MAX_DEVICE_POLICIES, Made, Rule, WhenOffline};
pub use self::told::{
    changes, explain_policy, of_policy, policy_status, reasons, shadowed, status,
};

/// Seconds after which a device that was seen and is offline counts as lost, unless a
/// `DevicePolicy` says otherwise. Less is a reboot or a link that was replaced by another one.
pub const LOST_AFTER: u64 = 5 * 60;

/// Seconds after its enrolment in which a device must have connected, unless a `DevicePolicy` says
/// otherwise. If it has not, its agent was not started or cannot reach the gateway.
pub const NEVER_AFTER: u64 = 15 * 60;

/// Shortest time after which an absence may become an alarm, in seconds. A device that merely lost
/// its link reconnects within less.
pub const SHORTEST: u64 = 10;

/// Longest time after which an absence may become an alarm, in seconds: 366 days. A device that may
/// stay away for longer is declared `expected` instead.
pub const LONGEST: u64 = 366 * 86_400;

/// Absence of one device: its class and the time of its alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Away {
    /// Class of the absence: unexpected, expected or ignored.
    pub class: Absence,
    /// Time at which the absence becomes or became an alarm, in seconds since 1970. `None` if it
    /// never does.
    pub alarm_at: Option<u64>,
}

impl Away {
    /// Returns true if the absence never becomes an alarm. What failed on the device when it was
    /// last heard is then no alarm either.
    pub fn is_quiet(self) -> bool {
        self.alarm_at.is_none()
    }

    /// Returns true if the absence is an alarm at `now`, in seconds since 1970.
    pub fn is_alarm(self, now: u64) -> bool {
        self.alarm_at.is_some_and(|at| now >= at)
    }
}

/// Returns the number of conditions of a selector; more conditions take precedence. `all` has none.
fn narrowness(devices: &Selector) -> usize {
    devices.match_labels.len() + devices.match_expressions.len()
}

/// Maker of the rules of devices. Devices that the same documents select share one [`Rule`].
#[derive(Debug)]
pub struct Rules<'a> {
    /// `DevicePolicy` documents with their settings: most conditions first, then by name.
    documents: Vec<(&'a PolicyRecord, WhenOffline)>,
    started: u64,
    made: Made,
}

impl<'a> Rules<'a> {
    /// Takes the `DevicePolicy` documents out of `all` and skips other kinds. `made` holds rules
    /// that were made from the same documents before; `started` is copied into each new rule.
    pub fn new(all: impl Iterator<Item = &'a PolicyRecord>, started: u64, made: Made) -> Self {
        let mut documents: Vec<(&PolicyRecord, WhenOffline)> = all
            .filter_map(|record| match record.policy {
                Policy::DevicePolicy { when_offline } => Some((record, when_offline)),
                _ => None,
            })
            .collect();
        documents.sort_by(|(one, _), (other, _)| {
            (narrowness(&other.devices), &one.name).cmp(&(narrowness(&one.devices), &other.name))
        });
        Self { documents, started, made }
    }

    /// Returns the rule of a device that has these labels, and makes it if no device had it before.
    pub fn of(&mut self, labels: &Labels) -> Arc<Rule> {
        let chooses = |(record, _): &&(&PolicyRecord, _)| record.devices.matches(labels);
        let documents: Vec<_> = self.documents.iter().filter(chooses).collect();
        let policies: Vec<Name> = documents.iter().map(|(record, _)| record.name.clone()).collect();
        if let Some(known) = self.made.get(&policies) {
            return Arc::clone(known);
        }
        let first = documents.first().copied();
        let conflicts = documents.iter().filter(|(record, when)| {
            first.is_some_and(|(held, said)| {
                narrowness(&held.devices) == narrowness(&record.devices) && said != when
            })
        });
        let rule = Arc::new(Rule {
            conflicts: conflicts.map(|(record, _)| record.name.clone()).collect(),
            policies: policies.clone(),
            when: first.map(|(_, when)| *when),
            started: self.started,
        });
        self.made.insert(policies, Arc::clone(&rule));
        rule
    }
}

/// Clamps a time in seconds since 1970 to `now`. A time more than [`CLOCK_STEP`] ahead was stored
/// before the clock was set back and is of no use: 0.
fn not_ahead(at: u64, now: u64) -> u64 {
    if at > now + CLOCK_STEP { 0 } else { at.min(now) }
}

/// Returns the absence of a device. `None` if it is connected or may not connect.
pub fn of(device: &Device, now: u64, started: u64) -> Option<Away> {
    let (since, usual) = match device.live.seen(device.record.standing, device.report.last_seen > 0)
    {
        Connection::Offline => (device.report.gone_at(), LOST_AFTER),
        Connection::NeverSeen => (device.record.created_at, NEVER_AFTER),
        Connection::Online | Connection::Pending | Connection::Revoked => return None,
    };
    let rule = device.rule.as_deref();
    let started = started.max(rule.map_or(0, |rule| rule.started));
    // A start of the control plane gives devices a little time to reconnect, but does not start
    // their absence again. Allowed 12 h and away for 11 h at the start: alarm in one hour. Away for
    // 13 h: alarm 5 min (`usual`) after the start.
    let alarm = |after: u64| {
        (not_ahead(since, now) + after).max(not_ahead(started, now) + after.min(usual))
    };
    Some(match rule.and_then(|rule| rule.when) {
        None => Away { class: Absence::Unexpected, alarm_at: Some(alarm(usual)) },
        Some(WhenOffline::AlarmAfter(after)) => {
            let at = alarm(after);
            let class = if now >= at { Absence::Unexpected } else { Absence::Expected };
            Away { class, alarm_at: Some(at) }
        }
        Some(WhenOffline::Expected) => Away { class: Absence::Expected, alarm_at: None },
        Some(WhenOffline::Ignore) => Away { class: Absence::Ignored, alarm_at: None },
    })
}

/// Returns the class of a device's absence. `None` if it is connected or may not connect.
pub fn class(device: &Device, now: u64) -> Option<Absence> {
    of(device, now, 0).map(|away| away.class)
}

/// Returns the time that a device may be away before it is an alarm, in words such as `5 min`.
/// Empty if it may be away for ever.
pub fn allowed(device: &Device) -> String {
    let usual = if device.report.last_seen > 0 { LOST_AFTER } else { NEVER_AFTER };
    match device.rule.as_deref().and_then(|rule| rule.when) {
        None => exactly(usual),
        Some(WhenOffline::AlarmAfter(after)) => exactly(after),
        Some(WhenOffline::Expected | WhenOffline::Ignore) => String::new(),
    }
}

/// Returns true if a device is away and its absence is expected or ignored.
pub fn is_normal(device: &Device, now: u64) -> bool {
    of(device, now, 0).is_some_and(|away| away.class != Absence::Unexpected)
}

impl Model {
    /// Recomputes the rule of every device, after a change of policies.
    pub fn settle_rules(&mut self) {
        let policies = self.policies.values().map(|known| &known.record);
        let mut rules = Rules::new(policies, self.started, Made::new());
        for device in self.devices.values_mut() {
            device.rule = Some(rules.of(&device.record.labels));
        }
        self.rules = rules.made;
    }

    /// Recomputes the rule of one device, after its enrolment or a change of its labels.
    pub fn settle_rule(&mut self, name: &Name) {
        let policies = self.policies.values().map(|known| &known.record);
        let mut rules = Rules::new(policies, self.started, std::mem::take(&mut self.rules));
        if let Some(device) = self.devices.get_mut(name) {
            device.rule = Some(rules.of(&device.record.labels));
        }
        self.rules = rules.made;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::model::KnownPolicy;
    use crate::rights::Sight;

    const NOW: u64 = 1_000_000;
    const HOUR: u64 = 3_600;

    fn device(labels: &[(&str, &str)], gone: u64) -> Device {
        let record = json!({
            "name": "d", "shard": 1, "publicKey": "k", "standing": "approved", "createdAt": NOW - 100 * HOUR,
            "updatedAt": 1, "version": 1, "token": "t", "labels": labels.iter().copied().collect::<BTreeMap<_, _>>(),
        });
        let mut device = Device::new(serde_json::from_value(record).unwrap());
        (device.report.last_seen, device.report.gone) = (gone.saturating_sub(7), gone);
        device
    }

    fn policy(name: &str, devices: serde_json::Value, when_offline: WhenOffline) -> PolicyRecord {
        let record = json!({
            "name": name, "devices": devices, "policy": { "devicepolicy": { "when_offline": when_offline } },
            "written": {}, "revision": 1, "createdAt": 1, "updatedAt": 1, "version": 1,
        });
        serde_json::from_value(record).unwrap()
    }

    fn rule(when: WhenOffline, started: u64) -> Option<Arc<Rule>> {
        let policies = vec!["p".parse().unwrap()];
        Some(Arc::new(Rule { policies, when: Some(when), conflicts: Vec::new(), started }))
    }

    fn away(gone: u64, rule: Option<Arc<Rule>>) -> (Absence, Option<u64>) {
        let mut device = device(&[], gone);
        device.rule = rule;
        let away = of(&device, NOW, 0).unwrap();
        (away.class, away.alarm_at)
    }

    #[test]
    fn an_absence_is_what_the_document_says() {
        use Absence::{Expected, Ignored, Unexpected};
        let after = |seconds| rule(WhenOffline::AlarmAfter(seconds), 0);
        for (gone, rule, class, alarm_at) in [
            (NOW - 10, None, Unexpected, Some(NOW - 10 + LOST_AFTER)),
            (NOW - HOUR, None, Unexpected, Some(NOW - HOUR + LOST_AFTER)),
            (NOW - HOUR, after(2 * HOUR), Expected, Some(NOW + HOUR)),
            (NOW - 2 * HOUR, after(2 * HOUR), Unexpected, Some(NOW)),
            (NOW - 50 * HOUR, rule(WhenOffline::Expected, 0), Expected, None),
            (NOW - 50 * HOUR, rule(WhenOffline::Ignore, 0), Ignored, None),
            // A device that was never seen is away since its enrolment.
            (0, None, Unexpected, Some(NOW - 100 * HOUR + NEVER_AFTER)),
            (0, after(101 * HOUR), Expected, Some(NOW + HOUR)),
            (0, rule(WhenOffline::Expected, 0), Expected, None),
        ] {
            let mut said = device(&[], gone);
            if gone == 0 {
                said.report.last_seen = 0;
            }
            said.rule.clone_from(&rule);
            let away = of(&said, NOW, 0).unwrap();
            assert_eq!((away.class, away.alarm_at), (class, alarm_at), "gone {gone}, {rule:?}");
            assert_eq!(away.is_alarm(NOW), alarm_at.is_some_and(|at| at <= NOW));
        }
        let mut online = device(&[], 0);
        online.live.connection = 1;
        assert_eq!(of(&online, NOW, 0), None);
    }

    #[test]
    fn a_start_gives_a_little_while_and_begins_no_absence_anew() {
        let started = NOW - 10;
        let after = |seconds| rule(WhenOffline::AlarmAfter(seconds), started);
        let hours = 12 * HOUR;
        // Away for eleven hours of twelve when the control plane started a moment ago.
        assert_eq!(away(NOW - 11 * HOUR, after(hours)).1, Some(NOW + HOUR));
        // The alarm was due before the start.
        assert_eq!(
            away(NOW - 13 * HOUR, after(hours)),
            (Absence::Expected, Some(started + LOST_AFTER))
        );
        assert_eq!(away(NOW - HOUR, after(60)).1, Some(started + 60));
    }

    #[test]
    fn a_clock_that_was_set_back_delays_no_alarm() {
        let after = || rule(WhenOffline::AlarmAfter(HOUR), 0);
        assert_eq!(away(NOW + 2, after()).1, Some(NOW + HOUR), "a small step is none");
        let (class, at) = away(NOW + 9 * HOUR, after());
        assert_eq!((class, at), (Absence::Unexpected, Some(HOUR)), "it says nothing of the past");
    }

    #[test]
    fn the_narrowest_holds_then_the_first_by_name() {
        let ship = json!({ "matchLabels": { "kind": "ship" } });
        let both = json!({ "matchLabels": { "kind": "ship", "site": "kiel" } });
        let site = json!({ "matchExpressions": [{ "key": "site", "operator": "In", "values": ["kiel"] }] });
        let all = [
            policy("a-all", json!("all"), WhenOffline::Ignore),
            policy("m-ship", ship.clone(), WhenOffline::Expected),
            policy("n-ship", ship, WhenOffline::Expected),
            policy("o-site", site, WhenOffline::AlarmAfter(HOUR)),
            policy("z-both", both, WhenOffline::AlarmAfter(2 * HOUR)),
        ];
        let mut rules = Rules::new(all.iter(), 5, Made::new());
        for (labels, names, when, conflicts) in [
            (vec![], "a-all", Some(WhenOffline::Ignore), ""),
            (vec![("kind", "ship")], "m-ship n-ship a-all", Some(WhenOffline::Expected), ""),
            (vec![("site", "kiel")], "o-site a-all", Some(WhenOffline::AlarmAfter(HOUR)), ""),
            (
                vec![("kind", "ship"), ("site", "kiel")],
                "z-both m-ship n-ship o-site a-all",
                Some(WhenOffline::AlarmAfter(2 * HOUR)),
                "",
            ),
        ] {
            let rule = rules.of(&device(&labels, 1).record.labels);
            let said =
                |names: &[Name]| names.iter().map(Name::as_str).collect::<Vec<_>>().join(" ");
            assert_eq!((said(&rule.policies).as_str(), rule.when), (names, when), "{labels:?}");
            assert_eq!(said(&rule.conflicts), conflicts);
            assert!(Arc::ptr_eq(&rule, &rules.of(&device(&labels, 1).record.labels)), "shared");
        }
        let mut rules = Rules::new(all[1..4].iter(), 5, Made::new());
        let rule = rules.of(&device(&[("kind", "ship"), ("site", "kiel")], 1).record.labels);
        assert_eq!(rule.policies[0].as_str(), "m-ship");
        assert_eq!(rule.conflicts, ["o-site".parse().unwrap()], "as narrow, and it says otherwise");
    }

    #[test]
    fn the_devices_of_a_document_are_counted_by_their_absence() {
        let mut model = Model::empty("default".parse().unwrap());
        let ship = json!({ "matchLabels": { "kind": "ship" } });
        for record in [
            policy("ships", ship, WhenOffline::AlarmAfter(HOUR)),
            policy("all", json!("all"), WhenOffline::Expected),
        ] {
            model.policies.insert(record.key(), KnownPolicy::new(record));
        }
        for (name, kind, gone) in
            [("a", "ship", NOW - 9 * HOUR), ("b", "ship", NOW - 9), ("c", "car", NOW - 9 * HOUR)]
        {
            let mut device = device(&[("kind", kind)], gone);
            device.record.name = name.parse().unwrap();
            model.devices.insert(device.record.name.clone(), device);
        }
        model.settle_rules();
        let ships = of_policy(&model, &Sight::All, &"ships".parse().unwrap(), NOW);
        assert_eq!((ships.devices, ships.expected, ships.unexpected), (2, 1, 1));
        assert_eq!(
            (ships.unexpected_names, ships.expected_names),
            (vec!["a".into()], vec!["b".into()])
        );
        let all = of_policy(&model, &Sight::All, &"all".parse().unwrap(), NOW);
        assert_eq!((all.devices, all.expected, all.overridden), (1, 1, 2));
        assert_eq!(all.overridden_by, ["ships"]);
        let said = reasons(&model.devices["a"], NOW);
        assert!(said[0].contains("for 1 h by device policy ships"), "{said:?}");
        // Other labels give another rule, and without documents there is none.
        model.devices.get_mut("a").unwrap().record.labels.clear();
        model.settle_rule(&"a".parse().unwrap());
        assert_eq!(of_policy(&model, &Sight::All, &"all".parse().unwrap(), NOW).devices, 2);
    }

    #[test]
    fn a_rule_is_told_exactly() {
        for (seconds, words) in
            [(60, "1 min"), (90, "90 s"), (5_400, "90 min"), (216_000, "60 h"), (172_800, "2 d")]
        {
            assert_eq!(exactly(seconds), words);
        }
    }
}
