//! A workload that nothing tells anything of: neither its record nor a desired state says what
//! runs of it. It is left alone until one does: to end it would be a guess.
//! See decision 0007.

use holdfast_protocol::message::{Phase, WorkloadReport};

use super::agent::unrecorded;
use super::record::{Found, Record, Revision};

/// What is known of it.
#[derive(Debug)]
pub(super) struct Held {
    /// Its record, as far as there is one.
    pub(super) record: Record,
    /// What runs of it, as it was seen last.
    pub(super) found: Vec<Found>,
    /// What is wanted, once that is known.
    pub(super) wanted: Option<Revision>,
    /// Whether that is paused.
    pub(super) paused: bool,
}

impl Held {
    /// True when nobody can say what this is. `last`: what an older desired state had of it.
    pub(super) fn is_due(record: &Record, last: Option<&Revision>, found: &[&Found]) -> bool {
        if record.current.is_none() && last.is_none() {
            return true;
        }
        let mut mains = found.iter().filter(|it| it.leader && !it.at_gate).peekable();
        mains.peek().is_some()
            && !mains.any(|it| Some(&it.instance) == record.instance.as_ref())
            && unrecorded(found, &mut record.clone(), last).is_none()
    }

    /// How it stands; None: there is but a folder.
    pub(super) fn report(&self) -> Option<WorkloadReport> {
        let main = self.found.iter().find(|it| it.leader && !it.at_gate);
        let one = main.or(self.found.first())?;
        Some(WorkloadReport {
            revision: one.revision,
            phase: Phase::Running,
            restarts: 0,
            pid: Some(one.instance.pid),
            reason: "its record is lost, and so is what is wanted: what runs of it is left alone \
                     until the control plane says what is wanted"
                .into(),
        })
    }
}
