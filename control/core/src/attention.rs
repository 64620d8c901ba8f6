//! Conditions of a device that need a person. Counts, the fleet's attention list, filters, metrics
//! and notifications are all made from this list of alarms.
//!
//! See decisions 0033 and 0110.

use holdfast_protocol::problem::ProblemCode;

use super::absence;
use super::model::Device;
use super::records::Standing;
use super::state;
use super::view;
use holdfast_api::{Absence, Connection, Severity, State};

/// Seconds before the end of a certificate at which it should have been renewed. Shorter for
/// certificates with a short life, see [`Watch::new`].
const CERTIFICATE_WITHIN: u64 = 7 * 86_400;

/// Kind of a condition that needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attention {
    /// A device has been offline for longer than it may be.
    Lost,
    /// A device was enrolled long ago and has never connected.
    NeverSeen,
    /// A certificate ends soon without having been renewed, or has expired.
    Certificate,
    /// A workload fails on a device, or failed when the device was last heard.
    Failing,
    /// A device reports a problem, or did when it was last heard.
    Problem,
    /// A device waits for approval.
    Waiting,
}

impl Attention {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 6] = [
        Self::Lost,
        Self::NeverSeen,
        Self::Certificate,
        Self::Failing,
        Self::Problem,
        Self::Waiting,
    ];

    /// Returns the words of all kinds, in the order of [`Attention::ALL`].
    pub fn words() -> [&'static str; 6] {
        Self::ALL.map(Self::as_str)
    }

    /// Returns the word of the kind in the API, such as `never-seen`.
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

    /// Parses a word of the API. `None` if no kind has it.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

/// Condition of one device that needs a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Kind of the condition.
    pub kind: Attention,
    /// Code of a problem, name of a failing workload, or `expired` for a certificate that has
    /// expired. Empty for the other kinds.
    pub code: String,
    /// Urgency of the alarm.
    pub severity: Severity,
    /// Sentence without its subject, such as `is offline`. The reason for a failing workload, which
    /// may be empty.
    pub message: String,
    /// Start of the condition, in seconds since 1970. 0: not known.
    pub since: u64,
    /// False if the device is offline or was not heard in time, so that this is its state when it
    /// was last heard.
    pub is_known: bool,
}

/// Evaluation of devices at one moment, with the bounds that alarms depend on.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    /// Time of the evaluation, in seconds since 1970.
    pub now: u64,
    started: u64,
    certificate_within: u64,
}

impl Watch {
    /// Evaluates devices at `now`, in seconds since 1970. `started` is the start of the control
    /// plane: devices cannot have been connected before it and get time to reconnect. `ttl` is the
    /// life of certificates in seconds: they are renewed after two thirds of it, so that with less
    /// than a quarter left something is wrong.
    pub fn new(now: u64, started: u64, ttl: u64) -> Self {
        Self { now, started, certificate_within: CERTIFICATE_WITHIN.min(ttl / 4) }
    }

    /// Returns true if the device has a condition of this kind.
    pub fn sees(self, attention: Attention, device: &Device) -> bool {
        self.alarms(device).iter().any(|alarm| alarm.kind == attention)
    }

    /// Returns all conditions of a device that need a person.
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
        let is_heard = device.live.is_heard(self.now);
        if !device.has_problems() {
            return all;
        }
        all.extend(device.problems().into_iter().map(|problem| Alarm {
            kind: Attention::Problem,
            severity: Severity::Warning,
            since: problem.since,
            // That it does not answer is not said by the device.
            is_known: is_heard
                || (connection == Connection::Online && problem.code == ProblemCode::NotAnswering),
            code: problem.code.to_string(),
            message: problem.message,
        }));
        all
    }

    /// Returns the next time at which the alarms of a device change without a report, in seconds
    /// since 1970. `None` if there is none.
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
