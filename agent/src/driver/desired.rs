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
use holdfast_protocol::signing::{self, SigningError};
use rumqttc::mqttbytes::v5::Publish;

use super::Driver;
use crate::adapters::{crash, files};
use crate::core::acceptance::{Acceptance, Begin, FILE_STEPS, FileStep, Offered, begin};

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

/// Desired states that were offered, and their files.
pub(super) struct DesiredStates {
    data: PathBuf,
    acceptance: Acceptance<Publish>,
}

impl DesiredStates {
    /// Begins with the lowest version that is accepted.
    pub(super) fn new(data: &Path, least: StateVersion) -> Self {
        Self { data: data.to_owned(), acceptance: Acceptance::new(least) }
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

impl Driver {
    /// Handles a desired state that came down the link.
    pub(super) fn offered(&mut self, publish: Publish) {
        let Some((key, device)) = self.identity.key() else { return };
        let state: DesiredState = match signing::verify(&publish.payload, &key, &device) {
            Ok(state) => state,
            Err(error) => {
                self.refuse("a desired state", &error.to_string());
                return self.acknowledge(Some(&publish));
            }
        };
        let (bytes, epoch) = (publish.payload.clone(), state.epoch);
        match self.desired.acceptance.offer(self.agent.version(), &bytes, state, publish) {
            Offered::Known(publish) => {
                self.trouble.refusal = None;
                self.acknowledge(publish.as_ref());
            }
            Offered::Stale { held, offered, receipt } => {
                let why = format!("it is {offered}, older than {held} that is held: a replay");
                self.refuse("a desired state", &why);
                self.acknowledge(Some(&receipt));
            }
            Offered::Store { restored } => {
                if restored {
                    tracing::warn!(
                        epoch,
                        "the control plane was restored from a backup: following its new epoch"
                    );
                }
                crash::point("desired-verified");
                self.trouble.refusal = None;
                self.store_desired();
            }
        }
    }

    /// Forgets the versions of a former identity: workloads go on running until the first desired
    /// state for the new identity comes, whatever its version.
    pub(super) fn forget_versions(&mut self) {
        self.desired.acceptance.forget();
        self.trouble.desired = None;
        self.trouble.refusal = None;
    }

    /// Stores the desired state that waits, and follows it once it is stored.
    pub(super) fn store_desired(&mut self) {
        let Some(waiting) = self.desired.acceptance.waiting() else { return };
        match self.desired.write(&waiting.bytes) {
            Ok(()) => {
                crash::point("desired-stored");
                self.trouble.desired = None;
                self.trouble.untrusted = None;
                let Some(stored) = self.desired.acceptance.stored() else { return };
                tracing::info!(version = %stored.state.version(), "following a desired state");
                self.follow(&stored.state);
                self.acknowledge(stored.receipt.as_ref());
            }
            Err(error) => {
                // It is not acknowledged: after a crash the last one is followed again, and the
                // newer one is redelivered.
                self.agent.end_unwanted(&waiting.state);
                self.note_io("the desired state cannot be stored", &error);
                self.trouble.desired = Some(format!(
                    "a newer desired state cannot be stored ({error}): the last one is followed until it can, but for workloads that the newer one ends"
                ));
            }
        }
    }

    /// Gives a stored desired state to everything that follows it.
    fn follow(&mut self, state: &DesiredState) {
        self.agent.follow(state);
        self.follow_policies(state.data.as_deref());
    }

    fn acknowledge(&self, publish: Option<&Publish>) {
        if let (Some(outlet), Some(publish)) = (&self.link.outlet, publish) {
            outlet.acknowledge(publish);
        }
    }
}
