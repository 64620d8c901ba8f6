//! Decides when figures on data are reported again: they change all the time, and a report costs
//! bytes that records could have used.
//!
//! See decision 0092.

use holdfast_records::DataReport;

/// Shortest time between two reports of changed figures, in milliseconds.
const FIGURES: u64 = 900_000;
/// Shortest time between two reports of changes that a person may have to act on, in milliseconds.
const NEWS: u64 = 60_000;
/// Shortest time before a report of a new stream, or of a policy that begins or ceases to have a
/// problem, in milliseconds: of a stream that ships nothing, nobody hears in another way.
const SOON: u64 = 5_000;

/// True if figures are to be reported again, `passed` milliseconds after the last time.
pub fn is_due(reported: Option<&DataReport>, now: Option<&DataReport>, passed: u64) -> bool {
    match (reported, now) {
        (None, None) => false,
        (Some(reported), Some(now)) => {
            (passed >= FIGURES && differs(reported, now))
                || (passed >= NEWS && is_news(reported, now))
                || (passed >= SOON && is_urgent(reported, now))
        }
        _ => passed >= NEWS,
    }
}

/// True for another number of streams, a problem that is new or gone (not one whose counts have
/// changed), or a class of traffic that begins or ceases to wait for the link budget.
fn is_urgent(reported: &DataReport, now: &DataReport) -> bool {
    let is_well =
        |it: &DataReport, name| it.streams.get(name).is_none_or(|it| it.problem.is_empty());
    let waits = |it: &DataReport| {
        let classes = it.link.classes.iter();
        classes.filter(|(_, it)| it.waits.is_some()).map(|(class, _)| *class).collect::<Vec<_>>()
    };
    reported.streams.len() != now.streams.len()
        || waits(reported) != waits(now)
        || now.streams.keys().any(|name| is_well(reported, name) != is_well(now, name))
}

/// True for another stream, policy, problem, budget, end of a wait, or cause of the horizon.
fn is_news(reported: &DataReport, now: &DataReport) -> bool {
    let cause = |it: &DataReport| it.horizon.as_ref().map(|it| it.cause);
    cause(reported) != cause(now)
        || reported.streams.len() != now.streams.len()
        || reported.link.budget != now.link.budget
        || now.link.classes.iter().any(|(class, now)| {
            reported.link.classes.get(class).and_then(|reported| reported.waits) != now.waits
        })
        || now.streams.iter().any(|(name, now)| {
            reported.streams.get(name).is_none_or(|reported| {
                reported.policy != now.policy || reported.problem != now.problem
            })
        })
}

/// True if a figure has moved by more than a sixteenth of its whole, or a stream has grown.
fn differs(reported: &DataReport, now: &DataReport) -> bool {
    let moved = |was: u64, is: u64, whole: u64| was.abs_diff(is) > whole / 16;
    is_news(reported, now)
        || moved(reported.storage.used, now.storage.used, now.storage.quota)
        || now.streams.iter().any(|(name, now)| {
            reported.streams.get(name).is_none_or(|reported| {
                reported.last != now.last || moved(reported.waiting, now.waiting, now.waiting)
            })
        })
        || now.link.classes.iter().any(|(class, now)| {
            let reported = reported.link.classes.get(class).copied().unwrap_or_default();
            let whole = now.budget.unwrap_or(u64::MAX);
            moved(reported.sent + reported.received, now.sent + now.received, whole)
        })
        || match (&reported.horizon, &now.horizon) {
            (Some(reported), Some(now)) => moved(reported.until, now.until, 16 * 86_400),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use holdfast_records::{ClassUse, Horizon, HorizonCause, StreamReport, TrafficClass};

    use super::*;

    #[test]
    fn news_are_told_soon_and_figures_seldom() {
        let base = DataReport::default();
        assert!(!is_due(None, None, u64::MAX));
        assert!(is_due(None, Some(&base), NEWS));
        assert!(!is_due(Some(&base), Some(&base), u64::MAX));
        let mut grown = base.clone();
        let stream = StreamReport { last: 1, ..StreamReport::default() };
        grown.streams.insert("a".parse().unwrap(), stream);
        assert!(is_due(Some(&base), Some(&grown), SOON), "a stream is news");
        let mut unfit = grown.clone();
        unfit.streams.values_mut().for_each(|it| it.problem = "1 of 1".into());
        assert!(is_due(Some(&grown), Some(&unfit), SOON), "a problem is new");
        let mut counted = unfit.clone();
        counted.streams.values_mut().for_each(|it| it.problem = "2 of 2".into());
        assert!(!is_due(Some(&unfit), Some(&counted), NEWS - 1), "the same problem");
        let mut more = grown.clone();
        more.streams.values_mut().for_each(|it| it.last = 2);
        assert!(!is_due(Some(&grown), Some(&more), FIGURES - 1));
        assert!(is_due(Some(&grown), Some(&more), FIGURES));
        let waiting = |waits| {
            let mut report = grown.clone();
            let class = ClassUse { waits, ..ClassUse::default() };
            report.link.classes.insert(TrafficClass::Data, class);
            report
        };
        assert!(is_due(Some(&grown), Some(&waiting(Some(0))), SOON), "data waits");
        assert!(!is_due(Some(&waiting(Some(0))), Some(&waiting(Some(900))), NEWS - 1));
        assert!(is_due(Some(&waiting(Some(0))), Some(&waiting(Some(900))), NEWS), "until when");
        let cause = HorizonCause::Buffer;
        let horizon = Some(Horizon { until: 5, cause, detail: String::new() });
        let short = DataReport { horizon, ..grown.clone() };
        assert!(is_due(Some(&grown), Some(&short), NEWS));
        assert!(!is_due(Some(&grown), Some(&short), NEWS - 1));
    }
}
