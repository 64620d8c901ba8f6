//! Bytes on the wire of one connection, as the kernel counts them: TCP payload (so TLS is in it)
//! and segments, each with its IP and TCP headers.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

/// IPv4 20, TCP 20, timestamps 12.
const HEADERS: u64 = 52;

/// Counted from the connection's begin, headers included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes {
    /// From the device.
    pub up: u64,
    /// To the device.
    pub down: u64,
}

impl Bytes {
    /// What came since.
    pub fn since(self, before: Self) -> Self {
        Self { up: self.up - before.up, down: self.down - before.down }
    }

    /// Both ways.
    pub fn sum(self) -> u64 {
        self.up + self.down
    }
}

/// Of the one connection to this address, seen from the client.
///
/// # Panics
/// When there is no such connection, or more than one.
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

/// Waits until nothing has moved for `quiet`.
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
