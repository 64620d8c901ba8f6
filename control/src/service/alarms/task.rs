//! The task of alarms: makes passes over all devices, stores what follows, and delivers messages.
//!
//! See decisions 0118 and 0120.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_base::ids::Name;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::notifications::{documents, notification};
use super::notifier::Delivery;
use super::part::{Alarms, lock, put};
use crate::api::Tested;
use crate::core::alarms::{Message, NotDelivered, Outcome, Presence, Seen, Turn, Write};
use crate::core::attention::{Alarm, Attention};
use crate::core::model::key;
use crate::core::records;
use crate::core::rights::{Action, Actor};
use crate::service::Failure;
use crate::service::rights::may;

/// Time between two passes over all devices. A pass costs about 20 ms with 50,000 devices.
const PASS: Duration = Duration::from_secs(5);

/// Time between two looks for messages that are due.
const LOOK: Duration = Duration::from_millis(500);

/// Outcome of one delivery: the notification's name, the message's id, and what the receiver said.
type Delivered = (Name, Name, String, Outcome);

/// Runs passes and deliveries until `stopping` is true.
pub async fn run(alarms: Arc<Alarms>, mut stopping: watch::Receiver<bool>) {
    let mut under_way: JoinSet<Delivered> = JoinSet::new();
    let mut passes = tokio::time::interval(PASS);
    passes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopping.changed() => return,
            _ = passes.tick() => alarms.pass().await,
            () = alarms.asked.notified() => alarms.pass().await,
            _ = looks.tick() => {}
            Some(done) = under_way.join_next() => match done {
                Ok(done) => alarms.delivered(done).await,
                Err(error) => tracing::error!(%error, "a delivery ended badly"),
            },
        }
        alarms.start_deliveries(&mut under_way);
    }
}

impl Alarms {
    /// Makes one pass over every device of each tenant and stores what follows from it.
    async fn pass(self: &Arc<Self>) {
        for tenant in self.documents.tenant_names() {
            let (alarms, of) = (Arc::clone(self), tenant.clone());
            let looked = tokio::task::spawn_blocking(move || alarms.turn(&of)).await;
            match looked {
                Ok((writes, ended, changed)) => {
                    self.keep(&tenant, writes, ended, changed).await;
                }
                Err(error) => tracing::error!(%error, "a look at the alarms ended badly"),
            }
        }
    }

    /// Runs the engine over every device. Returns what to write, the ids of silences that have
    /// ended, and whether any alarm changed. Blocks for as long as a pass takes.
    fn turn(&self, tenant: &Name) -> (Vec<Write>, Vec<Box<str>>, bool) {
        let now = self.documents.now();
        let watch = self.documents.watch();
        let engine = self.engine_of(tenant);
        let mut engine = lock(&engine);
        engine.begin();
        self.documents.every_device(tenant, |device| {
            let record = &device.record;
            for alarm in watch.alarms(device) {
                let message = message(&alarm);
                engine.see(&record.name, &record.labels, seen(&alarm, &message), now);
            }
        });
        let (documents, silences) = {
            let model = self.documents.model(tenant);
            (documents(&model), model.silences.values().cloned().collect::<Vec<_>>())
        };
        let presence = |name: &Name| {
            let model = self.documents.model(tenant);
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
            .documents
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
        if !self.documents.lease().acts() {
            return; // Another process may deliver them by now.
        }
        for tenant in self.documents.tenant_names() {
            self.start_deliveries_of(&tenant, under_way);
        }
    }

    fn start_deliveries_of(&self, tenant: &Name, under_way: &mut JoinSet<Delivered>) {
        let jobs = lock(&self.engine_of(tenant)).due(self.documents.now());
        for job in jobs {
            let document = {
                let model = self.documents.model(tenant);
                notification(&model, job.notification.as_str())
            };
            let (now, notifier, of) =
                (self.documents.now(), Arc::clone(&self.notifier), tenant.clone());
            let vault = Arc::clone(&self.vault);
            under_way.spawn(async move {
                let (name, id) = (job.notification, job.message.id.clone());
                let revealed = document.map(|document| vault.reveal(&of, &name, document));
                let outcome = match revealed {
                    Some(Err(error)) => Err(NotDelivered::Secret(error.to_string())),
                    Some(Ok(document)) => {
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
        let engine = self.engine_of(&tenant);
        let jitter = self.authority.random::<2>().map_or(500, |bytes| {
            u32::from(u16::from_le_bytes(bytes)) * 1_000 / u32::from(u16::MAX)
        });
        let before = lock(&engine).standing(name.as_str());
        let writes = lock(&engine).done(&name, &id, &outcome, self.documents.now(), jitter);
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
            .documents
            .change(&tenant, |change| {
                put(change, writes);
                change.event("notification", &told, "changed", String::new());
                Ok(())
            })
            .await;
        if let Err(error) = kept {
            tracing::warn!(%error, "that a notification was delivered cannot be stored");
        }
    }

    /// Sends a test message to a notification's receiver at once, and returns the receiver's reply.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown notification.
    pub async fn test_notification(&self, actor: &Actor, name: &str) -> Result<Tested, Failure> {
        let permit = may(actor, Action::TestNotification, name)?;
        let by = permit.by();
        let none = || Failure::no("notification", name);
        let document = notification(&self.documents.model(&actor.tenant), name).ok_or_else(none)?;
        let parsed: Name = name.parse().map_err(|_| none())?;
        let document = self.vault.reveal(&actor.tenant, &parsed, document)?;
        let id = lock(&self.engine_of(&actor.tenant)).fresh_id();
        let now = self.documents.now();
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
        self.documents
            .change(&actor.tenant, |change| {
                change.audit(by, "notification.test", name, told);
                Ok(())
            })
            .await?;
        Ok(Tested { delivered, answer, millis })
    }
}

#[allow(clippy::disallowed_methods, reason = "how long a receiver took is shown to a person")]
fn now_instant() -> Instant {
    Instant::now()
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
