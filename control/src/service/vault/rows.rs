//! Sealing of all stored secrets again, under a new data key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::Name;

use super::part::Bound;
use crate::core::change::Change;
use crate::core::model::key;
use crate::core::notification::Hidden;
use crate::core::records::{Policy, PolicyRecord};
use crate::core::secrets::value::{Held, SealedValue};
use crate::ports::keyring::{Keyring, KeyringError};
use crate::service::keys::SealedRows;

/// Rows of secrets, notifications and audit sinks.
#[derive(Debug)]
pub(in crate::service) struct VaultRows;

impl SealedRows for VaultRows {
    fn seal_again(
        &self,
        change: &mut Change<'_>,
        keyring: &dyn Keyring,
    ) -> Result<u64, KeyringError> {
        let tenant = change.model.tenant.clone();
        let (mut sealed, mut again) = (0, Vec::new());
        for known in change.model.policies.values() {
            let mut record = known.record.clone();
            let count = record_again(&tenant, &mut record, keyring)?;
            if count > 0 {
                again.push(record);
            }
            sealed += count;
        }
        // Everything could be opened: only now the model is touched.
        for record in again {
            let at = record.key();
            change.put(key::policy(&at), &record);
            if let Some(known) = change.model.policies.get_mut(&at) {
                known.record = record;
            }
        }
        Ok(sealed)
    }
}

/// Seals the values of a record again, and returns their number.
fn record_again(
    tenant: &Name,
    record: &mut PolicyRecord,
    keyring: &dyn Keyring,
) -> Result<u64, KeyringError> {
    let PolicyRecord { name, policy, .. } = record;
    let mut count = 0;
    match policy {
        Policy::Secret { secret } => {
            for (key, held) in &mut secret.data {
                if let Held::Sealed(value) = held {
                    value_again(&Bound::Secret(name, key).context(tenant), value, keyring)?;
                    count += 1;
                }
            }
        }
        Policy::Notification { notification } => {
            for (path, hidden) in &mut notification.hidden {
                if let Hidden::Sealed(value) = hidden {
                    value_again(&Bound::Notification(name, path).context(tenant), value, keyring)?;
                    count += 1;
                }
            }
        }
        Policy::AuditSink { sink } => {
            for (path, hidden) in &mut sink.hidden {
                if let Hidden::Sealed(value) = hidden {
                    value_again(&Bound::Sink(name, path).context(tenant), value, keyring)?;
                    count += 1;
                }
            }
        }
        _ => {}
    }
    Ok(count)
}

/// Seals a value again. Its digest, and so what devices have of it, stays the same.
fn value_again(
    context: &[u8],
    value: &mut SealedValue,
    keyring: &dyn Keyring,
) -> Result<(), KeyringError> {
    let sealed = STANDARD.decode(value.sealed.as_bytes()).map_err(|_| KeyringError::Form)?;
    let plain = keyring.open(context, &sealed)?;
    value.sealed = STANDARD.encode(keyring.seal(context, &plain)?).into();
    Ok(())
}
