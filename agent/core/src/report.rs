//! What to tell the control plane, and when: everything after a connect, then what changed, in
//! few small messages. A workload that starts and fails without end must not empty a metered
//! link: reports have an allowance that fills slowly.
//! See decision 0011.

use std::collections::BTreeMap;

use holdfast_base::WIRE_VERSION;
use holdfast_base::codec::{self, CodecError};
use holdfast_base::ids::StateVersion;
use holdfast_protocol::message::{AgentInfo, Problem, StateReport, WorkloadReport};
use holdfast_records::DataReport;

use super::agent::View;
use super::data::report as data;

/// A change that is under way is given so many milliseconds to end, so that it is told once.
const SETTLE: u64 = 250;
/// Reports that may go out in a burst.
const BURST: u32 = 12;
/// Milliseconds until another report may go out, once the burst is used up.
const REFILL: u64 = 5_000;
/// Milliseconds until a report that was refused, or could not even be sent, is tried again.
const REFUSED: u64 = 5_000;

/// What was told last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    applied: StateVersion,
    workloads: BTreeMap<holdfast_base::ids::Name, WorkloadReport>,
    problems: Vec<Problem>,
    data: Option<Box<DataReport>>,
}

/// Decides what goes out on `state`. At most one report is on its way.
#[derive(Debug, Default)]
pub struct Reporter {
    connected: bool,
    told: Option<Told>,
    on_its_way: Option<Told>,
    changed_at: Option<u64>,
    allowance: u32,
    refilled_at: u64,
    /// A report was refused: none goes out before.
    not_before: u64,
    /// When data was told last.
    data_at: u64,
}

impl Reporter {
    /// A connection is up: the next report is a full one.
    pub fn connected(&mut self) {
        *self = Self { connected: true, allowance: BURST, ..Self::default() };
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        *self = Self::default();
    }

    /// The report on its way is stored by the control plane.
    pub fn acknowledged(&mut self) {
        if let Some(told) = self.on_its_way.take() {
            self.told = Some(told);
        }
    }

    /// It was refused, or could not be sent: everything is told again, after a pause.
    pub fn refused(&mut self, now: u64) {
        self.told_nothing();
        self.not_before = now.saturating_add(REFUSED);
        self.changed_at = Some(now);
    }

    /// Everything is told again.
    pub fn told_nothing(&mut self) {
        self.on_its_way = None;
        self.told = None;
    }

    /// The report to send now, if there is one.
    pub fn next(
        &mut self,
        view: &View,
        problems: &[Problem],
        data: Option<DataReport>,
        info: impl FnOnce() -> AgentInfo,
        now: u64,
    ) -> Option<StateReport> {
        if !self.connected || self.on_its_way.is_some() || now < self.not_before {
            return None;
        }
        let told_data = self.told.as_ref().map(|told| told.data.as_deref());
        let data = match told_data {
            Some(told) if !data::is_due(told, data.as_ref(), now.saturating_sub(self.data_at)) => {
                told.cloned()
            }
            _ => data,
        };
        let data = data.map(Box::new);
        let present = Told {
            applied: view.applied,
            workloads: view.workloads.clone(),
            problems: problems.to_vec(),
            data,
        };
        if self.told.as_ref() == Some(&present) {
            self.changed_at = None;
            return None;
        }
        let changed_at = *self.changed_at.get_or_insert(now);
        if !view.settled && now < changed_at + SETTLE {
            return None;
        }
        // What the control plane asked for is told at once; what changes by itself is not told
        // without end.
        let asked = self.told.as_ref().is_none_or(|told| told.applied != present.applied);
        if !asked {
            self.refill(now);
            self.allowance = self.allowance.checked_sub(1)?;
        }
        self.changed_at = None;
        let report = match &self.told {
            None => full(&present, info()),
            Some(told) => amendment(told, &present),
        };
        if report.data.is_some() {
            self.data_at = now;
        }
        self.on_its_way = Some(present);
        Some(report)
    }

    /// When to ask again if nothing happens.
    pub fn next_wake(&self) -> Option<u64> {
        let changed_at = self.changed_at.filter(|_| self.on_its_way.is_none())?;
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

/// As it goes down the link: without words where it is too large with them.
///
/// # Errors
/// When it is too large even so.
pub fn encode(mut report: StateReport) -> Result<Vec<u8>, CodecError> {
    codec::encode(&report).or_else(|_| {
        for workload in report.workloads.values_mut().flatten() {
            workload.reason.clear();
        }
        codec::encode(&report)
    })
}

/// The device goes on above all that it was told when its history was another one.
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
    }
}

fn full(present: &Told, info: AgentInfo) -> StateReport {
    StateReport {
        v: WIRE_VERSION,
        full: true,
        epoch: present.applied.epoch,
        generation: present.applied.generation,
        workloads: present
            .workloads
            .iter()
            .map(|(name, report)| (name.clone(), Some(report.clone())))
            .collect(),
        problems: Some(present.problems.clone()),
        agent: Some(info),
        data: present.data.clone(),
        history: Vec::new(),
    }
}

fn amendment(told: &Told, present: &Told) -> StateReport {
    let changed = present
        .workloads
        .iter()
        .filter(|(name, report)| told.workloads.get(*name) != Some(report))
        .map(|(name, report)| (name.clone(), Some(report.clone())));
    let gone = told
        .workloads
        .keys()
        .filter(|name| !present.workloads.contains_key(*name))
        .map(|name| (name.clone(), None));
    StateReport {
        v: WIRE_VERSION,
        full: false,
        epoch: present.applied.epoch,
        generation: present.applied.generation,
        workloads: changed.chain(gone).collect(),
        problems: (told.problems != present.problems).then(|| present.problems.clone()),
        agent: None,
        data: present.data.clone().filter(|_| told.data != present.data),
        history: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_protocol::message::Phase;

    fn view(generation: u64, phase: Phase, settled: bool) -> View {
        let version = StateVersion { epoch: 1, generation };
        let report =
            WorkloadReport { revision: 1, phase, restarts: 0, pid: Some(7), reason: String::new() };
        View {
            desired: version,
            applied: version,
            workloads: [("w".parse().unwrap(), report)].into(),
            settled,
        }
    }

    fn info() -> AgentInfo {
        AgentInfo {
            version: "1".into(),
            arch: "x".into(),
            kernel: String::new(),
            certificate_not_after: None,
            refused: 0,
        }
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
        reporter.acknowledged();
        assert!(reporter.next(&view(1, Phase::Running, true), &[], None, info, 2).is_none());
        let second = reporter.next(&view(2, Phase::Backoff, true), &[], None, info, 3).unwrap();
        assert!(!second.full && second.workloads.len() == 1 && second.problems.is_none());
        reporter.acknowledged();
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
            reporter.acknowledged();
        }
    }

    #[test]
    fn what_was_refused_is_tried_again_after_a_pause() {
        let mut reporter = Reporter::default();
        reporter.connected();
        assert!(reporter.next(&view(1, Phase::Running, true), &[], None, info, 1_000).is_some());
        reporter.refused(2_000);
        assert_eq!(reporter.next_wake(), Some(7_000));
        assert!(reporter.next(&view(1, Phase::Running, true), &[], None, info, 6_999).is_none());
        let again = reporter.next(&view(1, Phase::Running, true), &[], None, info, 7_000).unwrap();
        assert!(again.full, "everything is told again");
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
        reporter.acknowledged();
        let mut told = 0;
        for minute in 1..=120_u64 {
            let now = minute * 60_000;
            if let Some(report) = reporter.next(&running, &[], Some(stored(minute * 10)), info, now)
            {
                assert!(report.data.is_some() && report.problems.is_none());
                reporter.acknowledged();
                told += 1;
            }
        }
        assert!((7..=8).contains(&told), "{told} times in two hours");
        // What else is told does not take data along.
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
                reporter.acknowledged();
            }
        }
        assert!((100..140).contains(&sent), "{sent} reports in ten minutes");
    }
}
