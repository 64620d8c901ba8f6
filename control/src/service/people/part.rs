//! The state of the people part: how many passwords are hashed at a time, and who failed to log in.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::hashing::Hashing;
use super::known::Providers;
use crate::core::throttle::Throttle;
use crate::ports::authority::Authority;
use crate::ports::keyring::ManagedKeyring;
use crate::ports::passwords::Passwords;
use crate::service::access::Access;
use crate::service::documents::Documents;

/// Address and user of a login that failed.
pub(super) type Tried = (IpAddr, Box<str>);

/// Local users and sessions.
pub struct People {
    pub(super) documents: Arc<Documents>,
    pub(super) access: Arc<Access>,
    pub(super) authority: Arc<dyn Authority>,
    pub(super) keyring: Arc<dyn ManagedKeyring>,
    pub(super) hashing: Hashing,
    /// Logins that failed, by address and user: somebody who guesses one password from one place
    /// holds up nobody else.
    pub(super) throttle: Mutex<Throttle<Tried>>,
    pub(super) providers: Providers,
}

impl std::fmt::Debug for People {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("People").finish_non_exhaustive()
    }
}

impl People {
    pub(in crate::service) fn new(
        documents: Arc<Documents>,
        access: Arc<Access>,
        authority: Arc<dyn Authority>,
        keyring: Arc<dyn ManagedKeyring>,
        (passwords, providers): (Arc<dyn Passwords>, Providers),
    ) -> Self {
        let (hashing, throttle) = (Hashing::new(&passwords), Mutex::default());
        Self { documents, access, authority, keyring, hashing, throttle, providers }
    }
}
