//! The HTTPS API, as commands ask it: requests, lists over all their pages, streams; and every
//! way in which that fails, in words.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use holdfast_protocol::enrol::ApiErrorBody;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::{Exit, Failure, Outcome};
use super::pinned;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a whole answer may take, where it is no stream: a large apply on a slow machine.
const ANSWER: Duration = Duration::from_secs(120);
/// Items a page: few round trips, little memory.
const PAGE: &str = "1000";
/// Longest answer that is not a stream, in bytes.
const MAX_ERROR: usize = 1024 * 1024;

/// A client of one control plane.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: Url,
    /// The address as people write it.
    shown: String,
    token: String,
}

impl Client {
    /// For this address and access token; the CA is known by its digest.
    pub(crate) fn new(url: &Url, token: &str, ca_sha256: [u8; 32]) -> Outcome<Self> {
        // reqwest asks for a provider of the process even where the configuration brings one.
        let _was_installed = rustls::crypto::ring::default_provider().install_default();
        let defect =
            |error: &dyn std::fmt::Display| Failure::failed(format!("cannot set up TLS: {error}"));
        let tls = pinned::config(ca_sha256).map_err(|error| defect(&error))?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| defect(&error))?;
        let shown = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { http, url: url.clone(), shown, token: token.to_owned() })
    }

    /// A request to `/api/v1/` and these parts of a path, which may hold anything.
    fn request(
        &self,
        method: Method,
        parts: &[&str],
        query: &[(&str, &str)],
    ) -> Outcome<RequestBuilder> {
        let mut url = self.url.clone();
        // These would be taken for steps between folders.
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

    /// `faulty`: the exit code when what was sent is not valid.
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
        // What answers nothing answers null.
        let bytes = if bytes.is_empty() { Bytes::from_static(b"null") } else { bytes };
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::failed(format!(
                "{} answered what is no JSON ({error}): is it a Holdfast control plane, and as new as this program?",
                self.shown
            ))
        })
    }

    /// One document.
    pub(crate) async fn get(&self, parts: &[&str], query: &[(&str, &str)]) -> Outcome<Value> {
        self.json(self.request(Method::GET, parts, query)?).await
    }

    /// One document, read as it is sent: the order of keys is the sender's. The query is what
    /// somebody typed.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        parts: &[&str],
        query: &[(&str, &str)],
    ) -> Outcome<T> {
        self.json_to(self.request(Method::GET, parts, query)?, Exit::Usage).await
    }

    /// The answer to a JSON body that somebody typed.
    pub(crate) async fn post(&self, parts: &[&str], body: &Value) -> Outcome<Value> {
        self.json_to(self.request(Method::POST, parts, &[])?.json(body), Exit::Usage).await
    }

    /// Any request, with a JSON body unless that is null.
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

    /// Sends a long body as it is read.
    pub(crate) async fn upload(
        &self,
        method: Method,
        parts: &[&str],
        body: reqwest::Body,
        length: u64,
    ) -> Outcome<Value> {
        let request = self
            .request(method, parts, &[])?
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, length)
            .body(body);
        let response = self.answer(request).await?;
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::failed(format!("{} answered no JSON: {error}", self.shown)))
    }

    /// A long answer, to be read as it comes.
    pub(crate) async fn stream(&self, parts: &[&str], query: &[(&str, &str)]) -> Outcome<Response> {
        self.answer_to(self.request(Method::GET, parts, query)?, Exit::Usage).await
    }

    /// A long answer of this kind.
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

    /// A long answer to a JSON body that somebody typed.
    pub(crate) async fn post_stream(&self, parts: &[&str], body: &Value) -> Outcome<Response> {
        self.answer_to(self.request(Method::POST, parts, &[])?.json(body), Exit::Usage).await
    }

    /// All items of a list, over all its pages.
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

    /// Why there was no answer.
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
                    "the certificate of {url} is not valid now ({tls}): is this machine's clock right?"
                )),
                rustls::Error::InvalidCertificate(_) => Failure::refused(format!(
                    "the certificate of {url} is not by the known CA ({tls}): another control plane answers \
                     there, or somebody stands in between. Compare the ca-sha256 that `holdfast serve` \
                     prints with the one you logged in with (HOLDFAST_CA)"
                )),
                _ => Failure::failed(format!(
                    "TLS with {url} failed: {tls}; is it the API's address?"
                )),
            };
        }
        let why = deepest(error);
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
        Failure::failed(format!("the connection to {url} broke: {why}; try again"))
    }
}

fn tls_error(error: &reqwest::Error) -> Option<rustls::Error> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls.clone());
        }
        // An I/O error leaves out the one that it wraps when it is asked for its source.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// The first cause, which says the most.
fn deepest(error: &reqwest::Error) -> String {
    let mut why: &dyn std::error::Error = error;
    while let Some(source) = why.source() {
        why = source;
    }
    why.to_string()
}

/// The control plane's own words, and the exit code that they mean.
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
    // One alone is the message already.
    let more = error.faults.iter().filter(|fault| fault.message != error.message);
    let faults = more.map(ToString::to_string).collect();
    let mut message = error.message;
    if status == StatusCode::UNAUTHORIZED {
        message.push_str(
            "; log in again with a good token: holdfast login URL --token TOKEN --ca-sha256 HEX, or set HOLDFAST_TOKEN",
        );
    }
    Failure { exit, message, faults }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
