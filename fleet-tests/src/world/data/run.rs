//! Run of the data world: chaos for some hundred steps, then quiet until nothing changes any more.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::{WIRE_VERSION, codec};
use holdfast_records::block::pack;
use holdfast_records::{
    Acknowledgement, Batch, DataPolicies, GapReason, Layout, Order, Overflow, Range, StreamName,
    StreamPolicy,
};

use super::super::Dice;
use super::device::Device;
use super::oracle::Oracle;
use super::plane::Plane;

const STEPS: u64 = 250;
const STREAMS: [&str; 3] = ["press/temp", "press/vibration", "events"];

/// Result of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Number of data records that were acknowledged to workloads.
    pub acknowledged: usize,
    /// Number of acknowledged records that were received.
    pub received: usize,
    /// Number of acknowledged records that are in the ledger with a reason.
    pub gaps: usize,
    /// Number of times that either side ended.
    pub crashes: u64,
    /// Number of records that came more than once.
    pub duplicates: u64,
    /// Number of files that were lost or torn.
    pub damages: u64,
}

enum Message {
    Up(Vec<u8>),
    Down(Acknowledgement),
}

struct World {
    now: u64,
    dice: Dice,
    device: Device,
    /// Offset of the device's clock from the world's in milliseconds; and whether the device relies
    /// on its clock.
    clock: (i64, bool),
    plane: Plane,
    plane_up: bool,
    link_up: bool,
    flying: Vec<Message>,
    /// Batches that were sent and not acknowledged.
    in_flight: BTreeSet<(StreamName, u64, u64)>,
    oracle: Oracle,
    /// Time at which each record was stored, by the world's clock.
    stored: BTreeMap<(StreamName, u64), u64>,
    calm: bool,
    next: u64,
    outcome: Outcome,
}

/// Runs the world of this seed.
///
/// # Panics
/// Panics if an invariant does not hold, and names it.
pub fn run(seed: u64) -> Outcome {
    let mut dice = Dice::new(seed);
    let limit = dice.between(60, 200) * 9 * 1024;
    let mut world = World {
        now: 1_795_000_000_000,
        device: Device::new(limit),
        clock: (0, true),
        plane: Plane::default(),
        plane_up: true,
        link_up: true,
        flying: Vec::new(),
        in_flight: BTreeSet::new(),
        oracle: Oracle::default(),
        stored: BTreeMap::new(),
        calm: false,
        next: 0,
        outcome: Outcome::default(),
        dice,
    };
    world.oracle.possible.extend([GapReason::Quota]);
    world.device.lies = world.dice.permille(250);
    world.choose_policies();
    for step in 0..STEPS {
        let crashes = world.outcome.crashes;
        world.step();
        // Every state after a crash is checked, and every few others.
        if crashes != world.outcome.crashes || step % 8 == 0 {
            world.oracle.check(&world.device, &world.plane);
        }
        // The checks of sums are the most expensive, so they run less often.
        if step % 24 == 0 {
            world.check();
        }
    }
    world.rest();
    let (received, gaps) = world.oracle.finish(&world.plane);
    Outcome {
        acknowledged: world.oracle.count(),
        received,
        gaps,
        duplicates: world.plane.duplicates(),
        ..world.outcome
    }
}

impl World {
    fn step(&mut self) {
        self.now += self.dice.below(2_000);
        if self.device.memory.is_none() {
            self.start_device();
        }
        match self.dice.below(100) {
            0..30 => self.publish(),
            30..50 => self.ship(),
            50..70 => self.deliver(),
            70..80 => self.commit(),
            80..84 => self.expire(),
            84..87 => self.keep_marks(),
            87..90 => self.kill_device(),
            90..92 => self.kill_plane(),
            92..95 => self.link_up = self.dice.permille(600),
            95 => self.damage(),
            96 => self.choose_policies(),
            97 => self.jump(),
            98 => self.lose_store(),
            _ => self.in_flight.clear(),
        }
    }

    fn check(&mut self) {
        self.oracle.check(&self.device, &self.plane);
        self.device.consistent();
        self.plane.consistent();
        assert!(self.plane.refused.is_empty(), "refused: {:?}", self.plane.refused);
    }

    fn device_now(&self) -> u64 {
        self.now.saturating_add_signed(self.clock.0)
    }

    fn start_device(&mut self) {
        self.in_flight.clear();
        if self.device.start(&mut self.dice).is_err() {
            self.outcome.crashes += 1;
        }
    }

    fn crashed(&mut self) {
        self.device.crash();
        self.in_flight.clear();
        self.outcome.crashes += 1;
    }

    fn publish(&mut self) {
        if self.device.memory.is_none() {
            return;
        }
        let mut group = Vec::new();
        for _ in 0..self.dice.between(1, 4) {
            let stream: StreamName = STREAMS[self.dice.below(3) as usize].parse().unwrap();
            let values: Vec<Vec<u8>> = (0..self.dice.between(1, 14))
                .map(|_| {
                    self.next += 1;
                    format!("{stream} {}", self.next).into_bytes()
                })
                .collect();
            group.push((stream, values));
        }
        let clock = (self.device_now(), self.clock.1);
        match self.device.store(group.clone(), clock, &mut self.dice) {
            Ok(told) => {
                for ((stream, range, kept), (_, values)) in told.iter().zip(&group) {
                    if *kept {
                        self.oracle.acknowledge(stream, *range, values);
                        let numbers = range.from..=range.to;
                        self.stored.extend(numbers.map(|seq| ((stream.clone(), seq), self.now)));
                    } else {
                        self.oracle.refuse(stream, *range);
                    }
                }
            }
            Err(_) => self.crashed(),
        }
    }

    /// Sends a batch of a random stream, since any order must be right.
    fn ship(&mut self) {
        if !self.link_up || self.in_flight.len() >= 3 {
            return;
        }
        self.connected();
        let Some(memory) = &self.device.memory else { return };
        let ids: Vec<u32> = memory.streams.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[self.dice.below(ids.len() as u64) as usize];
        let stream = &memory.streams[&id];
        let name = stream.name().clone();
        let mut open = stream.unshipped();
        for (other, from, to) in &self.in_flight {
            if *other == name {
                open.remove(*from, *to);
            }
        }
        let gap = stream.unreported_gaps(1).first().copied();
        let telling = self.dice.below(4) as usize;
        let newest =
            self.device.policies.of(&name).is_some_and(|(_, it)| it.order == Order::NewestFirst);
        let run = if newest { open.iter().next_back() } else { open.iter().next() };
        let most = self.dice.between(1, 20);
        let (from, to, records) = match run {
            Some(run) if newest => {
                let from = run.from.max((run.to + 1).saturating_sub(most));
                (from, run.to, self.device.page(id, from, run.to, usize::MAX))
            }
            Some(run) => {
                let records = self.device.page(id, run.from, run.to, most as usize);
                let full = records.len() as u64 == most;
                let to = records.last().filter(|_| full).map_or(run.to, |last| last.seq);
                (run.from, to, records)
            }
            None => match gap {
                Some(gap) => (gap.from, gap.to, Vec::new()),
                None => return,
            },
        };
        for record in &records {
            self.oracle.means(&name, record.seq, &record.value);
        }
        let whole = records.len() as u64 == to - from + 1 || run.is_none();
        let block = if records.is_empty() {
            Vec::new()
        } else {
            pack(&records, Layout::Smallest, self.dice.permille(30))
        };
        let rest = match gap {
            Some(gap) if run.is_none() => Some(gap.reason),
            _ => (!whole).then_some(GapReason::Thinned),
        };
        let (answered, gaps) = stream.gaps_with(Range { from, to }, telling);
        let (from, to) = (answered.from, answered.to);
        self.in_flight.insert((name.clone(), from, to));
        let batch = Batch {
            v: WIRE_VERSION,
            stream: name,
            from,
            to,
            rest,
            gaps,
            fetched: false,
            doubt: stream.is_unsure(from),
            block,
        };
        let bytes = codec::encode(&batch).unwrap();
        self.flying.push(Message::Up(bytes));
    }

    /// Delivers a random message under way, loses it, or delivers it and leaves it under way.
    fn deliver(&mut self) {
        if self.flying.is_empty() {
            return;
        }
        let at = self.dice.below(self.flying.len() as u64) as usize;
        let fate = self.dice.below(if self.calm { 1 } else { 10 });
        let message = match (&self.flying[at], fate) {
            (Message::Up(bytes), 8) => Message::Up(bytes.clone()),
            (Message::Down(ack), 8) => Message::Down(ack.clone()),
            _ => self.flying.swap_remove(at),
        };
        match message {
            _ if fate == 9 || !self.link_up => {}
            Message::Up(bytes) if self.plane_up => self.plane.receive(bytes),
            Message::Up(_) => {}
            Message::Down(ack) => self.acknowledged(&ack),
        }
    }

    /// Tells a connected device which store the control plane has, before anything else.
    fn connected(&mut self) {
        let told = self.link_up && self.plane_up && self.device.memory.is_some();
        if told && self.device.stored_in(self.plane.store, &mut self.dice).is_err() {
            self.crashed();
        }
    }

    fn acknowledged(&mut self, ack: &Acknowledgement) {
        if self.device.memory.is_none() {
            return;
        }
        if self.device.stored_in(self.plane.store, &mut self.dice).is_err() {
            return self.crashed();
        }
        for acked in &ack.acked {
            // A batch from before a restart may have had other gaps: it accounts for its own
            // numbers alone.
            if self.in_flight.remove(&(acked.stream.clone(), acked.from, acked.to)) {
                let range = Range { from: acked.from, to: acked.to };
                self.device.settle(&acked.stream, range);
            }
        }
    }

    fn commit(&mut self) {
        if self.plane_up && self.plane.is_busy() {
            // Without a fault the acknowledgement is sent; else it is lost with the process.
            let ack = self.plane.commit();
            if self.calm || !self.dice.permille(100) {
                self.flying.push(Message::Down(ack));
            } else {
                self.plane.crash();
                self.outcome.crashes += 1;
            }
        }
    }

    fn expire(&mut self) {
        let (now, trusted) = (self.device_now(), self.clock.1);
        if !trusted || self.device.memory.is_none() {
            return;
        }
        let before = self.device.on_disk();
        if self.device.expire(now, &mut self.dice).is_err() {
            return self.crashed();
        }
        // No record expires before its time, whatever the clock showed when it was stored.
        for gone in before.difference(&self.device.on_disk()) {
            let ttl = self.device.ttl(&gone.0).unwrap_or(u64::MAX);
            let early = self.stored.get(gone).is_some_and(|at| at.saturating_add(ttl) >= self.now);
            assert!(!early, "{} {} expired too early", gone.0, gone.1);
        }
    }

    fn keep_marks(&mut self) {
        if self.device.memory.is_some() && self.device.keep_marks(&mut self.dice).is_err() {
            self.crashed();
        }
    }

    fn kill_device(&mut self) {
        self.crashed();
    }

    fn kill_plane(&mut self) {
        self.plane_up = !self.plane_up;
        self.plane.crash();
        self.outcome.crashes += 1;
    }

    /// Switches power off, with a file that is unreadable afterwards, or a disk that lied.
    fn damage(&mut self) {
        if self.dice.permille(500) {
            return;
        }
        self.outcome.damages += 1;
        self.oracle.possible.insert(GapReason::Damaged);
        self.crashed();
        if self.device.lies {
            self.oracle.lied = true;
            self.device.roll_back();
        } else {
            self.device.destroy();
        }
    }

    /// Loses the control plane's machine with everything stored on it, and its connections.
    fn lose_store(&mut self) {
        if self.dice.permille(700) {
            return;
        }
        self.outcome.damages += 1;
        self.oracle.possible.insert(GapReason::Damaged);
        self.oracle.reopen();
        self.plane.lose();
        self.flying.clear();
        self.in_flight.clear();
    }

    fn jump(&mut self) {
        let far = 40 * 24 * 3_600_000;
        let to = i64::try_from(self.dice.below(2 * far)).unwrap() - i64::try_from(far).unwrap();
        // A device that notices the jump does not let anything expire by such a clock.
        self.clock = if self.dice.permille(500) { (0, true) } else { (to, false) };
    }

    fn choose_policies(&mut self) {
        let mut policies = DataPolicies::default();
        for name in STREAMS {
            let mut policy =
                StreamPolicy { streams: vec![name.parse().unwrap()], ..StreamPolicy::default() };
            policy.priority = self.dice.below(10) as u8;
            policy.quota_bytes =
                self.dice.permille(500).then(|| self.dice.between(10, 120) * 9 * 1024);
            policy.ttl_ms = self.dice.permille(300).then(|| self.dice.between(5_000, 200_000));
            policy.overflow = match self.dice.below(3) {
                0 => Overflow::DropOldest,
                1 => Overflow::DropNewest,
                _ => Overflow::Thin { keep_every: self.dice.between(2, 5) as u32 },
            };
            policy.order =
                if self.dice.permille(500) { Order::NewestFirst } else { Order::OldestFirst };
            if policy.ttl_ms.is_some() {
                self.oracle.possible.insert(GapReason::Expired);
            }
            if matches!(policy.overflow, Overflow::Thin { .. }) {
                self.oracle.possible.insert(GapReason::Thinned);
            }
            policies.streams.insert(name.replace('/', "-").parse().unwrap(), policy);
        }
        self.device.policies = policies;
    }

    /// Ends all faults and ships everything that waits.
    fn rest(&mut self) {
        (self.calm, self.device.brittle) = (true, false);
        (self.plane_up, self.link_up) = (true, true);
        self.in_flight.clear();
        for round in 0..20_000 {
            if self.device.memory.is_none() {
                self.start_device();
            }
            if self.flying.is_empty() && !self.plane.is_busy() {
                self.in_flight.clear();
            }
            self.connected();
            self.ship();
            self.deliver();
            self.commit();
            if round % 200 == 0 {
                self.check();
            }
            let Some(memory) = &self.device.memory else { continue };
            let done = memory
                .streams
                .values()
                .all(|stream| stream.unshipped().is_empty() && !stream.has_unreported_gaps());
            if done && self.flying.is_empty() && !self.plane.is_busy() {
                self.check();
                return;
            }
        }
        panic!("it does not come to rest: {:?}", self.in_flight);
    }
}
