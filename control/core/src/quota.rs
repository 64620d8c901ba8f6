//! Quotas of a tenant: what it may have and use, how much it does, and why more is refused.
//!
//! See decision 0168.

use serde::{Deserialize, Serialize};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// What a quota limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quota {
    /// Devices, whatever their standing.
    Devices,
    /// Bytes of the artifacts that the tenant has pushed.
    Artifacts,
    /// Bytes of batches of records that are taken in a day (UTC).
    DataPerDay,
    /// Requests of the API in a second.
    RequestsPerSecond,
    /// Processor time of all workloads on all devices, in thousandths of a core.
    Cpu,
    /// Memory of all workloads on all devices, in bytes.
    Memory,
}

impl Quota {
    /// All quotas, in the order of lists.
    pub const ALL: [Self; 6] = [
        Self::Devices,
        Self::Artifacts,
        Self::DataPerDay,
        Self::RequestsPerSecond,
        Self::Cpu,
        Self::Memory,
    ];

    /// Returns the word of the quota, as in documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Artifacts => "artifacts",
            Self::DataPerDay => "dataPerDay",
            Self::RequestsPerSecond => "requestsPerSecond",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }

    /// Returns the unit of the quota's numbers. Empty: they count things.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Devices | Self::RequestsPerSecond => "",
            Self::Artifacts | Self::DataPerDay | Self::Memory => "bytes",
            Self::Cpu => "thousandths of a core",
        }
    }

    /// Returns what helps when the quota is used up.
    fn cure(self) -> &'static str {
        match self {
            Self::Devices => "delete devices that are gone",
            Self::Artifacts => "delete artifacts that no workload needs",
            Self::DataPerDay => "wait for the next day (UTC), or ship less",
            Self::RequestsPerSecond => "ask less often",
            Self::Cpu | Self::Memory => {
                "give the workloads lower limits, or place them on fewer devices"
            }
        }
    }
}

/// Limits of a tenant. Absent: there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quotas {
    /// Most devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<u64>,
    /// Most bytes of artifacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<u64>,
    /// Most bytes of batches of records in a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_per_day: Option<u64>,
    /// Most requests in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u64>,
    /// Most placed processor time, in thousandths of a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u64>,
    /// Most placed memory, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

impl Quotas {
    /// Returns the limit of a quota. None: there is none.
    pub fn limit(&self, quota: Quota) -> Option<u64> {
        match quota {
            Quota::Devices => self.devices,
            Quota::Artifacts => self.artifacts,
            Quota::DataPerDay => self.data_per_day,
            Quota::RequestsPerSecond => self.requests_per_second,
            Quota::Cpu => self.cpu,
            Quota::Memory => self.memory,
        }
    }

    /// True if what is placed on devices is limited.
    pub fn limits_placing(&self) -> bool {
        self.cpu.is_some() || self.memory.is_some()
    }

    /// Checks that `more` fits beside what is used.
    ///
    /// # Errors
    /// [`Over`], whose text names quota, use and limit.
    pub fn check(&self, quota: Quota, used: u64, more: u64) -> Result<(), Over> {
        match self.limit(quota) {
            Some(limit) if used.saturating_add(more) > limit => {
                Err(Over { quota, used, more, limit })
            }
            _ => Ok(()),
        }
    }
}

/// Refusal of what is beyond a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "quota {}: {used}{unit} in use, {more} more asked for, the limit is {limit}: {}, or have the limit raised; `holdfast tenant list` shows the use",
    .quota.word(), .quota.cure(), unit = unit(.quota.unit())
)]
pub struct Over {
    /// Quota that is used up.
    pub quota: Quota,
    /// Amount in use.
    pub used: u64,
    /// Amount that was asked for beside it.
    pub more: u64,
    /// Limit of the tenant.
    pub limit: u64,
}

/// Returns a unit with the space before it.
fn unit(unit: &str) -> String {
    if unit.is_empty() { String::new() } else { format!(" {unit}") }
}

/// Bytes of records that a tenant has sent on one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayUse {
    /// Days since 1970 (UTC).
    pub day: u64,
    /// Bytes that were taken.
    pub bytes: u64,
    /// Batches that were not taken because the quota was used up. Their devices keep them.
    #[serde(default)]
    pub held: u64,
}

impl DayUse {
    /// True if nothing is counted.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the use at `now`, in seconds since 1970: that of a former day is over.
    #[must_use]
    pub fn at(self, now: u64) -> Self {
        let day = now / DAY;
        if self.day == day { self } else { Self { day, ..Self::default() } }
    }

    /// Takes a batch at `now` if it fits, and counts it either way. The last one of a day may reach
    /// beyond the limit when nothing was sent before it: a limit below the size of one batch would
    /// hold back everything for ever.
    pub fn take(&mut self, quotas: &Quotas, bytes: u64, now: u64) -> Result<(), Over> {
        *self = self.at(now);
        let fits = quotas.check(Quota::DataPerDay, self.bytes, bytes);
        match fits {
            Err(over) if self.bytes > 0 || over.limit == 0 => {
                self.held = self.held.saturating_add(1);
                Err(over)
            }
            _ => {
                self.bytes = self.bytes.saturating_add(bytes);
                Ok(())
            }
        }
    }

    /// Returns the seconds until the next day begins.
    pub fn left(now: u64) -> u64 {
        DAY - now % DAY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_quota_use_and_limit_and_what_helps() {
        let quotas = Quotas { devices: Some(3), memory: Some(100), ..Quotas::default() };
        assert_eq!(quotas.check(Quota::Devices, 2, 1), Ok(()));
        let text = quotas.check(Quota::Devices, 3, 1).unwrap_err().to_string();
        assert!(text.starts_with("quota devices: 3 in use, 1 more asked for, the limit is 3"));
        let text = quotas.check(Quota::Memory, 90, 20).unwrap_err().to_string();
        assert!(text.starts_with("quota memory: 90 bytes in use, 20 more asked for"), "{text}");
        assert_eq!(quotas.check(Quota::Artifacts, u64::MAX, u64::MAX), Ok(()), "no limit");
        let words: Vec<&str> = Quota::ALL.iter().map(|quota| quota.word()).collect();
        let all = Quotas {
            devices: Some(1),
            artifacts: Some(2),
            data_per_day: Some(3),
            requests_per_second: Some(4),
            cpu: Some(5),
            memory: Some(6),
        };
        let json = serde_json::to_value(all).unwrap();
        for (quota, limit) in Quota::ALL.iter().zip(1..) {
            assert_eq!(json[quota.word()], limit, "{words:?}");
            assert_eq!(all.limit(*quota), Some(limit));
        }
    }

    #[test]
    fn a_day_of_records_ends_at_midnight() {
        let quotas = Quotas { data_per_day: Some(100), ..Quotas::default() };
        let mut used = DayUse::default();
        let noon = 20_000 * DAY + DAY / 2;
        assert!(used.take(&quotas, 60, noon).is_ok() && used.take(&quotas, 40, noon).is_ok());
        let over = used.take(&quotas, 1, noon).unwrap_err();
        assert_eq!((over.used, over.more, over.limit), (100, 1, 100));
        assert_eq!((used.bytes, used.held, DayUse::left(noon)), (100, 1, DAY / 2));
        let morning = noon + DayUse::left(noon);
        assert!(used.take(&quotas, 150, morning).is_ok(), "a batch larger than the limit");
        assert!(used.take(&quotas, 1, morning).is_err());
        assert_eq!(used.at(morning + DAY).bytes, 0);
        let none = Quotas { data_per_day: Some(0), ..Quotas::default() };
        assert!(DayUse::default().take(&none, 1, noon).is_err(), "0: no records at all");
    }
}
