//! The engine of this device: where it is, whether it answers, and what it tells. One task keeps in
//! touch with it: it reads the one stream of events, and tells everybody who waits for a container
//! that something has happened to it, or that the engine is back.
//!
//! Nothing polls: a look without an event comes every ten minutes, and the socket of an engine that
//! is away is tried again after pauses of up to two seconds while somebody waits for it.
//!
//! See decision 0175.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_protocol::message::EngineInfo;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::watch;

use super::client::{Client, EngineError, query};
use crate::adapters::clock::uptime_ms;
use crate::adapters::tasks;
use crate::core::container::dialect::{self, Action, Dialect, NoDialect};
use crate::core::container::frames;
use crate::core::container::seen::{self, Noted};

/// Usual places of an engine's socket, in the order in which they are tried.
const USUAL: [&str; 2] = ["/run/docker.sock", "/run/podman/podman.sock"];
/// First and longest pause before an engine that is away is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Longest pause while nothing on this device wants an engine.
const IDLE_RETRY: Duration = Duration::from_secs(60);
/// Time for which an engine counts as wanted after somebody asked for it, in milliseconds.
const WANTED: u64 = 60_000;
/// Interval of a look at everything without an event: a guard, should an engine forget to tell one.
const GUARD: Duration = Duration::from_secs(600);
/// Longest time for an engine to say who it is.
const HELLO: Duration = Duration::from_secs(10);
/// Time before the first connection from which events are told again, in nanoseconds: what ended and
/// was removed while the agent was restarted.
const BEFORE: u64 = 600_000_000_000;
/// Longest event that is read, in bytes; a longer one is passed over.
const MAX_EVENT: usize = 256 * 1024;

/// Where the engine is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// This device uses no engine.
    Off,
    /// At this socket.
    Socket(PathBuf),
    /// At the first of the usual sockets that is there.
    Usual,
}

impl Place {
    /// Path of the socket to try.
    ///
    /// # Errors
    /// The reason why there is none.
    fn socket(&self) -> Result<PathBuf, Away> {
        match self {
            Self::Off => Err(Away::Off),
            Self::Socket(path) => Ok(path.clone()),
            Self::Usual => {
                let there = USUAL.iter().map(Path::new).find(|path| path.exists());
                there.map(Path::to_owned).ok_or(Away::None)
            }
        }
    }
}

/// Reasons why the engine does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Away {
    /// The configuration wants none.
    #[error("the agent's configuration turns containers off ([containers] socket = \"off\")")]
    Off,
    /// None of the usual sockets is there.
    #[error("this device has no container engine: there is no {}; install Docker or Podman (with podman.socket enabled), or name its socket in the agent's configuration ([containers] socket)", USUAL.join(" and no "))]
    None,
    /// The agent has just begun to ask it.
    #[error("the container engine at {} has not answered yet", .0.display())]
    Unasked(PathBuf),
    /// It takes connections, and says nothing.
    #[error("the container engine accepts connections and does not answer")]
    Mute,
    /// It cannot be reached, or fails.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It is one that the agent cannot speak with.
    #[error(transparent)]
    Dialect(#[from] NoDialect),
}

/// Engine that answers.
#[derive(Debug, Clone)]
pub struct Here {
    /// Client of it.
    pub client: Client,
    /// Dialect of it.
    pub dialect: Dialect,
}

/// State of the engine.
#[derive(Debug, Clone)]
pub enum State {
    /// It does not answer, for this reason.
    Away(Away),
    /// It answers.
    Here(Arc<Here>),
}

/// What is told of one container to whoever watches it.
#[derive(Debug, Clone, Copy, Default)]
pub struct News {
    /// What its events told of its end.
    pub noted: Noted,
    /// True once this agent has sent it a signal: the next end is no stranger's doing.
    pub asked: bool,
}

type Watched = BTreeMap<String, watch::Sender<News>>;

#[derive(Debug)]
struct Shared {
    place: Place,
    state: watch::Sender<State>,
    watched: Mutex<Watched>,
    /// Time at which somebody last wanted the engine, in milliseconds since the boot.
    wanted: AtomicU64,
}

/// The engine of this device.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Shared>);

impl Engine {
    /// Begins to keep in touch with the engine at this place.
    pub fn begin(place: Place) -> Self {
        let away = place.socket().map_or_else(|why| why, Away::Unasked);
        let (state, _) = watch::channel(State::Away(away));
        let engine = Self(Arc::new(Shared {
            place,
            state,
            watched: Mutex::default(),
            wanted: AtomicU64::new(0),
        }));
        if engine.0.place != Place::Off {
            let keeper = engine.clone();
            tasks::spawn(async move { keeper.keep().await });
        }
        engine
    }

    /// Place of the engine.
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// Receiver of changes of the engine's state.
    pub fn changes(&self) -> watch::Receiver<State> {
        self.0.state.subscribe()
    }

    /// The engine if it answers.
    ///
    /// # Errors
    /// The reason why it does not.
    pub fn now(&self) -> Result<Arc<Here>, Away> {
        self.0.wanted.store(uptime_ms(), Ordering::Relaxed);
        match &*self.0.state.borrow() {
            State::Here(here) => Ok(Arc::clone(here)),
            State::Away(why) => Err(why.clone()),
        }
    }

    /// Waits until the engine answers.
    pub async fn here(&self) -> Arc<Here> {
        self.0.wanted.store(uptime_ms(), Ordering::Relaxed);
        let mut changes = self.changes();
        loop {
            if let State::Here(here) = &*changes.borrow_and_update() {
                return Arc::clone(here);
            }
            if changes.changed().await.is_err() {
                // The sender is in `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a container: the receiver changes whenever there is a reason to look at it.
    pub fn watch(&self, id: &str) -> watch::Receiver<News> {
        let mut watched = self.watched();
        let sender =
            watched.entry(id.to_owned()).or_insert_with(|| watch::channel(News::default()).0);
        sender.subscribe()
    }

    /// Ends the watch of a container.
    pub fn forget(&self, id: &str) {
        self.watched().remove(id);
    }

    /// Notes that this agent sends a signal to a container.
    pub fn asked(&self, id: &str) {
        if let Some(sender) = self.watched().get(id) {
            sender.send_modify(|news| news.asked = true);
        }
    }

    /// Gives everybody who watches a container a reason to look at it.
    fn look_at_all(&self) {
        for sender in self.watched().values() {
            sender.send_modify(|_| {});
        }
    }

    /// The engine as it is reported.
    pub fn info(&self) -> EngineInfo {
        match &*self.0.state.borrow() {
            State::Here(here) => here.dialect.info(),
            State::Away(why) => EngineInfo {
                name: String::new(),
                version: String::new(),
                api: String::new(),
                problem: why.to_string(),
            },
        }
    }

    /// True if this agent has sent a signal to a container that it watches.
    pub fn was_asked(&self, id: &str) -> bool {
        self.watched().get(id).is_some_and(|sender| sender.borrow().asked)
    }

    /// Path of the engine's socket, if there is one.
    pub fn socket(&self) -> Option<PathBuf> {
        self.0.place.socket().ok()
    }

    /// True if a container has ended or is gone. False as well where the engine cannot tell now.
    pub async fn is_done(&self, id: &str) -> bool {
        let Ok(here) = self.now() else { return false };
        match here.client.get(&format!("/containers/{id}/json")).await {
            Ok(inspected) => !matches!(seen::state(&inspected), seen::State::Running(_)),
            Err(error) => error.is_absent(),
        }
    }

    fn is_wanted(&self) -> bool {
        let last = self.0.wanted.load(Ordering::Relaxed);
        !self.watched().is_empty() || uptime_ms().saturating_sub(last) < WANTED
    }

    /// Asks the engine who it is.
    async fn hello(&self) -> Result<Here, Away> {
        let client = Client::new(&self.0.place.socket()?);
        let asked = tokio::time::timeout(HELLO, client.get("/version")).await;
        let dialect = Dialect::of(&asked.map_err(|_| Away::Mute)??)?;
        Ok(Here { client: client.speaking(dialect.api), dialect })
    }

    /// Keeps in touch for ever.
    async fn keep(self) {
        let mut pause = RETRY.0;
        let mut since = unix_nanos().saturating_sub(BEFORE);
        loop {
            match self.hello().await {
                Ok(here) => {
                    let here = Arc::new(here);
                    tracing::info!(
                        version = here.dialect.version,
                        api = %here.dialect.api,
                        "the container engine answers"
                    );
                    self.0.state.send_replace(State::Here(Arc::clone(&here)));
                    let begun = uptime_ms();
                    let why = self.listen(&here, &mut since).await;
                    tracing::warn!(%why, "the container engine's stream of events has ended");
                    if uptime_ms().saturating_sub(begun) > 1_000 {
                        pause = RETRY.0;
                    }
                }
                Err(why) => {
                    let is_news = match &*self.0.state.borrow() {
                        State::Away(before) => *before != why,
                        State::Here(_) => true,
                    };
                    if is_news {
                        tracing::warn!("{why}");
                        self.0.state.send_replace(State::Away(why));
                    }
                }
            }
            tokio::time::sleep(pause).await;
            let longest = if self.is_wanted() { RETRY.1 } else { IDLE_RETRY };
            pause = (pause * 2).min(longest);
        }
    }

    /// Reads the events until their stream ends, and says why it did.
    async fn listen(&self, here: &Here, since: &mut u64) -> String {
        let filters = query(r#"{"type":["container"]}"#);
        let path = format!("/events?since={}&filters={filters}", frames::since(*since));
        let stream = here.client.stream("GET", &path, None);
        tokio::pin!(stream);
        let mut guard = tokio::time::interval(GUARD);
        // The first tick is at once: what happened before this stream is looked at now.
        let mut body = loop {
            tokio::select! {
                answer = &mut stream => match answer {
                    Ok(body) => break body,
                    Err(error) => return error.to_string(),
                },
                _ = guard.tick() => self.look_at_all(),
            }
        };
        self.look_at_all();
        let mut held = Vec::new();
        loop {
            tokio::select! {
                event = next(&mut body) => match event {
                    Ok(Some(bytes)) => self.take(&mut held, &bytes, since),
                    Ok(None) => return "the engine has closed it".into(),
                    Err(error) => return error.to_string(),
                },
                _ = guard.tick() => {
                    self.look_at_all();
                    if let Err(why) = self.hello().await {
                        return why.to_string();
                    }
                }
            }
        }
    }

    /// Takes in bytes of the stream: a JSON document a line.
    fn take(&self, held: &mut Vec<u8>, bytes: &[u8], since: &mut u64) {
        held.extend_from_slice(bytes);
        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            self.event(&line, since);
        }
        // An engine need not end its last event with a line.
        if !held.is_empty() && self.event(&held.clone(), since) {
            held.clear();
        }
        if held.len() > MAX_EVENT {
            tracing::warn!("an event of the container engine has no end: it is passed over");
            held.clear();
        }
    }

    /// Takes in one event; false if it is not a whole document.
    fn event(&self, line: &[u8], since: &mut u64) -> bool {
        let Ok(value) = serde_json::from_slice::<Value>(line) else { return false };
        let Some(event) = dialect::event(&value) else { return true };
        *since = (*since).max(event.time.saturating_add(1));
        let watched = self.watched();
        let Some(sender) = watched.get(&event.id) else { return true };
        sender.send_modify(|news| match event.action {
            Action::Started => news.noted = Noted::default(),
            Action::Died => news.noted.code = event.code.or(news.noted.code),
            Action::OutOfMemory => news.noted.out_of_memory = true,
            Action::Killed => news.noted.by_hand |= !news.asked,
            Action::Gone => {}
        });
        true
    }
}

/// Next bytes of a stream; `None`: it has ended.
///
/// # Errors
/// When the connection breaks.
pub async fn next(body: &mut Incoming) -> Result<Option<bytes::Bytes>, EngineError> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
            Some(Err(error)) => {
                let (what, why) = ("a stream".to_owned(), error.to_string());
                return Err(EngineError::Broken { what, why });
            }
        }
    }
}

/// Time of this machine in nanoseconds since 1970, as the engine on it has it.
fn unix_nanos() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.ok().and_then(|now| u64::try_from(now.as_nanos()).ok()).unwrap_or(0)
}
