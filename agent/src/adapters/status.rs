//! The status socket `agent.sock` in the data folder: sends each client the state of everything as
//! one JSON document, and closes the connection. It works without any link.
//!
//! See decision 0009.

use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};

use super::access::SOCKETS;

/// Longest time for a client to read the document.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest document that a client accepts, in bytes.
const MAX_STATUS: u64 = 8 * 1024 * 1024;

/// File name of the socket.
const SOCKET: &str = "agent.sock";
/// Longest path that a socket address holds, in bytes.
const MAX_PATH: usize = 107;

/// Path of the status socket in a data folder.
pub fn path(data: &Path) -> PathBuf {
    data.join(SOCKET)
}

/// Returns a path that fits in a socket address: the path itself or, if it is too long, one through
/// the folder's descriptor in `/proc/self/fd`. The returned file has to stay open meanwhile.
fn address(path: &Path) -> io::Result<(Option<std::fs::File>, PathBuf)> {
    if path.as_os_str().len() <= MAX_PATH {
        return Ok((None, path.to_owned()));
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = std::fs::File::open(folder)?;
    let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok((Some(folder), short))
}

/// Binds a listener to a path of any length.
///
/// # Errors
/// The system's error.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    let (_held, address) = address(path)?;
    UnixListener::bind(&address)
}

/// Binds a listener that every user of the device may connect to (mode 0666). A socket that a dead
/// agent left is replaced.
///
/// # Errors
/// The system's error.
pub fn bind_for_all(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    if let Err(error) = name_for_containers(path) {
        tracing::warn!(path = %path.display(), %error, "containers do not reach it");
    }
    Ok(listener)
}

/// Gives a socket a further name in the folder that containers see.
fn name_for_containers(path: &Path) -> io::Result<()> {
    let (Some(data), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let folder = data.join(SOCKETS);
    // Entered by containers of any user, listed by none.
    super::files::folder(&folder, 0o711)?;
    let (next, inside) = (folder.join(".next"), folder.join(name));
    let _left_over = std::fs::remove_file(&next);
    std::fs::hard_link(path, &next)?;
    std::fs::rename(&next, &inside)
}

/// Binds the status socket (mode 0660). A socket that a dead agent left is replaced; the caller
/// holds the lock that rules out a live one.
///
/// # Errors
/// The system's error.
pub fn listen(data: &Path) -> io::Result<UnixListener> {
    let path = path(data);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Accepts the next client; `None` when that failed. Without a listener this never resolves.
pub async fn accept(listener: Option<&UnixListener>) -> Option<UnixStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

/// Sends the document to one client, in a task of its own.
pub fn answer(mut stream: UnixStream, document: String) {
    super::tasks::spawn(async move {
        let sent = tokio::time::timeout(TIMEOUT, async {
            stream.write_all(document.as_bytes()).await?;
            stream.shutdown().await
        });
        if !matches!(sent.await, Ok(Ok(()))) {
            tracing::debug!("a reader of the status went away");
        }
    });
}

/// Reads the document from the agent of this data folder.
///
/// # Errors
/// The system's error; `NotFound` and `ConnectionRefused` mean that no agent runs.
pub fn ask(data: &Path) -> io::Result<String> {
    let (_held, address) = address(&path(data))?;
    let stream = BlockingStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut text = String::new();
    stream.take(MAX_STATUS).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_may_have_a_longer_path_than_an_address_has_room_for() {
        let scratch = tempfile::tempdir().unwrap();
        for folder in ["short".to_owned(), "long/".repeat(60)] {
            let data = scratch.path().join(folder);
            std::fs::create_dir_all(&data).unwrap();
            // Also over what an agent that died left there.
            drop(listen(&data).unwrap());
            let listener = listen(&data).unwrap();
            let asked = tokio::task::spawn_blocking(move || ask(&data));
            answer(accept(Some(&listener)).await.unwrap(), "well".into());
            assert_eq!(asked.await.unwrap().unwrap(), "well");
        }
    }
}
