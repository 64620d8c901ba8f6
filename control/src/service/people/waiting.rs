//! Device logins that wait for a person: bounded in number, and asked about no more often than the
//! provider says.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use holdfast_base::ids::Name;

use crate::core::model::sha256;
use crate::core::throttle::Throttle;
use crate::service::Failure;

/// Most device logins that wait for a person.
const MOST: usize = 256;

/// Most of them that were begun from one network.
const MOST_OF_ONE: usize = 16;

/// Seconds that are added to the time between two questions when the provider wants fewer.
const SLOWER: u64 = 5;

/// Device login that waits for a person.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) tenant: Name,
    pub(super) provider: Name,
    pub(super) revision: u64,
    pub(super) device_code: String,
    pub(super) from: IpAddr,
    pub(super) interval: u64,
    pub(super) next: u64,
    pub(super) until: u64,
}

/// Device logins that wait for a person, by the digest of their handle.
#[derive(Default)]
pub(super) struct DeviceLogins {
    waiting: Mutex<BTreeMap<[u8; 32], Waiting>>,
    begun: Mutex<Throttle<IpAddr>>,
}

/// What a question comes to before the provider is asked.
pub(super) enum Asked {
    Wait(u64),
    Now(Box<Waiting>),
}

impl DeviceLogins {
    /// Counts a login that is begun, and refuses whoever begins too many.
    pub(super) fn begin(&self, from: IpAddr, now: u64) -> Result<(), Failure> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seconds) = begun.wait(&from, now) {
            let message =
                format!("too many logins were begun from {from}: try again in {seconds} s");
            return Err(Failure::TooMany { message, seconds });
        }
        begun.failed(from, now);
        Ok(())
    }

    pub(super) fn add(&self, handle: &[u8; 32], one: Waiting, now: u64) -> Result<(), Failure> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, other| other.until > now);
        let of_one = waiting.values().filter(|other| other.from == one.from).count();
        if waiting.len() >= MOST || of_one >= MOST_OF_ONE {
            let message = "too many logins wait for a person already: try again in 60 s".into();
            return Err(Failure::TooMany { message, seconds: 60 });
        }
        waiting.insert(sha256(handle), one);
        Ok(())
    }

    /// Takes the turn to ask. Others who ask meanwhile are told to wait.
    pub(super) fn turn(
        &self,
        handle: &[u8; 32],
        provider: &str,
        now: u64,
    ) -> Result<Asked, Failure> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let known = waiting.get_mut(&sha256(handle));
        let known = known.filter(|it| it.until > now && it.provider.as_str() == provider);
        let one = known.ok_or_else(over)?;
        if one.next > now {
            return Ok(Asked::Wait(one.next - now));
        }
        one.next = now + one.interval;
        Ok(Asked::Now(Box::new(one.clone())))
    }

    pub(super) fn slower(&self, handle: &[u8; 32]) -> u64 {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(one) = waiting.get_mut(&sha256(handle)) else { return SLOWER };
        one.interval += SLOWER;
        one.next += SLOWER;
        one.interval
    }

    pub(super) fn remove(&self, handle: &[u8; 32]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&sha256(handle));
    }
}

pub(super) fn over() -> Failure {
    Failure::Unauthorized("there is no such login, or its time is up: begin it again".into())
}
