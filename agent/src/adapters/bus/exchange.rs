//! The connected clients, and what goes from one to the others; what is retained.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use holdfast_base::ids::Name;
use holdfast_mqtt::{Code, Fault, Origin, Retain};
use tokio::sync::Notify;

use super::kept;
use super::mailbox::{Delivery, Mailbox};
use crate::core::bus::{Rights, means};

/// Retained messages, and their bytes: a convenience for workloads that start later, kept over
/// restarts of the agent.
const MAX_RETAINED: usize = 256;
const MAX_RETAINED_BYTES: usize = 256 * 1024;

/// Why a client ends whose name is no longer admitted.
pub(super) const GONE: Fault = Fault::new(Code::Administrative, "may not come any more");

/// A client.
struct Member {
    name: Name,
    client_id: String,
    mailbox: Arc<Mailbox>,
    /// What it has subscribed to.
    filters: Vec<String>,
}

/// A message as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Published {
    /// Whose topic.
    pub(super) owner: Name,
    /// Its plain name.
    pub(super) topic: Box<str>,
    /// It is a stream's.
    pub(super) stream: bool,
    pub(super) payload: Bytes,
    pub(super) qos: u8,
    pub(super) retain: bool,
}

#[derive(Default)]
struct Inner {
    members: BTreeMap<u64, Member>,
    retained: BTreeMap<(Name, Box<str>), Published>,
    retained_bytes: usize,
    /// What is retained is not what is on disk.
    changed: bool,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Exchange {
    inner: Mutex<Inner>,
    /// Rings when what is retained has changed.
    pub(super) changes: Notify,
}

/// What came of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Subscribers whose queue was full.
    pub(super) overrun: u64,
    /// It was to be retained, and there was no room.
    pub(super) not_retained: bool,
}

impl Exchange {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client is connected. An older one of the same user and client id ends.
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

    /// Counts the clients of each name.
    pub(super) fn count(&self, of: &mut BTreeMap<Name, usize>) {
        for member in self.inner().members.values() {
            *of.entry(member.name.clone()).or_default() += 1;
        }
    }

    /// What a client has subscribed to by now.
    pub(super) fn subscribed(&self, number: u64, filters: Vec<String>) {
        if let Some(member) = self.inner().members.get_mut(&number) {
            member.filters = filters;
        }
    }

    /// Every client of this name ends, and what it retained is gone.
    pub(super) fn end_of(&self, name: &Name) {
        self.end_where(|member| member == name, GONE);
        self.forget_where(|owner| owner == name);
    }

    /// What these have retained is gone.
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

    /// What was retained before a restart.
    pub(super) fn restore(&self, messages: Vec<Published>) {
        let mut inner = self.inner();
        for message in messages {
            inner.retain(message);
        }
        inner.changed = false;
    }

    /// What is retained, to be written, if it is not on disk. `gone`: of whom nothing is kept.
    pub(super) fn take_changed(&self, gone: impl Fn(&Name) -> bool) -> Option<Vec<u8>> {
        self.forget_where(gone);
        let mut inner = self.inner();
        let changed = std::mem::take(&mut inner.changed);
        changed.then(|| kept::pack(inner.retained.values()))
    }

    /// It could not be written.
    pub(super) fn not_kept(&self) {
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

    /// Leaves a message with everybody who has subscribed to it and may read it.
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
            outcome.overrun += u64::from(!member.mailbox.leave(delivery));
        }
        if message.retain {
            outcome.not_retained = !inner.retain(message);
            if inner.changed {
                self.changes.notify_one();
            }
        }
        outcome
    }

    /// Leaves with a client what is retained and meant by these new filters of its.
    pub(super) fn owed(&self, number: u64, filters: &[String], rights: &Rights) -> u64 {
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
            overrun += u64::from(!member.mailbox.leave(delivery));
        }
        overrun
    }
}

impl Inner {
    /// False: there is no room.
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
        // On its own: a slice would keep the whole packet.
        let payload = Bytes::copy_from_slice(&message.payload);
        self.retained.insert(key, Published { payload, ..message });
        true
    }
}

/// What this client calls the message, if it has subscribed to it and may read it.
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
