//! Use of a device's link in the present period of its budget: bytes by traffic class, whether that
//! fits, a forecast, and what waits.
//!
//! Whether a class waits is decided on the device; every text about it is made here.
//!
//! See decision 0121.

use holdfast_base::words::date;
use holdfast_records::{ClassUse, LinkUse, NEVER, Period, TrafficClass};

use super::time::rfc3339;
use crate::{Fits, Link, LinkClass, LinkWait};

const DAY: u64 = 86_400;

/// Shortest time over which a rate must have been counted for a forecast, in seconds. What an agent
/// sends as it starts says nothing about the hours to come.
pub const ENOUGH: u64 = 600;

/// Returns the period of a report; a day for agents that do not report one.
fn period(link: &LinkUse) -> Period {
    link.period.unwrap_or(Period::Day)
}

/// Returns the end of a report's period, in seconds since 1970, exclusive: the next midnight or
/// first of a month, in UTC.
fn ends(link: &LinkUse) -> u64 {
    let day = link.since / DAY;
    let days = match period(link) {
        Period::Day => 1,
        // `since` is the first of a month; the next first comes 28 to 31 days later. For 2024-02-01
        // the search ends at 29.
        Period::Month => (1..=31).find(|days| date(day + days).2 == 1).unwrap_or(31),
    };
    (day + days).saturating_mul(DAY)
}

/// Returns the bytes that will have been used at the end of the period if the rate of the last hour
/// continues. None: the rate was not counted for [`ENOUGH`] seconds.
///
/// Example: 10,000 bytes used at noon, 2,000 of them counted in the last 3,600 s: 12 h are left, so
/// 10,000 + 2,000 × 43,200 / 3,600 = 34,000.
fn forecast(link: &LinkUse, used: u64, recent: u64) -> Option<u64> {
    if link.watched < ENOUGH || link.at < link.since {
        return None;
    }
    // In 128 bits, because `recent` comes from the device and may be any number of 64. The rate is
    // divided by the time it was counted over, not by a fixed hour: shortly after an agent's start
    // that is ten minutes.
    let left = u128::from(ends(link).saturating_sub(link.at));
    let more = u128::from(recent) * left / u128::from(link.watched);
    Some(used.saturating_add(u64::try_from(more).unwrap_or(u64::MAX)))
}

/// Classifies `used` bytes against a bound. Waiting comes first: a class may have to wait before
/// its share is used up, because the share becomes due little by little over the period.
fn fits(used: u64, bound: Option<u64>, waits: bool, forecast: Option<u64>) -> Fits {
    match bound {
        None => Fits::NoBudget,
        Some(_) if waits => Fits::Waits,
        Some(bound) if used >= bound => Fits::UsedUp,
        Some(bound) if forecast.is_some_and(|forecast| forecast > bound) => Fits::Short,
        Some(_) => Fits::Fits,
    }
}

fn class(link: &LinkUse, class: TrafficClass, it: &ClassUse) -> LinkClass {
    let forecast = forecast(link, it.used(), it.recent);
    LinkClass {
        class: class.as_str().into(),
        sent: it.sent,
        received: it.received,
        used: it.used(),
        share: it.budget,
        forecast,
        fits: fits(it.used(), it.budget, it.waits.is_some(), forecast),
        waits: it.waits.map(|until| match until {
            0 => LinkWait::LittleByLittle,
            NEVER => LinkWait::NotWithThisShare,
            _ => LinkWait::Until,
        }),
        waits_until: it.waits.filter(|until| !matches!(*until, 0 | NEVER)).map(rfc3339),
    }
}

/// Converts a report of a link to the API's form. `budget` is the name of the `LinkBudget` document
/// that applies to the device.
pub fn link(link: &LinkUse, budget: Option<&str>) -> Link {
    let (mut used, mut recent) = (0_u64, 0_u64);
    for it in link.classes.values() {
        used = used.saturating_add(it.used());
        recent = recent.saturating_add(it.recent);
    }
    let forecast = forecast(link, used, recent);
    let used_up = link.budget.is_some_and(|budget| used >= budget);
    // As a whole the link waits if any class does, unless all is used up, which says more.
    let waits = !used_up && link.classes.values().any(|it| it.waits.is_some());
    Link {
        budget: budget.filter(|_| link.budget.is_some()).map(Into::into),
        bytes: link.budget,
        period: match period(link) {
            Period::Day => "day".into(),
            Period::Month => "month".into(),
        },
        since: rfc3339(link.since),
        ends: rfc3339(ends(link)),
        at: (link.at > 0).then(|| rfc3339(link.at)),
        rate_seconds: (link.watched >= ENOUGH).then_some(link.watched),
        used,
        forecast,
        fits: fits(used, link.budget, waits, forecast),
        classes: link.classes.iter().map(|(name, it)| class(link, *name, it)).collect(),
    }
}

/// Describes, for each class that waits for the link budget, what does not happen meanwhile, such
/// as `logs: logs are not read and queries are not answered before 2026-11-28T12:15:00Z`.
pub fn consequences(link: &LinkUse) -> Vec<String> {
    let follows = |(class, it): (&TrafficClass, &ClassUse)| {
        let what = match class {
            TrafficClass::Logs => "logs are not read and queries are not answered",
            TrafficClass::Artifacts => "artifacts are not fetched",
            _ => "records are not shipped",
        };
        Some(format!("{}: {what}{}", class.as_str(), until(it.waits?)))
    };
    link.classes.iter().filter_map(follows).collect()
}

/// Describes why a class waits for the link budget named `budget`. None: it does not wait.
pub fn held(link: &LinkUse, class: TrafficClass, budget: &str) -> Option<String> {
    let waits = link.classes.get(&class)?.waits?;
    let (whole, class) = (link.budget.map(holdfast_base::words::size), class.as_str());
    let whole = whole.map_or_else(String::new, |whole| format!(" ({whole})"));
    let waits = match waits {
        0 => "has used what is due by now, and goes on little by little".into(),
        NEVER => "has a share that is too little for anything".to_owned(),
        then => format!("has used what is due by now, and waits until {}", rfc3339(then)),
    };
    Some(format!("link budget {budget}{whole}: {class} {waits}"))
}

fn until(waits: u64) -> String {
    match waits {
        0 => " at once, but little by little as more of its share is due".into(),
        NEVER => " before spec.shares gives the class more".into(),
        then => format!(" before {}", rfc3339(then)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-28T00:00:00Z, in seconds since 1970.
    const MIDNIGHT: u64 = 1_795_824_000;
    const NOON: u64 = MIDNIGHT + DAY / 2;

    fn used(bytes: u64, share: u64, recent: u64, waits: Option<u64>) -> ClassUse {
        ClassUse { sent: bytes, budget: Some(share), recent, waits, ..ClassUse::default() }
    }

    fn report(watched: u64, classes: &[(TrafficClass, ClassUse)]) -> LinkUse {
        LinkUse {
            since: MIDNIGHT,
            period: Some(Period::Day),
            at: NOON,
            watched,
            budget: Some(100_000),
            classes: classes.iter().copied().collect(),
        }
    }

    #[test]
    fn whether_a_class_fits_is_what_its_shipping_says() {
        use TrafficClass::Data;
        for (name, watched, class, wanted, expected) in [
            ("quiet", 3_600, used(10_000, 40_000, 0, None), Fits::Fits, Some(10_000)),
            (
                "an hour's rate, twelve hours",
                3_600,
                used(10_000, 40_000, 2_000, None),
                Fits::Fits,
                Some(34_000),
            ),
            ("too quick", 3_600, used(10_000, 40_000, 5_000, None), Fits::Short, Some(70_000)),
            ("not known yet", ENOUGH - 1, used(10_000, 40_000, 9_000, None), Fits::Fits, None),
            ("ten minutes", ENOUGH, used(0, 40_000, 100, None), Fits::Fits, Some(7_200)),
            (
                "nothing used, and it waits",
                3_600,
                used(0, 40_000, 0, Some(0)),
                Fits::Waits,
                Some(0),
            ),
            (
                "control is never held",
                3_600,
                used(90_000, 15_000, 0, None),
                Fits::UsedUp,
                Some(90_000),
            ),
        ] {
            let link = link(&report(watched, &[(Data, class)]), Some("day"));
            let found = &link.classes[0];
            assert_eq!((found.fits, found.forecast), (wanted, expected), "{name}");
        }
        // Traffic that the interface does not charge for counts as nothing, and without a budget
        // there is no bound.
        let free = ClassUse { charged: Some(7), ..used(90_000, 40_000, 0, None) };
        assert_eq!(link(&report(3_600, &[(Data, free)]), None).used, 7);
        let none = LinkUse {
            budget: None,
            ..report(3_600, &[(Data, ClassUse { sent: 9, ..ClassUse::default() })])
        };
        let none = link(&none, Some("x"));
        assert_eq!(
            (none.fits, none.classes[0].fits, none.budget),
            (Fits::NoBudget, Fits::NoBudget, None)
        );
    }

    #[test]
    fn the_whole_waits_where_a_part_does() {
        use TrafficClass::{Control, Events, Logs};
        let waits = NOON + 900;
        let all = [
            (Control, used(86_700, 14_900, 0, None)),
            (Events, used(0, 14_900, 0, Some(waits))),
            (Logs, used(191, 6_400, 0, Some(NEVER))),
        ];
        let told = report(3_600, &all);
        let link = link(&told, Some("satellite"));
        assert_eq!((link.used, link.fits), (86_891, Fits::Waits));
        assert_eq!(link.budget.as_deref(), Some("satellite"));
        assert_eq!(link.ends, "2026-11-29T00:00:00Z");
        assert_eq!(link.classes[1].waits_until.as_deref(), Some("2026-11-28T12:15:00Z"));
        assert_eq!(link.classes[2].waits, Some(LinkWait::NotWithThisShare));
        assert_eq!(
            consequences(&told),
            [
                "events: records are not shipped before 2026-11-28T12:15:00Z",
                "logs: logs are not read and queries are not answered before spec.shares gives the class more",
            ]
        );
        assert_eq!(held(&told, Control, "satellite"), None);
        let said = held(&told, Events, "satellite").unwrap();
        assert_eq!(
            said,
            "link budget satellite (97Ki): events has used what is due by now, and waits until 2026-11-28T12:15:00Z"
        );
        let over = report(3_600, &[(Control, used(100_000, 1, 0, None))]);
        assert_eq!(super::link(&over, None).fits, Fits::UsedUp);
    }

    #[test]
    fn a_month_ends_with_the_first_of_the_next() {
        for (since, days) in [(1_706_745_600, 29), (1_704_067_200, 31), (1_793_491_200, 30)] {
            let link = LinkUse { since, period: Some(Period::Month), ..LinkUse::default() };
            assert_eq!(ends(&link), since + days * DAY, "{since}");
        }
    }
}
