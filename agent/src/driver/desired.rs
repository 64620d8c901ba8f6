//! Desired state: verified, its version checked, stored, and only then followed. One that cannot be
//! stored is followed as far as it stops workloads, so that whatever fills the disk can be stopped
//! from afar.
//!
//! See decisions 0007 and 0105.

use std::path::{Path, PathBuf};

use holdfast_base::ids::{DeviceId, StateVersion};
use holdfast_protocol::message::DesiredState;
use holdfast_protocol::signing::{self, SigningError};
use rumqttc::mqttbytes::v5::Publish;

use super::Driver;
use crate::adapters::{crash, files};
use crate::core::version::{VersionCheck, check};

/// Desired state that is to be followed and could not be stored yet.
pub(super) struct Waiting {
    bytes: Vec<u8>,
    state: DesiredState,
    publish: Option<Publish>,
}

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

/// Desired state as it is on disk.
#[derive(Default)]
pub(super) struct Loaded {
    /// State that was followed last. None: there is none, or it cannot be trusted.
    pub(super) state: Option<DesiredState>,
    /// Reason for which the present file cannot be trusted.
    pub(super) trouble: Option<String>,
    /// State that was followed before, if the present file cannot be trusted.
    pub(super) spare: Option<DesiredState>,
}

/// Reads the desired state on disk, and checks its signature like that of one from the network.
pub(super) fn load(data: &Path, key: &[u8], device: &DeviceId) -> Loaded {
    match read(&path(data), key, device) {
        Ok(state) => Loaded { state, ..Loaded::default() },
        Err(why) => {
            let spare = read(&previous(data), key, device).unwrap_or_default();
            Loaded { state: None, trouble: Some(why.to_string()), spare }
        }
    }
}

/// Reason why a file holds no desired state that can be followed.
#[derive(Debug, thiserror::Error)]
enum Untrusted {
    #[error("{}: {}", .0.display(), .1)]
    Unreadable(PathBuf, std::io::Error),
    #[error("{}: {}", .0.display(), .1)]
    Refused(PathBuf, SigningError),
}

fn read(path: &Path, key: &[u8], device: &DeviceId) -> Result<Option<DesiredState>, Untrusted> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Untrusted::Unreadable(path.to_owned(), error)),
    };
    let state = signing::verify(&bytes, key, device);
    state.map(Some).map_err(|error| Untrusted::Refused(path.to_owned(), error))
}

impl Driver {
    /// Handles a desired state that came down the link.
    pub(super) fn offered(&mut self, publish: Publish) {
        let Some((key, device)) = self
            .identity
            .as_ref()
            .and_then(|identity| Some((identity.signing_key(), identity.device()?)))
        else {
            return;
        };
        let state: DesiredState = match signing::verify(&publish.payload, &key, &device) {
            Ok(state) => state,
            Err(error) => {
                self.refuse("a desired state", &error.to_string());
                return self.acknowledge(Some(&publish));
            }
        };
        // A state that waits for disk space counts as held: an older one must not replace it.
        let waiting = self.waiting.as_ref().map(|waiting| waiting.state.version());
        let followed = if self.afresh { StateVersion::default() } else { self.agent.version() };
        let held = followed.max(waiting.unwrap_or_default()).max(self.least);
        match check(held, state.version()) {
            VersionCheck::Known => {
                self.trouble.refusal = None;
                match &mut self.waiting {
                    Some(waiting) => waiting.publish = Some(publish),
                    None => self.acknowledge(Some(&publish)),
                }
            }
            VersionCheck::Stale { held, offered } => {
                let why = format!("it is {offered}, older than {held} that is held: a replay");
                self.refuse("a desired state", &why);
                self.acknowledge(Some(&publish));
            }
            VersionCheck::Follow { restored } => {
                if restored {
                    tracing::warn!(
                        epoch = state.epoch,
                        "the control plane was restored from a backup: following its new epoch"
                    );
                }
                crash::point("desired-verified");
                self.trouble.refusal = None;
                let bytes = publish.payload.to_vec();
                self.waiting = Some(Waiting { bytes, state, publish: Some(publish) });
                self.store_desired();
            }
        }
    }

    /// Forgets the versions of a former identity: workloads go on running until the first desired
    /// state for the new identity comes, whatever its version.
    pub(super) fn forget_versions(&mut self) {
        self.afresh = true;
        self.least = StateVersion::default();
        self.waiting = None;
        self.trouble.desired = None;
        self.trouble.refusal = None;
    }

    /// Stores the desired state that waits, and follows it once it is stored.
    pub(super) fn store_desired(&mut self) {
        let Some(waiting) = self.waiting.take() else { return };
        let present = path(&self.data);
        let former = previous(&self.data);
        // A spare copy. Where there is no space or no support for hard links, there is none.
        let _none_yet = std::fs::remove_file(&former);
        let _no_spare = std::fs::hard_link(&present, &former);
        let mut stored = files::replace(&present, &waiting.bytes, 0o600);
        if stored.as_ref().is_err_and(files::is_full) {
            let reserve = self.data.join(RESERVE);
            stored = files::replace_from(&reserve, &present, &waiting.bytes).or(stored);
        }
        match stored {
            Ok(()) => {
                crash::point("desired-stored");
                self.trouble.desired = None;
                self.trouble.untrusted = None;
                tracing::info!(version = %waiting.state.version(), "following a desired state");
                self.agent.follow(&waiting.state);
                self.shipping.follow(waiting.state.data.as_deref());
                self.follow_sources(waiting.state.data.as_deref());
                self.afresh = false;
                self.acknowledge(waiting.publish.as_ref());
            }
            Err(error) => {
                self.note_io("the desired state cannot be stored", &error);
                self.trouble.desired = Some(format!(
                    "a newer desired state cannot be stored ({error}): the last one is followed until it can, but for workloads that the newer one ends"
                ));
                // It is not acknowledged: after a crash the last one is followed again, and the
                // newer one is redelivered.
                self.agent.end_unwanted(&waiting.state);
                self.waiting = Some(waiting);
            }
        }
    }

    /// Reserves disk space for a desired state, as far as there is any.
    pub(super) fn hold_room(&self) {
        files::reserve(&self.data.join(RESERVE), self.trouble.free.unwrap_or(0));
    }

    fn acknowledge(&self, publish: Option<&Publish>) {
        if let (Some(outlet), Some(publish)) = (&self.link.outlet, publish) {
            outlet.acknowledge(publish);
        }
    }
}
