//! Secrets in the life of a workload: what is started while they cannot be opened, and what a change
//! of theirs does to an instance that runs.
//!
//! See decision 0162.

use std::sync::Arc;

use super::refresh::{Refresh, is_of};
use super::{START_RETRY, Stage, Surroundings, Workload, clip};
use crate::effect::Effect;
use crate::runtime::{Handle, Reason};
use crate::saved::Revision;
use crate::secrets::{Secrets, Turn, turn};

impl Workload {
    /// True if the current revision has the specification and the secrets of this one.
    pub(super) fn follows(&self, goal: &Revision) -> bool {
        let current = self.saved.current.as_ref();
        current.is_some_and(|it| it.spec == goal.spec && it.secrets == goal.secrets)
    }

    /// Reason for which secrets cannot be opened or given to the workload.
    pub(crate) fn unopened(&self) -> Option<&str> {
        self.unopened.as_ref().map(|(_, why)| why.as_str())
    }

    /// Reason for which the workload runs with other secrets than it should; empty: it does not.
    pub(super) fn secrets_trouble(&self) -> String {
        match (&self.unopened, &self.refresh) {
            (Some((_, why)), _) => clip(&format!(
                "it goes on as it was, because the secrets of what it should be cannot be used: {why}"
            )),
            (None, Refresh::Failed { why, .. }) => {
                clip(&format!("its secrets cannot be replaced while it runs: {why}"))
            }
            (None, _) => String::new(),
        }
    }

    /// True if the secrets of a revision can be opened. If not, the reason is kept, and they are not
    /// tried again.
    pub(super) fn opens(&mut self, revision: &Revision, world: &Surroundings<'_>) -> bool {
        let Some(secrets) = &revision.secrets else { return true };
        if is_of(self.unopened.as_ref(), revision) {
            return false;
        }
        match world.opener.open(&self.name, secrets) {
            Ok(_dropped) => true,
            Err(why) => {
                self.unopened = Some((Arc::clone(secrets), clip(&why.0)));
                false
            }
        }
    }

    /// Follows another number or other secrets of the specification that runs. Returns true if
    /// another step may follow at once.
    pub(super) fn follow_secrets(&mut self, goal: &Revision, world: &mut Surroundings<'_>) -> bool {
        let Stage::Running(running) = &self.stage else { return false };
        let instance = running.instance.clone();
        if self.follows(goal) {
            self.take_over(goal, world);
            return false;
        }
        let waits = match &self.refresh {
            Refresh::UnderWay(_) => true,
            Refresh::Failed { until, .. } => world.now < *until,
            Refresh::None => false,
        };
        if waits || is_of(self.unopened.as_ref(), goal) {
            return false;
        }
        let current = self.saved.current.as_ref().and_then(|current| current.secrets.as_deref());
        match turn(world.opener, &self.name, current, goal.secrets.as_deref()) {
            Ok(Turn::Keep) => {
                self.take_over(goal, world);
                false
            }
            // A job runs once, whatever becomes of its secrets.
            Ok(Turn::Restart) if self.is_job() => {
                self.take_over(goal, world);
                false
            }
            Ok(Turn::Restart) => {
                self.again = true;
                true
            }
            Ok(Turn::Signal(signal)) => {
                self.refresh = Refresh::UnderWay(Box::new(goal.clone()));
                let (name, revision) = (self.name.clone(), goal.clone());
                world.out.push(Effect::Refresh { name, instance, revision, signal });
                false
            }
            Err(why) => {
                let unopened = |secrets: &Arc<Secrets>| (Arc::clone(secrets), clip(&why.0));
                self.unopened = goal.secrets.as_ref().map(unopened);
                false
            }
        }
    }

    /// Takes in the result of a replacement of the secrets' files.
    pub(super) fn refreshed(
        &mut self,
        instance: &Handle,
        result: Result<(), Reason>,
        world: &mut Surroundings<'_>,
    ) {
        let Stage::Running(running) = &self.stage else { return };
        if running.instance != *instance {
            return;
        }
        let Refresh::UnderWay(revision) = std::mem::replace(&mut self.refresh, Refresh::None)
        else {
            return;
        };
        match result {
            Ok(()) => self.take_over(&revision, world),
            Err(why) => {
                let until = world.now + START_RETRY.1;
                self.refresh = Refresh::Failed { until, why: why.0 };
            }
        }
    }
}
