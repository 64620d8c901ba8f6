//! Health of the agent itself: disk, clock, certificate; and the list of problems.
//!
//! See decisions 0009, 0037, 0040, 0069 and 0081.

use std::io;

use holdfast_protocol::message::Problem;
use holdfast_protocol::problem::ProblemCode;

use super::Driver;
use super::data::ASIDE;
use super::identity::Used;
use crate::adapters::clock::{system_seconds, uptime_ms};
use crate::adapters::identity::Identity;
use crate::adapters::store::StoreError;
use crate::adapters::{files, status};
use crate::core::clock;
use crate::core::data::damage::Aside;

/// Free space below which the disk counts as full, in bytes: a few saved states and a report.
const FULL: u64 = 256 * 1024;
/// Free space below which it is reported as low, in bytes.
pub(super) const LOW: u64 = 32 * 1024 * 1024;

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

impl Driver {
    /// Does everything that is due at intervals.
    pub(super) fn keep_house(&mut self) {
        self.trouble.free = files::free_bytes(&self.data).ok();
        let closed = files::closed_to_others(self.runtimes.workloads());
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
        self.desired.hold_room(self.trouble.free.unwrap_or(0));
        let used = self.identity.look();
        self.identity_used(used);
        let used = self.identity.retry_certificate();
        self.identity_used(used);
        self.identity.keep();
        self.identity.renew_if_due();
        self.shipping.expire();
        self.shipping.count_link();
        self.shipping.note_rates(self.trouble.free);
        if clock::is_store_due(self.time.now(), self.floor_stored) {
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

    /// Stores the clock's floor.
    pub(super) fn keep_floor(&mut self) {
        let system = system_seconds();
        let life = self.identity.life();
        if clock::is_credible(system, life) {
            self.time.raise(system);
        }
        let Some(floor) = clock::to_store(self.time.now(), self.floor_stored, life) else { return };
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

    /// Takes over an identity.
    pub(super) fn use_identity(&mut self, identity: Identity) {
        let used = self.identity.adopt(identity);
        self.identity_used(used);
    }

    /// Adapts the rest of the agent to an identity that was taken over.
    pub(super) fn identity_used(&mut self, used: Option<Used>) {
        let Some(Used { is_over, is_another }) = used else { return };
        if self.link.outlet.is_none() {
            self.link.reason = if is_over { OVER.into() } else { super::NOT_TRIED.into() };
        }
        if is_another {
            // Versions of the former identity's desired states say nothing about this one's.
            self.forget_versions();
            // The former identity's link ends. After a mere renewal the present link stays, and the
            // next one uses the new certificate.
            if let Some(outlet) = self.link.outlet.take() {
                outlet.close();
            }
        }
        // A full report contains the end of the certificate's life.
        self.reporter.forget_reported();
    }

    /// Problems for reports and status, sorted by code.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut list = Vec::new();
        let mut say = |code: ProblemCode, message: Option<String>| {
            list.extend(message.map(|message| Problem { code: code.into(), message }));
        };
        say(ProblemCode::CertificateExpired, self.identity.certificate_problem());
        say(ProblemCode::CertificateNotStored, self.identity.storing_problem());
        say(ProblemCode::Clock, self.time.problem());
        self.shipping.problems(&self.data, &self.trouble.aside, &mut say);
        say(ProblemCode::DataFolderClosed, self.trouble.closed.clone());
        say(ProblemCode::DesiredNotStored, self.trouble.desired.clone());
        say(ProblemCode::DesiredRefused, self.trouble.refusal.clone());
        say(ProblemCode::DesiredUntrusted, self.trouble.untrusted.clone());
        let free = self.trouble.free.unwrap_or(u64::MAX);
        let full = self.trouble.full || free < FULL;
        let data = self.data.display();
        say(
            ProblemCode::DiskFull,
            full.then(|| {
                format!("no space left for {data}: workloads go on, changes wait; free some space")
            }),
        );
        say(
            ProblemCode::DiskLow,
            (!full && free < LOW)
                .then(|| format!("little space left for {data}: free some before it is full")),
        );
        say(ProblemCode::IdentityTwice, self.lineage.duplicated(uptime_ms()));
        say(ProblemCode::LimitsNotEnforced, self.limits_problem());
        say(ProblemCode::LinkBudget, self.shipping.link_problem());
        say(ProblemCode::LinkRefused, self.link_problem());
        say(ProblemCode::NotEnrolled, self.identity.absence_problem());
        say(ProblemCode::RolledBack, self.lineage.rolled_back(uptime_ms()));
        say(ProblemCode::StatusSocket, self.trouble.socket.clone());
        say(ProblemCode::Store, self.trouble.store.clone());
        say(ProblemCode::StoreRecovered, self.trouble.damage.clone());
        let unsubscribed = self.link.unsubscribed.clone();
        say(ProblemCode::SubscriptionRefused, unsubscribed.filter(|_| self.link.outlet.is_none()));
        say(ProblemCode::WaitingForApproval, self.identity.approval_problem());
        list.extend(self.inlets.problems(self.time.now()));
        let sources = self.sources.problem();
        let code = || ProblemCode::Sources.into();
        list.extend(sources.map(|message| Problem { code: code(), message }));
        list.sort_by(|one, other| one.code.cmp(&other.code));
        list
    }

    fn link_problem(&self) -> Option<String> {
        let refusal = self.link.refusal.as_ref().filter(|_| self.link.outlet.is_none())?;
        Some(self.identity.refusal_problem(refusal))
    }

    /// Text about limits that are asked for and not enforced as they should be.
    fn limits_problem(&self) -> Option<String> {
        let wanted = self.agent.saved().filter_map(|(name, saved)| {
            let current = saved.current.as_ref()?;
            Some((name, &*current.spec))
        });
        let wanted: Vec<_> = wanted.collect();
        self.runtimes.limits_problem(&wanted)
    }
}
