//! Acknowledgements and silences, which mute alarms.
//!
//! See decision 0120.

use holdfast_base::ids::{Name, hex};

use super::part::{Alarms, lock};
use crate::api::time::{moment, rfc3339};
use crate::api::{self, List, ListMeta, Muting, NewSilence, selector};
use crate::core::alarms::{Engine, LONGEST_SILENCE, MAX_NOTE, MAX_SILENCES, Matcher, Silence};
use crate::core::attention::Attention;
use crate::core::model::key;
use crate::core::rights::{Action, Actor, Sight};
use crate::core::seen::Seen;
use crate::service::rights::may;
use crate::service::{Failure, Listed};

impl Alarms {
    /// Lists acknowledgements and silences that are in force, the newest first. Whoever reaches some
    /// devices alone gets those that mute alarms of these and of no others.
    pub fn silences(&self, actor: &Actor) -> Listed<api::Silence> {
        let permit = may(actor, Action::ListSilences, "")?;
        let now = self.documents.now();
        let (mut silences, version) = {
            let model = self.documents.model(&actor.tenant);
            let seen = Seen::new(&model, permit.sight());
            let seen = model.silences.values().filter(|one| seen.silence(one));
            (seen.cloned().collect::<Vec<_>>(), model.meta.version)
        };
        silences.retain(|one| one.lasts(now));
        silences.sort_by_key(|one| std::cmp::Reverse(one.at));
        let engine = self.engine_of(&actor.tenant);
        let engine = lock(&engine);
        let items = silences
            .iter()
            .map(|one| {
                let alarms = count(&engine, permit.sight(), one, now);
                api::Silence { alarms, ..shown(one) }
            })
            .collect();
        let metadata = ListMeta { resource_version: version, ..ListMeta::default() };
        Ok(List { items, metadata })
    }

    /// Acknowledges the matching alarms that are active now, or silences matching alarms including
    /// future ones. Alarms of devices that the actor does not reach are left out, by a narrower
    /// choice of devices.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad request, [`Failure::NotFound`] when there is nothing
    /// to acknowledge, and [`Failure::Conflict`] when there are too many silences.
    pub async fn mute(
        &self,
        actor: &Actor,
        muting: Muting,
        new: NewSilence,
    ) -> Result<api::Silence, Failure> {
        let permit = may(
            actor,
            match muting {
                Muting::Acknowledgement => Action::AcknowledgeAlarms,
                Muting::Silence => Action::SilenceAlarms,
            },
            "",
        )?;
        let by = permit.by();
        let now = self.documents.now();
        let mut made = admit(
            muting,
            new,
            by,
            now,
            hex(&self.authority.random::<8>().map_err(Failure::internal)?),
        )?;
        let sight = permit.sight();
        let labels = made.matcher.device.as_ref().map(|name| {
            let model = self.documents.model(&actor.tenant);
            model.devices.get(name).map(|known| known.record.labels.clone()).unwrap_or_default()
        });
        let narrowed = sight.narrowed(&made.matcher.devices, labels.as_ref());
        made.matcher.devices = narrowed.ok_or_else(|| {
            Failure::invalid(format!(
                "labelSelector: you reach devices with {}: say which of these, with one of the selectors",
                sight.words()
            ))
        })?;
        if muting == Muting::Acknowledgement && self.count(&actor.tenant, &made, now) == 0 {
            return Err(Failure::NotFound(format!(
                "no alarm matches ({}): there is nothing to acknowledge",
                made.matcher.words()
            )));
        }
        let made = self
            .documents
            .change(&actor.tenant, |change| {
                if change.model.silences.len() >= MAX_SILENCES {
                    return Err(Failure::Conflict(format!(
                        "there are {MAX_SILENCES} acknowledgements and silences: end some"
                    )));
                }
                let until = made.until.map(|until| format!(" until {}", rfc3339(until)));
                let note =
                    if made.note.is_empty() { String::new() } else { format!(": {}", made.note) };
                let message =
                    format!("{}{}{note}", made.matcher.words(), until.unwrap_or_default());
                let action = match muting {
                    Muting::Acknowledgement => "alarm.acknowledge",
                    Muting::Silence => "alarm.silence",
                };
                let made = Silence { by_name: change.name_of(by), ..made.clone() };
                change.audit(by, action, &made.id, message);
                change.event("alarm", &made.id, "changed", String::new());
                change.put(key::silence(&made.id), &made);
                change.model.silences.insert(made.id.clone(), made.clone());
                Ok(made)
            })
            .await?;
        self.asked.notify_one();
        let alarms = self.count(&actor.tenant, &made, now);
        Ok(api::Silence { alarms, ..shown(&made) })
    }

    /// Number of active alarms that a silence mutes now.
    fn count(&self, tenant: &Name, one: &Silence, now: u64) -> u64 {
        count(&lock(&self.engine_of(tenant)), &Sight::All, one, now)
    }

    /// Ends an acknowledgement or a silence before its time.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown id, and a [`Failure`] when the change cannot be
    /// stored.
    pub async fn unmute(&self, actor: &Actor, id: &str) -> Result<(), Failure> {
        let permit = may(actor, Action::EndSilence, id)?;
        let by = permit.by();
        self.documents
            .change(&actor.tenant, |change| {
                let none = || Failure::no("acknowledgement or silence", id);
                let known = change.model.silences.get(id).ok_or_else(none)?;
                if !Seen::new(change.model, permit.sight()).silence(known) {
                    return Err(none());
                }
                let gone = change.model.silences.remove(id).ok_or_else(none)?;
                change.delete(key::silence(id));
                change.was(key::silence(id), &gone);
                change.audit(by, "alarm.unmute", id, gone.matcher.words());
                change.event("alarm", id, "changed", String::new());
                Ok(())
            })
            .await?;
        self.asked.notify_one();
        Ok(())
    }
}

/// Number of active alarms of devices in sight that a silence mutes now.
fn count(engine: &Engine, sight: &Sight<'_>, one: &Silence, now: u64) -> u64 {
    let of = engine.active().filter(|(name, labels, known)| {
        sight.sees(labels)
            && one.mutes(now, (name, labels), (&known.kind, &known.code), known.since)
    });
    of.count() as u64
}

/// Document of an acknowledgement or a silence, without the number of its alarms.
pub(super) fn shown(one: &Silence) -> api::Silence {
    let devices = &one.matcher.devices;
    api::Silence {
        id: one.id.to_string(),
        muting: one.muting,
        kind: one.matcher.kind.clone(),
        code: one.matcher.code.clone(),
        device: one.matcher.device.as_ref().map(ToString::to_string),
        label_selector: (!devices.is_empty()).then(|| devices.words()),
        by: one.by.to_string(),
        by_name: one.by_name.as_deref().map(str::to_owned),
        note: one.note.to_string(),
        at: rfc3339(one.at),
        until: one.until.map(rfc3339),
        alarms: 0,
    }
}

/// Checks a request for an acknowledgement or a silence, and builds its record.
fn admit(
    muting: Muting,
    new: NewSilence,
    by: &str,
    now: u64,
    id: String,
) -> Result<Silence, Failure> {
    let bad = |text: String| Failure::invalid(text);
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let kind = given(new.kind);
    let kinds = Attention::words();
    if let Some(kind) = kind.as_deref().filter(|kind| !kinds.contains(kind)) {
        return Err(bad(format!("kind {kind:?}: there are {}", kinds.join(", "))));
    }
    let device = given(new.device)
        .map(|name| name.parse::<Name>().map_err(|error| bad(format!("device: {error}"))))
        .transpose()?;
    let devices = selector::parse(new.label_selector.as_deref().unwrap_or_default())
        .map_err(|error| bad(format!("labelSelector: {error}")))?;
    let matcher = Matcher { kind, code: given(new.code), device, devices };
    if matcher.is_empty() {
        return Err(bad("give kind, code, device or labelSelector: every alarm at once cannot be acknowledged or silenced".into()));
    }
    if new.note.len() > MAX_NOTE {
        return Err(bad(format!("note: {} bytes, at most {MAX_NOTE}", new.note.len())));
    }
    let until = match (new.until, new.for_seconds) {
        (Some(_), Some(_)) => return Err(bad("until and forSeconds: give one of them".into())),
        (Some(text), None) => {
            let millis = moment(&text, now.saturating_mul(1_000)).filter(|_| text.len() > 9);
            let at = millis.map(|millis| millis / 1_000);
            Some(at.ok_or_else(|| {
                bad(format!("until {text:?}: not a time, such as 2026-11-29T06:00:00Z"))
            })?)
        }
        (None, Some(seconds)) => Some(now.saturating_add(seconds)),
        (None, None) if muting == Muting::Silence => {
            return Err(bad("until or forSeconds is missing: a silence has an end".into()));
        }
        (None, None) => None,
    };
    if let Some(until) = until
        && (until <= now || until - now > LONGEST_SILENCE)
    {
        return Err(bad(format!(
            "it would end at {}: that is over, or more than a year away",
            rfc3339(until)
        )));
    }
    Ok(Silence {
        id: id.into(),
        muting,
        matcher,
        by: by.into(),
        by_name: None,
        note: new.note.trim().into(),
        at: now,
        until,
    })
}
