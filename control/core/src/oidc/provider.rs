//! Content of an `IdentityProvider` document, and what the claims of a person are worth by its
//! rules.
//!
//! See decision 0165.

use holdfast_api::Role;
use holdfast_api::selector::Selector;
use holdfast_base::ids::Name;
use holdfast_protocol::enrol::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::token::Claims;
use crate::notification::HIDDEN;
use crate::rights::Grant;

/// Most providers of a tenant.
pub const MAX_PROVIDERS: usize = 50;

/// Longest name of a person, in bytes, as role bindings have it.
const MAX_NAME: usize = 200;

/// Longest list of claims in a refusal, in characters.
const MAX_SEEN: usize = 400;

/// Secret of the client.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientSecret {
    /// Secret sealed under the master key, in base64: the only form that is stored.
    Sealed(Box<str>),
    /// Secret of a document that was just admitted; the service seals it.
    #[serde(skip)]
    Plain(Box<str>),
    /// The stored secret is kept.
    #[serde(skip)]
    Kept,
}

impl std::fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientSecret(withheld)")
    }
}

/// Rule: whoever has this value of a claim has this role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Claim: its name, or a JSON pointer that begins with `/`.
    pub claim: Box<str>,
    /// Value of the claim, or one of its values if it is a list.
    pub value: Box<str>,
    /// Role that is given.
    pub role: Role,
    /// Devices that the role reaches; empty: the whole tenant.
    pub devices: Selector,
}

/// Content of an `IdentityProvider` document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// Issuer of the ID tokens, an address.
    pub issuer: Box<str>,
    /// Id of this control plane at the provider.
    pub client_id: Box<str>,
    /// Secret of the client; None: a public client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<ClientSecret>,
    /// Scopes that are asked for, beside `openid`.
    pub scopes: Vec<Box<str>>,
    /// Claim that names a person.
    pub name_claim: Box<str>,
    /// Address of the pages; None: the one that the browser asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Box<str>>,
    /// Certificates of authorities in PEM that replace those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Box<str>>,
    /// Roles by claims.
    pub rules: Vec<Rule>,
}

/// Reason why somebody whom the provider knows is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRole {
    /// The claim that names people is missing, or names nobody.
    #[error(
        "the ID token has no usable claim {claim:?} to name the person by: see nameClaim of the identity provider; {seen}"
    )]
    Name {
        /// Claim that was looked for.
        claim: Box<str>,
        /// Claims that the token has.
        seen: String,
    },
    /// The provider does not vouch for the mail address.
    #[error("the provider says that the mail address {0:?} is not verified (email_verified)")]
    Unverified(String),
    /// No rule fits, and no role binding names the person.
    #[error(
        "{person} has no role: no rule of the identity provider fits, and no role binding names this person; {seen}"
    )]
    Rules {
        /// Person, as `NAME@PROVIDER`.
        person: String,
        /// Claims that were looked at.
        seen: String,
    },
}

/// Context under which the client secret of a document is sealed.
pub fn secret_context(tenant: &Name, provider: &Name) -> Vec<u8> {
    format!("identityprovider/{tenant}/{provider}").into_bytes()
}

impl Provider {
    /// Replaces a secret that is kept by the stored one. It is kept for the same issuer alone: a
    /// changed address must not receive it.
    ///
    /// # Errors
    /// A fault when there is none.
    pub fn keep_secret(&mut self, known: Option<&Self>) -> Result<(), Vec<Fault>> {
        let message = match self.client_secret {
            None | Some(ClientSecret::Sealed(_)) => return Ok(()),
            Some(ClientSecret::Plain(_)) => "was not sealed: this is a defect".to_owned(),
            Some(ClientSecret::Kept) => {
                let same = known.filter(|known| known.issuer == self.issuer);
                if let Some(kept) = same.and_then(|known| known.client_secret.clone()) {
                    self.client_secret = Some(kept);
                    return Ok(());
                }
                format!(
                    "{HIDDEN:?} keeps the secret that is stored for the same issuer, and there is none: write the secret itself"
                )
            }
        };
        Err(vec![Fault { path: "spec.clientSecret".into(), message, of_key: false }])
    }

    /// Returns a spec with the placeholder in the place of the secret.
    pub fn shown(written: &Value) -> Value {
        let mut shown = written.clone();
        if let Some(secret) = shown.get_mut("clientSecret") {
            *secret = HIDDEN.into();
        }
        shown
    }

    /// Returns the scopes of a login, divided by blanks.
    pub fn scope(&self) -> String {
        let mut all = vec!["openid"];
        all.extend(self.scopes.iter().map(|scope| &**scope).filter(|scope| *scope != "openid"));
        all.join(" ")
    }

    /// Returns the name of a person, without the provider's.
    ///
    /// # Errors
    /// [`NoRole`] when the claim is missing, unfit, or an address that nobody has verified.
    pub fn person(&self, claims: &Claims) -> Result<Box<str>, NoRole> {
        let found = claim(&claims.0, &self.name_claim).and_then(Value::as_str);
        let fit = |name: &&str| {
            let odd = name.chars().any(|c| c.is_control() || c.is_whitespace());
            !name.is_empty() && name.len() <= MAX_NAME && !odd
        };
        let name = found.filter(fit).ok_or_else(|| NoRole::Name {
            claim: self.name_claim.clone(),
            seen: names(&claims.0),
        })?;
        let verified = claims.0.get("email_verified");
        let is_verified =
            verified.is_none_or(|it| *it == Value::Bool(true) || it.as_str() == Some("true"));
        if &*self.name_claim == "email" && !is_verified {
            return Err(NoRole::Unverified(name.to_owned()));
        }
        Ok(name.into())
    }

    /// Returns the roles that the rules give, in their order. `provider` is the document's name.
    pub fn grants(&self, provider: &str, claims: &Claims) -> Vec<Grant> {
        let fits = |rule: &&Rule| {
            claim(&claims.0, &rule.claim).is_some_and(|found| texts(found).contains(&rule.value))
        };
        let grant = |rule: &Rule| Grant {
            role: rule.role,
            selector: (!rule.devices.is_empty()).then(|| rule.devices.clone()),
            by: format!("provider {provider}: {}={}", rule.claim, rule.value).into(),
        };
        self.rules.iter().filter(fits).map(grant).collect()
    }

    /// Describes the claims that the rules look at, as a refusal has them.
    pub fn seen(&self, claims: &Claims) -> String {
        let mut looked: Vec<&str> = self.rules.iter().map(|rule| &*rule.claim).collect();
        looked.sort_unstable();
        looked.dedup();
        let parts: Vec<String> = looked
            .into_iter()
            .map(|name| match claim(&claims.0, name) {
                Some(found) => format!("{name} = {}", texts(found).0.join(", ")),
                None => format!("no {name}"),
            })
            .collect();
        let seen =
            if parts.is_empty() { "there are no rules".to_owned() } else { parts.join("; ") };
        cut(&format!("the ID token has {seen}; {}", names(&claims.0)))
    }
}

/// Names of all claims of a token.
fn names(claims: &Map<String, Value>) -> String {
    let all: Vec<&str> = claims.keys().map(String::as_str).collect();
    cut(&format!("its claims are {}", all.join(", ")))
}

/// Text without control characters, of bounded length.
fn cut(text: &str) -> String {
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(MAX_SEEN).collect();
    if text.chars().count() > MAX_SEEN {
        shown.push('…');
    }
    shown
}

fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let Some(path) = name.strip_prefix('/') else { return claims.get(name) };
    let mut steps = path.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"));
    let first = claims.get(&steps.next()?)?;
    steps.try_fold(first, |at, step| at.get(&step))
}

/// Values of a claim as texts.
struct Texts(Vec<String>);

impl Texts {
    fn contains(&self, value: &str) -> bool {
        self.0.iter().any(|one| one == value)
    }
}

fn texts(value: &Value) -> Texts {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    };
    Texts(match value {
        Value::Array(all) => all.iter().filter_map(one).collect(),
        other => one(other).into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn provider(rules: &[(&str, &str, Role)]) -> Provider {
        let rule = |(claim, value, role): &(&str, &str, Role)| Rule {
            claim: (*claim).into(),
            value: (*value).into(),
            role: *role,
            devices: Selector::default(),
        };
        Provider {
            issuer: "https://id.example".into(),
            client_id: "holdfast".into(),
            client_secret: Some(ClientSecret::Sealed("c2VhbGVk".into())),
            scopes: vec!["openid".into(), "groups".into()],
            name_claim: "email".into(),
            address: None,
            ca: None,
            rules: rules.iter().map(rule).collect(),
        }
    }

    fn claims(value: Value) -> Claims {
        match value {
            Value::Object(object) => Claims(object),
            _ => panic!("no object"),
        }
    }

    #[test]
    fn rules_read_texts_lists_and_what_lies_deeper() {
        let provider = provider(&[
            ("groups", "ops", Role::Operator),
            ("/realm_access/roles", "boss", Role::Admin),
            ("https://example.com/level", "3", Role::Viewer),
            ("staff", "true", Role::Auditor),
        ]);
        for (given, roles) in [
            (json!({ "groups": ["dev", "ops"] }), vec![Role::Operator]),
            (json!({ "groups": "ops" }), vec![Role::Operator]),
            (json!({ "realm_access": { "roles": ["boss"] } }), vec![Role::Admin]),
            (
                json!({ "https://example.com/level": 3, "staff": true }),
                vec![Role::Viewer, Role::Auditor],
            ),
            (json!({ "groups": ["OPS", "ops ", "devops"] }), vec![]),
            (json!({ "groups": { "ops": true } }), vec![]),
            (json!({ "groups": null, "realm_access": "boss" }), vec![]),
            (json!({}), vec![]),
        ] {
            let grants = provider.grants("corp", &claims(given.clone()));
            let found: Vec<Role> = grants.iter().map(|grant| grant.role).collect();
            assert_eq!(found, roles, "{given}");
        }
        let grants = provider.grants("corp", &claims(json!({ "groups": ["ops"] })));
        assert_eq!(&*grants[0].by, "provider corp: groups=ops");
        let seen = provider.seen(&claims(json!({ "groups": ["dev", "x\u{7}"], "sub": "1" })));
        assert!(seen.contains("groups = dev, x;") && seen.contains("no staff"), "{seen}");
        assert!(seen.contains("its claims are groups, sub"), "{seen}");
        let long = provider.seen(&claims(json!({ "groups": vec!["a-long-name"; 400] })));
        assert!(long.chars().count() <= MAX_SEEN + 1);
    }

    #[test]
    fn a_person_is_named_by_a_claim_that_can_stand_in_a_binding() {
        let provider = provider(&[]);
        let name = |value: Value| provider.person(&claims(value)).map(String::from);
        assert_eq!(name(json!({ "email": "anna@example.com" })).unwrap(), "anna@example.com");
        let verified = json!({ "email": "a@b.c", "email_verified": true });
        assert!(name(verified).is_ok());
        for bad in
            [json!({}), json!({ "email": "" }), json!({ "email": "a b" }), json!({ "email": 7 })]
        {
            assert!(matches!(name(bad.clone()), Err(NoRole::Name { .. })), "{bad}");
        }
        for no in [json!(false), json!("false"), json!(null)] {
            let given = json!({ "email": "a@b.c", "email_verified": no });
            assert!(matches!(name(given), Err(NoRole::Unverified(_))), "{no}");
        }
    }

    #[test]
    fn a_stored_secret_goes_to_no_other_issuer() {
        let stored = provider(&[]);
        let mut same = Provider { client_secret: Some(ClientSecret::Kept), ..provider(&[]) };
        same.keep_secret(Some(&stored)).unwrap();
        assert_eq!(same, stored);
        let mut other = Provider {
            issuer: "https://evil.example".into(),
            client_secret: Some(ClientSecret::Kept),
            ..provider(&[])
        };
        assert_eq!(other.keep_secret(Some(&stored)).unwrap_err()[0].path, "spec.clientSecret");
        assert!(other.keep_secret(None).is_err());
        let plain = Some(ClientSecret::Plain("p".into()));
        let mut plain = Provider { client_secret: plain, ..provider(&[]) };
        assert!(plain.keep_secret(None).is_err(), "a plain secret is never stored");
        assert!(serde_json::to_string(&plain).is_err(), "not even by mistake");
        assert!(!format!("{stored:?}").contains("c2VhbGVk"));
    }
}
