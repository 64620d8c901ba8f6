//! Sealing of the client secrets of identity providers, before the change that stores them is
//! planned.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::Name;

use super::Workloads;
use crate::core::admission::{Admitted, What};
use crate::core::oidc::{ClientSecret, Provider, secret_context};
use crate::core::records::{Policy, PolicyKind};
use crate::service::Failure;

impl Workloads {
    /// Seals the client secrets that admitted documents have in plain text. One that is stored
    /// already stays as it is.
    pub(super) fn seal_client_secrets(
        &self,
        tenant: &Name,
        admitted: &mut [Admitted],
    ) -> Result<(), Failure> {
        for document in admitted {
            let What::Policy(policy) = &mut document.what else { continue };
            let Policy::IdentityProvider { provider } = &mut **policy else { continue };
            let Some(ClientSecret::Plain(plain)) = &provider.client_secret else { continue };
            let context = secret_context(tenant, &document.name);
            let next = if self.is_stored(tenant, &document.name, provider, plain) {
                ClientSecret::Kept
            } else {
                let sealed = self.keyring.seal(&context, plain.as_bytes());
                ClientSecret::Sealed(STANDARD.encode(sealed.map_err(Failure::internal)?).into())
            };
            provider.client_secret = Some(next);
        }
        Ok(())
    }

    /// True if this is the secret that is stored for the same issuer.
    fn is_stored(&self, tenant: &Name, name: &Name, provider: &Provider, plain: &str) -> bool {
        let model = self.documents.model(tenant);
        let known = model.policies.get(&(PolicyKind::IdentityProvider, name.clone()));
        let Some(Policy::IdentityProvider { provider: stored }) =
            known.map(|known| &known.record.policy)
        else {
            return false;
        };
        let Some(ClientSecret::Sealed(sealed)) = &stored.client_secret else { return false };
        let Ok(sealed) = STANDARD.decode(&**sealed) else { return false };
        let opened = self.keyring.open(&secret_context(tenant, name), &sealed);
        stored.issuer == provider.issuer && opened.is_ok_and(|opened| opened == plain.as_bytes())
    }
}
