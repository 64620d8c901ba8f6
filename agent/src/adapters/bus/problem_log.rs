//! Memory of what clients did wrong, reported once and kept for a while: in the log, in
//! `holdfast-agent status` and in the device's report. A workload that does it a thousand times a
//! second fills neither the log nor a metered link.
//!
//! See decisions 0069 and 0087.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_base::ids::Name;

use holdfast_base::words::time_of_day;

/// Time between two log lines about the same thing, in milliseconds.
const EVERY: u64 = 60_000;
/// Time in milliseconds after the last occurrence until it is no longer a problem, rounded up to
/// the next [`STEP`]. That time is part of the problem's text, and a text that changes is reported.
const KEPT: u64 = 600_000;
/// Shortest time between two changes of a text, in milliseconds.
const STEP: u64 = 900_000;
/// Most entries: a few for each workload. Their kinds are made here, never by a client; the bound
/// is for a device of very many workloads.
const MAX_KEPT: usize = 64;
/// Most entries that are reported; a control plane keeps 50 problems of a device.
const MAX_REPORTED: usize = 20;
/// Most streams of one workload by which entries of one kind are told apart.
const MAX_STREAMS: usize = 8;
/// Most characters kept of a client's own text.
const MAX_ABOUT: usize = 120;

#[derive(Default)]
struct Entry {
    last: u64,
    /// Detail of the last occurrence, such as a topic.
    about: String,
    logged: u64,
    times: u64,
    /// Reported text, with the end of its time and the number of occurrences that it states.
    reported: Option<(u64, u64, String)>,
}

impl Entry {
    /// Time until which it is a problem, by [`crate::adapters::clock::uptime_ms`].
    fn until(&self) -> u64 {
        self.last.saturating_add(KEPT).div_ceil(STEP).saturating_mul(STEP)
    }

    /// Text for a person. The stream in `key` is empty unless it is about a single one.
    fn text(&mut self, key: &Key, now: u64, wall: u64) -> String {
        let (who, what, stream) = key;
        let until = self.until();
        // A text changes when it happened ten times as often: 1, 10, 100 times. So there are a few
        // texts, however often it happens.
        if let Some((of, times, text)) = &self.reported
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
        self.reported = Some((until, self.times, text.clone()));
        text
    }
}

/// Name of the client, kind of the mistake, and stream where that is told apart.
type Key = (Option<Name>, &'static str, Box<str>);

/// Memory of mistakes; see the module's documentation.
#[derive(Default)]
pub struct ProblemLog {
    entries: Mutex<BTreeMap<Key, Entry>>,
}

impl ProblemLog {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a mistake of this workload.
    pub fn report(&self, who: Option<&Name>, what: &'static str, now: u64) {
        self.report_about(who, what, "", now);
    }

    /// Notes a mistake with a detail, mostly a topic.
    pub fn report_about(&self, who: Option<&Name>, what: &'static str, about: &str, now: u64) {
        self.report_on_stream(who, what, "", about, now);
    }

    /// Notes a mistake by stream, for up to 8 streams.
    pub fn report_on_stream(
        &self,
        who: Option<&Name>,
        what: &'static str,
        stream: &str,
        about: &str,
        now: u64,
    ) {
        let mut entries = self.entries();
        entries.retain(|_, it| now < it.until());
        let mut key: Key = (who.cloned(), what, stream.into());
        let like = |known: &&Key| known.0.as_ref() == who && known.1 == what;
        if !entries.contains_key(&key) && entries.keys().filter(like).count() >= MAX_STREAMS {
            key.2 = Box::default();
        }
        if entries.len() >= MAX_KEPT && !entries.contains_key(&key) {
            return;
        }
        let it = entries.entry(key).or_default();
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

    /// Texts of recent mistakes, for a person. `wall` is the time in seconds since 1970, by which
    /// the texts say until when they are reported.
    pub fn problems(&self, now: u64, wall: u64) -> Vec<String> {
        let mut entries = self.entries();
        entries.retain(|_, it| now < it.until());
        let more = entries.len().saturating_sub(MAX_REPORTED);
        let reported = entries.iter_mut().take(MAX_REPORTED);
        let mut texts: Vec<String> = reported.map(|(key, it)| it.text(key, now, wall)).collect();
        texts
            .extend((more > 0).then(|| format!("and {more} more like these: see the agent's log")));
        texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wall clock of a test, 15:10 UTC, when the uptime is 0.
    const WALL: u64 = 20_000 * 86_400 + 15 * 3_600 + 600;

    #[test]
    fn what_goes_wrong_is_a_problem_for_a_while_and_the_same_words_however_often() {
        let log = ProblemLog::default();
        let problems = |now: u64| log.problems(now, WALL + now / 1_000);
        assert_eq!(problems(0), Vec::<String>::new());
        let name: Name = "pump".parse().unwrap();
        log.report_about(Some(&name), "published nonsense", "a b", 1_000);
        let first = problems(1_000);
        assert_eq!(
            first,
            ["pump: published nonsense, last: a b (said until 15:25 UTC, unless it goes on)"]
        );
        for at in 0..200 {
            let about = format!("topic {at}");
            log.report_about(Some(&name), "published nonsense", &about, 1_000 + at * 1_000);
        }
        let often = problems(201_000);
        assert!(often[0].contains("published nonsense, at least 201 times, last: "), "{often:?}");
        for at in 0..1_000 {
            log.report_about(Some(&name), "published nonsense", "more", 200_000 + at);
        }
        assert_eq!(problems(202_000), often, "not with each time");
        let first = often;
        log.report(None, "too many", 201_000);
        let both = problems(201_000);
        assert_eq!(both[0], "too many (said until 15:25 UTC, unless it goes on)", "a line each");
        assert_eq!(both[1..], first);
        assert_eq!(problems(899_999).len(), 2);
        assert_eq!(problems(900_000), Vec::<String>::new(), "as it was said");
    }

    #[test]
    fn each_stream_is_told_by_itself_as_far_as_they_are_few() {
        let log = ProblemLog::default();
        for stream in 0..100 {
            log.report_on_stream(None, "is broken", &format!("s{stream}"), "{", 1_000);
        }
        let texts = log.problems(1_000, WALL);
        assert_eq!(texts.len(), MAX_STREAMS + 1, "{texts:?}");
        assert!(texts[0].starts_with("is broken, at least 92 times, last: {"), "{texts:?}");
        assert!(texts[1].starts_with("is broken on s0, last: {"), "{texts:?}");
    }

    #[test]
    fn what_goes_on_changes_its_words_seldom() {
        let log = ProblemLog::default();
        let mut texts = std::collections::BTreeSet::new();
        for second in 0..6 * 3_600 {
            let now = 1_000 + second * 1_000;
            log.report_about(None, "published nonsense", &format!("{second}"), now);
            texts.extend(log.problems(now, WALL + second));
        }
        assert!((20..=30).contains(&texts.len()), "{} in six hours", texts.len());
    }
}
