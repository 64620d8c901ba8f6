//! Alarms as people see them: listed, counted, and as items of attention.
//!
//! See decision 0118.

use std::collections::BTreeMap;

use holdfast_base::ids::{Labels, Name};

use super::notifications::documents;
use super::part::{Alarms, lock};
use super::silences;
use crate::api::selector::Selector;
use crate::api::time::{rfc3339, words};
use crate::api::{self, AlarmState, List, ListMeta, Muting, Severity};
use crate::core::alarms::delivery::Standings;
use crate::core::alarms::{Engine, Known, Silence, Standing, muted};
use crate::core::kinds::AnyKind;
use crate::core::rights::{Action, Actor};
use crate::service::rights::may;
use crate::service::{Failure, Listed, Query};

/// Time that a notification must have failed for before it is listed as needing attention, in
/// seconds.
const FAILS_FOR: u64 = 5 * 60;

/// Filter and page of a list of alarms. An empty filter matches every alarm.
#[derive(Debug, Clone, Default)]
pub struct AlarmsQuery {
    /// Maximum number of items.
    pub limit: Option<usize>,
    /// Number of items to skip, as the page before gave it in `next`.
    pub after: Option<String>,
    /// Kind of attention that the alarm must have, for example `failing`.
    pub kind: Option<String>,
    /// Code that the alarm must have: a problem's code, or a workload's name.
    pub code: Option<String>,
    /// Least severity that the alarm must have.
    pub severity: Option<Severity>,
    /// State that the alarm must be in.
    pub state: Option<AlarmState>,
    /// Name of the alarm's device.
    pub device: Option<String>,
    /// Selector of the labels of the alarm's device.
    pub selector: Selector,
}

/// Counts of a tenant's alarms.
#[derive(Debug, Clone, Default)]
pub struct AlarmCounts {
    /// Number of alarms by severity and state.
    pub counts: BTreeMap<(&'static str, &'static str), u64>,
    /// Number of messages that wait for delivery.
    pub waiting: u64,
    /// Number of alarms that were dropped because too many were active.
    pub skipped: u64,
}

impl Alarms {
    /// Lists alarms: the most urgent first, those of equal severity by age.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad limit or page.
    pub fn list(&self, actor: &Actor, query: &AlarmsQuery) -> Listed<api::Alarm> {
        let permit = may(actor, Action::ListAlarms, "")?;
        let limit = Query { limit: query.limit, ..Default::default() }.limit()?;
        let bad = || {
            Failure::invalid(
                "continue: not a value that a page gave; leave it out to begin with the first page",
            )
        };
        let skip: usize = match &query.after {
            None => 0,
            Some(text) => text.parse().map_err(|_| bad())?,
        };
        let now = self.documents.now();
        let (silences, version) = {
            let model = self.documents.model(&actor.tenant);
            (model.silences.values().cloned().collect::<Vec<_>>(), model.meta.version)
        };
        let engine = self.engine_of(&actor.tenant);
        let engine = lock(&engine);
        let chosen = |(name, labels, known): &(&Name, &Labels, &Known)| {
            permit.sight().sees(labels)
                && query.kind.as_ref().is_none_or(|kind| *kind == known.kind)
                && query.code.as_ref().is_none_or(|code| *code == known.code)
                && query.severity.is_none_or(|least| known.severity <= least)
                && query.device.as_ref().is_none_or(|device| *device == name.as_str())
                && (query.selector.is_empty() || query.selector.matches(labels))
        };
        let mut found: Vec<_> = engine
            .active()
            .filter(chosen)
            .map(|(name, labels, known)| {
                (name, labels, known, mute(&silences, now, name, labels, known))
            })
            .filter(|(.., silence)| query.state.is_none_or(|state| state == state_of(*silence)))
            .collect();
        found.sort_by_key(|(name, _, known, _)| (known.severity, known.since, *name));
        let total = found.len();
        let items: Vec<api::Alarm> = found
            .into_iter()
            .skip(skip)
            .take(limit)
            .map(|(name, labels, known, silence)| shown(&engine, (name, labels), known, silence))
            .collect();
        let end = skip.saturating_add(items.len());
        let metadata = ListMeta {
            next: (end < total && !items.is_empty()).then(|| end.to_string()),
            resource_version: version,
            total: Some(total as u64),
        };
        Ok(List { items, metadata })
    }

    /// Delivery state of the notifications; empty for a kind whose status does not tell it. Must be
    /// called before the model is locked: a pass locks the alarm engine first and the model then.
    pub(in crate::service) fn standings(&self, tenant: &Name, kind: AnyKind) -> Standings {
        if !kind.delivers() {
            return Standings::new();
        }
        lock(&self.engine_of(tenant)).standings()
    }

    /// Returns an attention item for each notification that has failed for [`FAILS_FOR`] or longer.
    pub(in crate::service) fn failing_notifications(
        &self,
        tenant: &Name,
    ) -> Vec<api::AttentionItem> {
        let (now, names) = {
            let model = self.documents.model(tenant);
            let names = documents(&model).into_iter().map(|document| document.name);
            (self.documents.now(), names.collect::<Vec<_>>())
        };
        let engine = self.engine_of(tenant);
        let engine = lock(&engine);
        let failing = names.into_iter().filter_map(|name| {
            let Standing { failing_since, last_error, .. } = engine.standing(name.as_str());
            let lasts = failing_since > 0 && now.saturating_sub(failing_since) >= FAILS_FOR;
            lasts.then_some((name, failing_since, last_error))
        });
        failing.map(|(name, since, why)| failing_item(&name, since, &why, now)).collect()
    }

    /// Returns the number of a tenant's alarms by (severity, state), the number of messages that wait
    /// for delivery, and the number of alarms that were dropped because too many were active.
    pub(in crate::service) fn counts_of(&self, tenant: &Name) -> AlarmCounts {
        let now = self.documents.now();
        let (silences, names) = {
            let model = self.documents.model(tenant);
            let silences = model.silences.values().cloned().collect::<Vec<_>>();
            (silences, documents(&model))
        };
        let engine = self.engine_of(tenant);
        let engine = lock(&engine);
        let mut counts = BTreeMap::new();
        for (name, labels, known) in engine.active() {
            let state = state_of(mute(&silences, now, name, labels, known));
            *counts.entry((known.severity.as_str(), state.as_str())).or_insert(0) += 1;
        }
        let waiting = names.iter().map(|one| engine.standing(one.name.as_str()).queued as u64);
        AlarmCounts { counts, waiting: waiting.sum(), skipped: engine.not_kept() }
    }
}

fn failing_item(name: &Name, since: u64, why: &str, now: u64) -> api::AttentionItem {
    let lasts = words(now.saturating_sub(since));
    api::AttentionItem {
        kind: "notification".into(),
        code: Some(name.to_string()),
        severity: Severity::Warning,
        since: Some(rfc3339(since)),
        unknown: 0,
        acknowledged: 0,
        silenced: 0,
        message: format!("notification {name} has not reached its receiver for {lasts}: {why}"),
        count: 0,
        devices: Vec::new(),
        query: BTreeMap::new(),
    }
}

/// Returns the silence that mutes this alarm now, if there is one.
fn mute<'s>(
    silences: &'s [Silence],
    now: u64,
    name: &Name,
    labels: &Labels,
    known: &Known,
) -> Option<&'s Silence> {
    muted(silences, now, (name, labels), (&known.kind, &known.code), known.since)
}

fn state_of(silence: Option<&Silence>) -> AlarmState {
    match silence.map(|silence| silence.muting) {
        None => AlarmState::Firing,
        Some(Muting::Acknowledgement) => AlarmState::Acknowledged,
        Some(Muting::Silence) => AlarmState::Silenced,
    }
}

fn shown(
    engine: &Engine,
    (name, labels): (&Name, &Labels),
    known: &Known,
    muting: Option<&Silence>,
) -> api::Alarm {
    let (told, untold) = engine.told(name, &known.kind, &known.code);
    let names = |of: Vec<&Name>| of.into_iter().map(ToString::to_string).collect();
    api::Alarm {
        device: name.to_string(),
        labels: labels.clone(),
        kind: known.kind.clone(),
        code: known.code.clone(),
        severity: known.severity,
        message: known.message.clone(),
        since: rfc3339(known.since),
        state: state_of(muting),
        unheard: known.unheard,
        silence: muting.map(silences::shown),
        told: names(told),
        undelivered: names(untold),
    }
}
