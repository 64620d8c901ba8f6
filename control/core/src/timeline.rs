//! What happened to a device, as values: what a report changed, and how much of it is kept.
//!
//! Times are those of the control plane's clock when it learned of the change. A device that is in
//! a loop says the same over and over: after [`SPELLED`] events of one thing within an hour, the
//! rest of the hour is one event that counts them, so that a loop pushes nothing else out.

use std::net::IpAddr;

use holdfast_base::ids::{Name, StateVersion};
use holdfast_protocol::message::{Phase, WorkloadReport};
use serde::{Deserialize, Serialize};

use super::records::{KnownProblem, ReportRecord, cut};

/// Events of one thing (a workload's phases, a problem, the connection) that are kept one by one
/// within an hour: enough to see how a loop begins.
pub const SPELLED: u8 = 12;

/// How long events of one thing belong together, in seconds.
const TOGETHER: u64 = 3_600;

/// Things of a device of which is known that they happened in the last hour: more than the
/// workloads and problems of an honest device. What is beyond is only counted.
const MAX_THINGS: usize = 200;

/// Events of one device in the fleet's rings within an hour: a device in trouble, or a hostile one,
/// must not push out what the others did.
const MAX_FLEET: u16 = 60;

/// Longest reason that is kept, in bytes.
const MAX_WHY: usize = 200;

/// Longest reason of a problem that is kept, in bytes: the device's document has it whole.
const MAX_PROBLEM: usize = 160;

/// The rings of events. Each has its own room, so that none pushes another out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ring {
    /// Connections that began and ended.
    Link,
    /// Phases and restarts of workloads.
    Workload,
    /// Revisions and generations.
    Change,
    /// Problems.
    Problem,
}

impl Ring {
    /// Every ring.
    pub const ALL: [Self; 4] = [Self::Link, Self::Workload, Self::Change, Self::Problem];

    /// In keys of the store.
    pub fn letter(self) -> char {
        match self {
            Self::Link => 'c',
            Self::Workload => 'w',
            Self::Change => 'r',
            Self::Problem => 'p',
        }
    }

    /// Places of a device's ring. An event takes 60 to 300 bytes on disk: at most about 100 KiB a
    /// device, and none in memory.
    pub const fn size(self) -> u32 {
        match self {
            Self::Link | Self::Change | Self::Problem => 100,
            Self::Workload => 200,
        }
    }

    /// Places of the fleet's ring: about 2 MiB in all on disk. That devices follow an apply, a line
    /// each, is not in it: the apply itself is in the audit log.
    pub const fn fleet_size(self) -> u32 {
        match self {
            Self::Link | Self::Workload => 4_000,
            Self::Change => 1,
            Self::Problem => 2_000,
        }
    }
}

/// How many events were ever put into each ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts([u32; 4]);

impl Counts {
    /// Of one ring.
    pub fn of(self, ring: Ring) -> u32 {
        let [link, workload, change, problem] = self.0;
        match ring {
            Ring::Link => link,
            Ring::Workload => workload,
            Ring::Change => change,
            Ring::Problem => problem,
        }
    }

    /// Of all rings: the number of the next event.
    pub fn all(self) -> u64 {
        self.0.iter().copied().map(u64::from).sum()
    }

    /// Whether nothing was ever put into any.
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde's skip_serializing_if passes a reference"
    )]
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 4]
    }

    /// The place of the next event, which is counted.
    fn next(&mut self, ring: Ring) -> u32 {
        let [link, workload, change, problem] = &mut self.0;
        let count = match ring {
            Ring::Link => link,
            Ring::Workload => workload,
            Ring::Change => change,
            Ring::Problem => problem,
        };
        let place = *count;
        *count = count.saturating_add(1);
        place
    }
}

/// What happened. The names are short: there are many of them in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "kebab-case")]
pub enum What {
    /// A connection began.
    Connected {
        /// From where.
        #[serde(default, rename = "ip", skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
    },
    /// A connection ended.
    Disconnected {
        /// Why.
        #[serde(default, rename = "why", skip_serializing_if = "str::is_empty")]
        reason: Box<str>,
    },
    /// A workload went to another phase, or was started again.
    Phase {
        /// Which workload.
        #[serde(rename = "w")]
        workload: Name,
        /// Before; absent: it was not there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Phase>,
        /// Now; absent: it is gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Phase>,
        /// Its revision.
        #[serde(default, rename = "r")]
        revision: u64,
        /// How often it was started again.
        #[serde(default, rename = "s", skip_serializing_if = "is_zero")]
        restarts: u32,
        /// Why, in the device's words.
        #[serde(default, rename = "why", skip_serializing_if = "str::is_empty")]
        reason: Box<str>,
    },
    /// A workload is in another revision.
    Revision {
        /// Which workload.
        #[serde(rename = "w")]
        workload: Name,
        /// Before; 0: it was not there.
        from: u64,
        /// Now.
        to: u64,
        /// The phase in which it was reported.
        #[serde(rename = "p")]
        phase: Phase,
    },
    /// The device carries out another desired state.
    Generation {
        /// The generation before; 0: none.
        from: u64,
        /// The generation now.
        to: u64,
    },
    /// A problem began or ended.
    Problem {
        /// Its code.
        #[serde(rename = "c")]
        code: Box<str>,
        /// It began.
        #[serde(rename = "b")]
        began: bool,
        /// Its text.
        #[serde(default, rename = "why", skip_serializing_if = "str::is_empty")]
        text: Box<str>,
    },
    /// More happened than is kept one by one.
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
    /// A connection ended for this reason.
    pub fn ended(reason: &str) -> Self {
        Self::Disconnected { reason: short(reason, MAX_WHY) }
    }

    /// Its ring.
    pub fn ring(&self) -> Ring {
        match self {
            Self::Connected { .. } | Self::Disconnected { .. } => Ring::Link,
            Self::Phase { .. } => Ring::Workload,
            Self::Revision { .. } | Self::Generation { .. } => Ring::Change,
            Self::Problem { .. } | Self::More => Ring::Problem,
        }
    }

    /// The thing that it happened to: events of one thing are conflated.
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

    /// Whether the fleet's list has it too: what a person would look for beside what people did.
    fn is_for_the_fleet(&self) -> bool {
        match self {
            Self::Phase { to, .. } => !to.is_some_and(is_on_the_way),
            Self::Revision { .. } | Self::Generation { .. } | Self::More => false,
            Self::Connected { .. } | Self::Disconnected { .. } | Self::Problem { .. } => true,
        }
    }

    /// Takes a later event of the same thing in.
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
    /// Number among all events of the device, or of the fleet.
    #[serde(rename = "n")]
    pub number: u64,
    /// When the control plane learned of it (of the first), in seconds since 1970.
    pub at: u64,
    /// When it learned of the last. Absent: there is one.
    #[serde(default, rename = "u", skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// How many events it stands for.
    #[serde(default = "one", rename = "x", skip_serializing_if = "is_one")]
    pub count: u32,
    /// It happened at some time while the device was away, and was learned when it came back.
    #[serde(default, rename = "a", skip_serializing_if = "std::ops::Not::not")]
    pub while_away: bool,
    /// In the fleet's rings: which device.
    #[serde(default, rename = "d", skip_serializing_if = "Option::is_none")]
    pub device: Option<Name>,
    /// What.
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

/// What of a report counts for the timeline, before another one is taken in.
#[derive(Debug, Clone, Default)]
pub struct Before {
    applied: StateVersion,
    workloads: Vec<(Name, WorkloadReport)>,
    problems: Vec<KnownProblem>,
}

impl Before {
    /// Of a device.
    pub fn of(report: &ReportRecord) -> Self {
        Self {
            applied: report.last_applied,
            workloads: report.workloads.clone(),
            problems: report.all_problems(),
        }
    }

    /// What is different now. Workloads first, by name; then the generation; then problems.
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
            // Another process in the same phase: it was started again, as after a reboot.
            let is_other = was.phase == now.phase && was.pid.is_some() && now.pid.is_some();
            let anew = u32::from(is_other && was.pid != now.pid);
            now.restarts.saturating_sub(was.restarts).max(anew)
        }
        _ => now.restarts,
    };
    if revision != now.revision {
        let (from, to, phase) = (revision, now.revision, now.phase);
        events.push(What::Revision { workload: name.clone(), from, to, phase });
    }
    // On its way to another revision: the event of that says so.
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
pub type Said = (String, String);

/// Problems that ended and that began, by code: a code that is there twice is one thing.
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

/// What happened to one thing of a device in the last hour.
#[derive(Debug, Clone)]
struct Thing {
    key: Box<str>,
    /// When its hour began.
    began: u64,
    last: u64,
    spelled: u8,
    open: Option<Box<Open>>,
}

/// An event that takes further ones in.
#[derive(Debug, Clone)]
struct Open {
    record: EventRecord,
    place: u32,
    /// Number and place in the fleet's ring.
    fleet: Option<(u64, u32)>,
}

/// What happened to a device in the last hour. It is not stored: after a restart loops are spelled
/// out anew.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    things: Vec<Thing>,
    fleet_began: u64,
    fleet: u16,
}

/// An event to be stored at a place of a device's ring, and of the fleet's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its ring.
    pub ring: Ring,
    /// The event.
    pub record: EventRecord,
    /// Number in the device's ring.
    pub place: u32,
    /// Number among the fleet's events, and in the fleet's ring.
    pub fleet: Option<(u64, u32)>,
}

impl Recent {
    /// Decides how an event is kept: as one of its own, or by counting.
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
            // Never: it was found or made above. Then it is an event of its own.
            return new(own, fleet, (at, while_away, for_the_fleet), what).into();
        };
        thing.turn(at);
        if let Some(open) = &mut thing.open
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
        // What is only counted is not spelled out first.
        let spelled = if key.is_empty() { SPELLED } else { 0 };
        self.things.push(Thing { key: key.into(), began: at, last: at, spelled, open: None });
        self.things.len() - 1
    }

    fn has_room(&mut self, at: u64) -> bool {
        if at >= self.fleet_began.saturating_add(TOGETHER) {
            (self.fleet_began, self.fleet) = (at, 0);
        }
        self.fleet < MAX_FLEET
    }

    /// Forgets what is longer ago than an hour. True: nothing is left.
    pub fn settle(&mut self, now: u64) -> bool {
        self.things.retain(|thing| now < thing.last.saturating_add(TOGETHER));
        self.things.shrink_to_fit();
        self.things.is_empty()
    }
}

impl Thing {
    /// Begins another hour where the last one is over. A loop that goes on is not spelled out again.
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
