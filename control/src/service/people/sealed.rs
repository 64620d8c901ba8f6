//! Sealed values of people: the secrets of users' second factors, and the client secrets of identity
//! providers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::login::context;
use super::users::put;
use crate::core::change::Change;
use crate::core::model::key;
use crate::core::oidc::{ClientSecret, secret_context};
use crate::core::people::{TotpRecord, UserRecord};
use crate::core::records::{Policy, PolicyRecord};
use crate::ports::keyring::{Keyring, KeyringError};
use crate::service::keys::SealedRows;

/// Owner of the secrets of second factors.
#[derive(Debug)]
pub(in crate::service) struct SecondFactors;

impl SealedRows for SecondFactors {
    fn seal_again(
        &self,
        change: &mut Change<'_>,
        keyring: &dyn Keyring,
    ) -> Result<u64, KeyringError> {
        let tenant = change.model.tenant.clone();
        let mut again = Vec::new();
        for user in change.model.users.values() {
            let Some(totp) = &user.totp else { continue };
            let context = context(&tenant, &user.name);
            let sealed = STANDARD.decode(&*totp.sealed).map_err(|_| KeyringError::Form)?;
            let sealed = keyring.seal(&context, &keyring.open(&context, &sealed)?)?;
            let totp = TotpRecord { sealed: STANDARD.encode(sealed).into(), ..totp.clone() };
            again.push(UserRecord { totp: Some(totp), ..user.clone() });
        }
        let count = again.len() as u64;
        again.into_iter().for_each(|user| put(change, user));
        Ok(count)
    }
}

/// Owner of the client secrets of identity providers.
#[derive(Debug)]
pub(in crate::service) struct ClientSecrets;

impl SealedRows for ClientSecrets {
    fn seal_again(
        &self,
        change: &mut Change<'_>,
        keyring: &dyn Keyring,
    ) -> Result<u64, KeyringError> {
        let tenant = change.model.tenant.clone();
        let mut again: Vec<PolicyRecord> = Vec::new();
        for known in change.model.policies.values() {
            let mut record = known.record.clone();
            let Policy::IdentityProvider { provider } = &mut record.policy else { continue };
            let Some(ClientSecret::Sealed(sealed)) = &provider.client_secret else { continue };
            let context = secret_context(&tenant, &record.name);
            let sealed = STANDARD.decode(&**sealed).map_err(|_| KeyringError::Form)?;
            let sealed = keyring.seal(&context, &keyring.open(&context, &sealed)?)?;
            provider.client_secret = Some(ClientSecret::Sealed(STANDARD.encode(sealed).into()));
            again.push(record);
        }
        let count = again.len() as u64;
        for record in again {
            change.put(key::policy(&record.key()), &record);
            if let Some(known) = change.model.policies.get_mut(&record.key()) {
                known.record = record;
            }
        }
        Ok(count)
    }
}
