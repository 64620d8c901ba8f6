//! Events for those who watch, in a bounded ring that every reader reads at its own pace. A reader
//! that falls behind the ring's oldest event is told to read everything again.
//!
//! See decision 0113.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::api::Event;
use crate::core::change::Told;

/// Number of events in the ring, about 200 bytes each. It covers some minutes of a busy fleet, so
/// that readers can reconnect.
const KEPT: usize = 2_048;

/// Maximum number of events that a reader gets at once.
const PAGE: usize = 256;

/// Newest events and the id before them.
#[derive(Debug)]
struct Ring {
    /// Id before the ring's oldest event: events up to this id are not in the ring.
    before: u64,
    events: VecDeque<Arc<Told>>,
}

/// Ring of the newest events, and a signal for new ones.
#[derive(Debug)]
pub struct Events {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

/// Result of reading the ring.
#[derive(Debug)]
pub enum Page {
    /// Events after the asked id, in order; empty when there are none.
    Events(Vec<Arc<Told>>),
    /// Events were missed, so everything must be read again. Holds the newest id.
    Reset(u64),
}

/// Events as one reader may read them.
#[derive(Debug)]
pub struct EventsRead {
    /// Events with their ids, in order. None: events were missed, and everything must be read again.
    pub events: Option<Vec<(u64, Event)>>,
    /// Id to go on from.
    pub newest: u64,
}

impl Events {
    /// Makes an empty ring that begins after this id.
    pub fn new(version: u64) -> Self {
        let ring = Ring { before: version, events: VecDeque::new() };
        Self { ring: Mutex::new(ring), newest: watch::Sender::new(version) }
    }

    /// Adds events and wakes readers. Their ids must rise and be above all before.
    pub fn publish(&self, events: Vec<Told>) {
        let Some(last) = events.last().map(|told| told.id) else { return };
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            if ring.events.len() >= KEPT
                && let Some(oldest) = ring.events.pop_front()
            {
                ring.before = oldest.id;
            }
            ring.events.push_back(Arc::new(event));
        }
        drop(ring);
        self.newest.send_replace(last);
    }

    /// Returns a receiver of the newest id.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Returns up to 256 events after this id.
    pub fn after(&self, id: u64) -> Page {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = ring.events.back().map_or(ring.before, |told| told.id);
        if id < ring.before || id > newest {
            return Page::Reset(newest);
        }
        let start = ring.events.partition_point(|told| told.id <= id);
        Page::Events(ring.events.iter().skip(start).take(PAGE).cloned().collect())
    }

    /// Empties the ring. Readers read everything again and go on after this id.
    pub fn reset(&self, version: u64) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.events.clear();
        ring.before = version;
        drop(ring);
        self.newest.send_replace(version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: u64) -> Told {
        let text = String::new;
        let (kind, name, action, at, message) = (text(), text(), text(), text(), text());
        let event = Event { kind, name, action, at, message, parts: Vec::new() };
        Told { id, event, was: None }
    }

    fn ids(page: Page) -> Vec<u64> {
        match page {
            Page::Events(events) => events.iter().map(|told| told.id).collect(),
            Page::Reset(id) => panic!("reset to {id}"),
        }
    }

    #[test]
    fn readers_resume_where_they_were_or_are_told_to_begin_anew() {
        let events = Events::new(100);
        events.publish(vec![event(101), event(105)]);
        assert_eq!(ids(events.after(100)), [101, 105]);
        assert_eq!(ids(events.after(103)), [105]);
        assert!(ids(events.after(105)).is_empty());
        assert!(matches!(events.after(99), Page::Reset(105)), "of an earlier process");
        assert!(matches!(events.after(106), Page::Reset(105)), "of a later one, since restored");
        for id in 106..106 + KEPT as u64 {
            events.publish(vec![event(id)]);
        }
        assert!(matches!(events.after(101), Page::Reset(_)));
        assert_eq!(ids(events.after(105)).len(), PAGE);
    }
}
