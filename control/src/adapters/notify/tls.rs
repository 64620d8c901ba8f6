//! HTTP client for receivers of messages: it trusts the system's certificates or those that a
//! document names, and follows no redirect.

use reqwest::{Certificate, Client, RequestBuilder, Response, Url, redirect};

use super::limits::CONNECT;
use crate::core::alarms::{NotDelivered, Outcome};

/// Maximum number of bytes that are read of a receiver's reply.
const ANSWER: usize = 2_048;

/// Makes a client for one address. It uses the environment's proxy, except for loopback addresses.
pub(in crate::adapters) fn client(url: &str, ca: Option<&str>) -> Result<Client, NotDelivered> {
    // reqwest needs a default provider of rustls.
    let _was_installed = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT)
        .pool_max_idle_per_host(0)
        .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")));
    if is_local(url) {
        builder = builder.no_proxy();
    }
    if let Some(pem) = ca {
        let certificates =
            Certificate::from_pem_bundle(pem.as_bytes()).map_err(|_| NotDelivered::Certificates)?;
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|error| NotDelivered::Tls(error.to_string()))
}

fn is_local(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Sends a request. Returns the receiver's reply, as success for a status of 2xx and as an error
/// otherwise.
pub(super) async fn send(request: RequestBuilder, host: &str) -> Outcome {
    match request.send().await {
        Ok(response) => read(response).await,
        Err(error) => Err(NotDelivered::Unreached(unreached(&error, host))),
    }
}

async fn read(mut response: Response) -> Outcome {
    let status = response.status();
    let mut body = Vec::new();
    while body.len() < ANSWER {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    body.truncate(ANSWER);
    let text = String::from_utf8_lossy(&body);
    let text: String = text.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    let word = status.canonical_reason().unwrap_or_default();
    let said = format!("{} {word}", status.as_u16()).trim_end().to_owned();
    let said = if text.trim().is_empty() { said } else { format!("{said}: {}", text.trim()) };
    if status.is_success() {
        Ok(said)
    } else if status.is_redirection() {
        Err(NotDelivered::Refused(format!(
            "{said}; it leads elsewhere, and redirects are not followed: give the address itself"
        )))
    } else {
        Err(NotDelivered::Refused(said))
    }
}

/// Text that says why there was no response.
pub(in crate::adapters) fn unreached(error: &reqwest::Error, host: &str) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let why = deepest.to_string();
    if error.is_timeout() {
        return format!("{host} was not reached: it does not answer in time");
    }
    let words = words(&why).unwrap_or(why.as_str());
    format!("{host} was not reached: {words}")
}

/// Translates a library's message about a connection for a person. Returns `None` when the message
/// is clear as it is.
pub(super) fn words(why: &str) -> Option<&'static str> {
    let lower = why.to_lowercase();
    let known = [
        (
            "causedasendentity",
            "its certificate is that of an authority (CA:TRUE), and a server needs one that is none",
        ),
        ("notvalidforname", "its certificate does not name this address"),
        (
            "certificate",
            "its certificate is by no authority that is trusted here; name the authority in ca, or mend the certificate",
        ),
        (
            "unknownissuer",
            "its certificate is by no authority that is trusted here; name the authority in ca, or mend the certificate",
        ),
        ("starttls", "it does not offer STARTTLS; tls says how the connection is protected"),
        ("lookup", "no address is known for this name"),
        ("name or service", "no address is known for this name"),
        ("refused", "nothing listens there (connection refused)"),
    ];
    known.into_iter().find(|(said, _)| lower.contains(said)).map(|(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fail_in_words() {
        for (why, said) in [
            ("invalid peer certificate: UnknownIssuer", "no authority that is trusted"),
            ("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", "CA:TRUE"),
            ("invalid peer certificate: NotValidForName", "does not name this address"),
            ("Connection refused (os error 111)", "nothing listens there"),
            ("failed to lookup address information: Name or service not known", "no address"),
        ] {
            assert!(words(why).is_some_and(|words| words.contains(said)), "{why}");
        }
        assert_eq!(words("broken pipe"), None);
    }
}
