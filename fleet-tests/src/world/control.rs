//! Control plane of the world: its real cores (selectors, placement, reports) and real signatures,
//! with a store that survives crashes and an older backup.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_base::WIRE_VERSION;
use holdfast_base::codec;
use holdfast_base::ids::{Digest, Labels, Name};
use holdfast_control::api::selector::Selector;
use holdfast_control::core::placement;
use holdfast_control::core::records::{ReportRecord, WorkloadRecord};
use holdfast_protocol::message::{DesiredState, DesiredWorkload, StateReport};
use holdfast_protocol::signing::Signer;
use holdfast_protocol::workload::{
    Artifact, Executable, Health, Probe, Process, Restart, RestartPolicy, Run, Stop, WorkloadSpec,
};

use super::{Behaviour, Dice};

/// Roles of devices, which workloads select.
const ROLES: [&str; 2] = ["a", "b"];
/// Names of workloads: few, so that they are changed, deleted and created again.
const NAMES: [&str; 4] = ["alpha", "beta", "gamma", "delta"];

/// Device as the control plane knows it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) labels: Labels,
    pub(super) generation: u64,
    pub(super) set: Vec<(Name, u64)>,
    pub(super) paused: BTreeSet<Name>,
    pub(super) report: ReportRecord,
}

/// Data that is stored, and can be backed up.
#[derive(Debug, Clone)]
struct Stored {
    workloads: BTreeMap<Name, WorkloadRecord>,
    revisions: BTreeMap<Name, u64>,
    devices: Vec<Known>,
}

/// Control plane of the world.
pub(super) struct Control {
    signer: Signer,
    epoch: u64,
    stored: Stored,
    backup: Option<Stored>,
    /// Former specification of each workload, to go back to.
    former: BTreeMap<Name, WorkloadSpec>,
    /// Index of the name that was changed last.
    busy: usize,
    /// Everything that was ever signed, by device: workload, revision, specification.
    pub(super) signed: Vec<Vec<(Name, u64, Arc<WorkloadSpec>)>>,
    /// Old messages, which an attacker can replay.
    pub(super) recorded: Vec<(usize, Vec<u8>)>,
}

/// Returns an Ed25519 signer in PKCS#8 from a seed.
pub(super) fn signer(seed: u8) -> Signer {
    let mut document = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    document.extend([seed; 32]);
    Signer::from_pkcs8(&document).unwrap()
}

impl Control {
    pub(super) fn new(devices: usize) -> Self {
        let known = |number: usize| Known {
            labels: [("role".to_owned(), ROLES[number % 2].to_owned())].into(),
            generation: 0,
            set: Vec::new(),
            paused: BTreeSet::new(),
            report: ReportRecord::default(),
        };
        let stored = Stored {
            workloads: BTreeMap::new(),
            revisions: BTreeMap::new(),
            devices: (0..devices).map(known).collect(),
        };
        let signed = vec![Vec::new(); devices];
        Self {
            signer: signer(1),
            epoch: 1,
            stored,
            backup: None,
            former: BTreeMap::new(),
            busy: 0,
            signed,
            recorded: Vec::new(),
        }
    }

    pub(super) fn public_key(&self) -> Vec<u8> {
        self.signer.public_key()
    }

    /// Returns the digest of an artifact that can be fetched.
    pub(super) fn artifact(number: u8) -> Digest {
        Digest([number; 32])
    }

    /// Performs a random action of an operator. Returns true if the control plane was restored, so
    /// that every device connects anew.
    pub(super) fn operate(&mut self, dice: &mut Dice) -> bool {
        let before = self.epoch;
        // A workload that was just changed is often changed again.
        if dice.permille(500) {
            self.busy = dice.below(4) as usize;
        }
        let name: Name = NAMES[self.busy].parse().unwrap();
        match dice.below(100) {
            0..50 => self.apply(name, dice),
            50..60 => self.pause(name, dice),
            60..75 => {
                self.stored.workloads.remove(&name);
            }
            75..88 => {
                let device = dice.below(self.stored.devices.len() as u64) as usize;
                let role = ROLES[dice.below(2) as usize];
                self.stored.devices[device].labels.insert("role".into(), role.into());
            }
            88..94 => self.backup = Some(self.stored.clone()),
            _ => self.restore(),
        }
        self.place();
        self.epoch != before
    }

    /// Returns a random workload's name.
    pub(super) fn any_name(&self, dice: &mut Dice) -> Name {
        NAMES[dice.below(4) as usize].parse().unwrap()
    }

    /// Pauses a workload on a random device, or resumes it.
    fn pause(&mut self, name: Name, dice: &mut Dice) {
        let number = dice.below(self.stored.devices.len() as u64) as usize;
        let device = &mut self.stored.devices[number];
        if !device.paused.remove(&name) {
            device.paused.insert(name);
        }
        device.generation += 1;
    }

    fn apply(&mut self, name: Name, dice: &mut Dice) {
        let last = self.stored.revisions.entry(name.clone()).or_insert(0);
        *last += 1;
        let revision = *last;
        let role = ROLES[dice.below(2) as usize];
        let spec = self.spec_for(&name, dice);
        let record = WorkloadRecord {
            name: name.clone(),
            labels: Labels::new(),
            devices: Selector {
                match_labels: [("role".to_owned(), role.to_owned())].into(),
                match_expressions: Vec::new(),
            },
            spec,
            written: serde_json::Value::Null,
            revision,
            created_at: 0,
            updated_at: 0,
            version: 0,
            paused: Default::default(),
        };
        self.stored.workloads.insert(name, record);
    }

    /// Returns a new specification, or a former one.
    fn spec_for(&mut self, name: &Name, dice: &mut Dice) -> WorkloadSpec {
        let present = self.stored.workloads.get(name).map(|it| it.spec.clone());
        let former = self.former.get(name).filter(|_| dice.permille(400)).cloned();
        if let Some(present) = present {
            self.former.insert(name.clone(), present);
        }
        former.unwrap_or_else(|| spec(dice))
    }

    fn restore(&mut self) {
        if let Some(backup) = self.backup.clone() {
            self.stored = backup;
            self.epoch += 1;
            for device in &mut self.stored.devices {
                device.generation = device.generation.max(1);
            }
        }
    }

    fn place(&mut self) {
        for device in &mut self.stored.devices {
            let set = placement::place(&device.labels, self.stored.workloads.values());
            if set != device.set {
                device.set = set;
                device.generation += 1;
            }
        }
    }

    /// Returns the message for a device, as the gateway would send it. None: there was never a
    /// desired state.
    pub(super) fn desired(&mut self, number: usize, id: &str) -> Option<Vec<u8>> {
        let state = self.state(number, id)?;
        for (name, workload) in &state.workloads {
            let entry = (name.clone(), workload.revision, Arc::new(workload.spec.clone()));
            if !self.signed[number].contains(&entry) {
                self.signed[number].push(entry);
            }
        }
        let bytes = self.signer.sign(&state).unwrap();
        self.recorded.push((number, bytes.clone()));
        Some(bytes)
    }

    /// Returns a device's desired state, unsigned.
    pub(super) fn state(&self, number: usize, id: &str) -> Option<DesiredState> {
        let known = &self.stored.devices[number];
        if known.generation == 0 {
            return None;
        }
        let workloads = known.set.iter().map(|(name, revision)| {
            let record = &self.stored.workloads[name];
            assert_eq!(record.revision, *revision);
            let paused = known.paused.contains(name);
            let spec = record.spec.clone();
            (name.clone(), DesiredWorkload { revision: *revision, paused, spec })
        });
        Some(DesiredState {
            v: WIRE_VERSION,
            device: id.parse().unwrap(),
            epoch: self.epoch,
            generation: known.generation,
            workloads: workloads.collect(),
            data: None,
        })
    }

    /// Takes a report of a device.
    pub(super) fn reported(&mut self, number: usize, payload: &[u8]) {
        let report: StateReport = codec::decode(payload).unwrap();
        self.stored.devices[number].report.take(report, 0);
    }

    pub(super) fn known(&self, number: usize) -> &Known {
        &self.stored.devices[number]
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the names of all workloads that can exist.
    pub(super) fn names() -> BTreeSet<Name> {
        NAMES.iter().map(|name| name.parse().unwrap()).collect()
    }
}

fn spec(dice: &mut Dice) -> WorkloadSpec {
    let behaviour = match dice.below(100) {
        0..43 => Behaviour::Good,
        43..57 => Behaviour::Stubborn,
        57..69 => Behaviour::Crashing,
        69..77 => Behaviour::Missing,
        77..86 => Behaviour::Sick,
        _ => Behaviour::Job,
    };
    let path = Behaviour::ALL.iter().find(|(it, _)| *it == behaviour).unwrap().1;
    let executable = if behaviour == Behaviour::Good && dice.permille(500) {
        let digest = Control::artifact(dice.below(6) as u8);
        Executable::Artifact(Artifact { digest, size: 100 })
    } else {
        Executable::Path(path.into())
    };
    let health = (behaviour == Behaviour::Sick || dice.permille(300)).then_some(Health {
        probe: Probe::Tcp { host: None, port: 80 },
        start_period_ms: 1_000,
        interval_ms: 2_000,
        timeout_ms: 500,
        failures: 2,
    });
    let policy = match behaviour {
        Behaviour::Job if dice.permille(500) => RestartPolicy::Never,
        Behaviour::Job => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    };
    let restart = Restart { policy, backoff_initial_ms: 200, backoff_max_ms: 5_000 };
    let config = if dice.permille(300) {
        [(format!("etc/{}", dice.below(3)), dice.below(9).to_string())].into()
    } else {
        BTreeMap::new()
    };
    WorkloadSpec {
        run: Run::Process(Process {
            executable,
            args: vec![dice.below(1_000_000).to_string()],
            env: BTreeMap::new(),
            user: None,
            workdir: None,
        }),
        config,
        resources: Default::default(),
        restart,
        health,
        stop: Stop { signal: 15, grace_ms: 1_000 },
        bus: Default::default(),
    }
}
