//! Verification of the chain over all tenants, for whoever may see the control plane as a whole.
//!
//! See decision 0169.

use std::collections::{BTreeMap, VecDeque};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use holdfast_base::ids::Name;
use holdfast_protocol::checkpoint::Checkpoint;
use holdfast_protocol::signing::open_checkpoint;

use super::Audit;
use crate::api::chain::WholeChecker;
use crate::api::{AuditFault, AuditRecord, WholeCounts};
use crate::core::audit::CheckpointRecord;
use crate::service::Failure;

/// Number of entries of a tenant that are read at once: of all tenants some are in memory.
const PART: u64 = 100;

/// Entries of one tenant that were not checked yet.
struct Rest {
    tenant: Name,
    read: VecDeque<AuditRecord>,
    at: u64,
    end: u64,
}

impl Audit {
    /// Checks the chain over all tenants on disk. Blocks. The caller has the turn, so that nothing
    /// is cut meanwhile.
    pub(super) fn check_whole(&self) -> Result<(WholeCounts, Option<AuditFault>), Failure> {
        let tenants = self.documents.tenant_names();
        let (point, ends) = self.documents.stored_ends(&tenants)?;
        let mut counts = WholeCounts { tenants: tenants.len() as u64, entries: 0 };
        let signed = match point.map(|point| self.signed_whole(&point)).transpose() {
            Ok(signed) => signed,
            Err(fault) => return Ok((counts, Some(fault))),
        };
        let mut checker = WholeChecker::new(self.cut_of_all(&tenants), signed);
        let all = tenants.into_iter().zip(ends).map(|(tenant, end)| {
            let at = self.documents.audit_span(&tenant).start;
            Rest { tenant, read: VecDeque::new(), at, end }
        });
        let mut all: Vec<Rest> = all.collect();
        let mut heads: BTreeMap<(u64, usize), AuditRecord> = BTreeMap::new();
        for (index, rest) in all.iter_mut().enumerate() {
            self.advance(rest, index, &mut heads)?;
        }
        while let Some(((_, index), entry)) = heads.pop_first() {
            let Some(rest) = all.get_mut(index) else { continue };
            if let Err(fault) = checker.take(&entry, rest.tenant.as_str()) {
                counts.entries = checker.entries;
                return Ok((counts, Some(fault)));
            }
            self.advance(rest, index, &mut heads)?;
        }
        counts.entries = checker.entries;
        Ok((counts, checker.end().err()))
    }

    /// Puts the next entry of a tenant that has a hash among the heads. One without a place comes
    /// first, so that it is judged.
    fn advance(
        &self,
        rest: &mut Rest,
        index: usize,
        heads: &mut BTreeMap<(u64, usize), AuditRecord>,
    ) -> Result<(), Failure> {
        loop {
            if let Some(entry) = rest.read.pop_front() {
                if entry.hash.is_some() {
                    heads.insert((entry.whole_number.unwrap_or(0), index), entry);
                    return Ok(());
                }
                continue;
            }
            if rest.at >= rest.end {
                return Ok(());
            }
            let end = rest.at.saturating_add(PART).min(rest.end);
            rest.read = self.documents.stored_audit(&rest.tenant, rest.at..end)?.into();
            rest.at = end;
        }
    }

    /// Number of entries that retention cut at most, over all tenants, and the place before which
    /// they are.
    fn cut_of_all(&self, tenants: &[Name]) -> (u64, u64) {
        let (mut many, mut until) = (0_u64, 0);
        for tenant in tenants {
            let model = self.documents.model(tenant);
            let Some(base) = model.chain.base() else { continue };
            let place = base.whole_number.map_or(0, |place| place.saturating_add(1));
            many = many.saturating_add(base.number.saturating_add(1));
            until = until.max(place);
            // Entries that say how many went with a deleted tenant may be among those that are cut
            // here: before this place nothing tells how many may be missing.
            if tenant == self.documents.first_tenant() {
                many = many.saturating_add(place);
            }
        }
        (many, until)
    }

    /// Checks the signature of the checkpoint over all tenants.
    fn signed_whole(&self, point: &CheckpointRecord) -> Result<Checkpoint, AuditFault> {
        let bytes = BASE64_STANDARD.decode(&*point.signed).unwrap_or_default();
        let opened = open_checkpoint(&bytes, &self.signing_key(), None).ok();
        opened.filter(|opened| point.checkpoint() == Some(*opened)).ok_or_else(|| AuditFault {
            chain: "whole".into(),
            number: point.number,
            to: None,
            message: format!(
                "the checkpoint of place {} in the chain over all tenants is not signed by this control plane",
                point.number
            ),
        })
    }
}
