//! Identification of a caller: by its credentials, otherwise by the user that the kernel names.
//!
//! See decision 0053.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::Name;

use crate::adapters::bus::Authority;
use crate::core::caller::Peer;

/// Longest Authorization header that is read, in bytes.
const MAX_HEADER: usize = 1_024;

/// Reasons why a caller is not identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unknown {
    /// The credentials are wrong.
    #[error(
        "wrong user name or password, or another user than theirs: give HOLDFAST_MQTT_USERNAME and HOLDFAST_MQTT_PASSWORD (curl -u \"$HOLDFAST_MQTT_USERNAME:$HOLDFAST_MQTT_PASSWORD\")"
    )]
    Wrong,
    /// No credentials were given, and the user is not a workload's own.
    #[error(
        "who is this? No workload has this user to itself: give HOLDFAST_MQTT_USERNAME and HOLDFAST_MQTT_PASSWORD (curl -u \"$HOLDFAST_MQTT_USERNAME:$HOLDFAST_MQTT_PASSWORD\"), or make a local access: holdfast-agent local-access create NAME"
    )]
    Nobody,
}

/// Identifies the caller.
pub(super) fn identify(
    authority: &Authority,
    header: Option<&[u8]>,
    caller: &Peer,
) -> Result<Name, Unknown> {
    if let Some(header) = header {
        let (name, password) = basic(header).ok_or(Unknown::Wrong)?;
        return authority.identify(&name, password.as_bytes(), caller).ok_or(Unknown::Wrong);
    }
    authority.workload_of(caller).ok_or(Unknown::Nobody)
}

/// Parses user name and password of HTTP's Basic scheme.
fn basic(header: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(header).ok().filter(|text| text.len() <= MAX_HEADER)?;
    let (scheme, value) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_read_and_nothing_else() {
        let good = Some(("me".to_owned(), "a:b".to_owned()));
        assert_eq!(basic(b"Basic bWU6YTpi"), good);
        assert_eq!(basic(b"basic  bWU6YTpi "), good);
        for bad in ["Bearer x", "Basic", "Basic !", "Basic bWU=", "", &"x".repeat(2_000)] {
            assert_eq!(basic(bad.as_bytes()), None, "{bad}");
        }
    }
}
