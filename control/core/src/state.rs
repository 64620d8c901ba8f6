//! State of a workload on a device, and health of a device as a whole: the one definition that
//! counts, lists, explanations, alarms, metrics and pages share.
//!
//! What was reported is kept apart from what is known: while a device is offline, does not answer or
//! was not heard in time, the state of its workloads is unknown.
//!
//! See decisions 0108 and 0109.

use holdfast_base::ids::Name;
use holdfast_protocol::message::{Phase, WorkloadReport};

use super::mark::Mark;
use super::model::Device;
use super::records::Standing;
use holdfast_api::{Connection, Health, HealthState, State};

pub use super::mark::{RUN_WELL, is_done, is_failure};

/// The state of a workload on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// State of the workload on the device.
    pub state: State,
    /// Begin of the state, in seconds since 1970. None: not known.
    pub since: Option<u64>,
    /// For an unknown state: the state when the device was last heard. None: nothing was reported.
    pub last: Option<State>,
}

/// Returns the state of a workload that should run `revision`, from its last report, and the begin
/// of the state in seconds since 1970; 0 or 1: not known.
fn reported(said: &WorkloadReport, mark: Mark, revision: u64, now: u64) -> (State, u64) {
    if said.revision != revision {
        return (State::Progressing, 0);
    }
    let failing = mark.failing > 0 && !mark.is_over(now);
    match said.phase {
        _ if is_done(said) => (State::Done, mark.phase),
        Phase::Paused => (State::Paused, mark.phase),
        phase if is_failure(phase) || failing => (State::Failing, mark.failing.max(1)),
        Phase::Running => (State::Running, if mark.well > 0 { mark.well } else { mark.phase }),
        _ => (State::Progressing, mark.phase),
    }
}

/// Returns the state of a workload of which a device should run this revision.
pub fn of(device: &Device, name: &Name, revision: u64, now: u64) -> Condition {
    let known = |at| {
        let (said, mark) = device.report.reported(name)?;
        Some(reported(said, mark, revision, at))
    };
    let time = |at: u64| (at > 1).then_some(at);
    if !device.live.is_heard(now) {
        let silent = Some(device.live.silent).filter(|at| *at > 0);
        let due = device.live.heard_by(now);
        return Condition {
            state: State::Unknown,
            since: time(silent.or(due).unwrap_or_else(|| device.report.gone_at())),
            // Since its last report it has said by its packets that nothing is different.
            last: known(device.heard_at(now)).map(|(state, _)| state),
        };
    }
    let (state, since) = known(now).unwrap_or((State::Progressing, 0));
    Condition { state, since: time(since), last: None }
}

/// Returns the health of a device as a whole.
pub fn health(device: &Device, now: u64) -> Health {
    let connection = device.live.seen(device.record.standing, device.report.last_seen > 0);
    let only = |state, since: u64| Health {
        state,
        since: (since > 0).then(|| holdfast_api::time::rfc3339(since)),
        failing: Vec::new(),
        problems: 0,
    };
    match connection {
        Connection::Pending => return only(HealthState::Pending, device.record.created_at),
        Connection::Revoked => return only(HealthState::Revoked, device.record.updated_at),
        Connection::NeverSeen => return only(HealthState::NeverSeen, device.record.created_at),
        Connection::Offline => {
            let problems = device.problems().len() as u64;
            return Health { problems, ..only(HealthState::Unknown, device.report.gone_at()) };
        }
        Connection::Online if device.live.silent == 0 && !device.live.is_in_time(now) => {
            let problems = device.problems().len() as u64;
            let due = device.live.heard_by(now).unwrap_or_default();
            return Health { problems, ..only(HealthState::Unknown, due) };
        }
        Connection::Online => {}
    }
    let (mut failing, mut since, mut moving) = (Vec::new(), u64::MAX, false);
    // A device is healthy since the last of its parts became so. Its health before it connected is
    // not known.
    let mut latest = device.live.since;
    for (name, revision) in &device.desired.workloads {
        let is = of(device, name, *revision, now);
        if is.state == State::Failing {
            failing.push(name.to_string());
            since = since.min(is.since.unwrap_or(u64::MAX));
        }
        moving |= is.state == State::Progressing;
        latest = latest.max(is.since.unwrap_or_default());
    }
    let problems = device.problems();
    let state = match (failing.is_empty(), problems.is_empty(), moving) {
        (false, ..) => HealthState::Failing,
        (_, false, _) => HealthState::Problem,
        (.., true) => HealthState::Progressing,
        _ => HealthState::Healthy,
    };
    let began = problems.iter().map(|problem| problem.since).filter(|at| *at > 0).min();
    since = since.min(began.unwrap_or(u64::MAX));
    let since = match state {
        HealthState::Healthy => latest,
        _ if since == u64::MAX => 0,
        _ => since,
    };
    Health { failing, problems: problems.len() as u64, ..only(state, since) }
}

/// True if a person must look: the device is connected, and it does not answer, a workload fails or
/// a problem is reported. The same as a [`health`] of failing or problem.
pub fn is_unhealthy(device: &Device, now: u64) -> bool {
    device.record.standing == Standing::Approved
        && device.live.connection != 0
        && (device.live.silent > 0 || device.live.is_in_time(now))
        && (device.has_problems() || failing(device, now) > 0)
}

/// Returns the number of failing workloads on a device that can be reached; 0 for any other.
pub fn failing(device: &Device, now: u64) -> u64 {
    let unreachable = !device.live.is_heard(now);
    if device.record.standing != Standing::Approved || unreachable || !device.report.may_fail() {
        return 0;
    }
    let fails =
        |(name, revision): &&(Name, u64)| of(device, name, *revision, now).state == State::Failing;
    device.desired.workloads.iter().filter(fails).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(phase: Phase, restarts: u32, run: Option<u32>) -> WorkloadReport {
        WorkloadReport {
            revision: 1,
            phase,
            restarts,
            run,
            detail: None,
            reason: String::new(),
            progress: None,
        }
    }

    /// Returns the state after each of these reports, given as (time, phase, restarts, run), and
    /// the last mark.
    fn run(reports: &[(u64, Phase, u32, Option<u32>)]) -> (Vec<State>, Mark) {
        let mut states = Vec::new();
        let mut before: Option<(WorkloadReport, Mark)> = None;
        for (at, phase, restarts, run) in reports {
            let now = said(*phase, *restarts, *run);
            let known = before.as_ref().map(|(was, mark)| (was, *mark));
            let mark = Mark::after(known, &now, *at);
            states.push(reported(&now, mark, 1, *at).0);
            before = Some((now, mark));
        }
        (states, before.unwrap().1)
    }

    #[test]
    fn a_workload_between_two_crashes_is_failing() {
        use State::{Failing, Progressing, Running};
        let (states, mark) = run(&[
            (100, Phase::Starting, 0, None),
            (101, Phase::Running, 0, Some(1)),
            (110, Phase::Backoff, 1, None),
            (112, Phase::Starting, 1, None),
            (113, Phase::Running, 1, Some(2)),
            (115, Phase::Backoff, 2, None),
            (120, Phase::Running, 2, Some(3)),
        ]);
        let expected = [Progressing, Running, Failing, Failing, Failing, Failing, Failing];
        assert_eq!(states, expected);
        assert_eq!(mark.failing, 110, "the series began with its first failure");
        let now = said(Phase::Running, 2, Some(3));
        assert_eq!(reported(&now, mark, 1, 120 + RUN_WELL - 1), (Failing, 110));
        assert_eq!(reported(&now, mark, 1, 120 + RUN_WELL), (Running, 120));
        assert_eq!(mark.settles_at(), Some(120 + RUN_WELL));
    }

    #[test]
    fn what_is_paused_is_neither_failing_nor_running_and_begins_anew() {
        use State::{Failing, Paused, Progressing, Running};
        let (states, mark) = run(&[
            (100, Phase::Backoff, 1, None),
            (110, Phase::Stopped, 1, Some(7)),
            (111, Phase::Paused, 1, None),
            (150, Phase::Starting, 1, None),
            (151, Phase::Running, 1, Some(8)),
        ]);
        assert_eq!(states, [Failing, Failing, Paused, Progressing, Running]);
        assert_eq!((mark.failing, mark.well), (0, 151));
        // A restart by an operator is not a failure.
        let (states, _) = run(&[
            (100, Phase::Running, 0, Some(1)),
            (110, Phase::Stopped, 0, Some(1)),
            (111, Phase::Starting, 0, Some(2)),
            (112, Phase::Running, 0, Some(2)),
        ]);
        assert_eq!(states, [Running, Progressing, Progressing, Running]);
    }

    #[test]
    fn crashes_between_two_reports_count() {
        let (states, mark) = run(&[
            (100, Phase::Running, 0, Some(1)),
            (200, Phase::Running, 3, Some(9)),
            (250, Phase::Running, 3, Some(9)),
        ]);
        assert_eq!(states, [State::Running, State::Failing, State::Failing]);
        assert_eq!((mark.failing, mark.well, mark.phase), (200, 200, 200));
    }

    #[test]
    fn a_new_failure_after_a_good_time_begins_a_new_series() {
        let (_, mark) = run(&[
            (100, Phase::Backoff, 1, None),
            (101, Phase::Running, 1, Some(1)),
            (101 + RUN_WELL + 5, Phase::Backoff, 2, None),
        ]);
        assert_eq!(mark.failing, 101 + RUN_WELL + 5);
    }

    #[test]
    fn a_job_that_ended_well_is_done_and_a_new_revision_begins_without_a_past() {
        let (states, _) = run(&[(100, Phase::Backoff, 1, None), (130, Phase::Stopped, 2, None)]);
        assert_eq!(states, [State::Failing, State::Done]);
        let old = said(Phase::Backoff, 4, None);
        let mark = Mark { phase: 5, failing: 5, well: 0 };
        let new = WorkloadReport { revision: 2, ..said(Phase::Starting, 0, None) };
        let after = Mark::after(Some((&old, mark)), &new, 50);
        assert_eq!(after, Mark { phase: 50, failing: 0, well: 0 });
        assert_eq!(reported(&old, mark, 2, 50).0, State::Progressing, "it is not the desired one");
    }

    #[test]
    fn a_repeated_report_changes_no_time() {
        let (_, mark) =
            run(&[(100, Phase::Running, 0, Some(1)), (900, Phase::Running, 0, Some(1))]);
        assert_eq!(mark, Mark { phase: 100, failing: 0, well: 100 });
    }
}
