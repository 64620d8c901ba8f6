//! Small HTTPS client for the control plane's API: enrolment, renewal, artifacts.
//!
//! See decisions 0016, 0102 and 0104.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_protocol::enrol::{ApiErrorBody, SERVER_NAME};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use rustls::{AlertDescription, CertificateError, ClientConfig};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;

use super::meter::{Metered, Tap};
use super::wire::{self, Sent};

/// Longest time for name resolution, TCP and TLS together: a satellite link needs several round
/// trips of a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time until the head of a response has come, and for reading a body.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest response that is read whole, in bytes.
const MAX_ANSWER: usize = 256 * 1024;

/// Reasons why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// No connection could be made.
    #[error("{host}:{port} cannot be reached: {why}")]
    Unreachable {
        /// Host that was tried.
        host: String,
        /// Port that was tried.
        port: u16,
        /// Reason as text.
        why: String,
    },
    /// The server is not the control plane.
    #[error("{host}:{port} is not trusted: {why}")]
    Untrusted {
        /// Host that was tried.
        host: String,
        /// Port that was tried.
        port: u16,
        /// Reason as text.
        why: String,
    },
    /// The control plane refused the request.
    #[error("refused: {message}")]
    Refused {
        /// HTTP status of the response.
        status: u16,
        /// Reason as text.
        message: String,
    },
    /// The control plane cannot serve the request now.
    #[error("the control plane answered {status}: {message}")]
    Failed {
        /// HTTP status of the response.
        status: u16,
        /// Reason as text.
        message: String,
    },
    /// The connection broke, or the response makes no sense.
    #[error("no whole answer: {0}")]
    Broken(String),
}

/// Address of the API: `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port; 443 when none was given.
    pub port: u16,
}

/// Text that is no address of the API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a URL of a control plane: it is https://HOST[:PORT]")]
pub struct NotAUrl(pub String);

impl std::str::FromStr for Url {
    type Err = NotAUrl;
    fn from_str(text: &str) -> Result<Self, NotAUrl> {
        let bad = || NotAUrl(text.to_owned());
        let rest = text.trim().strip_prefix("https://").ok_or_else(bad)?.trim_end_matches('/');
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| bad())?),
            _ => (rest, 443),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['/', '@', ' ', '?', '#']) {
            return Err(bad());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "https://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "https://{}:{}", self.host, self.port)
        }
    }
}

/// Client of the API at one address.
#[derive(Debug, Clone)]
pub struct Api {
    /// Address of the API.
    pub url: Url,
    /// TLS configuration: the CA to trust, and the certificate to show.
    pub tls: Arc<ClientConfig>,
    /// Meter of the bytes that the connections use.
    pub tap: Tap,
}

impl Api {
    /// Sends a request; returns the response with its body still to be read.
    ///
    /// # Errors
    /// [`HttpsError::Unreachable`], [`HttpsError::Untrusted`], [`HttpsError::Broken`].
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, HttpsError> {
        self.send_within(request.map(Sent::Whole), ANSWER_TIMEOUT).await
    }

    /// As [`Self::send`], for a body that may take long to be sent: the answer begins within this
    /// time.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_within(
        &self,
        request: Request<Sent>,
        within: Duration,
    ) -> Result<Response<Incoming>, HttpsError> {
        let Url { host, port } = self.url.clone();
        let unreachable = |why: String| HttpsError::Unreachable { host: host.clone(), port, why };
        let connect = tokio::time::timeout(CONNECT_TIMEOUT, self.connect());
        let io = connect.await.map_err(|_| unreachable("no answer in time".into()))??;
        let broken = |error: hyper::Error| {
            HttpsError::Broken(if error.is_user() {
                error.to_string()
            } else {
                format!(
                    "{host}:{port} ended the connection without one: is it the API's port (8443), and not that of devices (8883)?"
                )
            })
        };
        let mut sender = wire::speak(Box::new(io)).await.map_err(broken)?;
        let answer = tokio::time::timeout(within, sender.send_request(request)).await;
        answer.map_err(|_| HttpsError::Broken("no answer in time".into()))?.map_err(broken)
    }

    async fn connect(
        &self,
    ) -> Result<tokio_rustls::client::TlsStream<Metered<TcpStream>>, HttpsError> {
        let Url { host, port } = self.url.clone();
        let unreachable = |why: String| HttpsError::Unreachable { host: host.clone(), port, why };
        let socket = dial(&host, port).await.map_err(|error| unreachable(error.to_string()))?;
        let name =
            ServerName::try_from(SERVER_NAME).map_err(|error| unreachable(error.to_string()))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls));
        let connecting = connector.connect(name, self.tap.clone().around(socket));
        connecting.await.map_err(|error| match tls_error(&error) {
            Some(tls) => {
                let why = explain_tls(tls).into();
                HttpsError::Untrusted { host: host.clone(), port, why }
            }
            None if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                unreachable("it ended the connection at once: is it the API's port?".into())
            }
            None => unreachable(error.to_string()),
        })
    }

    /// Begins a request with the headers that all requests have.
    pub fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.url.to_string().trim_start_matches("https://"))
            .header("user-agent", concat!("holdfast-agent/", env!("CARGO_PKG_VERSION")))
    }

    /// Posts JSON and reads the response as JSON.
    ///
    /// # Errors
    /// [`HttpsError`].
    pub async fn post<A: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<A, HttpsError> {
        let broken = |error: &dyn std::fmt::Display| HttpsError::Broken(error.to_string());
        let body = serde_json::to_vec(body).map_err(|error| broken(&error))?;
        let request = self
            .request("POST", path)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| broken(&error))?;
        self.read(request).await
    }

    /// Gets a document, and reads it as JSON.
    ///
    /// # Errors
    /// [`HttpsError`].
    pub async fn get<A: serde::de::DeserializeOwned>(&self, path: &str) -> Result<A, HttpsError> {
        let request = self.request("GET", path).body(Full::new(Bytes::new()));
        self.read(request.map_err(|error| HttpsError::Broken(error.to_string()))?).await
    }

    async fn read<A: serde::de::DeserializeOwned>(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<A, HttpsError> {
        let answer = self.send(request).await?;
        let status = answer.status();
        if !status.is_success() {
            return Err(error_from(answer).await);
        }
        let body = read_body(answer).await?;
        serde_json::from_slice(&body)
            .map_err(|_| HttpsError::Broken("it is none that this agent understands".into()))
    }
}

/// Returns the TLS error that an I/O error carries; `None` when it has another cause.
pub fn tls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// Explains to a person why TLS ended a connection.
pub fn explain_tls(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => "its certificate is not valid at this device's time: is the clock right?",
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            "its certificate is not signed by this device's control plane: another control plane answers there, or somebody stands in between"
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "it takes this device's certificate for expired: is the clock right, there and here?"
        }
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => {
            "it refuses this device's certificate: is it the control plane that this device is of?"
        }
        _ => "it speaks no TLS, or another kind: is it the control plane's port?",
    }
}

async fn read_body(answer: Response<Incoming>) -> Result<Bytes, HttpsError> {
    let read = Limited::new(answer.into_body(), MAX_ANSWER).collect();
    match tokio::time::timeout(ANSWER_TIMEOUT, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(HttpsError::Broken(error.to_string())),
        Err(_) => Err(HttpsError::Broken("the answer stalled".into())),
    }
}

/// Reads a response that is not a success, and makes it an error.
pub async fn error_from(answer: Response<Incoming>) -> HttpsError {
    let status = answer.status();
    let body = match read_body(answer).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    let message = serde_json::from_slice::<ApiErrorBody>(&body).map_or_else(
        |_| String::from_utf8_lossy(&body).chars().take(200).collect(),
        |body| {
            let faults = body.error.faults.iter().map(|fault| format!("; {fault}"));
            faults.fold(body.error.message, |text, fault| text + &fault)
        },
    );
    let no = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::CONFLICT];
    let status_code = status.as_u16();
    if no.contains(&status) {
        HttpsError::Refused { status: status_code, message }
    } else {
        HttpsError::Failed { status: status_code, message }
    }
}

/// Reason why no address of a host accepts a connection.
#[derive(Debug, thiserror::Error)]
pub enum NotDialled {
    /// Host without an address.
    #[error("no address")]
    NoAddress,
    /// Host whose addresses cannot be found.
    #[error(transparent)]
    Unresolved(#[from] super::resolve::Unresolved),
    /// Failure of the last address that was tried.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Connects by TCP to the first address of a host that accepts.
///
/// # Errors
/// [`NotDialled`].
pub async fn dial(host: &str, port: u16) -> Result<TcpStream, NotDialled> {
    let mut last = NotDialled::NoAddress;
    for address in super::resolve::addresses(host, port).await? {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                tune(&socket)?;
                return Ok(socket);
            }
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// Milliseconds after which a connection ends whose data is not acknowledged. It causes no idle
/// traffic, and still notices a dead link long before the keep-alive.
const USER_TIMEOUT_MS: u32 = 60_000;

/// Sets the options that each connection has.
///
/// # Errors
/// When the system refuses one.
pub fn tune(socket: &TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    rustix::net::sockopt::set_tcp_user_timeout(socket, USER_TIMEOUT_MS)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_the_tls_library_is_said() {
        for (error, word) in [
            (CertificateError::BadSignature, "another control plane"),
            (CertificateError::UnknownIssuer, "another control plane"),
            (CertificateError::NotValidForName, "another control plane"),
            (CertificateError::Expired, "clock"),
            (CertificateError::NotValidYet, "clock"),
        ] {
            let said = explain_tls(&rustls::Error::InvalidCertificate(error.clone()));
            assert!(said.contains(word), "{error:?}: {said}");
        }
        let other = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert!(explain_tls(&other).contains("no TLS"));
        let expired = rustls::Error::AlertReceived(AlertDescription::CertificateExpired);
        assert!(explain_tls(&expired).contains("is the clock right"));
        let unknown = rustls::Error::AlertReceived(AlertDescription::UnknownCA);
        assert!(explain_tls(&unknown).contains("refuses this device's certificate"));
    }

    #[test]
    fn urls_are_https_with_an_optional_port() {
        let url = |text: &str| text.parse::<Url>().map(|url| (url.host, url.port)).ok();
        assert_eq!(url("https://control:8443/"), Some(("control".into(), 8443)));
        assert_eq!(url("https://control"), Some(("control".into(), 443)));
        assert_eq!(url("https://[::1]:9"), Some(("::1".into(), 9)));
        assert_eq!(url("https://[::1]"), Some(("::1".into(), 443)));
        for bad in ["http://x", "https://", "https://x:y", "https://a@b", "https://a/b", "x"] {
            assert_eq!(url(bad), None, "{bad}");
        }
    }
}
