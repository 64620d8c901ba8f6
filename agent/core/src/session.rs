//! What the agent makes of what comes down the link: the next desired state, or
//! something to refuse. Signatures are checked before; this is about order.
//! See decision 0007.

use holdfast_base::ids::StateVersion;

/// What to do with a well-signed desired state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Store it, then follow it. `restored`: its epoch is a new one.
    Follow {
        /// The control plane was restored from a backup.
        restored: bool,
    },
    /// It is the one that is held already.
    Known,
    /// It is older than the one held: a replay, or a control plane that was set back without
    /// raising its epoch.
    Stale {
        /// The one held.
        held: StateVersion,
        /// The one offered.
        offered: StateVersion,
    },
}

/// Judges a desired state by its version alone.
pub fn judge(held: StateVersion, offered: StateVersion) -> Verdict {
    match offered.cmp(&held) {
        std::cmp::Ordering::Greater => {
            Verdict::Follow { restored: held.epoch != 0 && offered.epoch > held.epoch }
        }
        std::cmp::Ordering::Equal => Verdict::Known,
        std::cmp::Ordering::Less => Verdict::Stale { held, offered },
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
            match judge(held, offered) {
                Verdict::Follow { restored } => assert_eq!(Some(restored), follow, "{offered}"),
                Verdict::Known => assert_eq!(offered, held),
                Verdict::Stale { .. } => assert!(follow.is_none() && offered < held),
            }
        }
        let first = judge(StateVersion::default(), version(9, 1));
        assert_eq!(first, Verdict::Follow { restored: false });
    }
}
