//! Route of events: changes as server-sent events.
//!
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

use super::app::App;
use crate::api::Event;
use crate::api::time::rfc3339;
use crate::core::rights::Actor;
use crate::service::{Failure, Service, Watch};

/// Time between two heartbeats. A comment would be enough for a proxy, but a browser hides comments
/// from the page, which can tell a broken link from a quiet fleet only by an event. Two missed
/// heartbeats and some slack are less than 30 s.
const HEARTBEAT: Duration = Duration::from_secs(12);

/// Client of the event stream.
struct Reader {
    service: Arc<Service>,
    newest: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    at: u64,
    actor: Actor,
    beats: tokio::time::Interval,
    _counted: Watch,
}

fn event(id: u64, event: &Event) -> sse::Event {
    let made = sse::Event::default().id(id.to_string()).event(&event.kind);
    made.json_data(event).unwrap_or_else(|_| sse::Event::default().comment("unreadable"))
}

/// Builds a heartbeat. It has no id, so that it does not move the client's position.
fn heartbeat(at: u64) -> sse::Event {
    sse::Event::default().event("heartbeat").data(format!("{{\"at\":\"{}\"}}", rfc3339(at)))
}

/// Builds the event that tells a client that it missed events.
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
    /// Waits for the next events, at least one. Returns `None` when the server stops, or the
    /// client's credential has ended.
    async fn next(&mut self) -> Option<Vec<sse::Event>> {
        loop {
            self.newest.mark_unchanged();
            if !self.service.access.holds(&self.actor) {
                return None; // The token or login has ended.
            }
            let read = self.service.documents.events_after(&self.actor, self.at).ok()?;
            let newest = read.newest;
            let behind = self.at != newest;
            self.at = newest;
            match read.events {
                None => return Some(vec![reset(newest, self.service.documents.now())]),
                Some(events) if !events.is_empty() => {
                    return Some(events.iter().map(|(id, read)| event(*id, read)).collect());
                }
                // None of these is for this client; there may be more.
                Some(_) if behind => continue,
                Some(_) => {}
            }
            tokio::select! {
                changed = self.newest.changed() => changed.ok()?,
                _ = self.stop.changed() => return None,
                _ = self.beats.tick() => return Some(vec![heartbeat(self.service.documents.now())]),
            }
        }
    }
}

/// Streams changes as server-sent events, from now on or from `Last-Event-ID`.
///
/// An event `reset` says that events were missed, so everything must be read again.
///
/// Every 12 s an event `heartbeat` arrives, with `{"at": TIME}` as its data and without an id. A
/// client that has received nothing for 30 s may treat the connection as dead, even when it is
/// open.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "watchEvents", tag = "system", security(("bearer" = [])),
    params(("Last-Event-ID" = Option<u64>, Header, description = "id of the last event seen")),
    responses((status = 200, body = Event, content_type = "text/event-stream"),
        (status = 429, description = "the access token has too many open: `Retry-After` says when to try again", body = super::error::ErrorBody),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn events(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Failure> {
    let counted = app.service.access.unending("event streams", &actor)?;
    let newest = app.service.documents.events(&actor)?.watch();
    let now = *newest.borrow();
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    // An unreadable id is treated as one that is no longer in the ring.
    let at = last.map_or(now, |text| text.trim().parse().unwrap_or(0));
    let App { service, stop, .. } = app;
    let mut beats = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let reader = Reader { service, newest, stop, at, actor, beats, _counted: counted };
    let pages = stream::unfold(reader, |mut reader| async {
        let page = reader.next().await?;
        Some((stream::iter(page.into_iter().map(Ok)), reader))
    });
    Ok(Sse::new(futures_util::StreamExt::flatten(pages)))
}
