//! The driver of alarms: shows the engine every device's state every few seconds, stores what it
//! decides, and delivers messages, one attempt at a time for each receiver. Messages are delivered
//! also while the disk takes no writes.
//!
//! See decisions 0118 and 0120.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_base::ids::{Labels, Name, hex};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::counts::AlarmCounts;
use super::tenant::Tenant;
use super::{Delivery, Failure, Listed, Service};
use crate::api::selector::{self, Selector};
use crate::api::time::{moment, rfc3339, words};
use crate::api::{self, AlarmState, List, ListMeta, Muting, NewSilence, Severity, Tested};
use crate::core::alarms::delivery::Standings;
use crate::core::alarms::{
    Document, Engine, Known, LONGEST_SILENCE, MAX_NOTE, MAX_SILENCES, Matcher, Message,
    NotDelivered, Outcome, Presence, Seen, Silence, Standing, Turn, Write, muted,
};
use crate::core::attention::{Alarm, Attention};
use crate::core::change::Change;
use crate::core::kinds::AnyKind;
use crate::core::model::{Model, key};
use crate::core::notification::Notification;
use crate::core::records::{self, Policy, PolicyKind};
use crate::core::rights::{Action, Actor};

/// Time between two passes over all devices. A pass costs about 20 ms with 50,000 devices.
const PASS: Duration = Duration::from_secs(5);

/// Time between two looks for messages that are due.
const LOOK: Duration = Duration::from_millis(500);

/// Time that a notification must have failed for before it is listed as needing attention, in
/// seconds.
const FAILS_FOR: u64 = 5 * 60;

/// Outcome of one delivery: the notification's name, the message's id, and what the receiver said.
type Delivered = (Name, Name, String, Outcome);

/// Filter and page of a list of alarms. An empty filter matches every alarm.
#[derive(Debug, Clone, Default)]
pub struct AlarmsQuery {
    /// Maximum number of items.
    pub limit: Option<usize>,
    /// Number of items to skip, as the page before gave it in `next`.
    pub after: Option<String>,
    /// Kind of attention that the alarm must have, for example `failing`.
    pub kind: Option<String>,
    /// Code that the alarm must have: a problem's code, or a workload's name.
    pub code: Option<String>,
    /// Least severity that the alarm must have.
    pub severity: Option<Severity>,
    /// State that the alarm must be in.
    pub state: Option<AlarmState>,
    /// Name of the alarm's device.
    pub device: Option<String>,
    /// Selector of the labels of the alarm's device.
    pub selector: Selector,
}

/// Runs passes and deliveries until `stopping` is true.
pub async fn run(service: Arc<Service>, mut stopping: watch::Receiver<bool>) {
    let mut under_way: JoinSet<Delivered> = JoinSet::new();
    let mut passes = tokio::time::interval(PASS);
    passes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopping.changed() => return,
            _ = passes.tick() => service.pass().await,
            () = service.alarms_asked.notified() => service.pass().await,
            _ = looks.tick() => {}
            Some(done) = under_way.join_next() => match done {
                Ok(done) => service.delivered(done).await,
                Err(error) => tracing::error!(%error, "a delivery ended badly"),
            },
        }
        service.start_deliveries(&mut under_way);
    }
}

impl Service {
    /// Makes one pass over every device of each tenant and stores what follows from it.
    async fn pass(self: &Arc<Self>) {
        for tenant in self.every_tenant() {
            let (service, of) = (Arc::clone(self), Arc::clone(&tenant));
            let looked = tokio::task::spawn_blocking(move || service.turn_alarms(&of)).await;
            match looked {
                Ok((writes, ended, changed)) => {
                    self.keep(&tenant.name, writes, ended, changed).await;
                }
                Err(error) => tracing::error!(%error, "a look at the alarms ended badly"),
            }
        }
    }

    /// Runs the engine over every device. Returns what to write, the ids of silences that have
    /// ended, and whether any alarm changed. Blocks for as long as a pass takes.
    fn turn_alarms(&self, tenant: &Tenant) -> (Vec<Write>, Vec<Box<str>>, bool) {
        let now = self.now();
        let watch = self.watch();
        let mut engine = tenant.engine();
        engine.begin();
        self.every_device(&tenant.name, |device| {
            let record = &device.record;
            for alarm in watch.alarms(device) {
                let message = message(&alarm);
                engine.see(&record.name, &record.labels, seen(&alarm, &message), now);
            }
        });
        let (documents, silences) = {
            let model = self.model(&tenant.name);
            (documents(&model), model.silences.values().cloned().collect::<Vec<_>>())
        };
        let presence = |name: &Name| {
            let model = self.model(&tenant.name);
            match model.devices.get(name) {
                None => Presence::Gone,
                Some(device) if device.record.standing == records::Standing::Revoked => {
                    Presence::Gone
                }
                Some(device) if device.live.connection != 0 => Presence::Heard,
                Some(_) => Presence::Silent,
            }
        };
        let turn = Turn { now, documents: &documents, silences: &silences, presence: &presence };
        let turned = engine.turn(&turn);
        (turned.writes, turned.ended, turned.changed)
    }

    /// Stores the engine's decisions and sends an event to the pages.
    async fn keep(&self, tenant: &Name, writes: Vec<Write>, ended: Vec<Box<str>>, changed: bool) {
        if writes.is_empty() && ended.is_empty() && !changed {
            return;
        }
        let kept = self
            .change(tenant, |change| {
                put(change, writes);
                for id in ended {
                    if change.model.silences.remove(&id).is_some() {
                        change.delete(key::silence(&id));
                    }
                }
                change.event("alarm", "", "changed", String::new());
                Ok(())
            })
            .await;
        if let Err(error) = kept {
            tracing::warn!(%error, "what is told of alarms cannot be stored: after a restart it may be told again");
        }
    }

    /// Starts one delivery for each notification whose next attempt is due.
    fn start_deliveries(self: &Arc<Self>, under_way: &mut JoinSet<Delivered>) {
        if !self.lease.acts() {
            return; // Another process may deliver them by now.
        }
        for tenant in self.every_tenant() {
            self.start_deliveries_of(&tenant, under_way);
        }
    }

    fn start_deliveries_of(&self, tenant: &Tenant, under_way: &mut JoinSet<Delivered>) {
        let jobs = tenant.engine().due(self.now());
        for job in jobs {
            let document = {
                let model = self.model(&tenant.name);
                notification(&model, job.notification.as_str())
            };
            let (now, notifier, of) = (self.now(), Arc::clone(&self.notifier), tenant.name.clone());
            under_way.spawn(async move {
                let (name, id) = (job.notification, job.message.id.clone());
                let outcome = match document {
                    Some(document) => {
                        let (to, message) = (&document.to, &job.message);
                        let (since, repeat) = (job.since, document.repeat);
                        notifier.deliver(Delivery { to, message, now, since, repeat }).await
                    }
                    None => Err(NotDelivered::Deleted),
                };
                (of, name, id, outcome)
            });
        }
    }

    /// Tells the engine the outcome of a delivery, and stores what follows.
    async fn delivered(&self, (tenant, name, id, outcome): Delivered) {
        let tenant = self.tenant_of(&tenant);
        let jitter = self.authority.random::<2>().map_or(500, |bytes| {
            u32::from(u16::from_le_bytes(bytes)) * 1_000 / u32::from(u16::MAX)
        });
        let before = tenant.engine().standing(name.as_str());
        let writes = tenant.engine().done(&name, &id, &outcome, self.now(), jitter);
        self.counters.notified(outcome.is_ok());
        match &outcome {
            Ok(_) if before.failing_since > 0 => {
                tracing::info!(%name, "the notification is delivered again")
            }
            Ok(_) => {}
            Err(why) if before.failing_since == 0 => {
                tracing::warn!(%name, %why, "a notification could not be delivered: it is tried again");
            }
            Err(why) => tracing::debug!(%name, %why, "a notification could not be delivered"),
        }
        let told = name.to_string();
        let kept = self
            .change(&tenant.name, |change| {
                put(change, writes);
                change.event("notification", &told, "changed", String::new());
                Ok(())
            })
            .await;
        if let Err(error) = kept {
            tracing::warn!(%error, "that a notification was delivered cannot be stored");
        }
    }

    /// Returns the engine's whole stored state, for a store that is written anew.
    pub(super) fn told(&self, tenant: &Name) -> Vec<Write> {
        self.tenant_of(tenant).engine().writes()
    }

    /// Lists alarms: the most urgent first, those of equal severity by age.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad limit or page.
    pub fn alarms(&self, actor: &Actor, query: &AlarmsQuery) -> Listed<api::Alarm> {
        self.may(actor, Action::ListAlarms, "")?;
        let limit = super::Query { limit: query.limit, ..Default::default() }.limit()?;
        let bad = || {
            Failure::invalid(
                "continue: not a value that a page gave; leave it out to begin with the first page",
            )
        };
        let skip: usize = match &query.after {
            None => 0,
            Some(text) => text.parse().map_err(|_| bad())?,
        };
        let now = self.now();
        let (silences, version) = {
            let model = self.model(&actor.tenant);
            (model.silences.values().cloned().collect::<Vec<_>>(), model.meta.version)
        };
        let tenant = self.tenant_of(&actor.tenant);
        let engine = tenant.engine();
        let chosen = |(name, labels, known): &(&Name, &Labels, &Known)| {
            query.kind.as_ref().is_none_or(|kind| *kind == known.kind)
                && query.code.as_ref().is_none_or(|code| *code == known.code)
                && query.severity.is_none_or(|least| known.severity <= least)
                && query.device.as_ref().is_none_or(|device| *device == name.as_str())
                && (query.selector.is_empty() || query.selector.matches(labels))
        };
        let mut found: Vec<_> = engine
            .active()
            .filter(chosen)
            .map(|(name, labels, known)| {
                (name, labels, known, mute(&silences, now, name, labels, known))
            })
            .filter(|(.., silence)| query.state.is_none_or(|state| state == state_of(*silence)))
            .collect();
        found.sort_by_key(|(name, _, known, _)| (known.severity, known.since, *name));
        let total = found.len();
        let items: Vec<api::Alarm> = found
            .into_iter()
            .skip(skip)
            .take(limit)
            .map(|(name, labels, known, silence)| shown(&engine, (name, labels), known, silence))
            .collect();
        let end = skip.saturating_add(items.len());
        let metadata = ListMeta {
            next: (end < total && !items.is_empty()).then(|| end.to_string()),
            resource_version: version,
            total: Some(total as u64),
        };
        Ok(List { items, metadata })
    }

    /// Lists acknowledgements and silences that are in force, the newest first.
    pub fn silences(&self, actor: &Actor) -> Listed<api::Silence> {
        self.may(actor, Action::ListSilences, "")?;
        let now = self.now();
        let (mut silences, version) = {
            let model = self.model(&actor.tenant);
            (model.silences.values().cloned().collect::<Vec<_>>(), model.meta.version)
        };
        silences.retain(|one| one.lasts(now));
        silences.sort_by_key(|one| std::cmp::Reverse(one.at));
        let tenant = self.tenant_of(&actor.tenant);
        let engine = tenant.engine();
        let items = silences
            .iter()
            .map(|one| {
                let of = engine.active().filter(|(name, labels, known)| {
                    one.mutes(now, (name, labels), (&known.kind, &known.code), known.since)
                });
                let alarms = of.count() as u64;
                api::Silence { alarms, ..silence(one) }
            })
            .collect();
        let metadata = ListMeta { resource_version: version, ..ListMeta::default() };
        Ok(List { items, metadata })
    }

    /// Acknowledges the matching alarms that are active now, or silences matching alarms including
    /// future ones.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad request, [`Failure::NotFound`] when there is nothing
    /// to acknowledge, and [`Failure::Conflict`] when there are too many silences.
    pub async fn mute(
        &self,
        actor: &Actor,
        muting: Muting,
        new: NewSilence,
    ) -> Result<api::Silence, Failure> {
        let permit = self.may(
            actor,
            match muting {
                Muting::Acknowledgement => Action::AcknowledgeAlarms,
                Muting::Silence => Action::SilenceAlarms,
            },
            "",
        )?;
        let by = permit.by();
        let now = self.now();
        let made = admit(
            muting,
            new,
            by,
            now,
            hex(&self.authority.random::<8>().map_err(Failure::internal)?),
        )?;
        if muting == Muting::Acknowledgement && self.count(&actor.tenant, &made, now) == 0 {
            return Err(Failure::NotFound(format!(
                "no alarm matches ({}): there is nothing to acknowledge",
                made.matcher.words()
            )));
        }
        self.change(&actor.tenant, |change| {
            if change.model.silences.len() >= MAX_SILENCES {
                return Err(Failure::Conflict(format!(
                    "there are {MAX_SILENCES} acknowledgements and silences: end some"
                )));
            }
            let until = made.until.map(|until| format!(" until {}", rfc3339(until)));
            let note =
                if made.note.is_empty() { String::new() } else { format!(": {}", made.note) };
            let message = format!("{}{}{note}", made.matcher.words(), until.unwrap_or_default());
            let action = match muting {
                Muting::Acknowledgement => "alarm.acknowledge",
                Muting::Silence => "alarm.silence",
            };
            change.audit(by, action, &made.id, message);
            change.event("alarm", &made.id, "changed", String::new());
            change.put(key::silence(&made.id), &made);
            change.model.silences.insert(made.id.clone(), made.clone());
            Ok(())
        })
        .await?;
        self.alarms_asked.notify_one();
        let alarms = self.count(&actor.tenant, &made, now);
        Ok(api::Silence { alarms, ..silence(&made) })
    }

    /// Number of active alarms that a silence mutes now.
    fn count(&self, tenant: &Name, one: &Silence, now: u64) -> u64 {
        let tenant = self.tenant_of(tenant);
        let engine = tenant.engine();
        let of = engine.active().filter(|(name, labels, known)| {
            one.mutes(now, (name, labels), (&known.kind, &known.code), known.since)
        });
        of.count() as u64
    }

    /// Ends an acknowledgement or a silence before its time.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown id, and a [`Failure`] when the change cannot be
    /// stored.
    pub async fn unmute(&self, actor: &Actor, id: &str) -> Result<(), Failure> {
        let permit = self.may(actor, Action::EndSilence, id)?;
        let by = permit.by();
        self.change(&actor.tenant, |change| {
            let gone = change.model.silences.remove(id);
            let gone = gone.ok_or_else(|| Failure::no("acknowledgement or silence", id))?;
            change.delete(key::silence(id));
            change.audit(by, "alarm.unmute", id, gone.matcher.words());
            change.event("alarm", id, "changed", String::new());
            Ok(())
        })
        .await?;
        self.alarms_asked.notify_one();
        Ok(())
    }

    /// Sends a test message to a notification's receiver at once, and returns the receiver's reply.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown notification.
    pub async fn test_notification(&self, actor: &Actor, name: &str) -> Result<Tested, Failure> {
        let permit = self.may(actor, Action::TestNotification, name)?;
        let by = permit.by();
        let none = || Failure::no("notification", name);
        let document = notification(&self.model(&actor.tenant), name).ok_or_else(none)?;
        let parsed: Name = name.parse().map_err(|_| none())?;
        let id = self.tenant_of(&actor.tenant).engine().fresh_id();
        let now = self.now();
        let message = Message::test(id, &parsed, by, now, document.link.as_deref());
        let began = now_instant();
        let (to, repeat) = (&document.to, document.repeat);
        let delivery = Delivery { to, message: &message, now, since: now, repeat };
        let outcome = self.notifier.deliver(delivery).await;
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let delivered = outcome.is_ok();
        self.counters.notified(delivered);
        let answer = outcome.unwrap_or_else(|why| why.to_string());
        let told = format!("{}: {answer}", if delivered { "delivered" } else { "not delivered" });
        self.change(&actor.tenant, |change| {
            change.audit(by, "notification.test", name, told);
            Ok(())
        })
        .await?;
        Ok(Tested { delivered, answer, millis })
    }

    /// Delivery state of the notifications; empty for a kind whose status does not tell it. Must be called
    /// before the model is locked: a pass locks the alarm engine first and the model then.
    pub(super) fn standings(&self, tenant: &Name, kind: AnyKind) -> Standings {
        if !kind.delivers() {
            return Standings::new();
        }
        self.tenant_of(tenant).engine().standings()
    }

    /// Returns an attention item for each notification that has failed for [`FAILS_FOR`] or longer.
    pub(super) fn failing_notifications(&self, tenant: &Tenant) -> Vec<api::AttentionItem> {
        let (now, names) = {
            let model = self.model(&tenant.name);
            let names = documents(&model).into_iter().map(|document| document.name);
            (self.now(), names.collect::<Vec<_>>())
        };
        let engine = tenant.engine();
        let failing = names.into_iter().filter_map(|name| {
            let Standing { failing_since, last_error, .. } = engine.standing(name.as_str());
            let lasts = failing_since > 0 && now.saturating_sub(failing_since) >= FAILS_FOR;
            lasts.then_some((name, failing_since, last_error))
        });
        failing.map(|(name, since, why)| failing_item(&name, since, &why, now)).collect()
    }

    /// Returns the number of a tenant's alarms by (severity, state), the number of messages that wait
    /// for delivery, and the number of alarms that were dropped because too many were active.
    pub(super) fn alarm_counts_of(&self, tenant: &Tenant) -> AlarmCounts {
        let now = self.now();
        let (silences, names) = {
            let model = self.model(&tenant.name);
            let silences = model.silences.values().cloned().collect::<Vec<_>>();
            (silences, documents(&model))
        };
        let engine = tenant.engine();
        let mut counts = BTreeMap::new();
        for (name, labels, known) in engine.active() {
            let state = state_of(mute(&silences, now, name, labels, known));
            *counts.entry((known.severity.as_str(), state.as_str())).or_insert(0) += 1;
        }
        let waiting = names.iter().map(|one| engine.standing(one.name.as_str()).queued as u64);
        AlarmCounts { counts, waiting: waiting.sum(), skipped: engine.not_kept() }
    }
}

#[allow(clippy::disallowed_methods, reason = "how long a receiver took is shown to a person")]
fn now_instant() -> Instant {
    Instant::now()
}

fn failing_item(name: &Name, since: u64, why: &str, now: u64) -> api::AttentionItem {
    let lasts = words(now.saturating_sub(since));
    api::AttentionItem {
        kind: "notification".into(),
        code: Some(name.to_string()),
        severity: Severity::Warning,
        since: Some(rfc3339(since)),
        unknown: 0,
        acknowledged: 0,
        silenced: 0,
        message: format!("notification {name} has not reached its receiver for {lasts}: {why}"),
        count: 0,
        devices: Vec::new(),
        query: BTreeMap::new(),
    }
}

/// Text that is told of an alarm. A failing workload's name is put before its reason, which alone
/// says little.
fn message(alarm: &Alarm) -> String {
    match (alarm.kind, alarm.message.as_str()) {
        (Attention::Failing, "") => format!("{} fails", alarm.code),
        (Attention::Failing, why) => format!("{} fails: {why}", alarm.code),
        (_, said) => said.to_owned(),
    }
}

/// Converts an alarm to what the engine compares.
fn seen<'a>(alarm: &'a Alarm, message: &'a str) -> Seen<'a> {
    Seen {
        kind: alarm.kind.as_str(),
        code: &alarm.code,
        severity: alarm.severity,
        message,
        since: alarm.since,
        is_known: alarm.is_known,
    }
}

/// Returns the notifications among the documents.
fn documents(model: &Model) -> Vec<Document> {
    let records = model.policies.values().map(|known| &known.record);
    records
        .filter_map(|record| match &record.policy {
            Policy::Notification { notification } => Some(Document {
                name: record.name.clone(),
                devices: record.devices.clone(),
                notification: (**notification).clone(),
            }),
            _ => None,
        })
        .collect()
}

fn notification(model: &Model, name: &str) -> Option<Notification> {
    let key = (PolicyKind::Notification, name.parse().ok()?);
    match &model.policies.get(&key)?.record.policy {
        Policy::Notification { notification } => Some((**notification).clone()),
        _ => None,
    }
}

/// Returns the silence that mutes this alarm now, if there is one.
fn mute<'s>(
    silences: &'s [Silence],
    now: u64,
    name: &Name,
    labels: &Labels,
    known: &Known,
) -> Option<&'s Silence> {
    muted(silences, now, (name, labels), (&known.kind, &known.code), known.since)
}

fn state_of(silence: Option<&Silence>) -> AlarmState {
    match silence.map(|silence| silence.muting) {
        None => AlarmState::Firing,
        Some(Muting::Acknowledgement) => AlarmState::Acknowledged,
        Some(Muting::Silence) => AlarmState::Silenced,
    }
}

fn shown(
    engine: &Engine,
    (name, labels): (&Name, &Labels),
    known: &Known,
    muting: Option<&Silence>,
) -> api::Alarm {
    let told = engine.told(name, &known.kind, &known.code);
    api::Alarm {
        device: name.to_string(),
        labels: labels.clone(),
        kind: known.kind.clone(),
        code: known.code.clone(),
        severity: known.severity,
        message: known.message.clone(),
        since: rfc3339(known.since),
        state: state_of(muting),
        unheard: known.unheard,
        silence: muting.map(silence),
        told: told.into_iter().map(ToString::to_string).collect(),
    }
}

fn silence(one: &Silence) -> api::Silence {
    let devices = &one.matcher.devices;
    api::Silence {
        id: one.id.to_string(),
        muting: one.muting,
        kind: one.matcher.kind.clone(),
        code: one.matcher.code.clone(),
        device: one.matcher.device.as_ref().map(ToString::to_string),
        label_selector: (!devices.is_empty()).then(|| devices.words()),
        by: one.by.to_string(),
        note: one.note.to_string(),
        at: rfc3339(one.at),
        until: one.until.map(rfc3339),
        alarms: 0,
    }
}

/// Checks a request for an acknowledgement or a silence, and builds its record.
fn admit(
    muting: Muting,
    new: NewSilence,
    by: &str,
    now: u64,
    id: String,
) -> Result<Silence, Failure> {
    let bad = |text: String| Failure::invalid(text);
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let kind = given(new.kind);
    let kinds = Attention::words();
    if let Some(kind) = kind.as_deref().filter(|kind| !kinds.contains(kind)) {
        return Err(bad(format!("kind {kind:?}: there are {}", kinds.join(", "))));
    }
    let device = given(new.device)
        .map(|name| name.parse::<Name>().map_err(|error| bad(format!("device: {error}"))))
        .transpose()?;
    let devices = selector::parse(new.label_selector.as_deref().unwrap_or_default())
        .map_err(|error| bad(format!("labelSelector: {error}")))?;
    let matcher = Matcher { kind, code: given(new.code), device, devices };
    if matcher.is_empty() {
        return Err(bad("give kind, code, device or labelSelector: every alarm at once cannot be acknowledged or silenced".into()));
    }
    if new.note.len() > MAX_NOTE {
        return Err(bad(format!("note: {} bytes, at most {MAX_NOTE}", new.note.len())));
    }
    let until = match (new.until, new.for_seconds) {
        (Some(_), Some(_)) => return Err(bad("until and forSeconds: give one of them".into())),
        (Some(text), None) => {
            let millis = moment(&text, now.saturating_mul(1_000)).filter(|_| text.len() > 9);
            let at = millis.map(|millis| millis / 1_000);
            Some(at.ok_or_else(|| {
                bad(format!("until {text:?}: not a time, such as 2026-11-29T06:00:00Z"))
            })?)
        }
        (None, Some(seconds)) => Some(now.saturating_add(seconds)),
        (None, None) if muting == Muting::Silence => {
            return Err(bad("until or forSeconds is missing: a silence has an end".into()));
        }
        (None, None) => None,
    };
    if let Some(until) = until
        && (until <= now || until - now > LONGEST_SILENCE)
    {
        return Err(bad(format!(
            "it would end at {}: that is over, or more than a year away",
            rfc3339(until)
        )));
    }
    Ok(Silence {
        id: id.into(),
        muting,
        matcher,
        by: by.into(),
        note: new.note.trim().into(),
        at: now,
        until,
    })
}

/// Puts the engine's writes into a change.
pub(super) fn put(change: &mut Change<'_>, writes: Vec<Write>) {
    for (key, value) in writes {
        match value {
            Some(value) => change.put_bytes(key, value),
            None => change.delete(key),
        }
    }
}
