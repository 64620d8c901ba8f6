//! Access to the bus and the data socket: the bus's port, the password of each workload, and the
//! local accesses of programs that the agent does not run.
//!
//! A workload's password is derived from one stored key and the nonce of its instance. It changes
//! with each start, but survives a restart of the agent and a full disk, so that a workload that
//! outlives the agent is let in again. The agent's own user and root can read all of it, nobody
//! else can. A damaged file is replaced and reported.
//!
//! See decisions 0053 and 0079.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_base::collect;
use holdfast_base::ids::{Name, hex};
use holdfast_protocol::workload::Bus;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use super::files;
use crate::core::bus::asked_for;
use crate::core::caller::{self, Peer};

/// Address of the bus; no other machine reaches it.
pub const HOST: &str = "127.0.0.1";
/// File of the key that passwords are derived from.
const KEY: &str = "bus.key";
/// File of the port that workloads were told.
const PORT: &str = "bus.port";
/// File of the local accesses.
const LOCAL: &str = "local-access.json";
/// File that is locked while local accesses are changed.
const LOCK: &str = "local-access.lock";
/// Socket that takes records over HTTP.
const SOCKET: &str = "data.sock";
/// Socket of the bus.
const BUS_SOCKET: &str = "bus.sock";
/// Folder of the data folder with further names of both sockets: a container that sees the folder
/// reaches the sockets also after the agent was restarted and has made them anew.
pub const SOCKETS: &str = "sockets";
/// Longest file of local accesses that is read, in bytes.
const MAX_FILE: u64 = 4 << 20;
/// Most local accesses; the bus serves 64 clients.
const MAX_LOCAL: usize = 64;

/// Addresses and credentials for one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Address at which the bus listens.
    pub host: &'static str,
    /// TCP port of the bus.
    pub port: u16,
    /// User name of the client.
    pub username: String,
    /// Password of the client.
    pub password: String,
    /// Path of the socket that takes records over HTTP.
    pub socket: PathBuf,
    /// Path of the socket that takes MQTT. Safer than the port, because no other program can listen
    /// there.
    #[serde(rename = "mqttSocket")]
    pub bus: PathBuf,
}

impl Entry {
    /// Environment variables that tell a workload its entry.
    pub fn environment(&self) -> [(String, String); 6] {
        [
            ("HOLDFAST_MQTT_HOST".into(), self.host.into()),
            ("HOLDFAST_MQTT_PORT".into(), self.port.to_string()),
            ("HOLDFAST_MQTT_USERNAME".into(), self.username.clone()),
            ("HOLDFAST_MQTT_PASSWORD".into(), self.password.clone()),
            ("HOLDFAST_SOCKET".into(), self.socket.to_string_lossy().into_owned()),
            ("HOLDFAST_MQTT_SOCKET".into(), self.bus.to_string_lossy().into_owned()),
        ]
    }
}

/// Local access that was created or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Addresses and credentials of the local access.
    pub entry: Entry,
    /// Rights beyond its own topics.
    pub bus: Bus,
    /// Rights it had before, if they differed.
    pub before: Option<Bus>,
}

/// Credentials and rights of a program that the agent does not run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalAccess {
    /// Password of the program.
    pub password: String,
    /// Rights beyond its own topics.
    #[serde(flatten)]
    pub bus: Bus,
}

/// Version of a file: inode and time of modification (seconds, nanoseconds); `None` when there is
/// no file.
type Stamp = Option<(u64, i64, i64)>;

#[derive(Debug, Default)]
struct State {
    key: Option<[u8; 32]>,
    port: Option<u16>,
    local: BTreeMap<Name, LocalAccess>,
    /// Version of the file that `local` was read from.
    stamp: Stamp,
    /// Texts for a person about what could not be read or kept, by topic.
    problems: BTreeMap<&'static str, String>,
}

/// Port, passwords and local accesses; see the module's documentation.
#[derive(Debug)]
pub struct Access {
    data: PathBuf,
    fixed_port: Option<u16>,
    state: Mutex<State>,
    /// Workload of each container that runs, by the container's id.
    containers: Mutex<BTreeMap<String, Name>>,
}

/// Reason why local accesses were not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Name of a workload of this device.
    #[error(
        "{0} is a workload of this device: it has credentials in its environment; take another name"
    )]
    IsWorkload(Name),
    /// Limit of local accesses that is reached.
    #[error("there are {MAX_LOCAL} local accesses already: remove one")]
    TooMany,
    /// System without random numbers.
    #[error("{0}")]
    Random(#[source] io::Error),
    /// Bus without a port.
    #[error("no port for the bus: {0}")]
    NoPort(#[source] io::Error),
    /// File that cannot be read or written.
    #[error("{}: {}", .0.display(), .1)]
    File(PathBuf, #[source] io::Error),
    /// Accesses that cannot be written as JSON.
    #[error("{0}")]
    Json(#[source] serde_json::Error),
}

impl Access {
    /// Creates the access of a data folder. Nothing is read or written before it is needed.
    pub fn new(data: &Path, fixed_port: Option<u16>) -> Self {
        Self {
            data: data.to_owned(),
            fixed_port,
            state: Mutex::default(),
            containers: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Name>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes down that a container is of a workload.
    pub fn enclose(&self, container: &str, workload: &Name) {
        self.containers().insert(container.to_owned(), workload.clone());
    }

    /// Forgets a container that has ended.
    pub fn release(&self, container: &str) {
        self.containers().remove(container);
    }

    /// Workloads that run in containers.
    pub fn contained(&self) -> BTreeSet<Name> {
        collect::set(self.containers().values().cloned())
    }

    /// Who is at the other end of a connection: its user, and the container that it is in.
    pub fn peer(&self, stream: &UnixStream) -> Peer {
        let Ok(peer) = stream.peer_cred() else { return Peer::Unknown };
        let user = peer.uid();
        if self.containers().is_empty() {
            return Peer::User(user);
        }
        let groups =
            |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let pid = peer.pid().map(|pid| pid.to_string());
        let groups = pid.map(|pid| (groups(&pid), groups("self")));
        match groups.and_then(|(its, own)| caller::container(&its, &own)) {
            Some(id) => Peer::Inside(user, self.containers().get(&id).cloned()),
            None => Peer::User(user),
        }
    }

    /// Path of the socket that takes records over HTTP.
    pub fn socket(&self) -> PathBuf {
        self.data.join(SOCKET)
    }

    /// Path of the socket that takes MQTT.
    pub fn bus_socket(&self) -> PathBuf {
        self.data.join(BUS_SOCKET)
    }

    /// Folder of the workloads, whose owners tell which workload a user is.
    pub fn workloads(&self) -> PathBuf {
        self.data.join("workloads")
    }

    /// Data folder of the agent.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns the bus's port: the configured one, otherwise the one that workloads were told
    /// before, otherwise a free one, which is kept.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn port(&self) -> io::Result<u16> {
        let mut state = self.state();
        if let Some(port) = state.port {
            return Ok(port);
        }
        let path = self.data.join(PORT);
        let kept = read_port(&path);
        let port = match (self.fixed_port, kept) {
            (Some(fixed), kept) => {
                if kept.ok() != Some(Some(fixed)) {
                    let stored = files::put(&path, fixed.to_string().as_bytes(), 0o600);
                    state.set_problem("port", &path, stored.err());
                }
                fixed
            }
            (None, Ok(Some(kept))) => kept,
            (None, kept) => {
                let free = std::net::TcpListener::bind((HOST, 0))?.local_addr()?.port();
                let text = free.to_string();
                let stored = match &kept {
                    Ok(_) => files::create_once(&path, text.as_bytes(), 0o600),
                    Err(_) => files::put(&path, text.as_bytes(), 0o600).map(|()| true),
                };
                let lost = kept.err().map(|why| damaged("the bus has another port", why));
                state.set_problem("port", &path, lost);
                match stored {
                    // Another process was faster: its port holds.
                    Ok(false) => read_port(&path)?.unwrap_or(free),
                    Ok(true) => free,
                    Err(error) => {
                        state.set_problem("port", &path, Some(error));
                        free
                    }
                }
            }
        };
        state.port = Some(port);
        Ok(port)
    }

    /// Returns what an instance of a workload is told. Its password stays the same as long as the
    /// key does.
    ///
    /// # Errors
    /// When there is no port, or no randomness for a first key.
    pub fn workload(&self, name: &Name, nonce: u64) -> io::Result<Entry> {
        Ok(self.entry_of(name, self.port()?, self.password(name, nonce)?))
    }

    fn entry_of(&self, name: &Name, port: u16, password: String) -> Entry {
        Entry {
            host: HOST,
            port,
            username: name.to_string(),
            password,
            socket: self.socket(),
            bus: self.bus_socket(),
        }
    }

    fn password(&self, name: &Name, nonce: u64) -> io::Result<String> {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.key()?);
        let whose = format!("workload/{name}/{nonce:016x}");
        Ok(hex(ring::hmac::sign(&key, whose.as_bytes()).as_ref()))
    }

    fn key(&self) -> io::Result<[u8; 32]> {
        let mut state = self.state();
        if let Some(key) = state.key {
            return Ok(key);
        }
        let path = self.data.join(KEY);
        let read =
            || files::read(&path, 32).map(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        let key = match read() {
            Ok(Some(key)) => key,
            found => {
                let fresh = random()?;
                let (stored, lost) = match found {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        (files::create_once(&path, &fresh, 0o600), None)
                    }
                    // Unreadable for now, perhaps not later: the file stays, and passwords of this
                    // run are others.
                    Err(error) if error.kind() != io::ErrorKind::InvalidData => {
                        (Ok(true), Some(error))
                    }
                    found => {
                        let why = found.err().unwrap_or_else(|| io::Error::other("not 32 bytes"));
                        let stored = files::put(&path, &fresh, 0o600).map(|()| true);
                        (stored, Some(damaged("passwords are others", why)))
                    }
                };
                state.set_problem("key", &path, lost);
                match stored {
                    Ok(false) => read()?.unwrap_or(fresh),
                    Ok(true) => fresh,
                    Err(error) => {
                        state.set_problem("key", &path, Some(error));
                        fresh
                    }
                }
            }
        };
        state.key = Some(key);
        Ok(key)
    }

    /// True when this is the password of this instance of the workload.
    pub fn is_workloads(&self, name: &Name, nonce: u64, password: &[u8]) -> bool {
        self.password(name, nonce).is_ok_and(|known| is_same(known.as_bytes(), password))
    }

    /// Returns the local access of this name if the password is right.
    pub fn local(&self, name: &Name, password: &[u8]) -> Option<LocalAccess> {
        let state = self.state();
        let known = state.local.get(name)?;
        is_same(known.password.as_bytes(), password).then(|| known.clone())
    }

    /// Returns the rights of the local access of this name beyond its own topics.
    pub fn local_bus(&self, name: &Name) -> Option<Bus> {
        self.state().local.get(name).map(|local| local.bus.clone())
    }

    /// Local accesses as they were last read.
    pub fn locals(&self) -> BTreeMap<Name, LocalAccess> {
        self.state().local.clone()
    }

    /// Reads the local accesses again if their file changed. True when it had.
    pub fn reload_locals(&self) -> bool {
        let path = self.data.join(LOCAL);
        let stamp = stamp(&path);
        let mut state = self.state();
        if state.stamp == stamp {
            return false;
        }
        match read(&path) {
            Ok(local) => {
                state.local = local;
                state.set_problem("local", &path, None);
            }
            // A file that cannot be read says nothing: the accesses that were read last still hold.
            Err(error) if error.kind() != io::ErrorKind::InvalidData => {
                state.set_problem("local", &path, Some(error));
            }
            Err(error) => {
                let aside = path.with_extension("damaged");
                let kept = std::fs::rename(&path, &aside).and_then(|()| match &state.local {
                    known if known.is_empty() => Ok(()),
                    known => files::replace(
                        &path,
                        &serde_json::to_vec_pretty(known).map_err(io::Error::other)?,
                        0o600,
                    ),
                });
                let what = if state.local.is_empty() {
                    "the local accesses in it are lost: make them anew"
                } else {
                    "it is written again as it was read last"
                };
                let error = kept.err().unwrap_or(error);
                let why = format!("it was damaged ({error}) and is local-access.damaged: {what}");
                state.set_problem("local", &path, Some(io::Error::other(why)));
                state.stamp = self::stamp(&path);
                return true;
            }
        }
        state.stamp = stamp;
        true
    }

    /// Text for a person about what could not be read or kept.
    pub fn problem(&self) -> Option<String> {
        let state = self.state();
        let texts: Vec<&str> = state.problems.values().map(String::as_str).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    /// Returns addresses and credentials of a local access.
    ///
    /// # Errors
    /// When there is no port.
    pub fn entry(&self, name: &Name, local: &LocalAccess) -> io::Result<Entry> {
        Ok(self.entry_of(name, self.port()?, local.password.clone()))
    }

    /// Creates a local access, or returns the existing one. Rights given in `bus` replace those it
    /// had; those not given stay.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn create(&self, name: &Name, bus: Bus) -> Result<Made, AccessError> {
        if self.data.join("workloads").join(name.as_str()).exists() {
            return Err(AccessError::IsWorkload(name.clone()));
        }
        let mut made = None;
        self.change(|all| {
            if all.len() >= MAX_LOCAL && !all.contains_key(name) {
                return Err(AccessError::TooMany);
            }
            let former = all.get(name).cloned();
            let password = match &former {
                Some(known) => known.password.clone(),
                None => hex(&random().map_err(AccessError::Random)?),
            };
            let before = former.map(|known| known.bus);
            let bus = asked_for(before.as_ref().unwrap_or(&Bus::default()), bus);
            let local = LocalAccess { password, bus };
            made = Some((local.clone(), before.filter(|before| *before != local.bus)));
            all.insert(name.clone(), local);
            Ok(())
        })?;
        let (local, before) = made.unwrap_or_default();
        let entry = self.entry(name, &local).map_err(AccessError::NoPort)?;
        Ok(Made { entry, bus: local.bus, before })
    }

    /// Removes a local access. False when there was none.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn remove(&self, name: &Name) -> Result<bool, AccessError> {
        let mut was = false;
        self.change(|all| {
            was = all.remove(name).is_some();
            Ok(())
        })?;
        Ok(was)
    }

    fn change(
        &self,
        change: impl FnOnce(&mut BTreeMap<Name, LocalAccess>) -> Result<(), AccessError>,
    ) -> Result<(), AccessError> {
        let path = self.data.join(LOCAL);
        let failed = |error: io::Error| AccessError::File(path.clone(), error);
        files::keep_private();
        let mut options = std::fs::OpenOptions::new();
        let lock = std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.data.join(LOCK))
            .map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut all = read(&path).map_err(failed)?;
        let before = all.clone();
        change(&mut all)?;
        if all != before {
            let text = serde_json::to_vec_pretty(&all).map_err(AccessError::Json)?;
            files::replace(&path, &text, 0o600).map_err(failed)?;
        }
        Ok(())
    }
}

impl State {
    fn set_problem(&mut self, what: &'static str, path: &Path, error: Option<io::Error>) {
        match error {
            Some(error) => {
                let why = format!("{}: {error}", path.display());
                tracing::error!("{why}");
                self.problems.insert(what, why);
            }
            None => drop(self.problems.remove(what)),
        }
    }
}

fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut bytes)
        .map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(bytes)
}

/// Compares two passwords by their digests, so that the time it takes tells nothing.
fn is_same(known: &[u8], given: &[u8]) -> bool {
    let digest = |bytes: &[u8]| ring::digest::digest(&ring::digest::SHA256, bytes);
    digest(known).as_ref() == digest(given).as_ref()
}

fn stamp(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::symlink_metadata(path).ok()?;
    // Each change makes another file, with another inode; the times tell apart an inode that is
    // used again.
    Some((meta.ino(), meta.mtime(), meta.mtime_nsec()))
}

/// Error text about a damaged file that was made anew.
fn damaged(what: &str, why: io::Error) -> io::Error {
    io::Error::other(format!(
        "it was damaged ({why}) and is made anew; {what}: workloads that run already come in by HOLDFAST_MQTT_SOCKET, and by port and password after their next start"
    ))
}

/// Reads the port that workloads were told; `None` when there is no file yet.
fn read_port(path: &Path) -> io::Result<Option<u16>> {
    let bytes = match files::read(path, 16) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let port = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "no port from 1 to 65535");
    port.filter(|port| *port != 0).ok_or_else(bad).map(Some)
}

fn read(path: &Path) -> io::Result<BTreeMap<Name, LocalAccess>> {
    match files::read(path, MAX_FILE) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn what_a_workload_is_told_outlives_the_agent() {
        let scratch = tempfile::tempdir().unwrap();
        let first = Access::new(scratch.path(), None);
        let told = first.workload(&name("pump"), 7).unwrap();
        assert_eq!(told.password.len(), 64);
        let other = first.workload(&name("fan"), 7).unwrap();
        assert_ne!(told.password, other.password);
        let again = Access::new(scratch.path(), None);
        assert_eq!(again.workload(&name("pump"), 7).unwrap(), told);
        assert!(again.is_workloads(&name("pump"), 7, told.password.as_bytes()));
        assert!(!again.is_workloads(&name("pump"), 7, other.password.as_bytes()));
        assert!(!again.is_workloads(&name("pump"), 7, b""));
        assert!(
            !again.is_workloads(&name("pump"), 8, told.password.as_bytes()),
            "of another start"
        );
        let mode = std::fs::metadata(scratch.path().join(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let moved = Access::new(scratch.path(), Some(1883));
        assert_eq!(moved.port().unwrap(), 1883);
        assert_eq!(Access::new(scratch.path(), None).port().unwrap(), 1883);
        assert_eq!(moved.problem(), None);
    }

    #[test]
    fn a_damaged_key_is_replaced_and_said() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join(KEY), "short").unwrap();
        let access = Access::new(scratch.path(), None);
        let told = access.workload(&name("pump"), 7).unwrap();
        assert!(access.problem().unwrap().contains("damaged"));
        assert_eq!(Access::new(scratch.path(), None).workload(&name("pump"), 7).unwrap(), told);
    }

    #[test]
    fn whatever_stands_in_a_small_file_it_heals() {
        use std::os::unix::fs::symlink;
        let spoil: [&dyn Fn(&Path); 8] = [
            &|path| std::fs::write(path, "").unwrap(),
            &|path| std::fs::write(path, "0").unwrap(),
            &|path| std::fs::write(path, "65536").unwrap(),
            &|path| std::fs::write(path, [0xff; 31]).unwrap(),
            &|path| std::fs::write(path, vec![b'1'; 1 << 20]).unwrap(),
            &|path| {
                let mode = rustix::fs::Mode::from_raw_mode(0o666);
                let kind = rustix::fs::FileType::Fifo;
                rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
            },
            &|path| std::fs::create_dir_all(path.join("x")).unwrap(),
            &|path| symlink("/dev/zero", path).unwrap(),
        ];
        for (number, spoil) in spoil.iter().enumerate() {
            for file in [PORT, KEY] {
                let scratch = tempfile::tempdir().unwrap();
                spoil(&scratch.path().join(file));
                let access = Access::new(scratch.path(), None);
                let told = access.workload(&name("pump"), 1).unwrap();
                let why = access.problem().unwrap_or_default();
                assert!(why.contains(file) && why.contains("damaged"), "{number} {file}: {why}");
                let again = Access::new(scratch.path(), None);
                assert_eq!(again.workload(&name("pump"), 1).unwrap(), told, "{number} {file}");
                assert_eq!(again.problem(), None, "{number} {file}");
            }
        }
    }

    #[test]
    fn a_local_access_that_is_asked_for_again_keeps_its_rights() {
        let scratch = tempfile::tempdir().unwrap();
        let (agent, tool) = (Access::new(scratch.path(), None), Access::new(scratch.path(), None));
        let reads = |filter: &str| Bus { subscribe: vec![filter.to_owned()], ..Bus::default() };
        let first = tool.create(&name("viewer"), reads("sensors/+")).unwrap();
        assert_eq!((&first.bus, &first.before), (&reads("sensors/+"), &None));
        let again = tool.create(&name("viewer"), Bus::default()).unwrap();
        assert_eq!(again, first, "as it was, and nothing was changed");
        assert!(agent.reload_locals());
        assert_eq!(agent.local_bus(&name("viewer")), Some(reads("sensors/+")));
        let other = tool.create(&name("viewer"), reads("pump/#")).unwrap();
        assert_eq!(other.entry, first.entry);
        assert_eq!((other.bus, other.before), (reads("pump/#"), Some(reads("sensors/+"))));
    }

    #[test]
    fn local_accesses_come_and_go_beside_a_running_agent() {
        let scratch = tempfile::tempdir().unwrap();
        let (agent, tool) = (Access::new(scratch.path(), None), Access::new(scratch.path(), None));
        assert!(!agent.reload_locals(), "there is nothing to read");
        let entry = tool.create(&name("meter"), Bus::default()).unwrap().entry;
        let again = tool.create(&name("meter"), Bus::default()).unwrap().entry;
        assert_eq!(entry, again, "the same, however often it is asked for");
        assert_eq!(agent.local(&name("meter"), entry.password.as_bytes()), None);
        assert!(agent.reload_locals() && !agent.reload_locals());
        assert!(agent.local(&name("meter"), entry.password.as_bytes()).is_some());
        assert!(agent.local(&name("meter"), b"guess").is_none());
        assert_eq!(agent.port().unwrap(), entry.port);
        assert!(tool.remove(&name("meter")).unwrap() && !tool.remove(&name("meter")).unwrap());
        assert!(agent.reload_locals());
        assert!(agent.local(&name("meter"), entry.password.as_bytes()).is_none());
        let another = tool.create(&name("meter"), Bus::default()).unwrap().entry;
        assert_ne!(entry.password, another.password, "what was removed stays removed");
        std::fs::create_dir_all(scratch.path().join("workloads/pump")).unwrap();
        assert!(
            tool.create(&name("pump"), Bus::default())
                .unwrap_err()
                .to_string()
                .contains("another name")
        );
        assert!(agent.reload_locals());
        std::fs::write(scratch.path().join(LOCAL), "{").unwrap();
        assert!(tool.create(&name("x"), Bus::default()).is_err(), "nothing is overwritten");
        assert!(agent.reload_locals() && agent.problem().unwrap().contains("written again"));
        assert!(agent.local(&name("meter"), another.password.as_bytes()).is_some());
        assert!(tool.reload_locals() && tool.local_bus(&name("meter")).is_some());
        // One that starts with a damaged file has nothing to write.
        std::fs::write(scratch.path().join(LOCAL), "").unwrap();
        let later = Access::new(scratch.path(), None);
        assert!(later.reload_locals() && later.problem().unwrap().contains("make them anew"));
        assert!(scratch.path().join("local-access.damaged").exists());
        later.create(&name("x"), Bus::default()).unwrap();
    }
}
