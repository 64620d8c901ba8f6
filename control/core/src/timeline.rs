//! Timeline of a device as values: the events that a report causes, and which of them are kept.
//!
//! Times are those of the control plane's clock when it learned of the change. A device in a loop
//! reports the same events over and over. After [`SPELLED`] events of one thing within an hour, the
//! rest of the hour becomes one event with a count, so that a loop does not push out other events.
//!
//! See decision 0124.

mod ring;

use std::net::IpAddr;

use holdfast_base::ids::{Name, StateVersion};
use holdfast_protocol::message::{Phase, WorkloadReport};
use holdfast_protocol::problem::Code;
use serde::{Deserialize, Serialize};

use super::records::{KnownProblem, ReportRecord, cut};

pub use self::ring::{Counts, Ring};

/// Events of one thing (phases of a workload, a problem, the connection) that are kept one by one
/// within an hour: enough to see how a loop begins.
pub const SPELLED: u8 = 12;

/// Window in which events of one thing are counted together, in seconds.
const TOGETHER: u64 = 3_600;

/// Most things of a device whose events are tracked at a time: more than the workloads and problems
/// of an honest device. Events of further things are only counted.
const MAX_THINGS: usize = 200;

/// Most events of one device within an hour that enter the fleet's rings: a device in trouble, or a
/// hostile one, must not push out those of others.
const MAX_FLEET: u16 = 60;

/// Longest reason that is kept, in bytes.
const MAX_WHY: usize = 200;

/// Longest text of a problem that is kept, in bytes. The device's document has the complete text.
const MAX_PROBLEM: usize = 160;

/// Content of an event. Field names in the store are short, because there are many events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "kebab-case")]
pub enum What {
    /// A connection of the device began.
    Connected {
        /// Address of the device.
        #[serde(default, rename = "ip", skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
    },
    /// A connection of the device ended.
    Disconnected {
        /// Reason for the end, in words; may be empty.
        #[serde(default, rename = "why", skip_serializing_if = "str::is_empty")]
        reason: Box<str>,
    },
    /// A workload went to another phase, or was restarted.
    Phase {
        /// Name of the workload.
        #[serde(rename = "w")]
        workload: Name,
        /// Previous phase; None: the workload was not there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Phase>,
        /// New phase; None: the workload is gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Phase>,
        /// Revision of the workload.
        #[serde(default, rename = "r")]
        revision: u64,
        /// Number of restarts since the event before.
        #[serde(default, rename = "s", skip_serializing_if = "is_zero")]
        restarts: u32,
        /// Reason for the phase, in the device's words.
        #[serde(default, rename = "why", skip_serializing_if = "str::is_empty")]
        reason: Box<str>,
    },
    /// A workload is at another revision.
    Revision {
        /// Name of the workload.
        #[serde(rename = "w")]
        workload: Name,
        /// Previous revision; 0: the workload was not there.
        from: u64,
        /// New revision of the workload.
        to: u64,
        /// Phase in which the new revision was reported.
        #[serde(rename = "p")]
        phase: Phase,
    },
    /// The device applied another desired state.
    Generation {
        /// Previous generation; 0: there was none.
        from: u64,
        /// New generation of the desired state.
        to: u64,
    },
    /// A problem began or ended.
    Problem {
        /// Code of the problem.
        #[serde(rename = "c")]
        code: Box<str>,
        /// True: the problem began. False: it ended.
        #[serde(rename = "b")]
        began: bool,
        /// Text of a problem that began.
        #[serde(default, rename = "why", skip_serializing_if = "str::is_empty")]
        text: Box<str>,
    },
    /// Events of things beyond the number that is tracked, counted together.
    More,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn is_one(value: &u32) -> bool {
    *value == 1
}

fn one() -> u32 {
    1
}

impl What {
    /// Creates the end of a connection for this reason, cut to 200 bytes.
    pub fn ended(reason: &str) -> Self {
        Self::Disconnected { reason: short(reason, MAX_WHY) }
    }

    /// Returns the ring that the event is put into.
    pub fn ring(&self) -> Ring {
        match self {
            Self::Connected { .. } | Self::Disconnected { .. } => Ring::Link,
            Self::Phase { .. } => Ring::Workload,
            Self::Revision { .. } | Self::Generation { .. } => Ring::Change,
            Self::Problem { .. } | Self::More => Ring::Problem,
        }
    }

    /// Returns a key for the thing that the event is about. Events with the same key are conflated.
    fn thing(&self) -> String {
        match self {
            Self::Connected { .. } | Self::Disconnected { .. } => "c".into(),
            Self::Phase { workload, .. } => format!("w{workload}"),
            Self::Revision { workload, .. } => format!("r{workload}"),
            Self::Generation { .. } => "g".into(),
            Self::Problem { code, .. } => format!("p{code}"),
            Self::More => String::new(),
        }
    }

    /// True if the event is listed for the fleet too, beside the actions of people.
    fn is_for_the_fleet(&self) -> bool {
        match self {
            Self::Phase { to, .. } => !to.is_some_and(is_on_the_way),
            Self::Revision { .. } | Self::Generation { .. } | Self::More => false,
            Self::Connected { .. } | Self::Disconnected { .. } | Self::Problem { .. } => true,
        }
    }

    /// Conflates with a later event of the same thing: the later one stays, restarts are added, and
    /// the first `from` of a revision or generation is kept.
    fn then(&mut self, later: Self) {
        let earlier = std::mem::replace(self, later);
        match (earlier, self) {
            (Self::Phase { restarts: before, .. }, Self::Phase { restarts, .. }) => {
                *restarts = restarts.saturating_add(before);
            }
            (Self::Revision { from: first, .. }, Self::Revision { from, .. })
            | (Self::Generation { from: first, .. }, Self::Generation { from, .. }) => {
                *from = first;
            }
            _ => {}
        }
    }
}

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Number among all events of the device, or of the fleet, from 0.
    #[serde(rename = "n")]
    pub number: u64,
    /// Time at which the control plane learned of the first event, in seconds since 1970.
    pub at: u64,
    /// Time at which it learned of the last one, in seconds since 1970. None: there is only one.
    #[serde(default, rename = "u", skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Number of events that this one stands for.
    #[serde(default = "one", rename = "x", skip_serializing_if = "is_one")]
    pub count: u32,
    /// True if the event happened while the device was away and was learned when it came back.
    #[serde(default, rename = "a", skip_serializing_if = "std::ops::Not::not")]
    pub while_away: bool,
    /// Name of the device, in the fleet's rings alone.
    #[serde(default, rename = "d", skip_serializing_if = "Option::is_none")]
    pub device: Option<Name>,
    /// Content of the event.
    #[serde(flatten)]
    pub what: What,
}

fn is_on_the_way(phase: Phase) -> bool {
    matches!(phase, Phase::Pending | Phase::Fetching | Phase::Starting)
}

fn short(text: &str, most: usize) -> Box<str> {
    let mut text = text.to_owned();
    cut(&mut text, most);
    text.into_boxed_str()
}

/// State of a device before a report, as far as events depend on it.
#[derive(Debug, Clone, Default)]
pub struct Before {
    applied: StateVersion,
    workloads: Vec<(Name, WorkloadReport)>,
    problems: Vec<KnownProblem>,
}

impl Before {
    /// Takes the state of a device.
    pub fn of(report: &ReportRecord) -> Self {
        Self {
            applied: report.last_applied,
            workloads: report.workloads.clone(),
            problems: report.all_problems(),
        }
    }

    /// Returns the events that lead to the state `after`: workloads by name, then the generation,
    /// then problems.
    pub fn events(&self, after: &ReportRecord) -> Vec<What> {
        let mut events = Vec::new();
        let mut before = self.workloads.iter().peekable();
        for (name, now) in &after.workloads {
            while let Some((gone, was)) = before.next_if(|(known, _)| known < name) {
                events.push(left(gone, was));
            }
            let was = before.next_if(|(known, _)| known == name).map(|(_, was)| was);
            events.extend(changes(name, was, now));
        }
        events.extend(before.map(|(gone, was)| left(gone, was)));
        if after.last_applied != self.applied {
            let (from, to) = (self.applied.generation, after.last_applied.generation);
            events.push(What::Generation { from, to });
        }
        let said = |problem: &KnownProblem| (problem.code.clone(), problem.message.clone());
        let before: Vec<Said> = self.problems.iter().map(said).collect();
        let after: Vec<Said> = after.all_problems().iter().map(said).collect();
        events.extend(problems(&before, &after));
        events
    }
}

fn left(name: &Name, was: &WorkloadReport) -> What {
    What::Phase {
        workload: name.clone(),
        from: Some(was.phase),
        to: None,
        revision: was.revision,
        restarts: 0,
        reason: "".into(),
    }
}

fn changes(name: &Name, was: Option<&WorkloadReport>, now: &WorkloadReport) -> Vec<What> {
    let mut events = Vec::new();
    let revision = was.map_or(0, |was| was.revision);
    let restarts = match was {
        Some(was) if was.revision == now.revision => {
            // Another run in the same phase is a restart too, as after a reboot of the device.
            let is_other = was.phase == now.phase && was.run.is_some() && now.run.is_some();
            let anew = u32::from(is_other && was.run != now.run);
            now.restarts.saturating_sub(was.restarts).max(anew)
        }
        _ => now.restarts,
    };
    if revision != now.revision {
        let (from, to, phase) = (revision, now.revision, now.phase);
        events.push(What::Revision { workload: name.clone(), from, to, phase });
    }
    // On the way to another revision the phase is not an event of its own: the revision's event has
    // it.
    let is_said = !events.is_empty() && is_on_the_way(now.phase);
    let is_other = was.is_none_or(|was| was.phase != now.phase) && !is_said;
    if is_other || restarts > 0 {
        events.push(What::Phase {
            workload: name.clone(),
            from: was.map(|was| was.phase),
            to: Some(now.phase),
            revision: now.revision,
            restarts,
            reason: short(&now.reason, MAX_WHY),
        });
    }
    events
}

/// Code and text of a problem.
pub type Said = (Code, String);

/// Returns the problems that ended and those that began, by code. Several problems with one code
/// are one thing.
pub fn problems(before: &[Said], after: &[Said]) -> Vec<What> {
    let mut events = Vec::new();
    for (one, other, began) in [(before, after, false), (after, before, true)] {
        for (at, (code, message)) in one.iter().enumerate() {
            let same = |(known, _): &Said| known == code;
            if !other.iter().any(same) && !one.iter().take(at).any(same) {
                let text = short(if began { message } else { "" }, MAX_PROBLEM);
                events.push(What::Problem { code: code.as_str().into(), began, text });
            }
        }
    }
    events
}

/// Events of one thing of a device in the present hour.
#[derive(Debug, Clone)]
struct Thing {
    key: Box<str>,
    /// Begin of the hour, in seconds since 1970.
    began: u64,
    last: u64,
    spelled: u8,
    open: Option<Box<Open>>,
}

/// Event with a count, which takes in further events until the hour is over.
#[derive(Debug, Clone)]
struct Open {
    record: EventRecord,
    place: u32,
    /// Number among the fleet's events, and place in its ring.
    fleet: Option<(u64, u32)>,
}

/// Events of a device in the last hour. They are not stored: after a restart of the control plane,
/// events are kept one by one again.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    things: Vec<Thing>,
    fleet_began: u64,
    fleet: u16,
}

/// Event with its place in the device's ring and in the fleet's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Ring that the event belongs to.
    pub ring: Ring,
    /// Event with its time and its count.
    pub record: EventRecord,
    /// Number in the device's ring; the place is this number modulo the ring's size.
    pub place: u32,
    /// Number among the fleet's events, and in the fleet's ring. None: the event is not listed
    /// there.
    pub fleet: Option<(u64, u32)>,
}

impl Recent {
    /// Decides how an event is kept: as one of its own, or conflated with the thing's event that
    /// has a count. `own` and `fleet` count the events of the device and of the fleet.
    pub fn keep(
        &mut self,
        own: &mut Counts,
        fleet: &mut Counts,
        (at, while_away): (u64, bool),
        what: What,
    ) -> Kept {
        let known = what.thing();
        let (thing, what) = match self.things.iter().position(|thing| *thing.key == *known) {
            Some(place) => (place, what),
            None if self.things.len() < MAX_THINGS => (self.add(&known, at), what),
            None => {
                let rest = self.things.iter().position(|thing| thing.key.is_empty());
                (rest.unwrap_or_else(|| self.add("", at)), What::More)
            }
        };
        let for_the_fleet = what.is_for_the_fleet() && self.has_room(at);
        let ring = what.ring();
        let Some(thing) = self.things.get_mut(thing) else {
            // Cannot happen: the thing was found or added above. If it did, the event is one of its
            // own.
            return new(own, fleet, (at, while_away, for_the_fleet), what).into();
        };
        // Example, one event every 30 s: 12 events are kept one by one, the 13th takes in all
        // others of the hour and has the count 108 in the end, and each hour after that is one
        // event with the count 120.
        thing.turn(at);
        if let Some(open) = &mut thing.open
            // An event whose place the ring has given to a newer one is no longer in the store:
            // then another begins. The same holds for the fleet's ring below.
            && own.of(ring) - open.place < ring.size()
        {
            open.record.what.then(what);
            open.record.until = Some(at);
            open.record.while_away &= while_away;
            open.record.count = open.record.count.saturating_add(1);
            if open.fleet.is_some_and(|(_, place)| fleet.of(ring) - place >= ring.fleet_size()) {
                open.fleet = None;
            }
            return (**open).clone().into();
        }
        let made = new(own, fleet, (at, while_away, for_the_fleet), what);
        if made.fleet.is_some() {
            self.fleet += 1;
        }
        if thing.spelled < SPELLED {
            thing.spelled += 1;
        } else {
            thing.open = Some(Box::new(made.clone()));
        }
        made.into()
    }

    fn add(&mut self, key: &str, at: u64) -> usize {
        // The event for all further things is one with a count from the beginning.
        let spelled = if key.is_empty() { SPELLED } else { 0 };
        self.things.push(Thing { key: key.into(), began: at, last: at, spelled, open: None });
        self.things.len() - 1
    }

    fn has_room(&mut self, at: u64) -> bool {
        // The hour of the fleet's limit begins with the first event after the last hour: 60 events
        // at 10:50 leave no room until 11:50.
        if at >= self.fleet_began.saturating_add(TOGETHER) {
            (self.fleet_began, self.fleet) = (at, 0);
        }
        self.fleet < MAX_FLEET
    }

    /// Forgets things without an event in the last hour. True: nothing is left.
    pub fn settle(&mut self, now: u64) -> bool {
        self.things.retain(|thing| now < thing.last.saturating_add(TOGETHER));
        self.things.shrink_to_fit();
        self.things.is_empty()
    }
}

impl Thing {
    /// Begins another hour if the last one is over.
    ///
    /// A loop that went on through the hour is not kept one by one again: only an hour without any
    /// event, or one that stayed within [`SPELLED`], resets the limit.
    fn turn(&mut self, at: u64) {
        if at >= self.last.saturating_add(TOGETHER) {
            (self.began, self.spelled, self.open) = (at, 0, None);
        } else if at >= self.began.saturating_add(TOGETHER) {
            if self.open.take().is_none() {
                self.spelled = 0;
            }
            self.began = at;
        }
        self.last = at;
    }
}

fn new(
    own: &mut Counts,
    fleet: &mut Counts,
    (at, while_away, for_the_fleet): (u64, bool, bool),
    what: What,
) -> Open {
    let ring = what.ring();
    let number = own.all();
    let fleet = for_the_fleet.then(|| (fleet.all(), fleet.next(ring)));
    let record = EventRecord { number, at, until: None, count: 1, while_away, device: None, what };
    Open { place: own.next(ring), record, fleet }
}

impl From<Open> for Kept {
    fn from(open: Open) -> Self {
        Self {
            ring: open.record.what.ring(),
            record: open.record,
            place: open.place,
            fleet: open.fleet,
        }
    }
}

#[cfg(test)]
mod tests;
