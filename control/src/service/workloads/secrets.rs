//! Rotation of secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_protocol::enrol::Fault;

use super::Workloads;
use crate::api::{Applied, RotateSecret, SecretValue};
use crate::core::apply::plan;
use crate::core::rights::{Action, Actor};
use crate::core::secrets::value::{self, MAX_KEYS, Plain};
use crate::service::Failure;
use crate::service::rights::may;

impl Workloads {
    /// Gives a secret new values: the given ones, and generated ones for the other keys. Without
    /// both it is every generated one.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown secret, [`Failure::Conflict`] when it changes
    /// meanwhile, and [`Failure::Invalid`] for keys that it does not have or that were not
    /// generated; then nothing was changed.
    pub async fn rotate(
        &self,
        actor: &Actor,
        name: &str,
        wanted: RotateSecret,
    ) -> Result<Applied, Failure> {
        let permit = may(actor, Action::RotateSecret, name)?;
        if wanted.keys.len() + wanted.values.len() > MAX_KEYS {
            return Err(Failure::invalid(format!("at most {MAX_KEYS} keys")));
        }
        let given = wanted.values.into_iter().map(|(key, value)| -> Result<_, Failure> {
            let plain = decoded(&key, value)?;
            Ok((key, Some(plain)))
        });
        let mut rotated = given.collect::<Result<Vec<_>, Failure>>()?;
        rotated.extend(wanted.keys.into_iter().map(|key| (key, None)));
        let (tenant, by) = (permit.tenant(), permit.by());
        let (document, keys) = self.vault.rotated(tenant, name, rotated, self.documents.now())?;
        let rotated = self.documents.change(tenant, |change| {
            let plan = plan(change.model, vec![document], change.now)?;
            change.audit(by, "secret.rotate", name, keys);
            Ok(plan.carry_out(change, by, None))
        });
        rotated.await
    }
}

/// Decodes a value.
fn decoded(key: &str, value: SecretValue) -> Result<Plain, Failure> {
    match value {
        SecretValue::Text(text) => Ok(Plain::new(text)),
        SecretValue::Binary { base64 } => {
            let bytes = STANDARD.decode(base64).map_err(|_| {
                let fault =
                    Fault { path: value::path(key), message: "not base64".into(), of_key: false };
                Failure::Invalid {
                    message: "refused, nothing was rotated".into(),
                    faults: vec![fault],
                }
            })?;
            Ok(Plain::new(bytes))
        }
    }
}
