//! Sessions of the pages: what stands in the cookie, and what proves that a change was meant.
//!
//! The cookie holds a secret, the store its digest. The CSRF token is derived from the secret, so
//! that nothing more is kept: whoever can read it can read the API's answers, and that is what a
//! foreign page cannot.

use holdfast_base::ids::{hex, unhex};
use ring::hmac;

use super::model::sha256;

/// The cookie's name. `__Host-`: browsers take it from this host alone, over TLS, for `/`.
pub const COOKIE: &str = "__Host-holdfast";

/// How long a session lasts, in seconds: a long shift.
pub const LIFE: u64 = 12 * 3_600;

/// Most sessions; the oldest goes for a new one.
pub const MAX_SESSIONS: usize = 1_000;

/// What the CSRF token says.
const MEANT: &[u8] = b"holdfast csrf 1";

/// A session's secret.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(withheld)")
    }
}

impl Secret {
    /// From random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// From the value of a `Cookie` header. None: our cookie is not in it, or not as we write it.
    pub fn of_cookies(header: &str) -> Option<Self> {
        let mut pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(name, _)| *name == COOKIE)?;
        unhex::<32>(value).map(Self)
    }

    /// The value of `Set-Cookie`.
    pub fn cookie(&self) -> String {
        format!("{COOKIE}={}; {ATTRIBUTES}; Max-Age={LIFE}", hex(&self.0))
    }

    /// What is kept of it.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.0)
    }

    /// The CSRF token that goes with it.
    pub fn csrf(&self) -> String {
        hex(hmac::sign(&self.key(), MEANT).as_ref())
    }

    /// Whether this is the CSRF token that goes with it; takes as long for every wrong one.
    pub fn meant(&self, csrf: &str) -> bool {
        unhex::<32>(csrf).is_some_and(|tag| hmac::verify(&self.key(), MEANT, &tag).is_ok())
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

const ATTRIBUTES: &str = "Path=/; HttpOnly; Secure; SameSite=Strict";

/// The value of `Set-Cookie` that ends it in the browser.
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
