//! Answers to the gateway's questions about devices. No function here blocks.
//!
//! See decision 0081.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use holdfast_base::ids::DeviceId;
use holdfast_base::{WIRE_VERSION, codec};
use holdfast_protocol::message::{Presence, Reply, ReportAck, StateReport};
use holdfast_protocol::topic::Channel;

use super::Failure;
use super::access::Access;
use super::audit::{Audit, Seen};
use super::calls::Calls;
use super::counters::InboxCounters;
use super::data::Data;
use super::documents::Documents;
use super::vault::Vault;
use crate::core::change::Change;
use crate::core::desired::sealing;
use crate::core::device_key::serial_is_of;
use crate::core::explain::in_words;
use crate::core::liveness;
use crate::core::model::sha256;
use crate::core::records::Standing;
use crate::core::rights::Origin;
use crate::core::timeline::{Before, What};
use crate::ports::authority::Authority;
use crate::ports::bus::{
    Access as Token, Admission, Bus, Desired, Done, Feed, Inbox, Line, Readers, Refusal, Wanted,
};

/// What the gateway asks about devices and readers, and what devices send through it.
pub struct Directory {
    documents: Arc<Documents>,
    access: Arc<Access>,
    data: Arc<Data>,
    calls: Arc<Calls>,
    audit: Arc<Audit>,
    authority: Arc<dyn Authority>,
    vault: Arc<Vault>,
    bus: Arc<dyn Bus>,
    /// Devices whose desired state was asked for while the lease was not renewed. At most one entry
    /// for each connected device.
    withheld: Mutex<BTreeSet<DeviceId>>,
    counters: InboxCounters,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}

impl Admission for Directory {
    fn admit(&self, device: &DeviceId, serial: &[u8]) -> Result<u8, Refusal> {
        let admitted = self.standing(device, serial);
        if let Err(refusal) = &admitted {
            let by = format!("device {}", device.device);
            let seen = Seen {
                tenant: self.documents.has_tenant(&device.tenant).then_some(&device.tenant),
                by: &by,
                action: "device.connect",
                subject: device.device.as_str(),
                refused: true,
                message: &refusal.to_string(),
            };
            self.audit.saw(&seen, &Origin::default());
        }
        admitted
    }

    fn connected(
        &self,
        device: &DeviceId,
        connection: u64,
        peer: SocketAddr,
        line: Option<Arc<dyn Line>>,
    ) {
        let name = &device.device;
        let keep_alive = line.as_ref().map_or(0, |line| line.keep_alive());
        let mut newer = false;
        let begin = |change: &mut Change<'_>| {
            let now = change.now;
            // Writes the beginning of the connection that this one takes over from.
            change.put_arrival(name);
            let Some(known) = change.model.devices.get_mut(name) else { return };
            newer = known.live.begin(connection);
            if newer {
                known.live.line.clone_from(&line);
                known.live.unwritten = now;
                known.live.since = now;
                known.report.gone = 0;
                known.report.last_seen = now;
                // This is written to the store with the report that follows.
                known.report.connected = true;
                known.report.keep_alive = keep_alive;
                known.report.address = Some(liveness::address(peer));
                change.device_event(name, "online".into(), vec!["connection".into()]);
            }
        };
        if !self.documents.note(&device.tenant, begin, |_| {})
            && let Some(model) = self.documents.tables_mut().of_mut(&device.tenant)
            && let Some(known) = model.devices.get_mut(name)
        {
            newer = known.live.begin(connection);
            if newer {
                known.live.line.clone_from(&line);
            }
        }
        if newer {
            self.calls.device_gone(device);
        }
    }

    fn disconnected(&self, device: &DeviceId, connection: u64, reason: &str) {
        let name = &device.device;
        let mut over = false;
        let end = |change: &mut Change<'_>| {
            let now = change.now;
            change.put_arrival(name);
            let Some(known) = change.model.devices.get_mut(name) else { return };
            let heard = known.heard_at(now);
            over = known.live.end(connection);
            if over {
                known.report.last_seen = heard;
                known.report.connected = false;
                known.report.gone = now;
                change.happened(name, (now, false), [What::ended(reason)]);
                change.put_report(name);
                let message = format!("offline: {reason}");
                change.device_event(name, message, vec!["connection".into()]);
            }
        };
        if !self.documents.note(&device.tenant, end, |_| {})
            && let now = self.documents.now()
            && let Some(model) = self.documents.tables_mut().of_mut(&device.tenant)
            && let Some(known) = model.devices.get_mut(name)
        {
            let heard = known.heard_at(now);
            over = known.live.end(connection);
            if over {
                known.report.last_seen = heard;
            }
        }
        if over {
            self.calls.device_gone(device);
            self.documents.note_due(device);
        }
    }
}

impl Desired for Directory {
    fn desired(&self, device: &DeviceId) -> Option<Bytes> {
        // Another process may have taken over by now, and then this desired state may be outdated.
        if !self.documents.lease().acts() {
            self.withheld().insert(device.clone());
            return None;
        }
        let (mut state, key, parcels) = {
            let model = self.documents.model(&device.tenant);
            let known = model.devices.get(&device.device)?;
            if !self.documents.is_durable(&device.tenant, known.desired_in) {
                return None; // The writer tells the gateway when it is durable.
            }
            let state = model.desired_state(&device.device)?;
            let key = known.record.sealing_key.clone();
            (state, key, sealing::parcels(&model, known))
        };
        let sealed = parcels
            .map_err(Failure::internal)
            .and_then(|parcels| self.vault.seal_state(&mut state, key.as_deref(), parcels));
        if let Err(error) = sealed {
            // The device goes on with what it has.
            tracing::error!(%device, %error, "a desired state is not sent: its secrets cannot be sealed");
            return None;
        }
        match self.authority.signer().sign(&state) {
            Ok(bytes) => Some(bytes.into()),
            Err(error) => {
                tracing::error!(%device, %error, "a desired state cannot be signed");
                None
            }
        }
    }
}

impl Inbox for Directory {
    fn store_notice(&self) -> Option<Bytes> {
        self.data.store_notice()
    }

    fn received(&self, device: &DeviceId, channel: Channel, payload: Bytes, done: Done) {
        let malformed = |error: codec::CodecError| {
            self.counters.malformed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%device, channel = channel.as_str(), %error, "refused");
        };
        self.calls.heard(device);
        match channel {
            Channel::State => match codec::decode(&payload) {
                Ok(report) => self.report(device, report, done),
                Err(error) => malformed(error),
            },
            // An empty message keeps an idle connection alive; its arrival alone counts.
            Channel::Presence if payload.is_empty() => done.stored(),
            Channel::Presence => match codec::decode::<Presence>(&payload) {
                Ok(presence) => {
                    let mut tables = self.documents.tables_mut();
                    let model = tables.of_mut(&device.tenant);
                    if let Some(known) = model.and_then(|it| it.devices.get_mut(&device.device)) {
                        known.live.session = if presence.online { presence.session } else { 0 };
                    }
                    drop(tables);
                    done.stored();
                }
                Err(error) => malformed(error),
            },
            Channel::Reply => match codec::decode::<Reply>(&payload) {
                Ok(reply) => {
                    self.calls.reply(device, reply, payload.len());
                    done.stored();
                }
                Err(error) => malformed(error),
            },
            Channel::Data => self.data.batch(device, payload, done),
            Channel::Desired | Channel::Call | Channel::Ack => {}
        }
    }
}

impl Readers for Directory {
    fn reader(&self, token: &str) -> Option<Token> {
        let actor = self.access.authorize(token).ok();
        let admitted = actor.as_ref().and_then(|actor| {
            let secret_sha256 = secret_digest(token)?;
            let reads = self.access.may_read(&actor.tenant, actor.id(), &secret_sha256);
            let (tenant, id) = (actor.tenant.clone(), actor.id().into());
            reads.then_some(Token { tenant, id, secret_sha256 })
        });
        let seen = Seen {
            tenant: actor.as_ref().map(|actor| &actor.tenant),
            by: actor.as_ref().map_or("unknown", |actor| actor.id()),
            action: "reader.connect",
            subject: "",
            refused: admitted.is_none(),
            message: "over MQTT",
        };
        self.audit.saw(&seen, &Origin::default());
        admitted
    }

    fn may_read(&self, access: &Token) -> bool {
        self.access.may_read(&access.tenant, &access.id, &access.secret_sha256)
    }

    fn read_along(&self, access: &Token, wanted: Wanted) -> Box<dyn Feed> {
        Box::new(self.data.read_along(access.tenant.clone(), wanted))
    }
}

impl Directory {
    /// Returns the shard of a device that may connect with this certificate.
    fn standing(&self, device: &DeviceId, serial: &[u8]) -> Result<u8, Refusal> {
        let model = self.documents.model(&device.tenant);
        let known = model.devices.get(&device.device).ok_or(Refusal::Unknown)?;
        match known.record.standing {
            Standing::Revoked => Err(Refusal::Revoked),
            Standing::Pending => Err(Refusal::Pending),
            // The certificate belongs to another key that had this name before.
            Standing::Approved if !serial_is_of(serial, &known.record.public_key) => {
                Err(Refusal::Revoked)
            }
            Standing::Approved => Ok(known.record.shard),
        }
    }

    pub(super) fn new(
        documents: Arc<Documents>,
        access: Arc<Access>,
        data: Arc<Data>,
        (calls, audit): (Arc<Calls>, Arc<Audit>),
        bus: Arc<dyn Bus>,
        (authority, vault): (Arc<dyn Authority>, Arc<Vault>),
    ) -> Self {
        let (withheld, counters) = (Mutex::default(), InboxCounters::default());
        Self { documents, access, data, calls, audit, authority, vault, bus, withheld, counters }
    }

    fn withheld(&self) -> MutexGuard<'_, BTreeSet<DeviceId>> {
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces the desired states that were withheld, once the lease is renewed again. Must be
    /// called about once a second.
    pub fn tell_withheld(&self) {
        if !self.documents.lease().acts() {
            return;
        }
        let devices = std::mem::take(&mut *self.withheld());
        for device in devices {
            self.bus.desired_changed(&device);
        }
    }

    /// Counters of what devices publish.
    pub fn counters(&self) -> &InboxCounters {
        &self.counters
    }

    /// Checks that a device with this certificate may fetch artifacts.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] when it may not.
    pub fn admit_device(&self, device: &DeviceId, serial: &[u8]) -> Result<(), Failure> {
        self.standing(device, serial)
            .map(|_| ())
            .map_err(|refusal| Failure::Refused(format!("device {device}: {refusal}")))
    }

    /// Takes a state report: model, timeline, event and, when the device's history diverged, the
    /// repair of its data. Once the report is durable, it is acknowledged through `done`.
    fn report(&self, device: &DeviceId, report: StateReport, done: Done) {
        let name = &device.device;
        self.counters.reports.fetch_add(1, Ordering::Relaxed);
        let ack = report.id.and_then(|id| codec::encode(&ReportAck { v: WIRE_VERSION, id }).ok());
        let mut diverged = None;
        let take = |change: &mut Change<'_>| {
            let now = change.now;
            let epoch = change.model.meta.epoch;
            let Some(known) = change.model.devices.get_mut(name) else { return };
            let message = words(&report, known.report.applied);
            let parts = parts(&report, known.report.applied);
            let before = Before::of(&known.report);
            // A full report of a known device may tell of changes that happened long ago, while it
            // was away.
            let while_away = report.full && known.report.agent.is_some();
            diverged = known.report.take_history(report.full, &report.history, epoch, now);
            known.report.take(report, now);
            known.report.last_seen = now;
            let events = before.events(&known.report);
            change.put_arrival(name);
            change.happened(name, (now, while_away), events);
            change.put_report(name);
            if diverged.is_some() {
                let message = "came back with an earlier state of itself, or as a copy".to_owned();
                change.event("device", name.as_str(), "changed", message);
            }
            if let Some(message) = message {
                change.device_event(name, message, parts);
            }
        };
        // The device sends a report again that is not stored: it gets no acknowledgement.
        self.documents.note(&device.tenant, take, move |stored| match ack {
            Some(ack) if stored => done.acknowledged(ack.into()),
            None if stored => done.stored(),
            _ => {}
        });
        self.documents.note_due(device);
        if let Some(history) = diverged {
            tracing::warn!(%device, "the device came back with an earlier state of its data folder, or as a copy: it is told which sequence numbers are known");
            self.data.diverged(device.clone(), history);
        }
    }
}

/// Names the parts of the device that a report is about, as in [`crate::api::Event::parts`]. Empty
/// for a full report: any part may have changed.
fn parts(report: &StateReport, before: holdfast_base::ids::StateVersion) -> Vec<String> {
    if report.full {
        return Vec::new();
    }
    let workloads = report.workloads.keys().map(|name| format!("workloads/{name}"));
    let problems = report.problems.is_some().then(|| "problems".to_owned());
    let applied = (report.version() != before).then(|| "applied".to_owned());
    workloads.chain(problems).chain(applied).collect()
}

/// Maximum number of workloads that an event's text names.
const NAMED: usize = 5;

/// Text of the event for a report. `None` when the report holds nothing worth watching.
fn words(report: &StateReport, before: holdfast_base::ids::StateVersion) -> Option<String> {
    let mut parts: Vec<String> = report
        .workloads
        .iter()
        .take(NAMED)
        .map(|(name, said)| match said {
            Some(said) => format!("{name}: {}", in_words(said.phase)),
            None => format!("{name}: gone"),
        })
        .collect();
    if report.workloads.len() > NAMED {
        parts.push(format!("{} more", report.workloads.len() - NAMED));
    }
    if report.version() != before {
        parts.push(format!("applied desired state {}", report.version().generation));
    }
    if let Some(problems) = &report.problems {
        let codes: Vec<&str> = problems.iter().map(|problem| problem.code.as_str()).collect();
        parts.push(if codes.is_empty() {
            "no problems".into()
        } else {
            format!("problems: {}", codes.join(" ").chars().take(200).collect::<String>())
        });
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// SHA-256 digest of the secret in an access token's text.
fn secret_digest(token: &str) -> Option<[u8; 32]> {
    token.rsplit('.').next().map(|secret| sha256(secret.as_bytes()))
}
