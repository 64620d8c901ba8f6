//! Run of the world: chaos for a while, then quiet; safety is checked at each step, convergence at
//! the end.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_protocol::message::{DesiredState, Phase};
use holdfast_protocol::workload::RestartPolicy;

use super::control::{Control, signer};
use super::device::{Device, Happening, pid};
use super::{Behaviour, Dice};

/// Number of devices in a world: enough to differ, few enough for many worlds.
const DEVICES: usize = 3;
/// Length of the chaos in milliseconds.
const CHAOS: u64 = 120_000;
/// Milliseconds of quiet until everything must have converged: several times the longest back-off.
const QUIET: u64 = 120_000;

/// Result of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Number of steps taken.
    pub steps: u64,
    /// Number of processes that were started.
    pub started: u64,
    /// Number of messages that devices refused.
    pub refused: u64,
}

enum Event {
    Device(usize, Happening),
    /// Message to a device, delivered if the connection that it was sent on still exists.
    Down(usize, u64, Vec<u8>),
    /// Report to the broker, with its number.
    Up(usize, u64, u32, Vec<u8>),
    /// PUBACK of the broker for a report of this number.
    Taken(usize, u64, u32),
    /// Report from the broker to the control plane.
    Reported(usize, u64, Vec<u8>),
    /// Acknowledgement of the control plane for a report of this number.
    Acknowledged(usize, u64, u32),
    Connect(usize),
    AgentStarts(usize),
    PlaneStarts,
    Chaos,
}

struct World {
    now: u64,
    dice: Dice,
    control: Control,
    plane_up: bool,
    devices: Vec<Device>,
    /// Number of each device's connection: messages sent on an older one are lost.
    connections: Vec<u64>,
    link_up: Vec<bool>,
    /// Time at which the last report of each device comes from the broker: it keeps their order.
    passed_on: Vec<u64>,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    chaos: bool,
    seen: BTreeSet<(usize, u64)>,
    /// True for a device whose agent's start is in the queue.
    starting: Vec<bool>,
}

/// Runs the world of this seed.
///
/// # Panics
/// Panics if an invariant does not hold, and names it.
pub fn run(seed: u64) -> Outcome {
    let control = Control::new(DEVICES);
    let devices = (0..DEVICES).map(|number| Device::new(number, control.public_key())).collect();
    let mut world = World {
        now: 0,
        dice: Dice::new(seed),
        control,
        plane_up: true,
        devices,
        connections: vec![0; DEVICES],
        link_up: vec![true; DEVICES],
        passed_on: vec![0; DEVICES],
        queue: BTreeMap::new(),
        sequence: 0,
        chaos: true,
        seen: BTreeSet::new(),
        starting: vec![false; DEVICES],
    };
    for device in &mut world.devices {
        device.brittle = true;
    }
    for number in 0..DEVICES {
        world.at(0, Event::AgentStarts(number));
        world.at(100, Event::Connect(number));
    }
    world.at(10, Event::Chaos);
    let mut steps = world.until(CHAOS);
    world.calm();
    steps += world.until(CHAOS + QUIET);
    world.converged();
    let refused = world.devices.iter().map(|device| device.refused).sum();
    Outcome { steps, started: world.seen.len() as u64, refused }
}

impl World {
    fn at(&mut self, when: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((when.max(self.now), self.sequence), event);
    }

    fn until(&mut self, end: u64) -> u64 {
        let mut steps = 0;
        while let Some(entry) = self.queue.first_entry() {
            let (when, _) = *entry.key();
            if when > end {
                break;
            }
            let event = entry.remove();
            self.now = when;
            self.happen(event);
            self.collect();
            self.safe();
            steps += 1;
            assert!(steps < 2_000_000, "the world does not come to rest");
        }
        self.now = end;
        steps
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Device(number, happening) => {
                let reachable = self.plane_up && self.link_up[number];
                self.devices[number].happen(happening, reachable, now, &mut self.dice);
            }
            Event::Down(number, connection, bytes) => {
                if self.connections[number] == connection && self.devices[number].connected {
                    self.devices[number].offered(bytes, now, &mut self.dice);
                }
            }
            Event::Up(number, connection, id, payload) => {
                if self.connections[number] == connection {
                    self.pass_on(number, id, payload);
                }
            }
            Event::Taken(number, connection, id) => {
                if self.connections[number] == connection {
                    self.devices[number].taken(id, now, &mut self.dice);
                }
            }
            Event::Reported(number, connection, payload) => {
                if self.plane_up
                    && let Some(id) = self.control.reported(number, &payload)
                    && !self.loses()
                {
                    let later = now + self.latency();
                    self.at(later, Event::Acknowledged(number, connection, id));
                }
            }
            Event::Acknowledged(number, connection, id) => {
                if self.connections[number] == connection {
                    self.devices[number].acknowledged(id, now, &mut self.dice);
                }
            }
            Event::Connect(number) => self.connect(number),
            Event::AgentStarts(number) => {
                self.starting[number] = false;
                self.devices[number].start(now, &mut self.dice);
            }
            Event::PlaneStarts => {
                self.control.start();
                self.plane_up = true;
            }
            Event::Chaos => self.wreak(),
        }
    }

    /// Returns true if a message gets lost although its connection lasts.
    fn loses(&mut self) -> bool {
        self.chaos && self.dice.permille(30)
    }

    /// Does what a broker does with a report: it acknowledges it at once, whether the control plane
    /// is there or not, and loses one now and then.
    fn pass_on(&mut self, number: usize, id: u32, payload: Vec<u8>) {
        let connection = self.connections[number];
        let soon = self.now + self.latency();
        self.at(soon, Event::Taken(number, connection, id));
        if !self.loses() {
            let later = (self.now + self.latency()).max(self.passed_on[number]);
            self.passed_on[number] = later;
            self.at(later, Event::Reported(number, connection, payload));
        }
    }

    fn latency(&mut self) -> u64 {
        if self.dice.permille(50) {
            self.dice.between(500, 5_000)
        } else {
            self.dice.between(1, 80)
        }
    }

    fn connect(&mut self, number: usize) {
        let now = self.now;
        // The connection is tried again, whatever comes of this try.
        let retry = now + self.dice.between(1_000, 5_000);
        self.at(retry, Event::Connect(number));
        let device = &self.devices[number];
        if device.connected || device.agent.is_none() || !self.link_up[number] || !self.plane_up {
            return;
        }
        self.connections[number] += 1;
        self.devices[number].connect(now, &mut self.dice);
        self.send_desired(number);
    }

    fn send_desired(&mut self, number: usize) {
        let id = self.devices[number].id.to_string();
        if !self.devices[number].connected {
            return;
        }
        let Some(bytes) = self.control.desired(number, &id) else { return };
        let connection = self.connections[number];
        let when = self.now + self.latency();
        if self.dice.permille(50) {
            // The message is delivered twice.
            let again = when + self.latency();
            self.at(again, Event::Down(number, connection, bytes.clone()));
        }
        self.at(when, Event::Down(number, connection, bytes));
    }

    /// Takes the events to schedule and the messages to send from the devices.
    fn collect(&mut self) {
        for number in 0..self.devices.len() {
            for (when, happening) in std::mem::take(&mut self.devices[number].schedule) {
                self.at(when, Event::Device(number, happening));
            }
            let connection = self.connections[number];
            for (id, payload) in std::mem::take(&mut self.devices[number].outbox) {
                if self.chaos && self.dice.permille(30) {
                    // The message is lost, and so is the connection, as with TCP.
                    self.drop_connection(number);
                    continue;
                }
                let when = self.now + self.latency();
                self.at(when, Event::Up(number, connection, id, payload));
            }
            if self.devices[number].agent.is_none() && !self.starting[number] {
                self.starting[number] = true;
                // The agent's supervisor starts it again.
                let when = self.now + self.dice.between(50, 2_000);
                self.at(when, Event::AgentStarts(number));
            }
        }
    }

    fn drop_connection(&mut self, number: usize) {
        self.connections[number] += 1;
        self.devices[number].disconnect();
    }

    fn wreak(&mut self) {
        if !self.chaos {
            return;
        }
        let next = self.now + self.dice.between(100, 3_000);
        self.at(next, Event::Chaos);
        let number = self.dice.below(DEVICES as u64) as usize;
        let now = self.now;
        match self.dice.below(100) {
            0..35 => {
                if self.plane_up {
                    let restored = self.control.operate(&mut self.dice);
                    for number in 0..DEVICES {
                        if restored {
                            self.drop_connection(number);
                        } else {
                            self.send_desired(number);
                        }
                    }
                }
            }
            35..43 => self.devices[number].kill_agent(),
            43..45 => self.devices[number].forget(),
            45..52 => self.devices[number].reboot(now),
            52..62 => {
                self.link_up[number] = !self.link_up[number];
                self.drop_connection(number);
            }
            62..70 => {
                self.plane_up = false;
                for number in 0..DEVICES {
                    self.drop_connection(number);
                }
                let back = now + self.dice.between(500, 20_000);
                self.at(back, Event::PlaneStarts);
            }
            70..78 => self.devices[number].disk.full = !self.devices[number].disk.full,
            78..80 => self.devices[number].lose_artifacts(),
            80..86 => self.devices[number].misfortune(now, &mut self.dice),
            86..91 => {
                let name = self.control.any_name(&mut self.dice);
                self.devices[number].restart(&name, now, &mut self.dice);
            }
            _ => self.attack(number),
        }
    }

    /// Sends a message of an attacker: a recorded one, or a forged one.
    fn attack(&mut self, number: usize) {
        let bytes = match self.dice.below(3) {
            0 => {
                let count = self.control.recorded.len() as u64;
                let pick = self.dice.below(count) as usize;
                self.control.recorded.get(pick).map(|(_, bytes)| bytes.clone())
            }
            1 => {
                let id = self.devices[number].id.to_string();
                self.control.state(number, &id).map(|mut state| {
                    state.generation += 1_000;
                    state.workloads.clear();
                    signer(9).sign(&state).unwrap()
                })
            }
            _ => self.control.recorded.last().map(|(_, bytes)| {
                let mut bytes = bytes.clone();
                let length = bytes.len() as u64;
                bytes.truncate(self.dice.below(length) as usize);
                bytes
            }),
        };
        if let Some(bytes) = bytes {
            let connection = self.connections[number];
            self.at(self.now + 1, Event::Down(number, connection, bytes));
        }
    }

    /// Repairs everything and ends all faults.
    fn calm(&mut self) {
        self.chaos = false;
        self.plane_up = true;
        self.link_up.fill(true);
        for number in 0..DEVICES {
            self.devices[number].brittle = false;
            self.devices[number].disk.full = false;
            self.at(self.now + 10, Event::AgentStarts(number));
        }
    }

    /// Checks the invariants that hold at each step.
    fn safe(&mut self) {
        for (number, device) in self.devices.iter().enumerate() {
            let mut running: BTreeMap<&str, u32> = BTreeMap::new();
            for proc in device.procs.values().filter(|proc| proc.open) {
                // Two copies never run at once.
                let this = pid(&proc.instance);
                if let Some(other) = running.insert(proc.name.as_str(), this) {
                    panic!("{}: {} runs twice: {other} and {this}", device.id, proc.name);
                }
                // Invariant 1: nothing runs that was not signed for this device.
                let signed = self.control.signed[number].iter().any(|(name, revision, spec)| {
                    *name == proc.name && *revision == proc.revision && *spec == proc.spec
                });
                assert!(signed, "{}: {} runs unsigned", device.id, proc.name);
                self.seen.insert((number, proc.instance.nonce));
            }
            // Invariant 2: the desired state that is followed is on disk.
            if let (Some(agent), None) = (&device.agent, &device.disk.desired) {
                assert_eq!(agent.version(), Default::default(), "{}: unstored", device.id);
            }
        }
    }

    /// Checks the invariants that hold after a quiet period.
    fn converged(&self) {
        for number in 0..DEVICES {
            self.device_converged(number);
        }
    }

    fn device_converged(&self, number: usize) {
        let device = &self.devices[number];
        let id = device.id.to_string();
        let agent = device.agent.as_ref().expect("it runs");
        let known = self.control.known(number);
        let Some(wanted) = self.control.state(number, &id) else {
            assert!(device.procs.is_empty());
            return;
        };
        assert_eq!(agent.version(), wanted.version(), "{id}: follows another state");
        let view = agent.view();
        assert_eq!(view.applied, wanted.version(), "{id}: not applied: {view:?}");
        assert_eq!(known.report.applied.epoch, self.control.epoch(), "{id}: reported epoch");
        assert_eq!(known.report.applied, wanted.version(), "{id}: reported version");
        for name in Control::names() {
            let procs: Vec<_> =
                device.procs.values().filter(|it| it.name == name && it.open).collect();
            let reported = known.report.workload(&name);
            let Some(workload) = wanted.workloads.get(&name) else {
                assert!(procs.is_empty(), "{id}: {name} is not wanted and runs");
                assert!(!device.disk.folders.contains(&name), "{id}: {name} left its folder");
                assert!(
                    !device.disk.saved.contains_key(&name),
                    "{id}: {name} left its saved state"
                );
                assert!(reported.is_none(), "{id}: {name} is gone and still reported");
                continue;
            };
            let behaviour = Behaviour::of(&workload.spec);
            let reported = reported.unwrap_or_else(|| panic!("{id}: {name} is not reported"));
            if workload.paused {
                // A job that has run to its end stays as it is.
                let over = matches!(reported.phase, Phase::Stopped | Phase::Failed);
                assert!(procs.is_empty(), "{id}: {name} is paused and runs");
                assert!(over || reported.phase == Phase::Paused, "{id}: {name}: {reported:?}");
                continue;
            }
            if behaviour.works() {
                let running = procs.first().is_some_and(|proc| *proc.spec == workload.spec);
                assert!(running, "{id}: {name} is wanted and does not run: {view:?}");
                assert_eq!(reported.phase, Phase::Running, "{id}: {name}");
                assert_eq!(reported.run, procs.first().map(|it| it.instance.run()), "{id}: {name}");
                assert_eq!(reported.revision, workload.revision, "{id}: {name}");
                continue;
            }
            if workload.spec.restart.policy == RestartPolicy::OnFailure {
                assert_eq!(reported.phase, Phase::Stopped, "{id}: {name}: a job that is done");
            }
            if workload.spec.restart.policy == RestartPolicy::Never {
                let over = matches!(reported.phase, Phase::Stopped | Phase::Failed);
                assert!(over, "{id}: {name}: a job that ran once: {reported:?}");
            }
            // Invariant 9: a failed revision was replaced by the last one that worked.
            let saved = &device.disk.saved.get(&name);
            if let Some(rejected) = saved.and_then(|saved| saved.rejected.as_ref())
                && rejected.revision.spec.as_ref() == &workload.spec
                && let Some(current) = saved.and_then(|saved| saved.current.as_ref())
                && Behaviour::of(&current.spec).works()
            {
                assert_eq!(procs.len(), 1, "{id}: {name}: the last good revision runs");
                assert!(!reported.reason.is_empty(), "{id}: {name}: says why");
            }
        }
        Self::keeps_no_more_artifacts(device, &wanted, &id);
    }

    /// Checks that artifacts which are neither desired nor saved were collected.
    fn keeps_no_more_artifacts(device: &Device, wanted: &DesiredState, id: &str) {
        let referenced: BTreeSet<_> = device
            .disk
            .saved
            .values()
            .flat_map(|saved| [&saved.current, &saved.previous])
            .flatten()
            .flat_map(|revision| revision.spec.run.artifacts().map(|it| it.digest))
            .chain(
                wanted
                    .workloads
                    .values()
                    .flat_map(|it| it.spec.run.artifacts().map(|it| it.digest).collect::<Vec<_>>()),
            )
            .collect();
        assert!(device.disk.artifacts.is_subset(&referenced), "{id}: artifacts are left over");
    }
}
