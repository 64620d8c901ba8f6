//! State reports to the control plane: a full one after a connect, then the changes, in few small
//! messages. A workload that starts and fails without end must not empty a metered link: reports
//! have an allowance that fills slowly.
//!
//! A report has arrived when the control plane acknowledges its number. A broker's PUBACK only
//! starts the wait for that.
//!
//! See decisions 0011 and 0150.

use std::collections::BTreeMap;

use holdfast_base::WIRE_VERSION;
use holdfast_base::codec::{self, CodecError};
use holdfast_base::collect;
use holdfast_base::ids::StateVersion;
use holdfast_protocol::message::{AgentInfo, Problem, StateReport, WorkloadReport};
use holdfast_records::DataReport;

use super::agent::View;
use super::data::report as data;

/// Time in milliseconds for which a change under way is given to end, so that it is reported once.
const SETTLE: u64 = 250;
/// Largest number of reports that may go out in a burst.
const BURST: u32 = 12;
/// Time in milliseconds until another report may go out, once the burst is used up.
const REFILL: u64 = 5_000;
/// Pause in milliseconds after a report that was refused or could not be sent.
const REFUSED: u64 = 5_000;

/// Shortest wait in milliseconds for the acknowledgement of a report that the broker has taken:
/// above the time of a step of the control plane's store while a whole fleet reconnects. It doubles
/// with each report that is not acknowledged.
const ACK_WAIT: u64 = 30_000;
/// Longest such wait in milliseconds: a control plane that is behind a broker and away costs a
/// metered link a full report in ten minutes.
const ACK_WAIT_LONGEST: u64 = 600_000;

/// Content that the control plane has, or will have with the report on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reported {
    applied: StateVersion,
    workloads: BTreeMap<holdfast_base::ids::Name, WorkloadReport>,
    problems: Vec<Problem>,
    data: Option<Box<DataReport>>,
}

/// Report that was sent and is not acknowledged.
#[derive(Debug)]
struct InFlight {
    id: u32,
    /// True for a full report.
    full: bool,
    content: Reported,
    /// Time from which it counts as lost, in milliseconds. None: the broker has not taken it yet,
    /// and a slow link may need long for it.
    lost_at: Option<u64>,
}

/// Decides which reports go out on `state`. At most one is on its way.
#[derive(Debug, Default)]
pub struct Reporter {
    connected: bool,
    reported: Option<Reported>,
    in_flight: Option<InFlight>,
    /// Number of the last report. It goes on over connections, so that a late acknowledgement of a
    /// former connection's report is not taken for that of another one.
    last_id: u32,
    /// Reports of this connection in a row that were not acknowledged.
    lost: u32,
    changed_at: Option<u64>,
    allowance: u32,
    refilled_at: u64,
    /// Time before which no report goes out, because one was refused; milliseconds.
    not_before: u64,
    /// Time of the last report that contained data figures, in milliseconds.
    data_at: u64,
}

impl Reporter {
    /// Creates a reporter whose reports are numbered from above this random number: one that was
    /// started again must not go on with the numbers of the former one.
    pub fn new(random: u16) -> Self {
        Self { last_id: random.into(), ..Self::default() }
    }

    /// Notes that a connection is up: the next report is a full one.
    pub fn connected(&mut self) {
        self.disconnected();
        (self.connected, self.allowance) = (true, BURST);
    }

    /// Notes that the connection is down.
    pub fn disconnected(&mut self) {
        *self = Self { last_id: self.last_id, ..Self::default() };
    }

    /// Notes that the broker has taken the report with this number (PUBACK), which says nothing
    /// about the control plane.
    pub fn taken(&mut self, id: u32, now: u64) {
        let wait = ACK_WAIT.checked_shl(self.lost).unwrap_or(ACK_WAIT_LONGEST);
        if let Some(sent) = self.in_flight.as_mut().filter(|sent| sent.id == id) {
            sent.lost_at = Some(now.saturating_add(wait.min(ACK_WAIT_LONGEST)));
        }
    }

    /// Notes that the control plane has stored the report with this number. Returns true for a full
    /// report, and false for another or one that is not awaited.
    pub fn acknowledged(&mut self, id: u32) -> bool {
        let Some(sent) = self.in_flight.take_if(|sent| sent.id == id) else { return false };
        self.lost = 0;
        self.reported = Some(sent.content);
        sent.full
    }

    /// Notes that the report with this number was refused or could not be sent: a full one follows
    /// after a pause.
    pub fn refused(&mut self, id: u32, now: u64) {
        if self.in_flight.as_ref().is_none_or(|sent| sent.id != id) {
            return;
        }
        self.forget_reported();
        self.not_before = now.saturating_add(REFUSED);
        self.changed_at = Some(now);
    }

    /// Forgets what was reported, so that the next report is a full one.
    pub fn forget_reported(&mut self) {
        self.in_flight = None;
        self.reported = None;
    }

    /// Forgets what was reported if no acknowledgement has come in time.
    fn give_up_if_lost(&mut self, now: u64) {
        let lost_at = self.in_flight.as_ref().and_then(|sent| sent.lost_at);
        if lost_at.is_some_and(|at| now >= at) {
            self.lost = self.lost.saturating_add(1);
            self.forget_reported();
        }
    }

    /// Returns the report to send now. None: nothing has changed, or it must wait. `info` is called
    /// for a full report only.
    pub fn next(
        &mut self,
        view: &View,
        problems: &[Problem],
        data: Option<DataReport>,
        info: impl FnOnce() -> AgentInfo,
        now: u64,
    ) -> Option<StateReport> {
        self.give_up_if_lost(now);
        if !self.connected || self.in_flight.is_some() || now < self.not_before {
            return None;
        }
        let reported_data = self.reported.as_ref().map(|reported| reported.data.as_deref());
        let data = match reported_data {
            Some(reported)
                if !data::is_due(reported, data.as_ref(), now.saturating_sub(self.data_at)) =>
            {
                reported.cloned()
            }
            _ => data,
        };
        let data = data.map(Box::new);
        let present = Reported {
            applied: view.applied,
            workloads: view.workloads.clone(),
            problems: problems.to_vec(),
            data,
        };
        if self.reported.as_ref() == Some(&present) {
            self.changed_at = None;
            return None;
        }
        let changed_at = *self.changed_at.get_or_insert(now);
        if !view.settled && now < changed_at + SETTLE {
            return None;
        }
        // What the control plane asked for is reported at once; what changes by itself costs
        // allowance.
        let asked =
            self.reported.as_ref().is_none_or(|reported| reported.applied != present.applied);
        if !asked {
            self.refill(now);
            self.allowance = self.allowance.checked_sub(1)?;
        }
        self.changed_at = None;
        let mut report = match &self.reported {
            None => full(&present, info()),
            Some(reported) => amendment(reported, &present),
        };
        if report.data.is_some() {
            self.data_at = now;
        }
        let (id, full) = (self.last_id.wrapping_add(1), report.full);
        (self.last_id, report.id) = (id, Some(id));
        self.in_flight = Some(InFlight { id, full, content: present, lost_at: None });
        Some(report)
    }

    /// Time of the next call of [`Reporter::next`] if nothing happens before, in milliseconds.
    /// None: nothing is to be reported.
    pub fn next_wake(&self) -> Option<u64> {
        if let Some(sent) = &self.in_flight {
            return sent.lost_at;
        }
        let changed_at = self.changed_at?;
        let allowed = if self.allowance > 0 { 0 } else { self.refilled_at + REFILL };
        Some((changed_at + SETTLE).max(allowed).max(self.not_before))
    }

    fn refill(&mut self, now: u64) {
        let earned = now.saturating_sub(self.refilled_at) / REFILL;
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(BURST);
            self.allowance = self.allowance.saturating_add(earned).min(BURST);
            self.refilled_at = now;
        }
    }
}

/// Encodes a report, without the reasons of workloads if it is too large with them.
///
/// # Errors
/// Fails if the report is too large even without the reasons.
pub fn encode(mut report: StateReport) -> Result<Vec<u8>, CodecError> {
    codec::encode(&report).or_else(|_| {
        for workload in report.workloads.values_mut().flatten() {
            workload.reason.clear();
        }
        codec::encode(&report)
    })
}

/// Makes the report which confirms that the device, whose history had diverged, now numbers its
/// records above all that the control plane knows.
pub fn confirmation(epoch: u64, generation: u64, history: u32) -> StateReport {
    StateReport {
        v: WIRE_VERSION,
        full: false,
        epoch,
        generation,
        workloads: BTreeMap::new(),
        problems: None,
        agent: None,
        data: None,
        history: vec![history],
        id: None,
    }
}

fn full(present: &Reported, info: AgentInfo) -> StateReport {
    StateReport {
        v: WIRE_VERSION,
        full: true,
        epoch: present.applied.epoch,
        generation: present.applied.generation,
        workloads: collect::map(
            present.workloads.iter().map(|(name, report)| (name.clone(), Some(report.clone()))),
        ),
        problems: Some(present.problems.clone()),
        agent: Some(info),
        data: present.data.clone(),
        history: Vec::new(),
        id: None,
    }
}

fn amendment(reported: &Reported, present: &Reported) -> StateReport {
    let changed = present
        .workloads
        .iter()
        .filter(|(name, report)| reported.workloads.get(*name) != Some(report))
        .map(|(name, report)| (name.clone(), Some(report.clone())));
    let gone = reported
        .workloads
        .keys()
        .filter(|name| !present.workloads.contains_key(*name))
        .map(|name| (name.clone(), None));
    StateReport {
        v: WIRE_VERSION,
        full: false,
        epoch: present.applied.epoch,
        generation: present.applied.generation,
        workloads: collect::map(changed.chain(gone)),
        problems: (reported.problems != present.problems).then(|| present.problems.clone()),
        agent: None,
        data: present.data.clone().filter(|_| reported.data != present.data),
        history: Vec::new(),
        id: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_protocol::message::Phase;

    fn view(generation: u64, phase: Phase, settled: bool) -> View {
        let version = StateVersion { epoch: 1, generation };
        let report = WorkloadReport {
            revision: 1,
            phase,
            restarts: 0,
            run: Some(7),
            detail: None,
            reason: String::new(),
            progress: None,
        };
        View {
            desired: version,
            applied: version,
            workloads: [("w".parse().unwrap(), report)].into(),
            settled,
            instances: Default::default(),
        }
    }

    fn info() -> AgentInfo {
        AgentInfo {
            version: "1".into(),
            arch: "x".into(),
            kernel: String::new(),
            certificate_not_after: None,
            refused: 0,
            witness: false,
            engine: None,
            neighbours: Vec::new(),
        }
    }

    /// Acknowledges the report on its way.
    fn acknowledge(reporter: &mut Reporter) {
        let id = reporter.last_id;
        reporter.acknowledged(id);
    }

    #[test]
    fn full_first_then_what_changed_and_nothing_twice() {
        let mut reporter = Reporter::default();
        assert!(reporter.next(&view(1, Phase::Running, true), &[], None, info, 0).is_none());
        reporter.connected();
        let first = reporter.next(&view(1, Phase::Running, true), &[], None, info, 0).unwrap();
        assert!(first.full && first.agent.is_some());
        assert!(
            reporter.next(&view(2, Phase::Running, true), &[], None, info, 1).is_none(),
            "one at a time"
        );
        acknowledge(&mut reporter);
        assert!(reporter.next(&view(1, Phase::Running, true), &[], None, info, 2).is_none());
        let second = reporter.next(&view(2, Phase::Backoff, true), &[], None, info, 3).unwrap();
        assert!(!second.full && second.workloads.len() == 1 && second.problems.is_none());
        acknowledge(&mut reporter);
        let third = reporter.next(
            &view(2, Phase::Backoff, true),
            &[Problem { code: "x".into(), message: "y".into() }],
            None,
            info,
            4,
        );
        let third = third.unwrap();
        assert!(third.workloads.is_empty() && third.problems.is_some());
    }

    #[test]
    fn what_is_under_way_is_told_once_it_ends_or_takes_long() {
        let mut reporter = Reporter::default();
        reporter.connected();
        assert!(reporter.next(&view(1, Phase::Starting, false), &[], None, info, 100).is_none());
        assert_eq!(reporter.next_wake(), Some(350));
        assert!(reporter.next(&view(1, Phase::Starting, false), &[], None, info, 349).is_none());
        assert!(reporter.next(&view(1, Phase::Starting, false), &[], None, info, 350).is_some());
    }

    #[test]
    fn what_was_asked_for_is_told_however_often_it_is_asked() {
        let mut reporter = Reporter::default();
        reporter.connected();
        for generation in 1..200 {
            let report =
                reporter.next(&view(generation, Phase::Running, true), &[], None, info, generation);
            assert!(report.is_some(), "{generation}");
            acknowledge(&mut reporter);
        }
    }

    #[test]
    fn what_was_refused_is_tried_again_after_a_pause() {
        let mut reporter = Reporter::default();
        reporter.connected();
        assert!(reporter.next(&view(1, Phase::Running, true), &[], None, info, 1_000).is_some());
        reporter.refused(reporter.last_id, 2_000);
        assert_eq!(reporter.next_wake(), Some(7_000));
        assert!(reporter.next(&view(1, Phase::Running, true), &[], None, info, 6_999).is_none());
        let again = reporter.next(&view(1, Phase::Running, true), &[], None, info, 7_000).unwrap();
        assert!(again.full, "everything is reported again");
    }

    #[test]
    fn a_report_counts_when_its_own_number_is_acknowledged_and_not_before() {
        let mut reporter = Reporter::new(7);
        let (one, two) = (view(1, Phase::Running, true), view(2, Phase::Running, true));
        reporter.connected();
        let first = reporter.next(&one, &[], None, info, 0).unwrap();
        assert_eq!(first.id, Some(8));
        reporter.taken(8, 10);
        assert!(
            reporter.next(&two, &[], None, info, 11).is_none(),
            "a PUBACK is no acknowledgement"
        );
        assert!(!reporter.acknowledged(7), "of another report");
        assert!(reporter.acknowledged(8), "the full one is stored");
        assert!(!reporter.acknowledged(8), "once");
        let second = reporter.next(&two, &[], None, info, 12).unwrap();
        assert_eq!((second.id, second.full), (Some(9), false));
        // The acknowledgement may come before the PUBACK, and the next report goes out meanwhile.
        assert!(!reporter.acknowledged(9), "not a full one");
        reporter.taken(9, 13);
        assert_eq!(reporter.next_wake(), None);
        // What comes late of a former connection says nothing about the next one.
        reporter.connected();
        let third = reporter.next(&two, &[], None, info, 14).unwrap();
        assert_eq!((third.id, third.full), (Some(10), true));
        reporter.refused(9, 15);
        assert!(!reporter.acknowledged(9));
        assert!(reporter.acknowledged(10));
    }

    #[test]
    fn a_report_that_a_broker_takes_and_loses_is_sent_again_in_full() {
        let mut reporter = Reporter::default();
        let running = view(1, Phase::Running, true);
        reporter.connected();
        let mut now = 0;
        for wait in [30_000, 60_000, 120_000, 240_000, 480_000, 600_000, 600_000] {
            let report = reporter.next(&running, &[], None, info, now).unwrap();
            assert!(report.full, "everything is reported again");
            assert_eq!(reporter.next_wake(), None, "a slow link takes the time that it needs");
            reporter.taken(report.id.unwrap(), now + 1);
            assert_eq!(reporter.next_wake(), Some(now + 1 + wait));
            assert!(reporter.next(&running, &[], None, info, now + wait).is_none());
            now += 1 + wait;
        }
        reporter.next(&running, &[], None, info, now).unwrap();
        acknowledge(&mut reporter);
        let changed = reporter.next(&view(2, Phase::Running, true), &[], None, info, now).unwrap();
        assert!(!changed.full);
        reporter.taken(changed.id.unwrap(), now);
        assert_eq!(
            reporter.next_wake(),
            Some(now + 30_000),
            "an acknowledgement shortens it again"
        );
    }

    #[test]
    fn a_number_costs_six_bytes_of_a_report() {
        let mut reporter = Reporter::new(40_000);
        reporter.connected();
        let numbered = reporter.next(&view(1, Phase::Running, true), &[], None, info, 0).unwrap();
        let plain = StateReport { id: None, ..numbered.clone() };
        let size = |report: &StateReport| codec::encode(report).unwrap().len();
        assert_eq!(size(&numbered) - size(&plain), 6);
    }

    #[test]
    fn a_report_that_is_too_large_goes_without_its_words() {
        let mut many = view(1, Phase::Backoff, true);
        let one = many.workloads.values().next().unwrap().clone();
        for number in 0..4_000 {
            let reason = "x".repeat(holdfast_protocol::message::MAX_REASON);
            let report = WorkloadReport { reason, ..one.clone() };
            many.workloads.insert(format!("w-{number}").parse().unwrap(), report);
        }
        let mut reporter = Reporter::default();
        reporter.connected();
        let report = reporter.next(&many, &[], None, info, 0).unwrap();
        assert!(codec::encode(&report).is_err(), "it is too large");
        let sent: StateReport = codec::decode(&encode(report).unwrap()).unwrap();
        assert_eq!(sent.workloads.len(), 4_001);
        assert!(sent.workloads.values().flatten().all(|it| it.phase == Phase::Backoff));
    }

    #[test]
    fn data_is_told_at_first_then_seldom() {
        let mut reporter = Reporter::default();
        reporter.connected();
        let stored = |written| DataReport {
            storage: holdfast_records::Storage {
                used: written,
                quota: 1_600,
                ..Default::default()
            },
            ..DataReport::default()
        };
        let running = view(1, Phase::Running, true);
        let first = reporter.next(&running, &[], Some(stored(0)), info, 0).unwrap();
        assert_eq!(first.data.as_deref(), Some(&stored(0)));
        acknowledge(&mut reporter);
        let mut reported = 0;
        for minute in 1..=120_u64 {
            let now = minute * 60_000;
            if let Some(report) = reporter.next(&running, &[], Some(stored(minute * 10)), info, now)
            {
                assert!(report.data.is_some() && report.problems.is_none());
                acknowledge(&mut reporter);
                reported += 1;
            }
        }
        assert!((7..=8).contains(&reported), "{reported} times in two hours");
        // What else is reported does not take data along.
        let other = view(2, Phase::Backoff, true);
        let report = reporter.next(&other, &[], Some(stored(1_201)), info, 7_200_001).unwrap();
        assert_eq!(report.data, None);
    }

    #[test]
    fn endless_change_does_not_empty_the_link() {
        let mut reporter = Reporter::default();
        reporter.connected();
        let mut sent = 0;
        for step in 0..6_000_u64 {
            let phase = if step % 2 == 0 { Phase::Backoff } else { Phase::Running };
            if reporter.next(&view(1, phase, true), &[], None, info, step * 100).is_some() {
                sent += 1;
                acknowledge(&mut reporter);
            }
        }
        assert!((100..140).contains(&sent), "{sent} reports in ten minutes");
    }
}
