//! What changes, as server-sent events.
//! See decision 0113.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{self, Sse};
use futures_util::Stream;
use futures_util::stream;
use tokio::sync::watch;

use super::App;
use crate::api::Event;
use crate::api::time::rfc3339;
use crate::service::{Credential, Failure, Page, Service, Watch};

/// Between two heartbeats. A comment would do for a proxy, but a browser hides comments from the
/// page: only an event lets it tell a silent link from a quiet fleet. Two that are missed and some
/// slack are less than 30 s.
const HEARTBEAT: Duration = Duration::from_secs(12);

struct Reader {
    service: Arc<Service>,
    newest: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    at: u64,
    credential: Credential,
    beats: tokio::time::Interval,
    _counted: Watch,
}

fn event(id: u64, event: &Event) -> sse::Event {
    let made = sse::Event::default().id(id.to_string()).event(&event.kind);
    made.json_data(event).unwrap_or_else(|_| sse::Event::default().comment("unreadable"))
}

/// A sign of life, without an id: it moves no reader's place.
fn heartbeat(at: u64) -> sse::Event {
    sse::Event::default().event("heartbeat").data(format!("{{\"at\":\"{}\"}}", rfc3339(at)))
}

fn reset(id: u64, at: u64) -> sse::Event {
    let missed = Event {
        kind: "reset".into(),
        name: String::new(),
        action: "changed".into(),
        at: rfc3339(at),
        message: "events were missed: read everything anew".into(),
        parts: Vec::new(),
    };
    event(id, &missed)
}

impl Reader {
    /// The next events, at least one. None: the server stops, or whoever reads may no longer.
    async fn next(&mut self) -> Option<Vec<sse::Event>> {
        loop {
            self.newest.mark_unchanged();
            if !self.service.holds(&self.credential) {
                return None; // Its token or session ended meanwhile.
            }
            match self.service.events().after(self.at) {
                Page::Reset(id) => {
                    self.at = id;
                    return Some(vec![reset(id, self.service.now())]);
                }
                Page::Events(events) if !events.is_empty() => {
                    self.at = events.last().map_or(self.at, |last| last.0);
                    return Some(events.iter().map(|entry| event(entry.0, &entry.1)).collect());
                }
                Page::Events(_) => {}
            }
            tokio::select! {
                changed = self.newest.changed() => changed.ok()?,
                _ = self.stop.changed() => return None,
                _ = self.beats.tick() => return Some(vec![heartbeat(self.service.now())]),
            }
        }
    }
}

/// What changes, from now on or from `Last-Event-ID`; `reset` says that events were missed.
///
/// Every 12 s an event `heartbeat` comes, with `{"at": TIME}` as its data and without an id. A
/// reader that has heard nothing for 30 s may take the connection for dead, though it is open.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "watchEvents", tag = "system", security(("bearer" = [])),
    params(("Last-Event-ID" = Option<u64>, Header, description = "id of the last event seen")),
    responses((status = 200, body = Event, content_type = "text/event-stream"),
        (status = 429, description = "the access token has too many open: `Retry-After` says when to try again", body = super::error_schema::ErrorBody),
        (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn events(
    State(app): State<App>,
    Extension(credential): Extension<Credential>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Failure> {
    let counted = app.service.unending("event streams", &credential)?;
    let newest = app.service.events().watch();
    let now = *newest.borrow();
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    // An id that is none counts as one that is long gone.
    let at = last.map_or(now, |text| text.trim().parse().unwrap_or(0));
    let App { service, stop, .. } = app;
    let mut beats = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let reader = Reader { service, newest, stop, at, credential, beats, _counted: counted };
    let pages = stream::unfold(reader, |mut reader| async {
        let page = reader.next().await?;
        Some((stream::iter(page.into_iter().map(Ok)), reader))
    });
    Ok(Sse::new(futures_util::StreamExt::flatten(pages)))
}
