//! Folders and addresses of a test's own.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Temporary folder that unprivileged workloads may enter, removed when dropped. Its path is short:
/// it holds sockets, whose paths have at most 107 bytes.
#[derive(Debug)]
pub struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    /// Creates a folder under `/tmp` (or `TMPDIR`).
    #[allow(clippy::new_without_default, reason = "it makes a folder; nothing about it is default")]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("hf-")
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("a temporary folder can be made");
        Self { dir }
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns a path in the folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file in the folder and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, content).expect("a scratch file can be written");
        path
    }
}

/// Returns a loopback address that no other test on this machine has. A port once taken on it is
/// still free after a restart, and each device's link can be a proxy on the same ports.
pub fn loopback() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    // An address 127.x.y.z: 16 bits of process id, then a counter, outside 127.0.0.0/16.
    let process = std::process::id();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = process.to_be_bytes();
    // A block has 250 addresses; the blocks after the first are in the upper half of the network.
    let [.., block] = (number / 250).to_be_bytes();
    let [.., last] = (number % 250 + 1).to_be_bytes();
    Ipv4Addr::new(127, (high % 127) + 128 * u8::from(block > 0) + 1, low.wrapping_add(block), last)
}
