//! What of a device needs a person: the one list from which counts, the attention of the fleet,
//! filters, metrics and notifications are made.

use super::absence;
use super::model::Device;
use super::records::Standing;
use super::state;
use super::view;
use holdfast_api::{Absence, Connection, Severity, State};

/// A device that was seen and is offline for longer than this, in seconds, is lost, unless a
/// `DevicePolicy` says otherwise: shorter is a reboot, or a link that changed its mind.
pub const LOST_AFTER: u64 = 5 * 60;

/// A device that is enrolled and was not connected within this, in seconds, never came: its agent
/// was not started, or it cannot reach the gateway.
pub const NEVER_AFTER: u64 = 15 * 60;

/// A certificate that ends within this, in seconds, should have been renewed by now, but see
/// [`Watch::new`].
const CERTIFICATE_WITHIN: u64 = 7 * 86_400;

/// A kind of what needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attention {
    /// A device is offline for long.
    Lost,
    /// A device was enrolled long ago and was never connected.
    NeverSeen,
    /// A certificate is near its end, or over.
    Certificate,
    /// A workload fails on it, or failed when it was last heard.
    Failing,
    /// A device reports a problem, or did when it was last heard.
    Problem,
    /// A device waits for approval.
    Waiting,
}

impl Attention {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Lost,
        Self::NeverSeen,
        Self::Certificate,
        Self::Failing,
        Self::Problem,
        Self::Waiting,
    ];

    /// The words of all of them.
    pub fn words() -> [&'static str; 6] {
        Self::ALL.map(Self::as_str)
    }

    /// The word of the kind in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::NeverSeen => "never-seen",
            Self::Certificate => "certificate",
            Self::Failing => "failing",
            Self::Problem => "problem",
            Self::Waiting => "waiting",
        }
    }

    /// From its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

/// One thing about one device that needs a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Kind of the alarm.
    pub kind: Attention,
    /// Code of a problem, name of a failing workload, of a certificate that is over
    /// `expired`; else empty.
    pub code: String,
    /// How urgent it is.
    pub severity: Severity,
    /// In words, of this device; may be empty for a failing workload.
    pub message: String,
    /// Begin of the alarm, in seconds since 1970. 0: not known.
    pub since: u64,
    /// False: the device is offline, and it was so when it was last heard.
    pub is_known: bool,
}

/// A look at devices at one moment, with the bounds that alarms depend on.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    /// In seconds since 1970.
    pub now: u64,
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
        self.alarms(device).iter().any(|alarm| alarm.kind == attention)
    }

    /// Everything about a device that needs a person.
    pub fn alarms(self, device: &Device) -> Vec<Alarm> {
        let mut all = Vec::new();
        let connection = device.live.seen(device.record.standing, device.report.last_seen > 0);
        let created = device.record.created_at;
        let away = absence::of(device, self.now, self.started);
        let is_late = away.is_some_and(|away| away.is_alarm(self.now));
        let alarm = |kind, severity, since: u64, message: &str| Alarm {
            kind,
            code: String::new(),
            severity,
            message: message.to_owned(),
            since,
            is_known: true,
        };
        match connection {
            Connection::Pending => {
                let words = "waits for approval";
                all.push(alarm(Attention::Waiting, Severity::Info, created, words));
                return all;
            }
            Connection::Revoked => return all,
            Connection::Offline if is_late => {
                let gone = device.report.gone_at();
                all.push(alarm(Attention::Lost, Severity::Critical, gone, "is offline"));
            }
            Connection::NeverSeen if is_late => {
                let words = "was enrolled and never connected";
                all.push(alarm(Attention::NeverSeen, Severity::Critical, created, words));
            }
            Connection::Offline | Connection::NeverSeen | Connection::Online => {}
        }
        if !away.is_some_and(|away| away.class == Absence::Ignored) {
            all.extend(self.certificate(device));
        }
        if away.is_some_and(|away| away.is_quiet()) {
            return all;
        }
        self.of_workloads(device, &mut all);
        let is_known = connection == Connection::Online;
        if !device.has_problems() {
            return all;
        }
        all.extend(device.problems().into_iter().map(|problem| Alarm {
            kind: Attention::Problem,
            code: problem.code,
            severity: Severity::Warning,
            message: problem.message,
            since: problem.since,
            is_known,
        }));
        all
    }

    /// Time at which the alarms of a device change though nobody reports anything, in seconds since
    /// 1970. None: they do not.
    pub fn next_change(self, device: &Device) -> Option<u64> {
        let settles = device.report.marks.iter().filter_map(|mark| mark.settles_at());
        let lost = absence::of(device, self.now, self.started).and_then(|away| away.alarm_at);
        settles.chain(lost).filter(|at| *at > self.now).min()
    }

    fn of_workloads(self, device: &Device, all: &mut Vec<Alarm>) {
        debug_assert!(device.record.standing == Standing::Approved, "others have no alarms");
        if !device.report.may_fail() {
            return;
        }
        for (name, revision) in &device.desired.workloads {
            let is = state::of(device, name, *revision, self.now);
            let is_known = is.state == State::Failing;
            if !is_known && is.last != Some(State::Failing) {
                continue;
            }
            let Some((said, mark)) = device.report.reported(name) else { continue };
            all.push(Alarm {
                kind: Attention::Failing,
                code: name.to_string(),
                severity: Severity::Critical,
                message: said.reason.clone(),
                since: mark.failing,
                is_known,
            });
        }
    }

    fn certificate(self, device: &Device) -> Option<Alarm> {
        let end = view::certificate_end(device)?;
        let is_over = end <= self.now;
        let due = end.saturating_sub(self.certificate_within);
        (due < self.now).then(|| Alarm {
            kind: Attention::Certificate,
            code: if is_over { "expired".into() } else { String::new() },
            severity: if is_over { Severity::Critical } else { Severity::Warning },
            message: if is_over {
                "its certificate has expired".into()
            } else {
                "its certificate ends soon, without having been renewed".into()
            },
            since: if is_over { end } else { due },
            is_known: true,
        })
    }
}
