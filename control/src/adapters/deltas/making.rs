//! The task that makes deltas: one child process at a time, with a time limit.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use super::{Deltas, MOST_BYTES, MOST_FILES, Pair};

/// Longest time that one delta may take. Pairs of 30 MB take ten seconds, of the largest that are
/// aligned closely about a minute; the machine may have other work.
const LONGEST: Duration = Duration::from_secs(600);
/// Share of an artifact that a delta may have at most to be kept, in percent: it has to pay for the
/// work of applying it.
const PAYS: u64 = 90;

/// Reason why a delta was not made.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    #[error("the program that makes it cannot be started: {0}")]
    Start(io::Error),
    #[error("it took longer than {} s", LONGEST.as_secs())]
    TooLong,
    #[error("the program that makes it ended with {0}")]
    Failed(std::process::ExitStatus),
    #[error("its file: {0}")]
    File(#[from] io::Error),
}

impl Deltas {
    /// Makes what is in the queue, for ever.
    pub async fn run(&self) {
        self.state().running = true;
        loop {
            let next = self.state().queue.pop_front();
            let Some(pair) = next else {
                self.wake.notified().await;
                continue;
            };
            let name = pair.name();
            let made = self.make(pair).await;
            if !matches!(made, Ok(Some(_))) {
                self.note_useless(pair);
            }
            match made {
                Ok(Some(bytes)) => tracing::info!(delta = name, bytes, "a delta is made"),
                Ok(None) => tracing::info!(delta = name, "a delta does not pay"),
                Err(error) => {
                    tracing::warn!(delta = name, %error, "a delta was not made: devices get the whole");
                }
            }
            self.state().since.remove(&pair);
        }
    }

    /// Makes a delta. Returns its size; `None` when it does not pay.
    async fn make(&self, pair: Pair) -> Result<Option<u64>, NotMade> {
        let (path, new) = (self.folder.join(pair.name()), self.whole.join(pair.new.hex()));
        let made = path.with_extension("new");
        let size = std::fs::metadata(&new)?.len();
        if super::super::disk(&self.folder).is_some_and(|disk| disk.free < size.saturating_mul(4)) {
            return Ok(None);
        }
        let worked = self.work(pair, &new, &made).await;
        let kept = worked.and_then(|()| {
            let bytes = std::fs::metadata(&made)?.len();
            // An artifact that went meanwhile leaves no delta behind.
            let both = new.exists() && pair.old.is_none_or(|old| self.size(&old).is_some());
            let pays = both && bytes > 0 && bytes < size / 100 * PAYS;
            if pays {
                std::fs::File::open(&made)?.sync_all()?;
                std::fs::rename(&made, &path)?;
            }
            Ok(pays.then_some(bytes))
        });
        if made.exists() {
            std::fs::remove_file(&made)?;
        }
        self.bound()?;
        kept
    }

    /// Notes that a delta does not pay or cannot be made, so that it is not tried again. Not before
    /// it was tried: until then devices wait for it.
    fn note_useless(&self, pair: Pair) {
        let there = self.size(&pair.new).is_some();
        let both = there && pair.old.is_none_or(|old| self.size(&old).is_some());
        if both && let Err(error) = std::fs::write(self.folder.join(pair.name()), []) {
            tracing::warn!(%error, "a delta that is no use is not noted, and may be tried again");
        }
    }

    async fn work(&self, pair: Pair, new: &Path, made: &Path) -> Result<(), NotMade> {
        // The program that runs, whatever stands under its name by now.
        let mut command = tokio::process::Command::new("/proc/self/exe");
        command.arg(super::child::NAME);
        match pair.old {
            Some(old) => command.arg(self.whole.join(old.hex())),
            None => command.arg(super::child::NO_BASE),
        };
        command.arg(new).arg(made).arg((pair.class << 20).to_string());
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let mut child = command.kill_on_drop(true).spawn().map_err(NotMade::Start)?;
        let ended = tokio::time::timeout(LONGEST, child.wait()).await;
        let Ok(ended) = ended else {
            child.kill().await.map_err(NotMade::Start)?;
            return Err(NotMade::TooLong);
        };
        let status = ended.map_err(NotMade::Start)?;
        if status.success() { Ok(()) } else { Err(NotMade::Failed(status)) }
    }

    /// Removes the oldest deltas beyond the quota.
    fn bound(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.folder)?.flatten() {
            let meta = entry.metadata()?;
            files.push((
                meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                meta.len(),
                entry.path(),
            ));
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|file| file.1).sum();
        let mut count = files.len();
        for (_, size, path) in files {
            if bytes <= MOST_BYTES && count <= MOST_FILES {
                break;
            }
            std::fs::remove_file(path)?;
            bytes -= size;
            count -= 1;
        }
        Ok(())
    }
}
