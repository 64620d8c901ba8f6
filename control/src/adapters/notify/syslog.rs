//! Delivery of the audit log to a syslog server over TLS (RFC 5425). The protocol has no
//! acknowledgement: what was written, and the connection closed in order, counts as delivered.
//!
//! See decision 0169.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::limits::CONNECT;
use super::tls::words;
use crate::core::alarms::{NotDelivered, Outcome};
use crate::core::audit_sink::{SinkBatch, Syslog};

pub(super) async fn deliver(server: &Syslog, batch: &SinkBatch, now: u64) -> Outcome {
    let place = format!("{}:{}", server.host, server.port);
    let unreached = |why: &str| {
        let why = words(why).unwrap_or(why);
        NotDelivered::Unreached(format!("syslog server {place} was not reached: {why}"))
    };
    let name = ServerName::try_from(server.host.clone())
        .map_err(|_| unreached("this is no name of a server"))?;
    let connector = TlsConnector::from(Arc::new(config(server)?));
    let dialling = TcpStream::connect((server.host.as_str(), server.port));
    let tcp = match tokio::time::timeout(CONNECT, dialling).await {
        Ok(tcp) => tcp.map_err(|error| unreached(&error.to_string()))?,
        Err(_) => return Err(unreached("it does not answer in time")),
    };
    let mut tls =
        connector.connect(name, tcp).await.map_err(|error| unreached(&error.to_string()))?;
    let sending = async {
        tls.write_all(&batch.syslog(now)).await?;
        tls.shutdown().await?;
        // The server closes too once it has read everything; one that does not is not waited for.
        let mut rest = [0; 64];
        let _closed = tokio::time::timeout(CONNECT, tls.read(&mut rest)).await;
        Ok::<_, std::io::Error>(())
    };
    sending.await.map_err(|error| unreached(&error.to_string()))?;
    Ok(format!("{} messages written", batch.entries.len()))
}

fn config(server: &Syslog) -> Result<ClientConfig, NotDelivered> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(server.ca.as_bytes()) {
        let certificate = certificate.map_err(|_| NotDelivered::Certificates)?;
        roots.add(certificate).map_err(|_| NotDelivered::Certificates)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| NotDelivered::Tls(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
