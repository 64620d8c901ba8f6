//! Verification of a tenant's audit log: the chain as it is on disk, the signed checkpoints, and
//! what the devices have seen of it.
//!
//! See decision 0170.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::{StreamExt as _, stream};
use holdfast_base::codec;
use holdfast_base::ids::{DeviceId, Name};
use holdfast_protocol::checkpoint::{Checkpoint, MAX_WITNESSED, Testimony, Witnessed};
use holdfast_protocol::message::Method;
use holdfast_protocol::signing::open_checkpoint;

use super::{Audit, Seen};
use crate::api::audit::Standing as Word;
use crate::api::chain::{Checker, Judged};
use crate::api::count::{count, either};
use crate::api::time::rfc3339;
use crate::api::{AuditCheckpoint, AuditFault, AuditHead, Verification, Witness, WitnessCounts};
use crate::core::model::Device;
use crate::core::records::Standing;
use crate::core::rights::{Action, Actor};
use crate::service::documents::PART;
use crate::service::rights::{may, may_whole};
use crate::service::{Failure, origin};

/// Maximum number of devices that are asked at the same time.
const AT_ONCE: usize = 64;

/// Maximum number of connected devices that are asked. More witnesses than these add little, and
/// each takes some hundred bytes of its link.
const MOST_ASKED: usize = 1_000;

/// Maximum size of a device's answer, in bytes.
const MOST: usize = 4_096;

/// Maximum number of devices that a verification names beside those that disagree.
const NAMED: usize = 100;

/// Reason why a device says nothing.
#[derive(Debug, Clone, thiserror::Error)]
enum Silent {
    #[error("not connected")]
    NotConnected,
    #[error("its agent is of a version that keeps no checkpoints")]
    KeepsNone,
    #[error("not asked: enough others were")]
    NotAsked,
    #[error("it did not answer: {0}")]
    NotAnswered(String),
    #[error("its answer cannot be read: {0}")]
    Unreadable(String),
}

/// What a device answered: its checkpoints, or why there are none.
type Answer = (Name, Result<Vec<Witnessed>, Silent>);

impl Audit {
    /// Verifies the tenant's audit log, with the word of its reachable devices if `witness`.
    ///
    /// # Errors
    /// Returns [`Failure::Unavailable`] while another one reads the log, or a [`Failure`] when the
    /// store cannot be read.
    pub async fn verify(
        self: &Arc<Self>,
        actor: &Actor,
        witness: bool,
    ) -> Result<Verification, Failure> {
        let permit = may(actor, Action::VerifyAudit, "")?;
        let sees_all = may_whole(actor, Action::VerifyAudit, self.documents.first_tenant()).is_ok();
        let turn = self.turn()?;
        let tenant = actor.tenant.clone();
        let answers = if witness { self.ask_all(&tenant).await } else { Vec::new() };
        let (audit, of) = (Arc::clone(self), tenant.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut found = audit.check(&of, witness.then_some(answers))?;
            if sees_all {
                let (counts, fault) = audit.check_whole()?;
                found.whole = Some(counts);
                found.faults.extend(fault);
                found.intact = found.faults.is_empty();
            }
            Ok::<_, Failure>(found)
        });
        let verification = checked.await.map_err(Failure::internal)??;
        let message = match verification.faults.first() {
            None => format!("intact: {}", either(verification.entries, "entry", "entries")),
            Some(fault) => format!("not intact: {}", fault.message),
        };
        if let Some(fault) = verification.faults.first() {
            tracing::error!(%tenant, number = fault.number, "the audit log is not intact: {}", fault.message);
        }
        let seen = Seen {
            tenant: Some(&tenant),
            by: permit.by(),
            action: Action::VerifyAudit.word(),
            subject: "audit log",
            refused: false,
            message: &message,
        };
        self.saw(&seen, &origin::present());
        Ok(verification)
    }

    /// Asks every connected device for what it keeps.
    async fn ask_all(self: &Arc<Self>, tenant: &Name) -> Vec<Answer> {
        let devices: Vec<(Name, bool, bool)> = {
            let model = self.documents.model(tenant);
            let approved =
                model.devices.values().filter(|it| it.record.standing == Standing::Approved);
            let knows = |it: &Device| it.report.agent.as_ref().is_some_and(|agent| agent.witness);
            let all =
                approved.map(|it| (it.record.name.clone(), it.live.connection != 0, knows(it)));
            all.collect()
        };
        let mut asked = 0;
        let wanted = devices.into_iter().map(|(name, here, knows)| {
            asked += usize::from(here && knows);
            let why = match (here, knows) {
                (false, _) => Some(Silent::NotConnected),
                (true, false) => Some(Silent::KeepsNone),
                (true, true) if asked > MOST_ASKED => Some(Silent::NotAsked),
                (true, true) => None,
            };
            self.ask_one(tenant, name, why)
        });
        stream::iter(wanted.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await
    }

    async fn ask_one(&self, tenant: &Name, name: Name, not: Option<Silent>) -> Answer {
        if let Some(why) = not {
            return (name, Err(why));
        }
        let device = DeviceId { tenant: tenant.clone(), device: name.clone() };
        let asked = self.calls.ask(&device, Method::AuditCheckpoint, MOST, &Arc::default()).await;
        let kept = match asked {
            Ok((_, body)) => codec::from_slice::<Testimony>(&body)
                .map(|Testimony(kept)| kept.into_iter().take(MAX_WITNESSED).collect())
                .map_err(|error| Silent::Unreadable(error.to_string())),
            Err(why) => Err(Silent::NotAnswered(why.to_string())),
        };
        (name, kept)
    }

    /// Checks the log on disk. Blocks.
    fn check(&self, tenant: &Name, answers: Option<Vec<Answer>>) -> Result<Verification, Failure> {
        let head = self.head(tenant)?;
        let key = self.signing_key();
        let mut found = Verification { at: rfc3339(head.at), ..Verification::default() };
        let (base, points) = match signed(&head, &key) {
            Ok(read) => read,
            Err(fault) => {
                found.faults.push(fault);
                (head.base.as_ref().and_then(unsigned), Vec::new())
            }
        };
        let kept = answers.iter().flatten().filter_map(|(_, kept)| kept.as_ref().ok()).flatten();
        let wanted =
            kept.map(|kept| kept.checkpoint.number).chain(points.iter().map(|it| it.number));
        let mut checker = Checker::new(tenant.as_str(), base.as_ref(), wanted);
        if let Err(fault) = self.walk(tenant, &head, &mut checker)? {
            found.faults.push(fault);
        } else if let Err(fault) = checker.agree(&points, "a signed checkpoint") {
            found.faults.push(fault);
        }
        found.checkpoints = points.len() as u64;
        (found.entries, found.former) = (checker.entries, checker.former);
        (found.first, found.last) = (checker.first, checker.last());
        if let Some(answers) = answers {
            hear(&checker, answers, &mut found);
        }
        found.intact = found.faults.is_empty();
        Ok(found)
    }

    /// Gives every entry on disk to the checker.
    fn walk(
        &self,
        tenant: &Name,
        head: &AuditHead,
        checker: &mut Checker,
    ) -> Result<Result<(), AuditFault>, Failure> {
        let mut at = self.documents.audit_span(tenant).start;
        while at < head.next {
            let end = at.saturating_add(PART).min(head.next);
            for entry in self.documents.stored_audit(tenant, at..end)? {
                if let Err(fault) = checker.take(&entry) {
                    return Ok(Err(fault));
                }
            }
            at = end;
        }
        Ok(checker.end(Some(head.next)))
    }
}

/// Reads a checkpoint without its signature.
fn unsigned(said: &AuditCheckpoint) -> Option<Checkpoint> {
    let hash = holdfast_base::ids::unhex(&said.hash)?;
    Some(Checkpoint { number: said.number, hash, at: said.at })
}

/// Checks the signatures of the checkpoints. Returns the one that the log begins behind, and all.
fn signed(
    head: &AuditHead,
    key: &[u8],
) -> Result<(Option<Checkpoint>, Vec<Checkpoint>), AuditFault> {
    let open = |said: &AuditCheckpoint| {
        let bytes = BASE64_STANDARD.decode(&said.signed).unwrap_or_default();
        crate::api::chain::opened(said, open_checkpoint(&bytes, key, Some(&head.tenant)).ok())
    };
    let base = head.base.as_ref().map(open).transpose()?;
    let all = head.checkpoints.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    Ok((base, all))
}

/// Adds what the devices say to a verification.
fn hear(checker: &Checker, answers: Vec<Answer>, found: &mut Verification) {
    let mut counts = WitnessCounts { of: answers.len() as u64, ..WitnessCounts::default() };
    let judged: Vec<(Name, Result<Judged, Silent>)> = answers
        .into_iter()
        .map(|(name, kept)| (name, kept.map(|kept| checker.judge(&kept))))
        .collect();
    let agreed: Vec<u64> = judged
        .iter()
        .filter_map(|(_, judged)| judged.as_ref().ok())
        .flat_map(|judged| judged.agreed.iter().copied())
        .collect();
    let mut first: Option<AuditFault> = None;
    let mut excused = 0;
    let mut named = Vec::new();
    for (name, judged) in judged {
        let device = name.to_string();
        let (standing, number, message) = match judged {
            Err(why) => (Word::Away, None, why.to_string()),
            Ok(judged) => {
                excused += u64::from(judged.excused > 0);
                let word = judged.standing();
                let fault = judged.wrong.first().map(|seen| {
                    let below = agreed.iter().filter(|number| **number < seen.checkpoint.number);
                    let from = below.max().map_or(checker.first.unwrap_or(0), |number| number + 1);
                    checker.rewritten(from, &seen.checkpoint, &format!("device {device}"))
                });
                let message = fault.as_ref().map(|it| it.message.clone()).unwrap_or_default();
                let place = |fault: &AuditFault| (fault.to.unwrap_or(fault.number), fault.number);
                first = first.into_iter().chain(fault).min_by_key(place);
                (word, judged.agreed.iter().copied().max(), message)
            }
        };
        match standing {
            Word::Agrees => counts.agree += 1,
            Word::Disagrees => counts.disagree += 1,
            Word::HasNone => counts.none += 1,
            Word::Away => counts.away += 1,
        }
        named.push(Witness { device, standing, number, message });
    }
    named.sort_by(|one, other| {
        let last = |it: &Witness| it.standing != Word::Disagrees;
        (last(one), &one.device).cmp(&(last(other), &other.device))
    });
    let disagree = usize::try_from(counts.disagree).unwrap_or(usize::MAX);
    named.truncate(disagree.saturating_add(NAMED));
    if excused > 0 {
        for restore in &checker.restores {
            found.notes.push(format!(
                "entry {} announces a restore from a backup (epoch {}): {} saw entries of the history that it replaced",
                restore.number,
                restore.epoch,
                count(excused, "device")
            ));
        }
    }
    found.faults.extend(first);
    (found.witnesses, found.devices) = (Some(counts), named);
}
