//! The machine's clocks and boot id. In debug builds tests may shift them
//! (`HOLDFAST_TEST_CLOCK_OFFSET` in seconds, or the file that holds them and may change at any
//! time; `HOLDFAST_TEST_BOOT_ID`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::time::{ClockId, clock_gettime};
use rustls_pki_types::UnixTime;

use crate::core::clock::Floor;

/// Milliseconds since the boot, sleep included: only ever rises.
pub fn uptime_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let millis = time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000);
    u64::try_from(millis).unwrap_or(0)
}

/// Seconds since 1970 as the system says, which may be nonsense.
pub fn system_seconds() -> u64 {
    let seconds = clock_gettime(ClockId::Realtime).tv_sec;
    u64::try_from(seconds.saturating_add(offset())).unwrap_or(0)
}

#[cfg(debug_assertions)]
fn offset() -> i64 {
    static OFFSET: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let text =
        OFFSET.get_or_init(|| std::env::var("HOLDFAST_TEST_CLOCK_OFFSET").unwrap_or_default());
    let number = |text: &str| text.trim().parse().ok();
    if text.starts_with('/') {
        std::fs::read_to_string(text).ok().and_then(|text| number(&text)).unwrap_or(0)
    } else {
        number(text).unwrap_or(0)
    }
}

#[cfg(not(debug_assertions))]
fn offset() -> i64 {
    0
}

/// Names this boot of the machine; process ids and start times mean nothing in another.
pub fn boot_id() -> String {
    #[cfg(debug_assertions)]
    if let Ok(id) = std::env::var("HOLDFAST_TEST_BOOT_ID") {
        return id;
    }
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// The best known time, shared by all who check certificates. See [`Floor`].
#[derive(Debug, Clone, Default)]
pub struct Time {
    floor: Arc<Mutex<Floor>>,
}

impl Time {
    /// On a floor that was stored.
    pub fn new(stored: u64) -> Self {
        Self { floor: Arc::new(Mutex::new(Floor::new(stored, uptime_ms()))) }
    }

    /// Seconds since 1970.
    pub fn now(&self) -> u64 {
        self.floor().time(system_seconds(), uptime_ms())
    }

    /// Milliseconds since 1970: what records are stamped with. Below the floor by the floor.
    pub fn now_ms(&self) -> u64 {
        let now = self.now().saturating_mul(1_000);
        // Within the second only where the system's clock is what is believed.
        let system = clock_gettime(ClockId::Realtime);
        let seconds = u64::try_from(system.tv_sec.saturating_add(offset())).unwrap_or(0);
        if seconds.saturating_mul(1_000) == now {
            now + u64::try_from(system.tv_nsec / 1_000_000).unwrap_or(0)
        } else {
            now
        }
    }

    /// Learns a time that was reached. True: the floor rose.
    pub fn raise(&self, known: u64) -> bool {
        self.floor().raise(known, uptime_ms())
    }

    /// Nothing later than this, in seconds since 1970, is believed from now on.
    pub fn believe_until(&self, end: u64) {
        self.floor().believe_until(end);
    }

    /// True when [`Time::now`] is a time that it can be.
    pub fn is_plausible(&self) -> bool {
        self.floor().is_plausible(system_seconds(), uptime_ms())
    }

    /// True when it is the system's, and nothing speaks against it.
    pub fn is_relied_on(&self) -> bool {
        self.floor().is_relied_on(system_seconds(), uptime_ms())
    }

    /// What to tell a person about the system's clock.
    pub fn problem(&self) -> Option<String> {
        self.floor().problem(system_seconds(), uptime_ms())
    }

    fn floor(&self) -> MutexGuard<'_, Floor> {
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl rustls::time_provider::TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.now())))
    }
}
