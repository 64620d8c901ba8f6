//! Health of the agent itself: disk, clock, certificate; and the list of problems.
//!
//! See decisions 0009, 0037, 0040, 0069 and 0081.

use std::io;

use holdfast_protocol::message::Problem;
use holdfast_protocol::workload::Run;
use holdfast_records::TrafficClass;

use super::data::{ASIDE, Aside};
use super::{Driver, TaskResult};
use crate::adapters::clock::{system_seconds, uptime_ms};
use crate::adapters::https::HttpsError;
use crate::adapters::identity::{Identity, IdentityError};
use crate::adapters::link::Credentials;
use crate::adapters::runtime::counts_alone;
use crate::adapters::store::StoreError;
use crate::adapters::{files, status};
use crate::core::backoff;

/// Free space below which the disk counts as full, in bytes: a few saved states and a report.
const FULL: u64 = 256 * 1024;
/// Free space below which it is reported as low, in bytes.
pub(super) const LOW: u64 = 32 * 1024 * 1024;
/// Interval at which the clock's floor is stored, in seconds: a write an hour wears no flash out.
const FLOOR_EVERY: u64 = 3_600;
/// First and longest back-off of a renewal, in milliseconds.
const RENEW_RETRY: (u64, u64) = (2_000, 300_000);

/// Maximum number of workloads that a problem names.
const NAMED: usize = 3;

/// Reason for which the link is down while the certificate has expired.
const OVER: &str = "not tried: by this device's clock its certificate has expired; it is renewed as soon as it can be, and if the clock is wrong, set it";

/// Faults, as they were seen last.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Number of inputs refused since the start.
    pub(super) refused: u64,
    /// Text of the last input refused.
    pub(super) refusal: Option<String>,
    /// Text about a desired state that cannot be stored.
    pub(super) desired: Option<String>,
    /// Text about a store that was damaged at the start.
    pub(super) damage: Option<String>,
    /// Text about a desired state on disk that cannot be trusted.
    pub(super) untrusted: Option<String>,
    /// Text about an identity that cannot be read.
    pub(super) identity: Option<String>,
    /// True if a write failed for want of space, and none has succeeded since.
    pub(super) full: bool,
    /// Text about a parent folder of the workloads that their users may not enter.
    pub(super) closed: Option<String>,
    /// Free bytes of the disk, as last seen.
    pub(super) free: Option<u64>,
    /// Presence of a damaged buffer that was set aside.
    pub(super) aside: Aside,
    /// Text about a store that cannot be written for another reason than space.
    pub(super) store: Option<String>,
    /// Text about a status socket that cannot be opened.
    pub(super) socket: Option<String>,
}

/// State of the certificate's renewal.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    running: bool,
    asked: bool,
    failures: u32,
    not_before: u64,
    refused: Option<String>,
    trouble: Option<String>,
}

impl Renewal {
    /// Asks for a renewal over HTTPS, because the control plane refused the connection.
    pub(super) fn ask_soon(&mut self) {
        self.asked = true;
    }
}

impl Driver {
    /// Does everything that is due at intervals.
    pub(super) fn keep_house(&mut self) {
        self.trouble.free = files::free_bytes(&self.data).ok();
        let closed = files::closed_to_others(&self.place.workloads);
        if let Some(why) = closed.as_ref().filter(|_| closed != self.trouble.closed) {
            tracing::error!("{why}");
        }
        self.trouble.closed = closed;
        let (there, said) =
            (self.data.join(ASIDE).exists(), self.shipping.summary.damage.as_deref());
        self.trouble.aside = std::mem::take(&mut self.trouble.aside).look(there, said);
        if self.trouble.free.is_some_and(|free| free >= FULL) {
            self.trouble.full = false;
        }
        if self.store_behind {
            let floor = self.time.now();
            let stored = self.store.rewrite(self.agent.saved(), floor);
            self.store_behind = false;
            self.note_store(stored);
        }
        self.listen();
        self.inlets.look();
        self.store_desired();
        self.hold_room();
        self.look_for_identity();
        self.retry_certificate();
        if let Some(identity) = &mut self.identity {
            identity.keep();
        }
        self.renew_if_due();
        self.expire_data();
        self.count_link();
        self.note_rates();
        if self.time.now() >= self.floor_stored.saturating_add(FLOOR_EVERY) {
            self.keep_floor();
        }
    }

    /// Opens the status socket if it is not open: an agent without one still runs workloads.
    pub(super) fn listen(&mut self) {
        if self.listener.is_some() {
            return;
        }
        match status::listen(&self.data) {
            Ok(listener) => {
                self.listener = Some(listener);
                self.trouble.socket = None;
            }
            Err(error) => {
                let path = status::path(&self.data);
                let why = format!("status has no answer: {}: {error}", path.display());
                if self.trouble.socket.as_ref() != Some(&why) {
                    tracing::error!("{why}");
                }
                self.trouble.socket = Some(why);
            }
        }
    }

    /// Stores the clock's floor. The system's clock counts only within the certificate's life: a
    /// clock that was once in the future must not keep the floor there for ever.
    pub(super) fn keep_floor(&mut self) {
        let system = system_seconds();
        let life = self.identity.as_ref().and_then(Identity::life);
        if life.is_some_and(|life| system <= life.not_after) {
            self.time.raise(system);
        }
        let floor = self.time.now();
        if life.is_none_or(|life| floor > life.not_after) || floor <= self.floor_stored {
            return;
        }
        let stored = self.store.put_floor(floor);
        if self.note_store(stored) {
            self.floor_stored = floor;
        }
    }

    /// Notes the result of a write to the store. Returns true for a success.
    pub(super) fn note_store(&mut self, stored: Result<(), StoreError>) -> bool {
        match stored {
            Ok(()) => {
                self.trouble.store = None;
                true
            }
            Err(error) => {
                tracing::error!(%error, "the store cannot be written; what is in memory goes on");
                self.store_behind = true;
                let free = files::free_bytes(&self.data).unwrap_or(u64::MAX);
                if free < FULL {
                    self.trouble.full = true;
                } else {
                    self.trouble.store = Some(error.to_string());
                }
                false
            }
        }
    }

    /// Notes a file that could not be written; `what` is for the log.
    pub(super) fn note_io(&mut self, what: &str, error: &io::Error) {
        tracing::error!(%error, "{what}");
        if files::is_full(error) {
            self.trouble.full = true;
        }
    }

    /// Takes over an identity that `holdfast-agent enroll`, run beside the agent, has made or
    /// replaced.
    fn look_for_identity(&mut self) {
        if let Some(identity) = self.identity.as_ref().filter(|it| it.enrolment().is_some()) {
            if let Some(other) = identity.replaced().filter(|other| other.enrolment().is_some()) {
                tracing::info!("enrolled anew beside the agent: that is who it is from now on");
                self.use_identity(other);
            }
            return;
        }
        match Identity::load(&self.data) {
            Ok(Some(identity)) => {
                self.trouble.identity = None;
                if identity.enrolment().is_some() {
                    self.use_identity(identity);
                } else {
                    self.identity = Some(identity);
                }
            }
            Ok(None) => self.trouble.identity = None,
            Err(error) => {
                let why = error.to_string();
                if self.trouble.identity.as_ref() != Some(&why) {
                    tracing::error!("the identity cannot be read: {why}");
                }
                self.trouble.identity = Some(why);
            }
        }
    }

    /// Takes over an identity: its certificate, the control plane's address, and the bounds of the
    /// clock.
    pub(super) fn use_identity(&mut self, identity: Identity) {
        if let Some(enrolment) = identity.enrolment() {
            self.time.raise(enrolment.server_time.max(enrolment.not_before));
            self.time.believe_until(enrolment.not_after);
        }
        let tls = match identity.tls(&self.time) {
            Ok(tls) => tls,
            Err(error) => return tracing::error!(%error, "the certificate cannot be used"),
        };
        if let (Some(device), Some(enrolment)) = (identity.device(), identity.enrolment()) {
            let api = crate::adapters::https::Api {
                url: identity.url().clone(),
                tls: tls.clone(),
                tap: self.meter.tap(TrafficClass::Artifacts),
            };
            self.api.send_replace(Some(api));
            let over = identity.life().is_some_and(|life| life.is_over(self.time.now()));
            // With an expired certificate no connection is possible.
            if self.link.outlet.is_none() {
                self.link.reason = if over { OVER.into() } else { super::NOT_TRIED.into() };
            }
            self.credentials.send_replace((!over).then(|| Credentials {
                device,
                shard: enrolment.shard,
                brokers: identity.brokers(),
                tls,
                keep_alive: self.config.keep_alive,
                meter: self.meter.clone(),
            }));
        }
        if self.identity.as_ref().is_some_and(|former| former.is_another(&identity)) {
            // Versions of the former identity's desired states say nothing about this one's.
            self.forget_versions();
            // The former identity's link ends. After a mere renewal the present link stays, and the
            // next one uses the new certificate.
            if let Some(outlet) = self.link.outlet.take() {
                outlet.close();
            }
        }
        self.identity = Some(identity);
        // A full report contains the end of the certificate's life.
        self.reporter.forget_reported();
    }

    /// Uses the certificate again after a clock beyond its end was set right.
    fn retry_certificate(&mut self) {
        let life = self.identity.as_ref().and_then(Identity::life);
        let holds = life.is_some_and(|life| !life.is_over(self.time.now()));
        if holds
            && self.credentials.borrow().is_none()
            && let Some(identity) = self.identity.clone()
        {
            tracing::info!("the certificate holds again: the clock was set");
            self.use_identity(identity);
        }
    }

    fn renew_if_due(&mut self) {
        let Some(identity) = &self.identity else { return };
        let due = match identity.life() {
            Some(life) => life.is_due(self.time.now()) || self.renewal.asked,
            // The enrolment waits for approval.
            None => true,
        };
        if !due || self.renewal.running || uptime_ms() < self.renewal.not_before {
            return;
        }
        self.renewal.running = true;
        self.renewal.asked = false;
        let (mut identity, time, tell) = (identity.clone(), self.time.clone(), self.tell.clone());
        let tap = self.meter.tap(TrafficClass::Control);
        tokio::spawn(async move {
            let result = identity.renew(&time, tap).await.map(|approved| (identity, approved));
            let _agent_ends = tell.send(TaskResult::Renewed(Box::new(result))).await;
        });
    }

    /// Takes in the result of a renewal.
    pub(super) fn renewed(&mut self, result: Result<(Identity, bool), IdentityError>) {
        self.renewal.running = false;
        match result {
            Ok((identity, true)) => {
                tracing::info!("the certificate is renewed");
                self.renewal =
                    Renewal { not_before: uptime_ms() + RENEW_RETRY.0, ..Renewal::default() };
                self.use_identity(identity);
            }
            Ok((identity, false)) => {
                self.renewal.not_before = uptime_ms() + RENEW_RETRY.0;
                self.identity = Some(identity);
            }
            Err(error) => {
                self.renewal.failures = self.renewal.failures.saturating_add(1);
                let (first, longest) = RENEW_RETRY;
                let failures = self.renewal.failures;
                let wait = backoff::delay(failures, first, longest, &mut self.entropy);
                // A control plane that cannot be reached is tried again as often as the link.
                let refused = matches!(error, IdentityError::Https(HttpsError::Refused { .. }));
                let wait = if refused { wait } else { wait.min(30_000) };
                self.renewal.not_before = uptime_ms() + wait;
                tracing::warn!(%error, "the certificate was not renewed");
                let text = error.to_string();
                self.renewal.refused = refused.then(|| text.clone());
                self.renewal.trouble = Some(text);
            }
        }
    }

    /// Problems for reports and status, sorted by code.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut list = Vec::new();
        let mut say = |code: &str, message: Option<String>| {
            list.extend(message.map(|message| Problem { code: code.into(), message }));
        };
        say("certificate-expired", self.certificate_problem());
        say("certificate-not-stored", self.storing_problem());
        say("clock", self.time.problem());
        self.data_problems(&mut say);
        say("data-folder-closed", self.trouble.closed.clone());
        say("desired-not-stored", self.trouble.desired.clone());
        say("desired-refused", self.trouble.refusal.clone());
        say("desired-untrusted", self.trouble.untrusted.clone());
        let free = self.trouble.free.unwrap_or(u64::MAX);
        let full = self.trouble.full || free < FULL;
        let data = self.data.display();
        say(
            "disk-full",
            full.then(|| {
                format!("no space left for {data}: workloads go on, changes wait; free some space")
            }),
        );
        say(
            "disk-low",
            (!full && free < LOW)
                .then(|| format!("little space left for {data}: free some before it is full")),
        );
        say("identity-twice", self.lineage.duplicated(uptime_ms()));
        say("limits-not-enforced", self.limits_problem());
        say("link-budget", self.shipping.link_problem());
        say("link-refused", self.link_problem());
        say(
            "not-enrolled",
            self.identity.is_none().then(|| match &self.trouble.identity {
                Some(why) => format!("who this device is cannot be read: {why}"),
                None => "this device is not enrolled: run `holdfast-agent enroll`".into(),
            }),
        );
        say("rolled-back", self.lineage.rolled_back(uptime_ms()));
        say("status-socket", self.trouble.socket.clone());
        let unsubscribed = self.link.unsubscribed.clone();
        say("subscription-refused", unsubscribed.filter(|_| self.link.outlet.is_none()));
        say("store", self.trouble.store.clone());
        say("store-recovered", self.trouble.damage.clone());
        say("waiting-for-approval", self.approval_problem());
        list.extend(self.inlets.problems(self.time.now()));
        let sources = self.sources.problem();
        list.extend(sources.map(|message| Problem { code: "sources".into(), message }));
        list.sort_by(|one, other| one.code.cmp(&other.code));
        list
    }

    fn certificate_problem(&self) -> Option<String> {
        let life = self.identity.as_ref()?.life()?;
        life.is_over(self.time.now()).then(|| {
            let why = self.renewal.trouble.as_deref().unwrap_or("renewal is on its way");
            format!("the device's certificate has expired; it is renewed as soon as the control plane can be reached ({why}); if the clock is wrong, set it")
        })
    }

    fn storing_problem(&self) -> Option<String> {
        let why = self.identity.as_ref()?.unsaved()?;
        Some(format!(
            "the renewed certificate serves, but cannot be stored ({why}): a restart needs another one"
        ))
    }

    fn link_problem(&self) -> Option<String> {
        let refusal = self.link.refusal.as_ref().filter(|_| self.link.outlet.is_none())?;
        Some(match &self.renewal.refused {
            Some(why) => format!("{refusal}; asked why: {why}"),
            None => refusal.clone(),
        })
    }

    fn approval_problem(&self) -> Option<String> {
        let identity = self.identity.as_ref()?;
        if identity.enrolment().is_some() {
            return None;
        }
        let name = identity.name().map_or("NAME", |name| name.as_str());
        Some(match &self.renewal.refused {
            Some(why) => format!("the enrolment was not accepted: {why}"),
            None => format!("this device waits for approval: `holdfast device approve {name}`"),
        })
    }

    /// Text about limits that are asked for and not enforced by control groups, and how they are
    /// enforced instead.
    fn limits_problem(&self) -> Option<String> {
        let why = self.place.cgroups.as_ref().err()?;
        let wanted = self.agent.saved().filter_map(|(name, saved)| {
            let spec = &saved.current.as_ref()?.spec;
            let Run::Process(process) = &spec.run;
            Some((name, spec.resources, process))
        });
        let (mut cpu, mut memory, mut pids) = (false, false, false);
        let mut uncounted: Vec<&str> = Vec::new();
        for (name, resources, process) in wanted {
            cpu |= resources.cpu_millis.is_some();
            memory |= resources.memory_bytes.is_some();
            if resources.pids.is_some() {
                if counts_alone(process) { pids = true } else { uncounted.push(name.as_str()) }
            }
        }
        let mut parts = Vec::new();
        if cpu {
            parts.push("cpu is not enforced".to_owned());
        }
        if memory {
            parts.push("memory is enforced for each process alone, with twice the limit and 128 MiB of private memory (RLIMIT_DATA, RLIMIT_AS)".into());
        }
        if pids {
            parts.push("pids by the workload's own user (RLIMIT_NPROC)".into());
        }
        if !uncounted.is_empty() {
            let more = if uncounted.len() > NAMED { ", …" } else { "" };
            uncounted.truncate(NAMED);
            let names = uncounted.join(", ");
            parts.push(format!("pids is not enforced where the user is shared ({names}{more})"));
        }
        let how = parts.join("; ");
        (!parts.is_empty()).then(|| {
            format!("limits of workloads are not enforced by control groups: {how}. {why}")
        })
    }
}
