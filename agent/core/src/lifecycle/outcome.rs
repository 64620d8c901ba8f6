//! What came of what was done: the step that each observation takes a workload on, and what a
//! failure costs it.
//! See decisions 0010 and 0023.

use std::sync::Arc;

use holdfast_protocol::workload::{Health, RestartPolicy, WorkloadSpec};

use super::{
    Cause, FIRST_PROBES, Running, START_RETRY, SWEEP_LONGEST, SWEEP_TOLD, Stage, Surroundings,
    TRIES, Then, Workload,
};
use crate::backoff;
use crate::effect::{Effect, Observed};
use crate::record::{Exit, Instance, Record, Rejected, Revision};

impl Workload {
    /// Takes in what happened.
    pub(crate) fn observe(&mut self, observed: Observed, world: &mut Surroundings<'_>) {
        match observed {
            Observed::Fetched(digest) => {
                if self.prefetching == Some(digest) {
                    self.prefetching = None;
                }
                if self.stage == Stage::Fetching(digest) {
                    self.reason.clear();
                }
            }
            Observed::FetchTrouble(digest, why) => {
                if self.stage == Stage::Fetching(digest) || self.prefetching == Some(digest) {
                    self.say(&why);
                }
            }
            Observed::Launched(_, Ok(instance)) => self.launched(instance, world),
            Observed::Launched(_, Err(why)) => self.not_launched(&why, false, world),
            Observed::Unfit(_, why) => self.not_launched(&why, true, world),
            Observed::Missing(_, digest) => {
                let why = format!("artifact {digest} is gone from the disk: it is fetched again");
                self.not_launched(&why, false, world);
            }
            Observed::Recorded(..) => {
                if let Stage::Recording(instance) = &self.stage {
                    // Not stored (the disk is full): it runs all the same, and is found again by
                    // its environment.
                    let instance = instance.clone();
                    let name = self.name.clone();
                    world.out.push(Effect::Open { name, instance: instance.clone() });
                    self.stage = Stage::Opening(instance);
                }
            }
            Observed::Opened(_, instance, result) => self.opened(&instance, result, world),
            Observed::Exited(_, instance, exit) => self.exited(&instance, exit, world),
            Observed::Probed(_, instance, result) => self.probed(&instance, result, world),
            Observed::LeftBehind(_, left) => self.left_behind(left),
            Observed::Swept(_, left) => self.swept(left, world),
            // The device's, not one workload's.
            Observed::Census(_) | Observed::Blind => {}
            Observed::Removed(..) if self.stage != Stage::Removing => {}
            Observed::Removed(_, Ok(())) => {
                self.record = Record::default();
                self.stage = if self.wanted.is_some() { Stage::Idle } else { Stage::Gone };
            }
            Observed::Removed(_, Err(why)) => {
                self.say(&format!("its folder cannot be removed: {why}"));
                self.stage = Stage::Stuck { until: world.now + START_RETRY.1 };
            }
        }
    }

    fn launched(&mut self, instance: Instance, world: &mut Surroundings<'_>) {
        let Stage::Launching(revision) = &self.stage else { return };
        let revision = revision.clone();
        if self.paused || self.goal().is_none_or(|goal| goal.spec != revision.spec) {
            // Something else is wanted by now: it ends before it has begun.
            return self.sweep(Some(instance), 0, Then::Plan, world);
        }
        self.broken = false;
        if self.is_current(&revision) {
            let counts = u32::from(!self.uncounted);
            self.record.restarts = self.record.restarts.saturating_add(counts);
            if let Some(current) = &mut self.record.current {
                current.number = revision.number;
            }
        } else {
            let back = self.record.previous.as_ref().is_some_and(|it| it.spec == revision.spec);
            let former = self.record.current.replace(revision);
            if back {
                self.record.previous = None;
            } else if self.record.proven {
                self.record.previous = former;
            }
            self.record.proven = back;
            self.record.restarts = 0;
        }
        self.record.ending = None;
        self.record.paused = false;
        self.record.instance = Some(instance.clone());
        self.stage = Stage::Recording(instance);
        self.persist(world);
    }

    /// It did not even come to the gate. `unfit`: because of what the revision asks for.
    fn not_launched(&mut self, why: &str, unfit: bool, world: &mut Surroundings<'_>) {
        let Stage::Launching(revision) = &self.stage else { return };
        let revision = revision.clone();
        self.broken = true;
        self.say(why);
        self.failures = self.failures.saturating_add(1);
        let has_good = self.record.previous.is_some() || self.record.proven;
        if unfit && has_good && self.failures >= TRIES && !self.is_current(&revision) {
            return self.give_up(revision, world);
        }
        self.retry(Some(revision.spec), START_RETRY, world);
    }

    /// Leaves this revision for the last one that worked.
    fn give_up(&mut self, failed: Revision, world: &mut Surroundings<'_>) {
        let why = std::mem::take(&mut self.reason);
        self.record.rejected = Some(Rejected { revision: failed, why });
        self.failures = 0;
        self.broken = false;
        self.stage = Stage::Idle;
        self.persist(world);
    }

    fn opened(
        &mut self,
        instance: &Instance,
        result: Result<(), String>,
        world: &mut Surroundings<'_>,
    ) {
        if self.stage != Stage::Opening(instance.clone()) {
            return;
        }
        match result {
            Ok(()) => self.run(instance.clone(), false, world.now),
            Err(why) => {
                self.record.instance = None;
                if self.is_job() {
                    // It has not run: after a restart of the agent it may still be started.
                    self.persist(world);
                }
                self.cannot_start(&why, world);
            }
        }
    }

    pub(super) fn run(&mut self, instance: Instance, healthy: bool, now: u64) {
        let probed =
            self.record.current.as_ref().is_some_and(|current| current.spec.health.is_some());
        self.reason.clear();
        self.stage = Stage::Running(Running {
            instance,
            since: now,
            healthy: healthy || !probed,
            failures: 0,
            probe_at: now,
            probing: false,
        });
    }

    fn exited(&mut self, instance: &Instance, exit: Exit, world: &mut Surroundings<'_>) {
        match &self.stage {
            Stage::Running(running) if running.instance == *instance => {
                self.say(&exit.to_string());
                self.sweep(Some(instance.clone()), 0, Then::Judge(Some(exit)), world);
            }
            Stage::Recording(it) | Stage::Opening(it) if it == instance => {
                self.say(&exit.to_string());
                self.sweep(Some(instance.clone()), 0, Then::Judge(Some(exit)), world);
            }
            Stage::Stopping { instance: it, deadline, cause, .. } if it == instance => {
                let (deadline, cause) = (*deadline, *cause);
                let then = match cause {
                    Cause::Goal => Then::Plan,
                    Cause::Unhealthy => Then::Judge(None),
                };
                self.sweep(Some(instance.clone()), deadline, then, world);
            }
            _ => {}
        }
    }

    /// It ended by itself and something of it went on. Said once: the sweep looks again.
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

    /// It ended by itself (or, without `exit`, was stopped for its health): what now?
    fn judge(&mut self, exit: Option<Exit>, world: &mut Surroundings<'_>) {
        let Some(current) = self.record.current.clone() else {
            self.stage = Stage::Idle;
            return;
        };
        let over = match (current.spec.restart.policy, exit) {
            (RestartPolicy::Never, _) => true,
            (RestartPolicy::OnFailure, Some(exit)) => exit.is_success(),
            (RestartPolicy::OnFailure, None) | (RestartPolicy::Always, _) => false,
        };
        self.record.instance = None;
        if over {
            let exit = exit.unwrap_or(Exit::Unseen);
            self.record.ending = Some(exit);
            self.record.proven |= exit.is_success();
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

    /// Counts a failure, and waits for the next try: of this revision, or of the one before.
    fn wait(&mut self, initial: u64, max: u64, world: &mut Surroundings<'_>) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= TRIES
            && !self.record.proven
            && !self.is_job()
            && self.record.previous.is_some()
            && let Some(failed) = self.record.current.clone()
        {
            return self.give_up(failed, world);
        }
        let tried = self.record.current.as_ref().map(|current| Arc::clone(&current.spec));
        self.retry(tried, (initial, max), world);
    }

    /// Waits before `tried` is tried again.
    fn retry(
        &mut self,
        tried: Option<Arc<WorkloadSpec>>,
        (initial, max): (u64, u64),
        world: &mut Surroundings<'_>,
    ) {
        let delay = backoff::delay(self.failures, initial, max, world.entropy);
        self.stage = Stage::Waiting { until: world.now.saturating_add(delay), tried };
    }

    fn probed(
        &mut self,
        instance: &Instance,
        result: Result<(), String>,
        world: &mut Surroundings<'_>,
    ) {
        let Some(health) =
            self.record.current.as_ref().and_then(|current| current.spec.health.clone())
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
            Err(why) => self.probe_failed(&health, &why, world),
        }
    }

    fn probe_failed(&mut self, health: &Health, why: &str, world: &mut Surroundings<'_>) {
        let Stage::Running(running) = &mut self.stage else { return };
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
