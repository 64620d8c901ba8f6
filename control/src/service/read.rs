//! Lists and single documents of the model, as people read them.

use std::ops::Bound;

use holdfast_base::ids::{Labels, Name, hex};

use super::{Failure, Service};
use crate::api::selector::Selector;
use crate::api::time::rfc3339;
use crate::api::{self, List, ListMeta};
use crate::core::kinds::{AnyKind, Looked, Page, Shown};
use crate::core::model::Workload;
use crate::core::records::RevisionRecord;
use crate::core::rights::{Action, Actor, Who};
use crate::core::{explain, revisions, view};

/// Number of items of a page when the request does not say.
const DEFAULT_LIMIT: usize = 500;

/// Maximum number of items of a page.
const MAX_LIMIT: usize = 5_000;

/// Page of a list, and a selector for its items.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Maximum number of items.
    pub limit: Option<usize>,
    /// Key of the item after which the page begins.
    pub after: Option<String>,
    /// Selector of the items' labels; empty for all items.
    pub selector: Selector,
}

/// Page of a list, or why there is none.
pub type Listed<T> = Result<List<T>, Failure>;

impl Query {
    pub(super) fn limit(&self) -> Result<usize, Failure> {
        match self.limit {
            None => Ok(DEFAULT_LIMIT),
            Some(limit @ 1..=MAX_LIMIT) => Ok(limit),
            Some(limit) => Err(Failure::invalid(format!("limit={limit}: from 1 to {MAX_LIMIT}"))),
        }
    }

    pub(super) fn chooses(&self, labels: &Labels) -> bool {
        self.selector.is_empty() || self.selector.matches(labels)
    }

    pub(super) fn after(&self) -> Result<Bound<Name>, Failure> {
        match &self.after {
            None => Ok(Bound::Unbounded),
            Some(after) => after
                .parse()
                .map(Bound::Excluded)
                .map_err(|_| Failure::invalid("continue: not a value that a page gave; leave it out to begin with the first page")),
        }
    }
}

/// Cuts a page to its limit. `items` must hold one item more than the limit when another page
/// follows.
pub(super) fn page<T>(mut items: Vec<(String, T)>, limit: usize, resource_version: u64) -> List<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(|(name, _)| name.clone()) } else { None };
    List {
        items: items.into_iter().map(|(_, item)| item).collect(),
        metadata: ListMeta { next, resource_version, total: None },
    }
}

impl Service {
    /// Returns one device.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown device.
    pub fn device(&self, actor: &Actor, name: &str) -> Result<api::Device, Failure> {
        self.may(actor, Action::GetDevice, name)?;
        let (model, now) = (self.model(&actor.tenant), self.now());
        model
            .devices
            .get(name)
            .map(|device| view::device(device, now))
            .ok_or_else(|| Failure::no("device", name))
    }

    /// Lists workloads in the order of their names.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query.
    pub fn workloads(&self, actor: &Actor, query: &Query) -> Listed<Shown> {
        self.may(actor, Action::ListWorkloads, "")?;
        query.limit()?;
        query.after()?;
        self.documents(actor, AnyKind::Workload, query)
    }

    /// Returns one workload.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown workload.
    pub fn workload(&self, actor: &Actor, name: &str) -> Result<Shown, Failure> {
        self.may(actor, Action::GetWorkload, name)?;
        self.document(actor, AnyKind::Workload, name)
    }

    /// Lists documents of one kind in the order of their names. The caller has checked that the
    /// actor may read them.
    pub(super) fn documents(&self, actor: &Actor, kind: AnyKind, query: &Query) -> Listed<Shown> {
        let (limit, selector) = (query.limit()?, &query.selector);
        let after = query.after.as_deref().unwrap_or_default();
        let told = self.standings(&actor.tenant, kind);
        let model = self.model(&actor.tenant);
        let looked = Looked { model: &model, told: &told, now: self.now() };
        // One more than the page holds tells whether another page follows.
        let items = kind.list(&looked, &Page { after, selector, limit: limit + 1 });
        Ok(page(items, limit, model.meta.version))
    }

    /// Returns one document of a kind. The caller has checked that the actor may read it.
    pub(super) fn document(
        &self,
        actor: &Actor,
        kind: AnyKind,
        name: &str,
    ) -> Result<Shown, Failure> {
        let told = self.standings(&actor.tenant, kind);
        let model = self.model(&actor.tenant);
        let looked = Looked { model: &model, told: &told, now: self.now() };
        kind.show(&looked, name).ok_or_else(|| Failure::no(kind.words().word, name))
    }

    /// Lists stored revisions in the order of workload and number.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query.
    pub fn revisions(
        &self,
        actor: &Actor,
        query: &Query,
        workload: Option<&str>,
    ) -> Listed<api::Revision> {
        self.may(actor, Action::ListRevisions, workload.unwrap_or_default())?;
        let limit = query.limit()?;
        let bad = || {
            Failure::invalid(
                "continue: not a value that a page gave; leave it out to begin with the first page",
            )
        };
        let after: Option<(Name, u64)> = match query.after.as_deref() {
            None => None,
            Some(text) => {
                let (name, number) = text.rsplit_once('.').ok_or_else(bad)?;
                Some((name.parse().map_err(|_| bad())?, number.parse().map_err(|_| bad())?))
            }
        };
        let model = self.model(&actor.tenant);
        let reported = revisions::reported(&model, workload);
        let shown = |(known, at, record): (&Workload, usize, &RevisionRecord)| {
            let key = (record.workload.clone(), record.revision);
            revisions::shown(known, at, record, reported.get(&key).copied().unwrap_or(0))
        };
        let items = model
            .workloads
            .iter()
            .filter(|(name, _)| workload.is_none_or(|only| only == name.as_str()))
            .flat_map(|(_, known)| {
                let all = known.revisions.iter().enumerate();
                all.map(move |(at, record)| (known, at, record))
            })
            .filter(|(_, _, record)| {
                after.as_ref().is_none_or(|(name, number)| {
                    (&record.workload, record.revision) > (name, *number)
                })
            })
            .filter(|(_, _, record)| query.chooses(&record.labels))
            .take(limit + 1)
            .map(|it| (format!("{}.{}", it.2.workload, it.2.revision), shown(it)))
            .collect();
        Ok(page(items, limit, model.meta.version))
    }

    /// Lists enrolment tokens in the order of their ids, without their secrets.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query.
    pub fn tokens(&self, actor: &Actor, query: &Query) -> Listed<api::Token> {
        self.may(actor, Action::ListTokens, "")?;
        let limit = query.limit()?;
        let after = query.after.as_deref().unwrap_or_default();
        let (model, now) = (self.model(&actor.tenant), self.now());
        let items = model
            .tokens
            .iter()
            .filter(|(id, record)| ***id > *after && query.chooses(&record.labels))
            .take(limit + 1)
            .map(|(id, record)| (id.to_string(), view::token(record, now)))
            .collect();
        Ok(page(items, limit, model.meta.version))
    }

    /// Explains why a device, workload or policy is not in its desired state.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown kind or name.
    pub fn explain(
        &self,
        actor: &Actor,
        kind: &str,
        name: &str,
    ) -> Result<api::Explanation, Failure> {
        self.may(actor, Action::Explain, name)?;
        if let "device" | "devices" = kind {
            let model = self.model(&actor.tenant);
            let known = model.devices.get(name).ok_or_else(|| Failure::no("device", name))?;
            return Ok(explain::device(&model, known, self.now()));
        }
        let kind = AnyKind::parse(kind).ok_or_else(|| Failure::no("kind", kind))?;
        let told = self.standings(&actor.tenant, kind);
        let model = self.model(&actor.tenant);
        let looked = Looked { model: &model, told: &told, now: self.now() };
        kind.explain(&looked, name).ok_or_else(|| Failure::no(kind.words().word, name))
    }

    /// Returns the control plane's version, tenant, addresses and CA.
    ///
    /// # Errors
    /// Returns [`Failure::Internal`] when the CA's certificate cannot be read.
    pub fn about(&self, actor: &Actor) -> Result<api::About, Failure> {
        self.may(actor, Action::DescribeControlPlane, "")?;
        let authority = &self.authority;
        let ca = api::Authority {
            sha256: hex(&authority.ca_sha256()),
            pem: self.ca_pem(),
            not_after: rfc3339(authority.ca_end().map_err(Failure::internal)?),
        };
        let model = self.model(&actor.tenant);
        Ok(api::About {
            version: env!("CARGO_PKG_VERSION").into(),
            epoch: model.meta.epoch,
            resource_version: model.meta.version,
            started_at: rfc3339(self.started),
            trust_domain: authority.trust_domain().to_owned(),
            tenant: model.tenant.to_string(),
            api_address: self.settings.api.clone(),
            addresses: self.settings.addresses.clone(),
            ca,
            server_certificate_not_after: authority.server_end().map(rfc3339),
        })
    }

    /// CA certificate in PEM.
    pub fn ca_pem(&self) -> String {
        self.authority.keys().ca_pem.clone()
    }

    /// Checks that a device with this certificate may fetch artifacts.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] when it may not.
    pub fn admit_device(
        &self,
        device: &holdfast_base::ids::DeviceId,
        serial: &[u8],
    ) -> Result<(), Failure> {
        use crate::ports::bus::Admission as _;
        self.admit(device, serial)
            .map(|_| ())
            .map_err(|refusal| Failure::Refused(format!("device {device}: {refusal}")))
    }

    /// Checks that an actor may fetch an artifact: a device only those of the workloads that it
    /// should run.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] when it may not.
    pub fn may_fetch(
        &self,
        actor: &Actor,
        digest: &holdfast_base::ids::Digest,
    ) -> Result<(), Failure> {
        self.may(actor, Action::GetArtifact, &digest.to_string())?;
        match &actor.who {
            Who::Operator { .. } => Ok(()),
            Who::Device(name) if self.model(&actor.tenant).names_artifact(name, digest) => Ok(()),
            Who::Device(name) => Err(Failure::Refused(format!(
                "{digest} belongs to no workload that device {}.{name} should run",
                actor.tenant
            ))),
        }
    }
}
