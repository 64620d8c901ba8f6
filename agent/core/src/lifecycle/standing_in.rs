//! The former revision in the place of one that cannot be started: its artifact is not on the
//! device, its window has not come, or its secrets cannot be opened.
//!
//! See decisions 0166 and 0178.

use std::sync::Arc;

use holdfast_protocol::workload::RestartPolicy;

use super::refresh::is_of;
use super::wait::Sort;
use super::{Surroundings, Workload, missing};
use crate::saved::Revision;
use crate::secrets::Secrets;

impl Workload {
    /// Revision to start: the goal or, while it cannot be started, the one that ran last. None:
    /// neither can be.
    pub(super) fn startable(
        &mut self,
        goal: &Revision,
        world: &Surroundings<'_>,
    ) -> Option<Revision> {
        let ready = missing(goal, world.artifacts).is_none();
        if ready && !self.hold(Sort::Switch, goal, world) && self.opens(goal, world) {
            return Some(goal.clone());
        }
        self.former(world).cloned()
    }

    /// True if nothing is gained by turning to this goal at once: another revision runs or is tried
    /// in its place, or its secrets were just found not to open.
    pub(super) fn is_blocked(&self, goal: &Revision, world: &Surroundings<'_>) -> bool {
        let cannot = missing(goal, world.artifacts).is_some()
            || self.shut(Sort::Switch, goal, world).is_some();
        let absent = || cannot && self.former(world).is_some();
        is_of(self.unopened.as_ref(), goal) || absent()
    }

    /// Revision that ran last and can be started: the current one, or the last one that worked.
    /// A job runs once, and what has ended for good is not started again for want of another.
    fn former(&self, world: &Surroundings<'_>) -> Option<&Revision> {
        if self.saved.ending.is_some() {
            return None;
        }
        let rejected = self.saved.rejected.as_ref().map(|it| &it.revision.spec);
        let opens = |secrets: &Arc<Secrets>| world.opener.open(&self.name, secrets).is_ok();
        let can_start = |revision: &&Revision| {
            revision.spec.restart.policy != RestartPolicy::Never
                && rejected != Some(&revision.spec)
                && missing(revision, world.artifacts).is_none()
                && revision.secrets.as_ref().is_none_or(opens)
        };
        [&self.saved.current, &self.saved.previous].into_iter().flatten().find(can_start)
    }
}
