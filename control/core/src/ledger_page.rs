//! The page of a stream's ledger that the API answers with.

use std::collections::BTreeMap;

use holdfast_api::{DataMeta, Ledger, MissingRange};
use holdfast_records::GapReason;

use crate::ingest::Tally;
use crate::ledger::{Missing, is_by_policy};

/// Builds one page of a stream's ledger: counts of `tally`, and the missing ranges of this page.
pub fn ledger_page(tally: &Tally, missing: Vec<Missing>, next: Option<String>) -> Ledger {
    let words = |(reason, count): (&GapReason, &u64)| (reason.to_string(), *count);
    let unknown = Some(tally.unknown()).filter(|count| *count > 0);
    let (asked, lost): (Vec<_>, Vec<_>) = missing.into_iter().partition(|range| range.by_policy);
    let ranges = |ranges: Vec<Missing>| {
        let range = |range: Missing| MissingRange {
            from: range.from,
            to: range.to,
            reason: range.reason.into(),
            since: None,
            until: None,
        };
        ranges.into_iter().map(range).collect()
    };
    let (asked_count, gaps): (BTreeMap<_, _>, BTreeMap<_, _>) =
        tally.gaps.iter().partition(|(reason, _)| is_by_policy(**reason));
    Ledger {
        received: tally.received,
        duplicates: tally.duplicates,
        late: tally.late,
        highest: tally.highest,
        missing_count: gaps
            .into_iter()
            .map(words)
            .chain(unknown.map(|count| ("unknown".into(), count)))
            .collect(),
        by_policy_count: asked_count.into_iter().map(words).collect(),
        summed_below: Some(tally.summed_below).filter(|below| *below > 0),
        summed: tally.summed.iter().map(words).collect(),
        records: tally.kept,
        bytes: tally.bytes,
        missing: ranges(lost),
        by_policy: ranges(asked),
        note: None,
        metadata: DataMeta { next, searched: None },
    }
}
