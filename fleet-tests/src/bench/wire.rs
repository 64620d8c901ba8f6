//! Bytes on the wire of one connection, as the kernel counts them: TCP payload (which includes
//! TLS), and segments, each with its IP and TCP headers.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

/// Bytes of headers of a segment: IPv4 20, TCP 20, timestamps 12.
const HEADERS: u64 = 52;

/// Bytes since the connection was opened, headers included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Bytes from the device.
    pub up: u64,
    /// Bytes to the device.
    pub down: u64,
}

impl Bytes {
    /// Returns the bytes since an earlier count.
    pub fn since(self, before: Self) -> Self {
        Self { up: self.up - before.up, down: self.down - before.down }
    }

    /// Returns the bytes of both directions.
    pub fn sum(self) -> u64 {
        self.up + self.down
    }
}

/// Counts the bytes of the one connection to this address, seen from the client.
///
/// # Panics
/// Panics if there is no such connection, or more than one.
pub fn count(to: SocketAddr) -> Bytes {
    let filter = format!("( dst = {} and dport = :{} )", to.ip(), to.port());
    let output = Command::new("ss")
        .args(["-tniH", "state", "established", &filter])
        .output()
        .expect("`ss` of iproute2 counts the bytes");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let field = |key: &str| -> u64 {
        let found: Vec<u64> = text
            .split_whitespace()
            .filter_map(|word| word.strip_prefix(key)?.parse().ok())
            .collect();
        assert!(found.len() <= 1, "more than one connection to {to}: {text}");
        found.first().copied().unwrap_or(0)
    };
    assert!(text.contains("segs_out:"), "no connection to {to}: {text}");
    Bytes {
        up: field("bytes_sent:") + field("segs_out:") * HEADERS,
        down: field("bytes_received:") + field("segs_in:") * HEADERS,
    }
}

/// Waits until no byte has moved for `quiet`, and returns the count.
pub fn settle(to: SocketAddr, quiet: Duration) -> Bytes {
    let mut last = count(to);
    let mut since = Instant::now();
    while since.elapsed() < quiet {
        std::thread::sleep(Duration::from_millis(50));
        let now = count(to);
        if now != last {
            last = now;
            since = Instant::now();
        }
    }
    last
}
