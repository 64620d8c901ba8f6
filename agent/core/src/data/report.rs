//! What of a report on data is worth telling again, and when: figures change all the time, and
//! a report costs what records could have cost.
//! See decision 0092.

use holdfast_records::DataReport;

/// Figures are told so often at most, in milliseconds.
const FIGURES: u64 = 900_000;
/// What a person may have to act on is told so often, in milliseconds.
const NEWS: u64 = 60_000;
/// Another stream is told so soon, and that a stream's policy does not do what it says, or does now:
/// of one that ships nothing, nobody hears in another way. In milliseconds.
const SOON: u64 = 5_000;

/// Whether it is to be told again, so many milliseconds after it was told.
pub fn is_due(told: Option<&DataReport>, now: Option<&DataReport>, passed: u64) -> bool {
    match (told, now) {
        (None, None) => false,
        (Some(told), Some(now)) => {
            (passed >= FIGURES && differs(told, now))
                || (passed >= NEWS && is_news(told, now))
                || (passed >= SOON && is_urgent(told, now))
        }
        _ => passed >= NEWS,
    }
}

/// Another stream, a problem that is new or gone (not one whose counts have changed), or a class of
/// traffic that waits for its link budget now or does no more.
fn is_urgent(told: &DataReport, now: &DataReport) -> bool {
    let is_well =
        |it: &DataReport, name| it.streams.get(name).is_none_or(|it| it.problem.is_empty());
    let waits = |it: &DataReport| {
        let classes = it.link.classes.iter();
        classes.filter(|(_, it)| it.waits.is_some()).map(|(class, _)| *class).collect::<Vec<_>>()
    };
    told.streams.len() != now.streams.len()
        || waits(told) != waits(now)
        || now.streams.keys().any(|name| is_well(told, name) != is_well(now, name))
}

/// Another stream, policy, problem or cause of the horizon.
fn is_news(told: &DataReport, now: &DataReport) -> bool {
    let cause = |it: &DataReport| it.horizon.as_ref().map(|it| it.cause);
    cause(told) != cause(now)
        || told.streams.len() != now.streams.len()
        || told.link.budget != now.link.budget
        || now.link.classes.iter().any(|(class, now)| {
            told.link.classes.get(class).and_then(|told| told.waits) != now.waits
        })
        || now.streams.iter().any(|(name, now)| {
            told.streams
                .get(name)
                .is_none_or(|told| told.policy != now.policy || told.problem != now.problem)
        })
}

/// A figure has moved by a sixteenth of what it is measured by, or a stream has grown.
fn differs(told: &DataReport, now: &DataReport) -> bool {
    let moved = |was: u64, is: u64, whole: u64| was.abs_diff(is) > whole / 16;
    is_news(told, now)
        || moved(told.storage.used, now.storage.used, now.storage.quota)
        || now.streams.iter().any(|(name, now)| {
            told.streams.get(name).is_none_or(|told| {
                told.last != now.last || moved(told.waiting, now.waiting, now.waiting)
            })
        })
        || now.link.classes.iter().any(|(class, now)| {
            let told = told.link.classes.get(class).copied().unwrap_or_default();
            let whole = now.budget.unwrap_or(u64::MAX);
            moved(told.sent + told.received, now.sent + now.received, whole)
        })
        || match (&told.horizon, &now.horizon) {
            (Some(told), Some(now)) => moved(told.until, now.until, 16 * 86_400),
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
