//! Acceptance of desired states: which one is stored next, what is followed after a start, and in
//! which order the files change. A state is verified before it comes here, and followed only once it
//! is stored.
//!
//! ```text
//! offered ── older ──▶ Stale       (refused; a replay)
//!         ── held  ──▶ Known
//!         ── newer ──▶ Store       waits, until the files are written: FILE_STEPS
//!                        └─▶ stored ──▶ followed by everything that follows desired states
//! ```
//!
//! See decisions 0007, 0105 and 0145.

use holdfast_base::ids::StateVersion;
use holdfast_protocol::message::DesiredState;

use super::version::{VersionCheck, check};

/// Desired state that is to be followed and is not stored yet. `R` is what acknowledges its
/// delivery.
#[derive(Debug)]
pub struct Waiting<R> {
    /// Signed bytes, as they are stored.
    pub bytes: Vec<u8>,
    /// Content of `bytes`.
    pub state: DesiredState,
    /// Delivery to acknowledge once the state is stored. None: it was acknowledged before.
    pub receipt: Option<R>,
}

/// Decision about an offered desired state.
#[derive(Debug, PartialEq, Eq)]
pub enum Offered<R> {
    /// The state is newer: it waits to be stored.
    Store {
        /// True if its epoch is new: the control plane was restored from a backup.
        restored: bool,
    },
    /// The state is held already. Its delivery is acknowledged now. None: the same state still
    /// waits to be stored, and the delivery with it.
    Known(Option<R>),
    /// The state is older than the one held: it is refused, and its delivery acknowledged.
    Stale {
        /// Version that is held.
        held: StateVersion,
        /// Version that was offered.
        offered: StateVersion,
        /// Delivery of the state.
        receipt: R,
    },
}

/// One change to the files of desired states. Each is durable before the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileStep {
    /// Remove the spare copy.
    DropSpare,
    /// Make the present file the spare copy too. Where that is not possible, there is none.
    KeepSpare,
    /// Replace the present file by the waiting state, as a whole or not at all.
    Replace,
}

/// Order in which the files change when a desired state is stored: at any time the present file or
/// the spare copy can be read. A failure counts for [`FileStep::Replace`] alone.
pub const FILE_STEPS: [FileStep; 3] = [FileStep::DropSpare, FileStep::KeepSpare, FileStep::Replace];

/// Desired states to begin with, by what could be read of the files.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Begin {
    /// State to follow.
    pub desired: Option<DesiredState>,
    /// State before the last one, which says what may run where the last one cannot be read.
    pub former: Option<DesiredState>,
    /// Lowest version that is accepted from now on.
    pub least: StateVersion,
    /// Reason for which the present file cannot be trusted.
    pub trouble: Option<String>,
}

/// Decides what to begin with. `present` is the result of reading the present file; `spare` reads
/// the spare copy, which is not needed otherwise. `has_saved`: saved states of workloads exist,
/// which say better than an older desired state what ran.
pub fn begin<E: std::fmt::Display>(
    present: Result<Option<DesiredState>, E>,
    spare: impl FnOnce() -> Option<DesiredState>,
    has_saved: bool,
) -> Begin {
    match present {
        Ok(desired) => Begin { desired, ..Begin::default() },
        Err(why) => {
            let spare = spare();
            // An older state than the spare one is a replay, although the last one is lost.
            let least = spare.as_ref().map(DesiredState::version).unwrap_or_default();
            let former = spare.filter(|_| !has_saved);
            Begin { desired: None, former, least, trouble: Some(why.to_string()) }
        }
    }
}

/// Versions that count, and the desired state that waits to be stored.
#[derive(Debug)]
pub struct Acceptance<R> {
    /// Lowest version that is accepted: an older desired state is a replay, even if the last one
    /// was lost from disk.
    least: StateVersion,
    /// True if the followed desired state is that of another device or another control plane, so
    /// that its version says nothing.
    afresh: bool,
    waiting: Option<Waiting<R>>,
}

impl<R> Acceptance<R> {
    /// Begins with the lowest version that is accepted.
    pub fn new(least: StateVersion) -> Self {
        Self { least, afresh: false, waiting: None }
    }

    /// Decides about a verified desired state; `followed` is the version that the agent follows.
    pub fn offer(
        &mut self,
        followed: StateVersion,
        bytes: &[u8],
        state: DesiredState,
        receipt: R,
    ) -> Offered<R> {
        // A state that waits for disk space counts as held: an older one must not replace it.
        let waiting = self.waiting.as_ref().map(|waiting| waiting.state.version());
        let followed = if self.afresh { StateVersion::default() } else { followed };
        let held = followed.max(waiting.unwrap_or_default()).max(self.least);
        match check(held, state.version()) {
            VersionCheck::Known => Offered::Known(match &mut self.waiting {
                Some(waiting) => {
                    waiting.receipt = Some(receipt);
                    None
                }
                None => Some(receipt),
            }),
            VersionCheck::Stale { held, offered } => Offered::Stale { held, offered, receipt },
            VersionCheck::Follow { restored } => {
                let bytes = bytes.to_vec();
                self.waiting = Some(Waiting { bytes, state, receipt: Some(receipt) });
                Offered::Store { restored }
            }
        }
    }

    /// State that is to be stored.
    pub fn waiting(&self) -> Option<&Waiting<R>> {
        self.waiting.as_ref()
    }

    /// Takes the state that was waiting, which is stored now and to be followed.
    pub fn stored(&mut self) -> Option<Waiting<R>> {
        let stored = self.waiting.take()?;
        self.afresh = false;
        Some(stored)
    }

    /// Forgets the versions of a former identity: the first desired state for the new one is
    /// accepted, whatever its version.
    pub fn forget(&mut self) {
        *self = Self { least: StateVersion::default(), afresh: true, waiting: None };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use holdfast_base::WIRE_VERSION;
    use proptest::prelude::*;

    use super::*;

    fn state(epoch: u64, generation: u64) -> DesiredState {
        let (device, workloads) = ("acme_d-1".parse().unwrap(), BTreeMap::new());
        DesiredState {
            v: WIRE_VERSION,
            device,
            epoch,
            generation,
            workloads,
            data: None,
            audit: None,
        }
    }

    /// Names the decision about an offer, its receipt being its number.
    fn offer(
        acceptance: &mut Acceptance<u32>,
        followed: u64,
        offered: u64,
        receipt: u32,
    ) -> String {
        let followed = StateVersion { epoch: 1, generation: followed };
        match acceptance.offer(followed, b"bytes", state(1, offered), receipt) {
            Offered::Store { restored } => format!("store{}", if restored { " anew" } else { "" }),
            Offered::Known(Some(receipt)) => format!("known {receipt}"),
            Offered::Known(None) => "known, waits".into(),
            Offered::Stale { held, receipt, .. } => format!("stale {} {receipt}", held.generation),
        }
    }

    #[test]
    fn what_waits_for_the_disk_counts_as_held() {
        let mut it = Acceptance::new(StateVersion::default());
        assert_eq!(offer(&mut it, 4, 4, 1), "known 1");
        assert_eq!(offer(&mut it, 4, 6, 2), "store");
        assert_eq!(offer(&mut it, 4, 5, 3), "stale 6 3", "an older one does not replace it");
        assert_eq!(offer(&mut it, 4, 6, 4), "known, waits");
        assert_eq!(it.waiting().unwrap().receipt, Some(4), "delivered again");
        assert_eq!(offer(&mut it, 4, 7, 5), "store");
        let stored = it.stored().unwrap();
        assert_eq!((stored.state.generation, stored.receipt), (7, Some(5)));
        assert!(it.stored().is_none());
    }

    #[test]
    fn after_another_identity_the_first_state_counts_and_then_its_version() {
        let mut it = Acceptance::new(StateVersion { epoch: 1, generation: 90 });
        assert_eq!(offer(&mut it, 0, 80, 1), "stale 90 1", "lost from disk, and still a replay");
        it.forget();
        assert_eq!(offer(&mut it, 99, 3, 2), "store");
        assert!(it.stored().is_some());
        assert_eq!(offer(&mut it, 3, 2, 3), "stale 3 3");
        assert_eq!(offer(&mut it, 99, 98, 4), "stale 99 4", "the followed version counts again");
    }

    #[test]
    fn an_unreadable_state_is_replaced_by_the_spare_one_where_nothing_better_is_known() {
        let read = || Some(state(2, 5));
        let begun = begin::<String>(Ok(Some(state(2, 6))), || panic!("not needed"), false);
        assert_eq!((begun.desired, begun.least), (Some(state(2, 6)), StateVersion::default()));
        let begun = begin(Err("torn"), read, false);
        assert_eq!((begun.desired, begun.former), (None, Some(state(2, 5))));
        assert_eq!((begun.least, begun.trouble.as_deref()), (state(2, 5).version(), Some("torn")));
        let begun = begin(Err("torn"), read, true);
        assert_eq!((begun.former, begun.least), (None, state(2, 5).version()));
        let begun = begin::<String>(Ok(None), || panic!("not needed"), true);
        assert_eq!(begun, Begin::default());
    }

    #[test]
    fn one_of_the_two_files_can_be_read_between_any_two_steps() {
        let (mut present, mut spare) = (Some(1), Some(0));
        for step in FILE_STEPS {
            match step {
                FileStep::DropSpare => spare = None,
                FileStep::KeepSpare => spare = present,
                FileStep::Replace => present = Some(2),
            }
            assert!(present.is_some());
        }
        assert_eq!((present, spare), (Some(2), Some(1)), "the spare one is the former");
    }

    proptest! {
        /// Checks that, whatever comes in which order and whenever the disk takes it, the version
        /// that is followed never falls, and the newest one that was offered is followed or waits.
        #[test]
        fn versions_never_fall(
            offers in proptest::collection::vec((1u64..3, 1u64..20, any::<bool>()), 1..40),
        ) {
            let mut it = Acceptance::new(StateVersion::default());
            let (mut followed, mut newest) = (StateVersion::default(), StateVersion::default());
            for (number, (epoch, generation, disk)) in (0u32..).zip(offers) {
                let offered = state(epoch, generation);
                newest = newest.max(offered.version());
                let _decided = it.offer(followed, b"", offered, number);
                if disk && let Some(stored) = it.stored() {
                    prop_assert!(stored.state.version() > followed);
                    followed = stored.state.version();
                }
                let waiting = it.waiting().map(|it| it.state.version()).unwrap_or_default();
                prop_assert_eq!(followed.max(waiting), newest);
            }
        }
    }
}
