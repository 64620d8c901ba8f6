//! Live feeds of data records. A record is published once it is durable, and each reader takes
//! records at its own pace. A reader that is too slow loses the oldest ones and is told their
//! number.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use holdfast_base::ids::Name;

use crate::ports::bus::{Feed, Stored, Wanted};

/// Maximum number of batches that wait for one reader.
const WAITING: usize = 1_024;

/// Maximum number of bytes of values that wait for one reader. A single batch may be larger.
const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// Approximate memory of a batch, in bytes.
fn bytes(stored: &Stored) -> usize {
    stored.records.iter().map(|record| record.value.len() + 64).sum()
}

/// Batches that wait for one reader, their size in bytes, and the number of records that it lost.
#[derive(Default)]
struct Backlog {
    batches: VecDeque<Arc<Stored>>,
    bytes: usize,
    missed: u64,
    waker: Option<Waker>,
}

/// Reader's place among the feeds: whose streams it reads and which, and what waits for it.
struct Queue {
    tenant: Name,
    wanted: Wanted,
    backlog: Mutex<Backlog>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a batch. Drops the oldest ones when too many wait.
    fn push(&self, stored: &Arc<Stored>) {
        let mut waiting = self.lock();
        waiting.bytes += bytes(stored);
        waiting.batches.push_back(Arc::clone(stored));
        while waiting.batches.len() > WAITING
            || (waiting.bytes > WAITING_BYTES && waiting.batches.len() > 1)
        {
            let Some(oldest) = waiting.batches.pop_front() else { break };
            waiting.bytes -= bytes(&oldest);
            waiting.missed += u64::try_from(oldest.records.len()).unwrap_or(u64::MAX);
        }
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Feeds of all readers.
#[derive(Default)]
pub struct Feeds {
    queues: Mutex<Vec<Weak<Queue>>>,
}

impl std::fmt::Debug for Feeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feeds").field("readers", &self.readers()).finish()
    }
}

impl Feeds {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Queue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a reader that gets the records of a tenant's wanted streams from now on.
    pub fn subscribe(&self, tenant: Name, wanted: Wanted) -> DataFeed {
        let queue = Arc::new(Queue { tenant, wanted, backlog: Mutex::default() });
        let mut queues = self.lock();
        queues.retain(|known| known.strong_count() > 0);
        queues.push(Arc::downgrade(&queue));
        DataFeed { queue }
    }

    /// Hands durable records to every reader that wants their stream.
    pub fn publish(&self, stored: Stored) {
        let queues = self.lock();
        let chosen = queues.iter().filter_map(Weak::upgrade);
        let wants = |queue: &Arc<Queue>| {
            queue.tenant == stored.tenant && (queue.wanted)(&stored.device, &stored.stream)
        };
        let mut chosen = chosen.filter(wants).peekable();
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

    /// Number of readers of the feeds.
    pub fn readers(&self) -> usize {
        self.lock().iter().filter(|known| known.strong_count() > 0).count()
    }
}

/// Feed of one reader. Dropped, it ends the subscription.
pub struct DataFeed {
    queue: Arc<Queue>,
}

impl std::fmt::Debug for DataFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataFeed").finish_non_exhaustive()
    }
}

impl DataFeed {
    /// Waits for the next batch of records. Cancel-safe.
    pub async fn next(&mut self) -> Arc<Stored> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Returns the next batch of records when one waits.
    pub fn try_next(&mut self) -> Option<Arc<Stored>> {
        self.queue.lock().take()
    }

    /// Number of records that were lost since the last call.
    pub fn missed(&mut self) -> u64 {
        std::mem::take(&mut self.queue.lock().missed)
    }
}

impl Backlog {
    /// Takes the oldest batch.
    fn take(&mut self) -> Option<Arc<Stored>> {
        let next = self.batches.pop_front()?;
        self.bytes -= bytes(&next);
        Some(next)
    }
}

impl Feed for DataFeed {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Arc<Stored>> {
        let mut waiting = self.queue.lock();
        if let Some(next) = waiting.take() {
            return Poll::Ready(next);
        }
        waiting.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn missed(&mut self) -> u64 {
        Self::missed(self)
    }
}

#[cfg(test)]
mod tests {
    use holdfast_records::{Format, Record};

    use super::*;

    fn stored(seq: u64, size: usize) -> Stored {
        let record = Record { seq, time: 0, format: Format::Plain, value: vec![0; size] };
        let (tenant, device) = ("acme".parse().unwrap(), "d".parse().unwrap());
        Stored { tenant, device, stream: "s".parse().unwrap(), records: vec![record] }
    }

    #[test]
    fn a_slow_reader_loses_the_oldest_and_is_told_how_many() {
        let feeds = Feeds::default();
        let mut slow = feeds.subscribe("acme".parse().unwrap(), Box::new(|_, _| true));
        let other = Box::new(|device: &Name, _: &_| device.as_str() == "other");
        let mut none = feeds.subscribe("acme".parse().unwrap(), other);
        let mut stranger = feeds.subscribe("zeta".parse().unwrap(), Box::new(|_, _| true));
        assert_eq!(feeds.readers(), 3);
        let count = WAITING as u64 + 10;
        (1..=count).for_each(|seq| feeds.publish(stored(seq, 1)));
        assert_eq!(slow.try_next().unwrap().records[0].seq, 11);
        assert_eq!((slow.missed(), slow.missed()), (10, 0));
        assert!(none.try_next().is_none());
        assert!(stranger.try_next().is_none(), "it is of another tenant");
        (1..=9).for_each(|seq| feeds.publish(stored(seq, WAITING_BYTES / 4)));
        assert!(slow.missed() > WAITING as u64, "bytes are bounded as well");
        assert_eq!(slow.try_next().unwrap().records[0].seq, 7);
        drop((slow, none, stranger));
        assert_eq!(feeds.readers(), 0);
        feeds.publish(stored(1, 1));
    }
}
