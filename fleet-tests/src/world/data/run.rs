//! Run of the data world: chaos for some hundred steps, then quiet until nothing changes any more.

use std::collections::BTreeMap;

use holdfast_agent::core::data::outbound::{Sent, SentBatches};
use holdfast_agent::core::data::step::Ready;
use holdfast_base::codec;
use holdfast_records::block::unpack;
use holdfast_records::{
    Acknowledgement, Batch, DataPolicies, GapReason, Order, Overflow, Range, Ship, StreamName,
    StreamPolicy,
};

use super::super::Dice;
use super::device::{Device, size};
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
    sent: SentBatches,
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
        sent: SentBatches::default(),
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
            84..86 => self.keep_marks(),
            86 => self.fetch(),
            87..90 => self.kill_device(),
            90..92 => self.kill_plane(),
            92..95 => self.link_up = self.dice.permille(600),
            95 => self.damage(),
            96 => self.choose_policies(),
            97 => self.jump(),
            98 => self.lose_store(),
            _ => self.sent = SentBatches::default(),
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
        self.sent = SentBatches::default();
        if self.device.start(&mut self.dice).is_err() {
            self.outcome.crashes += 1;
        }
    }

    fn crashed(&mut self) {
        self.device.crash();
        self.sent = SentBatches::default();
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
                    // A number, which a policy can compare with the one before.
                    self.next.to_string().into_bytes()
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

    /// Sends the next batch of a random stream, since any order must be right, and again before it
    /// was acknowledged.
    fn ship(&mut self) {
        if !self.link_up || self.sent.len() >= 3 {
            return;
        }
        self.connected();
        let names = self.device.names();
        if names.is_empty() {
            return;
        }
        let name = &names[self.dice.below(names.len() as u64) as usize];
        let (bytes, now) = (size(&mut self.dice), self.device_now());
        let Some(ready) = self.device.batch(name, bytes, now) else { return };
        let Ready { stream, range, records, payload } = ready;
        let batch: Batch = codec::decode(&payload).unwrap();
        if !batch.block.is_empty() {
            for record in unpack(&batch.block).unwrap() {
                self.oracle.means(name, record.seq, &record.value);
            }
        }
        self.sent.add(Sent { stream, range, records });
        self.flying.push(Message::Up(payload));
    }

    /// Requests records in full, though the policy reduces or withholds them.
    fn fetch(&mut self) {
        let stream: StreamName = STREAMS[self.dice.below(3) as usize].parse().unwrap();
        let most = self.dice.between(1, 30) * 9 * 1024;
        self.device.want(&stream, most);
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
            let range = Range { from: acked.from, to: acked.to };
            if self.sent.take(&acked.stream, range).is_some() {
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
        self.sent = SentBatches::default();
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
            policy.ship = match self.dice.below(10) {
                0 => Ship::Never,
                1..4 => Ship::OnChange { field: String::new(), deadband: "3".into() },
                _ => Ship::Always,
            };
            match policy.ship {
                Ship::Never => drop(self.oracle.possible.insert(GapReason::Withheld)),
                Ship::Always => {}
                _ => drop(self.oracle.possible.insert(GapReason::Reduced)),
            }
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
        self.sent = SentBatches::default();
        for round in 0..20_000 {
            if self.device.memory.is_none() {
                self.start_device();
            }
            if self.flying.is_empty() && !self.plane.is_busy() {
                self.sent = SentBatches::default();
            }
            // What is reduced is reported when some time has passed.
            self.now += 1_000_000;
            self.connected();
            self.ship();
            self.deliver();
            self.commit();
            if round % 200 == 0 {
                self.check();
            }
            let Some(memory) = &self.device.memory else { continue };
            let done = memory
                .streams()
                .values()
                .all(|stream| stream.unshipped().is_empty() && !stream.has_unreported_gaps());
            if done && self.flying.is_empty() && !self.plane.is_busy() {
                self.check();
                return;
            }
        }
        panic!("it does not come to rest: {:?}", self.sent);
    }
}
