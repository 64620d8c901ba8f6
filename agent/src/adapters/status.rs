//! The status socket, `agent.sock` in the data folder: whoever connects is told how everything
//! stands, as one JSON document, and the connection ends. It works without any link.

use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
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

/// The socket's name.
const SOCKET: &str = "agent.sock";
/// Longest path that an address of a socket holds, in bytes.
const MAX_PATH: usize = 107;

/// The socket of this data folder.
pub fn path(data: &Path) -> PathBuf {
    data.join(SOCKET)
}

/// How the socket is addressed: by its path, or, where that is too long for an address, by way of
/// the folder's descriptor, which has to be held meanwhile.
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

/// A listener at this path, however long it is.
///
/// # Errors
/// Whatever the system says.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    let (_held, address) = address(path)?;
    UnixListener::bind(&address)
}

/// A listener that anybody on the device may connect to. A socket left by an agent that died is
/// replaced.
///
/// # Errors
/// Whatever the system says.
pub fn bind_for_all(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
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
    let listener = bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// The next reader; None: it could not be let in. Without a listener there is never one.
pub async fn accept(listener: Option<&UnixListener>) -> Option<UnixStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
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
    let (_held, address) = address(&path(data))?;
    let stream = BlockingStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
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
