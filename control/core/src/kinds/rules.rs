//! Rules of each kind by its name: what is above the model asks here, and nothing below it does.
//!
//! See decision 0139.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;

use super::kind::Kind;
use super::{AnyKind, Looked, Page, PolicyKind, PolicyRules, Shown, workload};
use crate::admission::{Admitted, At, Stored, What};
use crate::apply::{self, Planned, Refusal};
use crate::model::{self, BadRecord, KnownPolicy, Model};
use crate::policies;
use crate::records::PolicyRecord;
use crate::seen::Seen;
use crate::view;
use holdfast_api::selector::Selector;
use holdfast_api::{Explanation, PolicyStatus};

/// Writes the table of the rules.
macro_rules! rules {
    ($($(#[$if:meta])? $kind:ident $room:ident;)*) => {
        impl PolicyKind {
            /// Returns what the kind differs in.
            pub(crate) fn rules(self) -> &'static dyn PolicyRules {
                match self {
                    $($(#[$if])? Self::$kind => &super::$room::$kind,)*
                }
            }
        }
    };
}

each_policy_kind!(rules);

impl AnyKind {
    /// Returns what the kind differs in.
    pub(crate) fn rules(&self) -> &dyn Kind {
        match self {
            Self::Workload => &workload::Workload,
            Self::Policy(kind) => kind,
        }
    }

    /// Returns a page of the documents in the order of their names, each with its status and its
    /// name.
    pub fn list(self, looked: &Looked<'_>, page: &Page<'_>) -> Vec<(String, Shown)> {
        self.rules().list(looked, page)
    }

    /// Returns a document with its status. None: there is no document of this name.
    pub fn show(self, looked: &Looked<'_>, name: &str) -> Option<Shown> {
        self.rules().show(looked, &name.parse().ok()?)
    }

    /// Explains why a document is not in force everywhere, or that it is. None: there is no
    /// document of this name.
    pub fn explain(self, looked: &Looked<'_>, name: &str) -> Option<Explanation> {
        self.rules().explain(looked, &name.parse().ok()?)
    }
}

impl PolicyKind {
    /// Returns the status of the documents on the devices that got them. `only`: of this document
    /// alone.
    fn statuses(self, looked: &Looked<'_>, only: Option<&Name>) -> BTreeMap<Name, PolicyStatus> {
        let rules = self.rules();
        policies::statuses((looked.model, looked.sight), self, only, &|model, device, all| {
            rules.gather(model, device, all);
        })
    }

    /// Returns a document with its status, and takes what devices say of it out of `statuses`.
    fn shown(
        self,
        looked: &Looked<'_>,
        record: &PolicyRecord,
        statuses: &mut BTreeMap<Name, PolicyStatus>,
    ) -> Shown {
        let rules = self.rules();
        let followed = statuses.remove(&record.name).unwrap_or_default();
        let status = rules.status(looked, record, followed);
        Shown::Policy(Box::new(view::policy(record, rules.shown(record), status)))
    }
}

impl Kind for PolicyKind {
    fn spec(&self, at: &At<'_>, _stored: &Stored<'_>) -> Option<(Selector, What)> {
        let (devices, policy) = self.rules().spec(at)?;
        Some((devices, What::Policy(Box::new(policy))))
    }

    fn plan(&self, model: &Model, document: Admitted, now: u64) -> Result<Planned, Refusal> {
        apply::plan_policy(model, self.rules(), document, now)
    }

    fn version(&self, model: &Model, name: &Name) -> Option<u64> {
        Some(model.policies.get(&(*self, name.clone()))?.record.version)
    }

    fn load(&self, model: &mut Model, key: &str, value: &[u8]) -> Result<(), BadRecord> {
        let record: PolicyRecord = model::read(key, value)?;
        model.policies.insert(record.key(), KnownPolicy::new(record));
        Ok(())
    }

    fn list(&self, looked: &Looked<'_>, page: &Page<'_>) -> Vec<(String, Shown)> {
        let mut statuses = self.statuses(looked, None);
        let seen = Seen::new(looked.model, looked.sight);
        let all = looked.model.policies.iter();
        all.filter(|((kind, name), _)| kind == self && name.as_str() > page.after)
            .filter(|(_, known)| page.chooses(&known.record.labels))
            .filter(|(_, known)| seen.shows(*self, &known.record.devices))
            .take(page.limit)
            .map(|((_, name), known)| {
                (name.to_string(), self.shown(looked, &known.record, &mut statuses))
            })
            .collect()
    }

    fn show(&self, looked: &Looked<'_>, name: &Name) -> Option<Shown> {
        let record = &looked.model.policies.get(&(*self, name.clone()))?.record;
        let seen = Seen::new(looked.model, looked.sight).shows(*self, &record.devices);
        seen.then(|| self.shown(looked, record, &mut self.statuses(looked, Some(name))))
    }

    fn explain(&self, looked: &Looked<'_>, name: &Name) -> Option<Explanation> {
        let record = &looked.model.policies.get(&(*self, name.clone()))?.record;
        let seen = Seen::new(looked.model, looked.sight).shows(*self, &record.devices);
        seen.then(|| self.rules().explain(looked, record))
    }
}
