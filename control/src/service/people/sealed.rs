//! Sealed values of users: the secrets of their second factors.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::login::context;
use super::users::put;
use crate::core::change::Change;
use crate::core::people::{TotpRecord, UserRecord};
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
