//! Configuration of the agent: a pure parse of its TOML, which reports all faults at once.

use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use crate::adapters::clock;
use crate::adapters::neighbours::Settings;
use crate::core::data::Limits;

/// Largest size that can be set, in bytes: the range of TOML's integers.
const MOST: u64 = i64::MAX.cast_unsigned();

/// Settings of the agent. Each has a default that suits a small device on a metered link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Keep-alive of the link in seconds: each one costs about 170 bytes on the wire.
    pub keep_alive: u16,
    /// Maximum length of one workload's log, in bytes.
    pub log_bytes: u64,
    /// Bounds of the buffer for data streams on disk.
    pub storage: Limits,
    /// Port of the local bus on 127.0.0.1. None: a free one, which is kept from then on.
    pub bus_port: Option<u16>,
    /// Folder in memory (tmpfs) below which files of secrets are kept. None: `/run`, or else
    /// `/dev/shm`.
    pub secrets_folder: Option<PathBuf>,
    /// Containers of this device's engine.
    pub containers: Containers,
    /// Time zone of the device: a name of the system's database or a rule of POSIX. None: that of the
    /// system.
    pub zone: Option<String>,
    /// Most downloads at the same time.
    pub downloads: usize,
    /// Port and rate at which files are given to neighbours.
    pub neighbours: Settings,
}

/// Settings of containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Containers {
    /// Socket of the engine. None: the first of the usual ones that is there.
    pub socket: Option<PathBuf>,
    /// True if this device runs no containers, whatever engine it has.
    pub off: bool,
    /// Paths of the device below which containers may see files.
    pub host_paths: Vec<PathBuf>,
    /// Bytes of images handed to the engine from which on those that nothing uses are removed.
    pub image_bytes: u64,
    /// True if the files of an image stay on the disk after it was handed over.
    pub keep_files: bool,
}

impl Default for Containers {
    fn default() -> Self {
        Self {
            socket: None,
            off: false,
            host_paths: Vec::new(),
            image_bytes: 2 << 30,
            keep_files: false,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keep_alive: 300,
            log_bytes: 1024 * 1024,
            bus_port: None,
            secrets_folder: None,
            containers: Containers::default(),
            zone: None,
            downloads: 2,
            neighbours: Settings::default(),
            storage: Limits { quota: None, reserve: None, endurance: None },
        }
    }
}

/// Fault of one key of the configuration.
#[derive(Debug, thiserror::Error)]
enum BadValue {
    #[error("unknown")]
    Unknown,
    #[error("{shown}: use a number from {least} to {most}")]
    NotWithin { shown: String, least: u64, most: u64 },
    #[error("{0}: use an absolute path in quotes")]
    NotAPath(String),
    #[error("{0}: use a list of absolute paths, such as [\"/dev/shm\", \"/srv/maps\"]")]
    NotPaths(String),
    #[error("{0}: use true or false")]
    NotATruth(String),
    #[error(
        "{0}: use a name below /usr/share/zoneinfo, such as \"Europe/Berlin\", or a rule, such as \"CET-1CEST,M3.5.0,M10.5.0/3\""
    )]
    NotAZone(String),
}

impl Config {
    /// Parses the text of the configuration file.
    ///
    /// # Errors
    /// Returns every fault, a line each.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let table = DeTable::parse(text)
            .map_err(|error| vec![error.to_string().trim_end().to_owned()])?
            .into_inner();
        let mut config = Self::default();
        let mut faults = Vec::new();
        for (section, value) in &table {
            let (section, keys) = (section.get_ref(), value.get_ref().as_table());
            let known = matches!(
                &**section,
                "bus"
                    | "containers"
                    | "downloads"
                    | "link"
                    | "logs"
                    | "neighbours"
                    | "secrets"
                    | "storage"
                    | "time"
            );
            match keys {
                _ if !known => faults.push(format!(
                    "{section}: unknown; there are bus, containers, downloads, link, logs, neighbours, secrets, storage and time"
                )),
                None => faults.push(format!("{section}: not a section: write [{section}]")),
                Some(keys) => {
                    for (key, value) in keys {
                        let path = format!("{section}.{}", key.get_ref());
                        let set = config.set(&path, value.get_ref());
                        faults.extend(set.err().map(|why| format!("{path}: {why}")));
                    }
                }
            }
        }
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    fn set(&mut self, path: &str, value: &DeValue<'_>) -> Result<(), BadValue> {
        let within = |least: u64, most: u64| {
            let number = value.as_integer();
            let number = number.map(|it| u64::from_str_radix(it.as_str(), it.radix()).ok());
            number
                .flatten()
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| BadValue::NotWithin { shown: shown(value), least, most })
        };
        match path {
            "bus.port" => self.bus_port = u16::try_from(within(1, 65_535)?).ok(),
            "containers.socket" if value.as_str() == Some("off") => self.containers.off = true,
            "containers.socket" => {
                let path = value.as_str().map(PathBuf::from).filter(|path| path.is_absolute());
                self.containers.socket =
                    Some(path.ok_or_else(|| BadValue::NotAPath(shown(value)))?);
            }
            "containers.host_paths" => {
                let path = |it: &DeValue<'_>| {
                    it.as_str().map(PathBuf::from).filter(|path| path.is_absolute())
                };
                let list = value.as_array().map(|it| it.iter().map(|it| path(it.get_ref())));
                let list: Option<Vec<PathBuf>> = list.and_then(Iterator::collect);
                self.containers.host_paths =
                    list.ok_or_else(|| BadValue::NotPaths(shown(value)))?;
            }
            "containers.image_bytes" => self.containers.image_bytes = within(0, MOST)?,
            "containers.keep_image_files" => {
                let truth = value.as_bool().ok_or_else(|| BadValue::NotATruth(shown(value)));
                self.containers.keep_files = truth?;
            }
            "downloads.parallel" => self.downloads = usize::try_from(within(1, 16)?).unwrap_or(1),
            "link.keep_alive_seconds" => {
                self.keep_alive = u16::try_from(within(5, 3_600)?).unwrap_or(u16::MAX);
            }
            "logs.bytes_per_workload" => self.log_bytes = within(64 * 1024, 1024 * 1024 * 1024)?,
            "neighbours.port" => {
                self.neighbours.port = u16::try_from(within(0, 65_535)?).unwrap_or(0);
            }
            "neighbours.bytes_per_second" => {
                self.neighbours.rate = within(64 * 1024, 10_000_000_000)?;
            }
            "secrets.folder" => {
                let path = value.as_str().map(PathBuf::from).filter(|path| path.is_absolute());
                let bad = || BadValue::NotAPath(shown(value));
                self.secrets_folder = Some(path.ok_or_else(bad)?);
            }
            "storage.quota_bytes" => self.storage.quota = Some(within(1024 * 1024, MOST)?),
            "storage.reserve_bytes" => self.storage.reserve = Some(within(0, MOST)?),
            "storage.endurance_bytes" => self.storage.endurance = Some(within(1, MOST)?),
            "time.zone" => {
                let zone = value.as_str().filter(|name| clock::zone_named(name).is_ok());
                self.zone = Some(zone.ok_or_else(|| BadValue::NotAZone(shown(value)))?.to_owned());
            }
            _ => return Err(BadValue::Unknown),
        }
        Ok(())
    }
}

/// Value as it was written, as far as that helps.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::String(text) => format!("{text:?}"),
        other => format!("a {}", other.type_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_said_at_once() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
        let text = "[link]\nkeep_alive_seconds = 60\n[logs]\nbytes_per_workload = 100000\n[bus]\nport = 1883\n";
        let other = Config {
            keep_alive: 60,
            log_bytes: 100_000,
            bus_port: Some(1883),
            ..Config::default()
        };
        assert_eq!(Config::parse(text).unwrap(), other);
        let text = "[storage]\nquota_bytes = 2000000\nreserve_bytes = 0\nendurance_bytes = 7\n";
        let limits = Limits { quota: Some(2_000_000), reserve: Some(0), endurance: Some(7) };
        assert_eq!(Config::parse(text).unwrap().storage, limits);
        let config = Config::parse("[secrets]\nfolder = '/mnt/memory'\n").unwrap();
        assert_eq!(config.secrets_folder, Some(PathBuf::from("/mnt/memory")));
        for wrong in ["'memory'", "3"] {
            let faults = Config::parse(&format!("[secrets]\nfolder = {wrong}\n")).unwrap_err();
            assert!(faults[0].contains("absolute path"), "{faults:?}");
        }
        let text = "[containers]\nsocket = '/run/x.sock'\nhost_paths = ['/srv', '/dev/shm']\nimage_bytes = 5\nkeep_image_files = true\n";
        let containers = Containers {
            socket: Some("/run/x.sock".into()),
            off: false,
            host_paths: vec!["/srv".into(), "/dev/shm".into()],
            image_bytes: 5,
            keep_files: true,
        };
        assert_eq!(Config::parse(text).unwrap().containers, containers);
        assert!(Config::parse("[containers]\nsocket = 'off'\n").unwrap().containers.off);
        for wrong in [
            "socket = 'docker.sock'",
            "host_paths = '/srv'",
            "host_paths = ['srv']",
            "keep_image_files = 1",
        ] {
            assert_eq!(Config::parse(&format!("[containers]\n{wrong}\n")).unwrap_err().len(), 1);
        }
        let text = "[time]\nzone = 'CET-1CEST,M3.5.0,M10.5.0/3'\n[downloads]\nparallel = 16\n\
             [neighbours]\nport = 9000\nbytes_per_second = 100000\n";
        let config = Config::parse(text).unwrap();
        assert_eq!(config.zone.as_deref(), Some("CET-1CEST,M3.5.0,M10.5.0/3"));
        assert_eq!(config.downloads, 16);
        assert_eq!(config.neighbours, Settings { port: 9_000, rate: 100_000 });
        for wrong in ["[time]\nzone = 'Nowhere/Land'", "[time]\nzone = '../../etc/passwd'"] {
            let faults = Config::parse(wrong).unwrap_err();
            assert!(faults[0].contains("zoneinfo"), "{faults:?}");
        }
        for wrong in ["0", "17"] {
            let text = format!("[downloads]\nparallel = {wrong}");
            assert_eq!(Config::parse(&text).unwrap_err().len(), 1, "{wrong}");
        }
        let bad = "speed = 1\nlogs = 3\n[link]\nkeep_alive_seconds = 1\nkeep_alive = 'x'\n";
        let faults = Config::parse(bad).unwrap_err();
        assert_eq!(faults.len(), 4, "{faults:?}");
        for wrong in ["-1", "0", "'300'", "4.5", "9223372036854775807"] {
            for key in ["[link]\nkeep_alive_seconds", "[logs]\nbytes_per_workload", "[bus]\nport"] {
                assert_eq!(Config::parse(&format!("{key} = {wrong}")).unwrap_err().len(), 1);
            }
        }
        assert!(Config::parse("[links]\n").unwrap_err()[0].contains("links"));
        assert!(Config::parse("[link\n").unwrap_err()[0].contains("line 1"));
    }
}
