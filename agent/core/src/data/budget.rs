//! Link budget: a ledger of all bytes by class in the present day or month, and the bytes that a
//! class may still use of its share. A share fills as the period passes, with a quarter of it
//! available at the beginning, so that a morning does not use up a month. Urgent streams borrow
//! what other classes have left. Control traffic is never held back: what it uses beyond its share
//! is taken from the others.
//!
//! See decision 0050.

use std::collections::BTreeMap;

use holdfast_base::collect;
use holdfast_records::{ClassUse, LinkBudget, LinkUse, Period, TrafficClass};
use serde::{Deserialize, Serialize};

use holdfast_base::words::date;

/// Bytes of one class of traffic in a period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Bytes sent by the device.
    pub sent: u64,
    /// Bytes received by the device.
    pub received: u64,
    /// Bytes charged to the budget: those of both directions, each weighted by the cost of the
    /// interface it went over.
    pub charged: u64,
}

/// Ledger of a period: the bytes of each class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Begin of the period, in seconds since 1970.
    since: u64,
    classes: BTreeMap<TrafficClass, Count>,
}

impl Ledger {
    /// Clears the ledger if another period has begun. A clock that was set back begins none: the
    /// bytes count for the period that it shows now. Otherwise one step into the future would hold
    /// the link back until that day comes.
    pub fn turn(&mut self, budget: Option<&LinkBudget>, now: u64) {
        let begin = begin_of(period(budget), now);
        if begin > self.since {
            *self = Self { since: begin, classes: BTreeMap::new() };
        } else if self.since > now {
            self.since = begin;
        }
    }

    /// Adds bytes of a class. `cost_percent`: weight of a byte; 0: the interface is not metered.
    pub fn add(&mut self, class: TrafficClass, sent: u64, received: u64, cost_percent: u32) {
        let count = self.classes.entry(class).or_default();
        count.sent = count.sent.saturating_add(sent);
        count.received = count.received.saturating_add(received);
        let cost = u128::from(sent.saturating_add(received)) * u128::from(cost_percent) / 100;
        count.charged = count.charged.saturating_add(u64::try_from(cost).unwrap_or(u64::MAX));
    }

    /// Adds the ledger that was stored before a restart, unless it is of an earlier period. It does
    /// not decide which period it is now, because it may have been stored by a clock that was
    /// ahead.
    pub fn restore(&mut self, stored: &Self) {
        if stored.since < self.since {
            return;
        }
        if self.since == 0 {
            self.since = stored.since;
        }
        for (class, count) in &stored.classes {
            let mine = self.classes.entry(*class).or_default();
            mine.sent = mine.sent.saturating_add(count.sent);
            mine.received = mine.received.saturating_add(count.received);
            mine.charged = mine.charged.saturating_add(count.charged);
        }
    }

    /// Bytes of all classes in both directions, unweighted.
    pub fn total(&self) -> u64 {
        let all = self.classes.values().map(|count| count.sent.saturating_add(count.received));
        all.fold(0, u64::saturating_add)
    }

    fn charged(&self, class: TrafficClass) -> u64 {
        self.classes.get(&class).map_or(0, |count| count.charged)
    }

    /// Bytes that a class may still use now. None: no bound.
    pub fn allowed(
        &self,
        class: TrafficClass,
        budget: Option<&LinkBudget>,
        now: u64,
    ) -> Option<u64> {
        let budget = budget?;
        if class == TrafficClass::Control {
            return None;
        }
        let shares = shares(budget);
        let share = |class| shares.get(&class).copied().unwrap_or(0);
        let filled = |class| self.filled(share(class), budget, now);
        let left = |class| filled(class).saturating_sub(self.charged(class));
        let mut may = left(class);
        if class == TrafficClass::Events {
            let others = [TrafficClass::Data, TrafficClass::Logs, TrafficClass::Artifacts];
            let lent = others.into_iter().map(left).fold(0, u64::saturating_add);
            // Bytes that were borrowed before count against what the other classes lend now: with
            // 30 left of others and 20 borrowed, 10 more may be borrowed.
            let borrowed = self.charged(class).saturating_sub(filled(class));
            may = may.saturating_add(lent.saturating_sub(borrowed));
        }
        // Control's share is reserved for it, and what it used beyond its share is gone for the
        // others.
        let kept = share(TrafficClass::Control).max(self.charged(TrafficClass::Control));
        let others = TrafficClass::ALL.into_iter().filter(|it| *it != TrafficClass::Control);
        let used = others.map(|class| self.charged(class)).fold(0, u64::saturating_add);
        Some(may.min(budget.bytes.saturating_sub(kept).saturating_sub(used)))
    }

    /// True if control has used more than its share, so that the others have less than `bytes`
    /// left: it is the cause of their waiting.
    pub fn is_taken_by_control(&self, budget: &LinkBudget, bytes: u64) -> bool {
        let control = self.charged(TrafficClass::Control);
        let all = TrafficClass::ALL.into_iter().map(|class| self.charged(class));
        let left = budget.bytes.saturating_sub(all.fold(0, u64::saturating_add));
        control > share(budget, TrafficClass::Control) && left < bytes
    }

    /// Time from which a class may use so many bytes, in seconds since 1970. Its share fills as the
    /// period passes, and the next period begins with nothing used. None: never with this budget.
    pub fn goes_on(
        &self,
        class: TrafficClass,
        budget: &LinkBudget,
        now: u64,
        bytes: u64,
    ) -> Option<u64> {
        let end = self.end(budget);
        let next = Self { since: end, classes: BTreeMap::new() };
        let here = self.first(class, budget, bytes, (now, end));
        here.or_else(|| next.first(class, budget, bytes, (end, next.end(budget))))
    }

    fn end(&self, budget: &LinkBudget) -> u64 {
        self.since.saturating_add(length_of(budget.period, self.since).max(1))
    }

    /// First moment in a half-open range at which a class may use so many bytes. Found by
    /// bisection, because the allowance never falls within a period.
    fn first(
        &self,
        class: TrafficClass,
        budget: &LinkBudget,
        bytes: u64,
        (mut from, end): (u64, u64),
    ) -> Option<u64> {
        let enough = |at| self.allowed(class, Some(budget), at).is_none_or(|left| left >= bytes);
        let mut to = end.checked_sub(1).filter(|last| *last >= from && enough(*last))?;
        while from < to {
            let middle = from + (to - from) / 2;
            if enough(middle) {
                to = middle;
            } else {
                from = middle + 1;
            }
        }
        Some(to)
    }

    /// Part of a share that may have been used by now: a quarter at once, the rest in proportion to
    /// the time passed. Example: half of a month gives three quarters of the share.
    fn filled(&self, share: u64, budget: &LinkBudget, now: u64) -> u64 {
        let length = u128::from(length_of(budget.period, self.since)).max(1);
        let passed = u128::from(now.saturating_sub(self.since)).min(length);
        let part = u128::from(share) * passed / length + u128::from(share) / 4;
        share.min(u64::try_from(part).unwrap_or(u64::MAX))
    }

    /// Report of the ledger, without the classes that have neither bytes nor a share.
    pub fn report(&self, budget: Option<&LinkBudget>) -> LinkUse {
        let shares = budget.map(shares).unwrap_or_default();
        let used = |class| {
            let count = self.classes.get(&class).copied().unwrap_or_default();
            let share = shares.get(&class).copied();
            let Count { sent, received, charged } = count;
            let all = sent.saturating_add(received);
            let charged = (budget.is_some() && charged != all).then_some(charged);
            let it = ClassUse { sent, received, budget: share, charged, ..ClassUse::default() };
            (it != ClassUse::default()).then_some((class, it))
        };
        let classes = collect::map(TrafficClass::ALL.into_iter().filter_map(used));
        LinkUse {
            since: self.since,
            period: Some(period(budget)),
            budget: budget.map(|it| it.bytes),
            classes,
            ..LinkUse::default()
        }
    }
}

/// Bytes that a class may use in a period.
pub fn share(budget: &LinkBudget, class: TrafficClass) -> u64 {
    shares(budget).get(&class).copied().unwrap_or(0)
}

/// Bytes of each class in a period. Classes without a share of their own divide equally what the
/// others leave.
fn shares(budget: &LinkBudget) -> BTreeMap<TrafficClass, u64> {
    let percent = |class: &TrafficClass| {
        budget.shares.get(class).map(|share| u64::from(share.percent.min(100)))
    };
    let named: u64 = TrafficClass::ALL.iter().filter_map(percent).sum();
    let absent = TrafficClass::ALL.iter().filter(|class| percent(class).is_none()).count();
    let absent = u64::try_from(absent).unwrap_or(1).max(1);
    let rest = 100_u64.saturating_sub(named);
    let part = |class: &TrafficClass| {
        let thousandths = percent(class).map_or(rest * 1_000 / absent, |percent| percent * 1_000);
        let bytes = u128::from(budget.bytes) * u128::from(thousandths) / 100_000;
        (*class, u64::try_from(bytes).unwrap_or(u64::MAX))
    };
    collect::map(TrafficClass::ALL.iter().map(part))
}

/// Cost of a byte on this interface, in percent; 0: it is not metered.
pub fn cost(budget: Option<&LinkBudget>, interface: Option<&str>) -> u32 {
    let Some(budget) = budget else { return 0 };
    let fits = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    };
    let some_metered = budget.interfaces.iter().any(|it| it.metered);
    let known = interface.and_then(|name| budget.interfaces.iter().find(|it| fits(&it.name, name)));
    match known {
        Some(it) if some_metered && !it.metered => 0,
        Some(it) => it.cost_percent,
        // The interface cannot be told: its bytes are charged, which is safer than not to charge
        // them.
        None if some_metered && interface.is_some() => 0,
        None => 100,
    }
}

fn period(budget: Option<&LinkBudget>) -> Period {
    budget.map_or(Period::Day, |budget| budget.period)
}

const DAY: u64 = 86_400;

/// Begin of the period that contains this moment, in seconds since 1970.
fn begin_of(period: Period, now: u64) -> u64 {
    let day = now / DAY;
    match period {
        Period::Day => day * DAY,
        Period::Month => (day - (date(day).2 - 1)) * DAY,
    }
}

fn length_of(period: Period, begin: u64) -> u64 {
    match period {
        Period::Day => DAY,
        // Another month begins within 31 days.
        Period::Month => begin_of(Period::Month, begin + 31 * DAY).saturating_sub(begin),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_records::{Interface, Share};
    use proptest::prelude::*;

    use super::*;

    fn budget(period: Period, bytes: u64, shares: &[(TrafficClass, u8)]) -> LinkBudget {
        let shares =
            shares.iter().map(|(class, percent)| (*class, Share { percent: *percent })).collect();
        LinkBudget { period, bytes, shares, interfaces: Vec::new(), neighbours: false }
    }

    #[test]
    fn periods_begin_at_midnight_and_on_the_first() {
        // 2024-02-29T12:00:00Z.
        let leap = 1_709_208_000;
        assert_eq!(begin_of(Period::Day, leap), 1_709_164_800);
        assert_eq!(begin_of(Period::Month, leap), 1_706_745_600, "2024-02-01");
        assert_eq!(length_of(Period::Month, 1_706_745_600), 29 * DAY);
        // 2023-12-31T23:59:59Z, 1970-01-01.
        assert_eq!(begin_of(Period::Month, 1_704_067_199), 1_701_388_800);
        assert_eq!(begin_of(Period::Month, 5), 0);
        let days: Vec<_> = (0..60).map(|day| date(day).2).collect();
        assert_eq!((days[0], days[30], days[31], days[58], days[59]), (1, 31, 1, 28, 1));
    }

    #[test]
    fn a_share_fills_as_the_day_passes_and_urgent_streams_borrow() {
        use TrafficClass::{Control, Data, Events};
        let budget = budget(Period::Day, 1_000_000, &[(Data, 40), (Control, 30)]);
        let budget = Some(&budget);
        let mut ledger = Ledger::default();
        ledger.turn(budget, 10 * DAY);
        assert_eq!(ledger.allowed(Data, budget, 10 * DAY), Some(100_000), "a quarter at once");
        assert_eq!(ledger.allowed(Data, budget, 10 * DAY + DAY / 4), Some(200_000));
        assert_eq!(ledger.allowed(Control, budget, 10 * DAY), None);
        ledger.add(Data, 90_000, 10_000, 100);
        assert_eq!(ledger.allowed(Data, budget, 10 * DAY), Some(0));
        // Of three classes that share what is left, events have 10%, and a quarter of it now.
        assert_eq!(ledger.allowed(Events, budget, 10 * DAY), Some(75_000));
        let mut borrower = ledger.clone();
        borrower.add(Events, 70_000, 0, 100);
        assert_eq!(borrower.allowed(Events, budget, 10 * DAY), Some(5_000), "of 50,000 lent");
        borrower.add(Events, 5_000, 0, 100);
        assert_eq!(borrower.allowed(Events, budget, 10 * DAY), Some(0), "nothing is lent twice");
        let end = 11 * DAY - 1;
        assert_eq!(ledger.allowed(Data, budget, end), Some(300_000));
        ledger.add(Control, 900_000, 0, 100);
        assert_eq!(ledger.allowed(Data, budget, end), Some(0), "control has used it");
        ledger.turn(budget, 11 * DAY);
        assert_eq!(ledger.allowed(Data, budget, 11 * DAY), Some(100_000));
        assert_eq!(ledger.allowed(Data, None, 11 * DAY), None);
    }

    #[test]
    fn what_waits_goes_on_when_enough_is_due() {
        use TrafficClass::{Data, Logs};
        let budget = budget(Period::Day, 1_000_000, &[(Data, 40), (Logs, 0)]);
        let mut ledger = Ledger::default();
        ledger.turn(Some(&budget), 10 * DAY);
        let goes_on = |ledger: &Ledger, class| ledger.goes_on(class, &budget, 10 * DAY, 2_000);
        assert_eq!(goes_on(&ledger, Data), Some(10 * DAY));
        assert_eq!(goes_on(&ledger, Logs), None, "a share of nothing never fills");
        ledger.add(Data, 300_000, 0, 100);
        let at = goes_on(&ledger, Data).unwrap();
        let left = |at| ledger.allowed(Data, Some(&budget), at).unwrap();
        assert!(left(at) >= 2_000 && left(at - 1) < 2_000, "{at}");
        ledger.add(Data, 100_000, 0, 100);
        assert_eq!(goes_on(&ledger, Data), Some(11 * DAY), "with the next period");
    }

    #[test]
    fn a_clock_that_jumped_ahead_holds_nothing_back_once_it_is_right() {
        use TrafficClass::Data;
        let budget = budget(Period::Day, 1_000_000, &[(Data, 40)]);
        let budget = Some(&budget);
        let noon = 10 * DAY + DAY / 2;
        let mut ledger = Ledger::default();
        ledger.turn(budget, noon);
        ledger.turn(budget, 4_000 * DAY);
        ledger.add(Data, 250_000, 0, 100);
        let stored = ledger.clone();
        // Set right: the share fills again, and what was used still counts.
        ledger.turn(budget, noon);
        assert_eq!(ledger.report(budget).since, 10 * DAY);
        assert_eq!(ledger.allowed(Data, budget, noon), Some(50_000));
        assert_eq!(ledger.allowed(Data, budget, noon + DAY / 4), Some(150_000));
        ledger.turn(budget, 11 * DAY);
        assert_eq!(ledger.allowed(Data, budget, 11 * DAY), Some(100_000));
        // The same over a restart, whether the clock was looked at before the file or after it.
        let mut early = Ledger::default();
        early.turn(budget, noon);
        early.restore(&stored);
        let mut late = Ledger::default();
        late.restore(&stored);
        late.turn(budget, noon);
        for ledger in [&mut early, &mut late] {
            assert_eq!(ledger.report(budget).since, 10 * DAY);
            assert_eq!(ledger.allowed(Data, budget, noon), Some(50_000));
        }
        // What was stored in an earlier period is over.
        let mut next = Ledger::default();
        next.turn(budget, 4_001 * DAY);
        next.restore(&stored);
        assert_eq!(next.allowed(Data, budget, 4_001 * DAY), Some(100_000));
    }

    #[test]
    fn the_report_says_which_period_it_is() {
        let month = budget(Period::Month, 1_000, &[]);
        for (budget, period, since) in
            [(None, Period::Day, 1_709_164_800), (Some(&month), Period::Month, 1_706_745_600)]
        {
            let mut ledger = Ledger::default();
            ledger.turn(budget, 1_709_208_000);
            let said = ledger.report(budget);
            assert_eq!((said.period, said.since), (Some(period), since));
        }
    }

    #[test]
    fn interfaces_cost_what_is_said() {
        let mut budget = budget(Period::Day, 1_000, &[]);
        assert_eq!(cost(Some(&budget), Some("eth0")), 100);
        assert_eq!(cost(None, Some("eth0")), 0);
        let interface = |name: &str, metered, cost_percent| Interface {
            name: name.into(),
            metered,
            cost_percent,
        };
        budget.interfaces = vec![interface("sat*", false, 300)];
        assert_eq!(cost(Some(&budget), Some("sat0")), 300);
        assert_eq!(cost(Some(&budget), Some("eth0")), 100);
        budget.interfaces.push(interface("wwan*", true, 150));
        for (name, percent) in [("wwan0", 150), ("eth0", 0), ("sat0", 0)] {
            assert_eq!(cost(Some(&budget), Some(name)), percent, "{name}");
        }
        assert_eq!(cost(Some(&budget), None), 100);
    }

    proptest! {
        /// Checks that, while all classes keep to their allowance, the whole budget is kept and
        /// control has its share.
        #[test]
        fn the_whole_is_kept(
            uses in proptest::collection::vec((1usize..5, 0u64..200_000, 0u64..4_000), 0..200),
            data in 0u8..60,
            control in 0u8..40,
        ) {
            let budget = budget(
                Period::Day,
                1_000_000,
                &[(TrafficClass::Data, data), (TrafficClass::Control, control)],
            );
            let mut ledger = Ledger::default();
            let mut now = 100 * DAY;
            ledger.turn(Some(&budget), now);
            for (class, bytes, passed) in uses {
                now = (now + passed).min(101 * DAY - 1);
                let class = TrafficClass::ALL[class];
                let may = ledger.allowed(class, Some(&budget), now).unwrap();
                ledger.add(class, bytes.min(may), 0, 100);
            }
            let used: u64 = TrafficClass::ALL.into_iter().map(|it| ledger.charged(it)).sum();
            let kept = shares(&budget)[&TrafficClass::Control];
            prop_assert!(used + kept <= 1_000_000, "{} and {}", used, kept);
        }

        /// Checks that, however the clock jumped and whatever was stored and read meanwhile,
        /// nothing used before is charged to the next period once the clock is right.
        #[test]
        fn no_jump_outlasts_the_period(
            jumps in proptest::collection::vec((0u64..40_000, 0u64..500_000, any::<bool>()), 0..40),
            month: bool,
        ) {
            let period = if month { Period::Month } else { Period::Day };
            let budget = budget(period, 1_000_000, &[(TrafficClass::Data, 40)]);
            let budget = Some(&budget);
            let (mut ledger, mut stored) = (Ledger::default(), Ledger::default());
            for (day, bytes, restart) in jumps {
                ledger.turn(budget, day * DAY);
                prop_assert!(ledger.since <= day * DAY);
                ledger.add(TrafficClass::Data, bytes, 0, 100);
                if restart {
                    stored.turn(budget, day * DAY);
                    stored.restore(&ledger);
                    std::mem::swap(&mut stored, &mut ledger);
                    stored = Ledger::default();
                }
            }
            let now = 20_000 * DAY;
            ledger.turn(budget, now);
            let next = now + 31 * DAY;
            ledger.turn(budget, next);
            prop_assert_eq!(ledger.since, begin_of(period, next));
            let passed = (next - ledger.since) * 400_000 / length_of(period, ledger.since);
            let filled = (passed + 100_000).min(400_000);
            prop_assert_eq!(ledger.allowed(TrafficClass::Data, budget, next), Some(filled));
        }
    }
}
