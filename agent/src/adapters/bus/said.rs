//! What went wrong with what workloads sent, said once and remembered for a while: in the log, in
//! `holdfast-agent status`, and in the device's report. A workload that does it wrong a thousand
//! times a second fills neither the log nor a metered link.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_protocol::ids::Name;

/// Between two lines of the log about the same, in milliseconds.
const EVERY: u64 = 60_000;
/// So long after it happened last it is no problem any more, in milliseconds.
const KEPT: u64 = 600_000;
/// Different things that are remembered: a few for each workload. They are all made here, never by
/// a client; the bound is for a device of very many workloads.
const MAX_KEPT: usize = 64;

struct Seen {
    last: u64,
    logged: u64,
    times: u64,
}

/// See the module's documentation.
#[derive(Default)]
pub struct Said {
    seen: Mutex<BTreeMap<(Option<Name>, &'static str), Seen>>,
}

impl Said {
    fn seen(&self) -> MutexGuard<'_, BTreeMap<(Option<Name>, &'static str), Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This went wrong, of this workload's doing.
    pub fn note(&self, who: Option<&Name>, what: &'static str, now: u64) {
        self.note_about(who, what, "", now);
    }

    /// The same, with what it was about, for the log alone.
    pub fn note_about(&self, who: Option<&Name>, what: &'static str, about: &str, now: u64) {
        let mut seen = self.seen();
        seen.retain(|_, it| now < it.last.saturating_add(KEPT));
        let key = (who.cloned(), what);
        if seen.len() >= MAX_KEPT && !seen.contains_key(&key) {
            return;
        }
        let it = seen.entry(key).or_insert(Seen { last: now, logged: 0, times: 0 });
        it.last = now;
        it.times += 1;
        if it.times > 1 && now < it.logged.saturating_add(EVERY) {
            return;
        }
        it.logged = now;
        let who = who.map_or("-", Name::as_str);
        let about = about.escape_debug();
        tracing::warn!(workload = who, times = it.times, %about, "{what}");
    }

    /// What went wrong lately, for a person; without counts: a text that changes is reported.
    pub fn problem(&self, now: u64) -> Option<String> {
        let mut seen = self.seen();
        seen.retain(|_, it| now < it.last.saturating_add(KEPT));
        let texts: Vec<String> = seen
            .keys()
            .map(|(who, what)| match who {
                Some(who) => format!("{who}: {what}"),
                None => (*what).to_owned(),
            })
            .collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_wrong_is_a_problem_for_a_while_and_the_same_words_however_often() {
        let said = Said::default();
        assert_eq!(said.problem(0), None);
        let name: Name = "pump".parse().unwrap();
        said.note(Some(&name), "published nonsense", 1_000);
        let first = said.problem(1_000).unwrap();
        assert_eq!(first, "pump: published nonsense");
        (0..1_000).for_each(|now| said.note(Some(&name), "published nonsense", 1_000 + now));
        assert_eq!(said.problem(2_000).unwrap(), first);
        said.note(None, "too many", 2_000);
        assert_eq!(said.problem(2_000).unwrap(), "too many; pump: published nonsense");
        assert_eq!(said.problem(2_000 + KEPT), None);
    }
}
