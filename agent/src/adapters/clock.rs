//! The machine's clocks and boot id. In debug builds tests may shift them: by
//! `HOLDFAST_TEST_CLOCK_OFFSET`, in seconds or as the path of a file that holds them and may change
//! at any time, and by `HOLDFAST_TEST_BOOT_ID`.
//!
//! See decision 0014.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use rustix::time::{ClockId, clock_gettime};
use rustls_pki_types::UnixTime;

use crate::core::clock::Floor;
use crate::core::zone::{NotAZone, Zone};

/// Flag that systemd's time service creates once it has set the clock; gone with the boot.
const FLAG: &str = "run/systemd/timesync/synchronized";
/// Drift files that other services (chrony, ntpd, ntpsec, openntpd) write while they keep the clock
/// right.
const DRIFTS: [&str; 6] = [
    "var/lib/chrony/chrony.drift",
    "var/lib/chrony/drift",
    "var/lib/ntp/ntp.drift",
    "var/lib/ntp/drift",
    "var/lib/ntpsec/ntp.drift",
    "var/db/ntpd.drift",
];

/// Folder of the system's time zones.
const ZONES: &str = "/usr/share/zoneinfo";
/// File of the system's own time zone.
const LOCAL: &str = "/etc/localtime";

/// Reason why a time zone cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NoZone {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The file is no time zone.
    #[error("{0}: {1}")]
    NotAZone(PathBuf, NotAZone),
    /// The text is neither a name of a zone nor a rule.
    #[error("{0:?} is neither a name below /usr/share/zoneinfo nor a rule of POSIX")]
    Unknown(String),
}

/// Time zone by its name in the system's database, such as `Europe/Berlin`, or by its rule.
///
/// # Errors
/// [`NoZone`].
pub fn zone_named(text: &str) -> Result<Zone, NoZone> {
    let is_name = text.split('/').all(|part| {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"+-_".contains(&byte);
        !part.is_empty() && part.bytes().all(is_word)
    });
    let path = Path::new(ZONES).join(text);
    if is_name && path.is_file() {
        return zone_at(&path);
    }
    Zone::of_rule(text).map_err(|_| NoZone::Unknown(text.to_owned()))
}

/// Time zone of the device: the configured one, or the system's. A system without one has UTC, as
/// for every program. See decision 0178.
pub fn zone(configured: Option<&str>) -> Zone {
    let zone = match configured {
        Some(name) => zone_named(name),
        None if !Path::new(LOCAL).exists() => Ok(Zone::utc()),
        None => zone_at(Path::new(LOCAL)),
    };
    zone.unwrap_or_else(|error| {
        tracing::warn!(%error, "windows of workloads are taken in UTC");
        Zone::utc()
    })
}

fn zone_at(path: &Path) -> Result<Zone, NoZone> {
    let file = std::fs::read(path).map_err(|error| NoZone::File(path.into(), error))?;
    Zone::read(&file).map_err(|error| NoZone::NotAZone(path.into(), error))
}

/// Milliseconds since the boot, sleep included; never falls.
pub fn uptime_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let millis = time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000);
    u64::try_from(millis).unwrap_or(0)
}

/// Seconds since 1970 by the system's clock, which may be wrong.
pub fn system_seconds() -> u64 {
    let seconds = clock_gettime(ClockId::Realtime).tv_sec;
    u64::try_from(seconds.saturating_add(offset())).unwrap_or(0)
}

/// True when a time service has set the clock since the boot, judged by the files that such
/// services leave. The kernel knows exactly (`adjtimex`), but cannot be asked without unsafe code.
pub fn is_synchronised() -> bool {
    synchronised(Path::new("/"), system_seconds(), uptime_ms() / 1_000)
}

fn synchronised(root: &Path, now: u64, uptime: u64) -> bool {
    let written = |path: &&str| {
        let modified = std::fs::metadata(root.join(path)).ok()?.modified().ok()?;
        Some(modified.duration_since(UNIX_EPOCH).ok()?.as_secs())
    };
    // A file of an earlier boot says nothing; one from the future was written by another clock.
    let since_boot = |at: u64| at <= now && at.saturating_add(uptime) >= now;
    root.join(FLAG).exists() || DRIFTS.iter().filter_map(written).any(since_boot)
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

/// Id of this boot of the machine; process ids and start times mean nothing in another.
pub fn boot_id() -> String {
    #[cfg(debug_assertions)]
    if let Ok(id) = std::env::var("HOLDFAST_TEST_BOOT_ID") {
        return id;
    }
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// Best known time, shared by all that check certificates. See [`Floor`].
#[derive(Debug, Clone, Default)]
pub struct Time {
    floor: Arc<Mutex<Floor>>,
}

impl Time {
    /// Creates a time with a stored floor, in seconds since 1970.
    pub fn new(stored: u64) -> Self {
        Self { floor: Arc::new(Mutex::new(Floor::new(stored, uptime_ms()))) }
    }

    /// Best known time, in seconds since 1970.
    pub fn now(&self) -> u64 {
        self.floor().time(system_seconds(), uptime_ms())
    }

    /// Best known time in milliseconds since 1970, by which records are dated. Whole seconds only,
    /// where the floor is used in place of the system's clock.
    pub fn now_ms(&self) -> u64 {
        let now = self.now().saturating_mul(1_000);
        // Fractions of a second only where the system's clock is the one that is believed.
        let system = clock_gettime(ClockId::Realtime);
        let seconds = u64::try_from(system.tv_sec.saturating_add(offset())).unwrap_or(0);
        if seconds.saturating_mul(1_000) == now {
            now + u64::try_from(system.tv_nsec / 1_000_000).unwrap_or(0)
        } else {
            now
        }
    }

    /// Raises the floor to a time known to have been reached, in seconds since 1970. True when it
    /// rose.
    pub fn raise(&self, known: u64) -> bool {
        self.floor().raise(known, uptime_ms())
    }

    /// Sets the latest time, in seconds since 1970, that is believed from now on.
    pub fn believe_until(&self, end: u64) {
        self.floor().believe_until(end);
    }

    /// True when [`Time::now`] is within what is believed.
    pub fn is_plausible(&self) -> bool {
        self.floor().is_plausible(system_seconds(), uptime_ms())
    }

    /// True when [`Time::now`] is the system's time and nothing speaks against it.
    pub fn is_relied_on(&self) -> bool {
        self.floor().is_relied_on(system_seconds(), uptime_ms())
    }

    /// Text for a person about the system's clock, when it is wrong.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_zone_of_this_system_is_read() {
        let mut folders = vec![PathBuf::from(ZONES)];
        let mut count = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if std::fs::read(&path).is_ok_and(|bytes| bytes.starts_with(b"TZif")) {
                    let zone = zone_at(&path).unwrap();
                    assert!(zone.offset(1_800_000_000).abs() <= 14 * 3_600, "{}", path.display());
                    count += 1;
                }
            }
        }
        // A system without the database has none to read.
        if Path::new(ZONES).join("Europe/Berlin").exists() {
            assert!(count > 100, "{count}");
            let berlin = zone_named("Europe/Berlin").unwrap();
            assert_eq!((berlin.offset(1_785_000_000), berlin.name(1_800_000_000)), (7_200, "CET"));
        }
        assert_eq!(zone_named("UTC0").unwrap().offset(0), 0);
        assert!(zone_named("../localtime").is_err());
    }

    #[test]
    fn a_time_service_is_known_by_what_it_leaves() {
        const NOW: u64 = 1_795_000_000;
        for path in DRIFTS {
            let root = tempfile::tempdir().unwrap();
            let drift = root.path().join(path);
            std::fs::create_dir_all(drift.parent().unwrap()).unwrap();
            let file = std::fs::File::create(&drift).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(NOW)).unwrap();
            assert!(synchronised(root.path(), NOW + 3_600, 3_600), "{path}");
            assert!(!synchronised(root.path(), NOW + 3_601, 3_600), "before the boot");
            assert!(!synchronised(root.path(), NOW - 1, 3_600), "by another clock");
        }
        let root = tempfile::tempdir().unwrap();
        assert!(!synchronised(root.path(), NOW, NOW));
        std::fs::create_dir_all(root.path().join("run/systemd/timesync")).unwrap();
        std::fs::write(root.path().join(FLAG), "").unwrap();
        assert!(synchronised(root.path(), NOW, 1));
    }
}
