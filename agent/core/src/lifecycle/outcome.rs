//! Observations of a workload: the step that each one leads to, and how failures are counted.
//!
//! See decisions 0010 and 0023.

use std::sync::Arc;

use holdfast_protocol::workload::{Health, RestartPolicy};

use super::refresh::Refresh;
use super::{
    Cause, FIRST_PROBES, Running, START_RETRY, SWEEP_LONGEST, SWEEP_TOLD, Stage, Surroundings,
    TRIES, Then, Tried, Workload, clip, tried,
};
use crate::backoff;
use crate::effect::{Effect, Observed};
use crate::runtime::{Handle, NotPrepared, Reason};
use crate::saved::{Exit, Rejected, Revision, SavedWorkload};

impl Workload {
    /// Applies an observation to the workload.
    pub(crate) fn observe(&mut self, observed: Observed, world: &mut Surroundings<'_>) {
        match observed {
            Observed::Fetched(digest) => {
                self.stale.take_if(|stale| *stale == digest);
                if self.prefetching == Some(digest) {
                    self.prefetching = None;
                    self.progress = None;
                }
                if self.stage == Stage::Fetching(digest) {
                    self.reason.clear();
                    self.progress = None;
                }
            }
            Observed::Progress(digest, progress) => {
                if self.fetching() == Some(digest) {
                    self.progress = Some(progress);
                }
            }
            Observed::FetchTrouble(digest, why) => {
                if self.fetching() == Some(digest) {
                    self.progress = None;
                    self.say(&why);
                }
            }
            Observed::Prepared(_, Ok(instance)) => self.prepared(instance, world),
            Observed::Prepared(_, Err(error)) => self.not_prepared(&error, world),
            Observed::Saved(..) => {
                if let Stage::Saving(instance) = &self.stage {
                    // Not stored (the disk is full): it is started all the same, and found again
                    // after a restart by what its runtime has written on it.
                    let instance = instance.clone();
                    let name = self.name.clone();
                    world.out.push(Effect::Start { name, instance: instance.clone() });
                    self.stage = Stage::Starting(instance);
                }
            }
            Observed::Started(_, instance, result) => self.started(&instance, result, world),
            Observed::Exited(_, instance, exit) => self.exited(&instance, exit, world),
            Observed::Refreshed(_, instance, result) => self.refreshed(&instance, result, world),
            Observed::Probed(_, instance, result) => self.probed(&instance, result, world),
            Observed::LeftBehind(_, left) => self.left_behind(left),
            Observed::Swept(_, left) => self.swept(left, world),
            // These concern the device, not one workload.
            Observed::Census(_) | Observed::Blind | Observed::Back(_) => {}
            Observed::Removed(..) if self.stage != Stage::Removing => {}
            Observed::Removed(_, Ok(())) => {
                self.saved = SavedWorkload::default();
                self.stage = if self.wanted.is_some() { Stage::Idle } else { Stage::Gone };
            }
            Observed::Removed(_, Err(why)) => {
                self.say(&format!("its folder cannot be removed: {why}"));
                self.stage = Stage::Stuck { until: world.now + START_RETRY.1 };
            }
        }
    }

    fn prepared(&mut self, instance: Handle, world: &mut Surroundings<'_>) {
        let Stage::Preparing(revision) = &self.stage else { return };
        let revision = revision.clone();
        let is_other =
            |goal: &Revision| goal.spec != revision.spec && !self.is_blocked(goal, world);
        if self.paused || self.goal().is_none_or(is_other) {
            // Another revision is wanted by now: the instance is ended before it runs.
            return self.sweep_after(instance, 0, Then::Plan, world);
        }
        self.broken = false;
        if self.is_current(&revision) {
            let counts = u32::from(!self.uncounted);
            self.saved.restarts = self.saved.restarts.saturating_add(counts);
            if let Some(current) = &mut self.saved.current {
                current.number = revision.number;
                current.secrets = revision.secrets;
            }
        } else {
            // Three cases: `revision` is the one before, after the current one was given up (then
            // it has worked already, and there is none before it to keep); or it is new and the
            // current one has worked, which is kept to go back to; or the current one never worked,
            // and the last one that did is kept.
            let back = self.saved.previous.as_ref().is_some_and(|it| it.spec == revision.spec);
            let former = self.saved.current.replace(revision);
            if back {
                self.saved.previous = None;
            } else if self.saved.proven {
                self.saved.previous = former;
            }
            self.saved.proven = back;
            self.saved.restarts = 0;
        }
        self.saved.ending = None;
        self.saved.paused = false;
        self.saved.instance = Some(instance.clone());
        self.stage = Stage::Saving(instance);
        self.persist(world);
    }

    /// Counts a failure to prepare an instance.
    fn not_prepared(&mut self, error: &NotPrepared, world: &mut Surroundings<'_>) {
        let Stage::Preparing(revision) = &self.stage else { return };
        let revision = revision.clone();
        self.broken = true;
        self.say(&error.to_string());
        self.failures = self.failures.saturating_add(1);
        let unfit = matches!(error, NotPrepared::Revision(_));
        let has_good = self.saved.previous.is_some() || self.saved.proven;
        if unfit && has_good && self.failures >= TRIES && !self.is_current(&revision) {
            return self.give_up(revision, world);
        }
        let mut failed = Some(tried(&revision));
        if let (NotPrepared::Secrets(why), Some(secrets)) = (error, &revision.secrets) {
            self.unopened = Some((Arc::clone(secrets), clip(&why.0)));
            failed = None;
        }
        self.retry(failed, START_RETRY, world);
    }

    /// Gives this revision up for the last one that worked.
    fn give_up(&mut self, failed: Revision, world: &mut Surroundings<'_>) {
        let why = std::mem::take(&mut self.reason);
        self.saved.rejected = Some(Rejected { revision: failed, why });
        self.failures = 0;
        self.broken = false;
        self.stage = Stage::Idle;
        self.persist(world);
    }

    fn started(
        &mut self,
        instance: &Handle,
        result: Result<(), Reason>,
        world: &mut Surroundings<'_>,
    ) {
        if self.stage != Stage::Starting(instance.clone()) {
            return;
        }
        match result {
            Ok(()) => self.run(instance.clone(), false, world.now),
            Err(why) => {
                self.saved.instance = None;
                if self.is_job() {
                    // The job has not run: after a restart of the agent it may still be started.
                    self.persist(world);
                }
                self.cannot_start(&why.0, world);
            }
        }
    }

    pub(super) fn run(&mut self, instance: Handle, healthy: bool, now: u64) {
        let probed =
            self.saved.current.as_ref().is_some_and(|current| current.spec.health.is_some());
        self.reason.clear();
        self.refresh = Refresh::None;
        self.stage = Stage::Running(Running {
            instance,
            since: now,
            healthy: healthy || !probed,
            failures: 0,
            probe_at: now,
            probing: false,
        });
    }

    fn exited(&mut self, instance: &Handle, exit: Exit, world: &mut Surroundings<'_>) {
        match &self.stage {
            Stage::Running(running) if running.instance == *instance => {
                self.say(&exit.to_string());
                self.sweep_after(instance.clone(), 0, Then::Judge(Some(exit)), world);
            }
            Stage::Saving(it) | Stage::Starting(it) if it == instance => {
                self.say(&exit.to_string());
                self.sweep_after(instance.clone(), 0, Then::Judge(Some(exit)), world);
            }
            Stage::Stopping { instance: it, deadline, cause, .. } if it == instance => {
                let (deadline, cause) = (*deadline, *cause);
                let then = match cause {
                    Cause::Goal => Then::Plan,
                    Cause::Unhealthy => Then::Judge(None),
                };
                self.sweep_after(instance.clone(), deadline, then, world);
            }
            _ => {}
        }
    }

    /// Reports that processes were left behind when the main process ended. Only the first such
    /// observation counts, because the sweep looks several times.
    fn left_behind(&mut self, left: usize) {
        let Stage::Sweeping { then: Then::Judge(Some(exit)), .. } = &self.stage else { return };
        let exit = *exit;
        if left == 0 || self.reason != exit.to_string() {
            return;
        }
        let (processes, were) = if left == 1 { ("process", "was") } else { ("processes", "were") };
        let hint = if exit.is_success() { ": a program must stay in the foreground" } else { "" };
        self.say(&format!("{exit} and left {left} {processes} behind, which {were} ended{hint}"));
    }

    fn swept(&mut self, left: usize, world: &mut Surroundings<'_>) {
        let Stage::Sweeping { deadline, look_at, looking, pause, killed, unkillable, then, .. } =
            &mut self.stage
        else {
            return;
        };
        if left > 0 {
            // Before the kill the next sweep is never later than the end of the grace. After it the
            // pause doubles from 50 ms to 5 s: only the kernel can end what is still there.
            *looking = false;
            *look_at = world.now + *pause;
            let (graceful, longest) = SWEEP_LONGEST;
            if *killed {
                *unkillable = if *pause >= SWEEP_TOLD { left } else { 0 };
                *pause = (*pause * 2).min(longest);
            } else {
                *look_at = (*look_at).min(world.now.max(*deadline));
                *pause = (*pause * 2).min(graceful);
            }
            return;
        }
        match *then {
            Then::Plan => self.stage = Stage::Idle,
            Then::Judge(exit) => self.judge(exit, world),
        }
    }

    /// Decides by the restart policy. `exit` is None if the workload was stopped for its health.
    fn judge(&mut self, exit: Option<Exit>, world: &mut Surroundings<'_>) {
        let Some(current) = self.saved.current.clone() else {
            self.stage = Stage::Idle;
            return;
        };
        let over = match (current.spec.restart.policy, exit) {
            (RestartPolicy::Never, _) => true,
            (RestartPolicy::OnFailure, Some(exit)) => exit.is_success(),
            (RestartPolicy::OnFailure, None) | (RestartPolicy::Always, _) => false,
        };
        self.saved.instance = None;
        if over {
            let exit = exit.unwrap_or(Exit::Unseen);
            self.saved.ending = Some(exit);
            self.saved.proven |= exit.is_success();
            self.stage = Stage::Done(exit);
            self.persist(world);
            return;
        }
        let restart = current.spec.restart;
        self.wait(restart.backoff_initial_ms, restart.backoff_max_ms, world);
    }

    fn cannot_start(&mut self, why: &str, world: &mut Surroundings<'_>) {
        self.broken = true;
        self.say(why);
        self.wait(START_RETRY.0, START_RETRY.1, world);
    }

    /// Counts a failure and backs off, or gives the revision up if it never worked and
    /// failed [`TRIES`] times in a row.
    fn wait(&mut self, initial: u64, max: u64, world: &mut Surroundings<'_>) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= TRIES
            && !self.saved.proven
            && !self.is_job()
            && self.saved.previous.is_some()
            && let Some(failed) = self.saved.current.clone()
        {
            return self.give_up(failed, world);
        }
        let tried = self.saved.current.as_ref().map(tried);
        self.retry(tried, (initial, max), world);
    }

    /// Backs off before `tried` is tried again.
    fn retry(
        &mut self,
        tried: Option<Tried>,
        (initial, max): (u64, u64),
        world: &mut Surroundings<'_>,
    ) {
        let delay = backoff::delay(self.failures, initial, max, world.entropy);
        self.stage = Stage::Waiting { until: world.now.saturating_add(delay), tried };
    }

    fn probed(
        &mut self,
        instance: &Handle,
        result: Result<(), Reason>,
        world: &mut Surroundings<'_>,
    ) {
        let Some(health) =
            self.saved.current.as_ref().and_then(|current| current.spec.health.clone())
        else {
            return;
        };
        let Stage::Running(running) = &mut self.stage else { return };
        if running.instance != *instance {
            return;
        }
        running.probing = false;
        match result {
            Ok(()) => {
                running.healthy = true;
                running.failures = 0;
                running.probe_at = world.now + health.interval_ms;
                self.reason.clear();
            }
            Err(why) => self.probe_failed(&health, &why.0, world),
        }
    }

    fn probe_failed(&mut self, health: &Health, why: &str, world: &mut Surroundings<'_>) {
        let Stage::Running(running) = &mut self.stage else { return };
        // Within the start period a failure is not counted, and the probe is repeated quickly.
        let settling = !running.healthy && world.now < running.since + health.start_period_ms;
        let interval =
            if settling { health.interval_ms.min(FIRST_PROBES) } else { health.interval_ms };
        running.probe_at = world.now + interval;
        if settling {
            return;
        }
        running.failures += 1;
        let failures = running.failures;
        let times = if failures == 1 { "once".into() } else { format!("{failures} times") };
        self.say(&format!("its probe failed {times}: {why}"));
        if failures >= health.failures {
            self.stop(Cause::Unhealthy, world);
        }
    }
}
