//! Notification when something is written to a log that was silent, by inotify with one descriptor
//! for all logs. Each watch fires once and is armed again after the log was looked at, so that a
//! flood of output fires no more often than it is looked at, and a silent log costs nothing.
//!
//! See decision 0038.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use holdfast_base::ids::Name;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Size of the read buffer in bytes: some tens of events.
const BUFFER: usize = 1024;

/// Watches on workloads' logs.
#[derive(Debug)]
pub struct LogWatch {
    /// Descriptor of inotify; `None` when the system gives none, and the caller has to poll.
    inotify: Option<AsyncFd<OwnedFd>>,
    names: BTreeMap<i32, Name>,
}

impl LogWatch {
    /// Creates the descriptor; nothing is watched yet.
    pub fn begin() -> Self {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        #[allow(
            deprecated,
            reason = "sound for an OwnedFd, which cannot be closed behind its back; what replaces it is unsafe to call"
        )]
        let registered = inotify
            .map_err(std::io::Error::from)
            .and_then(|fd| AsyncFd::with_interest(fd, Interest::READABLE));
        if let Err(error) = &registered {
            tracing::warn!(%error, "logs cannot be watched and are looked at every few seconds");
        }
        Self { inotify: registered.ok(), names: BTreeMap::new() }
    }

    /// False when there is no descriptor, so that nothing is ever reported.
    pub fn works(&self) -> bool {
        self.inotify.is_some()
    }

    /// Arms the watch on a log, which fires once. False when it cannot be armed: there is no log
    /// yet, or the system has no more watches.
    pub fn arm(&mut self, name: &Name, log: &Path) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        let flags = WatchFlags::MODIFY | WatchFlags::ONESHOT | WatchFlags::DONT_FOLLOW;
        match inotify::add_watch(inotify.get_ref(), log, flags) {
            Ok(watch) => {
                self.names.insert(watch, name.clone());
                true
            }
            Err(_) => false,
        }
    }

    /// Waits until something is written to armed logs; returns the workloads that they belong to.
    pub async fn written(&mut self) -> Vec<Name> {
        let Some(inotify) = &self.inotify else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = inotify.readable().await else {
                return std::future::pending().await;
            };
            let written = drain(inotify.get_ref(), &mut self.names);
            ready.clear_ready();
            if !written.is_empty() {
                return written;
            }
        }
    }
}

fn drain(inotify: &OwnedFd, names: &mut BTreeMap<i32, Name>) -> Vec<Name> {
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    let mut written = Vec::new();
    // Ends when nothing is left: each watch gives at most two events, the second when it is
    // removed.
    while let Ok(event) = reader.next() {
        let name = names.remove(&event.wd());
        if event.events().contains(ReadFlags::MODIFY) {
            written.extend(name);
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn each_log_is_told_once_and_again_only_when_it_is_armed_again() {
        let scratch = tempfile::tempdir().unwrap();
        let (a, b): (Name, Name) = ("a".parse().unwrap(), "b".parse().unwrap());
        let path = |name: &Name| scratch.path().join(name.as_str());
        let open = |name: &Name| {
            std::fs::OpenOptions::new().append(true).create(true).open(path(name)).unwrap()
        };
        let mut watch = LogWatch::begin();
        assert!(!watch.arm(&a, &path(&a)), "there is no log yet");
        let (mut to_a, mut to_b) = (open(&a), open(&b));
        assert!(watch.arm(&a, &path(&a)) && watch.arm(&b, &path(&b)));
        for _ in 0..3 {
            writeln!(to_b, "x").unwrap();
        }
        assert_eq!(watch.written().await, std::slice::from_ref(&b));
        let silence = tokio::time::timeout(Duration::from_millis(50), watch.written());
        assert!(silence.await.is_err(), "it was not armed again");
        writeln!(to_a, "x").unwrap();
        assert!(watch.arm(&b, &path(&b)));
        writeln!(to_b, "x").unwrap();
        assert_eq!(watch.written().await, [a, b]);
        assert!(watch.names.is_empty(), "nothing is left behind");
    }
}
