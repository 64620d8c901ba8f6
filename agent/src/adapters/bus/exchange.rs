//! Exchange of messages between the connected clients, and the retained messages.
//!
//! See decisions 0054 and 0089.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use holdfast_base::ids::Name;
use holdfast_mqtt::{Code, Fault, Origin, Retain};
use tokio::sync::Notify;

use super::mailbox::{Delivery, Mailbox};
pub(super) use super::published::Published;
use super::retained;
use crate::core::bus::{Rights, means};

/// Most retained messages, which with [`MAX_RETAINED_BYTES`] bounds a convenience for workloads
/// that start later. They are kept over restarts of the agent.
const MAX_RETAINED: usize = 256;
const MAX_RETAINED_BYTES: usize = 256 * 1024;

/// Reason for ending clients whose name is no longer admitted.
pub(super) const GONE: Fault = Fault::new(Code::Administrative, "may not come any more");

/// A connected client.
struct Member {
    name: Name,
    client_id: String,
    mailbox: Arc<Mailbox>,
    /// Topic filters of its subscriptions.
    filters: Vec<String>,
}

#[derive(Default)]
struct Inner {
    members: BTreeMap<u64, Member>,
    retained: BTreeMap<(Name, Box<str>), Published>,
    retained_bytes: usize,
    /// True when the retained messages differ from those on disk.
    changed: bool,
}

/// The exchange; see the module's documentation.
#[derive(Default)]
pub(super) struct Exchange {
    inner: Mutex<Inner>,
    /// Notified when the retained messages have changed.
    pub(super) changes: Notify,
}

/// Outcome of a publish.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Number of subscribers whose mailbox was full.
    pub(super) overrun: u64,
    /// True when the message should have been retained and there was no room.
    pub(super) not_retained: bool,
}

impl Exchange {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connected client. An older client of the same user and client id is ended.
    pub(super) fn enter(&self, number: u64, name: &Name, id: &str, mailbox: &Arc<Mailbox>) {
        let mut inner = self.inner();
        let same = |member: &&Member| member.name == *name && member.client_id == id;
        if let Some(older) = inner.members.values().find(same) {
            older.mailbox.end(Fault::new(Code::TakenOver, "a newer client of the same id"));
        }
        let (name, client_id) = (name.clone(), id.to_owned());
        let mailbox = Arc::clone(mailbox);
        inner.members.insert(number, Member { name, client_id, mailbox, filters: Vec::new() });
    }

    pub(super) fn leave(&self, number: u64) {
        self.inner().members.remove(&number);
    }

    pub(super) fn len(&self) -> usize {
        self.inner().members.len()
    }

    /// Adds the number of clients of each name to `of`.
    pub(super) fn count(&self, of: &mut BTreeMap<Name, usize>) {
        for member in self.inner().members.values() {
            *of.entry(member.name.clone()).or_default() += 1;
        }
    }

    /// Replaces the topic filters of a client.
    pub(super) fn subscribed(&self, number: u64, filters: Vec<String>) {
        if let Some(member) = self.inner().members.get_mut(&number) {
            member.filters = filters;
        }
    }

    /// Ends every client of this name, and drops what it retained.
    pub(super) fn end_of(&self, name: &Name) {
        self.end_where(|member| member == name, GONE);
        self.forget_where(|owner| owner == name);
    }

    /// Drops retained messages of these owners.
    fn forget_where(&self, gone: impl Fn(&Name) -> bool) {
        let mut inner = self.inner();
        let before = inner.retained.len();
        inner.retained.retain(|(owner, _), _| !gone(owner));
        inner.retained_bytes = inner.retained.values().map(|it| it.payload.len()).sum();
        if inner.retained.len() != before {
            inner.changed = true;
            self.changes.notify_one();
        }
    }

    /// Takes over the messages that were retained before a restart.
    pub(super) fn restore(&self, messages: Vec<Published>) {
        let mut inner = self.inner();
        for message in messages {
            inner.retain(message);
        }
        inner.changed = false;
    }

    /// Returns the retained messages, encoded, if they differ from those on disk. Messages of
    /// owners in `gone` are dropped first.
    pub(super) fn take_changed(&self, gone: impl Fn(&Name) -> bool) -> Option<Vec<u8>> {
        self.forget_where(gone);
        let mut inner = self.inner();
        let changed = std::mem::take(&mut inner.changed);
        changed.then(|| retained::pack(inner.retained.values()))
    }

    /// Notes that the retained messages could not be written.
    pub(super) fn save_failed(&self) {
        self.inner().changed = true;
    }

    pub(super) fn end_where(&self, gone: impl Fn(&Name) -> bool, why: Fault) {
        let ending: Vec<Arc<Mailbox>> = {
            let inner = self.inner();
            let gone = inner.members.values().filter(|member| gone(&member.name));
            gone.map(|member| Arc::clone(&member.mailbox)).collect()
        };
        for mailbox in ending {
            mailbox.end(why);
        }
    }

    /// Delivers a message to every client that has subscribed to it and may read it, and retains it
    /// if it asks for that.
    pub(super) fn publish(
        &self,
        from: u64,
        message: Published,
        rights: impl Fn(&Name) -> Option<Arc<Rights>>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let mut inner = self.inner();
        for (number, member) in &inner.members {
            if member.filters.is_empty() {
                continue;
            }
            let Some(topic) = name_for(member, &message, &rights) else { continue };
            let retain = if message.retain { Retain::Live } else { Retain::No };
            let delivery = Delivery {
                topic: topic.into(),
                payload: message.payload.clone(),
                retain,
                origin: Origin { qos: message.qos, own: *number == from },
            };
            outcome.overrun += u64::from(!member.mailbox.push(delivery));
        }
        if message.retain {
            outcome.not_retained = !inner.retain(message);
            if inner.changed {
                self.changes.notify_one();
            }
        }
        outcome
    }

    /// Delivers the retained messages that match new filters of a client; returns how many found no
    /// room.
    pub(super) fn deliver_retained(&self, number: u64, filters: &[String], rights: &Rights) -> u64 {
        let inner = self.inner();
        let Some(member) = inner.members.get(&number) else { return 0 };
        let mut overrun = 0;
        for message in inner.retained.values() {
            if !rights.may_read(&message.owner, &message.topic) {
                continue;
            }
            let names = rights.names_of(&message.owner, &message.topic, message.stream);
            let wanted = names.into_iter().find(|name| filters.iter().any(|it| means(it, name)));
            let Some(topic) = wanted else { continue };
            let delivery = Delivery {
                topic: topic.into(),
                payload: message.payload.clone(),
                retain: Retain::Stored,
                origin: Origin { qos: message.qos, own: false },
            };
            overrun += u64::from(!member.mailbox.push(delivery));
        }
        overrun
    }
}

impl Inner {
    /// Retains a message; an empty one clears the topic. False when there is no room.
    fn retain(&mut self, message: Published) -> bool {
        let key = (message.owner.clone(), message.topic.clone());
        if self.retained.get(&key).is_some_and(|old| old.payload == message.payload) {
            return true;
        }
        if let Some(old) = self.retained.remove(&key) {
            self.retained_bytes = self.retained_bytes.saturating_sub(old.payload.len());
            self.changed = true;
        }
        if message.payload.is_empty() {
            return true;
        }
        let bytes = self.retained_bytes + message.payload.len();
        if self.retained.len() >= MAX_RETAINED || bytes > MAX_RETAINED_BYTES {
            return false;
        }
        self.retained_bytes = bytes;
        self.changed = true;
        // A copy: a slice would keep the whole packet in memory.
        let payload = Bytes::copy_from_slice(&message.payload);
        self.retained.insert(key, Published { payload, ..message });
        true
    }
}

/// Topic under which this client sees the message, if it has subscribed to it and may read it.
fn name_for(
    member: &Member,
    message: &Published,
    rights: impl Fn(&Name) -> Option<Arc<Rights>>,
) -> Option<String> {
    if member.name != message.owner
        && !member.filters.iter().any(|filter| filter.starts_with("workloads/"))
    {
        return None;
    }
    let rights = rights(&member.name)?;
    let names = rights.names_of(&message.owner, &message.topic, message.stream);
    let wanted =
        names.into_iter().find(|name| member.filters.iter().any(|filter| means(filter, name)))?;
    rights.may_read(&message.owner, &message.topic).then_some(wanted)
}
