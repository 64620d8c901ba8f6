//! Hashing of passwords: two at a time, on threads that may block, with a bounded queue. A hash
//! takes 19 MiB, so a storm of logins would otherwise take all memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use crate::ports::passwords::Passwords;
use crate::service::Failure;

/// Hashes at a time.
const AT_ONCE: usize = 2;

/// Most logins that wait for a hash. At about 25 ms each the last one waits 3 s.
const WAITING: usize = 256;

/// Seconds after which whoever finds the queue full is told to try again.
const AGAIN: u64 = 3;

/// Queue of the hashes.
pub(super) struct Hashing {
    passwords: Arc<dyn Passwords>,
    places: Semaphore,
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
    pub(super) fn new(passwords: Arc<dyn Passwords>) -> Self {
        Self { passwords, places: Semaphore::new(AT_ONCE), waiting: AtomicUsize::new(0) }
    }

    /// Runs `work` when it is its turn.
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
        let _permit = self.places.acquire().await.map_err(Failure::internal)?;
        let passwords = Arc::clone(&self.passwords);
        let done = tokio::task::spawn_blocking(move || work(&*passwords)).await;
        done.map_err(Failure::internal)
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
        let hashing = Arc::new(Hashing::new(Arc::clone(&slow) as Arc<dyn Passwords>));
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
        slow.go.store(true, Ordering::SeqCst);
        while let Some(done) = all.join_next().await {
            assert!(done.unwrap().unwrap(), "whoever waited had its turn");
        }
        assert_eq!(slow.most.load(Ordering::SeqCst), AT_ONCE);
        assert_eq!(hashing.waiting.load(Ordering::SeqCst), 0);
    }
}
