//! Records on their way to those who read along: told once they are safe, each reader at its own
//! pace. A reader that is too slow loses the oldest, and is told how many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use holdfast_protocol::data::{Record, StreamName};
use holdfast_protocol::ids::Name;
use tokio::sync::Notify;

/// Batches that wait for one reader.
const WAITING: usize = 1_024;

/// Bytes of values that wait for one reader; a batch alone may be larger.
const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// Records of one stream that were stored together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Whose.
    pub device: Name,
    /// Of which stream.
    pub stream: StreamName,
    /// By number; none of them was ever told before.
    pub records: Vec<Record>,
}

impl Stored {
    fn bytes(&self) -> usize {
        self.records.iter().map(|record| record.value.len() + 64).sum()
    }
}

type Filter = Box<dyn Fn(&Name, &StreamName) -> bool + Send + Sync>;

#[derive(Default)]
struct Waiting {
    batches: VecDeque<Arc<Stored>>,
    bytes: usize,
    missed: u64,
}

struct Queue {
    filter: Filter,
    waiting: Mutex<Waiting>,
    more: Notify,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, stored: &Arc<Stored>) {
        let mut waiting = self.lock();
        waiting.bytes += stored.bytes();
        waiting.batches.push_back(Arc::clone(stored));
        while waiting.batches.len() > WAITING
            || (waiting.bytes > WAITING_BYTES && waiting.batches.len() > 1)
        {
            let Some(oldest) = waiting.batches.pop_front() else { break };
            waiting.bytes -= oldest.bytes();
            waiting.missed += u64::try_from(oldest.records.len()).unwrap_or(u64::MAX);
        }
        drop(waiting);
        self.more.notify_one();
    }
}

/// Everybody who reads along.
#[derive(Default)]
pub(super) struct Feeds {
    queues: Mutex<Vec<Weak<Queue>>>,
}

impl Feeds {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Queue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads along from now on.
    pub(super) fn subscribe(&self, filter: Filter) -> DataFeed {
        let queue = Arc::new(Queue { filter, waiting: Mutex::default(), more: Notify::new() });
        let mut queues = self.lock();
        queues.retain(|known| known.strong_count() > 0);
        queues.push(Arc::downgrade(&queue));
        DataFeed { queue }
    }

    /// Tells of records that are safe.
    pub(super) fn publish(&self, stored: Stored) {
        let queues = self.lock();
        let chosen = queues.iter().filter_map(Weak::upgrade);
        let mut chosen =
            chosen.filter(|queue| (queue.filter)(&stored.device, &stored.stream)).peekable();
        if chosen.peek().is_none() {
            return;
        }
        let chosen: Vec<_> = chosen.collect();
        drop(queues);
        let stored = Arc::new(stored);
        for queue in chosen {
            queue.push(&stored);
        }
    }

    /// How many read along.
    pub(super) fn readers(&self) -> usize {
        self.lock().iter().filter(|known| known.strong_count() > 0).count()
    }
}

/// One reader's place. Dropped, it reads no more.
pub struct DataFeed {
    queue: Arc<Queue>,
}

impl std::fmt::Debug for DataFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataFeed").finish_non_exhaustive()
    }
}

impl DataFeed {
    /// The next records, when there are some. Safe to drop and call again.
    pub async fn next(&mut self) -> Arc<Stored> {
        loop {
            if let Some(stored) = self.try_next() {
                return stored;
            }
            self.queue.more.notified().await;
        }
    }

    /// The next records, if there are some.
    pub fn try_next(&mut self) -> Option<Arc<Stored>> {
        let mut waiting = self.queue.lock();
        let next = waiting.batches.pop_front()?;
        waiting.bytes -= next.bytes();
        Some(next)
    }

    /// How many records it lost since this was last asked.
    pub fn missed(&mut self) -> u64 {
        std::mem::take(&mut self.queue.lock().missed)
    }
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::data::Format;

    use super::*;

    fn stored(seq: u64, size: usize) -> Stored {
        let record = Record { seq, time: 0, format: Format::Plain, value: vec![0; size] };
        Stored { device: "d".parse().unwrap(), stream: "s".parse().unwrap(), records: vec![record] }
    }

    #[test]
    fn a_slow_reader_loses_the_oldest_and_is_told_how_many() {
        let feeds = Feeds::default();
        let mut slow = feeds.subscribe(Box::new(|_, _| true));
        let mut none = feeds.subscribe(Box::new(|device, _| device.as_str() == "other"));
        assert_eq!(feeds.readers(), 2);
        let count = WAITING as u64 + 10;
        (1..=count).for_each(|seq| feeds.publish(stored(seq, 1)));
        assert_eq!(slow.try_next().unwrap().records[0].seq, 11);
        assert_eq!((slow.missed(), slow.missed()), (10, 0));
        assert!(none.try_next().is_none());
        (1..=9).for_each(|seq| feeds.publish(stored(seq, WAITING_BYTES / 4)));
        assert!(slow.missed() > WAITING as u64, "bytes are bounded as well");
        assert_eq!(slow.try_next().unwrap().records[0].seq, 7);
        drop((slow, none));
        assert_eq!(feeds.readers(), 0);
        feeds.publish(stored(1, 1));
    }
}
