//! A workload's state as it is reported, and the time of its next step. Nothing here changes it.

use holdfast_protocol::message::{Phase, WorkloadReport};

use super::refresh::{Refresh, is_of};
use super::{Cause, PROVEN_AFTER, Stage, Then, Workload, clip};
use crate::restart::NotRestarted;
use crate::runtime::Handle;

impl Workload {
    /// Reason for the present phase, at most [`MAX_REASON`](holdfast_protocol::message::MAX_REASON)
    /// bytes; may be empty.
    pub(super) fn why(&self) -> String {
        let why = self.reason_of_phase();
        match &self.held {
            Some(held) if self.phase() != Phase::Paused => {
                let between = if why.is_empty() { "" } else { "; " };
                clip(&format!("{why}{between}{}", held.said))
            }
            _ => why,
        }
    }

    fn reason_of_phase(&self) -> String {
        match (&self.saved.rejected, &self.wanted) {
            _ if self.phase() == Phase::Paused => "paused: it starts when it is resumed".into(),
            (Some(rejected), Some(wanted))
                if self.reason.is_empty() && rejected.revision.is_same(wanted) =>
            {
                clip(&format!(
                    "revision {} failed and was given up for the last one that worked: {}",
                    wanted.number, rejected.why
                ))
            }
            _ => match &self.stage {
                Stage::Sweeping { unkillable, .. } if *unkillable > 0 => format!(
                    "{unkillable} of its processes cannot be killed: it goes on when they are gone"
                ),
                Stage::Done(exit) if self.reason.is_empty() => exit.to_string(),
                Stage::Running(_) if self.reason.is_empty() => self.secrets_trouble(),
                _ => self.reason.clone(),
            },
        }
    }

    /// Time of the next step if nothing is observed before, in milliseconds of the monotonic clock.
    /// None: only an observation leads on.
    pub(crate) fn next_wake(&self) -> Option<u64> {
        self.stage_wake().into_iter().chain(self.look_at).min()
    }

    fn stage_wake(&self) -> Option<u64> {
        match &self.stage {
            Stage::Running(running) => {
                let current = self.saved.current.as_ref()?;
                let proven = (!self.saved.proven && current.spec.health.is_none())
                    .then_some(running.since + PROVEN_AFTER);
                let probe =
                    (current.spec.health.is_some() && !running.probing).then_some(running.probe_at);
                proven.into_iter().chain(probe).chain(self.refresh.again_at()).min()
            }
            Stage::Stopping { deadline, killed: false, .. } => Some(*deadline),
            Stage::Sweeping { look_at, looking: false, .. } => Some(*look_at),
            Stage::Waiting { until, .. } | Stage::Stuck { until } => Some(*until),
            _ => None,
        }
    }

    /// True if the workload only waits for something that may take long: a back-off, a probe, a
    /// download, an end.
    pub(crate) fn is_settled(&self) -> bool {
        match &self.stage {
            _ if self.again => false,
            Stage::Running(_) if !self.paused => match self.goal() {
                Some(goal) => {
                    self.follows(goal)
                        || self.prefetching.is_some()
                        || self.held.is_some()
                        || is_of(self.unopened.as_ref(), goal)
                        || matches!(self.refresh, Refresh::Failed { .. })
                }
                None => false,
            },
            Stage::Waiting { .. } => self.wanted.is_some() && !self.paused,
            Stage::Done(_) => self.wanted.is_some(),
            Stage::Idle => self.wanted.is_some() && self.paused && self.saved.paused,
            Stage::Fetching(_) | Stage::Held => !self.paused,
            Stage::Gone => true,
            _ => false,
        }
    }

    /// Result of a restart that an operator asked for. None: it is under way.
    pub(crate) fn restarted(&self) -> Option<Result<(), NotRestarted>> {
        match &self.stage {
            _ if self.paused => Some(Err(NotRestarted::PausedMeanwhile)),
            _ if self.again => None,
            Stage::Running(_) => Some(Ok(())),
            Stage::Done(_) => Some(match &self.held {
                Some(held) => Err(NotRestarted::Waits(held.said.clone())),
                None => Ok(()),
            }),
            Stage::Idle
            | Stage::Preparing(_)
            | Stage::Saving(_)
            | Stage::Starting(_)
            | Stage::Stopping { .. }
            | Stage::Sweeping { .. } => None,
            _ => Some(Err(NotRestarted::Ended(self.why()))),
        }
    }

    /// Instance that runs, or is about to, if there is one.
    pub(crate) fn instance(&self) -> Option<&Handle> {
        match &self.stage {
            Stage::Running(running) => Some(&running.instance),
            Stage::Saving(instance)
            | Stage::Starting(instance)
            | Stage::Stopping { instance, .. } => Some(instance),
            _ => None,
        }
    }

    /// Report of the workload for the control plane.
    pub(crate) fn report(&self) -> WorkloadReport {
        let on_its_way = self.goal().or(self.wanted.as_ref()).map(|revision| revision.number);
        let current = self.saved.current.as_ref().map(|revision| revision.number);
        let running = matches!(self.stage, Stage::Running(_) | Stage::Stopping { .. });
        let revision = if running { current.or(on_its_way) } else { on_its_way.or(current) };
        WorkloadReport {
            revision: revision.unwrap_or(0),
            phase: self.phase(),
            restarts: self.saved.restarts,
            run: self.instance().map(Handle::run),
            detail: None,
            reason: self.why(),
            progress: self.progress,
        }
    }

    fn phase(&self) -> Phase {
        match &self.stage {
            Stage::Idle if self.paused && self.wanted.is_some() => Phase::Paused,
            Stage::Idle | Stage::Held | Stage::Gone => Phase::Pending,
            Stage::Fetching(_) => Phase::Fetching,
            Stage::Preparing(_) | Stage::Saving(_) | Stage::Starting(_) => Phase::Starting,
            Stage::Running(running) if running.healthy => Phase::Running,
            Stage::Running(running) if running.failures > 0 => Phase::Unhealthy,
            Stage::Running(_) => Phase::Starting,
            Stage::Stopping { cause: Cause::Unhealthy, .. } => Phase::Unhealthy,
            Stage::Stopping { .. } | Stage::Removing | Stage::Stuck { .. } => Phase::Stopped,
            // `stopped` without a process would be a job that is done.
            Stage::Sweeping { then: Then::Plan, .. } => match &self.wanted {
                Some(_) if self.paused => Phase::Paused,
                Some(_) => Phase::Starting,
                None => Phase::Stopped,
            },
            Stage::Sweeping { .. } => Phase::Backoff,
            Stage::Waiting { .. } if self.broken => Phase::Failed,
            Stage::Waiting { .. } => Phase::Backoff,
            Stage::Done(exit) if exit.is_success() => Phase::Stopped,
            Stage::Done(_) => Phase::Failed,
        }
    }
}
