//! The device's own figures as one JSON record: processor, load, memory, disk, network,
//! temperature. They are read from `/proc` and `/sys`; figures that a device does not have are left
//! out.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// Counters that mean something only as a difference between two looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    /// Processor time in ticks: total, and idle.
    ticks: Option<(u64, u64)>,
    /// Bytes received and sent by all network interfaces except loopback.
    network: Option<(u64, u64)>,
}

/// Reader of the machine's figures.
#[derive(Debug)]
pub struct Machine {
    /// Path on the file system whose space is reported.
    disk: PathBuf,
    last: Counts,
}

impl Machine {
    /// Creates a reader; the first rates count from now.
    pub fn new(disk: &Path) -> Self {
        Self { disk: disk.to_owned(), last: counts() }
    }

    /// Returns the figures as encoded JSON, with rates since the last call.
    pub fn sample(&mut self) -> Vec<u8> {
        let now = counts();
        let mut record = Map::new();
        let mut say = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                record.insert(key.into(), value);
            }
        };
        say("cpu", busy(self.last.ticks, now.ticks).map(|percent| json!(percent)));
        say("load", read("/proc/loadavg").as_deref().and_then(load).map(|load| json!(load)));
        say("memory", read("/proc/meminfo").as_deref().and_then(memory));
        say("disk", disk(&self.disk));
        say("network", passed(self.last.network, now.network));
        say("temperature", temperature().map(|degrees| json!(degrees)));
        self.last = now;
        Value::Object(record).to_string().into_bytes()
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn counts() -> Counts {
    Counts {
        ticks: read("/proc/stat").as_deref().and_then(ticks),
        network: read("/proc/net/dev").as_deref().map(network),
    }
}

fn ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let values: Vec<u64> = line.split_whitespace().filter_map(|it| it.parse().ok()).collect();
    // Fields: user nice system idle iowait irq softirq steal; guest times are within user.
    let (idle, wait) = (values.get(3)?, values.get(4).copied().unwrap_or(0));
    Some((values.iter().take(8).sum(), idle + wait))
}

/// Processor load in percent, with one decimal.
fn busy(before: Option<(u64, u64)>, now: Option<(u64, u64)>) -> Option<f64> {
    let ((all, idle), (all_now, idle_now)) = (before?, now?);
    let all = all_now.checked_sub(all).filter(|all| *all > 0)?;
    let idle = idle_now.saturating_sub(idle).min(all);
    let tenths = (all - idle).saturating_mul(1_000) / all;
    Some(f64::from(u32::try_from(tenths).unwrap_or(0)) / 10.0)
}

/// Load average over one minute.
fn load(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

fn memory(text: &str) -> Option<Value> {
    let bytes = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib.saturating_mul(1024))
    };
    let (total, available) = (bytes("MemTotal")?, bytes("MemAvailable")?);
    Some(json!({ "total": total, "used": total.saturating_sub(available) }))
}

fn disk(path: &Path) -> Option<Value> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let total = stat.f_blocks.saturating_mul(stat.f_frsize);
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let used = stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize);
    Some(json!({ "total": total, "used": used, "free": free }))
}

fn network(text: &str) -> (u64, u64) {
    let mut all = (0_u64, 0_u64);
    for line in text.lines().skip(2) {
        let Some((name, figures)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let figures: Vec<u64> =
            figures.split_whitespace().filter_map(|it| it.parse().ok()).collect();
        all.0 = all.0.saturating_add(figures.first().copied().unwrap_or(0));
        all.1 = all.1.saturating_add(figures.get(8).copied().unwrap_or(0));
    }
    all
}

/// Bytes received and sent since the last call. An interface that disappeared takes its bytes with
/// it.
fn passed(before: Option<(u64, u64)>, now: Option<(u64, u64)>) -> Option<Value> {
    let ((received, sent), now) = (before?, now?);
    Some(json!({
        "received": now.0.saturating_sub(received),
        "sent": now.1.saturating_sub(sent),
    }))
}

/// Highest temperature of all sensors, in degrees Celsius.
fn temperature() -> Option<f64> {
    let zones = sensors("/sys/class/thermal", "thermal_zone", |file| file == "temp");
    let chips = sensors("/sys/class/hwmon", "hwmon", |file| {
        file.starts_with("temp") && file.ends_with("_input")
    });
    let known = zones.chain(chips).filter_map(|path| {
        let text = std::fs::read_to_string(path).ok()?;
        let millis: i32 = text.trim().parse().ok()?;
        // A sensor that is not connected reports nonsense.
        (-60_000..200_000).contains(&millis).then(|| f64::from(millis) / 1_000.0)
    });
    known.reduce(f64::max)
}

fn sensors(
    class: &str,
    prefix: &'static str,
    wanted: impl Fn(&str) -> bool + Copy + 'static,
) -> impl Iterator<Item = PathBuf> {
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
    entries(Path::new(class))
        .filter(move |entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .flat_map(move |entry| {
            entries(&entry.path())
                .filter(move |file| wanted(&file.file_name().to_string_lossy()))
                .map(|file| file.path())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_the_kernel_writes_them() {
        let before = ticks("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3 4\n");
        assert_eq!(before, Some((1_000, 850)));
        let now = ticks("cpu  160 0 70 900 70 0 0 0 0 0\n");
        assert_eq!(busy(before, now), Some(40.0));
        assert_eq!(busy(now, before), None, "counters begin anew after a suspend");
        assert_eq!(load("0.52 0.4 0.3 1/200 77\n"), Some(0.52));
        let text = "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:   400 kB\n";
        assert_eq!(memory(text), Some(json!({ "total": 1_024_000, "used": 614_400 })));
        let text = "Inter-|\n face |\n    lo: 9 1 0 0 0 0 0 0 9 1\n  eth0: 100 1 0 0 0 0 0 0 200 2 0\nwwan0:5 1 0 0 0 0 0 0 6 2\n";
        assert_eq!(network(text), (105, 206));
        let later = passed(Some((100, 200)), Some((105, 100)));
        assert_eq!(later, Some(json!({ "received": 5, "sent": 0 })));
    }

    #[test]
    fn this_machine_tells_something() {
        let scratch = tempfile::tempdir().unwrap();
        let mut machine = Machine::new(scratch.path());
        let record: Value = serde_json::from_slice(&machine.sample()).unwrap();
        assert!(record["memory"]["total"].as_u64().unwrap() > 0, "{record}");
        assert!(record["disk"]["total"].as_u64().unwrap() > 0, "{record}");
        assert!(record["network"]["received"].is_u64(), "{record}");
    }
}
