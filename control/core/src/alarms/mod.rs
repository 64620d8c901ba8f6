//! Which alarms there are, who is told of them, and what is still on its way to a receiver.
//!
//! Pure: whoever drives it shows it every alarm of every device in a pass, then asks for a turn,
//! and stores what the turn returns before anything is delivered. Time and chance are arguments.
//!
//! ```text
//!            lasts `delay`            told, `groupWait` later        gone for `delay`
//!  (nothing) ───────────► pending ───────────────────────► firing ───────────────────► resolved
//!       ▲                    │ gone before: nothing is told   │ acknowledged, silenced: not told
//!       └────────────────────┘                                └ device silent: it is not resolved
//! ```

mod group;
mod message;
mod outbox;
mod silence;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use holdfast_base::ids::{Labels, Name};

use crate::notification::Notification;
use holdfast_api::selector::Selector;
use holdfast_api::{Muting, Severity};

pub use group::{GroupRecord, Member};
pub use message::{LISTED, Listed, Message, Status};
pub use outbox::{Job, Outcome, Queued, Standing};
pub use silence::{LONGEST_SILENCE, MAX_NOTE, MAX_SILENCES, Matcher, Silence, muted};

use outbox::Outbox;

/// Most alarms that are kept, of about 300 bytes each: two for each of 50,000 devices. Others are
/// counted.
pub const MAX_ALARMS: usize = 100_000;

/// After a start no alarm of a device that is not heard ends for this time, in seconds, and no
/// acknowledgement: devices come back one by one, and who was lost or never came is so again after
/// up to fifteen minutes.
pub const SETTLING: u64 = 20 * 60;

/// What a device says now, as it is shown to the engine.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// `lost`, `failing` and so on.
    pub kind: &'a str,
    /// Of a problem its code, of what fails the workload's name; may be empty.
    pub code: &'a str,
    /// How urgent it is.
    pub severity: Severity,
    /// In words.
    pub message: &'a str,
    /// Since when, in seconds since 1970; 0: not known.
    pub since: u64,
    /// False: the device is not heard, and it was so when it was heard last.
    pub is_known: bool,
}

/// An alarm that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// `lost`, `failing` and so on.
    pub kind: String,
    /// Of a problem its code, of what fails the workload's name; may be empty.
    pub code: String,
    /// How urgent it is.
    pub severity: Severity,
    /// In words.
    pub message: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// The pass in which it was seen last.
    pass: u64,
    /// Since when it is gone, in seconds since 1970.
    pub gone: Option<u64>,
    /// Its device cannot be heard, so that nobody knows whether it still holds.
    pub unheard: bool,
    /// An acknowledgement or a silence is of it.
    muted: bool,
}

/// A device with alarms.
#[derive(Debug, Clone, Default)]
pub struct Tracked {
    labels: Labels,
    alarms: Vec<Known>,
}

/// What is known of a device that has an alarm no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is heard: what it does not say any more is over.
    Heard,
    /// It is not heard: nothing is known.
    Silent,
    /// It is not there any more, or was revoked.
    Gone,
}

/// What a write to the store puts at a key; None: nothing stands there any more.
pub type Write = (String, Option<Vec<u8>>);

/// A `Notification` as the engine needs it.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its name.
    pub name: Name,
    /// The devices whose alarms it is about.
    pub devices: Selector,
    /// What it says.
    pub notification: Notification,
}

/// What a turn goes by.
pub struct Turn<'a> {
    /// Seconds since 1970.
    pub now: u64,
    /// The notifications.
    pub documents: &'a [Document],
    /// Acknowledgements and silences.
    pub silences: &'a [Silence],
    /// What is known of devices that have no alarm any more.
    pub presence: &'a dyn Fn(&Name) -> Presence,
}

/// Of a turn.
#[derive(Debug, Default)]
pub struct Turned {
    /// What the store must hold before anything is delivered.
    pub writes: Vec<Write>,
    /// Acknowledgements and silences that are over.
    pub ended: Vec<Box<str>>,
    /// Whether anything that people see is another than before.
    pub changed: bool,
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    devices: BTreeMap<Name, Tracked>,
    /// How many alarms are kept.
    count: usize,
    /// Alarms of this pass that were not kept for want of room.
    skipped: u64,
    /// How many of the pass before were not.
    not_kept: u64,
    pass: u64,
    outboxes: BTreeMap<Name, Outbox>,
    started: u64,
    ids: (u64, u64),
    changed: bool,
}

impl Engine {
    /// Nothing is known yet. `seed` is by chance: ids of messages begin with it.
    pub fn new(started: u64, seed: u64) -> Self {
        Self {
            devices: BTreeMap::new(),
            count: 0,
            skipped: 0,
            not_kept: 0,
            pass: 0,
            outboxes: BTreeMap::new(),
            started,
            ids: (seed, 0),
            changed: false,
        }
    }

    /// Takes in a record of the store.
    ///
    /// # Errors
    /// It is not what its key says.
    pub fn take(&mut self, key: &str, value: &[u8]) -> Result<(), serde_json::Error> {
        let mut parts = key.split('/');
        let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let Ok(name) = name.parse::<Name>() else { return Ok(()) };
        let outbox = self.outboxes.entry(name).or_default();
        match kind {
            outbox::TOLD => {
                let record: GroupRecord = serde_json::from_slice(value)?;
                let members = outbox.take_group(record);
                for member in members {
                    self.remember(member);
                }
            }
            outbox::QUEUED => outbox.take_message(serde_json::from_slice(value)?),
            _ => outbox.take_standing(serde_json::from_slice(value)?),
        }
        Ok(())
    }

    /// An alarm that somebody was told of: it holds until its device says otherwise.
    fn remember(&mut self, member: Member) {
        if self.count >= MAX_ALARMS {
            return;
        }
        let tracked = self.devices.entry(member.device).or_default();
        if tracked.alarms.iter().any(|known| known.is(&member.kind, &member.code)) {
            return;
        }
        self.count += 1;
        tracked.labels = member.labels;
        tracked.alarms.push(Known {
            kind: member.kind,
            code: member.code,
            severity: member.severity,
            message: "as it was before the control plane started".into(),
            since: member.since,
            pass: 0,
            gone: None,
            unheard: true,
            muted: false,
        });
    }

    /// A pass over all devices begins.
    pub fn begin(&mut self) {
        self.pass += 1;
        self.skipped = 0;
    }

    /// A device has this alarm.
    pub fn see(&mut self, device: &Name, labels: &Labels, seen: Seen<'_>, now: u64) {
        let pass = self.pass;
        if !self.devices.contains_key(device) {
            if self.count >= MAX_ALARMS {
                self.skipped += 1;
                return;
            }
            self.devices.insert(device.clone(), Tracked::default());
        }
        let Some(tracked) = self.devices.get_mut(device) else { return };
        if tracked.labels != *labels {
            tracked.labels.clone_from(labels);
        }
        if let Some(known) = tracked.alarms.iter_mut().find(|known| known.is(seen.kind, seen.code))
        {
            self.changed |= known.renew(seen, pass, now);
            return;
        }
        if self.count >= MAX_ALARMS {
            self.skipped += 1;
            return;
        }
        self.count += 1;
        self.changed = true;
        tracked.alarms.push(Known {
            kind: seen.kind.into(),
            code: seen.code.into(),
            severity: seen.severity,
            message: seen.message.into(),
            since: if seen.since == 0 { now } else { seen.since.min(now) },
            pass,
            gone: None,
            unheard: !seen.is_known,
            muted: false,
        });
    }

    /// After a pass: who is told what.
    pub fn turn(&mut self, turn: &Turn<'_>) -> Turned {
        let settled = turn.now >= self.started.saturating_add(SETTLING);
        self.not_kept = self.skipped;
        self.miss(turn);
        self.mute(turn);
        let mut turned = Turned::default();
        self.forget_outboxes(turn, &mut turned);
        for document in turn.documents {
            let outbox = self.outboxes.entry(document.name.clone()).or_default();
            outbox.turn(document, &self.devices, turn, &mut self.ids, &mut turned.writes);
        }
        self.forget_alarms(turn);
        turned.ended.extend(self.ended(turn, settled));
        turned.changed = std::mem::take(&mut self.changed)
            || !turned.writes.is_empty()
            || !turned.ended.is_empty();
        turned
    }

    /// What was not seen in this pass is over, unless its device is not heard.
    fn miss(&mut self, turn: &Turn<'_>) {
        let settled = turn.now >= self.started.saturating_add(SETTLING);
        for (name, tracked) in &mut self.devices {
            if tracked.alarms.iter().all(|known| known.pass == self.pass) {
                continue;
            }
            let presence = (turn.presence)(name);
            for known in tracked.alarms.iter_mut().filter(|known| known.pass != self.pass) {
                let unheard = presence == Presence::Silent && !settled;
                self.changed |= known.unheard != unheard || (known.gone.is_none() && !unheard);
                known.unheard = unheard;
                known.gone = if unheard { None } else { known.gone.or(Some(turn.now)) };
            }
        }
    }

    /// Looks for each alarm whether somebody acknowledged or silenced it: once, for all
    /// notifications.
    fn mute(&mut self, turn: &Turn<'_>) {
        for (name, tracked) in &mut self.devices {
            for known in &mut tracked.alarms {
                let what = (known.kind.as_str(), known.code.as_str());
                let of = (name, &tracked.labels);
                known.muted = muted(turn.silences, turn.now, of, what, known.since).is_some();
            }
        }
    }

    /// Forgets what is gone for longer than any notification waits.
    fn forget_alarms(&mut self, turn: &Turn<'_>) {
        let delays = turn.documents.iter().map(|document| document.notification.delay);
        let longest = delays.max().unwrap_or(0);
        let is_over = |known: &Known| known.gone.is_some_and(|gone| turn.now >= gone + longest);
        self.devices.retain(|_, tracked| {
            tracked.alarms.retain(|known| !is_over(known));
            !tracked.alarms.is_empty()
        });
        self.count = self.devices.values().map(|tracked| tracked.alarms.len()).sum();
    }

    /// Notifications that are not there any more, with all that was on its way.
    fn forget_outboxes(&mut self, turn: &Turn<'_>, turned: &mut Turned) {
        let is_there = |name: &Name| turn.documents.iter().any(|known| known.name == *name);
        self.outboxes.retain(|name, outbox| {
            let stays = is_there(name);
            if !stays {
                turned.writes.extend(outbox.keys(name).into_iter().map(|key| (key, None)));
            }
            stays
        });
    }

    /// Acknowledgements without an alarm, and whatever has come to its time.
    fn ended(&self, turn: &Turn<'_>, settled: bool) -> Vec<Box<str>> {
        let has_alarm = |silence: &Silence| {
            self.devices.iter().any(|(name, tracked)| {
                tracked.alarms.iter().any(|known| {
                    silence.matcher.matches(name, &tracked.labels, &known.kind, &known.code)
                        && known.since <= silence.at
                })
            })
        };
        turn.silences
            .iter()
            .filter(|one| {
                !one.lasts(turn.now)
                    || (settled && one.muting == Muting::Acknowledgement && !has_alarm(one))
            })
            .map(|one| one.id.clone())
            .collect()
    }

    /// Every alarm that holds, with its device and its labels, by name.
    pub fn active(&self) -> impl Iterator<Item = (&Name, &Labels, &Known)> {
        self.devices.iter().flat_map(|(name, tracked)| {
            let holding = tracked.alarms.iter().filter(|known| known.gone.is_none());
            holding.map(move |known| (name, &tracked.labels, known))
        })
    }

    /// Alarms that were not kept for want of room.
    pub fn not_kept(&self) -> u64 {
        self.not_kept
    }

    /// Which notifications have told of this alarm.
    pub fn told(&self, device: &Name, kind: &str, code: &str) -> Vec<&Name> {
        let outboxes = self.outboxes.iter();
        outboxes.filter(|(_, one)| one.has_told(device, kind, code)).map(|(name, _)| name).collect()
    }

    /// How a notification stands.
    pub fn standing(&self, name: &str) -> Standing {
        self.outboxes.get(name).map(Outbox::standing).unwrap_or_default()
    }

    /// How each of them stands.
    pub fn standings(&self) -> BTreeMap<Name, Standing> {
        self.outboxes.iter().map(|(name, outbox)| (name.clone(), outbox.standing())).collect()
    }

    /// Messages that are to be delivered now, one of each notification. Each must be answered by
    /// [`Engine::done`].
    pub fn due(&mut self, now: u64) -> Vec<Job> {
        let outboxes = self.outboxes.iter_mut();
        outboxes.filter_map(|(name, outbox)| outbox.due(name, now)).collect()
    }

    /// Everything that the store should hold.
    pub fn writes(&self) -> Vec<Write> {
        self.outboxes.iter().flat_map(|(name, outbox)| outbox.writes(name)).collect()
    }

    /// What became of a delivery. `jitter` is by chance, 0 to 1000. None: it is not known any more.
    pub fn done(
        &mut self,
        name: &Name,
        id: &str,
        outcome: &Outcome,
        now: u64,
        jitter: u32,
    ) -> Vec<Write> {
        let Some(outbox) = self.outboxes.get_mut(name) else { return Vec::new() };
        outbox.done(name, id, outcome, now, jitter)
    }

    /// An id for a message that is no part of a queue.
    pub fn fresh_id(&mut self) -> String {
        fresh(&mut self.ids)
    }
}

fn fresh((seed, next): &mut (u64, u64)) -> String {
    *next += 1;
    format!("{seed:016x}-{next}")
}

impl Known {
    fn is(&self, kind: &str, code: &str) -> bool {
        self.kind == kind && self.code == code
    }

    /// It is seen again. True: it says something else.
    fn renew(&mut self, seen: Seen<'_>, pass: u64, now: u64) -> bool {
        // A device may say the same code twice: the first one stands for both.
        if self.pass == pass {
            return false;
        }
        self.pass = pass;
        let since = if seen.since == 0 {
            // Of one that was gone the time begins anew.
            if self.gone.is_some() { now } else { self.since }
        } else {
            seen.since.min(now)
        };
        let changed = self.gone.is_some()
            || self.unheard == seen.is_known
            || self.severity != seen.severity
            || self.since != since;
        if changed || self.message != seen.message {
            self.severity = seen.severity;
            self.message = seen.message.into();
            self.since = since;
            self.gone = None;
            self.unheard = !seen.is_known;
        }
        changed
    }
}
