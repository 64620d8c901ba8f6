//! `IdentityProvider`: where people log in, and which roles their claims give them.
//!
//! See decision 0165.

use holdfast_protocol::enrol::Fault;
use serde_json::Value;

use super::{PolicyRules, Preview};
use crate::admission::{At, identity_provider};
use crate::notification::HIDDEN;
use crate::oidc::Provider;
use crate::records::{Policy, PolicyRecord};
use holdfast_api::selector::Selector;

/// Implementation of the kind `IdentityProvider`.
#[derive(Debug)]
pub(super) struct IdentityProvider;

impl PolicyRules for IdentityProvider {
    fn spec(&self, at: &At<'_>) -> Option<(Selector, Policy)> {
        identity_provider::provider(at)
    }

    fn effect(&self, _devices: u64, _preview: &Preview) -> String {
        "counts for logins from now on; open sessions keep their roles".to_owned()
    }

    fn keep_secrets(
        &self,
        written: &mut Value,
        policy: &mut Policy,
        known: Option<&Policy>,
    ) -> Result<(), Vec<Fault>> {
        let Policy::IdentityProvider { provider } = policy else { return Ok(()) };
        let stored = known.and_then(|known| match known {
            Policy::IdentityProvider { provider } => Some(&**provider),
            _ => None,
        });
        provider.keep_secret(stored)?;
        // What was written is stored too, and must not have the secret.
        if let Some(secret) = written.get_mut("clientSecret") {
            *secret = HIDDEN.into();
        }
        Ok(())
    }

    fn shown(&self, record: &PolicyRecord) -> Value {
        Provider::shown(&record.written)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::{What, admit};
    use crate::oidc::ClientSecret;

    fn judge(spec: &Value) -> Result<Provider, String> {
        let document = json!({
            "apiVersion": "holdfast/v1", "kind": "IdentityProvider",
            "metadata": { "name": "corp" }, "spec": spec,
        });
        match admit(&[document], &|_| None) {
            Ok(admitted) => match &admitted[0].what {
                What::Policy(policy) => match &**policy {
                    Policy::IdentityProvider { provider } => Ok((**provider).clone()),
                    _ => panic!("another kind"),
                },
                What::Workload(..) => panic!("a workload"),
            },
            Err(faults) => Err(format!("{}: {}", faults[0].path, faults[0].message)),
        }
    }

    fn spec() -> Value {
        json!({
            "issuer": "https://id.example.com", "clientId": "holdfast",
            "rules": [{ "claim": "groups", "value": "ops", "role": "operator", "devices": "all" }],
        })
    }

    #[test]
    fn a_provider_says_where_and_who_gets_what() {
        let usual = judge(&spec()).unwrap();
        assert_eq!((&*usual.name_claim, usual.client_secret.clone()), ("sub", None));
        assert_eq!(usual.scope(), "openid profile email");
        let with = |field: &str, value: Value| {
            let mut spec = spec();
            spec[field] = value;
            judge(&spec)
        };
        let kept = with("clientSecret", json!(HIDDEN)).unwrap();
        assert_eq!(kept.client_secret, Some(ClientSecret::Kept));
        assert!(with("issuer", json!("http://127.0.0.1:9400")).is_ok());
        assert_eq!(
            &*with("address", json!("https://h.example/")).unwrap().address.unwrap(),
            "https://h.example"
        );
        for (field, value, said) in [
            ("issuer", json!("http://id.example.com"), "https is needed"),
            ("issuer", json!("https://id.example.com/?a=b"), "without user, query"),
            ("issuer", json!("id.example.com"), "no address of a provider"),
            ("address", json!("https://h.example/pages"), "https://HOST"),
            ("address", json!("http://127.0.0.1"), "https://HOST"),
            ("scopes", json!(["a b"]), "not a scope"),
            ("clientId", json!(""), "too short"),
            ("rules", json!([]), "an empty list"),
            (
                "rules",
                json!([{ "claim": "groups", "value": "a", "role": "root", "devices": "all" }]),
                "unknown role",
            ),
            ("rules", json!([{ "claim": "groups", "value": "a", "role": "viewer" }]), "is missing"),
        ] {
            let refused = with(field, value.clone()).unwrap_err();
            assert!(refused.contains(said), "{field} {value}: {refused}");
        }
        let refused = with("clientSecret", json!("s3cret\n")).unwrap_err();
        assert!(!refused.contains("s3cret"), "{refused}");
    }
}
