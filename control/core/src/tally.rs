//! Counting of what would flood the audit log: refusals, and readings that repeat. The first of a
//! kind gets an entry at once; equal ones after it become one entry with their number when the
//! window ends. What is open is bounded, and so is the number of entries in a window.
//!
//! See decision 0169.

use std::collections::BTreeMap;

use holdfast_api::{AuditRecord, AuditResult};
use holdfast_base::ids::Name;

use super::audit::Origin;

/// Length of a window, in seconds. A crash loses the counts of the last one.
pub const WINDOW: u64 = 300;

/// Most kinds of a tenant that are counted apart within a window; all others are counted together
/// by their actions. With an entry at the beginning and one at the end of each, a flood from ever
/// other addresses makes at most some 30,000 entries a day.
pub const MAX_OPEN: usize = 50;

/// What makes two events equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Tenant whose audit log it goes to.
    pub tenant: Name,
    /// Caller, as the audit log has it.
    pub by: Box<str>,
    /// Address of the caller. None: not known, or several.
    pub from: Option<Box<str>>,
    /// Action as a word.
    pub action: Box<str>,
    /// Object of a reading; of a refusal it does not count, since the caller chooses it.
    pub subject: Box<str>,
    /// True for a refusal.
    pub refused: bool,
}

/// Equal events of a window after the first.
#[derive(Debug, Clone)]
struct Counted {
    began: u64,
    first: u64,
    last: u64,
    count: u64,
}

/// Events of the present windows, by their kinds.
#[derive(Debug, Default)]
pub struct Tally {
    open: BTreeMap<Kind, Counted>,
}

/// Caller of the entry about all that is not counted apart.
const SEVERAL: &str = "several";

impl Tally {
    /// Counts an event at the time `now`, in seconds since 1970. Returns the entry to write for it
    /// now, if it is the first of its kind.
    pub fn note(
        &mut self,
        kind: Kind,
        now: u64,
        subject: &str,
        (origin, message): (&Origin, &str),
    ) -> Option<AuditRecord> {
        if let Some(known) = self.open.get_mut(&kind) {
            known.add(now);
            return None;
        }
        let full = self.open.keys().filter(|open| open.tenant == kind.tenant).count() >= MAX_OPEN;
        if full {
            let together = Kind { by: SEVERAL.into(), from: None, subject: "".into(), ..kind };
            self.open.entry(together).or_insert_with(|| Counted::new(now)).add(now);
            return None;
        }
        let mut entry = kind.entry();
        (entry.at, entry.subject, entry.message) = (now, subject.into(), message.into());
        entry.request = Some(origin.request.clone()).filter(|id| !id.is_empty());
        self.open.insert(kind, Counted::new(now));
        Some(entry)
    }

    /// Ends the windows that are over, and returns their entries with the tenants that they are of.
    pub fn due(&mut self, now: u64) -> Vec<(Name, AuditRecord)> {
        let is_over = |counted: &Counted| now.abs_diff(counted.began) >= WINDOW;
        let over: Vec<Kind> = self
            .open
            .iter()
            .filter(|(_, counted)| is_over(counted))
            .map(|(kind, _)| kind.clone())
            .collect();
        self.end(over)
    }

    /// Ends all windows, because the control plane stops.
    pub fn all(&mut self) -> Vec<(Name, AuditRecord)> {
        let all = self.open.keys().cloned().collect();
        self.end(all)
    }

    fn end(&mut self, over: Vec<Kind>) -> Vec<(Name, AuditRecord)> {
        let mut entries = Vec::new();
        for kind in over {
            let Some(counted) = self.open.remove(&kind).filter(|it| it.count > 0) else { continue };
            let mut entry = kind.entry();
            (entry.at, entry.count) = (counted.first, counted.count);
            entry.until = (counted.count > 1).then_some(counted.last);
            entry.message = match &*kind.by {
                SEVERAL => "from several callers or addresses: too many to be told apart".into(),
                _ => "more of the same".into(),
            };
            entries.push((kind.tenant, entry));
        }
        entries
    }
}

impl Counted {
    fn new(now: u64) -> Self {
        Self { began: now, first: 0, last: 0, count: 0 }
    }

    fn add(&mut self, now: u64) {
        if self.count == 0 {
            self.first = now;
        }
        self.last = now;
        self.count = self.count.saturating_add(1);
    }
}

impl Kind {
    fn entry(&self) -> AuditRecord {
        AuditRecord {
            count: 1,
            by: self.by.to_string(),
            from: self.from.clone(),
            action: self.action.to_string(),
            subject: self.subject.to_string(),
            result: if self.refused { AuditResult::Refused } else { AuditResult::Done },
            ..AuditRecord::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(from: &str, action: &str) -> Kind {
        Kind {
            tenant: "acme".parse().unwrap(),
            by: "unknown".into(),
            from: Some(from.into()),
            action: action.into(),
            subject: "".into(),
            refused: true,
        }
    }

    fn note(tally: &mut Tally, from: &str, now: u64) -> Option<AuditRecord> {
        tally.note(kind(from, "device.list"), now, "", (&Origin::default(), "no token"))
    }

    #[test]
    fn ten_thousand_refusals_are_two_entries() {
        let mut tally = Tally::default();
        let first = note(&mut tally, "192.0.2.1", 1_000).unwrap();
        assert_eq!((first.at, first.count, first.result), (1_000, 1, AuditResult::Refused));
        for number in 1..10_000 {
            assert_eq!(note(&mut tally, "192.0.2.1", 1_000 + number / 100), None);
        }
        assert!(tally.due(1_299).is_empty());
        let due = tally.due(1_300);
        let [(tenant, entry)] = &*due else { panic!("{due:?}") };
        assert_eq!((tenant.as_str(), entry.count), ("acme", 9_999));
        assert_eq!((entry.at, entry.until), (1_000, Some(1_099)));
        assert!(note(&mut tally, "192.0.2.1", 1_301).is_some(), "a new window");
    }

    #[test]
    fn ever_other_addresses_are_counted_together() {
        let mut tally = Tally::default();
        let mut written = 0;
        for number in 0..100_000 {
            written += usize::from(note(&mut tally, &format!("a{number}"), 1_000).is_some());
        }
        assert_eq!(written, MAX_OPEN);
        let due = tally.due(1_300);
        let [(_, entry)] = &*due else { panic!("{} entries", due.len()) };
        assert_eq!((entry.by.as_str(), entry.count), (SEVERAL, 100_000 - MAX_OPEN as u64));
        assert!(tally.open.is_empty());
    }

    #[test]
    fn one_tenant_takes_no_room_of_anothers() {
        let mut tally = Tally::default();
        for number in 0..1_000 {
            note(&mut tally, &format!("a{number}"), 1_000);
        }
        let other = Kind { tenant: "zeta".parse().unwrap(), ..kind("b", "device.list") };
        assert!(tally.note(other, 1_000, "", (&Origin::default(), "")).is_some());
    }
}
