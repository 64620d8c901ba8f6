//! Workloads and their revisions as people read them, and why documents are not where they should
//! be.

use holdfast_base::ids::Name;

use super::Workloads;
use crate::api;
use crate::core::kinds::{AnyKind, Looked, Page, Shown};
use crate::core::model::Workload;
use crate::core::records::RevisionRecord;
use crate::core::rights::{Action, Actor, Permit};
use crate::core::seen::Seen;
use crate::core::{explain, revisions};
use crate::service::listing::page;
use crate::service::rights::{may, may_device, may_kind};
use crate::service::{Failure, Listed, Query};

impl Workloads {
    /// Lists workloads in the order of their names.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query.
    pub fn workloads(&self, actor: &Actor, query: &Query) -> Listed<Shown> {
        let permit = may(actor, Action::ListWorkloads, "")?;
        query.limit()?;
        query.after()?;
        self.list(&permit, AnyKind::Workload, query)
    }

    /// Returns one workload.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown workload.
    pub fn workload(&self, actor: &Actor, name: &str) -> Result<Shown, Failure> {
        let permit = may(actor, Action::GetWorkload, name)?;
        self.show(&permit, AnyKind::Workload, name)
    }

    /// Lists documents of one kind that the actor sees, in the order of their names.
    pub(super) fn list(&self, permit: &Permit<'_>, kind: AnyKind, query: &Query) -> Listed<Shown> {
        may_kind(permit, kind)?;
        let (limit, selector) = (query.limit()?, &query.selector);
        let after = query.after.as_deref().unwrap_or_default();
        let told = self.alarms.standings(permit.tenant(), kind);
        let model = self.documents.model(permit.tenant());
        let (sight, now) = (permit.sight(), self.documents.now());
        let looked = Looked { model: &model, sight, told: &told, now };
        // One more than the page holds tells whether another page follows.
        let items = kind.list(&looked, &Page { after, selector, limit: limit + 1 });
        Ok(page(items, limit, model.meta.version))
    }

    /// Returns one document of a kind, if the actor sees it.
    pub(super) fn show(
        &self,
        permit: &Permit<'_>,
        kind: AnyKind,
        name: &str,
    ) -> Result<Shown, Failure> {
        may_kind(permit, kind)?;
        let told = self.alarms.standings(permit.tenant(), kind);
        let model = self.documents.model(permit.tenant());
        let (sight, now) = (permit.sight(), self.documents.now());
        let looked = Looked { model: &model, sight, told: &told, now };
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
        let permit = may(actor, Action::ListRevisions, workload.unwrap_or_default())?;
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
        let model = self.documents.model(&actor.tenant);
        let reported = revisions::reported(&model, permit.sight(), workload);
        let seen = Seen::new(&model, permit.sight());
        let shown = |(known, at, record): (&Workload, usize, &RevisionRecord)| {
            let key = (record.workload.clone(), record.revision);
            revisions::shown(known, at, record, reported.get(&key).copied().unwrap_or(0))
        };
        let items = model
            .workloads
            .iter()
            .filter(|(name, _)| workload.is_none_or(|only| only == name.as_str()))
            .filter(|(_, known)| seen.chooses(&known.record.devices))
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
        let permit = may(actor, Action::Explain, name)?;
        if let "device" | "devices" = kind {
            let model = self.documents.model(&actor.tenant);
            may_device(actor, Action::Explain, &model, name)?;
            let known = model.devices.get(name).ok_or_else(|| Failure::no("device", name))?;
            return Ok(explain::device(&model, known, self.documents.now()));
        }
        let kind = AnyKind::parse(kind).ok_or_else(|| Failure::no("kind", kind))?;
        may_kind(&permit, kind)?;
        let told = self.alarms.standings(&actor.tenant, kind);
        let model = self.documents.model(&actor.tenant);
        let (sight, now) = (permit.sight(), self.documents.now());
        let looked = Looked { model: &model, sight, told: &told, now };
        kind.explain(&looked, name).ok_or_else(|| Failure::no(kind.words().word, name))
    }
}
