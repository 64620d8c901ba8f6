//! Artifacts of each tenant. Bytes are stored once by their digest; who may fetch them or name them
//! in documents is the tenant that has pushed them itself.
//!
//! See decision 0168.

use holdfast_base::ids::{Digest, Name};

use super::Workloads;
use crate::api::time::rfc3339;
use crate::api::{ArtifactOfTenant, List};
use crate::core::model::{Model, key};
use crate::core::quota::{Over, Quota};
use crate::core::records::ArtifactRecord;
use crate::core::rights::{Action, Actor, Who};
use crate::service::listing::page;
use crate::service::rights::may;
use crate::service::{Failure, Listed, Query};

/// Maximum number of artifacts of one tenant.
const MOST: usize = 100_000;

/// Number of workloads that a refusal names.
const NAMED: usize = 5;

/// Bytes of all artifacts of a tenant.
pub(in crate::service) fn used(model: &Model) -> u64 {
    model.artifacts.values().fold(0, |sum, artifact| sum.saturating_add(artifact.size))
}

impl Workloads {
    /// Returns the size of an artifact in bytes. `None`: the tenant has not pushed it, or it is not
    /// stored.
    pub(super) fn artifact_size(&self, tenant: &Name, digest: &Digest) -> Option<u64> {
        if !self.documents.model(tenant).artifacts.contains_key(digest) {
            return None;
        }
        self.artifacts.size(digest)
    }

    /// Decides whether the actor may fetch an artifact: an operator one that its tenant has pushed, a
    /// device one of its own workloads.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for one that the tenant has not pushed, and [`Failure::Refused`]
    /// for a device that should not run it.
    pub fn may_fetch(&self, actor: &Actor, digest: &Digest) -> Result<(), Failure> {
        may(actor, Action::GetArtifact, &digest.to_string())?;
        let model = self.documents.model(&actor.tenant);
        if let Who::Device(name) = &actor.who
            && !model.names_artifact(name, digest)
        {
            return Err(Failure::Refused(format!(
                "{digest} belongs to no workload that device {}.{name} should run",
                actor.tenant
            )));
        }
        let own = model.artifacts.contains_key(digest);
        own.then_some(()).ok_or_else(|| Failure::no("artifact", &digest.to_string()))
    }

    /// True when the actor's tenant has pushed an artifact.
    pub fn has_artifact(&self, actor: &Actor, digest: &Digest) -> bool {
        self.documents.model(&actor.tenant).artifacts.contains_key(digest)
    }

    /// Returns the largest artifact that the actor's tenant may still push, in bytes, with the refusal
    /// of a larger one. `None`: it has no quota. `announced` is the size of the one that it begins to
    /// push, if that is known.
    ///
    /// # Errors
    /// Returns [`Failure::Quota`] when the announced one does not fit, or when nothing fits.
    pub fn artifact_room(
        &self,
        actor: &Actor,
        announced: Option<u64>,
    ) -> Result<Option<(u64, Over)>, Failure> {
        may(actor, Action::PutArtifact, "")?;
        let model = self.documents.model(&actor.tenant);
        let Some(limit) = model.quotas.artifacts else { return Ok(None) };
        let used = used(&model);
        // An artifact that the tenant has already counts once, and may be pushed again: only its
        // digest, which comes last, tells. So the room is at least its largest artifact.
        let largest = model.artifacts.values().map(|known| known.size).max().unwrap_or(0);
        let left = limit.saturating_sub(used).max(largest);
        let more = announced.unwrap_or(1);
        let over = Over { quota: Quota::Artifacts, used, more: more.max(left + 1), limit };
        if more > left {
            return Err(Over { more, ..over }.into());
        }
        Ok(Some((left, over)))
    }

    /// Notes that the actor's tenant has pushed an artifact of this digest, whose bytes are at hand.
    ///
    /// # Errors
    /// Returns [`Failure::Quota`] when it does not fit into the tenant's quota, and a [`Failure`] when
    /// the change cannot be stored.
    pub async fn own_artifact(
        &self,
        actor: &Actor,
        digest: Digest,
        size: u64,
    ) -> Result<(), Failure> {
        may(actor, Action::PutArtifact, "")?;
        self.documents
            .change(&actor.tenant, |change| {
                if change.model.artifacts.contains_key(&digest) {
                    return Ok(());
                }
                if change.model.artifacts.len() >= MOST {
                    return Err(Failure::Conflict(format!(
                        "there are {MOST} artifacts: delete some that no workload needs"
                    )));
                }
                change.model.quotas.check(Quota::Artifacts, used(change.model), size)?;
                let record = ArtifactRecord { size, created_at: change.now };
                change.put(key::artifact(&digest), &record);
                change.model.artifacts.insert(digest, record);
                Ok(())
            })
            .await
    }

    /// Lists the artifacts that the actor's tenant has pushed, in the order of their digests.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query.
    pub fn artifacts(&self, actor: &Actor, query: &Query) -> Listed<ArtifactOfTenant> {
        may(actor, Action::ListArtifacts, "")?;
        let limit = query.limit()?;
        let after = query.after.as_deref().unwrap_or_default();
        let model = self.documents.model(&actor.tenant);
        let all = model.artifacts.iter().map(|(digest, known)| (digest.to_string(), known));
        let items = all.filter(|(digest, _)| digest.as_str() > after).take(limit + 1);
        let shown = |(digest, known): (String, &ArtifactRecord)| {
            let created_at = rfc3339(known.created_at);
            let item = ArtifactOfTenant { digest: digest.clone(), size: known.size, created_at };
            (digest, item)
        };
        let list: List<ArtifactOfTenant> =
            page(items.map(shown).collect(), limit, model.meta.version);
        Ok(list)
    }

    /// Deletes an artifact of the actor's tenant. Its bytes go when no other tenant has pushed them,
    /// which nobody can tell from the answer.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an artifact that the tenant has not pushed, and
    /// [`Failure::Conflict`] for one that a workload names.
    pub async fn delete_artifact(&self, actor: &Actor, digest: &Digest) -> Result<(), Failure> {
        let text = digest.to_string();
        let permit = may(actor, Action::DeleteArtifact, &text)?;
        let by = permit.by();
        self.documents
            .change(&actor.tenant, |change| {
                if !change.model.artifacts.contains_key(digest) {
                    return Err(Failure::no("artifact", &text));
                }
                let naming = change.model.workloads_with(digest);
                if !naming.is_empty() {
                    let names: Vec<&str> =
                        naming.iter().take(NAMED).map(|name| name.as_str()).collect();
                    return Err(Failure::Conflict(format!(
                        "artifact {text} belongs to revisions of {} ({}): delete those first",
                        crate::api::count::count(naming.len() as u64, "workload"),
                        names.join(", ")
                    )));
                }
                change.model.artifacts.remove(digest);
                change.delete(key::artifact(digest));
                change.audit(by, "artifact.delete", &text, String::new());
                Ok(())
            })
            .await?;
        self.drop_unowned(&[*digest]);
        Ok(())
    }

    /// Removes the bytes of artifacts that no tenant has.
    pub(in crate::service) fn drop_unowned(&self, digests: &[Digest]) {
        for digest in digests {
            let unowned =
                || !self.documents.tables().all().any(|it| it.artifacts.contains_key(digest));
            self.artifacts.remove(digest, &unowned);
        }
    }

    /// Gives the artifacts of a store from before artifacts belonged to tenants to the first tenant,
    /// once.
    ///
    /// # Errors
    /// Returns a [`Failure`] when the change cannot be stored.
    pub async fn adopt_artifacts(&self) -> Result<(), Failure> {
        let first = self.documents.first_tenant();
        if self.documents.model(first).meta.artifacts_owned {
            return Ok(());
        }
        let stored = self.artifacts.all();
        self.documents
            .change(first, |change| {
                for (digest, size) in stored {
                    let record = ArtifactRecord { size, created_at: change.now };
                    if change.model.artifacts.contains_key(&digest) {
                        continue;
                    }
                    change.put(key::artifact(&digest), &record);
                    change.model.artifacts.insert(digest, record);
                }
                change.model.meta.artifacts_owned = true;
                change.live();
                Ok(())
            })
            .await
    }
}
