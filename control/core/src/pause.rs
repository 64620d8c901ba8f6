//! Where a workload is paused, by whom and since when: everywhere, also on devices that come
//! later, or on single devices. It stays through new revisions, and until it is resumed.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::ids::Name;
use serde::{Deserialize, Serialize};

use holdfast_api::time::rfc3339;

/// Most devices that are named in one workload's pauses: a few hundred kilobytes of its record,
/// which is written whole.
pub const MAX_NAMED: usize = 5_000;

/// Devices that an answer names.
const SHOWN: usize = 100;

/// Who paused something and when, as the API says it.
pub fn stamp(stamp: &Stamp) -> holdfast_api::Paused {
    holdfast_api::Paused { by: stamp.by.to_string(), at: rfc3339(stamp.at) }
}

/// Who did something, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Id of an access token.
    pub by: Box<str>,
    /// Seconds since 1970.
    pub at: u64,
}

/// Where one workload is paused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pauses {
    /// On every device, those to come included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub everywhere: Option<Stamp>,
    /// On these devices.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<Name, Stamp>,
    /// Not on these, though it is paused everywhere: it was resumed there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub except: BTreeSet<Name>,
}

/// More devices would be named than [`MAX_NAMED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Pauses {
    /// True when it is paused nowhere.
    pub fn is_empty(&self) -> bool {
        self.everywhere.is_none() && self.devices.is_empty()
    }

    /// Who paused it on a device. None: it is not paused there.
    pub fn on(&self, device: &Name) -> Option<&Stamp> {
        let here = self.devices.get(device);
        here.or(self.everywhere.as_ref().filter(|_| !self.except.contains(device)))
    }

    /// Paused on these devices, or, without them, everywhere. Whoever paused it first stays named.
    ///
    /// # Errors
    /// [`TooMany`]; then nothing changed.
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

    /// Resumed on these devices, or, without them, everywhere.
    ///
    /// # Errors
    /// [`TooMany`]; then nothing changed.
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

    /// Whether a device is named.
    pub fn names(&self, device: &Name) -> bool {
        self.devices.contains_key(device) || self.except.contains(device)
    }

    /// A device is no more: another one may get its name.
    pub fn forget(&mut self, device: &Name) {
        self.devices.remove(device);
        self.except.remove(device);
    }

    /// As the API says it; the first hundred devices of each list are named. None: nowhere.
    pub fn shown(&self) -> Option<holdfast_api::WorkloadPauses> {
        let on = |(device, by): (&Name, &Stamp)| {
            let holdfast_api::Paused { by, at } = stamp(by);
            holdfast_api::PausedOn { device: device.to_string(), by, at }
        };
        (!self.is_empty()).then(|| holdfast_api::WorkloadPauses {
            everywhere: self.everywhere.as_ref().map(stamp),
            devices: self.devices.iter().take(SHOWN).map(on).collect(),
            device_count: self.devices.len() as u64,
            except: self.except.iter().take(SHOWN).map(ToString::to_string).collect(),
            except_count: self.except.len() as u64,
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
        // What is done, one after the other, and on which of a, b and c it is paused then.
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
                let stamp = Stamp { by: verb.into(), at: 1 };
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
        let stamp = |by: &str, at| Stamp { by: by.into(), at };
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
