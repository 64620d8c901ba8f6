//! A new tenant, with its first access token.

use holdfast_base::ids::{IdError, Name};
use serde_json::json;

use super::Tenancy;
use crate::api::{CreatedTenant, NewTenant};
use crate::core::records::PolicyKind;
use crate::core::rights::{Action, Actor};
use crate::service::Failure;
use crate::service::rights::may_whole;

impl Tenancy {
    /// Applies the document of a tenant and makes its first access token, which may everything there.
    /// A tenant that was made by a document alone, and has no token yet, gets its first one.
    ///
    /// # Errors
    /// Returns [`Failure::Conflict`] when the tenant has access tokens, and [`Failure::Invalid`] for a
    /// document with faults.
    pub async fn create(&self, actor: &Actor, new: &NewTenant) -> Result<CreatedTenant, Failure> {
        let permit = may_whole(actor, Action::CreateTenant, self.documents.first_tenant())?;
        let by = permit.by();
        let bad = |error: IdError| Failure::invalid(format!("name: {error}"));
        let name: Name = new.name.parse().map_err(bad)?;
        let taken = || {
            Failure::Conflict(format!(
                "tenant {name} exists, and has access tokens: whoever has one of scope admin makes another"
            ))
        };
        if !self.documents.model(&name).access.is_empty() {
            return Err(taken());
        }
        let known = {
            let first = self.documents.model(self.documents.first_tenant());
            first.policies.contains_key(&(PolicyKind::Tenant, name.clone()))
        };
        if !known || new.quotas.is_some() {
            let quotas = new.quotas.clone().unwrap_or_else(|| json!({}));
            let document = json!({
                "apiVersion": crate::api::API_VERSION, "kind": PolicyKind::Tenant.document(),
                "metadata": { "name": name }, "spec": { "quotas": quotas },
            });
            self.workloads.apply(actor, &[document], false).await?;
        }
        let token = self.access.first_of_tenant(&name).await?.ok_or_else(taken)?;
        let created = self.documents.change(self.documents.first_tenant(), |change| {
            let detail = "with its first access token".to_owned();
            change.audit(by, "tenant.create", name.as_str(), detail);
            Ok(())
        });
        created.await?;
        Ok(CreatedTenant { name: name.to_string(), token })
    }
}
