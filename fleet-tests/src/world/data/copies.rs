//! World of copied data folders, and of a folder restored to an earlier state: two machines of one
//! identity take turns at one control plane. Every data record that was acknowledged on either
//! arrives, unless no disk has it any more. It arrives once, unless it waited on a disk that was
//! copied: where its number is taken, each of the two disks assigns it a new one.
//!
//! See decision 0080.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_agent::core::data::outbound::{Sent, SentBatches};
use holdfast_agent::core::data::step::Ready;
use holdfast_records::{Acknowledgement, Range, RangeSet, StreamName};

use super::super::Dice;
use super::device::{Device, size};
use super::plane::Plane;

const STEPS: u64 = 200;
const STREAMS: [&str; 2] = ["press/temp", "events"];
/// Size limit that is never reached: no record is dropped by quota here.
const LIMIT: u64 = 1 << 40;

/// Result of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Number of data records that were acknowledged to workloads.
    pub acknowledged: usize,
    /// Number of acknowledged records that were lost with the restored disk.
    pub lost: usize,
    /// Number of sequence numbers that stood for two records.
    pub conflicts: u64,
}

/// One of the two machines.
struct Machine {
    device: Device,
    /// Earlier state of the machine's disk.
    snapshot: Option<Snapshot>,
    /// Records acknowledged here, reset with the disk.
    acknowledged: BTreeSet<Vec<u8>>,
    /// Records acknowledged here, and those that may be on the disk without an acknowledgement.
    written: BTreeSet<Vec<u8>>,
    sent: SentBatches,
}

/// State of a disk, with the records acknowledged and written by then.
struct Snapshot {
    device: Device,
    acknowledged: BTreeSet<Vec<u8>>,
    written: BTreeSet<Vec<u8>>,
    /// Written records that had not arrived by then.
    waiting: BTreeSet<Vec<u8>>,
}

struct World {
    now: u64,
    dice: Dice,
    plane: Plane,
    machines: Vec<Machine>,
    /// Index of the machine that is connected.
    here: usize,
    up: Vec<Vec<u8>>,
    acknowledged: BTreeSet<Vec<u8>>,
    excused: BTreeSet<Vec<u8>>,
    /// Records that waited on a disk when it was copied, and so are on two disks.
    on_two: BTreeSet<Vec<u8>>,
    next: u64,
}

/// Runs the world of this seed.
///
/// # Panics
/// Panics if a record is lost, or arrives twice.
pub fn run(seed: u64) -> Copied {
    let mut world = World {
        now: 1_795_000_000_000,
        dice: Dice::new(seed),
        plane: Plane::default(),
        machines: vec![Machine::new(Device::new(LIMIT))],
        here: 0,
        up: Vec::new(),
        acknowledged: BTreeSet::new(),
        excused: BTreeSet::new(),
        on_two: BTreeSet::new(),
        next: 0,
    };
    for _ in 0..STEPS {
        world.step();
    }
    world.rest();
    world.finish()
}

impl Machine {
    fn new(device: Device) -> Self {
        Self {
            device,
            snapshot: None,
            acknowledged: BTreeSet::new(),
            written: BTreeSet::new(),
            sent: SentBatches::default(),
        }
    }

    fn is_done(&self) -> bool {
        self.device.memory.as_ref().is_some_and(|memory| {
            memory
                .streams()
                .values()
                .all(|it| it.unshipped().is_empty() && !it.has_unreported_gaps())
        })
    }
}

impl World {
    fn step(&mut self) {
        self.now += self.dice.below(2_000);
        let which = self.dice.below(self.machines.len() as u64) as usize;
        self.start(which);
        match self.dice.below(100) {
            0..35 => self.publish(which),
            35..65 => self.ship(),
            65..80 => self.commit(),
            80..85 => {
                // The machine loses power.
                self.machines[which].device.crash();
            }
            85..90 => self.connect(which),
            90..93 if self.machines.len() == 1 => {
                let taken = self.snapshot(0);
                self.on_two.extend(taken.waiting);
                let mut copy = Machine::new(taken.device);
                (copy.acknowledged, copy.written) = (taken.acknowledged, taken.written);
                self.machines.push(copy);
            }
            93..96 => {
                self.machines[which].snapshot = Some(self.snapshot(which));
            }
            96..98 => self.put_back(which),
            _ => self.machines[which].sent = SentBatches::default(),
        }
    }

    fn snapshot(&self, which: usize) -> Snapshot {
        let machine = &self.machines[which];
        let arrived: BTreeSet<Vec<u8>> =
            self.plane.records().map(|record| record.value.to_vec()).collect();
        Snapshot {
            device: machine.device.copy(),
            acknowledged: machine.acknowledged.clone(),
            written: machine.written.clone(),
            waiting: machine.written.difference(&arrived).cloned().collect(),
        }
    }

    fn start(&mut self, which: usize) {
        let machine = &mut self.machines[which];
        if machine.device.memory.is_none() {
            machine.sent = SentBatches::default();
            // A device that ends while it starts is started again at its next turn.
            let _ended = machine.device.start(&mut self.dice);
        }
    }

    fn publish(&mut self, which: usize) {
        let stream: StreamName = STREAMS[self.dice.below(2) as usize].parse().unwrap();
        let values: Vec<Vec<u8>> = (0..self.dice.between(1, 14))
            .map(|_| {
                self.next += 1;
                format!("{stream} {}", self.next).into_bytes()
            })
            .collect();
        let machine = &mut self.machines[which];
        if machine.device.memory.is_none() {
            return;
        }
        machine.written.extend(values.iter().cloned());
        let group = vec![(stream, values.clone())];
        if machine.device.store(group, (self.now, true), &mut self.dice).is_ok() {
            machine.acknowledged.extend(values.iter().cloned());
            self.acknowledged.extend(values);
        } else {
            machine.device.crash();
        }
    }

    /// Connects the other machine, or the same one again; it may be told the highest sequence
    /// numbers.
    fn connect(&mut self, which: usize) {
        self.here = which;
        self.up.clear();
        let told = self.dice.permille(700);
        let machine = &mut self.machines[which];
        machine.sent = SentBatches::default();
        if told
            && machine.device.memory.is_some()
            && machine.device.diverged(self.plane.given(), &mut self.dice).is_err()
        {
            machine.device.crash();
        }
    }

    /// Restores a disk to its snapshot; data written since is lost, unless it has arrived.
    fn put_back(&mut self, which: usize) {
        let machine = &mut self.machines[which];
        let Some(taken) = machine.snapshot.take() else { return };
        if which == self.here {
            // It is connected anew: no acknowledgement of a former batch comes after that.
            self.up.clear();
        }
        let lost = machine.acknowledged.difference(&taken.acknowledged).cloned();
        self.excused.extend(lost);
        self.on_two.extend(taken.waiting);
        machine.device = taken.device;
        (machine.acknowledged, machine.written) = (taken.acknowledged, taken.written);
        machine.sent = SentBatches::default();
    }

    fn ship(&mut self) {
        let machine = &mut self.machines[self.here];
        let names = machine.device.names();
        if names.is_empty() || machine.sent.len() >= 3 {
            return;
        }
        let name = &names[self.dice.below(names.len() as u64) as usize];
        let bytes = size(&mut self.dice);
        let Some(ready) = machine.device.batch(name, bytes, self.now) else { return };
        let Ready { stream, range, records, payload } = ready;
        machine.sent.add(Sent { stream, range, records });
        self.up.push(payload);
    }

    /// Delivers batches under way or loses them, and likewise the acknowledgements.
    fn commit(&mut self) {
        for payload in std::mem::take(&mut self.up) {
            if !self.dice.permille(50) {
                self.plane.receive(payload);
            }
        }
        if self.plane.is_busy() {
            let ack = self.plane.commit();
            assert!(self.plane.refused.is_empty(), "{:?}", self.plane.refused);
            if !self.dice.permille(100) {
                self.told(&ack);
            }
        }
    }

    fn told(&mut self, ack: &Acknowledgement) {
        let machine = &mut self.machines[self.here];
        for acked in &ack.acked {
            let range = Range { from: acked.from, to: acked.to };
            let is_up = machine.device.memory.is_some();
            if !is_up || machine.sent.take(&acked.stream, range).is_none() {
                continue;
            }
            let conflict = RangeSet::from_ranges(acked.conflict.iter().copied());
            for range in conflict.missing(acked.from, acked.to).iter() {
                machine.device.settle(&acked.stream, range);
            }
            let told = (&conflict, acked.highest);
            if !conflict.is_empty()
                && machine.device.renumber(&acked.stream, told, &mut self.dice).is_err()
            {
                machine.device.crash();
            }
        }
    }

    /// Ends all faults; the machines ship what they have, in turns.
    fn rest(&mut self) {
        for machine in &mut self.machines {
            machine.device.brittle = false;
            machine.sent = SentBatches::default();
        }
        for _ in 0..40 {
            for which in 0..self.machines.len() {
                self.start(which);
                self.connect(which);
                for _ in 0..200 {
                    self.ship();
                    self.commit();
                    if self.up.is_empty() && self.machines[which].is_done() {
                        break;
                    }
                    self.machines[which].sent = SentBatches::default();
                }
                self.machines[which].device.consistent();
            }
            if self.machines.iter().all(Machine::is_done) {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn finish(&self) -> Copied {
        self.plane.consistent();
        let mut times: BTreeMap<&[u8], u32> = BTreeMap::new();
        for record in self.plane.records() {
            *times.entry(&record.value).or_default() += 1;
        }
        let twice =
            times.iter().find(|(value, times)| **times > 1 && !self.on_two.contains(**value));
        let twice = twice.map(|(value, _)| String::from_utf8_lossy(value));
        assert_eq!(twice, None, "a record arrived twice that was on one disk alone");
        let missing: Vec<_> = self
            .acknowledged
            .iter()
            .filter(|value| !times.contains_key(value.as_slice()))
            .collect();
        let lost = missing.iter().find(|value| !self.excused.contains(**value));
        let said = lost.map(|value| String::from_utf8_lossy(value));
        assert_eq!(said, None, "a record that was on a disk is lost");
        Copied {
            acknowledged: self.acknowledged.len(),
            lost: missing.len(),
            conflicts: self.plane.conflicts,
        }
    }
}
