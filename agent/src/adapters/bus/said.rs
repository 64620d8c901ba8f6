//! What went wrong with what workloads sent, said once and remembered for a while: in the log, in
//! `holdfast-agent status`, and in the device's report. A workload that does it wrong a thousand
//! times a second fills neither the log nor a metered link.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_base::ids::Name;

use holdfast_base::words::time_of_day;

/// Between two lines of the log about the same, in milliseconds.
const EVERY: u64 = 60_000;
/// So long after it happened last it is no problem any more, in milliseconds, and up to the next
/// [`STEP`]: until when it is said stands in its text, and a text that changes is reported.
const KEPT: u64 = 600_000;
/// A text changes so often at most, in milliseconds.
const STEP: u64 = 900_000;
/// Different things that are remembered: a few for each workload. They are all made here, never by
/// a client; the bound is for a device of very many workloads.
const MAX_KEPT: usize = 64;
/// Of those, so many are told; a control plane keeps 50 problems of a device.
const MAX_TOLD: usize = 20;
/// Streams by which the same is told apart, of one workload.
const MAX_STREAMS: usize = 8;
/// Characters of what it was about that are kept: a client chose them.
const MAX_ABOUT: usize = 120;

#[derive(Default)]
struct Seen {
    last: u64,
    /// What it was about then.
    about: String,
    logged: u64,
    times: u64,
    /// Until when it is said and how often it had happened, and its text with that.
    told: Option<(u64, u64, String)>,
}

impl Seen {
    /// It is a problem until then.
    fn until(&self) -> u64 {
        self.last.saturating_add(KEPT).div_ceil(STEP).saturating_mul(STEP)
    }

    /// `stream`: of the one that it is about alone, or empty.
    fn text(&mut self, key: &Key, now: u64, wall: u64) -> String {
        let (who, what, stream) = key;
        let until = self.until();
        // Ten times as often is news: a few texts, however often it happens.
        if let Some((of, times, text)) = &self.told
            && *of == until
            && self.times < times.saturating_mul(10)
        {
            return text.clone();
        }
        let on = if stream.is_empty() { String::new() } else { format!(" on {stream}") };
        let times = match self.times {
            ..=1 => String::new(),
            times => format!(", at least {times} times"),
        };
        let who = who.as_ref().map(|who| format!("{who}: ")).unwrap_or_default();
        let about = Some(&self.about).filter(|about| !about.is_empty());
        let about = about.map(|about| format!(", last: {about}")).unwrap_or_default();
        let then = time_of_day(wall.saturating_add(until.saturating_sub(now) / 1_000));
        let text =
            format!("{who}{what}{on}{times}{about} (said until {then} UTC, unless it goes on)");
        self.told = Some((until, self.times, text.clone()));
        text
    }
}

/// Whose doing, what, and on which stream where that is told apart.
type Key = (Option<Name>, &'static str, Box<str>);

/// See the module's documentation.
#[derive(Default)]
pub struct Said {
    seen: Mutex<BTreeMap<Key, Seen>>,
}

impl Said {
    fn seen(&self) -> MutexGuard<'_, BTreeMap<Key, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This went wrong, of this workload's doing.
    pub fn note(&self, who: Option<&Name>, what: &'static str, now: u64) {
        self.note_about(who, what, "", now);
    }

    /// The same, with what it was about: a topic, mostly.
    pub fn note_about(&self, who: Option<&Name>, what: &'static str, about: &str, now: u64) {
        self.note_on(who, what, "", about, now);
    }

    /// The same of each stream by itself, as far as they are few.
    pub fn note_on(
        &self,
        who: Option<&Name>,
        what: &'static str,
        stream: &str,
        about: &str,
        now: u64,
    ) {
        let mut seen = self.seen();
        seen.retain(|_, it| now < it.until());
        let mut key: Key = (who.cloned(), what, stream.into());
        let like = |known: &&Key| known.0.as_ref() == who && known.1 == what;
        if !seen.contains_key(&key) && seen.keys().filter(like).count() >= MAX_STREAMS {
            key.2 = Box::default();
        }
        if seen.len() >= MAX_KEPT && !seen.contains_key(&key) {
            return;
        }
        let it = seen.entry(key).or_default();
        it.last = now;
        it.times += 1;
        it.about = about.chars().take(MAX_ABOUT).flat_map(char::escape_debug).collect();
        if it.times > 1 && now < it.logged.saturating_add(EVERY) {
            return;
        }
        it.logged = now;
        let who = who.map_or("-", Name::as_str);
        tracing::warn!(workload = who, times = it.times, about = %it.about, "{what}");
    }

    /// What went wrong lately, each for a person; without counts: a text that changes is reported.
    /// `wall`: the time of the day, in seconds since 1970.
    pub fn problems(&self, now: u64, wall: u64) -> Vec<String> {
        let mut seen = self.seen();
        seen.retain(|_, it| now < it.until());
        let more = seen.len().saturating_sub(MAX_TOLD);
        let told = seen.iter_mut().take(MAX_TOLD);
        let mut texts: Vec<String> = told.map(|(key, it)| it.text(key, now, wall)).collect();
        texts
            .extend((more > 0).then(|| format!("and {more} more like these: see the agent's log")));
        texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 15:10 UTC as the rising clock shows 0.
    const WALL: u64 = 20_000 * 86_400 + 15 * 3_600 + 600;

    #[test]
    fn what_goes_wrong_is_a_problem_for_a_while_and_the_same_words_however_often() {
        let said = Said::default();
        let problems = |now: u64| said.problems(now, WALL + now / 1_000);
        assert_eq!(problems(0), Vec::<String>::new());
        let name: Name = "pump".parse().unwrap();
        said.note_about(Some(&name), "published nonsense", "a b", 1_000);
        let first = problems(1_000);
        assert_eq!(
            first,
            ["pump: published nonsense, last: a b (said until 15:25 UTC, unless it goes on)"]
        );
        for at in 0..200 {
            let about = format!("topic {at}");
            said.note_about(Some(&name), "published nonsense", &about, 1_000 + at * 1_000);
        }
        let often = problems(201_000);
        assert!(often[0].contains("published nonsense, at least 201 times, last: "), "{often:?}");
        for at in 0..1_000 {
            said.note_about(Some(&name), "published nonsense", "more", 200_000 + at);
        }
        assert_eq!(problems(202_000), often, "not with each time");
        let first = often;
        said.note(None, "too many", 201_000);
        let both = problems(201_000);
        assert_eq!(both[0], "too many (said until 15:25 UTC, unless it goes on)", "a line each");
        assert_eq!(both[1..], first);
        assert_eq!(problems(899_999).len(), 2);
        assert_eq!(problems(900_000), Vec::<String>::new(), "as it was said");
    }

    #[test]
    fn each_stream_is_told_by_itself_as_far_as_they_are_few() {
        let said = Said::default();
        for stream in 0..100 {
            said.note_on(None, "is broken", &format!("s{stream}"), "{", 1_000);
        }
        let texts = said.problems(1_000, WALL);
        assert_eq!(texts.len(), MAX_STREAMS + 1, "{texts:?}");
        assert!(texts[0].starts_with("is broken, at least 92 times, last: {"), "{texts:?}");
        assert!(texts[1].starts_with("is broken on s0, last: {"), "{texts:?}");
    }

    #[test]
    fn what_goes_on_changes_its_words_seldom() {
        let said = Said::default();
        let mut texts = std::collections::BTreeSet::new();
        for second in 0..6 * 3_600 {
            let now = 1_000 + second * 1_000;
            said.note_about(None, "published nonsense", &format!("{second}"), now);
            texts.extend(said.problems(now, WALL + second));
        }
        assert!((20..=30).contains(&texts.len()), "{} in six hours", texts.len());
    }
}
