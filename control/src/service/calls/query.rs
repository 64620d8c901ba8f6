//! Questions to many devices at once, and fetches of records: asks the devices, waits for them, and
//! combines their answers.
//!
//! See decision 0061.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use holdfast_base::codec::{self, MAX_MESSAGE};
use holdfast_base::ids::{DeviceId, Labels, Name};
use holdfast_protocol::enrol;
use holdfast_protocol::message::{Fetched, Method, ReplyCode, ReplyError, WITHIN_MS};
use holdfast_query::{Fault, Partial};
use holdfast_records::StreamName;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

use super::Calls;
use super::answers::{NoAnswer, NotNow};
use super::questions::Question;
use crate::api::selector;
use crate::api::time::{duration, moment};
use crate::api::{FETCH_BYTES, FetchStarted, NewFetch, NewQuery, QueryProgress, QueryResult};
use crate::core::query;
use crate::core::query::{Answers, Asked};
use crate::core::records::Standing;
use crate::core::retry::{Missed, Retries, SOON, Step};
use crate::core::rights::{Action, Actor};
use crate::service::Failure;
use crate::service::data::no_stream;
use crate::service::rights::{may, may_device};

/// Maximum size of one device's packed answer, in bytes.
const MOST: usize = 4 * MAX_MESSAGE;

/// Longest time that a question may wait for devices, in seconds: a week.
const LONGEST: u64 = 7 * 86_400;

/// Number of missing devices that a line of progress names.
const NAMED: usize = 3;

/// Registered question, which can be ended by its id before every device has answered. Dropped, it
/// is no longer registered.
struct OpenQuestion {
    calls: Arc<Calls>,
    tenant: Name,
    id: String,
    enough: Arc<Notify>,
}

impl OpenQuestion {
    fn new(calls: &Arc<Calls>, actor: &Actor) -> Result<Self, Failure> {
        let id = calls.authority.random().map(u64::from_le_bytes).map_err(Failure::internal)?;
        let (id, enough) = (format!("{id:016x}"), Arc::<Notify>::default());
        let tenant = actor.tenant.clone();
        let key = (tenant.clone(), id.clone());
        let question = Question { enough: Arc::clone(&enough), by: actor.id().into() };
        calls.questions.open().insert(key, question);
        Ok(Self { calls: Arc::clone(calls), tenant, id, enough })
    }
}

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        let key = (self.tenant.clone(), self.id.clone());
        self.calls.questions.open().remove(&key);
    }
}

/// Question under way. Dropped, it tells every device to stop.
pub struct Asking {
    calls: Arc<Calls>,
    stream: StreamName,
    asked: Asked,
    devices: Vec<(Name, Labels)>,
    until: Option<Instant>,
    open: OpenQuestion,
    _one_of: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Asking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asking").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// Makes a failure about one part of a request.
fn invalid(part: &str, message: impl Into<String>) -> Failure {
    let message = message.into();
    let fault = enrol::Fault { path: part.into(), message: message.clone(), of_key: false };
    Failure::Invalid { message, faults: vec![fault] }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        invalid(fault.part, fault.to_string())
    }
}

fn stream_name(text: &str) -> Result<StreamName, Failure> {
    text.parse().map_err(|error: holdfast_records::name::BadStreamName| {
        invalid("stream", error.to_string())
    })
}

/// Reads a time of a request, in milliseconds since 1970; `None` for an empty one.
fn time(part: &str, text: &str, now: u64) -> Result<Option<u64>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let form = "RFC 3339 such as 2026-11-23T21:00:00Z, or a length of time before now such as 2h";
    moment(text, now).map(Some).ok_or_else(|| invalid(part, format!("{part}: {form}")))
}

impl Calls {
    /// Reads the two ends of a request's time window, in milliseconds since 1970.
    fn window(&self, since: &str, until: &str) -> Result<(u64, u64), Failure> {
        // Records of the present millisecond are within the window, whose end is exclusive.
        let now = self.documents.now_ms().saturating_add(1);
        let since = time("since", since, now)?.unwrap_or(0);
        let until = time("until", until, now)?.unwrap_or(now);
        if since >= until {
            return Err(invalid("since", "since is not before until"));
        }
        Ok((since, until))
    }

    /// Parses a question and determines the devices that it asks.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] with the place of each fault, and [`Failure::Unavailable`] when
    /// too many questions are under way.
    pub fn query(self: &Arc<Self>, actor: &Actor, wanted: &NewQuery) -> Result<Asking, Failure> {
        let permit = may(actor, Action::Ask, "")?;
        let stream = stream_name(&wanted.stream)?;
        let selector = selector::parse(&wanted.label_selector)
            .map_err(|error| invalid("labelSelector", format!("labelSelector: {error}")))?;
        let wait = match wanted.wait.as_str() {
            "" | "0" | "0s" => None,
            text => Some(duration(text).filter(|it| *it <= LONGEST).ok_or_else(|| {
                invalid("wait", "wait: a length of time such as 15m or 1h, at most 7d")
            })?),
        };
        let (since, until) = self.window(&wanted.since, &wanted.until)?;
        let devices: Vec<(Name, Labels)> = {
            let model = self.documents.model(&actor.tenant);
            let asked = model.devices.values().filter(|device| {
                device.record.standing == Standing::Approved
                    && selector.matches(&device.record.labels)
                    && permit.sight().sees(&device.record.labels)
            });
            asked.map(|device| (device.record.name.clone(), device.record.labels.clone())).collect()
        };
        let labels: BTreeSet<&str> =
            devices.iter().flat_map(|(_, labels)| labels.keys()).map(AsRef::as_ref).collect();
        let parts = (&*wanted.select, &*wanted.filter, &*wanted.by, &*wanted.every);
        let mut asked = query::read(parts, &labels)?;
        asked.question.since = since;
        asked.question.until = until;
        let turns = Arc::clone(&self.questions.bounds(&actor.tenant).turns);
        let one_of = turns.try_acquire_owned().map_err(|_| {
            Failure::Unavailable("too many questions are being asked already: try again".into())
        })?;
        Ok(Asking {
            open: OpenQuestion::new(self, actor)?,
            calls: Arc::clone(self),
            stream,
            asked,
            devices,
            until: wait.map(|wait| Instant::now() + Duration::from_secs(wait)),
            _one_of: one_of,
        })
    }

    /// Ends a question; its result is made of the answers so far. Whoever reaches some devices alone
    /// ends its own questions.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] when no question with this id is under way.
    pub fn end_query(&self, actor: &Actor, id: &str) -> Result<(), Failure> {
        let permit = may(actor, Action::EndQuery, id)?;
        let open = self.questions.open();
        let key = (actor.tenant.clone(), id.to_owned());
        let theirs = |one: &&Question| permit.sight().is_all() || *one.by == *actor.id();
        let question = open.get(&key).filter(theirs).ok_or_else(|| Failure::no("question", id))?;
        question.enough.notify_one();
        Ok(())
    }

    /// Makes a device ship records of a stream unreduced, although they were reduced or held back
    /// by a policy.
    ///
    /// # Errors
    /// Returns a [`Failure`] for a bad request, an unknown device or stream, or a device that
    /// cannot be asked now.
    pub async fn fetch(
        self: &Arc<Self>,
        actor: &Actor,
        device: &str,
        stream: &str,
        wanted: &NewFetch,
    ) -> Result<FetchStarted, Failure> {
        may_device(actor, Action::FetchRecords, &self.documents.model(&actor.tenant), device)?;
        let stream = stream_name(stream)?;
        let (since, until) = self.window(&wanted.since, &wanted.until)?;
        let name = {
            let model = self.documents.model(&actor.tenant);
            let known = model.devices.get(device).ok_or_else(|| Failure::no("device", device))?;
            known.record.name.clone()
        };
        let bytes = Some(wanted.bytes.unwrap_or(FETCH_BYTES));
        let id = DeviceId { tenant: actor.tenant.clone(), device: name.clone() };
        let method = Method::Fetch { stream: stream.clone(), since, until, bytes };
        let crossed = Arc::default();
        let (id, body) = self.ask(&id, method, MOST, &crossed).await.map_err(|why| match why {
            NoAnswer::Now(text) => Failure::Unavailable(format!(
                "device {name} {text}: its records can be fetched when it is back"
            )),
            silent @ NoAnswer::Silent => {
                Failure::Unavailable(format!("device {name} {silent}: try again"))
            }
            NoAnswer::Said(why) => Failure::Unavailable(format!("device {name}: {why}")),
            NoAnswer::Never(failure) => failure,
        })?;
        let Fetched { records, bytes } = codec::from_slice(&body).map_err(|error| {
            Failure::Unavailable(format!("device {name} answered what is not understood: {error}"))
        })?;
        // Only the device knows all of its streams: its last report may be older than this one.
        if records == 0 && !self.data.has_stream(&actor.tenant, &name, &stream) {
            return Err(no_stream(&name, stream.as_str()));
        }
        let waits = if records > 0 {
            self.data.held_back(&actor.tenant, &name, &stream, true)
        } else {
            Vec::new()
        };
        let waits = (!waits.is_empty()).then(|| waits.join("; "));
        Ok(FetchStarted { id: format!("{id:016x}"), records, bytes, waits })
    }
}

impl Asking {
    /// Asks the devices, waits, and combines the answers. Calls `tell` with the progress after each
    /// answer.
    pub async fn run(self, mut tell: impl FnMut(QueryProgress)) -> QueryResult {
        let crossed = &Arc::<AtomicU64>::default();
        let asking = &self;
        let of = self.devices.len();
        let mut answers = Answers::new(self.asked.clone());
        let mut missing: BTreeSet<&Name> = self.devices.iter().map(|(name, _)| name).collect();
        let mut failed: BTreeSet<&Name> = BTreeSet::new();
        let so_far = |answered: usize, missing: &BTreeSet<&Name>| QueryProgress {
            id: self.open.id.clone(),
            answered,
            of,
            missing: missing.iter().take(NAMED).map(ToString::to_string).collect(),
        };
        tell(so_far(0, &missing));
        let mut asked: FuturesUnordered<_> = self
            .devices
            .iter()
            .map(|(name, labels)| async move { (name, labels, asking.one(name, crossed).await) })
            .collect();
        let enough = self.open.enough.notified();
        tokio::pin!(enough);
        loop {
            let next = tokio::select! {
                next = asked.next() => next,
                () = &mut enough => None,
            };
            let Some((name, labels, answer)) = next else { break };
            match answer {
                Ok(partial) => {
                    answers.take(name, labels, partial);
                    missing.remove(name);
                    tell(so_far(answers.answered(), &missing));
                }
                Err(why) => {
                    answers.miss(name, why.to_string());
                    failed.insert(name);
                }
            }
        }
        drop(asked);
        // Nobody waits for these devices any longer.
        for name in missing.difference(&failed) {
            answers.miss(name, self.why_late(name).into());
        }
        answers.finish(crossed.load(Ordering::Relaxed))
    }

    /// Returns one device's answer, or why there is none. Asks again as [`Retries`] decides.
    async fn one(&self, name: &Name, crossed: &Arc<AtomicU64>) -> Result<Partial, NoAnswer> {
        let mut retries = Retries::default();
        loop {
            let why = match self.once(name, crossed).await {
                Ok(partial) => return Ok(partial),
                Err(why) => why,
            };
            let missed = match &why {
                NoAnswer::Never(_) => return Err(why),
                NoAnswer::Now(_) => Missed::NotCalled,
                NoAnswer::Silent => Missed::Silent,
                NoAnswer::Said(said) => Missed::Refused(said.code),
            };
            let now = Instant::now();
            let left = self.until.map_or(Duration::ZERO, |until| until.duration_since(now));
            match retries.next(missed, left) {
                Step::Ask(after) => tokio::time::sleep(after).await,
                Step::AskConnected(after) => {
                    tokio::time::sleep(after).await;
                    self.is_back(name).await;
                }
                Step::GiveUp => return Err(why),
            }
        }
    }

    /// Reason for a device that had not answered when the question was ended.
    fn why_late(&self, name: &Name) -> &'static str {
        let model = self.calls.documents.model(&self.open.tenant);
        let there = model.devices.get(name).is_some_and(|known| known.live.connection != 0);
        if there { "had not answered when the question was ended" } else { "is offline" }
    }

    /// Waits until a device is connected, or until the question no longer waits.
    async fn is_back(&self, name: &Name) {
        while self.until.is_some_and(|until| Instant::now() + SOON < until) {
            let there = {
                let model = self.calls.documents.model(&self.open.tenant);
                model.devices.get(name).is_none_or(|known| known.live.session != 0)
            };
            if there {
                return;
            }
            tokio::time::sleep(SOON).await;
        }
    }

    /// Asks a device once.
    async fn once(&self, name: &Name, crossed: &Arc<AtomicU64>) -> Result<Partial, NoAnswer> {
        let bounds = self.calls.questions.bounds(&self.open.tenant);
        let turn = bounds.answers.acquire().await;
        let _turn = turn.map_err(|_| NoAnswer::Now(NotNow::Stopping))?;
        let question = Box::new(self.asked.question.clone());
        let stream = self.stream.clone();
        let device = DeviceId { tenant: self.open.tenant.clone(), device: name.clone() };
        let method = Method::Query { stream, question, within_ms: WITHIN_MS };
        let (_, body) = self.calls.ask(&device, method, MOST, crossed).await?;
        Partial::unpack(&body, &self.asked.question)
            .map_err(|why| NoAnswer::Said(ReplyError::new(ReplyCode::Failed, why.to_string())))
    }
}
