//! Upstream of a bridge: an MQTT 3.1.1 server that acknowledges and counts publishes, and keeps
//! nothing. It is faster than any real one, so that a bridge in front of it shows its own best.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::sim::packets::{self, kind};
use crate::telemetry;

#[derive(Debug, Default)]
struct Seen {
    publishes: AtomicU64,
    /// Records seen, by the record's own counter, so that a repetition counts once.
    records: Mutex<Vec<bool>>,
    over: AtomicBool,
}

/// Server that counts publishes; it ends when dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    seen: Arc<Seen>,
}

impl Sink {
    /// Starts the server at this address.
    ///
    /// # Panics
    /// Panics if the address is taken.
    pub fn listen(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("the upstream's address is free");
        let address = listener.local_addr().expect("it listens");
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if shared.over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let _ended = serve(socket, &shared);
                });
            }
        });
        Self { address, seen }
    }

    /// Returns the number of publishes so far, including repetitions.
    pub fn publishes(&self) -> u64 {
        self.seen.publishes.load(Ordering::Relaxed)
    }

    /// Returns the number of different records so far.
    pub fn records(&self) -> usize {
        self.seen.records.lock().unwrap().iter().filter(|&&it| it).count()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.seen.over.store(true, Ordering::Relaxed);
        let _woken = TcpStream::connect(self.address);
    }
}

fn serve(mut socket: TcpStream, seen: &Seen) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut piece = vec![0; 64 * 1024];
    let mut buffer = Vec::new();
    let mut answers = Vec::new();
    while !seen.over.load(Ordering::Relaxed) {
        let size = socket.read(&mut piece)?;
        if size == 0 {
            return Ok(());
        }
        buffer.extend(&piece[..size]);
        while let Some(packet) = packets::take(&mut buffer) {
            match packet.kind() {
                kind::CONNECT => answers.extend(packets::packet(kind::CONNACK, &[0, 0])),
                kind::PINGREQ => answers.extend(packets::packet(kind::PINGRESP, &[])),
                kind::SUBSCRIBE => {
                    answers.extend(packets::packet(
                        kind::SUBACK,
                        &[packet.body[0], packet.body[1], 1],
                    ));
                }
                kind::PUBLISH => {
                    let topic = usize::from(u16::from_be_bytes([packet.body[0], packet.body[1]]));
                    let id = &packet.body[2 + topic..4 + topic];
                    answers.extend(packets::packet(kind::PUBACK, id));
                    seen.publishes.fetch_add(1, Ordering::Relaxed);
                    if let Some(number) = telemetry::number(&packet.body[4 + topic..]) {
                        let at = usize::try_from(number).expect("a counter of ours");
                        let mut records = seen.records.lock().unwrap();
                        if records.len() <= at {
                            records.resize(at + 1, false);
                        }
                        records[at] = true;
                    }
                }
                _ => {}
            }
        }
        socket.write_all(&answers)?;
        answers.clear();
    }
    Ok(())
}
