use std::collections::BTreeMap;

use holdfast_base::WIRE_VERSION;
use holdfast_protocol::message::{Problem, StateReport};
use proptest::prelude::*;

use super::*;
use crate::activity::event;

const NOW: u64 = 1_795_000_000;

/// Expected workload of a report: name, revision, phase and restarts.
type Shown<'a> = (&'a str, u64, Option<Phase>, u32);

fn report(
    full: bool,
    generation: u64,
    workloads: &[Shown<'_>],
    problems: Option<&[&str]>,
) -> StateReport {
    let workloads = workloads.iter().map(|(name, revision, phase, restarts)| {
        let said = phase.map(|phase| WorkloadReport {
            revision: *revision,
            phase,
            restarts: *restarts,
            run: None,
            detail: None,
            reason: if phase == Phase::Backoff { "exit code 1".into() } else { String::new() },
            progress: None,
        });
        (name.parse().unwrap(), said)
    });
    let problem = |code: &&str| Problem { code: (*code).into(), message: format!("{code} is") };
    StateReport {
        v: WIRE_VERSION,
        full,
        epoch: 1,
        generation,
        workloads: workloads.collect::<BTreeMap<_, _>>(),
        problems: problems.map(|codes| codes.iter().map(problem).collect()),
        agent: None,
        data: None,
        history: Vec::new(),
        id: None,
    }
}

/// Takes a report in, and returns the messages of the events that it causes.
fn told(device: &mut ReportRecord, said: StateReport) -> Vec<String> {
    let before = Before::of(device);
    device.take(said, NOW);
    let record = |what| EventRecord {
        number: 0,
        at: NOW,
        until: None,
        count: 1,
        while_away: false,
        device: None,
        what,
    };
    before.events(device).into_iter().map(|what| event(&record(what)).message).collect()
}

#[test]
#[allow(clippy::type_complexity, reason = "a table")]
fn a_report_is_told_by_what_it_changes() {
    use Phase::{Backoff, Fetching, Running, Starting};
    let mut device = ReportRecord::default();
    // Columns: full, generation, workloads, problems, and the expected messages.
    let table: &[(bool, u64, &[Shown<'_>], Option<&[&str]>, &[&str])] = &[
        (true, 0, &[], Some(&[]), &[]),
        (
            false,
            1,
            &[("a", 1, Some(Fetching), 0)],
            None,
            &["a: revision 1, downloading", "applied desired state 1"],
        ),
        (false, 1, &[("a", 1, Some(Running), 0)], None, &["a: downloading → running"]),
        (false, 1, &[("a", 1, Some(Running), 0)], None, &[]),
        (
            false,
            1,
            &[("a", 1, Some(Backoff), 0)],
            Some(&["disk-full", "clock", "clock"]),
            &[
                "a: running → waiting to restart: exit code 1",
                "problem disk-full began: disk-full is",
                "problem clock began: clock is",
            ],
        ),
        (false, 1, &[("a", 1, Some(Starting), 1)], None, &["a: restarted, starting"]),
        // On a slow link reports are conflated: the workload was restarted three times, and its
        // phase is the same.
        (false, 1, &[("a", 1, Some(Starting), 4)], None, &["a: restarted 3 times, last starting"]),
        (
            false,
            2,
            &[("a", 2, Some(Starting), 0), ("b", 1, Some(Running), 0)],
            Some(&["clock"]),
            &[
                "a: revision 1 → 2, starting",
                "b: revision 1, running",
                "b: running",
                "applied desired state 2, 1 before",
                "problem disk-full ended",
            ],
        ),
        (false, 2, &[("a", 0, None, 0)], None, &["a: removed"]),
        // A starting agent reports generation 0 until it has read its disk.
        (true, 0, &[("b", 1, Some(Running), 0)], Some(&["clock"]), &[]),
        (false, 2, &[], None, &[]),
        (true, 2, &[], Some(&[]), &["b: removed", "problem clock ended"]),
    ];
    for (row, (full, generation, workloads, problems, expected)) in table.iter().enumerate() {
        let said = told(&mut device, report(*full, *generation, workloads, *problems));
        assert_eq!(said, *expected, "row {row}");
    }
}

fn phase(name: &str, to: Phase, restarts: u32) -> What {
    What::Phase {
        workload: name.parse().unwrap(),
        from: Some(Phase::Running),
        to: Some(to),
        revision: 1,
        restarts,
        reason: "exit code 1".into(),
    }
}

/// Rings of a device and of the fleet, with the content that the store would have.
#[derive(Default)]
struct Disk {
    recent: Recent,
    own: Counts,
    fleet: Counts,
    places: BTreeMap<(Ring, u32), EventRecord>,
    fleet_places: BTreeMap<(Ring, u32), EventRecord>,
}

impl Disk {
    fn put(&mut self, at: u64, what: What) {
        let kept = self.recent.keep(&mut self.own, &mut self.fleet, (at, false), what);
        if let Some((number, place)) = kept.fleet {
            let record = EventRecord { number, ..kept.record.clone() };
            self.fleet_places.insert((kept.ring, place % kept.ring.fleet_size()), record);
        }
        self.places.insert((kept.ring, kept.place % kept.ring.size()), kept.record);
    }

    fn of(&self, ring: Ring) -> Vec<&EventRecord> {
        let mut all: Vec<_> =
            self.places.iter().filter(|((known, _), _)| *known == ring).map(|(_, it)| it).collect();
        all.sort_by_key(|record| record.number);
        all
    }
}

#[test]
fn a_crash_loop_is_counted_and_pushes_nothing_out() {
    let mut disk = Disk::default();
    disk.put(NOW, What::Connected { address: None });
    disk.put(NOW, phase("quiet", Phase::Running, 0));
    // A loop with an event every 30 seconds, for a day.
    for round in 0..2_880 {
        disk.put(NOW + round * 30, phase("loop", Phase::Backoff, 0));
        disk.put(NOW + round * 30 + 10, phase("loop", Phase::Starting, 1));
    }
    let workloads = disk.of(Ring::Workload);
    assert_eq!(workloads.len(), 1 + usize::from(SPELLED) + 24, "one by one, then one an hour");
    assert_eq!(workloads[0].what, phase("quiet", Phase::Running, 0));
    let counted: u32 = workloads.iter().map(|record| record.count).sum();
    assert_eq!(counted, 1 + 2 * 2_880, "each is told once");
    let last = event(workloads.last().unwrap());
    assert_eq!(last.message, "loop: restarted 120 times, last starting: exit code 1");
    assert_eq!((last.restarts, last.count), (Some(120), 240));
    assert!(last.until.is_some());
    assert_eq!(disk.of(Ring::Link).len(), 1);
    assert!(disk.fleet_places.len() < 60, "{}", disk.fleet_places.len());
    // After an hour without events, events are kept one by one again.
    let later = NOW + 2 * 86_400;
    assert!(disk.recent.settle(later));
    disk.put(later, phase("loop", Phase::Running, 0));
    assert_eq!(disk.of(Ring::Workload).last().unwrap().count, 1);
}

#[test]
fn an_hour_that_was_quiet_enough_is_told_one_by_one() {
    let mut disk = Disk::default();
    for hour in 0..10 {
        for round in 0..u64::from(SPELLED) {
            disk.put(NOW + hour * 3_600 + round * 60, phase("a", Phase::Backoff, 1));
        }
    }
    assert!(disk.of(Ring::Workload).iter().all(|record| record.count == 1));
    assert_eq!(disk.of(Ring::Workload).len(), 120);
}

#[test]
fn what_is_conflated_keeps_its_beginning() {
    let mut disk = Disk::default();
    for round in 0..20 {
        disk.put(NOW, What::Generation { from: round, to: round + 1 });
    }
    let last = disk.of(Ring::Change).pop().unwrap().clone();
    assert_eq!(last.what, What::Generation { from: u64::from(SPELLED), to: 20 });
    assert_eq!(last.count, 20 - u32::from(SPELLED));
    let text = serde_json::to_string(&last).unwrap();
    assert_eq!(serde_json::from_str::<EventRecord>(&text).unwrap(), last);
}

#[test]
fn events_are_small_on_disk() {
    let mut device = ReportRecord::default();
    let said = report(
        true,
        3,
        &[("temperature-reader", 7, Some(Phase::Backoff), 3)],
        Some(&["disk-full"]),
    );
    let before = Before::of(&device);
    device.take(said, NOW);
    let mut disk = Disk::default();
    disk.put(NOW, What::Connected { address: Some("192.0.2.33".parse().unwrap()) });
    disk.put(NOW, What::ended("the device did not answer for 450 s"));
    for what in before.events(&device) {
        disk.put(NOW, what);
    }
    let sizes: Vec<usize> =
        disk.places.values().map(|it| serde_json::to_string(it).unwrap().len()).collect();
    assert!(sizes.iter().all(|size| (40..160).contains(size)), "{sizes:?}");
    let largest = What::Phase {
        workload: "x".repeat(63).parse().unwrap(),
        from: Some(Phase::Unhealthy),
        to: Some(Phase::Unhealthy),
        revision: u64::MAX,
        restarts: u32::MAX,
        reason: short(&"\u{1}".repeat(1_000), MAX_WHY),
    };
    disk.put(NOW, largest);
    let largest = disk.of(Ring::Workload).pop().unwrap();
    assert!(serde_json::to_string(largest).unwrap().len() < 1_500);
}

/// Generates a phase, process and revision of a workload in a report.
fn any_report() -> impl Strategy<Value = WorkloadReport> {
    let phase = prop::sample::select(vec![Phase::Starting, Phase::Running, Phase::Backoff]);
    (phase, 1_u64..3, 0_u32..4, prop::option::of(1_u32..3)).prop_map(
        |(phase, revision, restarts, run)| WorkloadReport {
            revision,
            phase,
            restarts,
            run,
            detail: None,
            reason: String::new(),
            progress: None,
        },
    )
}

proptest! {
    /// Events agree with `phaseSince`: an event that changes the phase or the revision has the time
    /// since which the phase is reported.
    #[test]
    fn a_phase_is_since_its_event(said in prop::collection::vec(any_report(), 1..20)) {
        let mut device = ReportRecord::default();
        for (at, one) in (NOW..).zip(said) {
            let before = Before::of(&device);
            let was = device.workloads.first().map(|(_, was)| (was.phase, was.revision));
            let is_other = was != Some((one.phase, one.revision));
            let mut said = report(false, 0, &[], None);
            said.workloads.insert("a".parse().unwrap(), Some(one));
            device.take(said, at);
            let told = before.events(&device).iter().any(|what| match what {
                What::Phase { from, to, .. } => from != to,
                What::Revision { .. } => true,
                _ => false,
            });
            prop_assert_eq!(told, is_other);
            if told {
                prop_assert_eq!(device.marks[0].phase, at);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// For any reports: the rings of the device and its part of the fleet's are bounded, counts add
    /// up to all events that are kept, and numbers rise.
    #[test]
    fn no_device_fills_anything(
        said in prop::collection::vec((0u64..400, 0u16..400, any::<bool>(), 0u8..4), 1..3_000),
    ) {
        let mut disk = Disk::default();
        let mut at = NOW;
        for (later, name, began, what) in &said {
            at += later / 100;
            let name = format!("n{name}");
            disk.put(at, match what {
                0 => phase(&name, Phase::Backoff, 1),
                1 => What::Problem { code: name.into(), began: *began, text: "".into() },
                2 => What::ended(&name),
                _ => What::Revision { workload: name.parse().unwrap(), from: 1, to: 2, phase: Phase::Running },
            });
        }
        let hours = (at - NOW) / 3_600 + 1;
        prop_assert!(disk.fleet_places.len() as u64 <= (hours + 1) * u64::from(MAX_FLEET) + 200);
        prop_assert!(disk.recent.things.len() <= MAX_THINGS + 1);
        for ring in Ring::ALL {
            let kept = disk.of(ring);
            prop_assert!(kept.len() <= ring.size() as usize);
            prop_assert!(kept.is_sorted_by(|one, two| one.number < two.number));
        }
        let counted: u64 = Ring::ALL.iter().flat_map(|ring| disk.of(*ring)).map(|it| u64::from(it.count)).sum();
        let all = Ring::ALL.iter().all(|ring| disk.own.of(*ring) <= ring.size());
        prop_assert!(!all || counted == said.len() as u64);
        disk.recent.settle(at + TOGETHER);
        prop_assert!(disk.recent.things.is_empty());
    }
}
