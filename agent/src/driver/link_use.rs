//! Use of the link: the meter counts bytes, the core keeps the ledger, and the buffer's file stores
//! it over restarts.
//!
//! See decision 0050.

use holdfast_base::codec;
use holdfast_records::{DataPolicies, LinkUse, TrafficClass};

use super::data::{BufferResult, Shipping};
use crate::adapters::clock::uptime_ms;
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
}

impl Shipping {
    /// Reason for which no transfer of this class may begin. None: it may.
    pub(super) fn held(&self, class: TrafficClass) -> Option<String> {
        let (link, policies) = (&self.link, &self.policies);
        is_used_up(class, link.allowed(class, policies)).then(|| {
            let said = link.waits.of(class, policies.link.as_ref(), policies.link_name.as_ref());
            said.unwrap_or_else(|| format!("the link budget for {} is used up", class.as_str()))
        })
    }

    /// Problem text about all classes that wait.
    pub(super) fn link_problem(&self) -> Option<String> {
        let (link, policies) = (&self.link, &self.policies);
        link.waits.problem(policies.link.as_ref(), policies.link_name.as_ref(), &link.ledger)
    }

    /// Stores the ledger in the buffer's file if it is due, or always with `now`.
    pub(super) fn keep_ledger(&mut self, now: bool) {
        if !self.buffer.is_in_use() && self.policies.link.is_none() {
            return;
        }
        let (link, uptime) = (&mut self.link, uptime_ms());
        let total = link.ledger.total();
        let due = uptime >= link.kept_at.saturating_add(KEEP)
            || total.saturating_sub(link.kept) >= KEEP_BYTES;
        if !(due || now) || !link.restored {
            return;
        }
        if let Ok(bytes) = serde_cbor::to_vec(&link.ledger) {
            self.buffer.keep_ledger(bytes);
            (link.kept_at, link.kept) = (uptime, total);
        }
    }

    /// Adds the meter's counts, and stores the ledger if it is due.
    pub(super) fn count_link(&mut self) {
        self.take_counts();
        if !self.link.asked && self.buffer.is_in_use() {
            self.link.asked = true;
            let buffer = self.buffer.clone();
            self.spawn(async move { Some(BufferResult::Ledger(buffer.kept_ledger().await)) });
        } else if self.policies.link.is_some() {
            // There is no file, so nothing was stored.
            self.link.restored |= !self.link.asked;
            self.link.asked = true;
        }
        self.keep_ledger(false);
    }

    /// Adds the counts since the last call, and decides which classes have to wait. Called before
    /// each batch too, because the budget or the interface may have changed.
    pub(super) fn take_counts(&mut self) {
        let now = self.time.is_plausible().then(|| self.time.now());
        let policies = &self.policies;
        let link = &mut self.link;
        link.turn(policies, now);
        link.recent.note(uptime_ms());
        let budget = policies.link.as_ref();
        for (class, sent, received) in self.meter.take() {
            link.ledger.add(class, sent, received, link.cost);
            // Without a budget nothing is charged, and the recent figures are unweighted.
            let cost = if budget.is_some() { link.cost } else { 100 };
            let bytes = sent.saturating_add(received).saturating_mul(cost.into()) / 100;
            link.recent.add(class, bytes);
        }
        let differ = budget.is_some_and(|budget| !budget.interfaces.is_empty());
        let routes = differ.then(|| std::fs::read_to_string("/proc/net/route").ok()).flatten();
        link.cost = cost(budget, routes.as_deref().and_then(default_interface));
        let used_up = |class: &TrafficClass| is_used_up(*class, link.allowed(*class, policies));
        link.held = TrafficClass::ALL.into_iter().filter(used_up).collect();
        for class in TrafficClass::ALL {
            let left = link.allowed(class, policies);
            link.waits.note(class, budget, (left, &link.ledger), link.now);
        }
        self.meter.hold(&link.held);
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
