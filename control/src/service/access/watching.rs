//! Open streams (event streams, logs that are followed and others without an end), bounded for each
//! access token, because each holds memory and a connection for as long as its client likes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::service::Failure;

/// Maximum number of open streams of one kind for one access token: a browser's tabs and some
/// scripts. Everyone who uses the token shares them.
const EACH: usize = 16;

/// Time that a client with too many streams is told to wait, in seconds.
const AGAIN: u64 = 10;

/// Kind of stream, and id of the access token.
type Key = (&'static str, Box<str>);

/// Number of open streams by kind and access token.
#[derive(Debug, Default)]
pub(in crate::service) struct Watching(Mutex<BTreeMap<Key, usize>>);

impl Watching {
    /// Counts another stream until the returned guard is dropped.
    pub(in crate::service) fn begin(
        self: &Arc<Self>,
        what: &'static str,
        access: &str,
    ) -> Result<Watch, Failure> {
        let key: Key = (what, access.into());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(key.clone()).or_insert(0);
        if *count >= EACH {
            return Err(Failure::TooMany {
                message: format!(
                    "the access token {access} has {EACH} {what} open already, which is the most: close one, or use a token of its own for each program"
                ),
                seconds: AGAIN,
            });
        }
        *count += 1;
        Ok(Watch { all: Arc::clone(self), key })
    }
}

/// Guard of one open stream, which counts until it is dropped.
#[derive(Debug)]
pub struct Watch {
    all: Arc<Watching>,
    key: Key,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_has_its_own_bound_and_gets_it_back() {
        let all = Arc::new(Watching::default());
        let held: Vec<Watch> =
            (0..EACH).map(|_| all.begin("event streams", "a").unwrap()).collect();
        let refused = all.begin("event streams", "a").unwrap_err();
        assert!(matches!(&refused, Failure::TooMany { seconds: AGAIN, .. }), "{refused}");
        assert!(all.begin("event streams", "b").is_ok() && all.begin("logs", "a").is_ok());
        drop(held);
        assert!(all.begin("event streams", "a").is_ok());
        assert!(all.0.lock().unwrap().is_empty(), "nothing is kept of who has gone");
    }
}
