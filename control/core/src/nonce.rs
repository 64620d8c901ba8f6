//! Nonces of renewals: texts that a device signs once, so that a renewal that somebody recorded is
//! good for nothing a second time.
//!
//! A nonce says when it was given and is authenticated by a key that only this process has; nothing
//! is kept of those that were given. Of each device that used one the time of the last is kept, for
//! as long as an older one of it could still be used. A restart, and another control plane, has
//! another key: its devices ask for another nonce.
//!
//! See decision 0161.

use std::collections::BTreeMap;

use holdfast_base::ids::{hex, unhex};
use ring::hmac;

use super::model::sha256;

/// Time in milliseconds within which a nonce is to be used: a slow link needs seconds.
pub const LIFE: u64 = 60_000;
/// Length of a nonce in bytes: time (8), random number (16), authentication (32).
const LENGTH: usize = 56;

/// Refusal of a nonce that was used, is older than [`LIFE`], is for another key, or of another
/// process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the nonce was used already, is more than a minute old, or was not given by this control plane for this key: ask for another one"
)]
pub struct Stale;

/// Nonces of one process.
pub struct Nonces {
    key: hmac::Key,
    /// Time of the nonce that a key (by its digest) used last, in milliseconds.
    used: BTreeMap<[u8; 32], u64>,
    /// Time at which `used` was last cleared of what is too old.
    cleared: u64,
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Nonces({} used)", self.used.len())
    }
}

impl Nonces {
    /// Begins with a random key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), used: BTreeMap::new(), cleared: 0 }
    }

    /// Returns a nonce for a device's public key. `now`: milliseconds of a clock that never runs
    /// backwards while this process lives.
    pub fn give(&self, public_key: &str, now: u64, random: [u8; 16]) -> String {
        let tag = hmac::sign(&self.key, &signed(now, &random, public_key));
        hex(&[&now.to_be_bytes()[..], &random, tag.as_ref()].concat())
    }

    /// Uses a nonce up, once its signature was found to be that of a known device: so there are at
    /// most as many entries as devices. All that were given to the key before are used up with it.
    ///
    /// # Errors
    /// Returns [`Stale`] for one that is good for nothing.
    pub fn take(&mut self, nonce: &str, public_key: &str, now: u64) -> Result<(), Stale> {
        let (at, random, tag) = parts(nonce).ok_or(Stale)?;
        let is_own = hmac::verify(&self.key, &signed(at, &random, public_key), &tag).is_ok();
        if !is_own || at > now || now - at > LIFE {
            return Err(Stale);
        }
        if now.saturating_sub(self.cleared) > LIFE {
            self.used.retain(|_, at| now - *at <= LIFE);
            self.cleared = now;
        }
        let key = sha256(public_key.as_bytes());
        if self.used.get(&key).is_some_and(|last| *last >= at) {
            return Err(Stale);
        }
        self.used.insert(key, at);
        Ok(())
    }
}

/// Bytes that the authentication is over.
fn signed(at: u64, random: &[u8; 16], public_key: &str) -> Vec<u8> {
    [b"holdfast/v1/renew-nonce", &at.to_be_bytes()[..], random, public_key.as_bytes()].concat()
}

/// Takes a nonce apart: time, random number, authentication.
fn parts(nonce: &str) -> Option<(u64, [u8; 16], [u8; 32])> {
    let bytes = unhex::<LENGTH>(nonce)?;
    let (at, rest) = bytes.split_first_chunk::<8>()?;
    let (random, tag) = rest.split_first_chunk::<16>()?;
    Some((u64::from_be_bytes(*at), *random, tag.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_once_soon_for_its_key_and_at_its_process() {
        let mut nonces = Nonces::new(&[1; 32]);
        let given = nonces.give("key", 5_000, [7; 16]);
        let mut other = Nonces::new(&[2; 32]);
        assert_eq!(other.take(&given, "key", 5_000), Err(Stale), "another process");
        assert_eq!(nonces.take(&given, "other", 5_000), Err(Stale), "another key");
        assert_eq!(nonces.take(&given, "key", 5_001 + LIFE), Err(Stale), "too old");
        assert_eq!(nonces.take(&given, "key", 4_999), Err(Stale), "of the future");
        assert_eq!(nonces.take(&given, "key", 5_000 + LIFE), Ok(()));
        assert_eq!(nonces.take(&given, "key", 5_000 + LIFE), Err(Stale), "used");
        for at in 0..given.len() {
            let mut edited = given.clone().into_bytes();
            edited[at] = if edited[at] == b'0' { b'1' } else { b'0' };
            let edited = String::from_utf8(edited).unwrap();
            assert_eq!(nonces.take(&edited, "key", 6_000), Err(Stale), "{at}");
        }
        for bad in ["", "00", &"g".repeat(given.len()), &given.chars().skip(1).collect::<String>()]
        {
            assert_eq!(nonces.take(bad, "key", 5_000), Err(Stale), "{bad}");
        }
    }

    #[test]
    fn one_time_is_kept_for_each_device_and_none_for_longer_than_it_matters() {
        let mut nonces = Nonces::new(&[1; 32]);
        let earlier = nonces.give("a", 1, [0; 16]);
        for at in 2..100 {
            let given = nonces.give("a", at, [1; 16]);
            assert_eq!(nonces.take(&given, "a", at), Ok(()));
        }
        assert_eq!(nonces.used.len(), 1, "a device that asks often takes no more room");
        assert_eq!(nonces.take(&earlier, "a", 100), Err(Stale), "a later one was used");
        let of_b = nonces.give("b", 1, [0; 16]);
        assert_eq!(nonces.take(&of_b, "b", 100), Ok(()), "devices are apart");
        let last = nonces.give("a", 99, [2; 16]);
        let next = nonces.give("c", 100 + LIFE, [0; 16]);
        assert_eq!(nonces.take(&next, "c", 100 + LIFE), Ok(()));
        assert_eq!(nonces.used.len(), 1, "what could not be used any more is forgotten");
        assert_eq!(nonces.take(&last, "a", 100 + LIFE), Err(Stale));
    }
}
