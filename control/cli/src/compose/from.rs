//! What a container sees at a path, as documents know it.

use holdfast_base::ids::Name;

/// Thing that is seen at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum From {
    /// Volume of the workload.
    Volume(Name),
    /// Path of the device.
    Host(String),
    /// File or folder of the workload's configuration.
    Files(String),
    /// Folder in memory of at most so many bytes; 0: no bound.
    Memory(u64),
}
