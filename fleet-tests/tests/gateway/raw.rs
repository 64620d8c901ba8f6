//! Client that writes MQTT byte by byte, over real TLS.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{PATIENCE, World};

/// An empty answer.
pub const NOTHING: [u8; 0] = [];

pub struct Raw {
    pub stream: TlsStream<TcpStream>,
}

/// Returns a packet of this first byte and body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        out.push(if length == 0 { byte } else { byte | 0x80 });
        if length == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

pub fn text(text: &str) -> Vec<u8> {
    let mut out = (text.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(text.as_bytes());
    out
}

/// Returns a CONNECT of version 4 (3.1.1) or 5; keep-alive in seconds.
pub fn connect(version: u8, client_id: &str, keep_alive: u16) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', version, 2];
    body.extend_from_slice(&keep_alive.to_be_bytes());
    if version == 5 {
        body.push(0);
    }
    body.extend_from_slice(&text(client_id));
    packet(0x10, &body)
}

pub fn subscribe(version: u8, packet_id: u16, filter: &str, qos: u8) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == 5 {
        body.push(0);
    }
    body.extend_from_slice(&text(filter));
    body.push(qos);
    packet(0x82, &body)
}

/// Returns a PUBLISH of QoS 1.
pub fn publish(version: u8, packet_id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    body.extend_from_slice(&packet_id.to_be_bytes());
    if version == 5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    packet(0x32, &body)
}

impl Raw {
    pub async fn tls(world: &World, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        Self::over(TcpStream::connect(world.address).await?, config).await
    }

    /// Opens TLS over a connected socket.
    pub async fn over(tcp: TcpStream, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        tcp.set_nodelay(true)?;
        let name = "localhost".try_into().unwrap();
        Ok(Self { stream: TlsConnector::from(config).connect(name, tcp).await? })
    }

    /// Opens TLS for a device with a good certificate.
    pub async fn new(world: &World, device: &str) -> Self {
        let config = world.pki.client(Some(&world.pki.device(device)));
        Self::tls(world, config).await.unwrap()
    }

    /// Opens TLS for a device and sends a CONNECT, which must be accepted.
    pub async fn connected(world: &World, version: u8, device: &str) -> Self {
        let mut raw = Self::new(world, device).await;
        raw.write(&connect(version, device, 60)).await;
        let connack = raw.packet().await.expect("a CONNACK");
        assert_eq!((connack[0], connack[1]), (0x20, 0), "CONNACK {connack:02x?}");
        assert_eq!(connack[2], 0, "accepted: {connack:02x?}");
        raw
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Writes bytes to a connection that the server may have closed.
    pub async fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Returns the next packet: first byte and body. None: the server closed the connection.
    pub async fn packet(&mut self) -> Option<Vec<u8>> {
        tokio::time::timeout(PATIENCE, self.any_packet()).await.expect("a packet in time")
    }

    /// Returns the next packet, however long it takes.
    pub async fn any_packet(&mut self) -> Option<Vec<u8>> {
        let mut out = vec![self.stream.read_u8().await.ok()?];
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = self.stream.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        out.resize(1 + length, 0);
        self.stream.read_exact(&mut out[1..]).await.ok()?;
        Some(out)
    }

    /// Reads once, and returns the number of bytes.
    pub async fn read_some(&mut self, bytes: &mut [u8]) -> usize {
        let read = self.stream.read(bytes);
        tokio::time::timeout(PATIENCE, read).await.expect("bytes in time").unwrap()
    }

    /// Returns everything until the server closes the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let read = self.stream.read_to_end(&mut out);
        // A reset after the last bytes is an end too; the bytes before it count.
        drop(tokio::time::timeout(PATIENCE, read).await.expect("the server closes"));
        out
    }

    /// Fails if any packet comes within `time`.
    pub async fn silent(&mut self, time: Duration) {
        if let Ok(packet) = tokio::time::timeout(time, self.any_packet()).await {
            panic!("expected silence, got {packet:02x?}");
        }
    }
}
