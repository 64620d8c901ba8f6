//! Sources of pushed images: archives, folders, and engines on this machine.

#![allow(
    clippy::disallowed_methods,
    reason = "the command line reads the files it is given and the variables that name sockets"
)]

use std::fs::File;
use std::io::{self, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use holdfast_oci::{Files, NotUnpacked, Tar, Unpacking};

use super::failure::{Failure, Outcome};
use super::progress::Progress;

/// Largest archive that is unpacked or taken from an engine, in bytes: a slip, or a full disk.
const MOST: u64 = 256 * 1024 * 1024 * 1024;

/// Bytes of a mebibyte.
const MIB: u64 = 1024 * 1024;

/// Folder with an OCI layout.
struct Folder(PathBuf);

impl Files for Folder {
    fn open<'a>(&'a self, path: &str) -> io::Result<Option<(u64, Box<dyn Read + 'a>)>> {
        if path.split('/').any(|part| part == "..") {
            return Err(io::Error::other(format!("{path} leads out of the folder")));
        }
        match File::open(self.0.join(path)) {
            Ok(file) => Ok(Some((file.metadata()?.len(), Box::new(file)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Files of an image, wherever it comes from.
pub(crate) struct Source {
    pub(crate) files: Box<dyn Files>,
    /// Name that the image has where it comes from. None: the archive says it.
    pub(crate) name: Option<String>,
}

/// Opens the source of an image. `engine` is the socket of the engine, if one was given.
pub(crate) async fn open(source: &str, engine: Option<&str>) -> Outcome<Source> {
    let from_engine = [("docker://", Engine::Docker), ("podman://", Engine::Podman)];
    for (scheme, kind) in from_engine {
        if let Some(name) = source.strip_prefix(scheme) {
            let files = saved(name, kind, engine).await?;
            return Ok(Source { files, name: Some(name.to_owned()) });
        }
    }
    if engine.is_some() {
        return Err(Failure::usage("--engine goes with docker://NAME:TAG or podman://NAME:TAG"));
    }
    let path = Path::new(source);
    let wrong = |error: io::Error| Failure::file("read", path, error);
    if std::fs::metadata(path).map_err(wrong)?.is_dir() {
        return Ok(Source { files: Box::new(Folder(path.into())), name: None });
    }
    let file = plain(File::open(path).map_err(wrong)?).map_err(wrong)?;
    let files = Tar::index(BufReader::new(file)).map_err(|error| {
        Failure::failed(format!("{} is no tar archive of an image: {error}", path.display()))
    })?;
    Ok(Source { files: Box::new(files), name: None })
}

/// Returns an archive without compression: one that is compressed is unpacked into a temporary file.
fn plain(mut file: File) -> io::Result<File> {
    let mut head = [0; 4];
    let read = Read::read(&mut file, &mut head)?;
    io::Seek::rewind(&mut file)?;
    let packed = matches!(head.get(..read), Some([0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd]));
    if !packed {
        return Ok(file);
    }
    let to = tempfile::tempfile()?;
    let mut unpacking = Unpacking::new(to, MOST);
    let mut buffer = vec![0; 256 * 1024];
    let failed = |why: NotUnpacked| io::Error::other(why.to_string());
    loop {
        let read = file.read(&mut buffer)?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
        unpacking.write(piece).map_err(failed)?;
    }
    let mut file = unpacking.finish().map_err(failed)?.to;
    io::Seek::rewind(&mut file)?;
    Ok(file)
}

/// Engine on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Docker,
    Podman,
}

impl Engine {
    fn word(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// Sockets where the engine usually is, in the order in which its own tools look.
    fn usual(self, read: impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
        let (variable, own, system) = match self {
            Self::Docker => {
                ("DOCKER_HOST", "docker.sock", &["/run/docker.sock", "/var/run/docker.sock"][..])
            }
            Self::Podman => {
                ("CONTAINER_HOST", "podman/podman.sock", &["/run/podman/podman.sock"][..])
            }
        };
        let given = read(variable).and_then(|it| Some(PathBuf::from(it.strip_prefix("unix://")?)));
        let user = read("XDG_RUNTIME_DIR").map(|folder| Path::new(&folder).join(own));
        given.into_iter().chain(user).chain(system.iter().map(PathBuf::from)).collect()
    }
}

/// Returns the socket of an engine.
fn socket(kind: Engine, given: Option<&str>) -> Outcome<PathBuf> {
    if let Some(given) = given {
        return given.strip_prefix("unix://").map(PathBuf::from).ok_or_else(|| {
            Failure::usage(format!("--engine {given}: give unix:///PATH of its socket"))
        });
    }
    let usual = kind.usual(|name| std::env::var(name).ok());
    let there = usual.iter().find(|path| path.exists());
    there.cloned().ok_or_else(|| {
        let list: Vec<String> = usual.iter().map(|path| path.display().to_string()).collect();
        Failure::failed(format!(
            "there is no socket of {} at {}: say where it is by --engine unix:///PATH",
            kind.word(),
            list.join(", ")
        ))
    })
}

/// Has an engine save an image, as `docker save` does, into a temporary file.
async fn saved(name: &str, kind: Engine, given: Option<&str>) -> Outcome<Box<dyn Files>> {
    let socket = socket(kind, given)?;
    let word = kind.word();
    let at = format!("{word} at {}", socket.display());
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("{at}: {error}"));
    let unreached = |error: reqwest::Error| {
        let mut why: &dyn std::error::Error = &error;
        while let Some(source) = why.source() {
            why = source;
        }
        failed(&format!("it does not answer ({why}): does it run, and may you use its socket?"))
    };
    if name.is_empty()
        || !name.bytes().all(|one| one.is_ascii_alphanumeric() || b"._-/:@".contains(&one))
    {
        return Err(Failure::usage(format!(
            "{word}://{name}: name an image, such as {word}://till:1.4"
        )));
    }
    let _was_installed = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().unix_socket(socket.as_path()).no_proxy().build();
    let client = client.map_err(|error| failed(&error))?;
    let url = format!("http://localhost/images/{name}/get");
    let mut response = client.get(url).send().await.map_err(unreached)?;
    let status = response.status();
    if !status.is_success() {
        let text = response.text().await.unwrap_or_default();
        let text: String = text.chars().filter(|one| !one.is_control()).take(300).collect();
        return Err(match status.as_u16() {
            404 => Failure::not_found(format!("{at} has no image {name}: {text}")),
            status => failed(&format!("status {status} for image {name}: {text}")),
        });
    }
    let mut file = tempfile::tempfile().map_err(|error| failed(&error))?;
    let (mut size, mut progress) = (0_u64, Progress::begin());
    while let Some(piece) = response.chunk().await.map_err(unreached)? {
        size += piece.len() as u64;
        if size > MOST {
            return Err(failed(&format!("the image has more than {MOST} bytes")));
        }
        file.write_all(&piece).map_err(|error| failed(&error))?;
        progress.say(&format!("taking {name} from {word}: {} MiB", size / MIB));
    }
    progress.end();
    io::Seek::rewind(&mut file).map_err(|error| failed(&error))?;
    let files = Tar::index(BufReader::new(file)).map_err(|error| failed(&error))?;
    Ok(Box::new(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_looked_for_where_the_engines_tools_do() {
        let none = |_: &str| None;
        let run = PathBuf::from("/run/docker.sock");
        assert_eq!(Engine::Docker.usual(none).first(), Some(&run));
        let set = |name: &str| match name {
            "DOCKER_HOST" => Some("unix:///tmp/d.sock".to_owned()),
            "CONTAINER_HOST" => Some("ssh://elsewhere".to_owned()),
            "XDG_RUNTIME_DIR" => Some("/run/user/7".to_owned()),
            _ => None,
        };
        let docker = Engine::Docker.usual(set);
        assert_eq!(docker[..2], ["/tmp/d.sock", "/run/user/7/docker.sock"].map(PathBuf::from));
        let podman = Engine::Podman.usual(set);
        let wanted = ["/run/user/7/podman/podman.sock", "/run/podman/podman.sock"];
        assert_eq!(podman, wanted.map(PathBuf::from));
        assert_eq!(socket(Engine::Docker, Some("unix:///x")).unwrap(), PathBuf::from("/x"));
        assert!(socket(Engine::Docker, Some("tcp://x")).is_err());
    }
}
