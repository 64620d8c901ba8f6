//! Unidentified workloads: neither the saved state nor a desired state says which revision the
//! processes run. They are left alone until a desired state arrives: to end them would be a guess.
//!
//! See decision 0007.

use holdfast_protocol::message::{Phase, WorkloadReport};

use super::lifecycle::Wish;
use super::runtime::{Found, Handle};
use super::saved::{Revision, SavedWorkload};

/// Everything known of an unidentified workload.
#[derive(Debug)]
pub(super) struct Unidentified {
    /// Saved state, as far as there is one.
    pub(super) saved: SavedWorkload,
    /// Processes of the workload that were found last and have not ended since.
    pub(super) found: Vec<Found>,
    /// What the desired state says of it. No revision: there is no desired state yet, or the
    /// workload is not in it.
    pub(super) wish: Wish,
}

impl Unidentified {
    /// True if nobody can tell which revision the processes run. `last`: the revision in an older
    /// desired state.
    pub(super) fn applies(
        saved: &SavedWorkload,
        last: Option<&Revision>,
        found: &[&Found],
    ) -> bool {
        if saved.current.is_none() && last.is_none() {
            return true;
        }
        let mut mains = found.iter().filter(|it| it.is_main()).peekable();
        mains.peek().is_some()
            && !mains.any(|it| Some(&it.instance) == saved.instance.as_ref())
            && adoptable(found, &mut saved.clone(), last).is_none()
    }

    /// Part of the workload that its report shows; None: it has none, only a folder.
    pub(super) fn shown(&self) -> Option<&Found> {
        self.found.iter().find(|it| it.is_main()).or(self.found.first())
    }

    /// Report of the workload; None: it has no process, only a folder.
    pub(super) fn report(&self) -> Option<WorkloadReport> {
        let one = self.shown()?;
        Some(WorkloadReport {
            revision: one.revision,
            phase: Phase::Running,
            restarts: 0,
            run: Some(one.instance.run()),
            detail: None,
            reason: "its saved state is lost, and so is the desired state: its processes are left \
                     alone until the control plane sends a desired state"
                .into(),
            progress: None,
        })
    }
}

/// Finds an instance that is in no saved state (it was lost, or could not be written) but runs
/// the current or the wanted revision by its nonce. It is adopted, because a healthy workload is
/// not restarted for our bookkeeping. An equal revision number proves nothing: numbers are given
/// out again after a restore.
pub(super) fn adoptable(
    found: &[&Found],
    saved: &mut SavedWorkload,
    wanted: Option<&Revision>,
) -> Option<Handle> {
    // Revision 0 belongs to a probe, or to something that does not name its revision.
    let mains = || found.iter().filter(|it| it.is_main() && it.revision != 0);
    // A child process may have a session of its own: the first of one instance is the instance.
    let main = mains().min_by_key(|it| it.order)?;
    if mains().any(|it| it.instance.nonce != main.instance.nonce) {
        return None;
    }
    let known = [saved.current.as_ref(), wanted];
    let known = known.into_iter().flatten().find(|it| it.gave(main.instance.nonce));
    let revision = known?.clone();
    if saved.current.as_ref().is_none_or(|current| current.spec != revision.spec) {
        let former = saved.current.replace(revision);
        if saved.proven {
            saved.previous = former;
        }
        saved.proven = false;
        saved.restarts = 0;
    }
    Some(main.instance.clone())
}
