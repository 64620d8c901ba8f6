//! Limit for failed logins by address. Secrets are far too long to be guessed; the limit keeps
//! guessing from using resources and from filling the log.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// Failures in a row without a wait: a person may have the token from a wrong file.
const BURST: u64 = 10;

/// Seconds after which one failure is forgiven, and so between attempts beyond [`BURST`].
const EACH: u64 = 6;

/// Most keys that are remembered; the one that is forgiven soonest is dropped first.
const KNOWN: usize = 1_024;

/// Failed logins by key: an address (see [`network`]), or an address and a user.
#[derive(Debug)]
pub struct Throttle<K> {
    /// Time at which all failures of a key are forgiven, in seconds since 1970.
    clean_at: BTreeMap<K, u64>,
}

impl<K> Default for Throttle<K> {
    fn default() -> Self {
        Self { clean_at: BTreeMap::new() }
    }
}

/// Returns the key under which failures are counted: an IPv4 address, or a /64 network of IPv6,
/// since whoever has one of its addresses usually has all 2^64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
        four => four,
    }
}

impl<K: Ord + Clone> Throttle<K> {
    /// Returns the seconds that a key must wait before its next attempt. None: it may try now.
    pub fn wait(&self, key: &K, now: u64) -> Option<u64> {
        let clean_at = self.clean_at.get(key)?;
        // Example: ten failures at 100 s make `clean_at` 160. Nine of them, 54 s, are allowed to be
        // open, so at 100 s the wait is 160 - 154 = 6 s, and at 106 s there is none.
        clean_at.checked_sub(now + (BURST - 1) * EACH).filter(|wait| *wait > 0)
    }

    /// Counts a failed login, which takes 6 s more to be forgiven.
    pub fn failed(&mut self, key: K, now: u64) {
        if self.clean_at.len() >= KNOWN && !self.clean_at.contains_key(&key) {
            self.clean_at.retain(|_, at| *at > now);
            let first = self.clean_at.iter().min_by_key(|(_, at)| **at);
            let first = first.map(|(known, _)| known.clone());
            if let Some(first) = first.filter(|_| self.clean_at.len() >= KNOWN) {
                self.clean_at.remove(&first);
            }
        }
        let clean_at = self.clean_at.entry(key).or_insert(now);
        *clean_at = (*clean_at).max(now) + EACH;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(address: IpAddr) -> IpAddr {
        network(address)
    }

    #[test]
    fn ten_failures_are_forgiven_then_one_in_six_seconds() {
        let (mut throttle, one) = (Throttle::default(), address("192.0.2.1"));
        for _ in 0..BURST {
            assert_eq!(throttle.wait(&at(one), 100), None);
            throttle.failed(at(one), 100);
        }
        assert_eq!(throttle.wait(&at(one), 100), Some(EACH));
        assert_eq!(
            throttle.wait(&at(address("::ffff:192.0.2.1")), 100),
            Some(EACH),
            "it is the same"
        );
        assert_eq!(throttle.wait(&at(address("192.0.2.2")), 100), None, "others are not held up");
        assert_eq!(throttle.wait(&at(one), 106), None);
        throttle.failed(at(one), 106);
        assert_eq!(throttle.wait(&at(one), 107), Some(EACH - 1));
        assert_eq!(throttle.wait(&at(one), 100 + 60 * 60), None);
    }

    #[test]
    fn a_network_counts_as_one_and_their_number_is_bounded() {
        let mut throttle = Throttle::default();
        for host in 0..BURST {
            throttle.failed(at(address(&format!("2001:db8::{host:x}"))), 100);
        }
        assert!(throttle.wait(&at(address("2001:db8::ffff")), 100).is_some());
        assert!(throttle.wait(&at(address("2001:db8:0:1::1")), 100).is_none());
        for net in 0..3 * KNOWN {
            throttle.failed(at(address(&format!("2001:db8:1:{net:x}::1"))), 100);
        }
        assert!(throttle.clean_at.len() <= KNOWN);
        assert!(throttle.wait(&at(address("2001:db8::ffff")), 100).is_some(), "the worst is kept");
    }
}
