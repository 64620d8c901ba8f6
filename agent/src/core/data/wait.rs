//! Which classes of traffic wait for their share of the link budget, as a person is told it. What
//! is told is reported over the very link that has nothing left: so it must not change while a share
//! fills and is used up again, byte by byte.

use std::collections::BTreeMap;

use holdfast_protocol::data::{LinkBudget, Period, TrafficClass};
use holdfast_protocol::ids::Name;

use super::budget::{Ledger, share};
use super::ship::{LEAST, SMALLEST, is_used_up};
use holdfast_protocol::words::{moment, size};

/// What is nearer than this, in seconds, is told without a time: the share is being used as it fills.
const SOON: u64 = 3_600;
/// Times are told in such steps, in seconds.
const STEP: u64 = 900;

/// When what waits goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GoesOn {
    /// Little by little.
    Soon,
    /// Not before this, in seconds since 1970.
    At(u64),
    /// Not with this budget.
    Never,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Waits {
    classes: BTreeMap<TrafficClass, GoesOn>,
}

impl Waits {
    /// This is what a class may use now. It waits once there is too little for a batch, until it may
    /// send as much as is worth it.
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

    /// What is said of a class; None: it does not wait.
    pub fn of(
        &self,
        class: TrafficClass,
        budget: Option<&LinkBudget>,
        name: Option<&Name>,
    ) -> Option<String> {
        let (goes_on, budget) = (self.classes.get(&class)?, budget?);
        let which =
            name.map_or_else(|| "the link budget".to_owned(), |name| format!("link budget {name}"));
        let period = match budget.period {
            Period::Day => "day",
            Period::Month => "month",
        };
        let (whole, part) = (size(budget.bytes), share(budget, class));
        let lead = format!("{which} ({whole} a {period}): {class}", class = class.as_str());
        let stops = match class {
            TrafficClass::Logs => "logs are not read and queries are not answered",
            TrafficClass::Artifacts => "artifacts are not fetched",
            _ => "records are not shipped",
        };
        let part = size(part);
        Some(match goes_on {
            GoesOn::Never => format!(
                "{lead} has a share of {part}, which is too little for anything: {stops} before spec.shares gives it more"
            ),
            GoesOn::Soon => format!(
                "{lead} has used what is due by now of its {part}, and goes on little by little as more is due"
            ),
            GoesOn::At(at) => format!(
                "{lead} has used what is due by now of its {part}: {stops} before {}",
                moment(*at)
            ),
        })
    }

    /// What is said of all that wait, one line each.
    pub fn all(&self, budget: Option<&LinkBudget>, name: Option<&Name>) -> Vec<String> {
        self.classes.keys().filter_map(|class| self.of(*class, budget, name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::data::Share;

    use super::*;

    const DAY: u64 = 86_400;

    fn budget(percent: u8, class: TrafficClass) -> LinkBudget {
        let shares = [(class, Share { percent })].into_iter().collect();
        LinkBudget { period: Period::Day, bytes: 1_024_000, shares, interfaces: Vec::new() }
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
            "link budget satellite (1000Ki a day): data has used what is due by now of its 400Ki: records are not shipped before 2024-10-04 11:45 UTC"
        );
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
        assert_eq!(waits.all(None, None), Vec::<String>::new());
    }

    #[test]
    fn a_share_of_nothing_says_what_it_stops() {
        let class = TrafficClass::Logs;
        let budget = budget(0, class);
        let (mut waits, mut ledger) = (Waits::default(), Ledger::default());
        ledger.turn(Some(&budget), 20_000 * DAY);
        waits.note(class, Some(&budget), (Some(0), &ledger), 20_000 * DAY);
        let said = waits.all(Some(&budget), None);
        assert!(said[0].contains("queries are not answered before spec.shares"), "{said:?}");
    }
}
