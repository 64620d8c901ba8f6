//! Client of a container engine: HTTP/1.1 on its Unix socket, one connection for each request. It
//! knows no engine's peculiarities; these are in `core/container/dialect.rs`.
//!
//! Every answer is bounded in size and time, and what goes wrong is said in plain words.
//!
//! See decision 0175.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde_json::Value;
use tokio::net::UnixStream;

use crate::adapters::wire::{self, Sent};
use crate::core::container::dialect::{self, Refusal};

/// Largest answer that is read whole, in bytes: a list of 1,000 containers or images.
const MAX_ANSWER: usize = 4 << 20;
/// Longest time until an engine accepts a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest time for a question: a busy engine on a slow disk answers within seconds.
const QUICK: Duration = Duration::from_secs(30);
/// Longest time for what an engine does with a disk: to make and start a container of a large image.
const SLOW: Duration = Duration::from_secs(180);

/// Reasons why an engine did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No connection could be made.
    #[error("the container engine at {} cannot be reached: {why}", .socket.display())]
    Unreachable {
        /// Path of its socket.
        socket: PathBuf,
        /// Reason in words.
        why: String,
    },
    /// It did not answer in time.
    #[error("the container engine did not answer within {} s ({what})", .within.as_secs())]
    Late {
        /// Method and path of the request.
        what: String,
        /// Time that it had.
        within: Duration,
    },
    /// The connection broke, or the answer makes no sense.
    #[error("the container engine gave no whole answer ({what}): {why}")]
    Broken {
        /// Method and path of the request.
        what: String,
        /// Reason in words.
        why: String,
    },
    /// It refused.
    #[error("the container engine refused ({status}): {message}")]
    Refused {
        /// Status of the answer.
        status: u16,
        /// Text of the engine.
        message: String,
        /// What that means.
        means: Refusal,
    },
}

impl EngineError {
    /// What a refusal means; `None` for what is none.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { means, .. } => Some(*means),
            _ => None,
        }
    }

    /// True if what was asked about is not there.
    pub fn is_absent(&self) -> bool {
        matches!(self.refusal(), Some(Refusal::Absent | Refusal::NoImage))
    }
}

/// Client of the engine at one socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    /// Beginning of every path: `/v1.41`. Empty: the version is not known yet.
    base: String,
}

impl Client {
    /// Makes a client that does not know the version of the API yet.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), base: String::new() }
    }

    /// Speaks this version of the API from now on.
    #[must_use]
    pub fn speaking(self, api: dialect::Api) -> Self {
        Self { base: format!("/v{api}"), ..self }
    }

    /// Asks a question.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn get(&self, path: &str) -> Result<Value, EngineError> {
        self.call("GET", path, None, QUICK).await
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, EngineError> {
        self.call("POST", path, body, SLOW).await
    }

    /// Asks for something to be removed; what is not there is fine.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn delete(&self, path: &str) -> Result<(), EngineError> {
        match self.call("DELETE", path, None, SLOW).await {
            Err(error) if error.is_absent() => Ok(()),
            other => other.map(drop),
        }
    }

    async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        within: Duration,
    ) -> Result<Value, EngineError> {
        let body = whole(body);
        let work = async {
            let answer = self.send(method, path, body, "application/json").await?;
            self.read(answer, method, path).await
        };
        let what = format!("{method} {path}");
        tokio::time::timeout(within, work).await.map_err(|_| EngineError::Late { what, within })?
    }

    /// Asks for something with a body that is read while it is sent. The answer is read as text, as
    /// far as it is worth keeping.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn feed(&self, path: &str, body: Sent) -> Result<Vec<u8>, EngineError> {
        self.fed("POST", path, body).await
    }

    /// Puts something with a body that is read while it is sent.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn put(&self, path: &str, body: Sent) -> Result<(), EngineError> {
        self.fed("PUT", path, body).await.map(drop)
    }

    async fn fed(&self, method: &str, path: &str, body: Sent) -> Result<Vec<u8>, EngineError> {
        let answer = self.send(method, path, body, "application/x-tar").await?;
        let what = || format!("{method} {path}");
        let read = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let read =
            read.map_err(|error| EngineError::Broken { what: what(), why: error.to_string() });
        Ok(read?.to_bytes().to_vec())
    }

    /// Asks for a stream: its body goes on for as long as the engine has something to tell. There
    /// is no limit of time, not even for the head: Podman 5 sends none before the first event.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn stream(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Incoming, EngineError> {
        let body = whole(body);
        let answer = self.send(method, path, body, "application/json").await?;
        Ok(answer.into_body())
    }

    /// Sends a request; returns the answer if it is a success, with its body still to be read.
    async fn send(
        &self,
        method: &str,
        path: &str,
        body: Sent,
        kind: &str,
    ) -> Result<Response<Incoming>, EngineError> {
        let unreachable =
            |why: String| EngineError::Unreachable { socket: self.socket.clone(), why };
        let broken = |error: &dyn std::fmt::Display| EngineError::Broken {
            what: format!("{method} {path}"),
            why: error.to_string(),
        };
        let connect = tokio::time::timeout(CONNECT, UnixStream::connect(&self.socket)).await;
        let socket = match connect {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Err(unreachable(explain(&error))),
            Err(_) => return Err(unreachable("it accepts no connection".into())),
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("host", "engine")
            .header("content-type", kind)
            .body(body)
            .map_err(|error| broken(&error))?;
        let mut sender = wire::speak(Box::new(socket)).await.map_err(|error| broken(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = answer.status().as_u16();
        // 304: it is so already.
        if status == 304 || (200..300).contains(&status) {
            return Ok(answer);
        }
        let body = self.read(answer, method, path).await.unwrap_or_default();
        let message = dialect::said(&body);
        let means = dialect::refusal(status, &message);
        let message = if message.is_empty() { "without a reason".into() } else { message };
        Err(EngineError::Refused { status, message, means })
    }

    /// Reads an answer as JSON; one without a body is null. An engine that has done something may
    /// say anything.
    async fn read(
        &self,
        answer: Response<Incoming>,
        method: &str,
        path: &str,
    ) -> Result<Value, EngineError> {
        let broken = |why: String| EngineError::Broken { what: format!("{method} {path}"), why };
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| broken(error.to_string()))?.to_bytes();
        if body.is_empty() || method != "GET" {
            return Ok(serde_json::from_slice(&body).unwrap_or_default());
        }
        serde_json::from_slice(&body).map_err(|_| broken("it is no JSON".into()))
    }
}

/// Body of JSON, or none.
fn whole(body: Option<&Value>) -> Sent {
    let text = body.map(Value::to_string).unwrap_or_default();
    Sent::Whole(Full::new(Bytes::from(text)))
}

/// Explains an error of a socket to a person.
fn explain(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "there is no such socket".into(),
        ErrorKind::ConnectionRefused => "nothing listens there: the engine does not run".into(),
        ErrorKind::PermissionDenied => {
            "the agent may not use it: run the agent as root, or in the engine's group".into()
        }
        _ => error.to_string(),
    }
}

/// Text that may stand in a query.
pub(super) fn query(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
