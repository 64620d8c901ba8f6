//! Container engine of tests that runs nothing: it plays the dialects of engines which cannot be
//! installed beside each other, and fails on demand.
//!
//! What it plays is taken from the engines' documentation, from their trackers, and from what the
//! installed ones answered.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::image::TestImage;

/// Dialect that is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Docker 20.10: API 1.41, ids of images by their configuration.
    Docker20,
    /// Docker 29: refuses what is older than API 1.44, ids of images by their manifest.
    Docker29,
    /// Podman 4: `remove` for `destroy`, 500 for almost every refusal.
    Podman4,
    /// Podman 5: as 4, with `died`, and no head of the stream of events before the first one.
    Podman5,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Docker20, Self::Docker29, Self::Podman4, Self::Podman5];

    fn is_podman(self) -> bool {
        matches!(self, Self::Podman4 | Self::Podman5)
    }
}

/// Faults that are played.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Time before every answer.
    pub slow: Duration,
    /// The next container is made, and the connection ends without an answer.
    pub mute_create: bool,
    /// The list of containers is no JSON.
    pub garbage: bool,
    /// No container can be made: the disk is full.
    pub full: bool,
}

/// Container of the fake.
#[derive(Debug, Clone)]
pub struct Fake {
    /// Id of the container.
    pub id: String,
    /// Name of the container.
    pub name: String,
    /// What was asked for.
    pub body: Value,
    /// State in the words of Docker.
    pub state: String,
    /// Exit code.
    pub code: i64,
}

#[derive(Default)]
struct State {
    containers: Vec<Fake>,
    images: Vec<Value>,
    events: Vec<Value>,
    faults: Faults,
    /// Requests in the order of their coming, such as `POST /containers/create`.
    asked: Vec<String>,
    made: u64,
}

struct Shared {
    dialect: Dialect,
    state: Mutex<State>,
    changed: Condvar,
    ended: AtomicBool,
}

/// Engine that runs nothing.
pub struct FakeEngine {
    /// Path of its socket.
    pub socket: PathBuf,
    shared: Arc<Shared>,
}

impl FakeEngine {
    /// Begins to listen.
    ///
    /// # Panics
    /// Panics if it cannot.
    pub fn start(dialect: Dialect, socket: &Path) -> Self {
        let shared = Arc::new(Shared {
            dialect,
            state: Mutex::default(),
            changed: Condvar::new(),
            ended: AtomicBool::new(false),
        });
        let engine = Self { socket: socket.to_owned(), shared };
        engine.listen();
        engine
    }

    fn listen(&self) {
        let listener = UnixListener::bind(&self.socket).expect("the socket is free");
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.ended.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let _ended = serve(&shared, stream);
                });
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no test dies with it")
    }

    /// Plays these faults from now on.
    pub fn plays(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Has this image.
    pub fn has(&self, image: &TestImage) {
        let platform = image.platform();
        let layers: Vec<String> = platform.layers.iter().map(|it| it.digest.to_string()).collect();
        let id = match self.shared.dialect {
            Dialect::Docker29 => image.image.digest.to_string(),
            _ => image.id(),
        };
        let image = json!({
            "Id": id, "RepoTags": [image.image.name], "Config": { "User": "" },
            "RootFS": { "Type": "layers", "Layers": layers }
        });
        self.state().images.push(image);
    }

    /// Containers, in the order in which they were made.
    pub fn containers(&self) -> Vec<Fake> {
        self.state().containers.clone()
    }

    /// Ids of the containers that run.
    pub fn running(&self) -> Vec<String> {
        let containers = self.containers().into_iter();
        containers.filter(|it| it.state == "running").map(|it| it.id).collect()
    }

    /// Takes what was asked for since the last look.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    /// Ends a container by itself.
    pub fn end(&self, id: &str, code: i64) {
        let mut state = self.state();
        die(&self.shared, &mut state, id, code);
        self.shared.changed.notify_all();
    }

    /// Ends every connection and answers none, until [`FakeEngine::back`].
    pub fn away(&self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        // Wakes the thread that accepts.
        drop(UnixStream::connect(&self.socket));
        let _gone = std::fs::remove_file(&self.socket);
    }

    /// Answers again. What it had is still there.
    pub fn back(&self) {
        self.shared.ended.store(false, Ordering::Relaxed);
        self.listen();
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.away();
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(0)
}

fn event(dialect: Dialect, state: &mut State, id: &str, action: &str, code: Option<i64>) {
    let attributes = match (code, dialect.is_podman()) {
        (Some(code), true) => json!({ "containerExitCode": code.to_string() }),
        (Some(code), false) => json!({ "exitCode": code.to_string() }),
        (None, _) => json!({}),
    };
    let nanos = now();
    state.events.push(json!({
        "Type": "container", "Action": action, "status": action, "id": id,
        "Actor": { "ID": id, "Attributes": attributes },
        "time": nanos / 1_000_000_000, "timeNano": nanos
    }));
}

fn die(shared: &Shared, state: &mut State, id: &str, code: i64) {
    let found = state.containers.iter_mut().find(|it| it.id == id && it.state == "running");
    let Some(container) = found else { return };
    container.state = "exited".into();
    container.code = code;
    let action = if shared.dialect == Dialect::Podman5 { "died" } else { "die" };
    event(shared.dialect, state, id, action, Some(code));
}

/// Serves one connection: one request.
fn serve(shared: &Shared, stream: UnixStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, target) =
        (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(text) = header.to_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (version, path) = match path.strip_prefix("/v1.") {
        Some(rest) => {
            let (minor, rest) = rest.split_once('/').unwrap_or((rest, ""));
            (minor.parse().ok(), format!("/{rest}"))
        }
        None => (None, path.to_owned()),
    };
    let slow = {
        let mut state = shared.state.lock().expect("no test dies with it");
        state.asked.push(format!("{method} {path}"));
        state.faults.slow
    };
    std::thread::sleep(slow);
    let least: u32 = if shared.dialect == Dialect::Docker29 { 44 } else { 12 };
    if version.is_some_and(|minor: u32| minor < least) {
        let text = "client version is too old. Minimum supported API version is 1.44";
        return answer(stream, 400, &json!({ "message": text }));
    }
    if path == "/events" {
        return events(shared, stream, query);
    }
    if method == "GET" && path.ends_with("/logs") {
        return follow(shared, stream, path.split('/').nth(2).unwrap_or_default());
    }
    match respond(shared, &method, &path, query, &body) {
        Some((200, Value::String(text))) => raw(stream, &text),
        Some((status, value)) => answer(stream, status, &value),
        None => Ok(()),
    }
}

fn raw(mut stream: UnixStream, text: &str) -> std::io::Result<()> {
    let length = text.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}")
}

fn answer(mut stream: UnixStream, status: u16, value: &Value) -> std::io::Result<()> {
    let text = if matches!(status, 204 | 304) { String::new() } else { value.to_string() };
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

/// Follows the output of a container, which has none, until it ends.
fn follow(shared: &Shared, mut stream: UnixStream, id: &str) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let mut state = shared.state.lock().expect("no test dies with it");
    let runs =
        |state: &State| state.containers.iter().any(|it| it.id == id && it.state == "running");
    while runs(&state) && !shared.ended.load(Ordering::Relaxed) {
        let waited = shared.changed.wait_timeout(state, Duration::from_millis(200));
        (state, _) = waited.expect("no test dies with it");
    }
    let ended = shared.ended.load(Ordering::Relaxed);
    drop(state);
    if ended { Ok(()) } else { stream.write_all(b"0\r\n\r\n") }
}

/// Writes events for as long as somebody reads them.
fn events(shared: &Shared, mut stream: UnixStream, query: &str) -> std::io::Result<()> {
    let since = query.split('&').find_map(|it| it.strip_prefix("since=")).unwrap_or("0");
    let (seconds, nanos) = since.split_once('.').unwrap_or((since, "0"));
    let since =
        seconds.parse::<u64>().unwrap_or(0) * 1_000_000_000 + nanos.parse::<u64>().unwrap_or(0);
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut headless = true;
    if shared.dialect != Dialect::Podman5 {
        stream.write_all(head.as_bytes())?;
        headless = false;
    }
    let mut told = 0;
    let mut state = shared.state.lock().expect("no test dies with it");
    loop {
        if shared.ended.load(Ordering::Relaxed) {
            return Ok(());
        }
        while let Some(event) = state.events.get(told).cloned() {
            told += 1;
            if event["timeNano"].as_u64().unwrap_or(0) < since {
                continue;
            }
            if std::mem::take(&mut headless) {
                stream.write_all(head.as_bytes())?;
            }
            let line = format!("{event}\n");
            write!(stream, "{:x}\r\n{line}\r\n", line.len())?;
        }
        let (next, _) = shared
            .changed
            .wait_timeout(state, Duration::from_millis(200))
            .expect("no test dies with it");
        state = next;
    }
}

fn refusal(shared: &Shared, status: u16, text: &str) -> Option<(u16, Value)> {
    // Podman knows 404 for what is not there, and 500 for the rest.
    let status = match status {
        409 | 400 if shared.dialect.is_podman() => 500,
        other => other,
    };
    Some((status, json!({ "message": text, "cause": text })))
}

/// Answer to a request; `None`: the connection ends without one.
fn respond(
    shared: &Shared,
    method: &str,
    path: &str,
    query: &str,
    body: &Value,
) -> Option<(u16, Value)> {
    let mut state = shared.state.lock().expect("no test dies with it");
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (method, parts.as_slice()) {
        ("GET", ["version"]) => Some((200, version(shared.dialect))),
        ("GET", ["info"]) => Some((200, json!({}))),
        ("GET", ["containers", "json"]) if state.faults.garbage => {
            Some((200, Value::String("<html>what?".into())))
        }
        ("GET", ["containers", "json"]) => Some((200, list(&state, query))),
        ("POST", ["containers", "create"]) => create(shared, &mut state, query, body),
        ("GET", ["images", "json"]) => Some((200, Value::Array(state.images.clone()))),
        ("GET", ["images", name, "json"]) => {
            let name = name.replace("%3A", ":").replace("%2F", "/");
            let found = state
                .images
                .iter()
                .find(|it| it["Id"] == name.as_str() || it["RepoTags"][0] == name.as_str());
            match found {
                Some(image) => Some((200, image.clone())),
                None if shared.dialect.is_podman() => {
                    refusal(shared, 404, &format!("{name}: image not known"))
                }
                None => refusal(shared, 404, &format!("No such image: {name}")),
            }
        }
        ("GET", ["networks"]) => Some((200, json!([]))),
        (_, ["containers", id, rest @ ..]) => {
            let found = state.containers.iter().position(|it| it.id == *id || it.name == *id);
            let Some(at) = found else {
                return refusal(shared, 404, &format!("No such container: {id}"));
            };
            of_container(shared, &mut state, at, method, rest)
        }
        _ => refusal(shared, 404, "page not found"),
    }
}

fn version(dialect: Dialect) -> Value {
    let (api, least, version, component) = match dialect {
        Dialect::Docker20 => ("1.41", "1.12", "20.10.24", "Engine"),
        Dialect::Docker29 => ("1.52", "1.44", "29.0.1", "Engine"),
        Dialect::Podman4 => ("1.41", "1.24", "4.3.1", "Podman Engine"),
        Dialect::Podman5 => ("1.41", "1.24", "5.4.0", "Podman Engine"),
    };
    json!({
        "ApiVersion": api, "MinAPIVersion": least, "Version": version,
        "Components": [{ "Name": component, "Version": version }]
    })
}

/// Labels that a list is filtered by.
fn list(state: &State, query: &str) -> Value {
    let decoded =
        query.replace("%22", "\"").replace("%3D", "=").replace("%2C", ",").replace("%3A", ":");
    let matches = |it: &Fake| {
        let labels = it.body["Labels"].as_object().cloned().unwrap_or_default();
        let wanted = decoded.split('"').filter(|word| word.starts_with("holdfast."));
        wanted
            .filter_map(|word| word.split_once('='))
            .all(|(key, value)| labels.get(key).and_then(Value::as_str) == Some(value))
    };
    let shown = |it: &Fake| {
        json!({
            "Id": it.id, "Names": [format!("/{}", it.name)], "Labels": it.body["Labels"],
            "State": it.state, "Created": 1, "NetworkSettings": { "Networks": {} }
        })
    };
    Value::Array(state.containers.iter().rev().filter(|it| matches(it)).map(shown).collect())
}

fn create(shared: &Shared, state: &mut State, query: &str, body: &Value) -> Option<(u16, Value)> {
    if state.faults.full {
        return refusal(shared, 500, "mkdir /var/lib/engine/1: no space left on device");
    }
    let name = query.strip_prefix("name=").unwrap_or("x").to_owned();
    if state.containers.iter().any(|it| it.name == name) {
        return refusal(shared, 409, &format!("the container name \"{name}\" is already in use"));
    }
    state.made += 1;
    let id = format!("{:064x}", state.made);
    let fake = Fake { id: id.clone(), name, body: body.clone(), state: "created".into(), code: 0 };
    state.containers.push(fake);
    event(shared.dialect, state, &id, "create", None);
    shared.changed.notify_all();
    if std::mem::take(&mut state.faults.mute_create) {
        return None;
    }
    Some((201, json!({ "Id": id, "Warnings": [] })))
}

fn of_container(
    shared: &Shared,
    state: &mut State,
    at: usize,
    method: &str,
    rest: &[&str],
) -> Option<(u16, Value)> {
    let container = state.containers.get(at)?.clone();
    let id = container.id.clone();
    let answer = match (method, rest) {
        ("GET", ["json"]) => {
            let running = container.state == "running";
            Some((
                200,
                json!({
                    "Id": id,
                    "Config": { "Labels": container.body["Labels"] },
                    "HostConfig": container.body["HostConfig"],
                    "State": {
                        "Status": container.state, "Running": running, "Pid": 0,
                        "ExitCode": container.code, "OOMKilled": false,
                        // A number that fits in no 32 bits, and a field that nobody knows.
                        "HealthInterval": 30_000_000_000_u64, "Novelty": { "a": [1, null] }
                    }
                }),
            ))
        }
        ("POST", ["start"]) => {
            if container.state == "running" {
                return Some((304, Value::Null));
            }
            if let Some(it) = state.containers.get_mut(at) {
                it.state = "running".into();
            }
            if shared.dialect.is_podman() {
                event(shared.dialect, state, &id, "init", None);
            }
            event(shared.dialect, state, &id, "start", None);
            Some((204, Value::Null))
        }
        ("POST", ["kill"]) => {
            if container.state != "running" {
                return refusal(shared, 409, "the container is not running");
            }
            event(shared.dialect, state, &id, "kill", None);
            die(shared, state, &id, 137);
            Some((204, Value::Null))
        }
        ("DELETE", []) => {
            die(shared, state, &id, 137);
            state.containers.retain(|it| it.id != id);
            let action = if shared.dialect.is_podman() { "remove" } else { "destroy" };
            event(shared.dialect, state, &id, action, None);
            Some((204, Value::Null))
        }
        _ => refusal(shared, 404, "page not found"),
    };
    shared.changed.notify_all();
    answer
}

/// Labels of a container of the fake, by key.
pub fn labels(fake: &Fake) -> BTreeMap<String, String> {
    serde_json::from_value(fake.body["Labels"].clone()).unwrap_or_default()
}
