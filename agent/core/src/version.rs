//! Version check of a desired state that comes down the link: the next one, one already known, or a
//! stale one to refuse. Signatures are checked before; this is about order alone.
//!
//! See decision 0007.

use holdfast_base::ids::StateVersion;

/// Decision on a correctly signed desired state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionCheck {
    /// The state is newer: store it, then follow it.
    Follow {
        /// True if its epoch is new: the control plane was restored from a backup.
        restored: bool,
    },
    /// The state has the version that the agent holds already.
    Known,
    /// The state is older than the one held: a replay, or a control plane that was set back without
    /// raising its epoch.
    Stale {
        /// Version that the agent holds.
        held: StateVersion,
        /// Version that was offered.
        offered: StateVersion,
    },
}

/// Compares the version of an offered desired state with the one held; the epoch counts first, then
/// the generation.
pub fn check(held: StateVersion, offered: StateVersion) -> VersionCheck {
    match offered.cmp(&held) {
        std::cmp::Ordering::Greater => {
            VersionCheck::Follow { restored: held.epoch != 0 && offered.epoch > held.epoch }
        }
        std::cmp::Ordering::Equal => VersionCheck::Known,
        std::cmp::Ordering::Less => VersionCheck::Stale { held, offered },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_later_version_is_followed() {
        let version = |epoch, generation| StateVersion { epoch, generation };
        let held = version(3, 7);
        for (offered, follow) in [
            (version(3, 8), Some(false)),
            (version(4, 1), Some(true)),
            (version(3, 7), None),
            (version(3, 6), None),
            (version(2, 900), None),
            (version(0, 0), None),
        ] {
            match check(held, offered) {
                VersionCheck::Follow { restored } => {
                    assert_eq!(Some(restored), follow, "{offered}")
                }
                VersionCheck::Known => assert_eq!(offered, held),
                VersionCheck::Stale { .. } => assert!(follow.is_none() && offered < held),
            }
        }
        let first = check(StateVersion::default(), version(9, 1));
        assert_eq!(first, VersionCheck::Follow { restored: false });
    }
}
