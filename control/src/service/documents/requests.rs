//! Requests of each tenant in a second, against its quota.
//!
//! See decision 0168.

use std::sync::{Mutex, PoisonError};

use holdfast_base::ids::Name;

use super::Documents;
use crate::core::bucket::Bucket;
use crate::core::quota::{Over, Quota};
use crate::service::Failure;

impl Documents {
    fn uptime_ms(&self) -> u64 {
        u64::try_from((self.clock.uptime)().as_millis()).unwrap_or(u64::MAX)
    }

    fn bucket<T>(&self, tenant: &Name, act: impl FnOnce(&mut Bucket) -> T) -> T {
        let bucket = self.requests.of(tenant, Mutex::default);
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut bucket)
    }

    /// Counts a request of a tenant. A tenant without a quota of requests costs one look at it.
    ///
    /// # Errors
    /// Returns [`Failure::TooMany`] with quota, use and limit.
    pub fn take_request(&self, tenant: &Name) -> Result<(), Failure> {
        let Some(limit) = self.model(tenant).quotas.requests_per_second else { return Ok(()) };
        let now = self.uptime_ms();
        let taken = self.bucket(tenant, |bucket| {
            bucket.take(limit, now).map_err(|wait| (wait, bucket.used(limit, now)))
        });
        taken.map_err(|(wait, used)| {
            let over = Over { quota: Quota::RequestsPerSecond, used, more: 1, limit };
            Failure::TooMany { message: over.to_string(), seconds: wait.div_ceil(1_000).max(1) }
        })
    }

    /// Returns the number of a tenant's requests in about the last second; 0 when they are not
    /// limited, and so not counted.
    pub(in crate::service) fn requests_of(&self, tenant: &Name) -> u64 {
        let Some(limit) = self.model(tenant).quotas.requests_per_second else { return 0 };
        let now = self.uptime_ms();
        self.bucket(tenant, |bucket| bucket.used(limit, now))
    }
}
