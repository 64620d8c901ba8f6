//! Output of containers: the engine's stream of each is copied into the workload's own bounded log,
//! and goes on after a restart of the agent or of the engine where it was.
//!
//! The time of the last line that was copied is kept beside the log. An agent that dies between a
//! line and its time copies that line once more.
//!
//! See decision 0175.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::engine::{Engine, next};
use crate::adapters::{files, tasks};
use crate::core::container::Part;
use crate::core::container::frames::{Frames, since};

/// Bytes a second that are copied of one container, on average: more would only wear out the disk,
/// since a log keeps a megabyte.
const RATE: usize = 4 << 20;
/// Length of the text that is kept beside a log: an id and a time.
const PLACE: usize = 96;
/// First and longest pause before a stream is asked for again that broke. It doubles while nothing
/// comes: an engine that ends each stream at once is not polled.
const AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// Where the output of a container goes.
#[derive(Debug, Clone)]
struct Target {
    file: PathBuf,
    /// Name within the group, which is written before each line. Empty: none is.
    name: String,
}

/// Outputs of all containers.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    targets: Mutex<BTreeMap<String, Target>>,
    /// Copies under way, by container: false once one has come to its end.
    copies: Mutex<BTreeMap<String, watch::Receiver<bool>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outputs {
    /// Takes down that the output of a container goes to this file.
    pub(super) fn goes_to(&self, part: &Part, file: &Path) {
        let target = Target { file: file.to_owned(), name: part.name.clone() };
        locked(&self.targets).insert(part.id.clone(), target);
    }

    /// Begins to copy the output of a container that runs or has run, unless it is being copied.
    pub(super) fn begin(&self, engine: &Engine, id: &str) {
        let Some(target) = locked(&self.targets).get(id).cloned() else { return };
        let mut copies = locked(&self.copies);
        if copies.get(id).is_some_and(|copy| *copy.borrow()) {
            return;
        }
        let (tell, goes_on) = watch::channel(true);
        copies.insert(id.to_owned(), goes_on);
        let (engine, id) = (engine.clone(), id.to_owned());
        tasks::spawn(async move {
            copy(&engine, &id, &target).await;
            tell.send_replace(false);
        });
    }

    /// Waits until the output of a container that has ended is copied, for a time at most.
    pub(super) async fn drained(&self, id: &str, within: Duration) {
        let copy = locked(&self.copies).get(id).cloned();
        if let Some(mut copy) = copy {
            let ended = copy.wait_for(|goes_on| !*goes_on);
            let _at_most = tokio::time::timeout(within, ended).await;
        }
    }

    /// Forgets a container that is gone.
    pub(super) fn forget(&self, id: &str) {
        locked(&self.targets).remove(id);
        locked(&self.copies).remove(id);
    }

    /// Writes a line of the agent's own into the log that a container's output goes to.
    pub(super) fn say(&self, id: &str, line: &str) {
        let target = locked(&self.targets).get(id).cloned();
        if let Some(Ok(mut log)) = target.map(|target| open(&target.file)) {
            let _full_disk = log.write_all(format!("holdfast: {line}\n").as_bytes());
        }
    }
}

fn open(file: &Path) -> std::io::Result<File> {
    let flags = i32::from_ne_bytes(rustix::fs::OFlags::NOFOLLOW.bits().to_ne_bytes());
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(flags).open(file)
}

/// Copies until the container has ended and everything is copied, or it is gone.
async fn copy(engine: &Engine, id: &str, target: &Target) {
    let mut log = match Log::open(id, target) {
        Ok(log) => log,
        Err(error) => {
            tracing::error!(file = %target.file.display(), %error, "a container's output is lost");
            return;
        }
    };
    let mut again = AGAIN.0;
    loop {
        let here = engine.here().await;
        let since = since(log.last);
        let path =
            format!("/containers/{id}/logs?follow=1&stdout=1&stderr=1&timestamps=1&since={since}");
        let mut body = match here.client.stream("GET", &path, None).await {
            Ok(body) => body,
            Err(error) if error.refusal().is_some() => return,
            Err(_) => {
                tokio::time::sleep(again).await;
                again = (again * 2).min(AGAIN.1);
                continue;
            }
        };
        log.resumes();
        loop {
            match next(&mut body).await {
                Ok(Some(bytes)) => {
                    again = AGAIN.0;
                    log.take(&bytes);
                    tokio::time::sleep(pause(bytes.len())).await;
                }
                Ok(None) => {
                    // The container has ended, or the engine has.
                    if engine.is_done(id).await {
                        return;
                    }
                    break;
                }
                Err(_) => break,
            }
        }
        tokio::time::sleep(again).await;
        again = (again * 2).min(AGAIN.1);
    }
}

/// Time that so many bytes take at the highest rate.
fn pause(bytes: usize) -> Duration {
    Duration::from_micros(u64::try_from(bytes.saturating_mul(1_000_000) / RATE).unwrap_or(0))
}

/// Log of a workload, as one container writes to it.
struct Log {
    log: File,
    place: File,
    id: String,
    name: String,
    frames: Frames,
    /// Time of the last line that was copied, in nanoseconds since 1970.
    last: u64,
    /// Lines up to this time were copied before this stream began.
    copied: u64,
    /// True at the beginning of a line.
    fresh: bool,
}

impl Log {
    fn open(id: &str, target: &Target) -> std::io::Result<Self> {
        let extension =
            if target.name.is_empty() { "at".into() } else { format!("{}.at", target.name) };
        let path = target.file.with_extension(extension);
        let kept = files::read(&path, 256).unwrap_or_default();
        let kept = String::from_utf8_lossy(&kept).into_owned();
        let mut words = kept.split_whitespace();
        let same = words.next() == Some(id);
        let last = words.next().and_then(|it| it.parse().ok()).filter(|_| same).unwrap_or(0);
        let place = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)?;
        Ok(Self {
            log: open(&target.file)?,
            place,
            id: id.to_owned(),
            name: target.name.clone(),
            frames: Frames::default(),
            last,
            copied: last,
            fresh: true,
        })
    }

    /// Begins another stream, which may tell once more what was copied.
    fn resumes(&mut self) {
        self.frames = Frames::default();
        self.copied = self.last;
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut text = Vec::with_capacity(bytes.len());
        let mut skipping = false;
        for piece in self.frames.take(bytes) {
            if let Some(time) = piece.time {
                skipping = time <= self.copied;
                self.last = self.last.max(time);
            }
            if !skipping {
                self.add(&mut text, &piece.bytes);
            }
        }
        if text.is_empty() {
            return;
        }
        // A full disk loses output, as it does of a process.
        if let Err(error) = self.log.write_all(&text) {
            tracing::warn!(container = %self.id, %error, "its output cannot be kept");
        }
        let place = format!("{} {}", self.id, self.last);
        let _next_time = self.place.write_all_at(format!("{place:<PLACE$}\n").as_bytes(), 0);
    }

    /// Adds output, with the container's name before each line.
    fn add(&mut self, text: &mut Vec<u8>, bytes: &[u8]) {
        if self.name.is_empty() {
            text.extend_from_slice(bytes);
            return;
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.fresh {
                text.extend_from_slice(format!("{} | ", self.name).as_bytes());
            }
            text.extend_from_slice(line);
            self.fresh = line.ends_with(b"\n");
        }
    }
}
