//! Rings of events: how many places each has, and how many events were put into it.

use serde::{Deserialize, Serialize};

/// Ring of events of one sort. Each ring has its own places, so that no sort pushes out another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ring {
    /// Begin and end of connections.
    Link,
    /// Phases and restarts of workloads.
    Workload,
    /// Revisions of workloads and generations of the desired state.
    Change,
    /// Begin and end of problems.
    Problem,
}

impl Ring {
    /// All rings, in the order of [`Counts`].
    pub const ALL: [Self; 4] = [Self::Link, Self::Workload, Self::Change, Self::Problem];

    /// Returns the letter of the ring in keys of the store.
    pub fn letter(self) -> char {
        match self {
            Self::Link => 'c',
            Self::Workload => 'w',
            Self::Change => 'r',
            Self::Problem => 'p',
        }
    }

    /// Returns the number of places in a device's ring. An event takes 60 to 300 bytes on disk: at
    /// most about 100 KiB for a device, and nothing in memory.
    pub const fn size(self) -> u32 {
        match self {
            Self::Link | Self::Change | Self::Problem => 100,
            Self::Workload => 200,
        }
    }

    /// Returns the number of places in the fleet's ring, about 2 MiB on disk for all rings. Devices
    /// that follow an apply do not enter it, since the audit log has the apply itself.
    pub const fn fleet_size(self) -> u32 {
        match self {
            Self::Link | Self::Workload => 4_000,
            Self::Change => 1,
            Self::Problem => 2_000,
        }
    }
}

/// Numbers of events that were ever put into each ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts([u32; 4]);

impl Counts {
    /// Returns the number of events of one ring.
    pub fn of(self, ring: Ring) -> u32 {
        let [link, workload, change, problem] = self.0;
        match ring {
            Ring::Link => link,
            Ring::Workload => workload,
            Ring::Change => change,
            Ring::Problem => problem,
        }
    }

    /// Returns the number of events of all rings, which is the number of the next event.
    pub fn all(self) -> u64 {
        self.0.iter().copied().map(u64::from).sum()
    }

    /// True if no event was ever counted.
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde's skip_serializing_if passes a reference"
    )]
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 4]
    }

    /// Counts an event, and returns the number of its place.
    pub(super) fn next(&mut self, ring: Ring) -> u32 {
        let [link, workload, change, problem] = &mut self.0;
        let count = match ring {
            Ring::Link => link,
            Ring::Workload => workload,
            Ring::Change => change,
            Ring::Problem => problem,
        };
        let place = *count;
        *count = count.saturating_add(1);
        place
    }
}
