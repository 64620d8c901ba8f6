//! Hashing of passwords: on two threads of its own, with a bounded queue. A hash takes 19 MiB, so a
//! storm of logins would otherwise take all memory. The runtime's threads for blocking work would do
//! two at a time as well, but each of them that ever hashed keeps its 19 MiB: 465 MiB were measured.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::sync::oneshot;

use crate::ports::passwords::Passwords;
use crate::service::Failure;

/// Hashes at a time.
const AT_ONCE: usize = 2;

/// Most logins that wait for a hash. At about 25 ms each the last one waits 3 s.
const WAITING: usize = 256;

/// Seconds after which whoever finds the queue full is told to try again.
const AGAIN: u64 = 3;

/// Work for a thread.
type Job = Box<dyn FnOnce(&dyn Passwords) + Send>;

/// Queue of the hashes.
pub(super) struct Hashing {
    jobs: mpsc::Sender<Job>,
    waiting: AtomicUsize,
}

/// Place in the queue, which is given back when it is dropped, also by a client that has gone.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hashing {
    /// Starts the threads. They end when the queue is dropped.
    pub(super) fn new(passwords: &Arc<dyn Passwords>) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..AT_ONCE {
            let (queue, passwords) = (Arc::clone(&queue), Arc::clone(passwords));
            let work = move || {
                loop {
                    // One thread waits for the next job, the other for its turn to wait.
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = next else { return };
                    job(&*passwords);
                }
            };
            let made = std::thread::Builder::new().name(format!("hash-{number}")).spawn(work);
            if let Err(error) = made {
                tracing::error!(%error, "a thread that hashes passwords cannot be started");
            }
        }
        Self { jobs, waiting: AtomicUsize::new(0) }
    }

    /// Runs `work` when it is its turn. Whoever has gone meanwhile costs nothing any more.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Passwords) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _place = Place(&self.waiting);
        if before >= WAITING {
            return Err(Failure::TooMany {
                message: format!("{WAITING} logins wait already: try again in {AGAIN} s"),
                seconds: AGAIN,
            });
        }
        let (done, answer) = oneshot::channel();
        let job = move |passwords: &dyn Passwords| {
            if !done.is_closed() {
                let _gone = done.send(work(passwords));
            }
        };
        self.jobs.send(Box::new(job)).map_err(Failure::internal)?;
        answer.await.map_err(Failure::internal)
    }

    /// True if `hash` is of this password. Without a hash it takes as long and is false.
    pub(super) async fn check(
        &self,
        password: String,
        hash: Option<Box<str>>,
    ) -> Result<bool, Failure> {
        self.run(move |passwords| passwords.check(&password, hash.as_deref())).await
    }

    /// Hashes a password.
    pub(super) async fn hash(&self, password: String, salt: [u8; 16]) -> Result<Box<str>, Failure> {
        let hash = self.run(move |passwords| passwords.hash(&password, salt)).await?;
        hash.map(Into::into).map_err(Failure::internal)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::*;
    use crate::ports::passwords::PasswordError;

    /// Counts how many hashes run at a time, and runs them until it is told to end.
    #[derive(Default)]
    struct Slow {
        running: AtomicUsize,
        most: AtomicUsize,
        go: AtomicBool,
    }

    impl Passwords for Slow {
        fn hash(&self, _: &str, _: [u8; 16]) -> Result<String, PasswordError> {
            Ok(String::new())
        }

        fn check(&self, _: &str, _: Option<&str>) -> bool {
            let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            while !self.go.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.running.fetch_sub(1, Ordering::SeqCst);
            true
        }
    }

    #[tokio::test]
    async fn two_are_hashed_at_a_time_and_the_queue_has_an_end() {
        let slow = Arc::new(Slow::default());
        let hashing = Arc::new(Hashing::new(&(Arc::clone(&slow) as Arc<dyn Passwords>)));
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..WAITING + 50 {
            let hashing = Arc::clone(&hashing);
            all.spawn(async move { hashing.check("x".into(), None).await });
        }
        let mut refused = 0;
        while refused < 50 {
            let done = all.join_next().await.unwrap().unwrap();
            assert!(matches!(done, Err(Failure::TooMany { seconds: AGAIN, .. })), "{done:?}");
            refused += 1;
        }
        while slow.running.load(Ordering::SeqCst) < AT_ONCE {
            tokio::task::yield_now().await;
        }
        slow.go.store(true, Ordering::SeqCst);
        while let Some(done) = all.join_next().await {
            assert!(done.unwrap().unwrap(), "whoever waited had its turn");
        }
        assert_eq!(slow.most.load(Ordering::SeqCst), AT_ONCE);
        assert_eq!(hashing.waiting.load(Ordering::SeqCst), 0);
    }
}
