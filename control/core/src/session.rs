//! Logins of browsers: the secret in the cookie, and the CSRF token that proves that the page made
//! a request on purpose.
//!
//! The cookie holds the secret, the store only its sha256. The CSRF token is derived from the
//! secret and not stored. A page must read it from a response of the API before it can send it,
//! which a page of another origin cannot.
//!
//! See decision 0029.

use holdfast_base::ids::{hex, unhex};
use ring::hmac;

use super::model::sha256;

/// Name of the cookie. With the prefix `__Host-` browsers accept it from this host alone, over TLS,
/// for the path `/`.
pub const COOKIE: &str = "__Host-holdfast";

/// Validity of a login in seconds: 12 hours, a long shift.
pub const LIFE: u64 = 12 * 3_600;

/// Validity of a login by an identity provider, in seconds: 8 hours. Its roles are those that the
/// provider's claims gave at the login, so they must not grow old.
pub const PROVIDER_LIFE: u64 = 8 * 3_600;

/// Beginning of a login's secret as an access token of the command line: `hfs1.` and 64 hexadecimal
/// digits.
const BEARER: &str = "hfs1.";

/// Most logins at a time; a further one replaces the oldest.
pub const MAX_SESSIONS: usize = 1_000;

/// Message under which the CSRF token is computed.
const MEANT: &[u8] = b"holdfast csrf 1";

/// Secret of a login, 256 random bits.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(withheld)")
    }
}

impl Secret {
    /// Creates a secret from random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// Reads the secret from a `Cookie` header. None: the header has no such cookie, or an invalid
    /// one.
    pub fn of_cookies(header: &str) -> Option<Self> {
        let mut pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(name, _)| *name == COOKIE)?;
        unhex::<32>(value).map(Self)
    }

    /// Reads the secret from a bearer token. None: it is a token of another kind.
    pub fn of_bearer(token: &str) -> Option<Self> {
        unhex::<32>(token.strip_prefix(BEARER)?).map(Self)
    }

    /// Returns the secret as a bearer token, for the command line.
    pub fn bearer(&self) -> String {
        format!("{BEARER}{}", hex(&self.0))
    }

    /// Returns the value of `Set-Cookie` that stores the secret in the browser.
    pub fn cookie(&self) -> String {
        format!("{COOKIE}={}; {ATTRIBUTES}; Max-Age={LIFE}", hex(&self.0))
    }

    /// Returns the sha256 of the secret, which is stored.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.0)
    }

    /// Returns the CSRF token of the login: an HMAC with the secret as its key, hexadecimal.
    pub fn csrf(&self) -> String {
        hex(hmac::sign(&self.key(), MEANT).as_ref())
    }

    /// True if `csrf` is the CSRF token of the login, compared in constant time.
    pub fn meant(&self, csrf: &str) -> bool {
        unhex::<32>(csrf).is_some_and(|tag| hmac::verify(&self.key(), MEANT, &tag).is_ok())
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

const ATTRIBUTES: &str = "Path=/; HttpOnly; Secure; SameSite=Strict";

/// Returns the value of `Set-Cookie` that deletes the cookie in the browser.
pub fn no_cookie() -> String {
    format!("{COOKIE}=; {ATTRIBUTES}; Max-Age=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_comes_back_as_it_was_set() {
        let secret = Secret::new([7; 32]);
        let set = secret.cookie();
        let pair = set.split(';').next().unwrap();
        for header in [pair.to_owned(), format!("a=b; {pair}; c=d"), format!("a;{pair}")] {
            assert_eq!(Secret::of_cookies(&header).unwrap().digest(), secret.digest(), "{header}");
        }
        let short = pair.get(..pair.len() - 2).unwrap();
        for none in ["", "a=b", "holdfast=00", "__Host-holdfast=", short, &format!("x{pair}")] {
            assert!(Secret::of_cookies(none).is_none(), "{none}");
        }
        assert_eq!(format!("{secret:?}"), "Secret(withheld)");
        let again = Secret::of_bearer(&secret.bearer()).unwrap();
        assert_eq!(again.digest(), secret.digest());
        for none in ["", "hfs1.", "hfa1.a.b", &format!("{}0", secret.bearer())] {
            assert!(Secret::of_bearer(none).is_none(), "{none}");
        }
    }

    #[test]
    fn a_csrf_token_goes_with_one_session() {
        let (one, other) = (Secret::new([1; 32]), Secret::new([2; 32]));
        assert!(one.meant(&one.csrf()));
        for wrong in [String::new(), "x".into(), other.csrf(), one.csrf().repeat(2), hex(&[0; 32])]
        {
            assert!(!one.meant(&wrong), "{wrong}");
        }
        assert_ne!(one.csrf(), hex(&one.digest()));
    }
}
