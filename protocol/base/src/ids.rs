//! Identifiers: names, device ids, digests and state versions. Each is valid by construction.
//!
//! See decision 0005.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Labels of a device or a workload: key to value.
pub type Labels = BTreeMap<String, String>;

/// Longest name in bytes. A name is a DNS label, so that it can stand in a certificate, a topic, a
/// file name and a host name without escaping.
pub const MAX_NAME: usize = 63;

/// Longest key or value of a label, in bytes.
pub const MAX_LABEL: usize = 63;

/// Reason why a text is not an identifier. Its own text completes "NAME: ...".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is not a DNS label.
    #[error(
        "{0:?} is not a name: use 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit"
    )]
    Name(String),
    /// The text is not of the form `tenant_device`.
    #[error("{0:?} is not a device id: it is <tenant>_<device>")]
    DeviceId(String),
    /// The text is not `sha256:` with 64 hexadecimal digits.
    #[error("{0:?} is not a digest: it is sha256: and 64 hexadecimal digits")]
    Digest(String),
    /// The text is not the key or the value of a label.
    #[error(
        "{0:?} is not a label: use up to 63 of letters, digits, '-', '_', '.' and (in keys) '/', beginning and ending with a letter or digit"
    )]
    Label(String),
}

/// A name of a tenant, device, workload or stream: a DNS label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

impl Name {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let bytes = text.as_bytes();
        let good = bytes.len() <= MAX_NAME
            && edge(bytes.first().copied())
            && edge(bytes.last().copied())
            && bytes.iter().all(|&b| inner(b));
        if good { Ok(Self(text.into())) } else { Err(IdError::Name(shorten(text))) }
    }
}

impl TryFrom<String> for Name {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.into()
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identifier of a device: `<tenant>_<device>`, the common name of its certificate and the fourth
/// part of its topics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId {
    /// Tenant that owns the device.
    pub tenant: Name,
    /// Name of the device within its tenant.
    pub device: Name,
}

impl DeviceId {
    /// Character between tenant and device. A [`Name`] cannot hold it, and no broker gives it a
    /// meaning: RabbitMQ and NATS take a dot in a topic for the end of a level, or refuse it. See
    /// decision 0152.
    pub const SEPARATOR: char = '_';
}

impl FromStr for DeviceId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError::DeviceId(shorten(text));
        let (tenant, device) = text.split_once(Self::SEPARATOR).ok_or_else(bad)?;
        Ok(Self {
            tenant: tenant.parse().map_err(|_| bad())?,
            device: device.parse().map_err(|_| bad())?,
        })
    }
}

impl TryFrom<String> for DeviceId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<DeviceId> for String {
    fn from(id: DeviceId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.tenant, Self::SEPARATOR, self.device)
    }
}

/// SHA-256 of an artifact's bytes: `sha256:<64 hex>` as text, 32 bytes on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Returns the 64 hexadecimal digits without `sha256:`, for use as a file name.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.strip_prefix("sha256:")
            .and_then(unhex::<32>)
            .map(Self)
            .ok_or_else(|| IdError::Digest(shorten(text)))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
            <[u8; 32]>::try_from(bytes.as_ref())
                .map(Self)
                .map_err(|_| serde::de::Error::invalid_length(bytes.len(), &"32 bytes"))
        }
    }
}

/// Version of a desired state, ordered by epoch, then generation. An agent refuses a lower one than
/// it holds: (2, 1), made after a restore, is above (1, 900).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct StateVersion {
    /// Number raised by every restore of the control plane from a copy.
    pub epoch: u64,
    /// Number raised by every change of this device's desired state within the epoch. 0: none yet.
    pub generation: u64,
}

impl fmt::Display for StateVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch, self.generation)
    }
}

/// Checks the key of a label.
///
/// # Errors
/// Returns [`IdError::Label`] if it is not a valid key.
pub fn check_label_key(key: &str) -> Result<(), IdError> {
    check_label(key, true)
}

/// Checks the value of a label; empty is allowed.
///
/// # Errors
/// Returns [`IdError::Label`] if it is not a valid value.
pub fn check_label_value(value: &str) -> Result<(), IdError> {
    if value.is_empty() { Ok(()) } else { check_label(value, false) }
}

fn check_label(text: &str, slash: bool) -> Result<(), IdError> {
    let inner = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.') || (slash && b == b'/')
    };
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    let bytes = text.as_bytes();
    let good = bytes.len() <= MAX_LABEL
        && edge(bytes.first().copied())
        && edge(bytes.last().copied())
        && bytes.iter().all(|&b| inner(b));
    if good { Ok(()) } else { Err(IdError::Label(shorten(text))) }
}

/// Returns the bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Parses exactly `N` bytes of hexadecimal in either case; None: anything else.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut out = [0_u8; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let high = char::from(*high).to_digit(16)?;
        let low = char::from(*low).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(out)
}

/// Returns the first 80 characters: the part of hostile input that an error quotes.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "0", "dev-1", &"x".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in
            ["", "-a", "a-", "A", "a.b", "a_b", "a/b", "a+b", "ä", "a b", &"x".repeat(64), "a\0"]
        {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn device_ids_have_exactly_two_parts() {
        let id: DeviceId = "acme_dev-1".parse().unwrap();
        assert_eq!(id.to_string(), "acme_dev-1");
        for bad in ["acme", "acme_", "_dev", "a__b", "a_b_c", "acme_Dev", "acme.dev", "a.b_c"] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn digests_are_text_for_people_and_bytes_on_the_wire() {
        let digest = Digest([0xab; 32]);
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(text, format!("\"sha256:{}\"", "ab".repeat(32)));
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        let wire = serde_cbor::to_vec(&digest).unwrap();
        assert_eq!(wire.len(), 34);
        assert_eq!(serde_cbor::from_slice::<Digest>(&wire).unwrap(), digest);
        assert!("sha256:ab".parse::<Digest>().is_err());
        assert!("ab".repeat(32).parse::<Digest>().is_err());
    }

    #[test]
    fn an_epoch_outweighs_any_generation() {
        let old = StateVersion { epoch: 1, generation: u64::MAX };
        assert!(StateVersion { epoch: 2, generation: 1 } > old);
    }
}
