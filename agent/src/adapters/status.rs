//! The status socket, `agent.sock` in the data folder: whoever connects is told how everything
//! stands, as one JSON document, and the connection ends. It works without any link.

use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};

/// Who does not read is left.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest document that a reader takes, in bytes.
const MAX_STATUS: u64 = 8 * 1024 * 1024;

/// The socket of this data folder.
pub fn path(data: &Path) -> PathBuf {
    data.join("agent.sock")
}

/// Listens. A socket left by an agent that died is replaced; the caller holds the lock that says
/// that there is no other.
///
/// # Errors
/// Whatever the system says.
pub fn listen(data: &Path) -> io::Result<UnixListener> {
    let path = path(data);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Tells one reader.
pub fn answer(mut stream: UnixStream, document: String) {
    tokio::spawn(async move {
        let told = tokio::time::timeout(PATIENCE, async {
            stream.write_all(document.as_bytes()).await?;
            stream.shutdown().await
        });
        if !matches!(told.await, Ok(Ok(()))) {
            tracing::debug!("a reader of the status went away");
        }
    });
}

/// Asks the agent of this data folder.
///
/// # Errors
/// Whatever the system says; `NotFound` and `ConnectionRefused` mean that none runs.
pub fn ask(data: &Path) -> io::Result<String> {
    let stream = BlockingStream::connect(path(data))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.take(MAX_STATUS).read_to_string(&mut text)?;
    Ok(text)
}
