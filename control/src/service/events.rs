//! What changed, for those who watch: a bounded ring that every reader reads at its own pace.
//! Whoever falls behind further than it reaches is told to read everything anew.
//! See decision 0113.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::api::Event;

/// Events that are kept, about 200 bytes each: minutes of a busy fleet, for readers that
/// reconnect.
const KEPT: usize = 2_048;

/// Events given to a reader at once.
const PAGE: usize = 256;

#[derive(Debug)]
struct Ring {
    /// Everything up to this id is not in the ring (any more).
    before: u64,
    events: VecDeque<Arc<(u64, Event)>>,
}

/// The ring.
#[derive(Debug)]
pub struct Events {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

/// What a reader gets.
#[derive(Debug)]
pub enum Page {
    /// These, and it is at this id now.
    Events(Vec<Arc<(u64, Event)>>),
    /// Events were missed; it is at this id now.
    Reset(u64),
}

impl Events {
    /// A ring that begins after this id.
    pub fn new(version: u64) -> Self {
        let ring = Ring { before: version, events: VecDeque::new() };
        Self { ring: Mutex::new(ring), newest: watch::Sender::new(version) }
    }

    /// Adds an event; its id is above all before.
    pub fn publish(&self, events: Vec<(u64, Event)>) {
        let Some(last) = events.last().map(|(id, _)| *id) else { return };
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            if ring.events.len() >= KEPT
                && let Some(oldest) = ring.events.pop_front()
            {
                ring.before = oldest.0;
            }
            ring.events.push_back(Arc::new(event));
        }
        drop(ring);
        self.newest.send_replace(last);
    }

    /// Tells of ids as they rise.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// What came after this id.
    pub fn after(&self, id: u64) -> Page {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = ring.events.back().map_or(ring.before, |event| event.0);
        if id < ring.before || id > newest {
            return Page::Reset(newest);
        }
        let start = ring.events.partition_point(|event| event.0 <= id);
        Page::Events(ring.events.iter().skip(start).take(PAGE).cloned().collect())
    }

    /// Forgets everything: readers begin anew after this id.
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

    fn event(id: u64) -> (u64, Event) {
        let text = String::new;
        let (kind, name, action, at, message) = (text(), text(), text(), text(), text());
        (id, Event { kind, name, action, at, message, parts: Vec::new() })
    }

    fn ids(page: Page) -> Vec<u64> {
        match page {
            Page::Events(events) => events.iter().map(|event| event.0).collect(),
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
