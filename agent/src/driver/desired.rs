//! Desired state: verified, its version checked, stored, and only then followed. One that cannot be
//! stored is followed as far as it stops workloads, so that whatever fills the disk can be stopped
//! from afar. What is accepted is decided by [`Acceptance`]; here are the files and the order of
//! the steps.
//!
//! See decisions 0007, 0105 and 0145.

use std::io;
use std::path::{Path, PathBuf};

use holdfast_base::ids::{DeviceId, StateVersion};
use holdfast_protocol::message::DesiredState;
use holdfast_protocol::problem::ProblemCode;
use holdfast_protocol::signing::{self, SigningError};
use rumqttc::mqttbytes::v5::Publish;

use super::folder::DataFolder;
use super::problems::Problems;
use super::witness::AuditWitness;
use crate::adapters::{crash, files};
use crate::core::acceptance::{Acceptance, Begin, FILE_STEPS, FileStep, Offered, Waiting, begin};
use crate::core::agent::Agent;

/// Name of the file that reserves disk space for a desired state.
const RESERVE: &str = "reserve";

/// Path of the present desired state.
fn path(data: &Path) -> PathBuf {
    data.join("desired.cose")
}

/// Path of the desired state before the present one, for when that is damaged.
fn previous(data: &Path) -> PathBuf {
    data.join("desired.previous.cose")
}

/// Reads the desired states on disk, and checks their signatures like those of states from the
/// network. `has_saved`: saved states of workloads exist.
pub(super) fn load(data: &Path, key: &[u8], device: &DeviceId, has_saved: bool) -> Begin {
    let spare = || read(&previous(data), key, device).unwrap_or_default();
    begin(read(&path(data), key, device), spare, has_saved)
}

/// Reason why a file holds no desired state that can be followed.
#[derive(Debug, thiserror::Error)]
enum Untrusted {
    #[error("{}: {}", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    #[error("{}: {}", .0.display(), .1)]
    Refused(PathBuf, SigningError),
}

fn read(path: &Path, key: &[u8], device: &DeviceId) -> Result<Option<DesiredState>, Untrusted> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Untrusted::Unreadable(path.to_owned(), error)),
    };
    let state = signing::verify(&bytes, key, device);
    state.map(Some).map_err(|error| Untrusted::Refused(path.to_owned(), error))
}

/// Answer to a desired state that came down the link. A delivery in it is acknowledged now.
pub(super) enum Answer {
    /// It is held already; None: it still waits to be stored, and its delivery with it.
    Known(Option<Publish>),
    /// It cannot be trusted, for this reason.
    Refused(String, Publish),
    /// It is newer, and waits to be stored.
    Store,
}

/// Desired states that were offered, and their files.
pub(super) struct DesiredStates {
    data: PathBuf,
    acceptance: Acceptance<Publish>,
    /// Text about a desired state that cannot be stored.
    unstored: Option<String>,
    /// Text about a desired state on disk that cannot be trusted.
    untrusted: Option<String>,
    /// Checkpoints of the audit log that desired states carried.
    witness: AuditWitness,
}

impl DesiredStates {
    /// Begins with the lowest version that is accepted. `trouble`: the reason for which the state
    /// on disk cannot be trusted.
    pub(super) fn new(data: &Path, least: StateVersion, trouble: Option<String>) -> Self {
        Self {
            data: data.to_owned(),
            acceptance: Acceptance::new(least),
            unstored: None,
            untrusted: trouble.map(|why| format!("{why}: what ran goes on")),
            witness: AuditWitness::load(data),
        }
    }

    /// Verifies a desired state that came down the link, and compares its version with the one
    /// that is `followed`.
    pub(super) fn offer(
        &mut self,
        publish: Publish,
        (key, device): (&[u8], &DeviceId),
        followed: StateVersion,
    ) -> Answer {
        let state: DesiredState = match signing::verify(&publish.payload, key, device) {
            Ok(state) => state,
            Err(error) => return Answer::Refused(error.to_string(), publish),
        };
        let (bytes, epoch) = (publish.payload.clone(), state.epoch);
        let carried = state.audit;
        match self.acceptance.offer(followed, &bytes, state, publish) {
            Offered::Known(publish) => {
                self.witness.keep(epoch, carried);
                Answer::Known(publish)
            }
            Offered::Stale { held, offered, receipt } => {
                let why = format!("it is {offered}, older than {held} that is held: a replay");
                Answer::Refused(why, receipt)
            }
            Offered::Store { restored } => {
                if restored {
                    tracing::warn!(
                        epoch,
                        "the control plane was restored from a backup: following its new epoch"
                    );
                }
                crash::point("desired-verified");
                Answer::Store
            }
        }
    }

    /// Forgets the versions of a former identity: workloads go on running until the first desired
    /// state for the new identity comes, whatever its version.
    pub(super) fn forget_versions(&mut self) {
        self.acceptance.forget();
        self.witness.forget();
        self.unstored = None;
    }

    /// Stores the desired state that waits. Returns it once it is stored, to be followed. One that
    /// cannot be stored ends the workloads that it does not contain.
    pub(super) fn store(
        &mut self,
        agent: &mut Agent,
        folder: &mut DataFolder,
    ) -> Option<Waiting<Publish>> {
        let waiting = self.acceptance.waiting()?;
        match self.write(&waiting.bytes) {
            Ok(()) => {
                crash::point("desired-stored");
                self.unstored = None;
                self.untrusted = None;
                let stored = self.acceptance.stored()?;
                self.witness.keep(stored.state.epoch, stored.state.audit);
                tracing::info!(version = %stored.state.version(), "following a desired state");
                Some(stored)
            }
            Err(error) => {
                // It is not acknowledged: after a crash the last one is followed again, and the
                // newer one is redelivered.
                agent.end_unwanted(&waiting.state);
                folder.note_io("the desired state cannot be stored", &error);
                self.unstored = Some(format!(
                    "a newer desired state cannot be stored ({error}): the last one is followed until it can, but for workloads that the newer one ends"
                ));
                None
            }
        }
    }

    /// Returns the reply's body to a question about the audit log.
    pub(super) fn testimony(&self) -> Vec<u8> {
        self.witness.testimony()
    }

    /// Keeps the checkpoint of the desired state that was read from the disk, in case the agent
    /// ended before it was kept.
    pub(super) fn remember(&mut self, state: &DesiredState) {
        self.witness.keep(state.epoch, state.audit);
    }

    /// Adds the problems of desired states.
    pub(super) fn problems(&self, list: &mut Problems) {
        list.say(ProblemCode::DesiredNotStored, self.unstored.clone());
        list.say(ProblemCode::AuditContradicted, self.witness.problem());
        list.say(ProblemCode::DesiredUntrusted, self.untrusted.clone());
    }

    /// Writes the files in the order of [`FILE_STEPS`].
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let (present, former) = (path(&self.data), previous(&self.data));
        let mut written = Ok(());
        for step in FILE_STEPS {
            match step {
                FileStep::DropSpare => {
                    let _none_yet = std::fs::remove_file(&former);
                }
                FileStep::KeepSpare => {
                    // Where there is no space or no support for hard links, there is none.
                    let _no_spare = std::fs::hard_link(&present, &former);
                }
                FileStep::Replace => written = self.replace(&present, bytes),
            }
        }
        written
    }

    fn replace(&self, present: &Path, bytes: &[u8]) -> io::Result<()> {
        let stored = files::replace(present, bytes, 0o600);
        if !stored.as_ref().is_err_and(files::is_full) {
            return stored;
        }
        let reserve = self.data.join(RESERVE);
        files::replace_from(&reserve, present, bytes).or(stored)
    }

    /// Reserves disk space for a desired state, as far as there is any: `free` bytes.
    pub(super) fn hold_room(&self, free: u64) {
        files::reserve(&self.data.join(RESERVE), free);
    }
}
