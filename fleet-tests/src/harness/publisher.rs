//! Publishers: MQTT at QoS 1 with a window of data records in flight, and HTTP on a Unix socket in
//! batches. The same publishers serve every buffer; they use bare sockets and are never the
//! bottleneck.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;

use crate::sim::packets::{self, kind};

/// Longest wait of a publisher for an acknowledgement.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Addresses and credentials for publishing, as a workload finds them in its environment.
#[derive(Debug, Clone)]
pub struct Access {
    /// Address of the MQTT listener.
    pub mqtt: SocketAddr,
    /// User name for MQTT and HTTP; empty: none is given.
    pub user: String,
    /// Password of the user.
    pub password: String,
    /// Unix socket for HTTP.
    pub socket: PathBuf,
}

/// Result of publishing some data records.
#[derive(Debug)]
pub struct Outcome {
    /// True for each record that was acknowledged, in the order of publishing.
    pub acknowledged: Vec<bool>,
    /// Error that ended it early.
    pub error: Option<io::Error>,
}

impl Outcome {
    /// Returns how many records were acknowledged.
    pub fn count(&self) -> usize {
        self.acknowledged.iter().filter(|&&it| it).count()
    }
}

/// MQTT v5 client that only publishes.
#[derive(Debug)]
pub struct Mqtt {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Mqtt {
    /// Connects as `client`.
    ///
    /// # Errors
    /// Fails if nobody listens, or the server refuses.
    pub fn connect(to: &Access, client: &str) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to.mqtt, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut mqtt = Self { stream, buffer: Vec::new() };
        let hello = if to.user.is_empty() {
            packets::connect(client, 600, None)
        } else {
            packets::login(client, 600, &to.user, &to.password)
        };
        mqtt.stream.write_all(&hello)?;
        let answer = mqtt.next_packet()?;
        if (answer.kind(), answer.reason(1)) != (kind::CONNACK, 0) {
            return Err(io::Error::other(format!("refused: {answer:?}")));
        }
        Ok(mqtt)
    }

    /// Sends bytes unchanged.
    ///
    /// # Errors
    /// Fails if the connection ends.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Waits for the next packet.
    ///
    /// # Errors
    /// Fails if the connection ends or is silent for [`PATIENCE`].
    pub fn next_packet(&mut self) -> io::Result<packets::Packet> {
        loop {
            if let Some(packet) = packets::take(&mut self.buffer) {
                return Ok(packet);
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut piece = [0; 16 * 1024];
        let length = self.stream.read(&mut piece)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.buffer.extend(&piece[..length]);
        Ok(())
    }

    /// Publishes records at QoS 1, at most `window` of them in flight, and waits until all are
    /// acknowledged or the connection ends.
    ///
    /// # Panics
    /// Panics if the window is larger than the number of packet ids.
    pub fn publish(&mut self, topic: &str, records: &[Vec<u8>], window: usize) -> Outcome {
        assert!(window < 60_000, "packet ids end at 65,535");
        let mut acknowledged = vec![false; records.len()];
        let error = self.publish_into(topic, records, window, &mut acknowledged).err();
        Outcome { acknowledged, error }
    }

    fn publish_into(
        &mut self,
        topic: &str,
        records: &[Vec<u8>],
        window: usize,
        acknowledged: &mut [bool],
    ) -> io::Result<()> {
        // Packet ids are reused; the window is smaller than their number, so an id means one
        // record.
        const ROUND: usize = 60_000;
        let (mut sent, mut open, mut oldest) = (0, 0, 0);
        let mut answered = vec![false; records.len()];
        let mut bytes = Vec::with_capacity(64 * 1024);
        while oldest < records.len() {
            while sent < records.len() && open < window && sent - oldest < ROUND {
                let id = u16::try_from(sent % ROUND + 1).expect("below 60,001");
                bytes.extend(packets::publish(topic, id, false, &records[sent]));
                sent += 1;
                open += 1;
            }
            if !bytes.is_empty() {
                self.stream.write_all(&bytes)?;
                bytes.clear();
            }
            let mut packet = self.next_packet()?;
            loop {
                if packet.kind() == kind::DISCONNECT {
                    let reason = packet.reason(0);
                    return Err(io::Error::other(format!("disconnected: {reason:#04x}")));
                }
                if packet.kind() == kind::PUBACK {
                    let at = usize::from(packet.id()).checked_sub(1).expect("an id of ours");
                    let record = oldest + (at + ROUND - oldest % ROUND) % ROUND;
                    assert!(record < sent && !answered[record], "acknowledges what was not sent");
                    answered[record] = true;
                    acknowledged[record] = packet.reason(2) < 0x80;
                    open -= 1;
                }
                match packets::take(&mut self.buffer) {
                    Some(more) => packet = more,
                    None => break,
                }
            }
            while oldest < sent && answered[oldest] {
                oldest += 1;
            }
        }
        Ok(())
    }
}

/// HTTP client on the agent's Unix socket, with one connection.
#[derive(Debug)]
pub struct Http {
    stream: UnixStream,
    authorization: String,
}

/// Response of the agent.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// Body of the response.
    pub body: String,
}

impl Http {
    /// Connects to the socket in `to`.
    ///
    /// # Errors
    /// Fails if nobody listens.
    pub fn connect(to: &Access) -> io::Result<Self> {
        Self::connect_to(&to.socket, &to.user, &to.password)
    }

    /// Connects to this socket as this user; an empty name sends no credentials.
    ///
    /// # Errors
    /// Fails if nobody listens.
    pub fn connect_to(socket: &Path, user: &str, password: &str) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let login = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let authorization = if user.is_empty() {
            String::new()
        } else {
            format!("Authorization: Basic {login}\r\n")
        };
        Ok(Self { stream, authorization })
    }

    /// Sends `POST /v1/streams/STREAM` with a body of this type.
    ///
    /// # Errors
    /// Fails if the connection ends.
    pub fn post(&mut self, stream: &str, content: &str, body: &[u8]) -> io::Result<Answer> {
        let head = format!(
            "POST /v1/streams/{stream} HTTP/1.1\r\nHost: holdfast\r\n{}Content-Type: {content}\r\nContent-Length: {}\r\n\r\n",
            self.authorization,
            body.len()
        );
        let mut bytes = head.into_bytes();
        bytes.extend(body);
        self.stream.write_all(&bytes)?;
        self.answer()
    }

    /// Posts records as NDJSON in one call.
    ///
    /// # Errors
    /// Fails if the connection ends.
    pub fn post_records(&mut self, stream: &str, records: &[Vec<u8>]) -> io::Result<Answer> {
        let mut body = Vec::with_capacity(records.iter().map(|it| it.len() + 1).sum());
        for record in records {
            body.extend(record);
            body.push(b'\n');
        }
        self.post(stream, "application/x-ndjson", &body)
    }

    /// Posts records in batches of `batch`, and stops at the first batch that is not stored.
    pub fn publish(&mut self, stream: &str, records: &[Vec<u8>], batch: usize) -> Outcome {
        let mut acknowledged = vec![false; records.len()];
        for (piece, said) in records.chunks(batch).zip(acknowledged.chunks_mut(batch)) {
            let answer = match self.post_records(stream, piece) {
                Ok(answer) => answer,
                Err(error) => return Outcome { acknowledged, error: Some(error) },
            };
            if answer.status != 200 {
                let error = io::Error::other(format!("{} {}", answer.status, answer.body));
                return Outcome { acknowledged, error: Some(error) };
            }
            said.fill(true);
        }
        Outcome { acknowledged, error: None }
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
                let length = head
                    .lines()
                    .find_map(|line| {
                        let (key, value) = line.split_once(':')?;
                        key.eq_ignore_ascii_case("content-length")
                            .then(|| value.trim().parse().ok())?
                    })
                    .unwrap_or(0_usize);
                if bytes.len() >= end + 4 + length {
                    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
                    let status = status.ok_or_else(|| io::Error::other(head.clone()))?;
                    let body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
                    return Ok(Answer { status, body });
                }
            }
            let size = self.stream.read(&mut piece)?;
            if size == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend(&piece[..size]);
        }
    }
}
