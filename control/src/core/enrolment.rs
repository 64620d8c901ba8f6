//! May this key be a device, and which? Decided from the token, the key and who is known.

use holdfast_protocol::ids::{Labels, Name, check_label_key, check_label_value};

use super::records::{DeviceRecord, Standing, TokenRecord};
use super::time;
use crate::api::Approve;

/// Most labels of a device.
pub const MAX_LABELS: usize = 64;

/// Who asks. The proof that they hold the key has been checked.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The name they would like.
    pub name: Option<&'a Name>,
    /// sha256 of the public key, hexadecimal.
    pub key_sha256: &'a str,
    /// Labels that they claim.
    pub labels: &'a Labels,
    /// sha256 of the token's secret, hexadecimal.
    pub secret_sha256: &'a str,
}

/// What is known of them.
#[derive(Debug)]
pub struct Known<'a> {
    /// The token with the id that they named.
    pub token: Option<&'a TokenRecord>,
    /// The device that has their key.
    pub same_key: Option<&'a DeviceRecord>,
}

/// What becomes of them.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// They are this device already; nothing changes and no use of the token counts.
    Same(Name),
    /// A new device.
    New {
        /// Its name.
        name: Name,
        /// Its labels.
        labels: Labels,
        /// Whether it may connect.
        standing: Standing,
    },
}

/// Why they are refused. The text is for whoever stands at the device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No such token, or another secret.
    #[error(
        "the token is not known here: it was made by another control plane, mistyped, or long gone; make one with `holdfast token create`"
    )]
    UnknownToken,
    /// A person ended it.
    #[error("the token was revoked; make another with `holdfast token create`")]
    RevokedToken,
    /// Its time is over.
    #[error("the token expired at {0}; make another with `holdfast token create`")]
    ExpiredToken(String),
    /// All its uses are over.
    #[error(
        "the token is used up ({0} of {0} uses); make another with `holdfast token create --uses N`"
    )]
    UsedToken(u32),
    /// The device that has this key may not connect.
    #[error(
        "device {0} was revoked; an operator can `holdfast delete device {0}` to let it enrol anew"
    )]
    RevokedDevice(Name),
    /// Another key has the name.
    #[error(
        "there is a device {0} already, with another key; choose another --name, or `holdfast delete device {0}` first when this one replaces it"
    )]
    NameTaken(Name),
    /// A label that is none.
    #[error("{0}")]
    Label(String),
}

impl Refused {
    /// A word for the metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::UnknownToken => "unknown-token",
            Self::RevokedToken => "revoked-token",
            Self::ExpiredToken(_) => "expired-token",
            Self::UsedToken(_) => "used-token",
            Self::RevokedDevice(_) => "revoked-device",
            Self::NameTaken(_) => "name-taken",
            Self::Label(_) => "invalid",
        }
    }
}

/// Decides. `taken` knows whether a name is a device's.
///
/// # Errors
/// [`Refused`].
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
    // A lost answer must not cost a device its enrolment: the same key may always repeat itself.
    if let Some(device) = known.same_key {
        return match device.standing {
            Standing::Revoked => Err(Refused::RevokedDevice(device.name.clone())),
            Standing::Pending | Standing::Approved => Ok(Decision::Same(device.name.clone())),
        };
    }
    match token.state(now) {
        "used" => return Err(Refused::UsedToken(token.uses)),
        "expired" => return Err(Refused::ExpiredToken(time::rfc3339(token.expires_at))),
        _ => {}
    }
    let labels = labels(asked.labels, &token.labels)?;
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

fn generated(key_sha256: &str) -> Result<Name, Refused> {
    let digits: String = key_sha256.chars().take(12).collect();
    format!("d-{digits}").parse().map_err(|_| Refused::Label("the key has no digest".into()))
}

fn labels(claimed: &Labels, given: &Labels) -> Result<Labels, Refused> {
    let mut all = claimed.clone();
    all.extend(given.clone());
    check_labels(&all).map_err(Refused::Label)?;
    Ok(all)
}

/// Checks a device's labels.
///
/// # Errors
/// What is wrong with the first that is.
pub fn check_labels(labels: &Labels) -> Result<(), String> {
    if labels.len() > MAX_LABELS {
        return Err(format!("{} labels: at most {MAX_LABELS} are allowed", labels.len()));
    }
    for (key, value) in labels {
        check_label_key(key).map_err(|error| format!("labels.{key}: {error}"))?;
        check_label_value(value).map_err(|error| format!("labels.{key}: {error}"))?;
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
            labels: [].into(),
            standing,
            created_at: 0,
            updated_at: 0,
            version: 0,
            token: "00".into(),
            certificate: None,
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
}
