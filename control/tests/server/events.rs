//! Tests of the stream of events, as an HTTP client sees it.

use std::time::Duration;

use axum::body::Body;
use holdfast_control::api::Event;
use holdfast_control::core::change::Told;
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::world::World;

/// An event as it was received.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    id: u64,
    event: String,
    data: Value,
}

/// A stream that is being read.
struct Stream {
    body: Body,
    text: String,
}

impl Stream {
    async fn open(world: &World, last: Option<&str>) -> Self {
        let headers: Vec<(&str, &str)> =
            last.map(|last| ("last-event-id", last)).into_iter().collect();
        let answer = world.answer("GET", "/api/v1/events", &headers, Body::empty()).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { body: answer.into_body(), text: String::new() }
    }

    /// Waits for the next event.
    async fn next(&mut self) -> Seen {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let mut lines = event.lines().filter_map(|line| line.strip_prefix(name));
                    lines.next().unwrap_or_else(|| panic!("{name} in {event:?}")).trim().to_owned()
                };
                return Seen {
                    id: field("id:").parse().unwrap(),
                    event: field("event:"),
                    data: serde_json::from_str(&field("data:")).unwrap(),
                };
            }
            let frame = tokio::time::timeout(Duration::from_secs(10), self.body.frame()).await;
            let bytes = frame.expect("an event in time").unwrap().unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    async fn take(&mut self, count: usize) -> Vec<Seen> {
        let mut seen = Vec::new();
        for _ in 0..count {
            seen.push(self.next().await);
        }
        seen
    }

    /// Returns whether no further event arrives for a while.
    async fn is_silent(&mut self) -> bool {
        let more = tokio::time::timeout(Duration::from_millis(50), self.body.frame()).await;
        self.text.is_empty() && more.is_err()
    }
}

/// Publishes `count` events after the newest one and returns their ids.
fn publish(world: &World, count: u64) -> Vec<u64> {
    let newest = *world.service.documents.events(&world.actor()).unwrap().watch().borrow();
    let ids: Vec<u64> = (newest + 1..=newest + count).collect();
    let event = |id: u64| Told {
        id,
        event: Event {
            kind: "device".into(),
            name: format!("d-{id}"),
            action: "changed".into(),
            at: String::new(),
            message: String::new(),
            parts: Vec::new(),
        },
        was: None,
    };
    world
        .service
        .documents
        .events(&world.actor())
        .unwrap()
        .publish(ids.iter().map(|id| event(*id)).collect());
    ids
}

#[tokio::test]
async fn what_changes_arrives_and_a_reader_resumes_without_loss_or_repeat() {
    let world = World::new().await;
    world.apply("before", "1").await.unwrap();
    let mut stream = Stream::open(&world, None).await;
    assert!(stream.is_silent().await, "what was before is read by lists");
    world.apply("w", "1").await.unwrap();
    let first = stream.next().await;
    assert_eq!((first.event.as_str(), &first.data["name"]), ("workload", &"w".into()));
    assert_eq!(first.data["type"], "workload");

    world.device("d-1").await;
    world.apply("w", "2").await.unwrap();
    world.apply("v", "1").await.unwrap();
    publish(&world, 3);
    let last = loop {
        let seen = stream.next().await;
        if seen.id == *world.service.documents.events(&world.actor()).unwrap().watch().borrow() {
            break seen;
        }
    };
    assert!(stream.is_silent().await);
    drop(stream);

    let from_first = first.id.to_string();
    let mut again = Stream::open(&world, Some(&from_first)).await;
    let mut all = vec![first];
    while all.last() != Some(&last) {
        all.push(again.next().await);
    }
    assert!(again.is_silent().await);
    assert!(all.len() >= 8, "{all:#?}");
    assert!(all.is_sorted_by(|one, next| one.id < next.id), "each has an id of its own: {all:#?}");
    for (index, seen) in all.iter().enumerate() {
        let mut resumed = Stream::open(&world, Some(&seen.id.to_string())).await;
        let rest = &all[index + 1..];
        assert_eq!(resumed.take(rest.len()).await, rest, "after {index}");
        assert!(resumed.is_silent().await, "after {index}");
    }
}

#[tokio::test]
async fn a_reader_that_is_far_behind_loses_nothing_that_is_still_kept() {
    let world = World::new().await;
    let ids = publish(&world, 1_000);
    let mut stream = Stream::open(&world, Some(&ids[0].to_string())).await;
    let mut seen = stream.take(600).await;
    let later = publish(&world, 100);
    seen.extend(stream.take(499).await);
    let seen: Vec<u64> = seen.into_iter().map(|seen| seen.id).collect();
    let wanted: Vec<u64> = ids[1..].iter().chain(&later).copied().collect();
    assert_eq!(seen, wanted);
    assert!(stream.is_silent().await);
}

#[tokio::test]
async fn an_id_that_is_long_gone_or_none_of_ours_begins_anew() {
    let world = World::new().await;
    let gone = publish(&world, 1)[0].to_string();
    publish(&world, 5_000);
    let newest = *world.service.documents.events(&world.actor()).unwrap().watch().borrow();
    let ahead = (newest + 1).to_string();
    for last in [gone.as_str(), "0", "nonsense", "-1", &ahead] {
        let mut stream = Stream::open(&world, Some(last)).await;
        let reset = stream.next().await;
        assert_eq!((reset.event.as_str(), reset.id), ("reset", newest), "{last}");
        assert_eq!(reset.data["type"], "reset");
        assert!(stream.is_silent().await, "{last}");
    }
    let mut stream = Stream::open(&world, Some(&gone)).await;
    stream.next().await;
    let next = publish(&world, 2);
    let seen: Vec<u64> = stream.take(2).await.into_iter().map(|seen| seen.id).collect();
    assert_eq!(seen, next, "after a reset it goes on");
}

#[tokio::test]
async fn a_quiet_stream_beats_within_fifteen_seconds_and_moves_nobodys_place() {
    let world = World::new().await;
    let mut stream = Stream::open(&world, None).await;
    assert!(stream.is_silent().await);
    let frame = tokio::time::timeout(Duration::from_secs(15), stream.body.frame()).await;
    let bytes = frame.expect("a heartbeat").unwrap().unwrap().into_data().unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    assert!(text.contains("event: heartbeat\n") && text.contains("data: {\"at\":\"2"), "{text}");
    assert!(!text.contains("id:"), "whoever resumes, resumes at the last event: {text}");
    world.apply("w", "1").await.unwrap();
    assert_eq!(stream.next().await.event, "workload");
}
