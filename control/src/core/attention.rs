//! Which devices need a person: the same answer for the fleet's summary and for the list.

use super::model::Device;
use super::records::Standing;
use super::view::{self, Fares, fares};
use crate::api::Severity;

/// A device that was seen and is offline for longer than this, in seconds, is lost: shorter is a
/// reboot, or a link that changed its mind.
pub const LOST_AFTER: u64 = 5 * 60;

/// A certificate that ends within this, in seconds, should have been renewed by now, but see
/// [`Watch::new`].
const CERTIFICATE_WITHIN: u64 = 7 * 86_400;

/// What of a device needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// It is offline for long.
    Lost,
    /// Its certificate is near its end, or over.
    Certificate,
    /// A workload fails on it.
    Failing,
    /// It reports a problem.
    Problem,
    /// It waits for approval.
    Waiting,
}

/// The kinds of alarms, by their words.
pub const KINDS: [&str; 5] = ["lost", "certificate", "failing", "problem", "waiting"];

impl Attention {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Certificate => "certificate",
            Self::Failing => "failing",
            Self::Problem => "problem",
            Self::Waiting => "waiting",
        }
    }

    /// From its word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Lost, Self::Certificate, Self::Failing, Self::Problem, Self::Waiting]
            .into_iter()
            .find(|known| known.as_str() == word)
    }
}

/// When one looks.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    now: u64,
    started: u64,
    certificate_within: u64,
}

impl Watch {
    /// Looks now, in seconds since 1970. The control plane started at `started`: nobody can have
    /// been connected before, and that is no fault of theirs. Certificates live `ttl` seconds and
    /// are renewed at two thirds of that: with less than a quarter left something is wrong.
    pub fn new(now: u64, started: u64, ttl: u64) -> Self {
        Self { now, started, certificate_within: CERTIFICATE_WITHIN.min(ttl / 4) }
    }

    /// Whether this device needs a person for this.
    pub fn sees(self, attention: Attention, device: &Device) -> bool {
        match attention {
            Attention::Lost => self.lost(device),
            Attention::Certificate => self.certificate(device),
            Attention::Failing => failing(device) > 0,
            Attention::Problem => device.report.has_problems(),
            Attention::Waiting => device.record.standing == Standing::Pending,
        }
    }

    fn lost(self, device: &Device) -> bool {
        let since = device.report.last_seen;
        device.record.standing == Standing::Approved
            && device.live.connection == 0
            && since > 0
            && self.now.saturating_sub(since.max(self.started)) > LOST_AFTER
    }

    fn certificate(self, device: &Device) -> bool {
        device.record.standing == Standing::Approved
            && view::certificate_end(device)
                .is_some_and(|end| end.saturating_sub(self.now) < self.certificate_within)
    }

    /// Whether its certificate is over.
    pub fn expired(self, device: &Device) -> bool {
        view::certificate_end(device).is_some_and(|end| end <= self.now)
    }
}

/// How many workloads fail on a device.
pub fn failing(device: &Device) -> u64 {
    if device.record.standing != Standing::Approved {
        return 0;
    }
    let fails = |(name, revision): &&(_, u64)| fares(device, name, *revision) == Fares::Failing;
    device.desired.workloads.iter().filter(fails).count() as u64
}

/// Something about one device that needs a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// What it is.
    pub kind: Attention,
    /// Of a problem its code, of what fails the workload's name; empty: it has none.
    pub code: String,
    /// How urgent it is.
    pub severity: Severity,
    /// In words.
    pub message: String,
    /// Since when, in seconds since 1970; 0: not known.
    pub since: u64,
}

/// Everything about a device that needs a person.
pub fn alarms(device: &Device, watch: Watch) -> Vec<Alarm> {
    let mut all = Vec::new();
    let mut add = |kind, code: &str, severity, message: String, since| {
        all.push(Alarm { kind, code: code.into(), severity, message, since });
    };
    if watch.sees(Attention::Lost, device) {
        let message = format!("offline for over {} minutes", LOST_AFTER / 60);
        let since = device.report.last_seen.max(watch.started);
        add(Attention::Lost, "", Severity::Critical, message, since);
    }
    if watch.sees(Attention::Certificate, device) {
        let over = watch.expired(device);
        let severity = if over { Severity::Critical } else { Severity::Warning };
        let message = if over { "its certificate has expired" } else { "its certificate ends soon" };
        add(Attention::Certificate, "", severity, message.into(), 0);
    }
    if device.record.standing == Standing::Pending {
        add(Attention::Waiting, "", Severity::Info, "waits for approval".into(), 0);
    }
    if device.record.standing == Standing::Approved {
        for (name, revision) in &device.desired.workloads {
            if fares(device, name, *revision) == Fares::Failing {
                let said = device.report.workload(name).map_or("", |said| said.reason.as_str());
                let message = format!("{name} fails: {said}");
                add(Attention::Failing, name.as_str(), Severity::Critical, message, 0);
            }
        }
    }
    for problem in device.report.all_problems() {
        add(Attention::Problem, &problem.code, Severity::Warning, problem.message, 0);
    }
    all
}
