//! Sealing of the client secrets of identity providers, within the change that stores them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::Name;

use crate::core::admission::{Admitted, What};
use crate::core::model::Model;
use crate::core::oidc::{ClientSecret, Provider, secret_context};
use crate::core::records::{Policy, PolicyKind};
use crate::ports::keyring::Keyring;
use crate::service::Failure;

/// Seals the client secrets that admitted documents have in plain text. One that is stored already
/// stays as it is.
pub(super) fn seal(
    model: &Model,
    keyring: &dyn Keyring,
    admitted: &mut [Admitted],
) -> Result<(), Failure> {
    for document in admitted {
        let What::Policy(policy) = &mut document.what else { continue };
        let Policy::IdentityProvider { provider } = &mut **policy else { continue };
        let Some(ClientSecret::Plain(plain)) = &provider.client_secret else { continue };
        let next = if is_stored(model, keyring, &document.name, provider, plain) {
            ClientSecret::Kept
        } else {
            let context = secret_context(&model.tenant, &document.name);
            let sealed = keyring.seal(&context, plain.as_bytes()).map_err(Failure::internal)?;
            ClientSecret::Sealed(STANDARD.encode(sealed).into())
        };
        provider.client_secret = Some(next);
    }
    Ok(())
}

/// True if this is the secret that is stored for the same issuer.
fn is_stored(
    model: &Model,
    keyring: &dyn Keyring,
    name: &Name,
    provider: &Provider,
    plain: &str,
) -> bool {
    let known = model.policies.get(&(PolicyKind::IdentityProvider, name.clone()));
    let Some(Policy::IdentityProvider { provider: stored }) =
        known.map(|known| &known.record.policy)
    else {
        return false;
    };
    let Some(ClientSecret::Sealed(sealed)) = &stored.client_secret else { return false };
    let Ok(sealed) = STANDARD.decode(&**sealed) else { return false };
    let opened = keyring.open(&secret_context(&model.tenant, name), &sealed);
    stored.issuer == provider.issuer && opened.is_ok_and(|opened| opened == plain.as_bytes())
}
