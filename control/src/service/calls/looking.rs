//! Sign of life on demand: while somebody looks at a device, it is asked for a sign of life, at
//! most once however many look, and those who wait are woken when anything arrives.
//! `core/answering.rs` decides.
//!
//! See decision 0112.

use std::sync::Arc;
use std::time::Duration;

use holdfast_base::ids::DeviceId;
use holdfast_protocol::message::{LogPart, Method};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Calls;
use crate::api::time::rfc3339;
use crate::api::{Connection, Ping};
use crate::core::answering::{Answering, Look, PATIENCE};
use crate::core::rights::{Action, Actor};
use crate::service::Failure;
use crate::service::rights::may_device;

/// Workload's name in the question to a device that reports no workload. The device replies that it
/// has no such workload, which is a sign of life too.
const ANY: &str = "a";

impl Calls {
    /// Reports a device's connection. Asks it for a sign of life unless it gave one recently, and
    /// waits at most `within` for that.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown device.
    pub async fn ping(
        self: &Arc<Self>,
        actor: &Actor,
        device: &str,
        within: Duration,
    ) -> Result<Ping, Failure> {
        may_device(actor, Action::PingDevice, &self.documents.model(&actor.tenant), device)?;
        let began = Instant::now();
        let name = {
            let model = self.documents.model(&actor.tenant);
            let known = model.devices.get(device).ok_or_else(|| Failure::no("device", device))?;
            model.id(&known.record.name)
        };
        let mut answers = None;
        if let Some((look, heard)) = self.looking_at(&name) {
            let notified = heard.notified();
            tokio::pin!(notified);
            // Whatever arrives from here on wakes this call.
            notified.as_mut().enable();
            answers = match look {
                Look::Fresh => Some(true),
                Look::Ask if !self.ask_for_life(&name) => None,
                Look::Ask | Look::Waiting => {
                    let waited = tokio::time::timeout(within, notified).await;
                    waited.is_ok().then_some(true)
                }
            };
        }
        let model = self.documents.model(&actor.tenant);
        let known = model.devices.get(device).ok_or_else(|| Failure::no("device", device))?;
        let connection = known.live.seen(known.record.standing, known.report.last_seen > 0);
        let silent = known.live.silent;
        let answers = match (connection, silent) {
            (Connection::Online, 0) => answers,
            (Connection::Online, _) => Some(false),
            _ => None,
        };
        let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Ping {
            connection,
            answers,
            silent_since: (silent > 0).then(|| rfc3339(silent)),
            milliseconds: answers.filter(|answers| *answers).map(|_| milliseconds),
        })
    }

    /// Asks a device for a sign of life when it gave none recently, without waiting for it.
    pub(super) fn look(self: &Arc<Self>, name: &DeviceId) {
        if let Some((Look::Ask, _)) = self.looking_at(name) {
            self.ask_for_life(name);
        }
    }

    /// Notes that somebody looks at a device. Returns `None` when it is not connected, or too many
    /// are looked at.
    fn looking_at(&self, name: &DeviceId) -> Option<(Look, Arc<Notify>)> {
        let connected = {
            let model = self.documents.model(&name.tenant);
            model.devices.get(&name.device).is_some_and(|it| it.live.connection != 0)
        };
        connected.then(|| self.looking.look(name, self.documents.now())).flatten()
    }

    /// Asks a device for no line of a log: the shortest question that every agent answers. Returns
    /// false when the device cannot be called.
    #[allow(clippy::disallowed_methods, reason = "it ends by itself after PATIENCE seconds")]
    fn ask_for_life(self: &Arc<Self>, name: &DeviceId) -> bool {
        let now = self.documents.now();
        let shortest = {
            let model = self.documents.model(&name.tenant);
            let workloads = model.devices.get(&name.device).map(|known| &known.report.workloads);
            let names = workloads.into_iter().flatten().map(|(workload, _)| workload);
            names.min_by_key(|workload| workload.as_str().len()).cloned()
        };
        let Some(workload) = shortest.or_else(|| ANY.parse().ok()) else { return false };
        let method = Method::Logs { workload, part: LogPart::default() };
        let asked = self.try_ask(name, method);
        if !asked {
            self.looking.change(name, Answering::not_asked);
            return false;
        }
        let (calls, name) = (Arc::clone(self), name.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(PATIENCE)).await;
            calls.late(&name, now);
        });
        true
    }

    /// Marks a device as silent when nothing has arrived since it was asked.
    fn late(&self, name: &DeviceId, asked: u64) {
        let Some(Some(since)) = self.looking.change(name, |it| it.late(asked)) else { return };
        let message = format!("does not answer since {}", rfc3339(since));
        self.note_silence(name, since, message);
    }

    /// Notes that something arrived from a device.
    pub(in crate::service) fn heard(&self, name: &DeviceId) {
        if self.looking.heard(name, self.documents.now()) {
            self.note_silence(name, 0, "answers again".to_owned());
        }
    }

    /// Sets since when a device has been silent (0: it is not), and sends an event.
    fn note_silence(&self, name: &DeviceId, since: u64, message: String) {
        let parts = vec!["connection".to_owned(), "problems".to_owned()];
        let device = &name.device;
        let _later = self.documents.note(
            &name.tenant,
            |change| {
                let Some(known) = change.model.devices.get_mut(device) else { return };
                if known.live.connection != 0 && known.live.silent != since {
                    known.live.silent = since;
                    change.device_event(device, message, parts);
                }
            },
            |_| {},
        );
    }
}
