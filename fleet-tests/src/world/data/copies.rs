//! World of copied data folders, and of a folder restored to an earlier state: two machines of one
//! identity take turns at one control plane. Every data record that was acknowledged on either
//! arrives, unless no disk has it any more. It arrives once, unless it waited on a disk that was
//! copied: where its number is taken, each of the two disks assigns it a new one.
//!
//! See decision 0080.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::{WIRE_VERSION, codec};
use holdfast_records::block::pack;
use holdfast_records::{Acknowledgement, Batch, Layout, Range, RangeSet, StreamName};

use super::super::Dice;
use super::device::Device;
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
    in_flight: BTreeSet<(StreamName, u64, u64)>,
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
            in_flight: BTreeSet::new(),
        }
    }

    fn is_done(&self) -> bool {
        self.device.memory.as_ref().is_some_and(|memory| {
            memory.streams.values().all(|it| it.unshipped().is_empty() && !it.has_unreported_gaps())
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
            _ => self.machines[which].in_flight.clear(),
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
            machine.in_flight.clear();
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
        machine.in_flight.clear();
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
        let lost = machine.acknowledged.difference(&taken.acknowledged).cloned();
        self.excused.extend(lost);
        self.on_two.extend(taken.waiting);
        machine.device = taken.device;
        (machine.acknowledged, machine.written) = (taken.acknowledged, taken.written);
        machine.in_flight.clear();
    }

    fn ship(&mut self) {
        let machine = &mut self.machines[self.here];
        let Some(memory) = &machine.device.memory else { return };
        let ids: Vec<u32> = memory.streams.keys().copied().collect();
        if ids.is_empty() || machine.in_flight.len() >= 3 {
            return;
        }
        let id = ids[self.dice.below(ids.len() as u64) as usize];
        let stream = &memory.streams[&id];
        let name = stream.name().clone();
        let mut open = stream.unshipped();
        for (other, from, to) in &machine.in_flight {
            if *other == name {
                open.remove(*from, *to);
            }
        }
        let most = self.dice.between(1, 20);
        let (range, rest, records) = match (open.iter().next(), stream.unreported_gaps(1).first()) {
            (Some(run), _) => {
                let records = machine.device.page(id, run.from, run.to, most as usize);
                let full = records.len() as u64 == most;
                let to = records.last().filter(|_| full).map_or(run.to, |last| last.seq);
                let range = Range { from: run.from, to };
                assert_eq!(records.len() as u64, range.len(), "{name}: it is on disk");
                (range, None, records)
            }
            (None, Some(gap)) => {
                (Range { from: gap.from, to: gap.to }, Some(gap.reason), Vec::new())
            }
            (None, None) => return,
        };
        let (answered, gaps) = stream.gaps_with(range, self.dice.below(4) as usize);
        let Range { from, to } = answered;
        let doubt = stream.is_unsure(from);
        let block =
            if records.is_empty() { Vec::new() } else { pack(&records, Layout::Smallest, false) };
        machine.in_flight.insert((name.clone(), from, to));
        let fetched = false;
        let batch =
            Batch { v: WIRE_VERSION, stream: name, from, to, rest, gaps, fetched, doubt, block };
        self.up.push(codec::encode(&batch).unwrap());
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
            let sent = (acked.stream.clone(), acked.from, acked.to);
            if machine.device.memory.is_none() || !machine.in_flight.remove(&sent) {
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
            machine.in_flight.clear();
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
                    self.machines[which].in_flight.clear();
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
