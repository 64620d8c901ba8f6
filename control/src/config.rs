//! Configuration file of the control plane: a pure parse from text to values that reports all
//! errors at once.

use toml::Value;

use crate::api::time::duration;

/// Keys that are sections.
const SECTIONS: [&str; 2] = ["certificates", "artifacts"];

/// Every key that may be set.
const KEYS: [&str; 5] = [
    "trust_domain",
    "mqtt_addresses",
    "tls_names",
    "certificates.device_ttl",
    "artifacts.max_bytes",
];

/// Most further names in the server's certificate.
const MOST_NAMES: usize = 32;

/// Settings of the control plane. Every field has a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Trust domain in the SPIFFE ids of certificates. Default: `holdfast`.
    pub trust_domain: String,
    /// Addresses (`host:port`) that devices dial for MQTT, the best first. Empty: the port of the
    /// gateway, at the host where the device enrolled.
    pub mqtt_addresses: Vec<String>,
    /// Further names and addresses in the server's certificate, for programs that compare it with the
    /// name they dialled: engines that pull images, browsers. Devices and the command line need none.
    pub tls_names: Vec<String>,
    /// Life of a device's certificate in seconds. Default: 30 days.
    pub device_ttl: u64,
    /// Largest artifact in bytes. Default: 2 GiB.
    pub max_artifact: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            trust_domain: "holdfast".into(),
            mqtt_addresses: Vec::new(),
            tls_names: Vec::new(),
            device_ttl: 30 * 86_400,
            max_artifact: 2 * 1024 * 1024 * 1024,
        }
    }
}

impl Config {
    /// Parses the text of a configuration file (TOML).
    ///
    /// # Errors
    /// Every fault of the file, one line each.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| vec![error.to_string().trim_end().to_owned()])?;
        let mut config = Self::default();
        let mut faults = Vec::new();
        for (key, value) in &table {
            match (SECTIONS.contains(&key.as_str()), value) {
                (true, Value::Table(section)) => {
                    for (inner, value) in section {
                        config.set(&format!("{key}.{inner}"), value, &mut faults);
                    }
                }
                (true, _) => faults.push(format!("{key}: not a section: write [{key}]")),
                (false, _) => config.set(key, value, &mut faults),
            }
        }
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    /// Sets one key, or adds what is wrong with its value to `faults`.
    fn set(&mut self, key: &str, value: &Value, faults: &mut Vec<String>) {
        let taken = match key {
            "trust_domain" => trust_domain(value).map(|domain| self.trust_domain = domain),
            "mqtt_addresses" => return list(key, value, address, &mut self.mqtt_addresses, faults),
            "tls_names" => {
                list(key, value, name, &mut self.tls_names, faults);
                if self.tls_names.len() > MOST_NAMES {
                    faults.push(format!("{key}: more than {MOST_NAMES}"));
                }
                return;
            }
            "certificates.device_ttl" => value
                .as_str()
                .and_then(duration)
                .map(|seconds| self.device_ttl = seconds)
                .ok_or("is not a length of time such as \"30d\", \"12h\", \"15m\" or \"90s\""),
            "artifacts.max_bytes" => max_bytes(value).map(|bytes| self.max_artifact = bytes),
            _ => return faults.push(format!("{key}: unknown; there are {}", KEYS.join(", "))),
        };
        faults.extend(taken.err().map(|why| format!("{key}: {} {why}", shown(value))));
    }
}

/// Reads a list of texts, or adds what is wrong with it to `faults`.
fn list(
    key: &str,
    value: &Value,
    read: impl Fn(&Value) -> Result<String, &'static str>,
    into: &mut Vec<String>,
    faults: &mut Vec<String>,
) {
    let Value::Array(given) = value else {
        return faults.push(format!("{key}: {} is not a list", shown(value)));
    };
    for value in given {
        match read(value) {
            Ok(text) => into.push(text),
            Err(why) => faults.push(format!("{key}: {} {why}", shown(value))),
        }
    }
}

/// Reads a name of a host or an address, without a port.
fn name(value: &Value) -> Result<String, &'static str> {
    let label = |part: &str| {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let ends = !part.starts_with('-') && !part.ends_with('-');
        !part.is_empty() && part.len() <= 63 && ends && part.bytes().all(good)
    };
    let is_host = |text: &str| text.len() <= 253 && text.split('.').all(label);
    let is_address = |text: &str| text.parse::<std::net::IpAddr>().is_ok();
    let named = value.as_str().filter(|text| is_address(text) || is_host(text));
    named.map(ToOwned::to_owned).ok_or("is no name of a host and no address, such as edge.example")
}

fn trust_domain(value: &Value) -> Result<String, &'static str> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
    let domain = value
        .as_str()
        .filter(|domain| !domain.is_empty() && domain.len() <= 255 && domain.bytes().all(good));
    domain.map(ToOwned::to_owned).ok_or("is not one: use a-z, 0-9, '-', '.' and '_'")
}

fn address(value: &Value) -> Result<String, &'static str> {
    let port = |text: &str| text.rsplit_once(':')?.1.parse::<u16>().ok().filter(|port| *port > 0);
    let address = value.as_str().filter(|text| port(text).is_some());
    address.map(ToOwned::to_owned).ok_or("is not HOST:PORT or :PORT")
}

fn max_bytes(value: &Value) -> Result<u64, &'static str> {
    match value.as_integer().map(u64::try_from) {
        Some(Ok(0)) => Err("would refuse every artifact"),
        Some(Ok(bytes)) => Ok(bytes),
        _ => Err("is not a number of bytes"),
    }
}

/// Returns a value as an error shows it: numbers and strings in full, of others the type.
fn shown(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => format!("an {}", value.type_str()),
        other => format!("a {}", other.type_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_every_field() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
        let config = Config::parse(
            "trust_domain = \"acme\"\nmqtt_addresses = [\"a:1\", \":2\"]\ntls_names = [\"edge.example\", \"10.0.0.5\", \"::7\"]\n[certificates]\ndevice_ttl = \"6s\"\n[artifacts]\nmax_bytes = 7\n",
        )
        .unwrap();
        assert_eq!((config.device_ttl, config.max_artifact), (6, 7));
        assert_eq!(config.tls_names, ["edge.example", "10.0.0.5", "::7"]);
        for wrong in ["edge.example:8443", "-a", "a..b", "*.example", "", "https://a"] {
            let text = format!("tls_names = [\"{wrong}\"]");
            assert_eq!(Config::parse(&text).unwrap_err().len(), 1, "{wrong}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let faults = Config::parse(
            "colour = 1\ntrust_domain = \"A B\"\nmqtt_addresses = [\"a\", \"b:1\", 3]\n\
             [certificates]\ndevice_ttl = \"6\"\ndevice_tll = \"6s\"\n\
             [artifacts]\nmax_bytes = -1\n[artefacts]\nmax_bytes = 1\n",
        )
        .unwrap_err();
        for said in [
            "colour: unknown; there are trust_domain, mqtt_addresses, tls_names, certificates.device_ttl",
            "trust_domain: \"A B\" is not one",
            "mqtt_addresses: \"a\" is not HOST:PORT",
            "mqtt_addresses: 3 is not HOST:PORT",
            "certificates.device_ttl: \"6\" is not a length of time",
            "certificates.device_tll: unknown",
            "artifacts.max_bytes: -1 is not a number of bytes",
            "artefacts: unknown",
        ] {
            assert!(faults.iter().any(|fault| fault.starts_with(said)), "{said}: {faults:#?}");
        }
        assert_eq!(faults.len(), 8, "{faults:#?}");
    }

    #[test]
    fn what_is_of_the_wrong_type_is_said_with_its_key() {
        for (text, said) in [
            ("trust_domain = 1", "trust_domain: 1 is not one"),
            ("trust_domain = \"\"", "trust_domain: \"\" is not one"),
            ("mqtt_addresses = \"a:1\"", "mqtt_addresses: \"a:1\" is not a list"),
            ("mqtt_addresses = [\"a:0\"]", "mqtt_addresses: \"a:0\" is not"),
            ("mqtt_addresses = [[]]", "mqtt_addresses: an array is not"),
            ("certificates = 3", "certificates: not a section: write [certificates]"),
            ("certificates.device_ttl = 30", "certificates.device_ttl: 30 is not a length"),
            ("artifacts.max_bytes = 0", "artifacts.max_bytes: 0 would refuse"),
            ("artifacts.max_bytes = \"1\"", "artifacts.max_bytes: \"1\" is not a number"),
            ("artifacts.max_bytes = 1.5", "artifacts.max_bytes: a float is not a number"),
            ("[artifacts", "TOML parse error at line 1"),
        ] {
            let faults = Config::parse(text).unwrap_err();
            assert_eq!(faults.len(), 1, "{text}: {faults:?}");
            assert!(faults[0].starts_with(said), "{text}: {faults:?}");
        }
    }
}
