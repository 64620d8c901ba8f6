//! What a provider says of itself (`/.well-known/openid-configuration`), and which of its addresses
//! are used.

use serde_json::Value;
use url::{Host, Url};

/// Largest answer of a provider that is read, in bytes.
pub const MAX_ANSWER: usize = 256 * 1024;

/// Reason why an address of a provider is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsafeAddress {
    /// It is no address of HTTP.
    #[error("no address of a provider, such as https://id.example.com")]
    Form,
    /// It has a user, a query or a fragment.
    #[error("an address without user, query (?) and fragment (#) is needed")]
    Parts,
    /// It is not encrypted, and leads to another machine.
    #[error("https is needed: plain http is for providers on this machine (loopback) alone")]
    Plain,
}

/// Checks an address of a provider: https, or http to this very machine.
///
/// # Errors
/// [`UnsafeAddress`].
pub fn check_address(text: &str) -> Result<Url, UnsafeAddress> {
    let url = Url::parse(text).map_err(|_| UnsafeAddress::Form)?;
    let host = url.host().ok_or(UnsafeAddress::Form)?;
    let is_loopback = match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback => {}
        "http" => return Err(UnsafeAddress::Plain),
        _ => return Err(UnsafeAddress::Form),
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(UnsafeAddress::Parts);
    }
    Ok(url)
}

/// Reason why what a provider says of itself is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDiscovery {
    /// It is no JSON object.
    #[error("what it says of itself is no JSON object: is spec.issuer its address?")]
    Form,
    /// It names another issuer.
    #[error("it calls itself {0:?}: spec.issuer must be the same, letter by letter")]
    Issuer(String),
    /// An address is missing or not used.
    #[error("its {0} cannot be used: {1}")]
    Address(&'static str, UnsafeAddress),
    /// It does not know the proof of the code's owner.
    #[error("it does not offer PKCE with S256, which is needed")]
    Pkce,
}

/// Addresses and abilities of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Address at which a person logs in.
    pub authorization: Url,
    /// Address that gives tokens.
    pub token: Url,
    /// Address of the keys.
    pub keys: Url,
    /// Address at which a device flow begins. None: there is no such flow.
    pub device: Option<Url>,
    /// True if the client's secret goes into the body, false if into the header `Authorization`.
    pub secret_in_body: bool,
    /// True if the callback must name the issuer.
    pub names_issuer: bool,
}

impl Discovery {
    /// Returns the address of the document of an issuer.
    ///
    /// # Errors
    /// [`UnsafeAddress`].
    pub fn address(issuer: &str) -> Result<Url, UnsafeAddress> {
        let url = check_address(issuer)?;
        if url.query().is_some() {
            return Err(UnsafeAddress::Parts);
        }
        check_address(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))
    }

    /// Reads what a provider says of itself.
    ///
    /// # Errors
    /// [`BadDiscovery`].
    pub fn read(bytes: &[u8], issuer: &str) -> Result<Self, BadDiscovery> {
        let said: Value = serde_json::from_slice(bytes).map_err(|_| BadDiscovery::Form)?;
        let named = said.get("issuer").and_then(Value::as_str).ok_or(BadDiscovery::Form)?;
        if named != issuer {
            return Err(BadDiscovery::Issuer(named.chars().take(200).collect()));
        }
        let maybe = |name: &'static str| {
            let text = said.get(name).and_then(Value::as_str);
            let checked = text.map(check_address).transpose();
            checked.map_err(|why| BadDiscovery::Address(name, why))
        };
        let address = |name: &'static str| {
            maybe(name)?.ok_or(BadDiscovery::Address(name, UnsafeAddress::Form))
        };
        let lists = |name: &str, word: &str| {
            let list = said.get(name).and_then(Value::as_array)?;
            Some(list.iter().any(|one| one == word))
        };
        // Some that know PKCE do not say so, and then it is asked for all the same.
        if lists("code_challenge_methods_supported", "S256") == Some(false) {
            return Err(BadDiscovery::Pkce);
        }
        let way = |word| lists("token_endpoint_auth_methods_supported", word);
        Ok(Self {
            authorization: address("authorization_endpoint")?,
            token: address("token_endpoint")?,
            keys: address("jwks_uri")?,
            device: maybe("device_authorization_endpoint")?,
            secret_in_body: way("client_secret_basic") == Some(false)
                && way("client_secret_post") == Some(true),
            names_issuer: said.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://id.example.com/realms/a";

    fn said() -> Value {
        json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://id.example.com/auth?realm=a",
            "token_endpoint": "https://id.example.com/token",
            "jwks_uri": "https://keys.example.com/keys",
            "code_challenge_methods_supported": ["plain", "S256"],
        })
    }

    fn read(said: &Value) -> Result<Discovery, BadDiscovery> {
        Discovery::read(said.to_string().as_bytes(), ISSUER)
    }

    #[test]
    fn addresses_are_encrypted_or_of_this_machine() {
        for good in [
            "https://id.example.com",
            "https://id.example.com:8443/a?b=c",
            "http://127.0.0.1:9",
            "http://[::1]:9",
            "http://localhost:9",
        ] {
            assert!(check_address(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("http://id.example.com", UnsafeAddress::Plain),
            ("http://127.0.0.1.example.com", UnsafeAddress::Plain),
            ("http://localhost.example.com", UnsafeAddress::Plain),
            ("http://10.0.0.1", UnsafeAddress::Plain),
            ("ftp://id.example.com", UnsafeAddress::Form),
            ("file:///etc/passwd", UnsafeAddress::Form),
            ("id.example.com", UnsafeAddress::Form),
            ("", UnsafeAddress::Form),
            ("https://a:b@id.example.com", UnsafeAddress::Parts),
            ("https://id.example.com/#a", UnsafeAddress::Parts),
        ] {
            assert_eq!(check_address(bad), Err(why), "{bad}");
        }
        assert_eq!(
            Discovery::address("https://a.example/x/").unwrap().as_str(),
            "https://a.example/x/.well-known/openid-configuration"
        );
        assert_eq!(Discovery::address("https://a.example/?x=1"), Err(UnsafeAddress::Parts));
    }

    #[test]
    fn what_a_provider_says_of_itself_is_checked() {
        let whole = read(&said()).unwrap();
        assert_eq!((whole.device, whole.secret_in_body, whole.names_issuer), (None, false, false));
        for (field, value, why) in [
            ("issuer", json!("https://id.example.com/realms/a/"), "it calls itself"),
            ("issuer", json!(null), "no JSON object"),
            (
                "token_endpoint",
                json!("http://id.example.com/token"),
                "token_endpoint cannot be used",
            ),
            ("jwks_uri", json!(null), "jwks_uri cannot be used"),
            ("device_authorization_endpoint", json!("http://a.example"), "device_authorization"),
            ("code_challenge_methods_supported", json!(["plain"]), "PKCE"),
        ] {
            let mut said = said();
            said[field] = value.clone();
            let refused = read(&said).unwrap_err().to_string();
            assert!(refused.contains(why), "{field} {value}: {refused}");
        }
        let mut post = said();
        post["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
        assert!(read(&post).unwrap().secret_in_body);
        assert_eq!(Discovery::read(b"<html>", ISSUER), Err(BadDiscovery::Form));
    }
}
