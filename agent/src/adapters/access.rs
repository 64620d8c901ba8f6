//! Who may put data in, and where: the bus's port, each workload's password, and the accesses of
//! programs that the agent does not run.
//!
//! A workload's password is derived from one stored key, so that it survives agent, disk-full and
//! store, and a workload that outlives the agent is let in again. Nothing here is secret from the
//! agent's own user and root; everything is from everybody else.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_protocol::ids::{Name, hex};
use holdfast_protocol::workload::Bus;
use serde::{Deserialize, Serialize};

use super::files;
use crate::core::bus::asked_for;

/// The address of the bus: no other machine reaches it.
pub const HOST: &str = "127.0.0.1";
/// The key of which passwords are derived.
const KEY: &str = "bus.key";
/// The port that workloads were told.
const PORT: &str = "bus.port";
/// Accesses of programs that the agent does not run.
const LOCAL: &str = "local-access.json";
/// Held while those are changed.
const LOCK: &str = "local-access.lock";
/// The socket that takes records over HTTP.
const SOCKET: &str = "data.sock";
/// Most local accesses: the bus serves 64 clients.
const MAX_LOCAL: usize = 64;

/// The way in for one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Where the bus listens.
    pub host: &'static str,
    /// Its TCP port.
    pub port: u16,
    /// Its user name.
    pub username: String,
    /// Its password.
    pub password: String,
    /// Path of the socket that takes records over HTTP.
    pub socket: PathBuf,
}

impl Entry {
    /// As a workload finds it in its environment.
    pub fn environment(&self) -> [(String, String); 5] {
        [
            ("HOLDFAST_MQTT_HOST".into(), self.host.into()),
            ("HOLDFAST_MQTT_PORT".into(), self.port.to_string()),
            ("HOLDFAST_MQTT_USERNAME".into(), self.username.clone()),
            ("HOLDFAST_MQTT_PASSWORD".into(), self.password.clone()),
            ("HOLDFAST_SOCKET".into(), self.socket.to_string_lossy().into_owned()),
        ]
    }
}

/// What a local access is told once it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The way in.
    pub entry: Entry,
    /// What it may do beyond its own topics.
    pub bus: Bus,
    /// What it might do before, where that was something else.
    pub before: Option<Bus>,
}

/// A program that the agent does not run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalAccess {
    /// Its password.
    pub password: String,
    /// What it may do beyond its own topics.
    #[serde(flatten)]
    pub bus: Bus,
}

/// What tells one state of a file from another.
type Stamp = Option<(u64, i64, i64)>;

#[derive(Debug, Default)]
struct State {
    key: Option<[u8; 32]>,
    port: Option<u16>,
    local: BTreeMap<Name, LocalAccess>,
    /// The file that `local` was read from.
    stamp: Stamp,
    /// What could not be read or kept, in words.
    trouble: BTreeMap<&'static str, String>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Access {
    data: PathBuf,
    fixed_port: Option<u16>,
    state: Mutex<State>,
}

impl Access {
    /// Of this data folder. Nothing is read or made before it is needed.
    pub fn new(data: &Path, fixed_port: Option<u16>) -> Self {
        Self { data: data.to_owned(), fixed_port, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The path of the socket that takes records over HTTP.
    pub fn socket(&self) -> PathBuf {
        self.data.join(SOCKET)
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The bus's port: the configured one, else the one that workloads were told before, else a
    /// free one, which is kept.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn port(&self) -> io::Result<u16> {
        let mut state = self.state();
        if let Some(port) = state.port {
            return Ok(port);
        }
        let path = self.data.join(PORT);
        let kept = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        let kept = kept.filter(|port| *port != 0);
        let port = match (self.fixed_port, kept) {
            (Some(fixed), kept) => {
                if kept != Some(fixed) {
                    let stored = files::replace(&path, fixed.to_string().as_bytes(), 0o644);
                    state.note("port", &path, stored.err());
                }
                fixed
            }
            (None, Some(kept)) => kept,
            (None, None) => {
                let free = std::net::TcpListener::bind((HOST, 0))?.local_addr()?.port();
                match files::create_once(&path, free.to_string().as_bytes(), 0o644) {
                    // Somebody else was faster: theirs holds.
                    Ok(false) => {
                        let text = std::fs::read_to_string(&path)?;
                        text.trim().parse().map_err(io::Error::other)?
                    }
                    stored => {
                        state.note("port", &path, stored.err());
                        free
                    }
                }
            }
        };
        state.port = Some(port);
        Ok(port)
    }

    /// What a workload is told. Its password is the same for as long as the key is.
    ///
    /// # Errors
    /// When there is no port, or no randomness for a first key.
    pub fn workload(&self, name: &Name) -> io::Result<Entry> {
        let port = self.port()?;
        Ok(Entry {
            host: HOST,
            port,
            username: name.to_string(),
            password: self.password(name)?,
            socket: self.socket(),
        })
    }

    fn password(&self, name: &Name) -> io::Result<String> {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.key()?);
        Ok(hex(ring::hmac::sign(&key, format!("workload/{name}").as_bytes()).as_ref()))
    }

    fn key(&self) -> io::Result<[u8; 32]> {
        let mut state = self.state();
        if let Some(key) = state.key {
            return Ok(key);
        }
        let path = self.data.join(KEY);
        let read = || std::fs::read(&path).map(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        let key = match read() {
            Ok(Some(key)) => key,
            found => {
                let fresh = random()?;
                let (stored, lost) = match found {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        (files::create_once(&path, &fresh, 0o600), None)
                    }
                    Err(error) => (Ok(true), Some(error)),
                    Ok(_) => (
                        files::replace(&path, &fresh, 0o600).map(|()| true),
                        Some(io::Error::other(
                            "it was damaged: workloads that run already are let in again after their next start",
                        )),
                    ),
                };
                state.note("key", &path, lost);
                match stored {
                    Ok(false) => read()?.unwrap_or(fresh),
                    Ok(true) => fresh,
                    Err(error) => {
                        state.note("key", &path, Some(error));
                        fresh
                    }
                }
            }
        };
        state.key = Some(key);
        Ok(key)
    }

    /// Whether this is the password of the workload.
    pub fn is_workloads(&self, name: &Name, password: &[u8]) -> bool {
        self.password(name).is_ok_and(|known| is_same(known.as_bytes(), password))
    }

    /// The local access of this name, if this is its password.
    pub fn local(&self, name: &Name, password: &[u8]) -> Option<LocalAccess> {
        let state = self.state();
        let known = state.local.get(name)?;
        is_same(known.password.as_bytes(), password).then(|| known.clone())
    }

    /// What the local access of this name may do beyond its own topics.
    pub fn local_bus(&self, name: &Name) -> Option<Bus> {
        self.state().local.get(name).map(|local| local.bus.clone())
    }

    /// The local accesses, as they were read last.
    pub fn locals(&self) -> BTreeMap<Name, LocalAccess> {
        self.state().local.clone()
    }

    /// Reads the local accesses if their file changed. True: it did.
    pub fn look(&self) -> bool {
        let path = self.data.join(LOCAL);
        let stamp = stamp(&path);
        let mut state = self.state();
        if state.stamp == stamp {
            return false;
        }
        match read(&path) {
            Ok(local) => {
                state.local = local;
                state.note("local", &path, None);
            }
            // Whoever was let in is let in still: a file that cannot be read says nothing.
            Err(error) => state.note("local", &path, Some(error)),
        }
        state.stamp = stamp;
        true
    }

    /// What could not be read or kept, in words.
    pub fn problem(&self) -> Option<String> {
        let state = self.state();
        let texts: Vec<&str> = state.trouble.values().map(String::as_str).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    /// What a local access is told.
    ///
    /// # Errors
    /// When there is no port.
    pub fn entry(&self, name: &Name, local: &LocalAccess) -> io::Result<Entry> {
        Ok(Entry {
            host: HOST,
            port: self.port()?,
            username: name.to_string(),
            password: local.password.clone(),
            socket: self.socket(),
        })
    }

    /// Makes a local access, or gives the one that there is. What is asked for in `bus` takes the
    /// place of what it might do before; where nothing is, that stays.
    ///
    /// # Errors
    /// In words that say what to do.
    pub fn create(&self, name: &Name, bus: Bus) -> Result<Made, String> {
        if self.data.join("workloads").join(name.as_str()).exists() {
            return Err(format!(
                "{name} is a workload of this device: it has credentials in its environment; take another name"
            ));
        }
        let mut made = None;
        self.change(|all| {
            if all.len() >= MAX_LOCAL && !all.contains_key(name) {
                return Err(format!("there are {MAX_LOCAL} local accesses already: remove one"));
            }
            let former = all.get(name).cloned();
            let password = match &former {
                Some(known) => known.password.clone(),
                None => hex(&random().map_err(|error| error.to_string())?),
            };
            let before = former.map(|known| known.bus);
            let bus = asked_for(before.as_ref().unwrap_or(&Bus::default()), bus);
            let local = LocalAccess { password, bus };
            made = Some((local.clone(), before.filter(|before| *before != local.bus)));
            all.insert(name.clone(), local);
            Ok(())
        })?;
        let (local, before) = made.unwrap_or_default();
        let entry =
            self.entry(name, &local).map_err(|error| format!("no port for the bus: {error}"))?;
        Ok(Made { entry, bus: local.bus, before })
    }

    /// Removes a local access. False: there was none.
    ///
    /// # Errors
    /// In words.
    pub fn remove(&self, name: &Name) -> Result<bool, String> {
        let mut was = false;
        self.change(|all| {
            was = all.remove(name).is_some();
            Ok(())
        })?;
        Ok(was)
    }

    fn change(
        &self,
        change: impl FnOnce(&mut BTreeMap<Name, LocalAccess>) -> Result<(), String>,
    ) -> Result<(), String> {
        let path = self.data.join(LOCAL);
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let lock = std::fs::OpenOptions::new()
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
            let text = serde_json::to_vec_pretty(&all).map_err(|error| error.to_string())?;
            files::replace(&path, &text, 0o600).map_err(failed)?;
        }
        Ok(())
    }
}

impl State {
    fn note(&mut self, what: &'static str, path: &Path, error: Option<io::Error>) {
        match error {
            Some(error) => {
                let why = format!("{}: {error}", path.display());
                tracing::error!("{why}");
                self.trouble.insert(what, why);
            }
            None => drop(self.trouble.remove(what)),
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

/// Compares by digests, so that the time that it takes tells nothing.
fn is_same(known: &[u8], given: &[u8]) -> bool {
    let digest = |bytes: &[u8]| ring::digest::digest(&ring::digest::SHA256, bytes);
    digest(known).as_ref() == digest(given).as_ref()
}

fn stamp(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(path).ok()?;
    // Each change is another file: its number, and its times should the number come again.
    Some((meta.ino(), meta.mtime(), meta.mtime_nsec()))
}

fn read(path: &Path) -> io::Result<BTreeMap<Name, LocalAccess>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
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
        let told = first.workload(&name("pump")).unwrap();
        assert_eq!(told.password.len(), 64);
        let other = first.workload(&name("fan")).unwrap();
        assert_ne!(told.password, other.password);
        let again = Access::new(scratch.path(), None);
        assert_eq!(again.workload(&name("pump")).unwrap(), told);
        assert!(again.is_workloads(&name("pump"), told.password.as_bytes()));
        assert!(!again.is_workloads(&name("pump"), other.password.as_bytes()));
        assert!(!again.is_workloads(&name("pump"), b""));
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
        let told = access.workload(&name("pump")).unwrap();
        assert!(access.problem().unwrap().contains("damaged"));
        assert_eq!(Access::new(scratch.path(), None).workload(&name("pump")).unwrap(), told);
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
        assert!(agent.look());
        assert_eq!(agent.local_bus(&name("viewer")), Some(reads("sensors/+")));
        let other = tool.create(&name("viewer"), reads("pump/#")).unwrap();
        assert_eq!(other.entry, first.entry);
        assert_eq!((other.bus, other.before), (reads("pump/#"), Some(reads("sensors/+"))));
    }

    #[test]
    fn local_accesses_come_and_go_beside_a_running_agent() {
        let scratch = tempfile::tempdir().unwrap();
        let (agent, tool) = (Access::new(scratch.path(), None), Access::new(scratch.path(), None));
        assert!(!agent.look(), "there is nothing to read");
        let entry = tool.create(&name("meter"), Bus::default()).unwrap().entry;
        let again = tool.create(&name("meter"), Bus::default()).unwrap().entry;
        assert_eq!(entry, again, "the same, however often it is asked for");
        assert_eq!(agent.local(&name("meter"), entry.password.as_bytes()), None);
        assert!(agent.look() && !agent.look());
        assert!(agent.local(&name("meter"), entry.password.as_bytes()).is_some());
        assert!(agent.local(&name("meter"), b"guess").is_none());
        assert_eq!(agent.port().unwrap(), entry.port);
        assert!(tool.remove(&name("meter")).unwrap() && !tool.remove(&name("meter")).unwrap());
        assert!(agent.look());
        assert!(agent.local(&name("meter"), entry.password.as_bytes()).is_none());
        let another = tool.create(&name("meter"), Bus::default()).unwrap().entry;
        assert_ne!(entry.password, another.password, "what was removed stays removed");
        std::fs::create_dir_all(scratch.path().join("workloads/pump")).unwrap();
        assert!(tool.create(&name("pump"), Bus::default()).unwrap_err().contains("another name"));
        std::fs::write(scratch.path().join(LOCAL), "{").unwrap();
        assert!(agent.look() && agent.problem().is_some());
        assert!(tool.create(&name("x"), Bus::default()).is_err(), "nothing is overwritten");
    }
}
