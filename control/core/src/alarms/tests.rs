//! Tables of the engine through time: alarms of devices, and messages about them.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::ids::{Labels, Name};

use super::silence::{Matcher, Silence};
use super::*;
use crate::notification::Notification;
use crate::notification::{Target, Webhook};
use holdfast_api::Muting;
use holdfast_api::Severity;
use holdfast_api::selector::Selector;

const START: u64 = 1_000_000;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn document(change: impl FnOnce(&mut Notification)) -> Document {
    let mut notification = Notification {
        severity: Severity::Warning,
        kinds: Vec::new(),
        group_by: vec!["site".into(), "kind".into()],
        delay: 60,
        group_wait: 10,
        group_interval: 120,
        repeat: 3_600,
        send_resolved: true,
        link: None,
        to: Target::Webhook(Webhook {
            url: "http://a/".into(),
            url_is_secret: false,
            secret: None,
            headers: BTreeMap::new(),
            ca: None,
        }),
        hidden: BTreeMap::new(),
    };
    change(&mut notification);
    Document { name: name("night"), devices: Selector::default(), notification }
}

/// World of devices with alarms, and an engine that looks at it every 5 s.
struct World {
    engine: Engine,
    documents: Vec<Document>,
    silences: Vec<Silence>,
    /// Start of each alarm, by device, kind and code.
    alarms: BTreeMap<(String, &'static str, String), u64>,
    silent: BTreeSet<String>,
    store: BTreeMap<String, Vec<u8>>,
    now: u64,
    /// Delivered messages: time since the start, status, count and title.
    told: Vec<(u64, Status, usize, String)>,
    fails: bool,
}

impl World {
    fn new(documents: Vec<Document>) -> Self {
        Self {
            engine: Engine::new(START - SETTLING, 7),
            documents,
            silences: Vec::new(),
            alarms: BTreeMap::new(),
            silent: BTreeSet::new(),
            store: BTreeMap::new(),
            now: START,
            told: Vec::new(),
            fails: false,
        }
    }

    fn on(&mut self, device: &str, kind: &'static str, code: &str) {
        self.alarms.insert((device.into(), kind, code.into()), self.now);
    }

    fn off(&mut self, device: &str, kind: &'static str, code: &str) {
        self.alarms.remove(&(device.into(), kind, code.into()));
    }

    fn turn(&mut self) {
        self.engine.begin();
        for ((device, kind, code), since) in &self.alarms {
            let severity = if *kind == "problem" { Severity::Warning } else { Severity::Critical };
            let message = format!("{kind} {code}");
            let seen = Seen {
                kind,
                code,
                severity,
                message: &message,
                since: *since,
                is_known: !self.silent.contains(device),
            };
            let site = device.split('-').next().unwrap();
            let labels: Labels = [("site".to_owned(), site.to_owned())].into();
            self.engine.see(&name(device), &labels, seen, self.now);
        }
        let silent = self.silent.clone();
        let presence = move |name: &Name| {
            if silent.contains(name.as_str()) { Presence::Silent } else { Presence::Heard }
        };
        let turn = Turn {
            now: self.now,
            documents: &self.documents,
            silences: &self.silences,
            presence: &presence,
        };
        let turned = self.engine.turn(&turn);
        self.silences.retain(|silence| !turned.ended.contains(&silence.id));
        self.write(turned.writes);
        let jobs = self.engine.due(self.now);
        for job in jobs {
            let message = &job.message;
            let refused = NotDelivered::Refused("503".into());
            let outcome = if self.fails { Err(refused) } else { Ok("200".into()) };
            if !self.fails {
                let said = (self.now - START, message.status, message.count, message.title.clone());
                self.told.push(said);
            }
            let writes = self.engine.done(&job.notification, &message.id, &outcome, self.now, 0);
            self.write(writes);
        }
    }

    fn write(&mut self, writes: Vec<Write>) {
        for (key, value) in writes {
            match value {
                Some(value) => drop(self.store.insert(key, value)),
                None => drop(self.store.remove(&key)),
            }
        }
    }

    /// Lets this many seconds pass.
    fn pass(&mut self, seconds: u64) -> &mut Self {
        let end = self.now + seconds;
        while self.now < end {
            self.turn();
            self.now += 5;
        }
        self
    }

    /// Restarts the control plane: everything in memory is lost.
    fn restart(&mut self) {
        self.engine = Engine::new(self.now, 8);
        for (key, value) in &self.store {
            self.engine.take(key, value).unwrap();
        }
    }

    fn said(&self) -> Vec<(u64, &'static str, usize)> {
        self.told.iter().map(|(at, status, count, _)| (*at, status.as_str(), *count)).collect()
    }
}

#[test]
fn what_lasts_is_told_once_then_again_after_the_repeat_and_its_end_once() {
    let mut world = World::new(vec![document(|_| {})]);
    world.on("berlin-1", "failing", "hello");
    world.pass(60 + 10);
    assert_eq!(world.said(), [], "it has not lasted, and the group waits");
    world.pass(3_600);
    assert_eq!(world.said(), [(70, "firing", 1)]);
    world.pass(100);
    assert_eq!(world.said(), [(70, "firing", 1), (3_670, "firing", 1)], "repeated");
    let gone = world.now - START;
    world.off("berlin-1", "failing", "hello");
    world.pass(4_000);
    let expected = [(70, "firing", 1), (3_670, "firing", 1), (gone + 60, "resolved", 0)];
    assert_eq!(world.said(), expected);
    assert_eq!(world.told[0].3, "Critical: berlin-1: failing hello (site berlin, failing)");
    assert_eq!(world.told[2].3, "Resolved: berlin-1: failing hello (site berlin, failing)");
    let keys: Vec<_> = world.store.keys().cloned().collect();
    assert_eq!(keys, ["notified/night"], "nothing else is left in the store");
}

#[test]
fn what_comes_and_goes_within_the_delay_is_never_told() {
    let mut world = World::new(vec![document(|_| {})]);
    for _ in 0..20 {
        world.on("berlin-1", "failing", "hello");
        world.pass(45);
        world.off("berlin-1", "failing", "hello");
        world.pass(45);
    }
    assert_eq!(world.said(), []);
    // A reported alarm that flaps is neither resolved nor reported again.
    world.on("berlin-1", "failing", "hello");
    world.pass(90);
    for _ in 0..10 {
        world.off("berlin-1", "failing", "hello");
        world.pass(30);
        world.on("berlin-1", "failing", "hello");
        world.pass(90);
    }
    assert_eq!(world.said().len(), 1, "{:?}", world.said());
}

#[test]
fn a_site_that_goes_is_one_message_with_a_count_and_names() {
    let mut world = World::new(vec![document(|_| {})]);
    for number in 0..3_000 {
        world.on(&format!("berlin-{number:04}"), "lost", "");
    }
    world.on("kiel-1", "lost", "");
    world.pass(75);
    let told: BTreeMap<_, _> =
        world.told.iter().map(|(.., count, title)| (*count, title.as_str())).collect();
    assert_eq!(
        told[&3_000],
        "Critical: 3000 alarms, the first on berlin-0000, berlin-0001, berlin-0002 (site berlin, lost)"
    );
    world.pass(10);
    assert_eq!(world.told.len(), 2, "{:?}", world.said());
    let told: Vec<&Vec<u8>> =
        world.store.iter().filter(|(key, _)| key.starts_with("told/")).map(|(_, v)| v).collect();
    assert!(told.iter().all(|value| value.len() < 80_000), "records of the store stay small");
    // Of more alarms than are remembered one by one, none is reported again.
    world.pass(3_000);
    assert_eq!(world.told.len(), 2, "{:?}", world.said());
}

#[test]
fn others_of_a_group_are_told_after_the_interval_and_partial_ends_with_them() {
    let mut world = World::new(vec![document(|_| {})]);
    world.on("berlin-1", "lost", "");
    world.on("berlin-2", "lost", "");
    world.pass(80);
    world.on("berlin-3", "lost", "");
    world.off("berlin-1", "lost", "");
    world.pass(200);
    assert_eq!(world.said(), [(70, "firing", 2), (190, "firing", 2)]);
    for device in ["berlin-2", "berlin-3"] {
        world.off(device, "lost", "");
    }
    world.pass(600);
    assert_eq!(world.said().len(), 3);
    assert_eq!(world.said()[2].1, "resolved");
}

#[test]
fn severity_kinds_and_selectors_choose() {
    for (what, document, count) in [
        ("critical alone", document(|one| one.severity = Severity::Critical), 2),
        ("warning and above", document(|_| {}), 3),
        ("one kind", document(|one| one.kinds = vec!["problem".into()]), 1),
        (
            "one site",
            Document {
                devices: holdfast_api::selector::parse("site=kiel").unwrap(),
                ..document(|_| {})
            },
            1,
        ),
    ] {
        let mut world = World::new(vec![document]);
        world.on("berlin-1", "lost", "");
        world.on("kiel-1", "failing", "hello");
        world.on("berlin-2", "problem", "clock");
        world.pass(120);
        assert_eq!(world.told.len(), count, "{what}");
    }
}

fn muting(muting: Muting, device: &str, at: u64, until: Option<u64>) -> Silence {
    let matcher = Matcher { device: Some(name(device)), ..Matcher::default() };
    Silence {
        id: "1".into(),
        muting,
        matcher,
        by: "kim".into(),
        by_name: None,
        note: "".into(),
        at,
        until,
    }
}

#[test]
fn an_acknowledged_alarm_is_not_repeated_its_end_is_told_and_ends_the_acknowledgement() {
    let mut world = World::new(vec![document(|_| {})]);
    world.on("berlin-1", "failing", "hello");
    world.pass(100);
    world.silences = vec![muting(Muting::Acknowledgement, "berlin-1", world.now, None)];
    world.pass(8_000);
    assert_eq!(world.said(), [(70, "firing", 1)]);
    // An alarm that begins later is reported.
    world.on("berlin-1", "failing", "relay");
    world.pass(150);
    assert_eq!(world.said().len(), 2, "{:?}", world.said());
    world.off("berlin-1", "failing", "relay");
    world.off("berlin-1", "failing", "hello");
    world.pass(600);
    assert_eq!(world.said().last().unwrap().1, "resolved");
    assert!(world.silences.is_empty(), "it has ended");
}

#[test]
fn a_silenced_alarm_is_told_when_the_silence_ends_and_it_lasts_still() {
    let mut world = World::new(vec![document(|_| {})]);
    world.silences = vec![muting(Muting::Silence, "berlin-1", START, Some(START + 1_000))];
    world.on("berlin-1", "lost", "");
    world.on("berlin-2", "lost", "");
    world.pass(990);
    assert_eq!(world.said(), [(70, "firing", 1)], "berlin-2 alone");
    world.pass(100);
    assert_eq!(world.said(), [(70, "firing", 1), (1_000, "firing", 2)]);
    assert!(world.silences.is_empty());
    // An alarm that begins and ends within a silence is not reported.
    let mut world = World::new(vec![document(|_| {})]);
    world.silences = vec![muting(Muting::Silence, "berlin-1", START, Some(START + 1_000))];
    world.on("berlin-1", "lost", "");
    world.pass(500);
    world.off("berlin-1", "lost", "");
    world.pass(2_000);
    assert_eq!(world.said(), []);
}

#[test]
fn what_a_device_that_is_not_heard_had_is_not_resolved() {
    let mut world = World::new(vec![document(|_| {})]);
    world.on("berlin-1", "failing", "hello");
    world.pass(100);
    world.silent.insert("berlin-1".into());
    world.pass(2_000);
    assert_eq!(world.said(), [(70, "firing", 1)], "nobody knows whether it works");
    assert!(world.engine.active().all(|(_, _, known)| known.unheard));
    world.silent.clear();
    world.off("berlin-1", "failing", "hello");
    world.pass(100);
    assert_eq!(world.said().last().unwrap().1, "resolved", "it said so itself");
}

#[test]
fn a_restart_loses_no_message_and_doubles_none() {
    let mut world = World::new(vec![document(|_| {})]);
    world.on("berlin-1", "lost", "");
    world.silent.insert("berlin-1".into());
    world.pass(100);
    world.restart();
    // No device counts as lost for five minutes after a start.
    world.off("berlin-1", "lost", "");
    world.pass(300);
    world.on("berlin-1", "lost", "");
    world.pass(900);
    assert_eq!(world.said(), [(70, "firing", 1)]);
    // A message that was not delivered is delivered after the restart, with the same id.
    world.fails = true;
    world.off("berlin-1", "lost", "");
    world.silent.clear();
    world.pass(120);
    let queued = |world: &World| -> Vec<String> {
        world.store.keys().filter(|key| key.starts_with("outbox/")).cloned().collect()
    };
    assert_eq!(queued(&world).len(), 1);
    let id = |world: &World| {
        let value = &world.store[&queued(world)[0]];
        serde_json::from_slice::<Queued>(value).unwrap().message.id
    };
    let before = id(&world);
    world.restart();
    assert_eq!(id(&world), before);
    world.fails = false;
    world.pass(400);
    assert_eq!(world.said().last().unwrap().1, "resolved");
    assert_eq!(world.said().len(), 2);
    assert!(queued(&world).is_empty());
}

#[test]
fn attempts_are_ever_rarer_and_end_after_a_day() {
    let mut world = World::new(vec![document(|_| {})]);
    world.fails = true;
    world.on("berlin-1", "lost", "");
    world.pass(75);
    let standing = world.engine.standing("night");
    assert_eq!((standing.failing_since, standing.queued), (START + 70, 1));
    assert_eq!(standing.last_error, "503");
    world.pass(3_600);
    let value = world.store.iter().find(|(key, _)| key.starts_with("outbox/")).unwrap().1;
    let queued: Queued = serde_json::from_slice(value).unwrap();
    assert!((15..20).contains(&queued.attempts), "{}", queued.attempts);
    world.off("berlin-1", "lost", "");
    world.pass(25 * 3_600);
    let standing = world.engine.standing("night");
    assert_eq!(standing.queued, 0, "given up after a day");
    assert!(standing.dropped >= 2, "{}", standing.dropped);
    world.fails = false;
    world.on("berlin-1", "lost", "");
    world.pass(100);
    assert_eq!(world.told.len(), 1);
    assert_eq!(world.engine.standing("night").failing_since, 0);
}

#[test]
fn a_queue_has_an_end_and_one_receiver_holds_up_no_other() {
    let mut other = document(|_| {});
    other.name = name("other");
    let each = document(|one| one.group_by = vec!["device".into(), "code".into()]);
    let mut world = World::new(vec![each, other]);
    for number in 0..800 {
        world.on(&format!("berlin-{number}"), "lost", "");
    }
    world.fails = true;
    world.pass(75);
    let standing = world.engine.standing("night");
    assert_eq!(standing.queued, outbox::MAX_QUEUE);
    assert_eq!(standing.dropped, 300);
    world.fails = false;
    world.pass(60);
    assert!(world.told.iter().any(|(.., count, _)| *count == 800), "the other was told");
}

#[test]
fn another_receiver_begins_anew_and_a_deleted_one_leaves_nothing() {
    let mut world = World::new(vec![document(|_| {})]);
    world.on("berlin-1", "lost", "");
    world.pass(100);
    if let Target::Webhook(hook) = &mut world.documents[0].notification.to {
        hook.url = "http://b/".into();
    }
    world.pass(100);
    assert_eq!(world.told.len(), 2, "the new receiver is told too");
    world.documents.clear();
    world.pass(10);
    assert!(world.store.is_empty(), "{:?}", world.store.keys());
}

#[test]
fn there_is_a_bound_on_alarms_and_the_rest_is_counted() {
    let mut engine = Engine::new(START, 1);
    engine.begin();
    let labels = Labels::new();
    for number in 0..MAX_ALARMS + 5 {
        let seen = Seen {
            kind: "lost",
            code: "",
            severity: Severity::Critical,
            message: "",
            since: 1,
            is_known: true,
        };
        engine.see(&name(&format!("d{number}")), &labels, seen, START);
    }
    let turn = Turn { now: START, documents: &[], silences: &[], presence: &|_| Presence::Heard };
    engine.turn(&turn);
    assert_eq!((engine.active().count(), engine.not_kept()), (MAX_ALARMS, 5));
}

#[test]
fn who_was_told_is_whoever_took_the_message() {
    let mut world = World::new(vec![document(|one| one.group_interval = 60)]);
    let told = |world: &World, device: &str| {
        let (told, untold) = world.engine.told(&name(device), "lost", "");
        (told.len(), untold.len())
    };
    world.on("berlin-1", "lost", "");
    world.pass(30);
    assert_eq!(told(&world, "berlin-1"), (0, 0), "no message is made yet");
    world.fails = true;
    world.pass(60);
    assert_eq!(told(&world, "berlin-1"), (0, 1), "its receiver does not take it");
    world.fails = false;
    world.pass(60);
    assert_eq!(told(&world, "berlin-1"), (1, 0));
    world.fails = true;
    world.on("berlin-2", "lost", "");
    world.pass(180);
    assert_eq!(told(&world, "berlin-1"), (1, 0), "an older message told of it");
    assert_eq!(told(&world, "berlin-2"), (0, 1));
    let record = world.store.iter().find(|(key, _)| key.starts_with("told/")).unwrap().1;
    let record: GroupRecord = serde_json::from_slice(record).unwrap();
    let taken = |device: &str| {
        let member = record.members.iter().find(|one| one.device == name(device)).unwrap();
        member.told <= record.reached
    };
    assert_eq!((taken("berlin-1"), taken("berlin-2")), (true, false), "as after a restart");
    world.fails = false;
    world.pass(300);
    assert_eq!(told(&world, "berlin-2"), (1, 0));
}

#[test]
fn a_delivery_is_explained_in_the_singular_too() {
    let delivery = holdfast_api::Delivery {
        receiver: "webhook".into(),
        place: "http://a/".into(),
        last_success: None,
        last_failure: None,
        last_error: None,
        failing_since: None,
        queued: 1,
        sent: 0,
        dropped: 1,
        open: 0,
    };
    let said = delivery::explain("night", &delivery, 1);
    assert_eq!(said.summary, "alarms of 1 device to http://a/: nothing was told yet");
    assert_eq!(said.reasons, ["1 message waits to be delivered", "1 message was given up"]);
}
