//! Attribution of faults: a process cannot be prepared for a fault of the revision, which can never
//! start as it is written, or for one of the machine, on which it may start later. A revision is
//! given up for its own faults alone.
//!
//! See decision 0010.

use std::io::ErrorKind;

use crate::runtime::{NotPrepared, Reason};

/// Step of the preparation that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// The user that the revision names cannot be had.
    User,
    /// The limits cannot be set.
    Limits,
    /// Something of the program's is where a configuration file should be.
    InTheWay,
    /// The file system refuses a folder or a file.
    File {
        /// Kind of the file system's error.
        kind: ErrorKind,
        /// True for a link where a folder should be (ELOOP), which has no stable kind.
        looped: bool,
    },
    /// The launcher cannot be started, or does not get to its gate.
    Launcher,
}

impl Failed {
    /// Reason for the lifecycle, with the fault where it belongs.
    pub fn because(self, why: Reason) -> NotPrepared {
        if self.is_revisions() { NotPrepared::Revision(why) } else { NotPrepared::Machine(why) }
    }

    fn is_revisions(self) -> bool {
        use ErrorKind::{
            AlreadyExists, InvalidFilename, InvalidInput, IsADirectory, NotADirectory,
        };
        match self {
            Self::User | Self::InTheWay | Self::File { looped: true, .. } => true,
            Self::Limits | Self::Launcher => false,
            Self::File { kind, looped: false } => matches!(
                kind,
                AlreadyExists | InvalidFilename | InvalidInput | IsADirectory | NotADirectory
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_somebodys() {
        let file = |kind| Failed::File { kind, looped: false };
        for (failed, is_revisions) in [
            (Failed::User, true),
            (Failed::InTheWay, true),
            (Failed::Limits, false),
            (Failed::Launcher, false),
            (file(ErrorKind::InvalidFilename), true),
            (file(ErrorKind::NotADirectory), true),
            (file(ErrorKind::IsADirectory), true),
            (file(ErrorKind::AlreadyExists), true),
            (file(ErrorKind::InvalidInput), true),
            (Failed::File { kind: ErrorKind::Other, looped: true }, true),
            (file(ErrorKind::Other), false),
            (file(ErrorKind::StorageFull), false),
            (file(ErrorKind::ReadOnlyFilesystem), false),
            (file(ErrorKind::PermissionDenied), false),
            (file(ErrorKind::NotFound), false),
        ] {
            let why = Reason::from("why");
            let expected = if is_revisions {
                NotPrepared::Revision(why.clone())
            } else {
                NotPrepared::Machine(why.clone())
            };
            assert_eq!(failed.because(why), expected, "{failed:?}");
        }
    }
}
