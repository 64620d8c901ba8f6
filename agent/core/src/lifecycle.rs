//! Lifecycle of one workload on its device, as an exhaustive state machine.
//!
//! ```text
//!            ┌──────────────── goal changed, or time to try again ◄──────────────┐
//!            ▼                                                                    │
//!   Idle ─► Fetching ─► Preparing ─► Saving ─► Starting ─► Running ─► Stopping ─► Sweeping
//!     │        (artifact)  (runs not yet) (on disk)                │                  │
//!     │                                                          └── it ended ──────┤
//!     └─► Removing                              Done ◄── its policy says so ◄───────┤
//!                                               Waiting (back-off) ◄────────────────┘
//! ```
//!
//! Every step can be repeated: after a crash between any two, the plan is made afresh from the
//! saved state and from what is found on the machine. The old revision is stopped only when
//! everything that the new one needs is on the device.
//!
//! While what is wanted cannot be started, because its artifact is not on the device or its secrets
//! cannot be opened, the former revision goes on running, and is started again after a crash or a
//! reboot.
//!
//! Another revision is fetched, and turned to, within its windows (`held.rs`).
//!
//! See decisions 0002, 0008, 0010, 0023, 0115, 0116, 0162, 0166 and 0178.

mod back;
mod held;
mod outcome;
mod outlook;
mod refresh;
mod sealed;
mod standing_in;
mod wait;

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_base::ids::{Digest, Name};
use holdfast_protocol::message::{MAX_REASON, Progress};
use holdfast_protocol::workload::{RestartPolicy, Windows, WorkloadSpec};

use super::backoff::Entropy;
use super::effect::Effect;
use super::need::{self, Need};
use super::restart::NotRestarted;
use super::runtime::{Halt, Handle, RuntimeKind};
use super::saved::{Exit, Revision, SavedWorkload};
use super::secrets::{Opener, Secrets};
use super::window::Wall;
use refresh::Refresh;
use wait::{Held, Sort};

/// Time after which a running workload without a probe counts as working, in milliseconds.
const PROVEN_AFTER: u64 = 10_000;
/// Number of failures in a row after which a revision that never worked is given up for the one
/// before.
const TRIES: u32 = 3;
/// First pause between two sweeps of a workload, in milliseconds; it doubles.
const SWEEP_FIRST: u64 = 50;
/// Longest pause between two sweeps, in milliseconds: within the stop's grace, and after the kill.
/// Each sweep reads all of `/proc`, and what cannot be killed may stay for ever.
const SWEEP_LONGEST: (u64, u64) = (400, 5_000);
/// Pause between two sweeps, in milliseconds, from which processes that survive the kill are
/// reported as the reason.
const SWEEP_TOLD: u64 = 800;
/// Longest interval of a probe until its first success, in milliseconds, so that a quick start is
/// seen quickly.
const FIRST_PROBES: u64 = 500;
/// First and longest back-off after a failure to start at all (no such file, no space), in
/// milliseconds.
const START_RETRY: (u64, u64) = (1_000, 15_000);

/// Reason for which a process is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Another revision is to run, or none.
    Goal,
    /// The health probe fails.
    Unhealthy,
}

/// Step after a sweep that found nothing alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Plan afresh from the saved state.
    Plan,
    /// Decide by the restart policy, because the process ended by itself (Some) or failed its probe
    /// (None).
    Judge(Option<Exit>),
}

/// State of a workload whose program executes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Running {
    instance: Handle,
    since: u64,
    healthy: bool,
    failures: u32,
    probe_at: u64,
    probing: bool,
}

/// Specification of a revision, with epoch and version of its secrets.
type Tried = (Arc<WorkloadSpec>, Option<(u64, u64)>);

fn tried(revision: &Revision) -> Tried {
    (Arc::clone(&revision.spec), revision.said())
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Idle,
    /// Nothing of it runs, and what it needs may not be downloaded before its window.
    Held,
    Fetching(Digest),
    Preparing(Revision),
    Saving(Handle),
    Starting(Handle),
    Running(Running),
    Stopping {
        instance: Handle,
        deadline: u64,
        killed: bool,
        cause: Cause,
    },
    Sweeping {
        /// Runtimes that may have something of the workload. Empty: all.
        runtimes: BTreeSet<RuntimeKind>,
        last: Option<Handle>,
        deadline: u64,
        look_at: u64,
        looking: bool,
        /// Pause after the next sweep, in milliseconds.
        pause: u64,
        /// True once the remaining processes were sent SIGKILL.
        killed: bool,
        /// Number of processes that survived SIGKILL for long enough to be reported; else 0.
        unkillable: usize,
        then: Then,
    },
    Waiting {
        until: u64,
        /// What failed: anything else is tried at once. None: secrets that could not be opened.
        tried: Option<Tried>,
    },
    Done(Exit),
    Removing,
    /// The folder could not be removed; tried again at `until`.
    Stuck {
        until: u64,
    },
    Gone,
}

/// What the desired state says of one workload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// Revision that should run. None: the workload is to be removed.
    pub(super) revision: Option<Revision>,
    /// True if it is to be stopped and not started.
    pub(super) paused: bool,
    /// Times at which another revision is fetched, and turned to.
    pub(super) windows: Windows,
}

/// Inputs and outputs of a step beside the workload itself.
pub(super) struct Surroundings<'a> {
    pub(super) now: u64,
    pub(super) artifacts: &'a BTreeSet<Digest>,
    pub(super) entropy: &'a mut Entropy,
    pub(super) opener: &'a dyn Opener,
    pub(super) wall: &'a Wall,
    pub(super) out: &'a mut Vec<Effect>,
}

/// State machine of one workload.
#[derive(Debug, Clone)]
pub(super) struct Workload {
    name: Name,
    wanted: Option<Revision>,
    saved: SavedWorkload,
    stage: Stage,
    reason: String,
    /// Number of failures in a row.
    failures: u32,
    /// True if the last start failed before the program executed.
    broken: bool,
    /// Artifact that is fetched while the former revision still runs.
    prefetching: Option<Digest>,
    /// Artifact whose download was under way when something else came to be wanted. It may go on, or
    /// be given up.
    stale: Option<Digest>,
    /// True while the desired state has the workload paused: it is stopped and not started.
    paused: bool,
    /// True until the stop and start that an operator asked for has begun its start.
    again: bool,
    /// True if the start under way was asked for by an operator: it is not counted as a restart.
    uncounted: bool,
    /// Secrets that cannot be opened or given to the workload, with the reason.
    unopened: Option<(Arc<Secrets>, String)>,
    /// Replacement of the secrets' files in the running instance.
    refresh: Refresh,
    /// Windows of the wanted revision.
    windows: Windows,
    /// Window that the wanted revision waits for.
    held: Option<Held>,
    /// Time since which the clock cannot be relied on while there are windows; milliseconds.
    unsure_since: Option<u64>,
    /// Time at which the windows are looked at again, in milliseconds.
    look_at: Option<u64>,
    /// Progress of the download, once it takes long.
    progress: Option<Progress>,
}

impl Workload {
    /// Creates a workload from its saved state, with nothing running.
    pub(super) fn new(name: Name, saved: SavedWorkload) -> Self {
        let stage = saved.ending.map_or(Stage::Idle, Stage::Done);
        Self {
            name,
            wanted: None,
            saved,
            stage,
            reason: String::new(),
            failures: 0,
            broken: false,
            prefetching: None,
            stale: None,
            paused: false,
            again: false,
            uncounted: false,
            unopened: None,
            refresh: Refresh::None,
            windows: Windows::default(),
            held: None,
            unsure_since: None,
            look_at: None,
            progress: None,
        }
    }

    /// Takes over an instance that runs already.
    pub(super) fn adopt(&mut self, instance: Handle, world: &mut Surroundings<'_>) {
        world.out.push(Effect::Watch { name: self.name.clone(), instance: instance.clone() });
        if self.saved.instance.as_ref() != Some(&instance) {
            self.saved.instance = Some(instance.clone());
            self.persist(world);
        }
        self.run(instance, self.saved.proven, world.now);
    }

    /// Ends everything of the workload before it can start; `last` was its instance, and `runtimes`
    /// have something of it. `unstarted`: `last` is known not to have run.
    pub(super) fn sweep_first(
        &mut self,
        last: Option<Handle>,
        unstarted: bool,
        runtimes: BTreeSet<RuntimeKind>,
        world: &mut Surroundings<'_>,
    ) {
        // `never` is a promise: whatever happened to an instance that may have run, in this boot or
        // in one before, the job is not started again.
        let then = match &last {
            Some(_) if self.is_job() && !unstarted => Then::Judge(Some(Exit::Unseen)),
            _ => Then::Plan,
        };
        self.sweep(runtimes, last, 0, then, world);
    }

    /// True if the restart policy is `never`: the workload is started once, whatever the result.
    fn is_job(&self) -> bool {
        let current = self.saved.current.as_ref();
        current.is_some_and(|current| current.spec.restart.policy == RestartPolicy::Never)
    }

    pub(super) fn want(&mut self, wish: Wish) {
        let Wish { revision: wanted, paused, windows } = wish;
        self.windows = windows;
        if wanted == self.wanted && paused == self.paused {
            return;
        }
        let same = |a: &Option<Revision>, b: &Option<Revision>| match (a, b) {
            (Some(a), Some(b)) => a.spec == b.spec,
            (a, b) => a.is_none() && b.is_none(),
        };
        let other = !same(&wanted, &self.wanted) || paused != self.paused;
        if other && self.wanted.is_some() {
            self.failures = 0;
            self.broken = false;
            self.reason.clear();
            // A download of the former revision may have been given up: it is asked for again.
            self.stale = self.fetching();
            self.prefetching = None;
            self.progress = None;
            self.unsure_since = None;
            self.again = false;
        }
        if self.wanted != wanted {
            self.unopened = None;
            if let Refresh::Failed { .. } = self.refresh {
                self.refresh = Refresh::None;
            }
        }
        self.wanted = wanted;
        self.paused = paused;
    }

    /// Stops the workload and starts it again without waiting for a back-off. A start that is under
    /// way already is not repeated.
    pub(super) fn restart(&mut self, artifacts: &BTreeSet<Digest>) -> Result<(), NotRestarted> {
        let Some(goal) = self.goal() else { return Err(NotRestarted::BeingRemoved) };
        if self.paused {
            return Err(NotRestarted::Paused);
        }
        if missing(goal, artifacts).is_some() {
            return Err(NotRestarted::NoArtifact);
        }
        self.failures = 0;
        self.again = matches!(
            self.stage,
            Stage::Running(_)
                | Stage::Stopping { .. }
                | Stage::Sweeping { .. }
                | Stage::Waiting { .. }
                | Stage::Done(_)
        );
        Ok(())
    }

    pub(super) fn wanted(&self) -> Option<&Revision> {
        self.wanted.as_ref()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.stage == Stage::Gone
    }

    pub(super) fn saved(&self) -> &SavedWorkload {
        &self.saved
    }

    /// Revision that should run now: the wanted one, unless it was given up for the one before.
    fn goal(&self) -> Option<&Revision> {
        let wanted = self.wanted.as_ref()?;
        match (&self.saved.rejected, &self.saved.previous, &self.saved.current) {
            (Some(rejected), previous, current) if rejected.revision.is_same(wanted) => {
                previous.as_ref().or(current.as_ref())
            }
            _ => Some(wanted),
        }
    }

    /// Digests of all artifacts that must stay on the device for this workload.
    pub(super) fn artifacts(&self) -> impl Iterator<Item = Digest> + '_ {
        let revisions = [&self.wanted, &self.saved.current, &self.saved.previous];
        revisions.into_iter().flatten().flat_map(|revision| need::kept(&revision.spec.run))
    }

    /// Takes steps until the workload has to wait for something.
    pub(super) fn advance(&mut self, world: &mut Surroundings<'_>) {
        self.look_at_clock(world);
        // The bound is a safeguard: each step goes on to another stage, with a few in a row at most.
        for _ in 0..8 {
            if !self.step(world) {
                break;
            }
        }
        self.plan_look(world);
    }

    /// Takes one step. Returns true if another one may follow at once.
    fn step(&mut self, world: &mut Surroundings<'_>) -> bool {
        let goal = self.goal().cloned();
        let now = world.now;
        if goal.is_some()
            && let Some(more) = self.obey(world)
        {
            return more;
        }
        match (&mut self.stage, goal) {
            (
                Stage::Preparing(_)
                | Stage::Saving(_)
                | Stage::Starting(_)
                | Stage::Removing
                | Stage::Gone,
                _,
            ) => false,
            (
                Stage::Idle
                | Stage::Held
                | Stage::Fetching(_)
                | Stage::Waiting { .. }
                | Stage::Done(_),
                None,
            ) => {
                world.out.push(Effect::Remove { name: self.name.clone() });
                self.stage = Stage::Removing;
                false
            }
            (Stage::Idle | Stage::Held, Some(goal)) => self.begin(goal, world),
            (Stage::Fetching(digest), Some(goal)) => {
                let digest = *digest;
                self.keep_fetching(digest, &goal, world)
            }
            (Stage::Stuck { until }, _) => {
                let over = now >= *until;
                if over {
                    self.stage = Stage::Idle;
                }
                over
            }
            (Stage::Waiting { until, tried }, Some(goal)) => {
                let other = tried.as_ref() != Some(&self::tried(&goal));
                let over = now >= *until || (other && !self.is_blocked(&goal, world));
                if over {
                    self.stage = Stage::Idle;
                } else if other {
                    self.note_wait(&goal, world);
                }
                over
            }
            (Stage::Done(_), Some(goal)) => {
                let other = !self.is_current(&goal);
                let over = other && !self.hold(Sort::Switch, &goal, world);
                if over {
                    self.stage = Stage::Idle;
                } else if !other {
                    // They are opened when it is started again.
                    self.take_over(&goal, world);
                }
                over
            }
            (Stage::Running(_), goal) => self.keep_running(goal, world),
            (Stage::Stopping { .. }, _) => self.keep_stopping(world),
            (Stage::Sweeping { .. }, _) => self.keep_sweeping(world),
        }
    }

    /// Goes on with a download while it is needed and its window lasts.
    fn keep_fetching(
        &mut self,
        digest: Digest,
        goal: &Revision,
        world: &mut Surroundings<'_>,
    ) -> bool {
        let needed = need::digests(&goal.spec.run).any(|needed| needed == digest);
        let over = !needed || world.artifacts.contains(&digest);
        if !needed {
            self.stale = Some(digest);
        }
        let shut = !over && self.hold(Sort::Download, goal, world);
        if shut {
            self.pause_fetching(digest, world);
        }
        if over || shut {
            self.stage = Stage::Idle;
        }
        over || shut
    }

    /// Acts on an operator's pause or restart. None: they ask for nothing at this stage.
    fn obey(&mut self, world: &mut Surroundings<'_>) -> Option<bool> {
        match &self.stage {
            Stage::Idle if self.paused => {
                if !self.saved.paused {
                    // Nothing of it runs. The saved end is cleared, so that a job too starts when
                    // it is resumed.
                    self.saved.instance = None;
                    self.saved.ending = None;
                    self.saved.paused = true;
                    self.persist(world);
                }
                Some(false)
            }
            Stage::Running(_) if self.paused || self.again => {
                self.stop(Cause::Goal, world);
                Some(false)
            }
            Stage::Fetching(digest) if self.paused => {
                self.stale = Some(*digest);
                Some(self.plan())
            }
            Stage::Held if self.paused => Some(self.plan()),
            Stage::Waiting { .. } if self.paused || self.again => Some(self.plan()),
            Stage::Done(_) if self.again => Some(self.plan()),
            _ => None,
        }
    }

    fn plan(&mut self) -> bool {
        self.stage = Stage::Idle;
        true
    }

    fn is_current(&self, goal: &Revision) -> bool {
        self.saved.current.as_ref().is_some_and(|current| current.spec == goal.spec)
    }

    /// Takes over another revision number, and other secrets, of the same specification without a
    /// restart. Secrets that were only sealed anew are worth no write to the disk.
    fn take_over(&mut self, goal: &Revision, world: &mut Surroundings<'_>) {
        let Some(current) = &mut self.saved.current else { return };
        let is_same = current.is_same(goal);
        current.number = goal.number;
        current.secrets.clone_from(&goal.secrets);
        if !is_same {
            self.persist(world);
        }
    }

    fn begin(&mut self, goal: Revision, world: &mut Surroundings<'_>) -> bool {
        let missing = missing(&goal, world.artifacts);
        let (wanted, ending) = (goal.clone(), self.saved.ending);
        let goal = match self.startable(&goal, world) {
            Some(startable) => startable,
            None if missing.is_none() => match ending {
                // What has ended for good stays so until the window of the next.
                Some(exit) if self.hold(Sort::Switch, &goal, world) => {
                    // A restart that was asked for is over: there is nothing that it could start.
                    self.again = false;
                    self.stage = Stage::Done(exit);
                    return false;
                }
                _ => goal,
            },
            None => {
                let Some(missing) = missing else { return false };
                if self.hold(Sort::Download, &goal, world) {
                    self.stage = Stage::Held;
                    return false;
                }
                self.stage = Stage::Fetching(missing.digest());
                world.out.push(Effect::Fetch(missing));
                return false;
            }
        };
        if let Some(missing) = missing {
            self.prefetch(missing, &wanted, world);
        }
        let stale_config = match &self.saved.current {
            Some(current) => {
                let kept = |path: &&String| !goal.spec.config.contains_key(*path);
                current.spec.config.keys().filter(kept).cloned().collect()
            }
            None => Vec::new(),
        };
        let version = |of: &Revision| of.secrets.as_ref().map(|secrets| secrets.sealed.version);
        // A start for other values of secrets is no restart that somebody should worry about.
        let rotated =
            self.saved.current.as_ref().is_some_and(|current| {
                current.spec == goal.spec && version(current) != version(&goal)
            });
        self.uncounted = std::mem::take(&mut self.again) || self.saved.paused || rotated;
        world.out.push(Effect::Prepare {
            name: self.name.clone(),
            revision: goal.clone(),
            nonce: goal.nonce(world.entropy.draw()),
            stale_config,
        });
        self.stage = Stage::Preparing(goal);
        false
    }

    fn keep_running(&mut self, goal: Option<Revision>, world: &mut Surroundings<'_>) -> bool {
        let Some(goal) = goal else {
            self.stop(Cause::Goal, world);
            return false;
        };
        // What runs is watched as long as it runs, whatever is to follow it.
        self.watch(world);
        if self.is_current(&goal) {
            // A download of a revision that is not wanted any more is given up.
            self.prefetching = None;
            return self.follow_secrets(&goal, world);
        }
        if let Some(missing) = missing(&goal, world.artifacts) {
            // The old revision runs until everything that the new one needs is on the device.
            self.prefetch(missing, &goal, world);
        } else if !self.hold(Sort::Switch, &goal, world) && self.opens(&goal, world) {
            self.stop(Cause::Goal, world);
        }
        false
    }

    /// Asks for the probe that is due, and takes down that the current revision works.
    fn watch(&mut self, world: &mut Surroundings<'_>) {
        let Stage::Running(running) = &mut self.stage else { return };
        let Some(current) = &self.saved.current else { return };
        let lasts = running.healthy && world.now >= running.since + PROVEN_AFTER;
        let proven =
            !self.saved.proven && running.healthy && (current.spec.health.is_some() || lasts);
        if lasts {
            self.failures = 0;
        }
        if let Some(health) = &current.spec.health
            && !running.probing
            && world.now >= running.probe_at
        {
            running.probing = true;
            world.out.push(Effect::Probe {
                name: self.name.clone(),
                instance: running.instance.clone(),
                probe: health.probe.clone(),
                spec: Arc::clone(&current.spec),
                secrets: current.secrets.clone(),
                timeout_ms: health.timeout_ms,
            });
        }
        if proven {
            self.saved.proven = true;
            self.saved.previous = None;
            self.persist(world);
        }
    }

    /// Asks for what `goal` needs while another revision runs, once, within its windows.
    fn prefetch(&mut self, missing: Need, goal: &Revision, world: &mut Surroundings<'_>) {
        // What is under way outside of the windows is stopped at the end of this look.
        let waits = self.hold(Sort::Download, goal, world);
        if !waits && self.prefetching != Some(missing.digest()) {
            self.prefetching = Some(missing.digest());
            world.out.push(Effect::Fetch(missing));
        }
    }

    /// Sends the stop signal to the running process and begins its grace.
    fn stop(&mut self, cause: Cause, world: &mut Surroundings<'_>) {
        let Stage::Running(running) = &self.stage else { return };
        let instance = running.instance.clone();
        let stop = self.saved.current.as_ref().map(|current| current.spec.stop).unwrap_or_default();
        self.prefetching = None;
        self.refresh = Refresh::None;
        world.out.push(Effect::Stop {
            name: self.name.clone(),
            instance: instance.clone(),
            how: Halt::Ask(stop),
        });
        let deadline = world.now.saturating_add(stop.grace_ms);
        self.stage = Stage::Stopping { instance, deadline, killed: false, cause };
    }

    fn keep_stopping(&mut self, world: &mut Surroundings<'_>) -> bool {
        let Stage::Stopping { instance, deadline, killed, .. } = &mut self.stage else {
            return false;
        };
        if world.now >= *deadline && !*killed {
            *killed = true;
            let (name, instance) = (self.name.clone(), instance.clone());
            world.out.push(Effect::Stop { name, instance, how: Halt::Kill });
        }
        false
    }

    /// Sweeps what the runtime of an instance that has ended, or is not to start, has of the
    /// workload.
    fn sweep_after(
        &mut self,
        last: Handle,
        deadline: u64,
        then: Then,
        world: &mut Surroundings<'_>,
    ) {
        let runtimes = BTreeSet::from([last.runtime.clone()]);
        self.sweep(runtimes, Some(last), deadline, then, world);
    }

    fn sweep(
        &mut self,
        runtimes: BTreeSet<RuntimeKind>,
        last: Option<Handle>,
        deadline: u64,
        then: Then,
        world: &mut Surroundings<'_>,
    ) {
        self.stage = Stage::Sweeping {
            runtimes,
            last,
            deadline,
            look_at: world.now,
            looking: false,
            pause: SWEEP_FIRST,
            killed: false,
            unkillable: 0,
            then,
        };
        self.keep_sweeping(world);
    }

    fn keep_sweeping(&mut self, world: &mut Surroundings<'_>) -> bool {
        let Stage::Sweeping { runtimes, last, deadline, look_at, looking, pause, killed, .. } =
            &mut self.stage
        else {
            return false;
        };
        if !*looking && world.now >= *look_at {
            *looking = true;
            let kill = world.now >= *deadline;
            if kill && !*killed {
                *killed = true;
                *pause = SWEEP_FIRST;
            }
            world.out.push(Effect::Sweep {
                name: self.name.clone(),
                runtimes: runtimes.clone(),
                last: last.clone(),
                spare: None,
                kill,
            });
        }
        false
    }

    fn persist(&self, world: &mut Surroundings<'_>) {
        let saved = Box::new(self.saved.clone());
        world.out.push(Effect::Save { name: self.name.clone(), saved });
    }

    fn say(&mut self, why: &str) {
        self.reason = clip(why);
    }
}

fn missing(revision: &Revision, present: &BTreeSet<Digest>) -> Option<Need> {
    need::needs(&revision.spec.run).find(|needed| !present.contains(&needed.digest()))
}

/// Cuts a text to at most [`MAX_REASON`] bytes, between two characters.
fn clip(text: &str) -> String {
    let mut end = MAX_REASON.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
