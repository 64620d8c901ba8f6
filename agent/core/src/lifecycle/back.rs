//! An engine that was away and is back: what it has of a workload is compared with what is known.
//!
//! See decision 0175.

use std::collections::BTreeSet;

use super::{Stage, Surroundings, Then, Workload};
use crate::effect::Effect;
use crate::runtime::Found;

impl Workload {
    /// Takes in what an engine that is back has of this workload.
    ///
    /// What is not the present instance is ended. A workload that is about to be prepared, started
    /// or swept is left alone: each of these steps looks for itself.
    pub(crate) fn engine_is_back(&mut self, found: &[&Found], world: &mut Surroundings<'_>) {
        let is_stray = |it: &&&Found| self.instance() != Some(&it.instance);
        let strays: Vec<&&Found> = found.iter().filter(is_stray).collect();
        let runtimes: BTreeSet<_> = strays.iter().map(|it| it.instance.runtime.clone()).collect();
        let has_strays = !strays.is_empty();
        match &mut self.stage {
            Stage::Waiting { until, .. } if self.broken => *until = world.now,
            Stage::Idle | Stage::Fetching(_) | Stage::Waiting { .. } if has_strays => {
                self.sweep(runtimes, None, 0, Then::Plan, world);
            }
            Stage::Running(running) if has_strays => {
                let (name, spare) = (self.name.clone(), Some(running.instance.clone()));
                world.out.push(Effect::Sweep { name, runtimes, last: None, spare, kill: true });
            }
            Stage::Done(_) if has_strays => {
                let (name, spare) = (self.name.clone(), None);
                world.out.push(Effect::Sweep { name, runtimes, last: None, spare, kill: true });
            }
            _ => {}
        }
    }
}
