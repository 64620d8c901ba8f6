//! Control plane of the world: the decisions that ship (`core::apply`, `core::desired`,
//! `core::jobs`, changes and the restore of a backup) and real signatures, over a store of rows
//! that survives crashes, and a backup that is older. What it does by itself is to choose what
//! operators do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_base::codec;
use holdfast_base::ids::{Digest, Labels, Name};
use holdfast_control::api::OnDevices;
use holdfast_control::api::selector::Selector;
use holdfast_control::core::admission::{Admitted, What};
use holdfast_control::core::apply::{self, plan};
use holdfast_control::core::change::Change;
use holdfast_control::core::desired::{self, Documents, Wanted, project};
use holdfast_control::core::jobs;
use holdfast_control::core::loading::Late;
use holdfast_control::core::model::{Device, Model, key};
use holdfast_control::core::rights::Sight;
use holdfast_protocol::message::{DesiredState, StateReport};
use holdfast_protocol::signing::Signer;
use holdfast_protocol::workload::{
    Artifact, Executable, Health, Probe, Process, Restart, RestartPolicy, Run, Stop, WorkloadSpec,
};

use super::{Behaviour, Dice};

/// Roles of devices, which workloads select.
const ROLES: [&str; 2] = ["a", "b"];
/// Names of workloads: few, so that they are changed, deleted and created again.
const NAMES: [&str; 4] = ["alpha", "beta", "gamma", "delta"];

/// Rows of a store.
type Rows = BTreeMap<String, Vec<u8>>;

/// Control plane of the world.
pub(super) struct Control {
    signer: Signer,
    /// Model in memory.
    model: Model,
    /// Rows that are durable.
    stored: Rows,
    backup: Option<Rows>,
    /// Time in seconds, which goes on with each change.
    now: u64,
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

/// Returns the name of a device of the world, such as `d-0`.
fn device_name(number: usize) -> Name {
    format!("d-{number}").parse().unwrap()
}

/// Reads a model from the rows of a store.
fn loaded(rows: &Rows) -> Model {
    let (mut model, mut late) = (Model::empty("acme".parse().unwrap()), Late::default());
    for (key, value) in rows {
        let (_, local) = key::divide(key).unwrap();
        model.take(&mut late, &local, value).unwrap();
    }
    model.settle(late);
    model
}

impl Control {
    pub(super) fn new(devices: usize) -> Self {
        let mut model = Model::empty("acme".parse().unwrap());
        model.meta.epoch = 1;
        let signed = vec![Vec::new(); devices];
        let mut control = Self {
            signer: signer(1),
            model,
            stored: Rows::new(),
            backup: None,
            now: 0,
            former: BTreeMap::new(),
            busy: 0,
            signed,
            recorded: Vec::new(),
        };
        for number in 0..devices {
            let record = serde_json::json!({
                "name": device_name(number), "shard": 0, "publicKey": number.to_string(),
                "standing": "approved", "createdAt": 0, "updatedAt": 0, "version": 0, "token": "",
                "labels": { "role": ROLES[number % 2] },
            });
            control.set_device(Device::new(serde_json::from_value(record).unwrap()));
        }
        control
    }

    /// Makes a change as the service does, and stores it.
    fn change<T>(&mut self, act: impl FnOnce(&mut Change<'_>) -> T) -> T {
        self.now += 1;
        let mut change = Change::new(&mut self.model, self.now);
        let out = act(&mut change);
        let done = change.finish();
        assert!(done.defects.is_empty(), "{:?}", done.defects);
        if done.writes.clear {
            self.stored.clear();
        }
        for (key, value) in done.writes.rows {
            match value {
                Some(value) => drop(self.stored.insert(key, value)),
                None => drop(self.stored.remove(&key)),
            }
        }
        out
    }

    /// Adds a device, or replaces it by one with other labels.
    fn set_device(&mut self, device: Device) {
        let next = desired::admit_device(&self.model, &device).unwrap();
        let name = device.record.name.clone();
        self.change(|change| {
            change.model.devices.insert(name.clone(), device);
            change.put_device(&name);
            if let Some(next) = next {
                change.set_desired(&name, next);
            }
        });
    }

    /// Starts the control plane anew: the model is read from the store.
    pub(super) fn start(&mut self) {
        let before = std::mem::replace(&mut self.model, loaded(&self.stored));
        for (name, device) in &before.devices {
            let read = &self.model.devices[name];
            assert_eq!(read.desired, device.desired, "{name}: its desired state was not stored");
        }
    }

    /// Checks that every device should have exactly what the documents say.
    fn projected(&self) {
        let documents = Documents::of(&self.model);
        for device in self.model.devices.values() {
            let (wanted, name) = (project(&documents, device), &device.record.name);
            assert_eq!(Wanted::present(&device.desired), wanted, "{name}: was forgotten");
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
        let before = self.epoch();
        // A workload that was just changed is often changed again.
        if dice.permille(500) {
            self.busy = dice.below(4) as usize;
        }
        let name: Name = NAMES[self.busy].parse().unwrap();
        match dice.below(100) {
            0..50 => self.apply(name, dice),
            50..60 => self.pause(name, dice),
            60..75 => {
                // Whoever deletes what is not there is told so.
                self.change(|change| apply::delete_workload(change, name.as_str(), None, "x").ok());
            }
            75..88 => {
                let mut device = self.any_device(dice).clone();
                let role = ROLES[dice.below(2) as usize];
                device.record.labels.insert("role".into(), role.into());
                self.set_device(device);
            }
            88..94 => self.backup = Some(self.stored.clone()),
            _ => self.restore(),
        }
        self.projected();
        self.epoch() != before
    }

    fn any_device(&self, dice: &mut Dice) -> &Device {
        let count = self.model.devices.len() as u64;
        self.known(dice.below(count) as usize)
    }

    /// Returns a random workload's name.
    pub(super) fn any_name(&self, dice: &mut Dice) -> Name {
        NAMES[dice.below(4) as usize].parse().unwrap()
    }

    /// Pauses a workload on a random device or everywhere, or resumes it.
    fn pause(&mut self, name: Name, dice: &mut Dice) {
        let device = self.any_device(dice).record.name.to_string();
        let paused = self
            .model
            .workloads
            .get(&name)
            .is_some_and(|known| known.record.paused.on(&device.parse().unwrap()).is_some());
        let devices = (!dice.permille(200)).then(|| vec![device]);
        let on = OnDevices { devices, label_selector: None };
        // Refused where the workload is not to run.
        self.change(|change| {
            jobs::pause(change, name.as_str(), &on, !paused, ("x", &Sight::All)).ok()
        });
    }

    fn apply(&mut self, name: Name, dice: &mut Dice) {
        let role = ROLES[dice.below(2) as usize];
        let spec = self.spec_for(&name, dice);
        let document = Admitted {
            name,
            labels: Labels::new(),
            resource_version: None,
            devices: Selector {
                match_labels: [("role".to_owned(), role.to_owned())].into(),
                match_expressions: Vec::new(),
            },
            written: serde_json::to_value(&spec).unwrap(),
            what: What::Workload(Box::new(spec), Box::default()),
        };
        self.change(|change| {
            let plan = plan(change.model, vec![document], change.now).unwrap();
            plan.carry_out(change, "x", None);
        });
    }

    /// Returns a new specification, or a former one.
    fn spec_for(&mut self, name: &Name, dice: &mut Dice) -> WorkloadSpec {
        let present = self.model.workloads.get(name).map(|it| it.record.spec.clone());
        let former = self.former.get(name).filter(|_| dice.permille(400)).cloned();
        if let Some(present) = present {
            self.former.insert(name.clone(), present);
        }
        former.unwrap_or_else(|| spec(dice))
    }

    fn restore(&mut self) {
        if let Some(backup) = self.backup.clone() {
            let fresh = loaded(&backup);
            self.stored.clear();
            let rows = backup.into_iter().map(|(key, value)| (key::divide(&key).unwrap().1, value));
            self.change(|change| {
                let epoch = change.model.meta.epoch.max(fresh.meta.epoch) + 1;
                change.restore(rows.collect(), fresh, epoch);
            });
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

    /// Returns what a device should run, in clear. None: nothing was ever wanted.
    pub(super) fn state(&self, number: usize, id: &str) -> Option<DesiredState> {
        let state = self.model.desired_state(&device_name(number))?;
        assert_eq!(state.device.to_string(), id);
        for (name, workload) in &state.workloads {
            assert_eq!(self.model.workloads[name].record.revision, workload.revision);
        }
        Some(state)
    }

    /// Takes in a report, and returns its number once it is stored.
    pub(super) fn reported(&mut self, number: usize, payload: &[u8]) -> Option<u32> {
        let report: StateReport = codec::decode(payload).unwrap();
        let id = report.id;
        let name = device_name(number);
        self.change(|change| {
            if let Some(device) = change.model.devices.get_mut(&name) {
                device.report.take(report, 0);
            }
            change.put_report(&name);
        });
        id
    }

    pub(super) fn known(&self, number: usize) -> &Device {
        &self.model.devices[&device_name(number)]
    }

    pub(super) fn epoch(&self) -> u64 {
        self.model.meta.epoch
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
        windows: Default::default(),
    }
}
