//! Restarts that an operator asked for, each answered once its outcome is known.
//!
//! See decision 0116.

use holdfast_base::ids::Name;

use crate::adapters::calls::Done;
use crate::core::agent::Agent;

/// Restarts under way, each with the call to reply to.
#[derive(Default)]
pub(super) struct Restarts(Vec<(Name, Done)>);

impl Restarts {
    /// Begins a restart, or refuses it at once.
    pub(super) fn begin(&mut self, agent: &mut Agent, workload: Name, tell: Done) {
        match agent.restart(&workload) {
            Ok(()) => {
                tracing::info!(%workload, "restarting: the control plane asks for it");
                self.0.push((workload, tell));
            }
            // The caller may be gone.
            Err(why) => drop(tell.send(Err(why.into()))),
        }
    }

    /// Answers the restarts whose outcome is known.
    pub(super) fn answer(&mut self, agent: &Agent) {
        for (workload, tell) in std::mem::take(&mut self.0) {
            match agent.restarted(&workload) {
                // The caller may be gone; the restart is done all the same.
                Some(result) => drop(tell.send(result.map(|()| Vec::new()).map_err(Into::into))),
                None => self.0.push((workload, tell)),
            }
        }
    }

    /// Forgets the calls, because the link is down: the restarts go on.
    pub(super) fn forget_calls(&mut self) {
        self.0.clear();
    }
}
