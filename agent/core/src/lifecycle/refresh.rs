//! Values of `sealed.rs`: a replacement that is under way, and what cannot be opened.

use std::sync::Arc;

use crate::saved::Revision;
use crate::secrets::Secrets;

/// Replacement of the secrets' files in a running instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refresh {
    /// None is under way.
    None,
    /// The files are being replaced by those of this revision.
    UnderWay(Box<Revision>),
    /// It failed, and is tried again at a time in milliseconds.
    Failed {
        /// Time of the next try.
        until: u64,
        /// Reason for a person.
        why: String,
    },
}

impl Refresh {
    /// Time of the next try, if one failed.
    pub(super) fn again_at(&self) -> Option<u64> {
        match self {
            Self::Failed { until, .. } => Some(*until),
            Self::None | Self::UnderWay(_) => None,
        }
    }
}

/// True if the secrets that cannot be opened are those of this revision.
pub(super) fn is_of(unopened: Option<&(Arc<Secrets>, String)>, revision: &Revision) -> bool {
    let secrets = unopened.map(|(secrets, _)| secrets);
    secrets.is_some() && secrets == revision.secrets.as_ref()
}
