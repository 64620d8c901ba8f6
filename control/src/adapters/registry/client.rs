//! Client of another registry: reads of the OCI distribution API, with its logins and redirects.
//!
//! Credentials go to the registry itself and to the address that gives its tokens, and nowhere else.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::Digest;
use holdfast_oci::{READ_TYPES, Repository};
use reqwest::header::{ACCEPT, AUTHORIZATION, LOCATION, RANGE, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;

use super::challenge::{Challenge, read};
use super::error::NotCopied;
use crate::adapters::notify::tls;
use crate::service::Credentials;

/// Longest wait for the head of a response, and for the next bytes of its body.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Most redirects in a row. Registries lead from a layer to a storage service: one or two.
const MOST_REDIRECTS: usize = 5;

/// Most bytes of a response with a token.
const MOST_TOKEN: u64 = 1024 * 1024;

/// Most bytes of a refusal that are repeated.
const MOST_SAID: u64 = 400;

/// Registry of the images whose names say none, at the address where it is served.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Registry and repository that an image is copied from.
pub(super) struct Registry {
    http: Client,
    /// Address before the path, such as `https://registry.example:5000`.
    base: String,
    /// Host for people.
    pub(super) host: String,
    /// Path of the repository there.
    path: String,
    credentials: Option<Credentials>,
    plain: bool,
    /// Value of `Authorization` that the registry has taken, or is to be tried.
    proof: Mutex<Option<String>>,
}

/// Answer of the address that gives tokens.
#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// Reads a body of at most `most` bytes. None: it is longer.
async fn bounded(mut response: Response, most: u64) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if (bytes.len() + chunk.len()) as u64 > most {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

impl Registry {
    /// Makes a client for a repository of another registry. `plain`: it speaks HTTP without TLS.
    pub(super) fn new(
        name: &Repository,
        credentials: Option<Credentials>,
        ca: Option<&str>,
        plain: bool,
    ) -> Result<Self, NotCopied> {
        let none = || NotCopied::NoRegistry(name.to_string());
        let (host, path) = name.registry().ok_or_else(none)?;
        let (served, path) = match HUB.contains(&host) {
            true if path.contains('/') => (HUB[2], path.to_owned()),
            true => (HUB[2], format!("library/{path}")),
            false => (host, path.to_owned()),
        };
        let base = format!("{}://{served}", if plain { "http" } else { "https" });
        let http = tls::client(&base, ca)?;
        let (host, proof) = (host.to_owned(), Mutex::new(None));
        Ok(Self { http, base, host, path, credentials, plain, proof })
    }

    fn proof(&self) -> Option<String> {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads a manifest or an index by tag or digest, at most `most` bytes.
    pub(super) async fn manifest(&self, of: &str, most: u64) -> Result<Vec<u8>, NotCopied> {
        let what = format!("manifest {of}");
        let response = self.get(&format!("manifests/{of}"), &what, READ_TYPES, 0).await?;
        self.small(response, &what, most).await
    }

    /// Reads a small file by its digest, which is checked.
    pub(super) async fn blob(&self, digest: &Digest, most: u64) -> Result<Vec<u8>, NotCopied> {
        let what = format!("file {digest}");
        let bytes = self.small(self.open(digest, 0).await?, &what, most).await?;
        self.check(&bytes, digest)?;
        Ok(bytes)
    }

    /// Checks that bytes are those of a digest.
    pub(super) fn check(&self, bytes: &[u8], wanted: &Digest) -> Result<(), NotCopied> {
        let found = holdfast_oci::digest_of(bytes);
        match found == *wanted {
            true => Ok(()),
            false => Err(NotCopied::Lie { registry: self.host.clone(), wanted: *wanted, found }),
        }
    }

    /// Opens a file from a byte on. A registry that does not know ranges sends it from the beginning,
    /// with status 200.
    pub(super) async fn open(&self, digest: &Digest, from: u64) -> Result<Response, NotCopied> {
        self.get(&format!("blobs/{digest}"), &format!("file {digest}"), "*/*", from).await
    }

    async fn small(&self, response: Response, what: &str, most: u64) -> Result<Vec<u8>, NotCopied> {
        let reading = tokio::time::timeout(PATIENCE, bounded(response, most)).await;
        let late = |_| self.late();
        let bytes = reading.map_err(late)?.map_err(|error| self.unreached(&error))?;
        let large = || NotCopied::Large(what.to_owned(), self.host.clone(), most);
        bytes.ok_or_else(large)
    }

    fn late(&self) -> NotCopied {
        let seconds = PATIENCE.as_secs();
        NotCopied::Unreached(format!("{} sent nothing for {seconds} s", self.host))
    }

    pub(super) fn unreached(&self, error: &reqwest::Error) -> NotCopied {
        NotCopied::Unreached(tls::unreached(error, &self.host))
    }

    /// Asks for a path below the repository, logs in when the registry wants it, and follows where it
    /// leads.
    async fn get(
        &self,
        below: &str,
        what: &str,
        accept: &str,
        from: u64,
    ) -> Result<Response, NotCopied> {
        let url = format!("{}/v2/{}/{below}", self.base, self.path);
        let first = self.proof();
        let response = self.ask(&url, accept, from, first.as_deref()).await?;
        let response = match response.status() {
            StatusCode::UNAUTHORIZED => {
                let proof = self.log_in(&response, first.is_some()).await?;
                let again = self.ask(&url, accept, from, Some(&proof)).await?;
                *self.proof.lock().unwrap_or_else(PoisonError::into_inner) = Some(proof);
                again
            }
            _ => response,
        };
        let response = self.follow(response, accept, from).await?;
        let status = response.status();
        match status.as_u16() {
            200 | 206 => Ok(response),
            401 | 403 => Err(self.refused(status)),
            404 => Err(NotCopied::NotThere(self.host.clone(), format!("{} {what}", self.path))),
            429 => Err(NotCopied::TooMany(self.host.clone())),
            _ => {
                let body = bounded(response, MOST_SAID).await.ok().flatten().unwrap_or_default();
                let text = String::from_utf8_lossy(&body);
                let text: String = text.chars().filter(|one| !one.is_control()).collect();
                let said = if text.is_empty() { text } else { format!(": {text}") };
                let (registry, what) = (self.host.clone(), what.to_owned());
                Err(NotCopied::Status { registry, what, status: status.as_u16(), said })
            }
        }
    }

    fn refused(&self, status: StatusCode) -> NotCopied {
        let (registry, given) = (self.host.clone(), self.credentials.is_some());
        NotCopied::Credentials { registry, given, status: status.as_u16() }
    }

    async fn ask(
        &self,
        url: &str,
        accept: &str,
        from: u64,
        proof: Option<&str>,
    ) -> Result<Response, NotCopied> {
        let mut request = self.http.get(url).header(ACCEPT, accept);
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        if let Some(proof) = proof {
            request = request.header(AUTHORIZATION, proof);
        }
        let sent = tokio::time::timeout(PATIENCE, request.send()).await;
        sent.map_err(|_| self.late())?.map_err(|error| self.unreached(&error))
    }

    /// Follows redirects, without credentials: whoever a registry leads to has its own proof in the
    /// address.
    async fn follow(
        &self,
        mut response: Response,
        accept: &str,
        from: u64,
    ) -> Result<Response, NotCopied> {
        for _ in 0..MOST_REDIRECTS {
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.and_then(|to| response.url().join(to).ok());
            let host = to.as_ref().and_then(Url::host_str).unwrap_or("nowhere").to_owned();
            let wrong = |why| NotCopied::Redirect(self.host.clone(), host.clone(), why);
            let to = to.ok_or_else(|| wrong("it is no address"))?;
            if to.scheme() != "https" && !self.plain {
                return Err(wrong("it is without TLS"));
            }
            let own = to.origin() == response.url().origin();
            let proof = if own { self.proof() } else { None };
            response = self.ask(to.as_str(), accept, from, proof.as_deref()).await?;
        }
        let host = self.host.clone();
        Err(NotCopied::Redirect(host.clone(), host, "it leads on and on"))
    }

    /// Returns the value of `Authorization` that a registry asks for. `again`: the one before was
    /// refused, as a token is that has ended.
    async fn log_in(&self, response: &Response, again: bool) -> Result<String, NotCopied> {
        let header = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let mut challenges = header.filter_map(|value| value.to_str().ok()).map(read);
        let known = challenges.find(|one| !matches!(one, Challenge::Other(_)));
        match known {
            Some(Challenge::Basic) => match (&self.credentials, again) {
                (Some(credentials), false) => Ok(basic(credentials)),
                _ => Err(self.refused(response.status())),
            },
            Some(Challenge::Bearer { realm, service, scope }) => {
                self.token(&realm, &service, &scope).await
            }
            other => {
                let word = match other {
                    Some(Challenge::Other(word)) => word,
                    _ => "none".to_owned(),
                };
                Err(NotCopied::Login(self.host.clone(), word))
            }
        }
    }

    async fn token(&self, realm: &str, service: &str, scope: &str) -> Result<String, NotCopied> {
        let wrong = |why| NotCopied::Redirect(self.host.clone(), realm.to_owned(), why);
        let mut url = Url::parse(realm).map_err(|_| wrong("it is no address"))?;
        if url.scheme() != "https" && !self.plain {
            return Err(wrong("credentials are not sent without TLS"));
        }
        let scope = match scope {
            "" => format!("repository:{}:pull", self.path),
            said => said.to_owned(),
        };
        url.query_pairs_mut().append_pair("scope", &scope);
        if !service.is_empty() {
            url.query_pairs_mut().append_pair("service", service);
        }
        let proof = self.credentials.as_ref().map(basic);
        let response = self.ask(url.as_str(), "application/json", 0, proof.as_deref()).await?;
        let status = response.status();
        if matches!(status.as_u16(), 401 | 403) {
            return Err(self.refused(status));
        }
        if !status.is_success() {
            let (registry, what) = (self.host.clone(), "the login".to_owned());
            let (status, said) = (status.as_u16(), String::new());
            return Err(NotCopied::Status { registry, what, status, said });
        }
        let bytes = self.small(response, "the token", MOST_TOKEN).await?;
        let token: Option<Token> = serde_json::from_slice(&bytes).ok();
        let token = token.and_then(|answer| answer.token.or(answer.access_token));
        let token = token.ok_or_else(|| NotCopied::Login(self.host.clone(), "no token".into()))?;
        Ok(format!("Bearer {token}"))
    }
}

fn basic(credentials: &Credentials) -> String {
    let Credentials { username, password } = credentials;
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}
