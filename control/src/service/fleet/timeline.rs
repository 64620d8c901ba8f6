//! History: the timeline of a device, the audit log, and the fleet's activity, which joins both.
//!
//! Timelines are only in the store. These functions read the disk and belong on a thread that may
//! block.
//!
//! See decisions 0124 and 0125.

use holdfast_base::ids::Name;

use super::Fleet;
use crate::api::{self, Activity, Category, EventKind, TimelineEvent};
use crate::core::activity::{self, Filter};
use crate::core::model::key;
use crate::core::records::{AuditRecord, Meta};
use crate::core::rights::{Action, Actor, Sight};
use crate::core::seen::Seen;
use crate::core::timeline::{EventRecord, Ring};
use crate::ports::store::StoreError;
use crate::service::documents::Documents;
use crate::service::listing::page;
use crate::service::rights::{may, may_device};
use crate::service::{Failure, Listed, Query};

/// Number of the fleet's events that are read from the disk at once.
const AT_ONCE: u32 = 250;

/// Time before a wanted one after which older events are not looked for, in seconds. An event may
/// go on for an hour after it began, and clocks are corrected.
const SLACK: u64 = 3 * 3_600;

/// Filter and page of a device's timeline.
#[derive(Debug, Clone, Default)]
pub struct TimelineQuery {
    /// Page: the maximum number of items, and the number before which it begins.
    pub query: Query,
    /// Kinds of events; empty for all.
    pub kinds: Vec<EventKind>,
    /// Name of the workload that events must be about.
    pub workload: Option<String>,
    /// Earliest time, in seconds since 1970.
    pub since: Option<u64>,
    /// Time before which events must have happened, in seconds since 1970.
    pub until: Option<u64>,
}

impl TimelineQuery {
    fn chooses(&self, record: &EventRecord, event: &TimelineEvent) -> bool {
        let until = record.until.unwrap_or(record.at);
        (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && self.workload.as_ref().is_none_or(|name| event.workload.as_ref() == Some(name))
            && self.since.is_none_or(|since| until >= since)
            && self.until.is_none_or(|until| record.at < until)
    }
}

fn not_ours() -> Failure {
    Failure::invalid(
        "continue: not a value that a page gave; leave it out to begin with the first page",
    )
}

fn read(key: &str, value: &[u8]) -> Option<EventRecord> {
    serde_json::from_slice(value)
        .map_err(|error| tracing::error!(key, %error, "an event cannot be read"))
        .ok()
}

impl Fleet {
    /// Lists the events of a device's timeline, the newest first.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`], [`Failure::Invalid`] for a bad query, or a [`Failure`] when
    /// the store cannot be read.
    pub fn timeline(
        &self,
        actor: &Actor,
        name: &str,
        query: &TimelineQuery,
    ) -> Listed<TimelineEvent> {
        may_device(actor, Action::GetHistory, &self.documents.model(&actor.tenant), name)?;
        let limit = query.query.limit()?;
        let before = query.query.after.as_deref().map(str::parse::<u64>).transpose();
        let before = before.map_err(|_| not_ours())?.unwrap_or(u64::MAX);
        let (name, version) = {
            let model = self.documents.model(&actor.tenant);
            let known = model.devices.get_key_value(name);
            let known = known.map(|(name, _)| name.clone());
            (known.ok_or_else(|| Failure::no("device", name))?, model.meta.version)
        };
        let most: u32 = Ring::ALL.into_iter().map(Ring::size).sum();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut events: Vec<EventRecord> = self
            .documents
            .stored_below(&key::of(&actor.tenant, &key::history_of(&name)), most)?
            .iter()
            .filter_map(|(key, value)| read(key, value))
            .filter(|record| record.number < before)
            .collect();
        events.sort_by_key(|event| std::cmp::Reverse(event.number));
        let items = events
            .iter()
            .map(|record| (record, activity::event(record)))
            .filter(|(record, event)| query.chooses(record, event))
            .take(limit + 1)
            .map(|(record, event)| (record.number.to_string(), event))
            .collect();
        Ok(page(items, limit, version))
    }

    /// Lists entries of the audit log, the oldest or the newest first.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query.
    pub fn audit(
        &self,
        actor: &Actor,
        query: &Query,
        filter: &Filter,
        newest_first: bool,
    ) -> Listed<AuditRecord> {
        may(actor, Action::ListAudit, "")?;
        let limit = query.limit()?;
        let after = query.after.as_deref().map(str::parse::<u64>).transpose();
        let after = after.map_err(|_| not_ours())?;
        let tenant = &actor.tenant;
        let found = if newest_first {
            let below = after.unwrap_or(u64::MAX);
            self.documents.newest_audit(tenant, below, filter, limit + 1, &|all| all)?
        } else {
            let from = after.map_or(0, |after| after.saturating_add(1));
            self.documents.oldest_audit(tenant, from, filter, limit + 1)?
        };
        let items = found.into_iter().map(|record| (record.number.to_string(), record)).collect();
        let version = self.documents.model(tenant).meta.version;
        Ok(page(items, limit, version))
    }

    /// Lists actions of people and events of devices, the newest first.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query, or a [`Failure`] when the store cannot be
    /// read.
    pub fn activity(&self, actor: &Actor, query: &Query, filter: &Filter) -> Listed<Activity> {
        let permit = may(actor, Action::ListActivity, "")?;
        let limit = query.limit()?;
        let eyes = (&actor.tenant, permit.sight());
        let mut feed = Feed::begin(&self.documents, eyes, filter, query.after.as_deref(), limit)?;
        let mut items = Vec::new();
        while items.len() <= limit {
            let Some(item) = feed.next()? else { break };
            items.push((feed.place(), item));
        }
        let version = self.documents.model(&actor.tenant).meta.version;
        Ok(page(items, limit, version))
    }
}

/// Reader of one ring of the fleet's events, from the newest one backwards.
struct Back {
    ring: Ring,
    /// Place below which events have not been read yet.
    below: u32,
    /// Place of the ring's oldest event.
    end: u32,
    /// Events that were read, the newest last: the place and the event.
    ready: Vec<(u32, EventRecord)>,
    /// Number of the oldest event that was read.
    last: u64,
}

impl Back {
    /// Returns the newest event that was not taken yet.
    fn peek(
        &mut self,
        documents: &Documents,
        tenant: &Name,
    ) -> Result<Option<&EventRecord>, StoreError> {
        while self.ready.is_empty() && self.below > self.end {
            let from = self.below.saturating_sub(AT_ONCE).max(self.end);
            let places: Vec<u32> = (from..self.below).collect();
            self.below = from;
            let keys: Vec<String> = places
                .iter()
                .map(|place| key::of(tenant, &key::fleet_event(self.ring, *place)))
                .collect();
            let values = documents.stored_at(&keys)?;
            let found = places.into_iter().zip(&keys).zip(values);
            let found =
                found.filter_map(|((place, key), value)| Some((place, read(key, &value?.value)?)));
            self.ready = found.collect();
            // Numbers must fall. An event that was overwritten meanwhile has a higher number than
            // the one that was read before it: the ring ends there by now.
            let (all, last) = (self.ready.len(), self.last);
            self.ready.retain(|(_, record)| record.number < last);
            if self.ready.len() < all {
                self.end = self.below;
            }
            self.last = self.ready.first().map_or(self.last, |(_, record)| record.number);
        }
        Ok(self.ready.last().map(|(_, record)| record))
    }
}

/// Audit log and rings of the fleet as one list, the newest first.
struct Feed<'a> {
    documents: &'a Documents,
    tenant: &'a Name,
    sight: &'a Sight<'a>,
    filter: &'a Filter,
    /// Entries of the audit log, the newest last.
    people: Vec<AuditRecord>,
    rings: Vec<Back>,
    /// Position of the next page: below this number of the audit log, and below these places of the
    /// rings.
    at: (u64, [u32; 4]),
}

impl<'a> Feed<'a> {
    fn begin(
        documents: &'a Documents,
        (tenant, sight): (&'a Name, &'a Sight<'a>),
        filter: &'a Filter,
        after: Option<&str>,
        most: usize,
    ) -> Result<Self, Failure> {
        // The counts come from the store, because events that are only in memory are not there yet.
        let stored = documents.stored_at(&[key::of(tenant, key::META)])?;
        let stored = stored.into_iter().next().flatten();
        let meta: Meta = stored
            .map(|stored| serde_json::from_slice(&stored.value))
            .transpose()
            .map_err(Failure::internal)?
            .unwrap_or_default();
        let newest = Ring::ALL.map(|ring| meta.events.of(ring));
        let (audit, places) = match after {
            Some(text) => place(text).ok_or_else(not_ours)?,
            None => (u64::MAX, newest),
        };
        let mut people: Vec<AuditRecord> = if audit > 0 {
            let seen = |all: Vec<AuditRecord>| match sight {
                Sight::All => all,
                _ => {
                    let model = documents.model(tenant);
                    let seen = Seen::new(&model, sight);
                    all.iter().filter_map(|entry| seen.audit(entry)).collect()
                }
            };
            documents.newest_audit(tenant, audit, filter, most + 1, &seen)?
        } else {
            Vec::new()
        };
        people.reverse();
        let wanted = filter.wants(Category::Device);
        let rings = Ring::ALL
            .into_iter()
            .zip(newest)
            .zip(places)
            .filter(|_| wanted)
            .map(|((ring, newest), below)| Back {
                ring,
                below: below.min(newest),
                end: newest.saturating_sub(ring.fleet_size()),
                ready: Vec::new(),
                last: u64::MAX,
            })
            .collect();
        let audit = people.last().map_or(0, |record| record.number + 1);
        Ok(Self { documents, tenant, sight, filter, people, rings, at: (audit, places) })
    }

    /// Returns the next item.
    fn next(&mut self) -> Result<Option<Activity>, Failure> {
        loop {
            let person = self.people.last().map(|record| (record.at, 0));
            let mut newest: Option<((u64, u64), usize)> = None;
            for (which, back) in self.rings.iter_mut().enumerate() {
                if let Some(record) = back.peek(self.documents, self.tenant)? {
                    let age = (record.at, record.number + 1);
                    if newest.is_none_or(|(known, _)| age > known) {
                        newest = Some((age, which));
                    }
                }
            }
            // Of an action and events at the same second, the action is shown below: it comes
            // before what devices make of it.
            match newest {
                Some((age, which)) if person.is_none_or(|person| age > person) => {
                    if let Some(item) = self.device(which) {
                        return Ok(Some(item));
                    }
                }
                _ => {
                    let Some(record) = self.people.pop() else { return Ok(None) };
                    self.at.0 = record.number;
                    return Ok(Some(activity::of_person(&record)));
                }
            }
        }
    }

    /// Takes the newest event of a ring. Returns `None` when the filter does not want it.
    fn device(&mut self, which: usize) -> Option<Activity> {
        let back = self.rings.get_mut(which)?;
        let (place, record) = back.ready.pop()?;
        if let Some(at) = self.at.1.get_mut(which) {
            *at = place;
        }
        if self.filter.since().is_some_and(|since| record.at.saturating_add(SLACK) < since) {
            // Older events of this ring are not wanted either.
            back.ready.clear();
            back.below = back.end;
            return None;
        }
        let seen = self.sight.is_all()
            || Seen::new(&self.documents.model(self.tenant), self.sight).happened(&record);
        self.filter.device(&record).filter(|_| seen)
    }

    fn place(&self) -> String {
        let (audit, [link, workload, change, problem]) = self.at;
        format!("{audit}-{link}-{workload}-{change}-{problem}")
    }
}

/// Parses the position of a page.
fn place(text: &str) -> Option<(u64, [u32; 4])> {
    let mut parts = text.split('-');
    let audit = parts.next()?.parse().ok()?;
    let mut place = || parts.next()?.parse::<u32>().ok();
    let places = [place()?, place()?, place()?, place()?];
    parts.next().is_none().then_some((audit, places))
}

impl Fleet {
    /// Calls `take` with every item of the activity, the newest first, until it returns false.
    ///
    /// # Errors
    /// Returns a [`Failure`] when the store cannot be read.
    pub fn every_activity(
        &self,
        actor: &Actor,
        filter: &Filter,
        take: &mut dyn FnMut(&Activity) -> bool,
    ) -> Result<(), Failure> {
        let mut query = Query { limit: Some(1_000), ..Query::default() };
        loop {
            let api::List { items, metadata } = self.activity(actor, &query, filter)?;
            if !items.iter().all(&mut *take) {
                return Ok(());
            }
            match metadata.next {
                Some(next) => query.after = Some(next),
                None => return Ok(()),
            }
        }
    }
}
