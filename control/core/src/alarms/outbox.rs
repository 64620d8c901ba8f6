//! What a notification has told and has still to tell: a bounded queue with ever longer waits
//! between attempts, kept in the store so that a restart loses nothing.

use std::collections::{BTreeMap, VecDeque};

use holdfast_base::ids::{Name, hex};
use serde::{Deserialize, Serialize};

use super::group::{self, Group, GroupRecord, Key, Member, Round, Step};
use super::message::{Message, Status};
use super::{Document, Tracked, Turn, Write};
use crate::model::sha256;

/// What keys of the store begin with: groups that were told, messages that wait, how it stands.
pub(super) const TOLD: &str = "told";
pub(super) const QUEUED: &str = "outbox";
pub(super) const STANDING: &str = "notified";

/// Most messages that wait for one receiver, of about 10 KB each. Beyond, the oldest is dropped and
/// counted: what it says is older than what follows.
pub(super) const MAX_QUEUE: usize = 500;

/// How long a message is tried, in seconds: who looks a day later is told what holds then.
pub(super) const MAX_AGE: u64 = 24 * 3_600;

/// First and longest wait before another attempt, in seconds.
const FIRST_WAIT: u64 = 5;
const LONGEST_WAIT: u64 = 5 * 60;

/// Longest text of a receiver that is kept, in bytes.
const MAX_ANSWER: usize = 500;

/// What became of a delivery: the receiver's words either way.
pub type Outcome = Result<String, String>;

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// Counts up: the order in which they were made.
    pub number: u64,
    /// What the alarms of its group have in common.
    pub key: Key,
    /// When it was made, in seconds since 1970.
    pub at: u64,
    /// When its alarms began, in seconds since 1970.
    pub since: u64,
    /// Attempts so far.
    #[serde(default)]
    pub attempts: u32,
    /// Not tried before, in seconds since 1970.
    #[serde(default)]
    pub next: u64,
    /// What is told.
    pub message: Message,
}

/// How a notification stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Standing {
    /// When a message was last delivered, in seconds since 1970; 0: never.
    pub last_success: u64,
    /// When an attempt last failed, in seconds since 1970; 0: never.
    pub last_failure: u64,
    /// Why it failed.
    pub last_error: String,
    /// Since when every attempt fails, in seconds since 1970; 0: the last one did not.
    pub failing_since: u64,
    /// Messages delivered.
    pub sent: u64,
    /// Messages that were given up or dropped.
    pub dropped: u64,
    /// Messages that wait.
    #[serde(skip)]
    pub queued: usize,
    /// Groups that were told and are not resolved.
    #[serde(skip)]
    pub open: usize,
    /// What the groups go by, see `Notification::fingerprint`.
    fingerprint: String,
}

/// A message to be delivered.
#[derive(Debug, Clone)]
pub struct Job {
    /// By which notification.
    pub notification: Name,
    /// Since when its alarms last, in seconds since 1970.
    pub since: u64,
    /// What is told.
    pub message: Message,
}

/// Of one notification.
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

/// Whether another attempt is for alarms that have changed: only the newest is worth telling.
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

    /// Its keys in the store.
    pub(super) fn keys(&self, name: &Name) -> Vec<String> {
        let groups = self.groups.keys().map(|key| group_key(name, key));
        let queue = self.queue.iter().map(|message| queue_key(name, message.number));
        groups.chain(queue).chain([format!("{STANDING}/{name}")]).collect()
    }

    /// All that the store should hold of it.
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

    pub(super) fn has_told(&self, device: &Name, kind: &str, code: &str) -> bool {
        self.groups.values().any(|group| group.has_told(device, kind, code))
    }

    /// Decides of each group what is told, and puts it into the queue.
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

    /// Groups of another receiver, or by other words, are not those that there are now.
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

    /// Puts a message into the queue; one that is not `lasting` need not outlive a restart.
    fn enqueue(
        &mut self,
        name: &Name,
        (key, since): (Key, u64),
        message: Message,
        now: u64,
        lasting: bool,
        writes: &mut Vec<Write>,
    ) {
        // How long a receiver is waited for is its own: a newer message does not begin anew.
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

    /// Drops what is too old to be told.
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

    /// The message to be delivered now: the first whose time has come, and never one before an
    /// older one of the same group. One that fails holds up no other group.
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
                let gone = at.and_then(|at| self.queue.remove(at));
                writes.extend(gone.map(|one| (queue_key(name, one.number), None)));
            }
            Err(why) => {
                let mut why = why.clone();
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

/// Seconds before the next attempt: doubles from 5 s to 5 min, less up to a quarter by chance, so
/// that receivers that come back are not asked by everybody at once.
fn wait(attempts: u32, jitter: u32) -> u64 {
    let whole = FIRST_WAIT.saturating_mul(1 << attempts.min(10)).min(LONGEST_WAIT);
    let less = whole.saturating_mul(u64::from(jitter.min(1_000))) / 4_000;
    (whole - less).max(1)
}
