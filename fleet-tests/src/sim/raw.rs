//! Blocking MQTT v5 client over mutual TLS that sends whatever it is told to.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::Identity;
use super::packets::{self, Packet, kind};

/// One connection of the client.
#[derive(Debug)]
pub struct Raw {
    stream: StreamOwned<ClientConnection, TcpStream>,
    buffer: Vec<u8>,
}

impl Raw {
    /// Opens TCP and TLS without sending a packet.
    ///
    /// # Errors
    /// Fails if the handshake fails.
    pub fn dial(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(holdfast_protocol::enrol::SERVER_NAME)
            .map_err(io::Error::other)?;
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        stream.flush()?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Connects as this device with a clean start; returns the CONNACK's reason code.
    ///
    /// # Errors
    /// Fails if the connection ends instead.
    pub fn connect(address: SocketAddr, identity: &Identity) -> io::Result<(Self, u8)> {
        let mut raw = Self::dial(address, identity.tls())?;
        raw.send(&packets::connect(&identity.id(), 60, None))?;
        let answer = raw.await_kind(kind::CONNACK)?;
        Ok((raw, answer.reason(1)))
    }

    /// Sends bytes unchanged.
    ///
    /// # Errors
    /// Fails if the connection has ended.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Returns the next packet.
    ///
    /// # Errors
    /// Fails if the connection ends, or nothing comes for 20 s.
    pub fn packet(&mut self) -> io::Result<Packet> {
        let mut piece = [0_u8; 8192];
        loop {
            if let Some(packet) = packets::take(&mut self.buffer) {
                return Ok(packet);
            }
            match self.stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                size => self.buffer.extend(&piece[..size]),
            }
        }
    }

    /// Skips to the next packet of a kind.
    ///
    /// # Errors
    /// Fails as [`Raw::packet`] does; a DISCONNECT instead is an error that names its reason.
    pub fn await_kind(&mut self, wanted: u8) -> io::Result<Packet> {
        loop {
            let packet = self.packet()?;
            if packet.kind() == wanted {
                return Ok(packet);
            }
            if packet.kind() == kind::DISCONNECT {
                let reason = packet.reason(0);
                return Err(io::Error::other(format!("disconnected with reason {reason:#04x}")));
            }
        }
    }
}
