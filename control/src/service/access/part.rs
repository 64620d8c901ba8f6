//! The state of the access part: wrong tokens by their addresses, and open streams.

use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use super::watching::{Watch, Watching};
use crate::core::rights::Actor;
use crate::core::throttle::Throttle;
use crate::ports::authority::Authority;
use crate::service::Failure;
use crate::service::documents::Documents;

/// Access tokens and logins.
pub struct Access {
    pub(super) documents: Arc<Documents>,
    pub(super) authority: Arc<dyn Authority>,
    /// Addresses from which wrong tokens came.
    pub(super) throttle: Mutex<Throttle<IpAddr>>,
    pub(super) watching: Arc<Watching>,
    pub(super) logins_refused: AtomicU64,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    pub(in crate::service) fn new(
        documents: Arc<Documents>,
        authority: Arc<dyn Authority>,
    ) -> Self {
        Self {
            documents,
            authority,
            throttle: Mutex::default(),
            watching: Arc::default(),
            logins_refused: AtomicU64::new(0),
        }
    }

    /// Counts an open stream of this kind (such as a log that is followed) for an access token,
    /// until the returned guard is dropped.
    ///
    /// # Errors
    /// Returns [`Failure::TooMany`] when the token has too many of them.
    pub fn unending(&self, what: &'static str, actor: &Actor) -> Result<Watch, Failure> {
        self.watching.begin(what, actor.id())
    }

    /// Number of logins that were refused.
    pub fn logins_refused(&self) -> &AtomicU64 {
        &self.logins_refused
    }
}
