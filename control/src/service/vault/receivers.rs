//! Secrets of receivers of notifications: opened for a delivery, and sealed where an older version
//! stored them in plain text.

use holdfast_base::ids::Name;

use super::part::{Bound, Vault};
use crate::core::audit_sink::AuditSink;
use crate::core::change::Change;
use crate::core::model::{Model, key};
use crate::core::notification::{self, Hidden, Notification};
use crate::core::records::{Policy, PolicyKey, PolicyKind, PolicyRecord};
use crate::core::secrets::value::{Plain, SealedValue};
use crate::service::Failure;

impl Vault {
    /// Puts the secrets of a notification into their places, for one delivery.
    ///
    /// # Errors
    /// Returns a [`Failure`] that names the secret which cannot be had.
    pub(in crate::service) fn reveal(
        &self,
        tenant: &Name,
        name: &Name,
        notification: Notification,
    ) -> Result<Notification, Failure> {
        self.reveal_at((tenant, PolicyKind::Notification, name), notification)
    }

    /// Puts the secrets of an audit sink into their places, for one delivery.
    ///
    /// # Errors
    /// Returns a [`Failure`] that names the secret which cannot be had.
    pub(in crate::service) fn reveal_sink(
        &self,
        tenant: &Name,
        name: &Name,
        mut sink: AuditSink,
    ) -> Result<AuditSink, Failure> {
        if let Some(receiver) = sink.receiver() {
            let of = (tenant, PolicyKind::AuditSink, name);
            sink.set_receiver(self.reveal_at(of, receiver)?);
        }
        Ok(sink)
    }

    fn reveal_at(
        &self,
        (tenant, kind, name): (&Name, PolicyKind, &Name),
        mut receiver: Notification,
    ) -> Result<Notification, Failure> {
        receiver.reveal(|path, hidden| {
            let plain = match hidden {
                Hidden::Sealed(value) => {
                    self.open((tenant, Bound::receiver(kind, name, path)), value)?
                }
                Hidden::Secret(place) => {
                    let value = self.value(tenant, &place.name, &place.key);
                    let value = value.ok_or_else(|| {
                        Failure::NotFound(format!("{path} refers to {place}, which is not there"))
                    })?;
                    self.open((tenant, Bound::Secret(&place.name, &place.key)), &value)?
                }
            };
            let text = String::from_utf8(plain.bytes().to_vec())
                .map_err(|_| Failure::invalid(format!("{path} is no text")))?;
            if path.ends_with("secretUrl") && !notification::is_address(&text) {
                let why = "is no address over HTTP, such as https://example.com/hook";
                return Err(Failure::invalid(format!("{path} {why}")));
            }
            Ok(text)
        })?;
        Ok(receiver)
    }

    /// Returns a value of a `Secret` as text, for a request of the control plane itself.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for a secret without this key, and a [`Failure`] for a value that
    /// cannot be opened or is no text.
    pub(in crate::service) fn text(
        &self,
        tenant: &Name,
        name: &Name,
        key: &str,
    ) -> Result<String, Failure> {
        let none = || Failure::NotFound(format!("secret {name} with the key {key} is not there"));
        let value = self.value(tenant, name, key).ok_or_else(none)?;
        let plain = self.open((tenant, Bound::Secret(name, key)), &value)?;
        String::from_utf8(plain.bytes().to_vec())
            .map_err(|_| Failure::invalid(format!("key {key} of secret {name} is no text")))
    }

    fn value(&self, tenant: &Name, name: &Name, key: &str) -> Option<SealedValue> {
        let model = self.documents.model(tenant);
        match &model.policies.get(&(PolicyKind::Secret, name.clone()))?.record.policy {
            Policy::Secret { secret } => secret.value(key).cloned(),
            _ => None,
        }
    }

    /// Seals the secrets of notifications that an older version stored in plain text, in all
    /// tenants. What cannot be sealed stays as it is, and is said in the log.
    pub(in crate::service) fn seal_old(&self) {
        let now = self.documents.now();
        for tenant in self.documents.tenant_names() {
            let old = plain(&self.documents.model(&tenant));
            if old.is_empty() {
                continue;
            }
            let sealed = old.into_iter().map(|record| self.sealed_record(&tenant, record, now));
            match sealed.collect::<Result<Vec<PolicyRecord>, Failure>>() {
                Ok(sealed) => self.replace(&tenant, sealed),
                Err(error) => {
                    tracing::error!(%tenant, %error, "secrets of notifications stay in plain text");
                }
            }
        }
    }

    fn replace(&self, tenant: &Name, sealed: Vec<PolicyRecord>) {
        let count = sealed.len();
        let act = |change: &mut Change<'_>| {
            for record in sealed {
                replace(change, record);
            }
        };
        let said = tenant.clone();
        let then = move |stored: bool| {
            if stored {
                tracing::info!(tenant = %said, count, "secrets of notifications that were stored in plain text are sealed now");
            } else {
                tracing::error!(tenant = %said, "the store refused sealed secrets of notifications: they are sealed at the next start");
            }
        };
        if !self.documents.note(tenant, act, then) {
            tracing::error!(%tenant, "secrets of notifications are sealed at the next start");
        }
    }

    fn sealed_record(
        &self,
        tenant: &Name,
        mut record: PolicyRecord,
        now: u64,
    ) -> Result<PolicyRecord, Failure> {
        let name = record.name.clone();
        if let Policy::Notification { notification } = &mut record.policy {
            notification.seal(|path, text| {
                let at = (tenant, Bound::Notification(&name, path));
                self.seal(at, &Plain::new(text), None, now)
            })?;
        }
        record.written = notification::shown(&record.written);
        Ok(record)
    }
}

/// Returns the notifications that have a secret in plain text.
fn plain(model: &Model) -> Vec<PolicyRecord> {
    let records = model.policies.values().map(|known| &known.record);
    let has_plain = |record: &&PolicyRecord| match &record.policy {
        Policy::Notification { notification } => notification.has_plain(),
        _ => false,
    };
    records.filter(has_plain).cloned().collect()
}

/// Puts a sealed record in the place of the same one in plain text. Neither its version nor
/// anything that people see changes.
fn replace(change: &mut Change<'_>, record: PolicyRecord) {
    let at: PolicyKey = record.key();
    let row = key::policy(&at);
    let Some(known) = change.model.policies.get_mut(&at) else { return };
    if known.record.version != record.version {
        return; // It was applied meanwhile, and sealed then.
    }
    known.record = record.clone();
    change.put(row, &record);
}
