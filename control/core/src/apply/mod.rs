//! Plan of an apply: what a set of admitted documents changes, as a value. A dry run shows it, an
//! apply carries it out, and both say the same. Deletions are here too.
//!
//! See decisions 0034 and 0138.

pub(crate) mod impact;
mod planned;
mod policy;
mod reach;
pub(crate) mod references;
mod replaced;
mod workload;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use self::planned::{Next, PlannedWorkload};
use super::admission::Admitted;
use super::change::Change;
use super::desired::{self, Documents};
use super::granted;
use super::model::Model;
use super::placed;
use super::records::PolicyRecord;
use holdfast_api::Applied;
use holdfast_base::ids::Digest;
use holdfast_protocol::enrol::Fault;

pub(crate) use self::planned::Planned;
pub use self::planned::{Refusal, Stale};
pub use self::policy::delete as delete_policy;
pub(crate) use self::policy::plan as plan_policy;
pub use self::reach::{may_apply, may_change};
pub use self::workload::delete as delete_workload;
pub(crate) use self::workload::plan as plan_workload;

/// Outcome of applying documents, computed before anything is changed.
#[derive(Debug)]
pub struct Plan {
    /// Workloads that change, in the order of the documents.
    workloads: Vec<PlannedWorkload>,
    /// Policy documents that change, with the text for the audit log.
    policies: Vec<(PolicyRecord, String)>,
    /// New desired states of devices.
    desired: desired::Changed,
    /// Result for the person who applies.
    pub applied: Applied,
}

/// Computes what applying these documents at `now` (in seconds since 1970) changes.
///
/// # Errors
/// [`Refusal`]; then nothing may be applied.
pub fn plan(model: &Model, admitted: Vec<Admitted>, now: u64) -> Result<Plan, Refusal> {
    let (mut workloads, mut policies) = (Vec::new(), Vec::new());
    let (mut results, mut stale) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    let mut prefixes = BTreeMap::new();
    let several = admitted.len() > 1;
    for (index, document) in admitted.into_iter().enumerate() {
        let (expected, any) = (document.resource_version, document.what.kind());
        let kind = any.words().document;
        if !seen.insert((kind, document.name.clone())) {
            return Err(Refusal::Twice { kind, name: document.name });
        }
        let prefix = format!("documents[{index}] ({kind}/{}): ", document.name);
        let prefix = if several { prefix } else { String::new() };
        prefixes.insert((any, document.name.clone()), prefix);
        let present = any.rules().version(model, &document.name);
        let Planned { result, next } = any.rules().plan(model, document, now)?;
        match next {
            Some(Next::Workload(planned)) => workloads.push(*planned),
            Some(Next::Policy(record, message)) => policies.push((*record, message)),
            None => {}
        }
        stale.extend(Stale::check(expected, present, &result));
        results.push(result);
    }
    if !stale.is_empty() {
        return Err(Refusal::Stale(stale));
    }
    let administers = |record: &PolicyRecord| record.policy.kind().administers();
    if policies.iter().any(|(record, _)| administers(record))
        && granted::locks_out(model, policies.iter().map(|(record, _)| record), None)
    {
        return Err(Refusal::NoAdmin);
    }
    let mut documents = Documents::of(model);
    for planned in &workloads {
        documents = documents.with_workload(&planned.record);
    }
    for (record, _) in &policies {
        documents = documents.with_policy(record);
    }
    let faults = references::faults(&documents, &prefixes);
    if !faults.is_empty() {
        return Err(Refusal::References(faults));
    }
    let desired = desired::diff(&documents);
    let faults = desired::faults(&documents, &desired);
    if !faults.is_empty() {
        return Err(Refusal::TooLarge(faults));
    }
    let lacking = workloads.iter().flat_map(|one| placed::lacking(&model.quotas, &one.record));
    let lacking: Vec<Fault> = lacking.collect();
    if !lacking.is_empty() {
        return Err(Refusal::Uncounted(lacking));
    }
    placed::check_documents(&documents, &desired).map_err(Refusal::Quota)?;
    Ok(Plan { workloads, policies, desired, applied: Applied { results } })
}

impl Plan {
    /// True if a document changes that says whether devices may be away.
    pub fn changes_rules(&self) -> bool {
        self.policies.iter().any(|(record, _)| record.policy.kind().decides_absence())
    }

    /// Artifacts that workloads of the plan have in place of others: the old ones and the new ones.
    pub fn replaced(&self, model: &Model) -> Vec<(Digest, Digest)> {
        let former = |planned: &PlannedWorkload| {
            let known = model.workloads.get(&planned.record.name)?;
            Some(replaced::replaced(&known.record.spec.run, &planned.record.spec.run))
        };
        self.workloads.iter().filter_map(former).flatten().collect()
    }

    /// Carries the plan out, as the access token `by`. The model must be the one that the plan was
    /// made for. `former`: the document is that of this former revision.
    pub fn carry_out(self, change: &mut Change<'_>, by: &str, former: Option<u64>) -> Applied {
        for planned in self.workloads {
            workload::put(change, planned, by, former);
        }
        for (record, message) in self.policies {
            policy::put(change, record, by, message);
        }
        change.set_all_desired(self.desired);
        self.applied
    }
}
