//! Engine of alarms: keeps all alarms of all devices, and decides which receivers get messages
//! about them.
//!
//! The engine is pure. Its driver shows it every alarm of every device in a pass, then asks for a
//! turn, and stores what the turn returns before anything is delivered. Times and random numbers
//! are arguments.
//!
//! ```text
//!            lasts `delay`            message, `groupWait` later     gone for `delay`
//!  (nothing) ───────────► pending ───────────────────────► firing ───────────────────► resolved
//!       ▲                    │ gone before: no message        │ acknowledged, silenced: no message
//!       └────────────────────┘                                └ device silent: it is not resolved
//! ```
//!
//! See decision 0118.

pub mod delivery;
mod group;
mod known;
mod message;
mod outbox;
mod silence;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use holdfast_base::ids::{Labels, Name};

use holdfast_api::Muting;

pub use group::{GroupRecord, Member};
pub use known::{Document, Known, Presence, Seen, Tracked, Turn, Write};
pub use message::{LISTED, Listed, Message, Status};
pub use outbox::{Job, NotDelivered, Outcome, Queued, Standing};
pub use silence::{LONGEST_SILENCE, MAX_NOTE, MAX_SILENCES, Matcher, Silence, muted};

use known::fresh;
use outbox::Outbox;

/// Most alarms that are kept, of about 300 bytes each: two for each of 50,000 devices. Further ones
/// are only counted.
pub const MAX_ALARMS: usize = 100_000;

/// Seconds after a start in which no acknowledgement ends, and no alarm of a device that is not
/// connected. Devices reconnect one by one, and those that were lost or never came are so again
/// after at most 15 minutes.
pub const SETTLING: u64 = 20 * 60;

/// Result of a turn.
#[derive(Debug, Default)]
pub struct Turned {
    /// Changes that must be stored before anything is delivered.
    pub writes: Vec<Write>,
    /// Ids of the acknowledgements and silences that are over.
    pub ended: Vec<Box<str>>,
    /// True if anything that people see has changed.
    pub changed: bool,
}

/// State of all alarms and of the messages about them.
#[derive(Debug)]
pub struct Engine {
    devices: BTreeMap<Name, Tracked>,
    /// Number of alarms in `devices`.
    count: usize,
    /// Alarms of this pass that were not kept because of [`MAX_ALARMS`].
    skipped: u64,
    /// Alarms of the last complete pass that were not kept.
    not_kept: u64,
    pass: u64,
    outboxes: BTreeMap<Name, Outbox>,
    started: u64,
    ids: (u64, u64),
    changed: bool,
}

impl Engine {
    /// Creates an engine without alarms. `started` is the start of the control plane in seconds
    /// since 1970; `seed` is a random number with which ids of messages begin.
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

    /// Loads a record of the store.
    ///
    /// # Errors
    /// The value does not match the kind of its key.
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

    /// Restores an alarm that was reported before a restart. It lasts until its device is heard without
    /// it.
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

    /// Begins a pass over all devices.
    pub fn begin(&mut self) {
        self.pass += 1;
        self.skipped = 0;
    }

    /// Notes an alarm of a device in this pass.
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

    /// Ends a pass: makes the messages that are due, and puts them into the queues of their
    /// notifications.
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

    /// Marks alarms that were not seen in this pass as gone, except those of devices that are not
    /// heard, for [`SETTLING`] after a start.
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

    /// Determines for each alarm whether it is acknowledged or silenced, once for all
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

    /// Removes alarms that have been gone for longer than the longest `delay` of a notification.
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

    /// Removes the queues of notifications that were deleted.
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

    /// Returns the ids of acknowledgements that have no alarm any more, and of whatever has reached
    /// its end.
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

    /// Returns every alarm that lasts, with its device and the device's labels, ordered by device.
    pub fn active(&self) -> impl Iterator<Item = (&Name, &Labels, &Known)> {
        self.devices.iter().flat_map(|(name, tracked)| {
            let holding = tracked.alarms.iter().filter(|known| known.gone.is_none());
            holding.map(move |known| (name, &tracked.labels, known))
        })
    }

    /// Returns how many alarms of the last pass were not kept because of [`MAX_ALARMS`].
    pub fn not_kept(&self) -> u64 {
        self.not_kept
    }

    /// Returns the notifications that have a message about an alarm: those whose receiver took it,
    /// and those whose receiver did not take it yet.
    pub fn told(&self, device: &Name, kind: &str, code: &str) -> (Vec<&Name>, Vec<&Name>) {
        let (mut told, mut untold) = (Vec::new(), Vec::new());
        for (name, outbox) in &self.outboxes {
            match outbox.has_told(device, kind, code) {
                Some(true) => told.push(name),
                Some(false) => untold.push(name),
                None => {}
            }
        }
        (told, untold)
    }

    /// Returns the state of the deliveries of a notification.
    pub fn standing(&self, name: &str) -> Standing {
        self.outboxes.get(name).map(Outbox::standing).unwrap_or_default()
    }

    /// Returns the state of the deliveries of every notification.
    pub fn standings(&self) -> BTreeMap<Name, Standing> {
        self.outboxes.iter().map(|(name, outbox)| (name.clone(), outbox.standing())).collect()
    }

    /// Returns the messages to be delivered now, at most one of each notification. The caller must
    /// call [`Engine::done`] for each.
    pub fn due(&mut self, now: u64) -> Vec<Job> {
        let outboxes = self.outboxes.iter_mut();
        outboxes.filter_map(|(name, outbox)| outbox.due(name, now)).collect()
    }

    /// Returns everything that the store should hold.
    pub fn writes(&self) -> Vec<Write> {
        self.outboxes.iter().flat_map(|(name, outbox)| outbox.writes(name)).collect()
    }

    /// Notes the outcome of a delivery and returns the changes of the store. `jitter` is a random
    /// number from 0 to 1000. Nothing happens if the notification was deleted meanwhile.
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

    /// Returns an id for a message that is not queued, such as a test.
    pub fn fresh_id(&mut self) -> String {
        fresh(&mut self.ids)
    }
}
