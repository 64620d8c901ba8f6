//! Secrets of workloads as the core sees them: sealed, with what they are bound to, and whether
//! another sealed value is another content. What was opened is compared here and dropped; no state
//! of the core holds it.
//!
//! See decision 0162.

use std::fmt;

use holdfast_base::ids::{DeviceId, Name};
use holdfast_protocol::message::{DesiredState, DesiredWorkload};
use holdfast_protocol::sealing::{Bound, OnChange, Sealed, SealedContent};
use serde::{Deserialize, Serialize};

use super::runtime::Reason;

/// Sealed secrets of one revision, with everything that they are bound to but the workload's name:
/// they can be opened again from the disk, whatever becomes of the number of the revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// Device that they are sealed for.
    pub device: DeviceId,
    /// Number of the revision when they were sealed.
    pub revision: u64,
    /// Epoch of the desired state that they came in.
    pub epoch: u64,
    /// Sealed bytes with their version, and the action on a change.
    pub sealed: Sealed,
}

impl Secrets {
    /// Returns the secrets of a workload in a desired state, if it has any.
    pub fn of(state: &DesiredState, workload: &DesiredWorkload) -> Option<Self> {
        Some(Self {
            device: state.device.clone(),
            revision: workload.revision,
            epoch: state.epoch,
            sealed: workload.sealed.as_deref()?.clone(),
        })
    }

    /// Returns what the bytes are bound to.
    pub fn bound<'a>(&'a self, workload: &'a Name) -> Bound<'a> {
        Bound {
            device: &self.device,
            workload,
            revision: self.revision,
            epoch: self.epoch,
            version: self.sealed.version,
        }
    }

    /// Epoch and version: where they are equal, the control plane says that the content is, however
    /// often it was sealed anew.
    pub fn said(&self) -> (u64, u64) {
        (self.epoch, self.sealed.version)
    }
}

/// Opens sealed secrets with the key of this device.
pub trait Opener: Send + Sync + fmt::Debug {
    /// Opens the secrets of a workload, and checks that it can be given them on this device.
    ///
    /// # Errors
    /// Returns the reason for a person, which names no value.
    fn open(&self, workload: &Name, secrets: &Secrets) -> Result<SealedContent, Reason>;
}

/// Opener of a device without a key.
#[derive(Debug)]
pub struct NoKey;

impl Opener for NoKey {
    fn open(&self, _workload: &Name, _secrets: &Secrets) -> Result<SealedContent, Reason> {
        Err("this agent has no key to open secrets with".into())
    }
}

/// Step that other secrets of the same specification ask for while the workload runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The content is the same: they are taken over.
    Keep,
    /// The workload is stopped and started again.
    Restart,
    /// The files are replaced, and then this signal is sent.
    Signal(u8),
}

/// Compares the secrets that a workload runs with to those that it should have.
///
/// # Errors
/// Returns the reason if the new ones cannot be opened.
pub(super) fn turn(
    opener: &dyn Opener,
    workload: &Name,
    former: Option<&Secrets>,
    next: Option<&Secrets>,
) -> Result<Turn, Reason> {
    let Some(next) = next else {
        return Ok(if former.is_some() { Turn::Restart } else { Turn::Keep });
    };
    let content = opener.open(workload, next)?;
    let Some(former) = former else { return Ok(Turn::Restart) };
    if former.said() == next.said() {
        return Ok(Turn::Keep);
    }
    // What cannot be opened any more, after a change of the key, was most likely something else.
    let Ok(before) = opener.open(workload, former) else { return Ok(Turn::Restart) };
    Ok(match next.sealed.on_change {
        _ if before == content => Turn::Keep,
        // No signal brings a value into the environment of a process that runs.
        _ if before.env != content.env => Turn::Restart,
        OnChange::Restart => Turn::Restart,
        OnChange::Signal(signal) => Turn::Signal(signal),
    })
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::sealing::{SealingKey, seal};

    use super::*;

    impl Opener for SealingKey {
        fn open(&self, workload: &Name, secrets: &Secrets) -> Result<SealedContent, Reason> {
            let opened = Self::open(self, &secrets.sealed.bytes, &secrets.bound(workload));
            opened.map_err(|error| Reason::of(&error))
        }
    }

    fn sealed(
        to: &SealingKey,
        (epoch, version): (u64, u64),
        (env, file): (&str, &str),
        on_change: OnChange,
    ) -> Secrets {
        let mut secrets = Secrets {
            device: "acme_dev-1".parse().unwrap(),
            revision: 1,
            epoch,
            sealed: Sealed { version, on_change, bytes: Vec::new() },
        };
        let content = SealedContent {
            env: [("A".to_owned(), env.to_owned())].into(),
            files: [("f".to_owned(), file.as_bytes().to_vec().into())].into(),
        };
        let workload = "w".parse().unwrap();
        let random = [u8::try_from(version).unwrap(); 32];
        secrets.sealed.bytes =
            seal(&content, &to.public(), &secrets.bound(&workload), random).unwrap();
        secrets
    }

    #[test]
    fn other_secrets_ask_for_what_their_content_asks_for() {
        let (key, other) = (SealingKey::new([1; 32]).unwrap(), SealingKey::new([2; 32]).unwrap());
        let workload = "w".parse().unwrap();
        let of = |at, content, on_change| sealed(&key, at, content, on_change);
        let (restart, signal) = (OnChange::Restart, OnChange::Signal(1));
        let now = of((1, 1), ("a", "f"), restart);
        let turned = |former: Option<&Secrets>, next: Option<&Secrets>| {
            turn(&key, &workload, former, next).map_err(|why| why.0)
        };
        for (next, expected) in [
            (of((1, 2), ("a", "f"), signal), Turn::Keep),
            (of((2, 1), ("a", "f"), restart), Turn::Keep),
            (of((1, 2), ("a", "g"), restart), Turn::Restart),
            (of((1, 2), ("a", "g"), signal), Turn::Signal(1)),
            (of((1, 2), ("b", "f"), signal), Turn::Restart),
            (of((2, 1), ("a", "g"), signal), Turn::Signal(1)),
        ] {
            assert_eq!(turned(Some(&now), Some(&next)), Ok(expected), "{next:?}");
        }
        assert_eq!(turned(None, Some(&now)), Ok(Turn::Restart));
        assert_eq!(turned(Some(&now), None), Ok(Turn::Restart));
        assert_eq!(turned(None, None), Ok(Turn::Keep));

        let foreign = sealed(&other, (1, 2), ("a", "f"), restart);
        let why = turned(Some(&now), Some(&foreign)).unwrap_err();
        assert!(why.contains("another key"), "{why}");
        assert_eq!(turned(Some(&foreign), Some(&now)), Ok(Turn::Restart), "the key is another");
        let again = sealed(&other, (1, 1), ("a", "f"), restart);
        assert_eq!(turned(Some(&again), Some(&now)), Ok(Turn::Keep), "it was only sealed anew");
    }
}
