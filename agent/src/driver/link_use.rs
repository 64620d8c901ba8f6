//! Use of the link: the meter counts bytes, the core keeps the ledger, and the buffer's file stores
//! it over restarts.
//!
//! See decision 0050.

use holdfast_base::codec;
use holdfast_records::{DataPolicies, LinkUse, TrafficClass};

use crate::adapters::clock::uptime_ms;
use crate::adapters::meter::Meter;
use crate::core::data::budget::{Ledger, cost};
use crate::core::data::recent::Recent;
use crate::core::data::route::default_interface;
use crate::core::data::ship::is_used_up;
use crate::core::data::wait::Waits;

/// Interval at which the ledger is stored, in milliseconds, and number of bytes after which it is
/// stored before that: a crash forgets little of what a person pays for, and the flash is spared.
const KEEP: u64 = 900_000;
const KEEP_BYTES: u64 = 1024 * 1024;

/// Ledger of the link with the present cost and time.
#[derive(Debug, Default)]
pub(super) struct LinkLedger {
    ledger: Ledger,
    /// Last plausible time, in seconds since 1970.
    now: u64,
    /// Cost of a byte on the present interface, in percent; 0: it is not metered.
    cost: u32,
    /// Classes that have used up their share.
    held: Vec<TrafficClass>,
    /// Ends of their waits, for reports.
    waits: Waits,
    /// Bytes of the last hour.
    recent: Recent,
    asked: bool,
    /// True once the ledger stored before the agent started was added.
    restored: bool,
    kept_at: u64,
    kept: u64,
}

impl LinkLedger {
    /// Moves the ledger to the present period. `now` is None if the clock is not plausible; the
    /// period then goes on.
    fn turn(&mut self, policies: &DataPolicies, now: Option<u64>) {
        if let Some(now) = now {
            self.now = now;
            self.ledger.turn(policies.link.as_ref(), now);
        }
    }

    /// Bytes that a class may still use. None: no bound.
    pub(super) fn allowed(&self, class: TrafficClass, policies: &DataPolicies) -> Option<u64> {
        let budget = policies.link.as_ref().filter(|_| self.cost > 0);
        let bytes = self.ledger.allowed(class, budget, self.now)?;
        // On an interface that costs 200 percent, half as many bytes use up the share.
        Some(bytes.saturating_mul(100) / u64::from(self.cost.max(1)))
    }

    /// Report of the link's use.
    pub(super) fn report(&self, policies: &DataPolicies) -> LinkUse {
        let mut link = self.ledger.report(policies.link.as_ref());
        link.at = self.now;
        link.watched = self.recent.watched(uptime_ms());
        for (class, it) in &mut link.classes {
            it.recent = self.recent.of(*class);
            it.waits = self.waits.until(*class);
        }
        link
    }

    /// Adds the ledger that was stored before a restart. None: it could not be read, and is asked
    /// for again.
    pub(super) fn restore(&mut self, kept: Option<&[u8]>) {
        let Some(kept) = kept else {
            self.asked = false;
            return;
        };
        if let Ok(kept) = codec::from_slice(kept) {
            self.ledger.restore(&kept);
        }
        self.restored = true;
    }

    /// Reason for which no transfer of this class may begin. None: it may.
    pub(super) fn held(&self, class: TrafficClass, policies: &DataPolicies) -> Option<String> {
        is_used_up(class, self.allowed(class, policies)).then(|| {
            let said = self.waits.of(class, policies.link.as_ref(), policies.link_name.as_ref());
            said.unwrap_or_else(|| format!("the link budget for {} is used up", class.as_str()))
        })
    }

    /// Problem text about all classes that wait.
    pub(super) fn problem(&self, policies: &DataPolicies) -> Option<String> {
        self.waits.problem(policies.link.as_ref(), policies.link_name.as_ref(), &self.ledger)
    }

    /// True if the ledger that was stored before the agent started is to be asked for now: once the
    /// buffer has a file, it may hold one. `has_budget`: a ledger is kept even without a file.
    pub(super) fn is_asked_for(&mut self, has_file: bool, has_budget: bool) -> bool {
        if !self.asked && has_file {
            self.asked = true;
            return true;
        }
        if has_budget {
            // There is no file, so nothing was stored.
            self.restored |= !self.asked;
            self.asked = true;
        }
        false
    }

    /// Ledger to store, encoded, if that is due, or always with `now`. Nothing is stored before the
    /// former one was added.
    pub(super) fn take_if_due(&mut self, now: bool, uptime: u64) -> Option<Vec<u8>> {
        let total = self.ledger.total();
        let due = uptime >= self.kept_at.saturating_add(KEEP)
            || total.saturating_sub(self.kept) >= KEEP_BYTES;
        if !(due || now) || !self.restored {
            return None;
        }
        let bytes = serde_cbor::to_vec(&self.ledger).ok()?;
        (self.kept_at, self.kept) = (uptime, total);
        Some(bytes)
    }

    /// Adds the meter's counts since the last call, and decides which classes have to wait. `now`
    /// is None if the clock is not plausible.
    pub(super) fn take(&mut self, meter: &Meter, policies: &DataPolicies, now: Option<u64>) {
        self.turn(policies, now);
        self.recent.note(uptime_ms());
        let budget = policies.link.as_ref();
        for (class, sent, received) in meter.take() {
            self.ledger.add(class, sent, received, self.cost);
            // Without a budget nothing is charged, and the recent figures are unweighted.
            let cost = if budget.is_some() { self.cost } else { 100 };
            let bytes = sent.saturating_add(received).saturating_mul(cost.into()) / 100;
            self.recent.add(class, bytes);
        }
        let differ = budget.is_some_and(|budget| !budget.interfaces.is_empty());
        let routes = differ.then(|| std::fs::read_to_string("/proc/net/route").ok()).flatten();
        self.cost = cost(budget, routes.as_deref().and_then(default_interface));
        let used_up = |class: &TrafficClass| is_used_up(*class, self.allowed(*class, policies));
        self.held = TrafficClass::ALL.into_iter().filter(used_up).collect();
        for class in TrafficClass::ALL {
            let left = self.allowed(class, policies);
            self.waits.note(class, budget, (left, &self.ledger), self.now);
        }
        meter.hold(&self.held);
    }
}

#[cfg(test)]
mod tests {
    use holdfast_records::{LinkBudget, Period};

    use super::*;

    #[test]
    fn a_clock_that_cannot_be_right_begins_no_period_and_fills_no_share() {
        let budget = LinkBudget {
            period: Period::Day,
            bytes: 1_000_000,
            shares: std::collections::BTreeMap::new(),
            interfaces: Vec::new(),
            neighbours: false,
        };
        let policies = DataPolicies { link: Some(budget), ..DataPolicies::default() };
        let mut link = LinkLedger { cost: 100, ..LinkLedger::default() };
        let noon = 20_000 * 86_400 + 43_200;
        link.turn(&policies, Some(noon));
        let before = link.allowed(TrafficClass::Data, &policies).unwrap();
        link.ledger.add(TrafficClass::Data, before, 0, 100);
        link.turn(&policies, None);
        assert_eq!(link.allowed(TrafficClass::Data, &policies), Some(0));
        assert_eq!(link.report(&policies).since, noon - 43_200);
        link.turn(&policies, Some(noon + 21_600));
        assert!(link.allowed(TrafficClass::Data, &policies) > Some(0), "and it goes on");
    }

    #[test]
    fn what_was_kept_is_not_overwritten_before_it_is_known() {
        let mut link = LinkLedger { asked: true, ..LinkLedger::default() };
        link.restore(None);
        assert!(!link.restored && !link.asked, "it is asked for again, and nothing is kept before");
        let mut former = Ledger::default();
        former.add(TrafficClass::Data, 10, 20, 100);
        link.ledger.add(TrafficClass::Data, 1, 2, 100);
        link.restore(Some(&serde_cbor::to_vec(&former).unwrap()));
        assert!(link.restored);
        assert_eq!(link.ledger.total(), 33);
        let mut first = LinkLedger::default();
        first.restore(Some(&[]));
        assert!(first.restored, "none was kept");
    }
}
