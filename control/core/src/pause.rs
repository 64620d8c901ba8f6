//! Pauses of one workload: everywhere (also on devices that come later) or on single devices, with
//! who paused it and when. A pause stays through new revisions until the workload is resumed.
//!
//! See decision 0115.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::ids::Name;
use serde::{Deserialize, Serialize};

use holdfast_api::time::rfc3339;

/// Most devices named in the pauses of one workload: a few hundred kilobytes in its record, which
/// is written as a whole with every change.
pub const MAX_NAMED: usize = 5_000;

/// Most devices of a list that a response names.
const SHOWN: usize = 100;

/// Converts a stamp to the API's form.
pub fn stamp(stamp: &Stamp) -> holdfast_api::Paused {
    holdfast_api::Paused {
        by: stamp.by.to_string(),
        by_name: stamp.by_name.as_deref().map(str::to_owned),
        at: rfc3339(stamp.at),
    }
}

/// Author and time of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Id of the access token that was used.
    pub by: Box<str>,
    /// Comment of the access token at that time, by which its holder is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_name: Option<Box<str>>,
    /// Time of the action, in seconds since 1970.
    pub at: u64,
}

impl Stamp {
    /// Returns the words by which people know the author: the token's comment, or its id.
    pub fn who(&self) -> &str {
        self.by_name.as_deref().unwrap_or(&self.by)
    }
}

/// Set of devices on which one workload is paused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pauses {
    /// Pause on every device, including devices that come later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub everywhere: Option<Stamp>,
    /// Devices on which the workload is paused by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<Name, Stamp>,
    /// Exceptions from `everywhere`: devices on which the workload was resumed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub except: BTreeSet<Name>,
}

/// Error for a change after which more than [`MAX_NAMED`] devices would be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Pauses {
    /// True if the workload is paused nowhere.
    pub fn is_empty(&self) -> bool {
        self.everywhere.is_none() && self.devices.is_empty()
    }

    /// Returns who paused the workload on a device. None: it is not paused there.
    pub fn on(&self, device: &Name) -> Option<&Stamp> {
        let here = self.devices.get(device);
        here.or(self.everywhere.as_ref().filter(|_| !self.except.contains(device)))
    }

    /// Pauses the workload on these devices; None: everywhere. Where it is paused already, the
    /// first author stays.
    ///
    /// # Errors
    /// [`TooMany`]; then nothing is changed.
    pub fn pause(&mut self, devices: Option<&[Name]>, stamp: &Stamp) -> Result<(), TooMany> {
        let mut next = self.clone();
        match devices {
            None => {
                next.except.clear();
                next.everywhere.get_or_insert_with(|| stamp.clone());
            }
            Some(devices) => {
                for device in devices {
                    next.except.remove(device);
                    if next.on(device).is_none() {
                        next.devices.insert(device.clone(), stamp.clone());
                    }
                }
            }
        }
        self.take(next)
    }

    /// Resumes the workload on these devices; None: everywhere.
    ///
    /// # Errors
    /// [`TooMany`]; then nothing is changed.
    pub fn resume(&mut self, devices: Option<&[Name]>) -> Result<(), TooMany> {
        let mut next = self.clone();
        match devices {
            None => next = Self::default(),
            Some(devices) => {
                for device in devices {
                    next.devices.remove(device);
                    if next.everywhere.is_some() {
                        next.except.insert(device.clone());
                    }
                }
            }
        }
        self.take(next)
    }

    /// True if the device is named, as paused or as an exception.
    pub fn names(&self, device: &Name) -> bool {
        self.devices.contains_key(device) || self.except.contains(device)
    }

    /// Removes a deleted device, since another one may get its name.
    pub fn forget(&mut self, device: &Name) {
        self.devices.remove(device);
        self.except.remove(device);
    }

    /// Converts the pauses to the API's form, which names at most 100 devices of each list, and only
    /// those that are `seen`. None: the workload is paused nowhere.
    pub fn shown(&self, seen: &dyn Fn(&Name) -> bool) -> Option<holdfast_api::WorkloadPauses> {
        let on = |(device, by): (&Name, &Stamp)| {
            let holdfast_api::Paused { by, by_name, at } = stamp(by);
            holdfast_api::PausedOn { device: device.to_string(), by, by_name, at }
        };
        let devices = || self.devices.iter().filter(|(device, _)| seen(device));
        let except = || self.except.iter().filter(|device| seen(device));
        let paused = self.everywhere.is_some() || devices().next().is_some();
        paused.then(|| holdfast_api::WorkloadPauses {
            everywhere: self.everywhere.as_ref().map(stamp),
            devices: devices().take(SHOWN).map(on).collect(),
            device_count: devices().count() as u64,
            except: except().take(SHOWN).map(ToString::to_string).collect(),
            except_count: except().count() as u64,
        })
    }

    fn take(&mut self, next: Self) -> Result<(), TooMany> {
        if next.devices.len() + next.except.len() > MAX_NAMED {
            return Err(TooMany);
        }
        *self = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn where_it_is_paused() {
        // Actions in their order, and on which of a, b and c the workload is paused afterwards.
        for (what, paused) in [
            ("pause a", "a"),
            ("pause a,b resume a", "b"),
            ("pause *", "a b c"),
            ("pause * resume b", "a c"),
            ("pause * resume b pause b", "a b c"),
            ("pause * resume b pause *", "a b c"),
            ("pause a pause * resume a", "b c"),
            ("pause a,b resume *", ""),
            ("pause * resume *", ""),
            ("pause a forget a", ""),
            ("pause * resume a forget a", "a b c"),
            ("resume c", ""),
        ] {
            let mut pauses = Pauses::default();
            let mut words = what.split(' ');
            while let (Some(verb), Some(whom)) = (words.next(), words.next()) {
                let some: Vec<Name> = whom.split(',').filter(|it| *it != "*").map(name).collect();
                let devices = (whom != "*").then_some(&*some);
                let stamp = Stamp { by: verb.into(), by_name: None, at: 1 };
                match verb {
                    "pause" => pauses.pause(devices, &stamp).unwrap(),
                    "resume" => pauses.resume(devices).unwrap(),
                    _ => some.iter().for_each(|device| pauses.forget(device)),
                }
            }
            let on: Vec<&str> =
                ["a", "b", "c"].into_iter().filter(|it| pauses.on(&name(it)).is_some()).collect();
            assert_eq!(on.join(" "), paused, "{what}: {pauses:?}");
            let json = serde_json::to_string(&pauses).unwrap();
            assert_eq!(serde_json::from_str::<Pauses>(&json).unwrap(), pauses, "{json}");
            assert!(!pauses.is_empty() || json == "{}", "{json}");
        }
    }

    #[test]
    fn whoever_paused_it_first_stays_named_and_names_have_a_bound() {
        let stamp = |by: &str, at| Stamp { by: by.into(), by_name: None, at };
        let (mut pauses, a) = (Pauses::default(), [name("a")]);
        pauses.pause(Some(&a), &stamp("first", 1)).unwrap();
        pauses.pause(None, &stamp("second", 2)).unwrap();
        pauses.pause(Some(&[name("a"), name("b")]), &stamp("third", 3)).unwrap();
        assert_eq!(pauses.on(&a[0]), Some(&stamp("first", 1)));
        assert_eq!(pauses.on(&name("b")), Some(&stamp("second", 2)), "it was paused already");
        assert!(pauses.names(&a[0]) && !pauses.names(&name("b")));
        let many: Vec<Name> = (0..MAX_NAMED).map(|at| name(&format!("d-{at}"))).collect();
        assert_eq!(pauses.resume(Some(&many)), Err(TooMany), "with the one that is named");
        assert!(pauses.on(&many[0]).is_some(), "nothing changed");
        pauses.resume(Some(&many[1..])).unwrap();
        assert!(pauses.on(&many[1]).is_none());
    }
}
