//! Client of the HTTPS API for the commands: requests, lists over all their pages, streams, and
//! every failure put into words.
//!
//! See decisions 0102 and 0128.

use std::error::Error as _;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use holdfast_api::ApiCode;
use holdfast_protocol::enrol::ApiErrorBody;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::{Exit, Failure, Outcome};
use super::pinned;

/// Timeout of connecting.
const CONNECT: Duration = Duration::from_secs(10);
/// Timeout of a whole response that is not a stream: a large apply on a slow machine takes long.
const ANSWER: Duration = Duration::from_secs(120);
/// Items requested on each page: few round trips, little memory.
const PAGE: &str = "1000";
/// Largest response that is not a stream, in bytes.
const MAX_ERROR: usize = 1024 * 1024;

/// A client of one control plane.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: Url,
    /// Address of the control plane as people write it.
    shown: String,
    /// Proxy that requests go through, and the variable that names it.
    proxy: Option<(&'static str, String)>,
    token: String,
}

/// Environment variables that name a proxy, as the HTTP library reads them: the first that is set
/// applies.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Returns the proxy of the environment without its password. Loopback addresses never use one.
fn proxy_of(url: &Url, read: impl Fn(&str) -> Option<String>) -> Option<(&'static str, String)> {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_local = address.map_or_else(
        |_| host == "localhost" || host.ends_with(".localhost"),
        |address| address.is_loopback(),
    );
    if is_local {
        return None;
    }
    PROXIES.into_iter().find_map(|name| {
        let value = read(name).filter(|value| !value.trim().is_empty())?;
        let (scheme, rest) = value.split_once("://").unwrap_or(("http", &value));
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        Some((name, format!("{scheme}://{host}")))
    })
}

/// Translates a library's description of a connection failure. None: its text serves as it is.
fn connection_words(why: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 7] = [
        (
            "connection closed before message completed",
            "it ended the connection without an answer, as the port for devices does: the API's port is 8443 unless `holdfast serve --api` says otherwise",
        ),
        (
            "tls handshake eof",
            "it ended the connection before it showed a certificate: is it the API's port?",
        ),
        ("invalid HTTP version", "what answers there speaks no HTTP: is it the API's port?"),
        ("unsuccessful tunnel", "the proxy does not let the connection through"),
        ("proxy authorization required", "the proxy wants a name and password"),
        ("failed to lookup address", "no address is known for this name"),
        ("deadline has elapsed", "the time is up"),
    ];
    WORDS.iter().find(|(said, _)| why.contains(said)).map(|(_, words)| *words)
}

/// Describes a TLS error in words.
fn tls_words(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidMessage(_) => "what answers there speaks no TLS",
        rustls::Error::AlertReceived(_) => "it refused the connection",
        rustls::Error::PeerIncompatible(_) => "it speaks another version of TLS",
        _ => "it does not keep to the protocol",
    }
}

impl Client {
    /// Makes a client for this address and access token, which trusts the CA with this digest.
    pub(crate) fn new(url: &Url, token: &str, ca_sha256: [u8; 32]) -> Outcome<Self> {
        // reqwest needs a default provider of the process even though `tls` brings its own.
        let _was_installed = rustls::crypto::ring::default_provider().install_default();
        let defect =
            |error: &dyn std::fmt::Display| Failure::failed(format!("cannot set up TLS: {error}"));
        let tls = pinned::config(ca_sha256).map_err(|error| defect(&error))?;
        #[allow(
            clippy::disallowed_methods,
            reason = "the command line names the variable that sends it elsewhere"
        )]
        let proxy = proxy_of(url, |name| std::env::var(name).ok());
        let builder = reqwest::Client::builder();
        let builder = if proxy.is_some() { builder } else { builder.no_proxy() };
        let http = builder
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| defect(&error))?;
        let shown = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { http, url: url.clone(), shown, proxy, token: token.to_owned() })
    }

    /// Builds a request to `/api/v1/` and these path segments, which may hold any characters.
    fn request(
        &self,
        method: Method,
        parts: &[&str],
        query: &[(&str, &str)],
    ) -> Outcome<RequestBuilder> {
        let mut url = self.url.clone();
        // `Url` would take these for steps between folders and change the path.
        if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
            return Err(Failure::usage("a name is empty, or only dots"));
        }
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().extend(["api", "v1"]).extend(parts),
            Err(()) => return Err(Failure::usage(format!("{} has no path", self.shown))),
        };
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut token =
            header::HeaderValue::from_str(&format!("Bearer {}", self.token)).map_err(|_| {
                Failure::usage("the token holds characters that no token has; copy it whole")
            })?;
        token.set_sensitive(true);
        Ok(self.http.request(method, url).header(header::AUTHORIZATION, token))
    }

    async fn answer(&self, request: RequestBuilder) -> Outcome<Response> {
        self.answer_to(request, Exit::Failed).await
    }

    /// Sends a request and returns the response, or why it was refused. `faulty` is the exit code
    /// for a request that is not valid.
    async fn answer_to(&self, request: RequestBuilder, faulty: Exit) -> Outcome<Response> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let is_good = response.status().is_success();
        if is_good { Ok(response) } else { Err(refusal(response, faulty).await) }
    }

    async fn json(&self, request: RequestBuilder) -> Outcome<Value> {
        self.json_to(request, Exit::Failed).await
    }

    async fn json_to<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        faulty: Exit,
    ) -> Outcome<T> {
        let response = self.answer_to(request.timeout(ANSWER), faulty).await?;
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        // A response without a body, such as 204, counts as null.
        let bytes = if bytes.is_empty() { Bytes::from_static(b"null") } else { bytes };
        serde_json::from_slice(&bytes).map_err(|_| {
            Failure::failed(format!(
                "{} answered what this program does not understand: is it a Holdfast control plane, and as new as this program?",
                self.shown
            ))
        })
    }

    /// Requests one document of the API.
    pub(crate) async fn get(&self, parts: &[&str], query: &[(&str, &str)]) -> Outcome<Value> {
        self.json(self.request(Method::GET, parts, query)?).await
    }

    /// Requests one document and keeps the sender's order of keys. The query is what somebody
    /// typed, so a refusal of it counts as bad usage.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        parts: &[&str],
        query: &[(&str, &str)],
    ) -> Outcome<T> {
        self.json_to(self.request(Method::GET, parts, query)?, Exit::Usage).await
    }

    /// Posts a JSON body that somebody typed, and returns the response.
    pub(crate) async fn post(&self, parts: &[&str], body: &Value) -> Outcome<Value> {
        self.json_to(self.request(Method::POST, parts, &[])?.json(body), Exit::Usage).await
    }

    /// Sends any request, with a JSON body unless that is null.
    pub(crate) async fn send(
        &self,
        method: Method,
        parts: &[&str],
        query: &[(&str, &str)],
        body: &Value,
    ) -> Outcome<Value> {
        let request = self.request(method, parts, query)?;
        self.json(if body.is_null() { request } else { request.json(body) }).await
    }

    /// Sends a long body of this length while it is read, with a further header if there is one.
    pub(crate) async fn upload(
        &self,
        method: Method,
        parts: &[&str],
        (body, length): (reqwest::Body, u64),
        with: Option<(&'static str, String)>,
    ) -> Outcome<Value> {
        let request = self.request(method, parts, &[])?;
        let request = match with {
            Some((name, value)) => request.header(name, value),
            None => request,
        };
        let request = request
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, length)
            .body(body);
        let response = self.answer(request).await?;
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&bytes).map_err(|_| {
            Failure::failed(format!(
                "{} answered no JSON: is it a Holdfast control plane?",
                self.shown
            ))
        })
    }

    /// Requests a long response, to be read as it arrives.
    pub(crate) async fn stream(&self, parts: &[&str], query: &[(&str, &str)]) -> Outcome<Response> {
        self.answer_to(self.request(Method::GET, parts, query)?, Exit::Usage).await
    }

    /// Requests a long response of this media type.
    pub(crate) async fn stream_as(
        &self,
        parts: &[&str],
        query: &[(&str, &str)],
        kind: &'static str,
    ) -> Outcome<Response> {
        let request = self.request(Method::GET, parts, query)?;
        let request = request.header(header::ACCEPT, header::HeaderValue::from_static(kind));
        self.answer_to(request, Exit::Usage).await
    }

    /// Posts a JSON body that somebody typed, and returns a long response.
    pub(crate) async fn post_stream(&self, parts: &[&str], body: &Value) -> Outcome<Response> {
        let request = self.request(Method::POST, parts, &[])?;
        let request = if body.is_null() { request } else { request.json(body) };
        self.answer_to(request, Exit::Usage).await
    }

    /// Returns all items of a list, over all its pages.
    pub(crate) async fn list(&self, parts: &[&str], query: &[(&str, &str)]) -> Outcome<Vec<Value>> {
        let mut items = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            query.push(("limit", PAGE));
            if let Some(next) = &next {
                query.push(("continue", next));
            }
            let mut page = self.get(parts, &query).await?;
            let Some(Value::Array(found)) = page.get_mut("items").map(Value::take) else {
                return Err(Failure::failed(format!(
                    "{} answered no list of {}",
                    self.shown,
                    parts.join("/")
                )));
            };
            let empty = found.is_empty();
            items.extend(found);
            let follows =
                page.pointer("/metadata/continue").and_then(Value::as_str).map(ToOwned::to_owned);
            if follows.is_none() || follows == next || empty {
                return Ok(items);
            }
            next = follows;
        }
    }

    /// Describes why there was no response.
    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let url = &self.shown;
        if let Some(tls) = tls_error(error) {
            return match tls {
                rustls::Error::InvalidCertificate(
                    rustls::CertificateError::Expired
                    | rustls::CertificateError::ExpiredContext { .. }
                    | rustls::CertificateError::NotValidYet
                    | rustls::CertificateError::NotValidYetContext { .. },
                ) => Failure::refused(format!(
                    "the certificate of {url} is not valid now: is this machine's clock right?"
                )),
                rustls::Error::InvalidCertificate(_) => Failure::refused(format!(
                    "the certificate of {url} is not by the known CA: another control plane answers \
                     there, or somebody stands in between. Compare the ca-sha256 that `holdfast serve` \
                     prints with the one you logged in with (HOLDFAST_CA)"
                )),
                other => Failure::failed(format!(
                    "TLS with {url} failed: {}; is it the API's address?",
                    tls_words(&other)
                )),
            };
        }
        let why = deepest(error);
        let why = connection_words(&why).map_or(why.as_str(), |words| words);
        if let (true, Some((variable, proxy))) = (error.is_connect(), &self.proxy) {
            return Failure::failed(format!(
                "cannot reach the control plane at {url} through the proxy {proxy}, which {variable} names: \
                 {why}. Is the proxy right? NO_PROXY={} goes without it",
                self.url.host_str().unwrap_or_default()
            ));
        }
        if error.is_timeout() {
            return Failure::failed(format!(
                "{url} does not answer in time ({why}): is it reachable from here?"
            ));
        }
        if error.is_connect() {
            return Failure::failed(format!(
                "cannot reach the control plane at {url}: {why}. Does `holdfast serve` run there, and is \
                 the address right?"
            ));
        }
        Failure::failed(format!("the connection to {url} broke: {why}. Try again"))
    }
}

fn tls_error(error: &reqwest::Error) -> Option<rustls::Error> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls.clone());
        }
        // `io::Error::source` skips the error that it wraps, so that is asked for first.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// Returns the innermost cause of an error, which says the most.
fn deepest(error: &reqwest::Error) -> String {
    let mut why: &dyn std::error::Error = error;
    while let Some(source) = why.source() {
        why = source;
    }
    why.to_string()
}

/// Returns the control plane's own description of a refusal, and the exit code for it.
async fn refusal(mut response: Response, faulty: Exit) -> Failure {
    let status = response.status();
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > MAX_ERROR {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    refused(status, &body, faulty)
}

fn refused(status: StatusCode, body: &[u8], faulty: Exit) -> Failure {
    let exit = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::CONFLICT => Exit::Refused,
        StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => faulty,
        _ => Exit::Failed,
    };
    let Ok(ApiErrorBody { error }) = serde_json::from_slice(body) else {
        let message = format!("the control plane answered {status} without saying why");
        return Failure { exit, message, faults: Vec::new() };
    };
    // A single fault has the text of the message already.
    let more = error.faults.iter().filter(|fault| fault.message != error.message);
    let faults = more.map(ToString::to_string).collect();
    let mut message = error.message;
    if status == StatusCode::UNAUTHORIZED {
        message.push_str(
            "; log in again with a good token: holdfast login URL --token TOKEN --ca-sha256 HEX, or set HOLDFAST_TOKEN",
        );
    }
    if status == StatusCode::NOT_FOUND {
        message.push_str(ApiCode::parse(&error.code).map_or("", hint));
    }
    Failure { exit, message, faults }
}

/// Returns a command that helps with a refusal of this code. The server's texts name none, because
/// pages show them too.
fn hint(code: ApiCode) -> &'static str {
    match code {
        ApiCode::NoStream => ": holdfast data list shows those that there are",
        ApiCode::NothingShipped => {
            " (holdfast query STREAM --select count, holdfast data fetch DEVICE STREAM)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    /// Behaviour of a server for a connection, and the response it gives.
    #[derive(Debug, Clone, Copy)]
    enum Peer {
        Closed,
        Drops,
        Plain(&'static [u8]),
        Tls { known: bool, answer: &'static [u8] },
    }

    /// Makes a TLS identity and the digest of its CA.
    fn identity() -> (Arc<rustls::ServerConfig>, [u8; 32]) {
        use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let name = holdfast_protocol::enrol::SERVER_NAME.to_owned();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([name]).unwrap().signed_by(&key, &issuer).unwrap();
        let digest = pinned::sha256(issuer.der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone(), issuer.der().clone()],
                rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        (Arc::new(config), digest)
    }

    async fn serve(peer: Peer, listener: tokio::net::TcpListener, tls: Arc<rustls::ServerConfig>) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut asked = [0; 1024];
            match peer {
                Peer::Closed | Peer::Drops => {}
                Peer::Plain(answer) => {
                    let _read = socket.read(&mut asked).await;
                    let _wrote = socket.write_all(answer).await;
                }
                Peer::Tls { answer, .. } => {
                    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&tls));
                    if let Ok(mut stream) = acceptor.accept(socket).await {
                        let _read = stream.read(&mut asked).await;
                        let _wrote = stream.write_all(answer).await;
                        let _closed = stream.shutdown().await;
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn whoever_answers_no_word_of_a_library_is_said() {
        let (tls, ca) = identity();
        let tls_with = |known, answer| Peer::Tls { known, answer };
        for (peer, exit, word) in [
            (Peer::Closed, Exit::Failed, "Does `holdfast serve` run there"),
            (Peer::Drops, Exit::Failed, ""),
            (Peer::Plain(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Exit::Failed, "speaks no TLS"),
            (tls_with(false, b""), Exit::Refused, "another control plane answers"),
            (tls_with(true, b""), Exit::Failed, "the API's port is 8443"),
            (
                tls_with(true, b"\x20\x02\x00\x05 no HTTP at all\r\n\r\n"),
                Exit::Failed,
                "speaks no HTTP",
            ),
            (
                tls_with(true, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n<a>"),
                Exit::Failed,
                "is it a Holdfast control plane",
            ),
            (
                tls_with(true, b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"),
                Exit::Failed,
                "broke",
            ),
            (
                tls_with(true, b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"),
                Exit::Failed,
                "502",
            ),
        ] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("https://{}", listener.local_addr().unwrap());
            let pinned = if matches!(peer, Peer::Tls { known: false, .. }) { [7; 32] } else { ca };
            let server = match peer {
                Peer::Closed => {
                    drop(listener);
                    None
                }
                _ => Some(tokio::spawn(serve(peer, listener, Arc::clone(&tls)))),
            };
            let client = Client::new(&Url::parse(&url).unwrap(), "hfa1.a.b", pinned).unwrap();
            let failure = client.get(&["devices"], &[]).await.unwrap_err();
            let said = failure.to_string();
            assert!(said.contains(word), "{peer:?}: {said}");
            assert_eq!(failure.exit, exit, "{peer:?}: {said}");
            for library in [
                "hyper",
                "reqwest",
                "serde",
                "rustls",
                "InvalidCertificate",
                "UnknownIssuer",
                "BadSignature",
                "InvalidContentType",
                "corrupt message",
                "before message completed",
                "at line ",
                "eof",
                "parsed",
            ] {
                assert!(!said.contains(library), "{peer:?}: {said}");
            }
            if let Some(server) = server {
                server.abort();
            }
        }
    }

    #[test]
    fn the_proxy_is_known_by_its_variable_and_loopback_has_none() {
        let set = |variable: &'static str, value: &'static str| {
            move |name: &str| (name == variable).then(|| value.to_owned())
        };
        let of =
            |url: &str, variable, value| proxy_of(&Url::parse(url).unwrap(), set(variable, value));
        for name in PROXIES {
            let proxy = of("https://edge.example:8443", name, "http://u:p@proxy:3128");
            assert_eq!(proxy, Some((name, "http://proxy:3128".to_owned())));
            for local in [
                "https://127.0.0.1:1",
                "https://[::1]:1",
                "https://localhost:1",
                "https://localhost.:1",
                "https://127.9.9.9",
            ] {
                assert_eq!(of(local, name, "http://proxy:1"), None, "{local}");
            }
        }
        assert_eq!(of("https://a", "HTTPS_PROXY", ""), None);
        assert_eq!(of("https://a", "HTTP_PROXY", "http://b"), None);
    }

    #[test]
    fn a_fault_that_is_the_message_is_said_once() {
        let body = |faults: Value| {
            let error = json!({ "code": "invalid", "message": "select, at character 5: what?", "faults": faults });
            json!({ "error": error }).to_string()
        };
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let fault = |message: &str| json!({ "path": "select", "message": message });
        let one = body(json!([fault("select, at character 5: what?")]));
        let said = refused(status, one.as_bytes(), Exit::Usage);
        assert_eq!(said.to_string(), "error: select, at character 5: what?\n");
        assert_eq!(said.exit, Exit::Usage, "what was typed is at fault");
        let two = body(json!([fault("one"), fault("other")]));
        let said = refused(status, two.as_bytes(), Exit::Failed);
        assert_eq!((said.faults.len(), said.exit), (2, Exit::Failed));
    }
}
