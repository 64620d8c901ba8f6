//! Groups of alarms that one message is about, and the times of their messages. A table in
//! `tests.rs` covers each of these times.
//!
//! See decision 0118.

use std::collections::BTreeMap;

use holdfast_base::ids::{Labels, Name};
use serde::{Deserialize, Serialize};

use super::known::{Document, Known, Tracked, Turn, fresh};
use super::message::{LISTED, Listed, Message, Parts, Status};
use crate::notification::Notification;
use holdfast_api::Severity;
use holdfast_api::time::rfc3339;

/// Most groups of one notification. Alarms of further groups share one group whose values are
/// empty.
pub(super) const MAX_GROUPS: usize = 1_000;

/// Most alarms of a group that are remembered one by one, of about 100 bytes each in the store. Of
/// further ones the time of the last message tells whether they are new.
const MAX_MEMBERS: usize = 500;

/// Seconds below which a repetition is not stored, because the next one follows soon: for an
/// Alertmanager there is one each minute for each group.
const SOON: u64 = 10 * 60;

/// Values that the alarms of a group have in common, in the order of `groupBy`.
pub(super) type Key = Vec<(String, String)>;

/// Identity of an alarm: device, kind and code.
type Id = (Name, String, String);

/// Alarm that a message has reported, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Name of the device.
    pub device: Name,
    /// Labels of the device at that time.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Kind of the alarm, such as `lost` or `failing`.
    pub kind: String,
    /// Code of a problem, or name of a failing workload. Empty for other kinds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Urgency of the alarm.
    pub severity: Severity,
    /// Start of the alarm, in seconds since 1970.
    pub since: u64,
    /// Time of the first message that reported the alarm, in seconds since 1970. 0 in records of
    /// earlier versions, which did not note it.
    #[serde(default)]
    pub told: u64,
}

impl Member {
    /// Converts the alarm for a message about its end.
    fn listed(&self) -> Listed {
        Listed {
            device: self.device.to_string(),
            kind: self.kind.clone(),
            code: self.code.clone(),
            severity: self.severity,
            message: String::new(),
            since: rfc3339(self.since),
        }
    }
}

/// Group about which a message was made, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Values that the alarms have in common.
    pub key: Vec<(String, String)>,
    /// Time of the last message, in seconds since 1970.
    pub at: u64,
    /// Start of the oldest alarm, in seconds since 1970.
    pub since: u64,
    /// Severity of the most urgent alarm.
    pub severity: Severity,
    /// Alarms that messages have reported, at most 500.
    pub members: Vec<Member>,
    /// Time of the newest message that the receiver took, in seconds since 1970. 0: it took none.
    #[serde(default)]
    pub reached: u64,
}

/// Group of alarms, before or after its first message.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    /// Time at which the first alarm had lasted for `delay`. `groupWait` begins here.
    first: Option<u64>,
    told: Option<Told>,
}

#[derive(Debug, Clone)]
struct Told {
    at: u64,
    since: u64,
    severity: Severity,
    members: BTreeMap<Id, Member>,
    reached: u64,
}

/// Result of a group's turn.
pub(super) enum Step {
    /// The group remains, and no message is made.
    Stays,
    /// The group is dropped: no message was made about it, and it has no alarms.
    Goes,
    /// A message is sent. False if it only repeats and will soon be repeated again, so that it
    /// need not be stored.
    Tells(Box<Message>, bool),
    /// The group ends, with a message about it if the document asks for one.
    Ends(Option<Box<Message>>),
}

/// Alarms of a group in one turn.
#[derive(Default)]
pub(super) struct Content<'a> {
    /// Alarms that have lasted long enough and are not muted.
    firing: Vec<(&'a Name, &'a Labels, &'a Known)>,
}

/// Returns the alarms that a notification has to report, by group. Muted alarms are left out.
pub(super) fn contents<'a>(
    document: &Document,
    devices: &'a BTreeMap<Name, Tracked>,
    known: &BTreeMap<Key, Group>,
    now: u64,
) -> BTreeMap<Key, Content<'a>> {
    let mut contents: BTreeMap<Key, Content<'a>> = BTreeMap::new();
    let Document { devices: chosen, notification, .. } = document;
    for (name, tracked) in devices.iter().filter(|(_, one)| chosen.matches(&one.labels)) {
        for alarm in &tracked.alarms {
            let lasted = now >= alarm.since.saturating_add(notification.delay);
            if alarm.gone.is_some() || alarm.muted || !lasted || !notification.concerns(alarm) {
                continue;
            }
            let mut key = notification.key_of(name, &tracked.labels, alarm);
            let is_known = contents.contains_key(&key) || known.contains_key(&key);
            if !is_known && contents.len().max(known.len()) >= MAX_GROUPS {
                key.iter_mut().for_each(|(_, value)| value.clear());
            }
            contents.entry(key).or_default().firing.push((name, &tracked.labels, alarm));
        }
    }
    contents
}

impl Notification {
    /// Returns true if the notification is about alarms of this kind and severity.
    fn concerns(&self, alarm: &Known) -> bool {
        // Severities are ordered from the most urgent: `Critical < Warning`.
        alarm.severity <= self.severity
            && (self.kinds.is_empty() || self.kinds.contains(&alarm.kind))
    }

    fn key_of(&self, device: &Name, labels: &Labels, alarm: &Known) -> Key {
        let value = |word: &str| match word {
            "kind" => alarm.kind.clone(),
            "code" => alarm.code.clone(),
            "severity" => alarm.severity.as_str().to_owned(),
            "device" => device.to_string(),
            "workload" if alarm.kind == "failing" => alarm.code.clone(),
            label => labels.get(label).cloned().unwrap_or_default(),
        };
        self.group_by.iter().map(|word| (word.clone(), value(word))).collect()
    }
}

/// Inputs of a group's turn.
pub(super) struct Round<'a> {
    pub(super) name: &'a Name,
    pub(super) document: &'a Notification,
    pub(super) devices: &'a BTreeMap<Name, Tracked>,
    pub(super) turn: &'a Turn<'a>,
}

impl Group {
    /// Restores a group from the store.
    pub(super) fn of(record: GroupRecord) -> Self {
        let id = |one: &Member| (one.device.clone(), one.kind.clone(), one.code.clone());
        let members = record.members.into_iter().map(|one| (id(&one), one)).collect();
        let (at, since, severity) = (record.at, record.since, record.severity);
        let reached = record.reached;
        Self { first: Some(at), told: Some(Told { at, since, severity, members, reached }) }
    }

    /// Returns the record for the store. `None` if no message was made about the group.
    pub(super) fn record(&self, key: &Key) -> Option<GroupRecord> {
        let told = self.told.as_ref()?;
        Some(GroupRecord {
            key: key.clone(),
            at: told.at,
            since: told.since,
            severity: told.severity,
            members: told.members.values().cloned().collect(),
            reached: told.reached,
        })
    }

    /// Notes that the receiver took the message that was made at this time. Returns true if alarms
    /// were reported to it by that message for the first time.
    pub(super) fn reached(&mut self, at: u64) -> bool {
        let Some(told) = self.told.as_mut() else { return false };
        let before = told.reached;
        told.reached = before.max(at);
        told.members.values().any(|one| one.told > before && one.told <= told.reached)
    }

    /// Returns the start of the oldest alarm at the time of the last message, in seconds since
    /// 1970.
    pub(super) fn since(&self) -> Option<u64> {
        self.told.as_ref().map(|told| told.since)
    }

    /// Returns true if a message about the group was made.
    pub(super) fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// Returns whether the receiver took a message that reports the alarm. `None` if no message
    /// reports it.
    pub(super) fn has_told(&self, device: &Name, kind: &str, code: &str) -> Option<bool> {
        let told = self.told.as_ref()?;
        let mut members = told.members.iter();
        let found =
            members.find(|((of, known, word), _)| of == device && known == kind && word == code);
        found.map(|(_, member)| member.told <= told.reached)
    }

    /// Decides whether a message about the group is made in this turn.
    pub(super) fn step(
        &mut self,
        key: &Key,
        content: &Content<'_>,
        round: &Round<'_>,
        ids: &mut (u64, u64),
    ) -> Step {
        let (document, now) = (round.document, round.turn.now);
        let Some(told) = &self.told else {
            if content.firing.is_empty() {
                return Step::Goes;
            }
            let first = *self.first.get_or_insert(now);
            if now < first.saturating_add(document.group_wait) {
                return Step::Stays;
            }
            return Step::Tells(self.tell(key, content, round, 0, ids), true);
        };
        let over: Vec<Id> = told.members.keys().filter(|id| !holds(round, id)).cloned().collect();
        if content.firing.is_empty() && over.len() == told.members.len() {
            let message = document.send_resolved.then(|| {
                let (since, severity) = (told.since, told.severity);
                let parts = Parts {
                    id: fresh(ids),
                    notification: round.name,
                    status: Status::Resolved,
                    group: key,
                    alarms: told.members.values().take(LISTED).map(Member::listed).collect(),
                    severity,
                    count: 0,
                    new: 0,
                    ended: over.len(),
                    since,
                    now,
                    link: document.link.as_deref(),
                };
                Box::new(Message::new(parts))
            });
            return Step::Ends(message);
        }
        let is_new =
            content.firing.iter().any(|(name, _, alarm)| told.is_new(document, name, alarm));
        let other = is_new || (document.send_resolved && !over.is_empty());
        let due = (other && now >= told.at.saturating_add(document.group_interval))
            || (!content.firing.is_empty() && now >= told.at.saturating_add(document.repeat));
        if !due {
            return Step::Stays;
        }
        let lasting = other || document.repeat >= SOON;
        Step::Tells(self.tell(key, content, round, over.len(), ids), lasting)
    }

    fn tell(
        &mut self,
        key: &Key,
        content: &Content<'_>,
        round: &Round<'_>,
        ended: usize,
        ids: &mut (u64, u64),
    ) -> Box<Message> {
        let (document, now) = (round.document, round.turn.now);
        let before = self.told.take();
        let is_new = |name: &Name, alarm: &Known| {
            before.as_ref().is_none_or(|told| told.is_new(document, name, alarm))
        };
        let mut listed: Vec<(bool, &Name, &Labels, &Known)> = content
            .firing
            .iter()
            .map(|(name, labels, alarm)| (!is_new(name, alarm), *name, *labels, *alarm))
            .collect();
        listed.sort_by_key(|(old, _, _, alarm)| (*old, alarm.severity, alarm.since));
        let new = listed.iter().filter(|(old, ..)| !old).count();
        let severity = listed.iter().map(|(_, _, _, alarm)| alarm.severity).min();
        let severity = severity.unwrap_or(Severity::Info);
        let since = listed.iter().map(|(_, _, _, alarm)| alarm.since).min().unwrap_or(now);
        let mut members: BTreeMap<Id, Member> = BTreeMap::new();
        let reached = before.as_ref().map_or(0, |told| told.reached);
        // An alarm that was muted after it was reported stays in the group, so that its end is
        // reported as well.
        let kept = before.into_iter().flat_map(|told| told.members);
        members.extend(kept.filter(|(id, _)| holds(round, id)));
        for (_, name, labels, alarm) in &listed {
            if members.len() >= MAX_MEMBERS {
                break;
            }
            let id = ((*name).clone(), alarm.kind.clone(), alarm.code.clone());
            let member = Member {
                told: members.get(&id).map_or(now, |known| known.told),
                device: (*name).clone(),
                labels: (*labels).clone(),
                kind: alarm.kind.clone(),
                code: alarm.code.clone(),
                severity: alarm.severity,
                since: alarm.since,
            };
            members.insert(id, member);
        }
        self.told = Some(Told { at: now, since, severity, members, reached });
        let count = listed.len();
        Box::new(Message::new(Parts {
            id: fresh(ids),
            notification: round.name,
            status: Status::Firing,
            group: key,
            alarms: listed
                .iter()
                .take(LISTED)
                .map(|(_, name, _, alarm)| Listed::of(name, alarm))
                .collect(),
            severity,
            count,
            new,
            ended,
            since,
            now,
            link: document.link.as_deref(),
        }))
    }
}

impl Told {
    /// Returns true if an alarm was not reported yet: it is not among the members, and if the members
    /// are full, it became due after the last message.
    fn is_new(&self, document: &Notification, name: &Name, alarm: &Known) -> bool {
        let id = (name.clone(), alarm.kind.clone(), alarm.code.clone());
        let full = self.members.len() >= MAX_MEMBERS;
        !self.members.contains_key(&id)
            && (!full || alarm.since.saturating_add(document.delay) > self.at)
    }
}

/// Returns true if a reported alarm still lasts. One that has been gone for less than the delay counts
/// as lasting, because it may be flapping.
fn holds(round: &Round<'_>, (device, kind, code): &Id) -> bool {
    let Some(tracked) = round.devices.get(device) else { return false };
    let known = tracked.alarms.iter().find(|known| known.is(kind, code));
    known.is_some_and(|known| {
        known.gone.is_none_or(|gone| round.turn.now < gone.saturating_add(round.document.delay))
    })
}
