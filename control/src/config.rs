//! The configuration file: a pure parse from text to values, with all its errors at once.

use serde::Deserialize;

use crate::core::time::duration;

/// What the control plane can be told. Every field has a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// In certificates' SPIFFE ids.
    pub trust_domain: String,
    /// `host:port` that devices dial for MQTT, best first. Empty: the port that is listened on,
    /// at the host that the device asked.
    pub mqtt_addresses: Vec<String>,
    /// Life of a device's certificate, in seconds.
    pub device_ttl: u64,
    /// Largest artifact, in bytes.
    pub max_artifact: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            trust_domain: "holdfast".into(),
            mqtt_addresses: Vec::new(),
            device_ttl: 30 * 86_400,
            max_artifact: 2 * 1024 * 1024 * 1024,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    trust_domain: Option<String>,
    #[serde(default)]
    mqtt_addresses: Vec<String>,
    #[serde(default)]
    certificates: Certificates,
    #[serde(default)]
    artifacts: Artifacts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Certificates {
    device_ttl: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Artifacts {
    max_bytes: Option<u64>,
}

impl Config {
    /// Reads the text of a configuration file (TOML).
    ///
    /// # Errors
    /// Everything that is wrong with it, a line each.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let file: File = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
        let mut faults = Vec::new();
        let mut config = Self::default();
        if let Some(domain) = file.trust_domain {
            let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
            if domain.is_empty() || domain.len() > 255 || !domain.bytes().all(good) {
                faults.push(format!(
                    "trust_domain: {domain:?} is not one: use a-z, 0-9, '-', '.' and '_'"
                ));
            }
            config.trust_domain = domain;
        }
        for address in &file.mqtt_addresses {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none_or(|port| port == 0) {
                faults.push(format!("mqtt_addresses: {address:?} is not HOST:PORT or :PORT"));
            }
        }
        config.mqtt_addresses = file.mqtt_addresses;
        if let Some(text) = file.certificates.device_ttl {
            match duration(&text) {
                Some(seconds) => config.device_ttl = seconds,
                None => faults.push(format!(
                    "certificates.device_ttl: {text:?} is not a length of time such as \"30d\", \"12h\", \"15m\" or \"90s\""
                )),
            }
        }
        match file.artifacts.max_bytes {
            Some(0) => faults.push("artifacts.max_bytes: 0 would refuse every artifact".into()),
            Some(bytes) => config.max_artifact = bytes,
            None => {}
        }
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_every_field() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
        let config = Config::parse(
            "trust_domain = \"acme\"\nmqtt_addresses = [\"a:1\", \":2\"]\n[certificates]\ndevice_ttl = \"6s\"\n[artifacts]\nmax_bytes = 7\n",
        )
        .unwrap();
        assert_eq!((config.device_ttl, config.max_artifact), (6, 7));
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let faults = Config::parse(
            "trust_domain = \"A B\"\nmqtt_addresses = [\"a\"]\n[certificates]\ndevice_ttl = \"6\"\n",
        )
        .unwrap_err();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(Config::parse("colour = 1").unwrap_err()[0].contains("colour"));
    }
}
