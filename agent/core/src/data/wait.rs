//! Classes of traffic that wait for their share of the link budget, in the words of reports. They
//! are reported over the very link that has nothing left: so the words must not change while a
//! share fills and is used up again, byte by byte.
//!
//! See decisions 0050, 0069 and 0121.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use holdfast_records::{LinkBudget, NEVER, Period, TrafficClass};

use super::budget::{Ledger, share};
use super::ship::{LEAST, SMALLEST, is_used_up};
use holdfast_base::words::{moment, size};

/// Time in seconds below which the end of a wait is reported without a time: the share is being
/// used as it fills.
const SOON: u64 = 3_600;
/// Granularity of the times that are reported, in seconds.
const STEP: u64 = 900;

/// End of a wait for the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GoesOn {
    /// Within the hour, little by little.
    Soon,
    /// At this time, in seconds since 1970.
    At(u64),
    /// Never with this budget.
    Never,
}

/// Classes that wait, each with the end of its wait.
#[derive(Debug, Default)]
pub struct Waits {
    classes: BTreeMap<TrafficClass, GoesOn>,
}

impl Waits {
    /// Notes the bytes that a class may use now. It waits from the moment when there is too little
    /// for a batch until it may send a batch worth sending.
    pub fn note(
        &mut self,
        class: TrafficClass,
        budget: Option<&LinkBudget>,
        (left, ledger): (Option<u64>, &Ledger),
        now: u64,
    ) {
        let (Some(budget), Some(left)) = (budget, left) else {
            self.classes.remove(&class);
            return;
        };
        let least = u64::try_from(LEAST).unwrap_or(0);
        let worth = u64::try_from(SMALLEST).unwrap_or(0).min(share(budget, class) / 8).max(1);
        let again = left < worth && self.classes.contains_key(&class);
        let waits = is_used_up(class, Some(left)) || again;
        if !waits {
            self.classes.remove(&class);
            return;
        }
        let goes_on = match ledger.goes_on(class, budget, now, least) {
            None => GoesOn::Never,
            Some(at) if at < now.saturating_add(SOON) => GoesOn::Soon,
            Some(at) => GoesOn::At(at.div_ceil(STEP).saturating_mul(STEP)),
        };
        self.classes.insert(class, goes_on);
    }

    /// End of a class's wait as it is reported ([`holdfast_records::ClassUse::waits`]).
    pub fn until(&self, class: TrafficClass) -> Option<u64> {
        self.classes.get(&class).map(|goes_on| match goes_on {
            GoesOn::Soon => 0,
            GoesOn::At(at) => *at,
            GoesOn::Never => NEVER,
        })
    }

    /// Sentence about one class, with its share and the end of the wait. None: it does not wait.
    pub fn of(
        &self,
        class: TrafficClass,
        budget: Option<&LinkBudget>,
        name: Option<&Name>,
    ) -> Option<String> {
        let (goes_on, budget) = (self.classes.get(&class)?, budget?);
        let which = class.as_str();
        let lead = format!("{}: {which}", lead(budget, name));
        let part = size(share(budget, class));
        Some(match goes_on {
            GoesOn::Never => {
                format!("{lead} has a share of {part}, which is too little for anything")
            }
            GoesOn::Soon => format!(
                "{lead} has used what is due by now of its {part}, and goes on little by little as more is due"
            ),
            GoesOn::At(at) => format!(
                "{lead} has used what is due by now of its {part}, and waits until {}",
                moment(*at)
            ),
        })
    }

    /// Sentence about the cause, for all classes that wait. None: none does. The times are reported
    /// with the figures of each class.
    pub fn problem(
        &self,
        budget: Option<&LinkBudget>,
        name: Option<&Name>,
        ledger: &Ledger,
    ) -> Option<String> {
        let budget = budget?;
        let names: Vec<&str> = self.classes.keys().map(|class| class.as_str()).collect();
        let (last, before) = names.split_last()?;
        let lead = lead(budget, name);
        let several = !before.is_empty();
        let who =
            if several { format!("{} and {last}", before.join(", ")) } else { (*last).into() };
        let waits = if several { "wait" } else { "waits" };
        if ledger.is_taken_by_control(budget, u64::try_from(LEAST).unwrap_or(0)) {
            let part = size(share(budget, TrafficClass::Control));
            return Some(format!(
                "{lead}: control has used more than its share of {part} and left nothing: {who} {waits}"
            ));
        }
        let (have, their) = if several { ("have", "their shares") } else { ("has", "its share") };
        Some(format!("{lead}: {who} {have} used what is due by now of {their} and {waits}"))
    }
}

/// Beginning of a sentence: which budget, and its size.
fn lead(budget: &LinkBudget, name: Option<&Name>) -> String {
    let which =
        name.map_or_else(|| "the link budget".to_owned(), |name| format!("link budget {name}"));
    let period = match budget.period {
        Period::Day => "day",
        Period::Month => "month",
    };
    format!("{which} ({} a {period})", size(budget.bytes))
}

#[cfg(test)]
mod tests {
    use holdfast_records::Share;

    use super::*;

    const DAY: u64 = 86_400;

    fn budget(percent: u8, class: TrafficClass) -> LinkBudget {
        let shares = [(class, Share { percent })].into_iter().collect();
        LinkBudget {
            period: Period::Day,
            bytes: 1_024_000,
            shares,
            interfaces: Vec::new(),
            neighbours: false,
        }
    }

    #[test]
    fn it_is_said_which_budget_how_much_and_when_it_goes_on() {
        let class = TrafficClass::Data;
        let budget = budget(40, class);
        let name: Name = "satellite".parse().unwrap();
        let (mut waits, mut ledger) = (Waits::default(), Ledger::default());
        ledger.turn(Some(&budget), 20_000 * DAY);
        let note = |waits: &mut Waits, ledger: &Ledger, now: u64| {
            let left = ledger.allowed(class, Some(&budget), now);
            waits.note(class, Some(&budget), (left, ledger), now);
            waits.of(class, Some(&budget), Some(&name))
        };
        assert_eq!(note(&mut waits, &ledger, 20_000 * DAY), None);
        // A quarter of the share, and half of it more: due at noon.
        ledger.add(class, 300_000, 0, 100);
        let said = note(&mut waits, &ledger, 20_000 * DAY).unwrap();
        assert_eq!(
            said,
            "link budget satellite (1000Ki a day): data has used what is due by now of its 400Ki, and waits until 2024-10-04 11:45 UTC"
        );
        assert_eq!(waits.until(class), Some(1_728_042_300));
        // While it fills and is used up again, the same is said.
        let noon = 20_000 * DAY + 42_500;
        let soon = note(&mut waits, &ledger, noon).unwrap();
        assert!(soon.contains("little by little"), "{soon}");
        for at in 0..100 {
            let now = noon + at * 60;
            let left = ledger.allowed(class, Some(&budget), now).unwrap();
            assert_eq!(note(&mut waits, &ledger, now), Some(soon.clone()), "with {left} left");
            ledger.add(class, left, 0, 100);
        }
        assert_eq!(note(&mut waits, &ledger, noon + 6_000 + 9_000), None, "there is enough again");
        waits.note(class, None, (None, &ledger), noon);
        assert_eq!((waits.until(class), waits.problem(None, None, &ledger)), (None, None));
    }

    #[test]
    fn one_cause_is_one_problem() {
        use TrafficClass::{Control, Data, Events, Logs};
        let (budget, name) = (budget(15, Control), "satellite".parse().unwrap());
        let now = 20_000 * DAY;
        // Bytes of each class, and what is said.
        for (used, said) in [
            (&[][..], None),
            (&[(Data, 300_000)], Some("data has used what is due by now of its share and waits")),
            (
                &[(Data, 300_000), (Logs, 300_000)],
                Some("data and logs have used what is due by now of their shares and wait"),
            ),
            (
                &[(Control, 1_100_000)],
                Some(
                    "control has used more than its share of 150Ki and left nothing: events, data, logs and artifacts wait",
                ),
            ),
            (&[(Control, 200_000), (Events, 1)], None),
        ] {
            let (mut waits, mut ledger) = (Waits::default(), Ledger::default());
            ledger.turn(Some(&budget), now);
            used.iter().for_each(|(class, bytes)| ledger.add(*class, *bytes, 0, 100));
            for class in TrafficClass::ALL {
                let left = ledger.allowed(class, Some(&budget), now);
                waits.note(class, Some(&budget), (left, &ledger), now);
            }
            let found = waits.problem(Some(&budget), Some(&name), &ledger);
            let wanted = said.map(|said| format!("link budget satellite (1000Ki a day): {said}"));
            assert_eq!(found, wanted, "{used:?}");
        }
    }

    #[test]
    fn a_share_of_nothing_never_goes_on() {
        let class = TrafficClass::Logs;
        let budget = budget(0, class);
        let (mut waits, mut ledger) = (Waits::default(), Ledger::default());
        ledger.turn(Some(&budget), 20_000 * DAY);
        waits.note(class, Some(&budget), (Some(0), &ledger), 20_000 * DAY);
        let said = waits.of(class, Some(&budget), None).unwrap();
        assert!(said.contains("a share of 0, which is too little for anything"), "{said}");
        assert_eq!(waits.until(class), Some(NEVER));
    }
}
