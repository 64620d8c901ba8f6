//! Decides whether a key may become a device, and which one, from the token, the key and the
//! devices that exist.
//!
//! See decisions 0003, 0083 and 0084.

use holdfast_base::ids::{IdError, Labels, Name, check_label_key, check_label_value};

use super::records::{DeviceRecord, Standing, TokenRecord};
use holdfast_api::Approve;
use holdfast_api::time;

/// Most labels of a device.
pub const MAX_LABELS: usize = 64;

/// Request to enrol. The proof of possession of the key has been checked.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Device name that is asked for. `None`: one is made from the key.
    pub name: Option<&'a Name>,
    /// SHA-256 of the public key, hexadecimal.
    pub key_sha256: &'a str,
    /// Labels that the agent claims for its device.
    pub labels: &'a Labels,
    /// SHA-256 of the token's secret, hexadecimal.
    pub secret_sha256: &'a str,
}

/// Stored records that concern a request to enrol.
#[derive(Debug)]
pub struct Known<'a> {
    /// Token with the id that the request names.
    pub token: Option<&'a TokenRecord>,
    /// Device that has the key of the request.
    pub same_key: Option<&'a DeviceRecord>,
}

/// Result of an admitted request.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// The key is this device already, and the request asks for nothing else. Such a repetition is
    /// no use of the token.
    Same(Name),
    /// The key becomes a new device.
    New {
        /// Name of the new device.
        name: Name,
        /// Claimed labels that the token allows, and the token's own, which take precedence.
        labels: Labels,
        /// Approved, or pending if a person has to approve the device first.
        standing: Standing,
    },
}

/// Reason for which a request is refused. The text is for the person at the device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No token has this id, or its secret differs.
    #[error(
        "the token is not known here: it was made by another control plane, mistyped, or long gone; make one with `holdfast token create`"
    )]
    UnknownToken,
    /// The token was revoked by a person.
    #[error("the token was revoked; make another with `holdfast token create`")]
    RevokedToken,
    /// The token expired; holds the time in RFC 3339.
    #[error("the token expired at {0}; make another with `holdfast token create`")]
    ExpiredToken(String),
    /// All uses of the token have been made; holds their number.
    #[error(
        "the token is used up ({0} of {0} uses); make another with `holdfast token create --uses N`"
    )]
    UsedToken(u32),
    /// The device that has this key was revoked.
    #[error(
        "device {0} was revoked; an operator can `holdfast delete device {0}` to let it enrol anew"
    )]
    RevokedDevice(Name),
    /// Another key has this device name.
    #[error(
        "there is a device {0} already, with another key; choose another --name, or `holdfast delete device {0}` first when this one replaces it"
    )]
    NameTaken(Name),
    /// The key belongs to the device of the first name; the second was asked for.
    #[error(
        "this data folder is device {0} already, not {1}: for another device use another --data, or stop the agent and remove this folder first (also where it is a copy of another machine's)"
    )]
    OtherName(Name, Name),
    /// A label of the device differs: name of the device, its present label in words, and the
    /// claimed one as `KEY=VALUE`.
    #[error("device {0} has {1}, not {2}: `holdfast device label {0} {2}` changes it")]
    OtherLabel(Name, String, String),
    /// A label is invalid, or there are too many.
    #[error(transparent)]
    Label(BadLabels),
    /// The key that was sent has no digest from which a name could be made.
    #[error("the key has no digest")]
    Key,
}

impl Refused {
    /// Returns the reason as a word for metrics, such as `expired-token`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::UnknownToken => "unknown-token",
            Self::RevokedToken => "revoked-token",
            Self::ExpiredToken(_) => "expired-token",
            Self::UsedToken(_) => "used-token",
            Self::RevokedDevice(_) => "revoked-device",
            Self::NameTaken(_) => "name-taken",
            Self::OtherName(..) => "other-name",
            Self::OtherLabel(..) => "other-label",
            Self::Label(_) | Self::Key => "invalid",
        }
    }
}

/// Decides about a request at `now`, in seconds since 1970. `taken` returns whether a device of
/// this name exists.
///
/// # Errors
/// [`Refused`] with the reason.
pub fn decide(
    asked: &Asked<'_>,
    known: &Known<'_>,
    taken: impl Fn(&Name) -> bool,
    now: u64,
) -> Result<Decision, Refused> {
    let token = known
        .token
        .filter(|token| *token.secret_sha256 == *asked.secret_sha256)
        .ok_or(Refused::UnknownToken)?;
    if token.revoked {
        return Err(Refused::RevokedToken);
    }
    // A lost reply must not cost a device its enrolment: the same key may always repeat its
    // request.
    if let Some(device) = known.same_key {
        return match device.standing {
            Standing::Revoked => Err(Refused::RevokedDevice(device.name.clone())),
            Standing::Pending | Standing::Approved => same(asked, token, device),
        };
    }
    match token.state(now) {
        "used" => return Err(Refused::UsedToken(token.uses)),
        "expired" => return Err(Refused::ExpiredToken(time::rfc3339(token.expires_at))),
        _ => {}
    }
    let labels = labels(asked.labels, token)?;
    let name = match asked.name {
        Some(name) => name.clone(),
        None => generated(asked.key_sha256)?,
    };
    if taken(&name) {
        return Err(Refused::NameTaken(name));
    }
    let standing = match token.approve {
        Approve::Auto => Standing::Approved,
        Approve::Manual => Standing::Pending,
    };
    Ok(Decision::New { name, labels, standing })
}

/// Decides about a device that enrols again: it may repeat itself, but not ask for another name or
/// other labels.
fn same(
    asked: &Asked<'_>,
    token: &TokenRecord,
    device: &DeviceRecord,
) -> Result<Decision, Refused> {
    let name = &device.name;
    if let Some(other) = asked.name.filter(|other| *other != name) {
        return Err(Refused::OtherName(name.clone(), other.clone()));
    }
    let labels = labels(asked.labels, token)?;
    let other = labels.iter().find(|(key, value)| device.labels.get(*key) != Some(*value));
    match other {
        None => Ok(Decision::Same(name.clone())),
        Some((key, value)) => {
            let has = match device.labels.get(key) {
                Some(has) => format!("label {key}={has}"),
                None => format!("no label {key}"),
            };
            Err(Refused::OtherLabel(name.clone(), has, format!("{key}={value}")))
        }
    }
}

fn generated(key_sha256: &str) -> Result<Name, Refused> {
    let digits: String = key_sha256.chars().take(12).collect();
    format!("d-{digits}").parse().map_err(|_| Refused::Key)
}

fn labels(claimed: &Labels, token: &TokenRecord) -> Result<Labels, Refused> {
    check_labels(claimed).map_err(Refused::Label)?;
    let mut all = claimed.clone();
    all.retain(|key, _| token.lets_claim(key));
    all.extend(token.labels.clone());
    check_labels(&all).map_err(Refused::Label)?;
    Ok(all)
}

/// Returns the keys of claimed labels that do not count, because the token does not allow them, and
/// that the device does not have from elsewhere. Whoever enrols is told of them.
pub fn held_back(asked: &Asked<'_>, known: &Known<'_>) -> Vec<String> {
    let Some(token) = known.token else { return Vec::new() };
    let has = |key: &str, value: &String| {
        known.same_key.is_some_and(|device| device.labels.get(key) == Some(value))
    };
    let held =
        asked.labels.iter().filter(|(key, value)| !token.lets_claim(key) && !has(key, value));
    held.map(|(key, _)| key.clone()).collect()
}

/// Fault of the labels of a device or a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLabels {
    /// More labels than [`MAX_LABELS`], with their number.
    #[error("{0} labels: at most {MAX_LABELS} are allowed")]
    TooMany(usize),
    /// Label whose key or value is not valid.
    #[error("labels.{key}: {error}")]
    Bad {
        /// Key of the label.
        key: String,
        /// Fault of the key or of the value.
        #[source]
        error: IdError,
    },
}

/// Checks number, keys and values of a device's labels.
///
/// # Errors
/// The first fault.
pub fn check_labels(labels: &Labels) -> Result<(), BadLabels> {
    if labels.len() > MAX_LABELS {
        return Err(BadLabels::TooMany(labels.len()));
    }
    for (key, value) in labels {
        let fault = |error| BadLabels::Bad { key: key.clone(), error };
        check_label_key(key).map_err(fault)?;
        check_label_value(value).map_err(fault)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> TokenRecord {
        TokenRecord {
            id: "00".into(),
            secret_sha256: "good".into(),
            created_at: 0,
            expires_at: 100,
            uses: 1,
            used: 0,
            labels: [("site".into(), "north".into())].into(),
            allow_labels: vec!["x".into()],
            approve: Approve::Auto,
            revoked: false,
            version: 1,
        }
    }

    fn device(standing: Standing) -> DeviceRecord {
        DeviceRecord {
            name: "d-1".parse().unwrap(),
            shard: 0,
            public_key: "".into(),
            labels: [("site".into(), "north".into()), ("x".into(), "y".into())].into(),
            standing,
            created_at: 0,
            updated_at: 0,
            version: 0,
            token: "00".into(),
            uncounted: Vec::new(),
            certificate: None,
            sealing_key: None,
        }
    }

    fn ask(
        token: Option<&TokenRecord>,
        same_key: Option<&DeviceRecord>,
        taken: bool,
        secret: &str,
        now: u64,
    ) -> Result<Decision, &'static str> {
        let labels = [("site".into(), "south".into()), ("x".into(), "y".into())].into();
        let key = "0123456789abcdef";
        let asked = Asked { name: None, key_sha256: key, labels: &labels, secret_sha256: secret };
        decide(&asked, &Known { token, same_key }, |_| taken, now).map_err(|refused| refused.word())
    }

    #[test]
    fn every_state_of_token_and_key_has_its_answer() {
        let good = token();
        let used = TokenRecord { used: 1, ..token() };
        let revoked = TokenRecord { revoked: true, ..token() };
        let manual = TokenRecord { approve: Approve::Manual, ..token() };
        let new = |standing| {
            Ok(Decision::New {
                name: "d-0123456789ab".parse().unwrap(),
                labels: [("site".into(), "north".into()), ("x".into(), "y".into())].into(),
                standing,
            })
        };
        let same = || Ok(Decision::Same("d-1".parse().unwrap()));
        let (approved, gone) = (device(Standing::Approved), device(Standing::Revoked));
        assert_eq!(ask(Some(&good), None, false, "good", 0), new(Standing::Approved));
        assert_eq!(ask(Some(&manual), None, false, "good", 0), new(Standing::Pending));
        assert_eq!(ask(None, None, false, "good", 0), Err("unknown-token"));
        assert_eq!(ask(Some(&good), None, false, "bad", 0), Err("unknown-token"));
        assert_eq!(ask(Some(&good), None, false, "good", 100), Err("expired-token"));
        assert_eq!(ask(Some(&used), None, false, "good", 0), Err("used-token"));
        assert_eq!(ask(Some(&revoked), None, false, "good", 0), Err("revoked-token"));
        assert_eq!(ask(Some(&good), None, true, "good", 0), Err("name-taken"));
        assert_eq!(ask(Some(&used), Some(&approved), true, "good", 500), same());
        assert_eq!(ask(Some(&used), Some(&gone), true, "good", 0), Err("revoked-device"));
        assert_eq!(ask(Some(&used), Some(&approved), true, "bad", 0), Err("unknown-token"));
    }

    #[test]
    fn claimed_labels_count_if_the_token_allows_them_or_a_person_does() {
        let tokens = |keys: &[&str], approve| TokenRecord {
            allow_labels: keys.iter().map(|key| (*key).into()).collect(),
            approve,
            ..token()
        };
        for (keys, approve, taken) in [
            (&[][..], Approve::Auto, false),
            (&["site"], Approve::Auto, false),
            (&["x"], Approve::Auto, true),
            (&["*"], Approve::Auto, true),
            (&[], Approve::Manual, true),
        ] {
            let token = tokens(keys, approve);
            let Ok(Decision::New { labels, .. }) = ask(Some(&token), None, false, "good", 0) else {
                panic!("{keys:?}: a device is let in without what it may not claim")
            };
            assert_eq!(labels.contains_key("x"), taken, "{keys:?}");
            assert_eq!(labels["site"], "north", "the token's own labels win");
            let claimed = [("x".into(), "y".into()), ("site".into(), "south".into())].into();
            let asked =
                Asked { name: None, key_sha256: "k", labels: &claimed, secret_sha256: "good" };
            let known = Known { token: Some(&token), same_key: None };
            let held = held_back(&asked, &known);
            assert_eq!(held.is_empty(), taken, "{keys:?}: {held:?}");
            let (has, had) = (device(Standing::Approved), Labels::from([("x".into(), "y".into())]));
            let asked = Asked { labels: &had, ..asked };
            let known = Known { same_key: Some(&has), ..known };
            assert_eq!(held_back(&asked, &known), [""; 0], "it has it, from a person");
        }
    }

    #[test]
    fn enrolling_again_with_other_words_is_refused_and_says_what_to_do() {
        let good = TokenRecord { allow_labels: vec!["x".into(), "new".into()], ..token() };
        let known = device(Standing::Approved);
        let ask = |name: Option<&str>, labels: &[(&str, &str)]| {
            let name = name.map(|name| name.parse().unwrap());
            let labels = labels.iter().map(|(key, it)| ((*key).into(), (*it).into())).collect();
            let asked = Asked {
                name: name.as_ref(),
                key_sha256: "0123456789abcdef",
                labels: &labels,
                secret_sha256: "good",
            };
            let known = Known { token: Some(&good), same_key: Some(&known) };
            decide(&asked, &known, |_| true, 0).map_err(|refused| refused.to_string())
        };
        let same = Ok(Decision::Same("d-1".parse().unwrap()));
        assert_eq!(ask(None, &[]), same);
        assert_eq!(ask(Some("d-1"), &[("x", "y")]), same);
        let said = ask(Some("w9"), &[]).unwrap_err();
        assert!(
            said.contains("is device d-1 already, not w9") && said.contains("--data"),
            "{said}"
        );
        let said = ask(None, &[("x", "z")]).unwrap_err();
        assert!(said.contains("`holdfast device label d-1 x=z`"), "{said}");
        let said = ask(None, &[("new", "z")]).unwrap_err();
        assert!(said.contains("has no label new, not new=z"), "{said}");
    }
}
