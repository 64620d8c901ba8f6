//! Small blocking HTTPS client, enough to poll the API and to read events. It checks only one
//! property of the server: that its chain holds the CA with the known digest.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use serde_json::Value;

/// Response of a server.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// Complete body of the response.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON; `null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// Client for one address.
#[derive(Debug, Clone)]
pub struct Https {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    token: Option<String>,
}

type Stream = BufReader<StreamOwned<ClientConnection, TcpStream>>;

impl Https {
    /// Creates a client for this address, CA and token.
    pub fn new(address: SocketAddr, ca_sha256: &str, token: Option<&str>) -> Self {
        let provider = Arc::new(ring::default_provider());
        let pinned = Pinned { ca: ca_sha256.to_owned(), provider: Arc::clone(&provider) };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pinned))
            .with_no_client_auth();
        Self { address, config: Arc::new(config), token: token.map(ToOwned::to_owned) }
    }

    /// Sends a `GET` request and returns the response.
    ///
    /// # Errors
    /// Fails if no complete response arrives.
    pub fn get(&self, path: &str) -> io::Result<Answer> {
        self.send("GET", path, "application/json", &[])
    }

    /// Sends a request with a body and returns the response.
    ///
    /// # Errors
    /// Fails if no complete response arrives.
    pub fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<Answer> {
        let (mut stream, status, chunked) = self.open(method, path, kind, body)?;
        let mut raw = Vec::new();
        if chunked {
            while let Some(chunk) = read_chunk(&mut stream)? {
                raw.extend(chunk);
            }
        } else if let Err(error) = stream.read_to_end(&mut raw) {
            // A server may close without a TLS close_notify; the bytes that came are the response.
            if error.kind() != io::ErrorKind::UnexpectedEof {
                return Err(error);
            }
        }
        Ok(Answer { status, body: raw })
    }

    /// Reads lines of an unending response (`/api/v1/events`), until `each` returns false.
    ///
    /// # Errors
    /// Fails if the connection ends.
    pub fn lines(&self, path: &str, mut each: impl FnMut(&str) -> bool) -> io::Result<()> {
        let (mut stream, status, chunked) = self.open("GET", path, "application/json", &[])?;
        if status != 200 {
            return Err(io::Error::other(format!("GET {path}: {status}")));
        }
        stream.get_ref().sock.set_read_timeout(None)?;
        let mut rest = String::new();
        loop {
            if chunked {
                let Some(chunk) = read_chunk(&mut stream)? else { return Ok(()) };
                rest.push_str(&String::from_utf8_lossy(&chunk));
            } else if stream.read_line(&mut rest)? == 0 {
                return Ok(());
            }
            while let Some((line, after)) = rest.split_once('\n') {
                if !each(line.trim_end()) {
                    return Ok(());
                }
                rest = after.to_owned();
            }
        }
    }

    /// Opens a connection without sending a request.
    ///
    /// # Errors
    /// Fails if no connection can be opened.
    pub fn dial(&self) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let limit = Duration::from_secs(30);
        let socket = TcpStream::connect_timeout(&self.address, limit)?;
        socket.set_read_timeout(Some(limit))?;
        socket.set_write_timeout(Some(limit))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(holdfast_protocol::enrol::SERVER_NAME)
            .map_err(io::Error::other)?;
        let tls =
            ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        Ok(StreamOwned::new(tls, socket))
    }

    fn open(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> io::Result<(Stream, u16, bool)> {
        let mut stream = self.dial()?;
        let bearer = self
            .token
            .as_ref()
            .map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{bearer}content-type: {kind}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        stream.flush()?;
        let mut stream = BufReader::new(stream);
        let (status, chunked) = read_head(&mut stream)?;
        Ok((stream, status, chunked))
    }
}

fn read_head(stream: &mut Stream) -> io::Result<(u16, bool)> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| io::Error::other(format!("not an HTTP answer: {line:?}")))?;
    let mut chunked = false;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            return Ok((status, chunked));
        }
        chunked |= header.starts_with("transfer-encoding:") && header.ends_with("chunked");
    }
}

fn read_chunk(stream: &mut Stream) -> io::Result<Option<Vec<u8>>> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let size = usize::from_str_radix(line.trim(), 16)
        .map_err(|_| io::Error::other(format!("not a chunk's size: {line:?}")))?;
    let mut chunk = vec![0; size + 2];
    stream.read_exact(&mut chunk)?;
    chunk.truncate(size);
    Ok((size > 0).then_some(chunk))
}

/// Certificate verifier that accepts a chain with the CA of this digest.
#[derive(Debug)]
struct Pinned {
    ca: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        let mut digests = chain.map(|certificate| {
            let digest = ::ring::digest::digest(&::ring::digest::SHA256, certificate);
            holdfast_base::ids::hex(digest.as_ref())
        });
        if digests.any(|digest| digest == self.ca) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(format!("the chain does not hold the CA {}", self.ca)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
