//! Which devices need a person: the same answer for the fleet's summary and for the list.

use super::model::Device;
use super::records::Standing;
use super::view::{self, Fares, fares};

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
