//! Life of an instance at the engine: its start in order, its end, and the signals that it gets.
//!
//! An instance of one container is a group of one. Each container is looked at when there is a
//! reason: an event of the engine, the end of its process, or an engine that is back.
//!
//! See decision 0175.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::ids::Name;
use serde_json::Value;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

use super::engine::{Engine, Here, News};
use super::probing;
use super::shared::{AGAIN, KILL, SHOWN, Shared};
use crate::adapters::clock::uptime_ms;
use crate::adapters::{crash, tasks};
use crate::core::container::dialect::Refusal;
use crate::core::container::group::{self, Order, Stage};
use crate::core::container::seen::{self, State};
use crate::core::container::{Part, marks, parts};
use crate::core::effect::Observed;
use crate::core::runtime::{Handle, Reason};
use crate::core::saved::Exit;
use crate::runtimes::common::{pidfd, procfs};
use crate::runtimes::send;

/// Longest time for the last output of a container that has ended to be copied.
const DRAIN: Duration = Duration::from_secs(3);
/// First and longest pause until an engine is asked again of a container whose process has ended: it
/// learns of it a moment later.
const SETTLE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// Longest time for the events of a container's end to come: within 0.2 s on an idle machine. What
/// ended while the agent was away may have none.
const EVENTS: Duration = Duration::from_secs(1);
/// Interval at which a container is probed that others wait for.
const PROBE: Duration = Duration::from_secs(1);
/// Longest time for one such probe.
const PROBE_WITHIN: Duration = Duration::from_secs(5);
/// Longest time in milliseconds that a container of a group waits for others before its start. An
/// image of a database may take minutes on a slow disk; a group that hangs must end some day.
const WAIT: u64 = 1_800_000;

/// Begins to watch the containers of an instance: what their events tell from now on is kept, also
/// what an engine tells again of before.
fn take_up(shared: &Shared, name: &Name, instance: &Handle) {
    for part in parts(instance) {
        shared.common.access.enclose(&part.id, name);
        drop(shared.engine.watch(&part.id));
    }
}

/// Lets a prepared instance run, tells so, and tells of its end.
pub(super) async fn start(shared: &Arc<Shared>, name: Name, instance: Handle) {
    take_up(shared, &name, &instance);
    let started = match shared.engine.now() {
        Ok(here) => first(&here, &instance).await,
        Err(why) => Err(Reason::of(&why)),
    };
    crash::point("container-started");
    let ok = started.is_ok();
    if !ok {
        for part in parts(&instance) {
            shared.common.access.release(&part.id);
            shared.engine.forget(&part.id);
        }
    }
    send(&shared.tell, Observed::Started(name.clone(), instance.clone(), started)).await;
    if ok {
        watch(shared, name, instance).await;
    }
}

/// Starts the first container of an instance; the others follow by their order.
async fn first(here: &Here, instance: &Handle) -> Result<(), Reason> {
    let parts = parts(instance);
    let Some(part) = parts.first() else { return Err(Reason::from("it has no container")) };
    begin(here, part).await
}

/// Starts one container; one that runs already is fine.
async fn begin(here: &Here, part: &Part) -> Result<(), Reason> {
    let started = here.client.post(&format!("/containers/{}/start", part.id), None).await;
    started.map(drop).map_err(|error| match error.refusal() {
        Some(Refusal::Absent) => Reason::from("its container is gone from the engine"),
        _ => Reason(error.to_string()),
    })
}

/// Watches an instance until its end, and tells of it.
pub(super) async fn watch(shared: &Arc<Shared>, name: Name, instance: Handle) {
    take_up(shared, &name, &instance);
    let exit = Instance::new(shared, &instance).run().await;
    for part in parts(&instance) {
        shared.outputs.drained(&part.id, DRAIN).await;
        shared.outputs.forget(&part.id);
        shared.engine.forget(&part.id);
        shared.common.access.release(&part.id);
    }
    send(&shared.tell, Observed::Exited(name, instance, exit)).await;
}

/// Sends a signal to a container, however long its engine is away. One that has ended is fine.
pub(super) async fn signal(engine: &Engine, id: &str, signal: u8) {
    loop {
        let here = engine.here().await;
        let sent = here.client.post(&format!("/containers/{id}/kill?signal={signal}"), None).await;
        let Err(error) = sent else { return };
        match error.refusal() {
            Some(Refusal::Absent) => return,
            // It does not run, or it is paused: a paused one sees no signal before it goes on.
            Some(_) => {
                let inspected = here.client.get(&format!("/containers/{id}/json")).await;
                let paused = inspected.is_ok_and(|it| seen::is_paused(&it));
                let unpause = format!("/containers/{id}/unpause");
                if !paused || here.client.post(&unpause, None).await.is_err() {
                    tracing::debug!(container = id, %error, "it takes no signal");
                    return;
                }
            }
            None => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Removes a container that was made and did not run.
pub(super) async fn discard(here: &Here, part: &Part) {
    let path = format!("/containers/{}?force=1&v=0", part.id);
    if let Err(error) = here.client.delete(&path).await {
        tracing::warn!(container = %part.id, %error, "it stays until it is found again");
    }
}

/// Instance that is watched.
struct Instance<'a> {
    shared: &'a Arc<Shared>,
    parts: Vec<Part>,
    orders: Vec<Order>,
    stages: Vec<Stage>,
    tell: mpsc::Sender<(usize, Exit)>,
    ends: mpsc::Receiver<(usize, Exit)>,
    /// Time since which some container waits, in milliseconds since the boot.
    since: u64,
}

impl<'a> Instance<'a> {
    fn new(shared: &'a Arc<Shared>, instance: &Handle) -> Self {
        let parts = parts(instance);
        let (tell, ends) = mpsc::channel(parts.len().max(1));
        let stages = vec![Stage::Waiting; parts.len()];
        let orders = vec![Order::default(); parts.len()];
        Self { shared, parts, orders, stages, tell, ends, since: uptime_ms() }
    }

    /// Runs until its end.
    async fn run(mut self) -> Exit {
        if let Err(exit) = self.look().await {
            return self.end(exit).await;
        }
        loop {
            match self.start_more().await {
                Ok(()) => {}
                Err(exit) => return self.end(exit).await,
            }
            let awaited = self.awaited();
            let waits = self.stages.contains(&Stage::Waiting);
            let pause = if awaited.is_some() { PROBE } else { Duration::from_secs(60) };
            tokio::select! {
                ended = self.ends.recv() => {
                    let Some((at, exit)) = ended else { return Exit::Unseen };
                    if self.ended(at, exit) {
                        return self.end(exit).await;
                    }
                }
                () = tokio::time::sleep(pause), if waits => self.probe(awaited).await,
            }
            if waits && uptime_ms().saturating_sub(self.since) > WAIT {
                let waiting = self.name_of(Stage::Waiting);
                self.say(&format!(
                    "container {waiting} waited for half an hour: the group is stopped"
                ));
                return self.end(Exit::Unseen).await;
            }
        }
    }

    /// Sees what there is: what runs is watched, and what was made and not started waits.
    ///
    /// # Errors
    /// The end of the instance, if one of its containers has ended.
    async fn look(&mut self) -> Result<(), Exit> {
        for at in 0..self.parts.len() {
            let Some(part) = self.parts.get(at).cloned() else { continue };
            let (inspected, _) = inspect(&self.shared.engine, &part.id).await;
            let Some(inspected) = inspected else {
                self.watch(at, &part);
                continue;
            };
            remember(self.shared, &part, &inspected);
            let order = probing::order(&inspected).unwrap_or_default();
            if let Some(place) = self.orders.get_mut(at) {
                *place = order;
            }
            let is_old = boot(&inspected) != Some(self.shared.common.boot.as_str());
            match seen::state(&inspected) {
                // Podman says so of what ran before the machine was started anew.
                State::Created if is_old => return Err(Exit::Unseen),
                State::Created => {}
                _ => self.watch(at, &part),
            }
        }
        Ok(())
    }

    /// Watches a container that was started.
    fn watch(&mut self, at: usize, part: &Part) {
        if let Some(stage) = self.stages.get_mut(at) {
            *stage = Stage::Running { healthy: false };
        }
        let (shared, tell, id) = (Arc::clone(self.shared), self.tell.clone(), part.id.clone());
        tasks::spawn(async move {
            let exit = end_of(&shared, &id).await;
            let _nobody_waits = tell.send((at, exit)).await;
        });
    }

    fn by_name(&self) -> BTreeMap<String, Stage> {
        let pairs = self.parts.iter().zip(&self.stages);
        pairs.map(|(part, stage)| (part.name.clone(), *stage)).collect()
    }

    /// Starts every container that may start now.
    ///
    /// # Errors
    /// The end of the instance, if one cannot be started.
    async fn start_more(&mut self) -> Result<(), Exit> {
        for at in 0..self.parts.len() {
            let stages = self.by_name();
            let (Some(part), Some(order)) = (self.parts.get(at).cloned(), self.orders.get(at))
            else {
                continue;
            };
            let waits = self.stages.get(at) == Some(&Stage::Waiting);
            if !waits || !group::may_start(order, &stages) || self.is_stopping() {
                continue;
            }
            let here = self.shared.engine.here().await;
            if let Err(why) = begin(&here, &part).await {
                self.say(&format!("container {} cannot be started: {why}", part.name));
                return Err(Exit::Unseen);
            }
            self.since = uptime_ms();
            self.watch(at, &part);
        }
        Ok(())
    }

    /// True once this agent has asked one of its containers to end.
    fn is_stopping(&self) -> bool {
        self.parts.iter().any(|part| self.shared.engine.was_asked(&part.id))
    }

    /// Container that is to be probed, because others wait for it.
    fn awaited(&self) -> Option<usize> {
        (0..self.parts.len()).find(|&at| {
            let others = self.orders.iter().zip(self.stages.iter().copied());
            let name = self.parts.get(at).map_or("", |part| part.name.as_str());
            self.stages.get(at) == Some(&Stage::Running { healthy: false })
                && group::is_awaited(name, others)
        })
    }

    async fn probe(&mut self, awaited: Option<usize>) {
        let Some(at) = awaited else { return };
        let (Some(part), Some(order)) = (self.parts.get(at), self.orders.get(at)) else { return };
        let healthy = match &order.probe {
            // Without a probe it is healthy while it runs.
            None => true,
            Some(probe) => {
                probing::one(&self.shared.engine, &part.id, probe, PROBE_WITHIN).await.is_ok()
            }
        };
        if let Some(stage) = self.stages.get_mut(at) {
            *stage = Stage::Running { healthy };
        }
    }

    /// Takes in the end of a container; true if it is that of the instance.
    fn ended(&mut self, at: usize, exit: Exit) -> bool {
        if let Some(stage) = self.stages.get_mut(at) {
            *stage = Stage::Ended(exit);
        }
        let ends = self.orders.get(at).is_none_or(|order| group::ends(order, exit));
        let all = self.stages.iter().all(|stage| matches!(stage, Stage::Ended(_)));
        if let Some(part) = self.parts.get(at).filter(|part| !part.name.is_empty()) {
            let text = if ends { ": the group is stopped" } else { "" };
            self.say(&format!("container {} {exit}{text}", part.name));
        }
        ends || all
    }

    fn name_of(&self, wanted: Stage) -> String {
        let mut pairs = self.parts.iter().zip(&self.stages);
        let found = pairs.find(|(_, stage)| **stage == wanted);
        found.map(|(part, _)| part.name.clone()).unwrap_or_default()
    }

    fn say(&self, line: &str) {
        if let Some(part) = self.parts.first() {
            self.shared.outputs.say(&part.id, line);
        }
    }

    /// Stops what still runs, and waits for its end.
    async fn end(mut self, exit: Exit) -> Exit {
        let runs = |stage: &Stage| matches!(stage, Stage::Running { .. });
        let stop = self.orders.first().map(|order| order.stop).unwrap_or_default();
        for (number, within) in
            [(stop.signal, Duration::from_millis(stop.grace_ms)), (KILL, Duration::from_secs(60))]
        {
            if !self.stages.iter().any(runs) {
                break;
            }
            for (part, _) in self.parts.iter().zip(&self.stages).rev().filter(|(_, it)| runs(it)) {
                self.shared.engine.asked(&part.id);
                let (engine, id) = (self.shared.engine.clone(), part.id.clone());
                tasks::spawn(async move { signal(&engine, &id, number).await });
            }
            let all = async {
                while self.stages.iter().any(runs) {
                    let Some((at, exit)) = self.ends.recv().await else { return };
                    if let Some(stage) = self.stages.get_mut(at) {
                        *stage = Stage::Ended(exit);
                    }
                }
            };
            let _what_remains_is_swept = tokio::time::timeout(within, all).await;
        }
        exit
    }
}

fn boot(inspected: &Value) -> Option<&str> {
    inspected.get("Config")?.get("Labels")?.get(marks::BOOT)?.as_str()
}

/// Keeps what is reported of a container.
fn remember(shared: &Shared, part: &Part, inspected: &Value) {
    let labels = inspected.get("Config").and_then(|it| it.get("Labels")).unwrap_or(&Value::Null);
    let id = part.id.chars().take(SHOWN).collect();
    let ports = marks::ports(labels);
    let detail = holdfast_protocol::message::ContainerDetail { id, ports };
    shared.details().insert(part.id.clone(), detail);
}

/// Asks for a container until there is an answer. `None`: it is gone.
async fn inspect(engine: &Engine, id: &str) -> (Option<Value>, Arc<Here>) {
    loop {
        let here = engine.here().await;
        match here.client.get(&format!("/containers/{id}/json")).await {
            Ok(inspected) => return (Some(inspected), here),
            Err(error) if error.is_absent() => return (None, here),
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Waits for the end of a container that was started.
async fn end_of(shared: &Shared, id: &str) -> Exit {
    let engine = &shared.engine;
    let mut news = engine.watch(id);
    let mut process: Option<(u32, AsyncFd<OwnedFd>)> = None;
    let mut settle = SETTLE.0;
    loop {
        news.mark_unchanged();
        let (inspected, _) = inspect(engine, id).await;
        let state = inspected.as_ref().map(seen::state);
        let same_boot =
            inspected.as_ref().is_none_or(|it| boot(it) == Some(shared.common.boot.as_str()));
        let ends = |news: &watch::Receiver<News>| seen::exit(state, news.borrow().noted, same_boot);
        if ends(&news).is_some() && same_boot {
            // Its events tell who ended it, and may be a little later than its process.
            let told = news.wait_for(|news| news.noted.code.is_some());
            let _at_most = tokio::time::timeout(EVENTS, told).await;
        }
        if let Some(exit) = ends(&news) {
            // What it wrote last is read even if no agent saw it run.
            shared.outputs.begin(engine, id);
            return exit;
        }
        let Some(State::Running(pid)) = state else {
            // Between two states, or made anew by somebody: an event follows.
            changed(&mut news, settle).await;
            settle = (settle * 2).min(SETTLE.1);
            continue;
        };
        shared.outputs.begin(engine, id);
        if process.as_ref().is_none_or(|(known, _)| *known != pid) {
            process = descriptor(pid, id).map(|fd| (pid, fd));
            settle = SETTLE.0;
        }
        let Some((_, fd)) = &process else {
            wait(&mut news).await;
            continue;
        };
        tokio::select! {
            () = wait(&mut news) => {}
            _ = fd.readable() => {
                changed(&mut news, settle).await;
                settle = (settle * 2).min(SETTLE.1);
            }
        }
    }
}

/// Waits until there is news of a container.
async fn wait(news: &mut watch::Receiver<News>) {
    if news.changed().await.is_err() {
        // Nobody watches it any more: the instance is over.
        std::future::pending::<()>().await;
    }
}

/// Waits for news, for a time at most.
async fn changed(news: &mut watch::Receiver<News>, within: Duration) {
    let _either = tokio::time::timeout(within, wait(news)).await;
}

/// Descriptor of a container's main process, if it is a process that this agent sees.
fn descriptor(pid: u32, id: &str) -> Option<AsyncFd<OwnedFd>> {
    if pid == 0 || !is_of(pid, id) {
        return None;
    }
    let fd = pidfd::watched(pid).ok()?;
    // It may have been another process by the time of the descriptor.
    is_of(pid, id).then_some(fd)
}

/// True if a process is of a container, by its control group.
fn is_of(pid: u32, id: &str) -> bool {
    let group = procfs::read(pid, "cgroup").ok().flatten().unwrap_or_default();
    String::from_utf8_lossy(&group).contains(id)
}
