//! Devices that somebody looks at: each is asked for a sign of life, however many look, and whoever
//! waits is told when anything came. `core/answering.rs` decides.
//! See decision 0112.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_base::ids::Name;
use holdfast_protocol::message::{LogPart, Method};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Failure, Service};
use crate::api::time::rfc3339;
use crate::api::{Connection, Ping};
use crate::core::answering::{Answering, Look, PATIENCE};

/// Devices that are looked at, at the same time; who looks at more is answered without asking.
const DEVICES: usize = 10_000;

/// Asked of a device that reports no workload: it answers that there is none such.
const ANY: &str = "a";

#[derive(Debug, Default)]
struct Known {
    answering: Answering,
    /// Tells of anything that comes.
    heard: Arc<Notify>,
}

#[derive(Debug, Default)]
pub(super) struct Looking {
    /// How many there are: most messages are of devices that nobody looks at.
    many: AtomicUsize,
    devices: Mutex<BTreeMap<Name, Known>>,
}

impl Looking {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Known>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, name: &Name, now: u64) -> Option<(Look, Arc<Notify>)> {
        let mut devices = self.lock();
        devices.retain(|known, it| known == name || !it.answering.is_over(now));
        if devices.len() >= DEVICES && !devices.contains_key(name) {
            return None;
        }
        let known = devices.entry(name.clone()).or_default();
        let look = (known.answering.look(now), Arc::clone(&known.heard));
        self.many.store(devices.len(), Ordering::Relaxed);
        Some(look)
    }

    /// True: it answers again.
    fn heard(&self, name: &Name, now: u64) -> bool {
        if self.many.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut devices = self.lock();
        let Some(known) = devices.get_mut(name) else { return false };
        known.heard.notify_waiters();
        known.answering.heard(now)
    }

    /// Its connection began or ended: what was asked on the former one is not answered.
    pub(super) fn gone(&self, name: &Name) {
        let mut devices = self.lock();
        if let Some(known) = devices.remove(name) {
            known.heard.notify_waiters();
        }
        self.many.store(devices.len(), Ordering::Relaxed);
    }

    fn change<T>(&self, name: &Name, change: impl FnOnce(&mut Answering) -> T) -> Option<T> {
        self.lock().get_mut(name).map(|known| change(&mut known.answering))
    }
}

impl Service {
    /// Somebody looks at a device: it is asked for a sign of life unless it gave one lately, and
    /// that is waited for, at most so long.
    ///
    /// # Errors
    /// There is no such device.
    pub async fn ping(self: &Arc<Self>, device: &str, within: Duration) -> Result<Ping, Failure> {
        let began = Instant::now();
        let name = {
            let model = self.model();
            let known = model.devices.get(device).ok_or_else(|| Failure::no("device", device))?;
            known.record.name.clone()
        };
        let mut answers = None;
        if let Some((look, heard)) = self.looking_at(&name) {
            let notified = heard.notified();
            tokio::pin!(notified);
            // From here on nothing that comes is missed.
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
        let model = self.model();
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

    /// Somebody needs a device and does not wait for a sign of life.
    pub(super) fn look(self: &Arc<Self>, name: &Name) {
        if let Some((Look::Ask, _)) = self.looking_at(name) {
            self.ask_for_life(name);
        }
    }

    /// None: it is not connected, or too many are looked at.
    fn looking_at(&self, name: &Name) -> Option<(Look, Arc<Notify>)> {
        let connected = self.model().devices.get(name).is_some_and(|it| it.live.connection != 0);
        connected.then(|| self.looking.look(name, self.now())).flatten()
    }

    /// Asks for no line of a log: the shortest question that every device answers.
    #[allow(clippy::disallowed_methods, reason = "it ends by itself after PATIENCE seconds")]
    fn ask_for_life(self: &Arc<Self>, name: &Name) -> bool {
        let now = self.now();
        let shortest = {
            let model = self.model();
            let workloads = model.devices.get(name).map(|known| &known.report.workloads);
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
        let (service, name) = (Arc::clone(self), name.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(PATIENCE)).await;
            service.late(&name, now);
        });
        true
    }

    fn late(&self, name: &Name, asked: u64) {
        let Some(Some(since)) = self.looking.change(name, |it| it.late(asked)) else { return };
        let message = format!("does not answer since {}", rfc3339(since));
        self.note_silence(name, since, message);
    }

    /// Anything came from a device.
    pub(super) fn heard(&self, name: &Name) {
        if self.looking.heard(name, self.now()) {
            self.note_silence(name, 0, "answers again".to_owned());
        }
    }

    fn note_silence(&self, name: &Name, since: u64, message: String) {
        let parts = vec!["connection".to_owned(), "problems".to_owned()];
        let _later = self.note(
            |change| {
                let Some(known) = change.model.devices.get_mut(name) else { return };
                if known.live.connection != 0 && known.live.silent != since {
                    known.live.silent = since;
                    change.device_event(name, message, parts);
                }
            },
            |_| {},
        );
    }
}
