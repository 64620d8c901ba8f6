//! Placement: which workloads and policies each device gets, by its labels. `desired` puts the
//! parts together.

use holdfast_base::ids::{Labels, Name};

use super::records::{PolicyKey, PolicyRecord, WorkloadRecord};

/// Returns the workloads that a device with these labels should run, with their revisions.
/// `workloads` must be sorted by name, and so is the result.
pub fn place<'a>(labels: &Labels, workloads: impl Iterator<Item = &'a WorkloadRecord>) -> Set {
    workloads
        .filter(|workload| workload.devices.matches(labels))
        .map(|workload| (workload.name.clone(), workload.revision))
        .collect()
}

/// Returns the set after a change of one workload, or None if the set stays as it is. `now` is the
/// workload after the change; None: it was deleted.
///
/// The result equals that of [`place`], which would examine every workload for each device.
pub fn replace(
    set: &[(Name, u64)],
    labels: &Labels,
    name: &Name,
    now: Option<&WorkloadRecord>,
) -> Option<Set> {
    let wanted = now.filter(|workload| workload.devices.matches(labels)).map(|w| w.revision);
    let at = set.binary_search_by(|(known, _)| known.cmp(name));
    let present = at.ok().and_then(|at| set.get(at)).map(|(_, revision)| *revision);
    if wanted == present {
        return None;
    }
    let mut changed = set.to_vec();
    match (at, wanted) {
        (Ok(at), None) => drop(changed.remove(at)),
        (Ok(at), Some(revision)) => {
            if let Some(entry) = changed.get_mut(at) {
                entry.1 = revision;
            }
        }
        (Err(at), Some(revision)) => changed.insert(at, (name.clone(), revision)),
        (Err(_), None) => {}
    }
    Some(changed)
}

/// Returns the policies for a device with these labels, with their revisions: every matching
/// `Stream`, and the first matching `LinkBudget` by name. `policies` must be sorted by key.
pub fn policies<'a>(
    labels: &Labels,
    policies: impl Iterator<Item = &'a PolicyRecord>,
) -> Vec<(PolicyKey, u64)> {
    let mut set: Vec<(PolicyKey, u64)> = Vec::new();
    let there = |policy: &&PolicyRecord| {
        policy.policy.kind().on_devices() && policy.devices.matches(labels)
    };
    for policy in policies.filter(there) {
        let key = policy.key();
        // Keys sort by kind and then by name: the last entry tells whether one of the kind was
        // taken already.
        let second =
            key.0.facts().one_a_device && set.last().is_some_and(|((kind, _), _)| *kind == key.0);
        if !second {
            set.push((key, policy.revision));
        }
    }
    set
}

/// Workloads of a device with their revisions, sorted by name.
pub type Set = Vec<(Name, u64)>;

/// Returns the shard of a device, a stable hash of its id: FNV-1a with 64 bits, folded to 8.
pub fn shard(id: &str) -> u8 {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.to_le_bytes().into_iter().fold(0, |folded, byte| folded ^ byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_api::selector::Selector;
    use holdfast_protocol::workload::{Executable, Process, Run, WorkloadSpec};

    fn workload(name: &str, role: &str, revision: u64) -> WorkloadRecord {
        let process = Process {
            executable: Executable::Path("/bin/true".into()),
            args: vec![],
            env: [].into(),
            user: None,
            workdir: None,
        };
        let spec = WorkloadSpec {
            run: Run::Process(process),
            config: [].into(),
            resources: Default::default(),
            restart: Default::default(),
            health: None,
            stop: Default::default(),
            bus: Default::default(),
            windows: Default::default(),
        };
        WorkloadRecord {
            name: name.parse().unwrap(),
            labels: [].into(),
            devices: Selector {
                match_labels: [("role".into(), role.into())].into(),
                match_expressions: vec![],
            },
            spec,
            references: Default::default(),
            written: serde_json::Value::Null,
            revision,
            created_at: 0,
            updated_at: 0,
            version: 0,
            paused: Default::default(),
        }
    }

    #[test]
    fn one_change_at_a_time_comes_to_the_same_as_all_at_once() {
        let labels: Labels = [("role".into(), "a".into())].into();
        let before = [workload("b", "a", 1), workload("d", "a", 2), workload("e", "x", 1)];
        let set = place(&labels, before.iter());
        assert_eq!(set.len(), 2);
        for (change, expected) in [
            (workload("a", "a", 1), 3),
            (workload("c", "a", 1), 3),
            (workload("z", "a", 1), 3),
            (workload("b", "x", 2), 1),
            (workload("d", "a", 3), 2),
            (workload("e", "a", 2), 3),
        ] {
            let changed = replace(&set, &labels, &change.name, Some(&change)).unwrap();
            assert_eq!(changed.len(), expected, "{}", change.name);
            let mut all: Vec<_> =
                before.iter().filter(|known| known.name != change.name).cloned().collect();
            all.push(change);
            all.sort_by(|a, b| a.name.cmp(&b.name));
            assert_eq!(changed, place(&labels, all.iter()));
        }
        assert_eq!(replace(&set, &labels, &before[0].name, Some(&before[0])), None);
        assert_eq!(replace(&set, &labels, &before[2].name, None), None);
        assert_eq!(replace(&set, &labels, &before[0].name, None).unwrap().len(), 1);
    }
}
