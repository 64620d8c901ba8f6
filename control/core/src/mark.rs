//! Times about a reported workload, by which a series of failures is told from a run without one.
//!
//! See decision 0108.

use holdfast_protocol::message::{Phase, WorkloadReport};
use serde::{Deserialize, Serialize};

/// Time for which a workload that failed must run without another failure until its state is
/// running again, in seconds. Between two crashes it runs as well, for moments.
pub const RUN_WELL: u64 = 60;

/// Tolerance for times that lie ahead of the clock because it was corrected, in seconds. A time
/// further ahead is ignored.
pub const CLOCK_STEP: u64 = 5 * 60;

/// Times about one reported workload, in seconds since 1970 by the control plane's clock when the
/// report was received. 0: not known, or not the case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Begin of the reported phase.
    #[serde(rename = "p", default, skip_serializing_if = "is_zero")]
    pub phase: u64,
    /// Begin of the present series of failures.
    #[serde(rename = "f", default, skip_serializing_if = "is_zero")]
    pub failing: u64,
    /// Begin of the present run without a failure.
    #[serde(rename = "w", default, skip_serializing_if = "is_zero")]
    pub well: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// True if the phase is a failure by itself.
pub fn is_failure(phase: Phase) -> bool {
    matches!(phase, Phase::Failed | Phase::Unhealthy | Phase::Backoff)
}

/// True for a job that has ended successfully: nothing is left to do, and all is as desired.
pub fn is_done(said: &WorkloadReport) -> bool {
    said.phase == Phase::Stopped && said.run.is_none()
}

impl Mark {
    /// Returns the times after the report `said`. `before` is the previous report of the workload
    /// with its times.
    pub fn after(before: Option<(&WorkloadReport, Self)>, said: &WorkloadReport, now: u64) -> Self {
        let Some((was, mark)) = before.filter(|(was, _)| was.revision == said.revision) else {
            return Self {
                phase: now,
                failing: if is_failure(said.phase) { now } else { 0 },
                well: if said.phase == Phase::Running { now } else { 0 },
            };
        };
        // Example for a workload that crashes soon after each start, with (time, phase) → (failing,
        // well): (101, running) → (0, 101); (110, backoff) → (110, 0); (113, running) → (110, 113);
        // (115, backoff) → (110, 0). `failing` stays at the first failure, since no run in between
        // lasted RUN_WELL.
        let same_run = was.phase == said.phase && was.run == said.run;
        let phase = if same_run && mark.phase > 0 { mark.phase } else { now };
        // Restarts between two reports were failures too: on a slow link several reports become
        // one.
        let crashed = said.restarts > was.restarts && !is_done(said);
        let still = if mark.is_over(now) { 0 } else { mark.failing };
        let failing = match said.phase {
            _ if is_done(said) || said.phase == Phase::Paused => 0,
            phase if is_failure(phase) || crashed => {
                if still > 0 {
                    still
                } else {
                    now
                }
            }
            _ => still,
        };
        let runs_on = was.phase == Phase::Running && same_run && !crashed && mark.well > 0;
        let well = match said.phase {
            Phase::Running if runs_on => mark.well,
            Phase::Running => now,
            _ => 0,
        };
        Self { phase, failing, well }
    }

    /// True if the series of failures has ended: the workload has run for [`RUN_WELL`], or the
    /// clock was set back meanwhile, so that the duration of the run is not known.
    pub(crate) fn is_over(self, now: u64) -> bool {
        self.well > 0 && (now >= self.well + RUN_WELL || self.well > now + CLOCK_STEP)
    }

    /// Time at which the state changes without a new report, in seconds since 1970. None: it does
    /// not.
    pub fn settles_at(self) -> Option<u64> {
        (self.failing > 0 && self.well > 0).then_some(self.well + RUN_WELL)
    }
}
