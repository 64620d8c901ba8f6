//! Queue of messages of one notification, with increasing waits between attempts. The queue is
//! bounded and stored, so that a restart loses no message.
//!
//! See decision 0118.

use std::collections::{BTreeMap, VecDeque};

use holdfast_base::ids::{Name, hex};
use serde::{Deserialize, Serialize};

use super::group::{self, Group, GroupRecord, Key, Member, Round, Step};
use super::known::{Document, Tracked, Turn, Write};
use super::message::{Message, Status};
use crate::model::sha256;

/// Prefixes of keys in the store: groups with a message, queued messages, state of the
/// deliveries.
pub(super) const TOLD: &str = "told";
pub(super) const QUEUED: &str = "outbox";
pub(super) const STANDING: &str = "notified";

/// Most messages that wait for one receiver, of about 10 KB each. Beyond it the oldest is dropped
/// and counted, because later ones are more current.
pub(super) const MAX_QUEUE: usize = 500;

/// Seconds for which a message is tried. After a day a new message with the current alarms is of
/// more use.
pub(super) const MAX_AGE: u64 = 24 * 3_600;

/// First and longest wait between two attempts, in seconds.
const FIRST_WAIT: u64 = 5;
const LONGEST_WAIT: u64 = 5 * 60;

/// Longest error text of a receiver that is stored, in bytes.
const MAX_ANSWER: usize = 500;

/// Outcome of a delivery, with the receiver's words in either case.
pub type Outcome = Result<String, NotDelivered>;

/// Reason why a message was not delivered in one attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDelivered {
    /// Receiver that answered and did not take the message, with its words.
    #[error("{0}")]
    Refused(String),
    /// Receiver that was not reached, or broke off, with the cause.
    #[error("{0}")]
    Unreached(String),
    /// Receiver that did not answer within this number of seconds.
    #[error("no answer within {0} s")]
    Late(u64),
    /// Certificates of the document that cannot be read.
    #[error("the certificates of spec.to cannot be read")]
    Certificates,
    /// TLS that cannot be set up, with the cause.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// Address of mail that is none.
    #[error("{0:?} is no address of mail")]
    Address(String),
    /// Message of which no mail can be made, with the cause.
    #[error("no mail can be made of it: {0}")]
    Mail(String),
    /// Message that is no JSON, with the cause.
    #[error("no JSON: {0}")]
    Json(String),
    /// Secret of the receiver that cannot be had, with the cause.
    #[error("a secret of the receiver cannot be had: {0}")]
    Secret(String),
    /// Notification that was deleted meanwhile.
    #[error("the notification was deleted")]
    Deleted,
}

/// Message in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// Number of the message, ascending in the order in which messages are made.
    pub number: u64,
    /// Values that the alarms of the group have in common.
    pub key: Key,
    /// Time at which the message was made, in seconds since 1970.
    pub at: u64,
    /// Start of the group's alarms, in seconds since 1970.
    pub since: u64,
    /// Attempts that have failed.
    #[serde(default)]
    pub attempts: u32,
    /// Time before which the message is not tried again, in seconds since 1970.
    #[serde(default)]
    pub next: u64,
    /// Message to be delivered.
    pub message: Message,
}

/// State of the deliveries of a notification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Standing {
    /// Time of the last delivery that succeeded, in seconds since 1970. 0: none did.
    pub last_success: u64,
    /// Time of the last attempt that failed, in seconds since 1970. 0: none did.
    pub last_failure: u64,
    /// Reason of the last failed attempt.
    pub last_error: String,
    /// Time since which every attempt has failed, in seconds since 1970. 0: the last one succeeded.
    pub failing_since: u64,
    /// Number of messages that were delivered.
    pub sent: u64,
    /// Number of messages that were dropped, because of their age or a full queue.
    pub dropped: u64,
    /// Number of messages in the queue.
    #[serde(skip)]
    pub queued: usize,
    /// Number of groups with a message that have not been resolved.
    #[serde(skip)]
    pub open: usize,
    /// Fingerprint of the settings that groups depend on, see `Notification::fingerprint`.
    fingerprint: String,
}

/// Message that is to be delivered now.
#[derive(Debug, Clone)]
pub struct Job {
    /// Name of the notification.
    pub notification: Name,
    /// Start of the alarms, in seconds since 1970.
    pub since: u64,
    /// Message to be delivered.
    pub message: Message,
}

/// Groups and queue of one notification.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    groups: BTreeMap<Key, Group>,
    queue: VecDeque<Queued>,
    standing: Standing,
    /// Id of the message that is being delivered.
    under_way: Option<String>,
    number: u64,
}

fn group_key(name: &Name, key: &Key) -> String {
    let text = serde_json::to_vec(key).unwrap_or_default();
    let digest = hex(&sha256(&text));
    format!("{TOLD}/{name}/{}", digest.get(..24).unwrap_or(&digest))
}

fn queue_key(name: &Name, number: u64) -> String {
    format!("{QUEUED}/{name}/{number:012}")
}

fn json<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}

/// Returns true if a newer message makes an older one of the same group useless: both report
/// lasting alarms, and only the newest state is of use.
fn replaces(newer: &Message, older: &Queued, key: &Key) -> bool {
    older.key == *key && newer.status == Status::Firing && older.message.status == Status::Firing
}

impl Outbox {
    pub(super) fn take_group(&mut self, record: GroupRecord) -> Vec<Member> {
        let members = record.members.clone();
        self.groups.insert(record.key.clone(), Group::of(record));
        members
    }

    pub(super) fn take_message(&mut self, message: Queued) {
        self.number = self.number.max(message.number);
        self.queue.push_back(message);
        self.queue.make_contiguous().sort_by_key(|message| message.number);
    }

    pub(super) fn take_standing(&mut self, standing: Standing) {
        self.standing = standing;
    }

    /// Returns the keys of the outbox in the store.
    pub(super) fn keys(&self, name: &Name) -> Vec<String> {
        let groups = self.groups.keys().map(|key| group_key(name, key));
        let queue = self.queue.iter().map(|message| queue_key(name, message.number));
        groups.chain(queue).chain([format!("{STANDING}/{name}")]).collect()
    }

    /// Returns everything that the store should hold of the outbox.
    pub(super) fn writes(&self, name: &Name) -> Vec<Write> {
        let groups = self
            .groups
            .iter()
            .map(|(key, group)| (group_key(name, key), group.record(key).as_ref().and_then(json)));
        let queue = self.queue.iter().map(|one| (queue_key(name, one.number), json(one)));
        groups.chain(queue).chain([(format!("{STANDING}/{name}"), json(&self.standing))]).collect()
    }

    pub(super) fn standing(&self) -> Standing {
        let open = self.groups.values().filter(|group| group.is_told()).count();
        Standing { queued: self.queue.len(), open, ..self.standing.clone() }
    }

    /// Returns whether the receiver took a message that reports the alarm. `None` if no message
    /// reports it.
    pub(super) fn has_told(&self, device: &Name, kind: &str, code: &str) -> Option<bool> {
        self.groups.values().filter_map(|group| group.has_told(device, kind, code)).max()
    }

    /// Makes the messages of this turn about each group, and puts them into the queue.
    pub(super) fn turn(
        &mut self,
        document: &Document,
        devices: &BTreeMap<Name, Tracked>,
        turn: &Turn<'_>,
        ids: &mut (u64, u64),
        writes: &mut Vec<Write>,
    ) {
        let name = &document.name;
        self.begin_anew(document, writes);
        self.give_up(name, turn.now, writes);
        let contents = group::contents(document, devices, &self.groups, turn.now);
        let none = group::Content::default();
        for key in contents.keys() {
            if !self.groups.contains_key(key) {
                self.groups.insert(key.clone(), Group::default());
            }
        }
        let round = Round { name, document: &document.notification, devices, turn };
        let keys: Vec<Key> = self.groups.keys().cloned().collect();
        for key in keys {
            let Some(group) = self.groups.get_mut(&key) else { continue };
            let step = group.step(&key, contents.get(&key).unwrap_or(&none), &round, ids);
            match step {
                Step::Stays => {}
                Step::Goes => drop(self.groups.remove(&key)),
                Step::Tells(message, lasting) => {
                    let since = group.since().unwrap_or(turn.now);
                    if lasting {
                        let record = group.record(&key);
                        writes.push((group_key(name, &key), record.as_ref().and_then(json)));
                    }
                    self.enqueue(name, (key, since), *message, turn.now, lasting, writes);
                }
                Step::Ends(message) => {
                    let since = group.since().unwrap_or(turn.now);
                    self.groups.remove(&key);
                    writes.push((group_key(name, &key), None));
                    if let Some(message) = message {
                        self.enqueue(name, (key, since), *message, turn.now, true, writes);
                    }
                }
            }
        }
    }

    /// Drops all groups and messages if the receiver or `groupBy` has changed, because the new
    /// receiver has got no messages yet.
    fn begin_anew(&mut self, document: &Document, writes: &mut Vec<Write>) {
        let fingerprint = document.notification.fingerprint();
        if self.standing.fingerprint == fingerprint {
            return;
        }
        let name = &document.name;
        writes.extend(self.groups.keys().map(|key| (group_key(name, key), None)));
        writes.extend(self.queue.iter().map(|one| (queue_key(name, one.number), None)));
        self.groups.clear();
        self.queue.clear();
        self.standing = Standing { fingerprint, sent: self.standing.sent, ..Standing::default() };
        writes.push((format!("{STANDING}/{name}"), json(&self.standing)));
    }

    /// Puts a message into the queue, in place of older ones that it makes useless. One that is not
    /// `lasting` is not stored.
    fn enqueue(
        &mut self,
        name: &Name,
        (key, since): (Key, u64),
        message: Message,
        now: u64,
        lasting: bool,
        writes: &mut Vec<Write>,
    ) {
        // A newer message takes over attempts and waiting time from the one that it replaces.
        // Otherwise a flapping group would try a failing receiver every few seconds.
        let (mut attempts, mut next) = (0, now);
        let under_way = &self.under_way;
        self.queue.retain(|older| {
            let stays =
                !replaces(&message, older, &key) || under_way.as_ref() == Some(&older.message.id);
            if !stays {
                (attempts, next) = (attempts.max(older.attempts), next.max(older.next));
                writes.push((queue_key(name, older.number), None));
            }
            stays
        });
        if self.queue.len() >= MAX_QUEUE
            && let Some(oldest) = self.queue.pop_front()
        {
            self.standing.dropped += 1;
            writes.push((queue_key(name, oldest.number), None));
        }
        self.number += 1;
        let queued = Queued { number: self.number, key, at: now, since, attempts, next, message };
        if lasting {
            writes.push((queue_key(name, queued.number), json(&queued)));
        }
        self.queue.push_back(queued);
    }

    /// Drops messages that are older than [`MAX_AGE`].
    fn give_up(&mut self, name: &Name, now: u64, writes: &mut Vec<Write>) {
        let before = writes.len();
        let under_way = &self.under_way;
        self.queue.retain(|one| {
            let stays =
                now < one.at.saturating_add(MAX_AGE) || under_way.as_ref() == Some(&one.message.id);
            if !stays {
                writes.push((queue_key(name, one.number), None));
            }
            stays
        });
        let dropped = writes.len() - before;
        if dropped > 0 {
            self.standing.dropped += dropped as u64;
            writes.push((format!("{STANDING}/{name}"), json(&self.standing)));
        }
    }

    /// Returns the message to be delivered now: the first that is due, unless an older one of its
    /// group waits. A message that fails delays no other group.
    pub(super) fn due(&mut self, name: &Name, now: u64) -> Option<Job> {
        if self.under_way.is_some() {
            return None;
        }
        let mut blocked: Vec<&Key> = Vec::new();
        for queued in &self.queue {
            if blocked.contains(&&queued.key) {
                continue;
            }
            if queued.next <= now {
                self.under_way = Some(queued.message.id.clone());
                return Some(Job {
                    notification: name.clone(),
                    since: queued.since,
                    message: queued.message.clone(),
                });
            }
            blocked.push(&queued.key);
        }
        None
    }

    pub(super) fn done(
        &mut self,
        name: &Name,
        id: &str,
        outcome: &Outcome,
        now: u64,
        jitter: u32,
    ) -> Vec<Write> {
        if self.under_way.as_deref() == Some(id) {
            self.under_way = None;
        }
        let mut writes = Vec::new();
        let at = self.queue.iter().position(|queued| queued.message.id == id);
        match outcome {
            Ok(_) => {
                self.standing.last_success = now;
                self.standing.failing_since = 0;
                self.standing.sent += 1;
                if let Some(gone) = at.and_then(|at| self.queue.remove(at)) {
                    writes.push((queue_key(name, gone.number), None));
                    writes.extend(self.reached(name, &gone));
                }
            }
            Err(why) => {
                let mut why = why.to_string();
                crate::records::cut(&mut why, MAX_ANSWER);
                self.standing.last_error = why;
                self.standing.last_failure = now;
                if self.standing.failing_since == 0 {
                    self.standing.failing_since = now;
                }
                if let Some(queued) = at.and_then(|at| self.queue.get_mut(at)) {
                    queued.next = now.saturating_add(wait(queued.attempts, jitter));
                    queued.attempts = queued.attempts.saturating_add(1);
                    writes.push((queue_key(name, queued.number), json(queued)));
                }
            }
        }
        writes.push((format!("{STANDING}/{name}"), json(&self.standing)));
        writes
    }
}

impl Outbox {
    /// Notes in the group of a message that its receiver took it. Returns what to store.
    fn reached(&mut self, name: &Name, taken: &Queued) -> Option<Write> {
        let group = self.groups.get_mut(&taken.key)?;
        let is_news = group.reached(taken.at);
        let record = group.record(&taken.key).filter(|_| is_news)?;
        Some((group_key(name, &taken.key), json(&record)))
    }
}

/// Returns the seconds before the next attempt: from 5 s, doubled each time up to 5 min, less a
/// random part of up to a quarter, so that not everybody tries a recovered receiver at once.
fn wait(attempts: u32, jitter: u32) -> u64 {
    let whole = FIRST_WAIT.saturating_mul(1 << attempts.min(10)).min(LONGEST_WAIT);
    let less = whole.saturating_mul(u64::from(jitter.min(1_000))) / 4_000;
    (whole - less).max(1)
}
