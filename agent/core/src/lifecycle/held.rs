//! Windows in the life of a workload: what another revision waits for, and until when.
//!
//! A download waits for its window unless what runs, or ran last, has lost its file. The turn to
//! another revision waits for its window while a former one can run; a first start, a restart and
//! the way back to the last revision that worked do not wait. A clock that cannot be relied on holds
//! nothing back for longer than [`UNSURE`].
//!
//! See decision 0178.

use holdfast_base::ids::Digest;

use super::wait::{Held, Sort};
use super::{Stage, Surroundings, Workload};
use crate::effect::Effect;
use crate::saved::Revision;
use crate::window::{Gate, gate, words};

/// Longest wait for a window by a clock that cannot be relied on, in milliseconds: 6 hours, less
/// than a working day, so that a device that is switched off each night gets ahead too.
const UNSURE: u64 = 6 * 3_600_000;

impl Workload {
    /// Digest of what is being fetched for the workload.
    pub(crate) fn fetching(&self) -> Option<Digest> {
        match self.stage {
            Stage::Fetching(digest) => Some(digest),
            _ => self.prefetching,
        }
    }

    /// Wait of a revision for a window. None: it waits for none.
    pub(super) fn shut(
        &self,
        sort: Sort,
        goal: &Revision,
        world: &Surroundings<'_>,
    ) -> Option<Held> {
        let (windows, name) = match sort {
            Sort::Download => (&self.windows.download, "download"),
            Sort::Switch => (&self.windows.switch, "switch"),
        };
        let goes_back = self.saved.previous.as_ref().is_some_and(|it| it.spec == goal.spec);
        let begins = sort == Sort::Switch && self.saved.current.is_none();
        if windows.is_empty() || goes_back || begins || self.is_current(goal) {
            return None;
        }
        let Some(seconds) = world.wall.seconds(world.now) else {
            let until = self.unsure_since.unwrap_or(world.now).saturating_add(UNSURE);
            let said = format!(
                "revision {} waits for its {name} window: the device's clock cannot be relied on, so it goes on after at most 6 hours",
                goal.number
            );
            return (world.now < until).then_some(Held { said, until });
        };
        let Gate::Shut { opens } = gate(windows, world.wall.zone(), seconds) else { return None };
        let said = format!(
            "revision {} waits for its {name} window: {}",
            goal.number,
            words(opens, world.wall.zone())
        );
        Some(Held { said, until: world.wall.uptime_at(opens, world.now) })
    }

    /// True if a revision has to wait for a window, which is then taken down.
    pub(super) fn hold(&mut self, sort: Sort, goal: &Revision, world: &Surroundings<'_>) -> bool {
        let held = self.shut(sort, goal, world);
        let is_held = held.is_some();
        if is_held {
            self.held = held;
        }
        is_held
    }

    /// Notes the window that a revision waits for while a former one backs off, for people.
    pub(super) fn note_wait(&mut self, goal: &Revision, world: &Surroundings<'_>) {
        let missing = super::missing(goal, world.artifacts).is_some();
        self.hold(if missing { Sort::Download } else { Sort::Switch }, goal, world);
    }

    /// Stops a download at the end of its window. What has come stays.
    pub(super) fn pause_fetching(&mut self, digest: Digest, world: &mut Surroundings<'_>) {
        self.progress = None;
        // It may tell of a try that is over.
        self.reason.clear();
        world.out.push(Effect::Pause(digest));
    }

    /// Begins a look at the windows: what waits for one finds it out anew.
    pub(super) fn look_at_clock(&mut self, world: &Surroundings<'_>) {
        self.held = None;
        let unsure = world.wall.seconds(world.now).is_none();
        self.unsure_since = unsure.then(|| self.unsure_since.unwrap_or(world.now));
    }

    /// Ends a look at the windows: stops a download whose window is over, at whatever stage the
    /// former revision is, and notes when the windows are to be looked at again.
    pub(super) fn plan_look(&mut self, world: &mut Surroundings<'_>) {
        let under_way = self.prefetching.is_some() || self.stale.is_some();
        if under_way
            && let Some(goal) = self.goal().cloned()
            && self.hold(Sort::Download, &goal, world)
        {
            for digest in [self.prefetching.take(), self.stale.take()].into_iter().flatten() {
                self.pause_fetching(digest, world);
            }
        }
        let ends = || match gate(
            &self.windows.download,
            world.wall.zone(),
            world.wall.seconds(world.now)?,
        ) {
            Gate::Open { until } => Some(world.wall.uptime_at(until?, world.now)),
            Gate::Shut { .. } => None,
        };
        self.look_at = match &self.held {
            Some(held) => Some(held.until),
            None if self.fetching().is_some() || self.stale.is_some() => ends(),
            None => None,
        };
    }
}

#[cfg(test)]
mod tests;
