//! Ticket of a login in a browser: what ties the provider's answer to the browser that began the
//! login. It lies in a cookie; nothing of it is kept here, so any number of logins can be begun.
//!
//! State, nonce and PKCE verifier are derived from the ticket under a key that this process made at
//! its start: whoever has the cookie alone knows none of them.
//!
//! See decision 0165.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_base::ids::{Name, hex, unhex};
use ring::{digest, hmac};

/// Name of the cookie. It comes along when the provider sends the browser back, which is a
/// navigation from another site: hence `SameSite=Lax`.
pub const TICKET_COOKIE: &str = "__Host-holdfast-login";

/// Time within which a person has to log in at the provider, in seconds.
pub const TICKET_LIFE: u64 = 600;

/// Longest path of a page to come back to, in bytes.
pub const RETURN: usize = 512;

/// Key under which the secrets of tickets are derived.
pub struct TicketKey(hmac::Key);

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKey(withheld)")
    }
}

impl TicketKey {
    /// Makes a key from random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &random))
    }
}

/// Place where a login was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Where {
    /// Tenant of the provider.
    pub tenant: Name,
    /// Name of the provider.
    pub provider: Name,
    /// Path of the page to come back to.
    pub back: String,
}

/// Ticket of one login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Place where the login was begun.
    pub at: Where,
    begun: u64,
    random: [u8; 32],
}

/// Reason why an answer of a provider belongs to no login of this browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTicket {
    /// There is no ticket, or it is no valid one.
    #[error("this browser has begun no login here, or it was another tab: begin the login again")]
    None,
    /// The login took too long.
    #[error("the login took longer than ten minutes: begin it again")]
    Late,
    /// The answer is to another login, or this program was started anew meanwhile.
    #[error(
        "the answer belongs to another login (state), or the control plane was started anew meanwhile: begin the login again"
    )]
    State,
}

impl Ticket {
    /// Makes a ticket. A path that does not lead to a page here becomes `/`.
    pub fn new(at: Where, begun: u64, random: [u8; 32]) -> Self {
        let back = if is_page(&at.back) { at.back } else { "/".into() };
        Self { at: Where { back, ..at }, begun, random }
    }

    fn text(&self) -> String {
        let Where { tenant, provider, back } = &self.at;
        let back = URL_SAFE_NO_PAD.encode(back);
        format!("{}.{}.{tenant}.{provider}.{back}", hex(&self.random), self.begun)
    }

    /// Returns the value of `Set-Cookie`.
    pub fn cookie(&self) -> String {
        format!(
            "{TICKET_COOKIE}={}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age={TICKET_LIFE}",
            self.text()
        )
    }

    /// Reads a ticket from a `Cookie` header.
    pub fn of_cookies(header: &str) -> Option<Self> {
        let mut pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(name, _)| *name == TICKET_COOKIE)?;
        let mut parts = value.split('.');
        let random = unhex::<32>(parts.next()?)?;
        let begun = parts.next()?.parse().ok()?;
        let (tenant, provider) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let back = String::from_utf8(URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok()?;
        let fine = parts.next().is_none() && is_page(&back);
        fine.then_some(Self { at: Where { tenant, provider, back }, begun, random })
    }

    fn derived(&self, key: &TicketKey, what: &str) -> String {
        let message = format!("holdfast login 1 {what} {}", self.text());
        URL_SAFE_NO_PAD.encode(hmac::sign(&key.0, message.as_bytes()))
    }

    /// Returns the state, which the provider gives back.
    pub fn state(&self, key: &TicketKey) -> String {
        self.derived(key, "state")
    }

    /// Returns the nonce, which the ID token must have.
    pub fn nonce(&self, key: &TicketKey) -> String {
        self.derived(key, "nonce")
    }

    /// Returns the PKCE verifier, 43 characters.
    pub fn verifier(&self, key: &TicketKey) -> String {
        self.derived(key, "verifier")
    }

    /// Returns the PKCE challenge (S256).
    pub fn challenge(&self, key: &TicketKey) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, self.verifier(key).as_bytes()))
    }

    /// Checks that an answer of this provider with this state is the one to this ticket, in time.
    ///
    /// # Errors
    /// [`BadTicket`].
    pub fn check(
        &self,
        key: &TicketKey,
        provider: &str,
        state: &str,
        now: u64,
    ) -> Result<(), BadTicket> {
        let message = format!("holdfast login 1 state {}", self.text());
        let given = URL_SAFE_NO_PAD.decode(state).map_err(|_| BadTicket::State)?;
        let same = hmac::verify(&key.0, message.as_bytes(), &given).is_ok();
        if !same || self.at.provider.as_str() != provider {
            return Err(BadTicket::State);
        }
        if now > self.begun.saturating_add(TICKET_LIFE) || now < self.begun {
            return Err(BadTicket::Late);
        }
        Ok(())
    }
}

/// True for the path of a page of this server, and nothing that a browser takes for another one.
fn is_page(path: &str) -> bool {
    let mut signs = path.chars();
    signs.next() == Some('/')
        && !matches!(signs.next(), Some('/' | '\\'))
        && path.len() <= RETURN
        && path.chars().all(|c| c.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(back: &str) -> Where {
        Where {
            tenant: "acme".parse().unwrap(),
            provider: "corp".parse().unwrap(),
            back: back.into(),
        }
    }

    fn ticket(back: &str) -> Ticket {
        Ticket::new(at(back), 1_000, [7; 32])
    }

    #[test]
    fn an_answer_counts_for_the_browser_that_asked_and_for_ten_minutes() {
        let (key, other) = (TicketKey::new([1; 32]), TicketKey::new([2; 32]));
        let ticket = ticket("/devices?q=a");
        let set = ticket.cookie();
        let read = Ticket::of_cookies(set.split(';').next().unwrap()).unwrap();
        assert_eq!(read, ticket);
        let state = ticket.state(&key);
        assert_eq!(read.check(&key, "corp", &state, 1_600), Ok(()));
        for (key, provider, state, now, why) in [
            (&key, "corp", &*state, 1_601, BadTicket::Late),
            (&key, "corp", &*state, 999, BadTicket::Late),
            (&key, "other", &*state, 1_000, BadTicket::State),
            (&other, "corp", &*state, 1_000, BadTicket::State),
            (&key, "corp", "", 1_000, BadTicket::State),
            (&key, "corp", &*ticket.nonce(&key), 1_000, BadTicket::State),
            (
                &key,
                "corp",
                &*Ticket::new(at("/devices?q=a"), 1_000, [8; 32]).state(&key),
                1_000,
                BadTicket::State,
            ),
            (
                &key,
                "corp",
                &*Ticket::new(at("/other"), 1_000, [7; 32]).state(&key),
                1_000,
                BadTicket::State,
            ),
        ] {
            assert_eq!(read.check(key, provider, state, now), Err(why), "{state}");
        }
        assert_eq!(ticket.verifier(&key).len(), 43);
        assert_ne!(ticket.challenge(&key), ticket.verifier(&key));
        assert_ne!(ticket.state(&key), ticket.nonce(&key));
    }

    #[test]
    fn the_way_back_leads_nowhere_else() {
        for good in ["/", "/devices", "/devices?q=a&b=c#d"] {
            assert_eq!(ticket(good).at.back, good);
        }
        let long = format!("/{}", "a".repeat(RETURN));
        for bad in ["", "devices", "//evil", "/\\evil", "https://evil", "/a b", "/a\r\nx: y", &long]
        {
            assert_eq!(ticket(bad).at.back, "/", "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_ticket_is_none() {
        let whole = ticket("/").cookie();
        let whole = whole.split(';').next().unwrap();
        let evil =
            whole.rsplit_once('.').unwrap().0.to_owned() + "." + &URL_SAFE_NO_PAD.encode("//evil");
        let cut = whole.get(..whole.len() - 4).unwrap();
        for bad in
            ["", "a=b", TICKET_COOKIE, "__Host-holdfast-login=", &format!("{whole}.x"), cut, &evil]
        {
            assert_eq!(Ticket::of_cookies(bad), None, "{bad}");
        }
    }
}
