//! Form of `IdentityProvider` documents.
//!
//! See decisions 0147 and 0165.

use super::at::At;
use super::data::OR_NOT;
use super::document::devices;
use super::notification::{pem, text};
use super::roles::ROLES;
use crate::notification::HIDDEN;
use crate::oidc::{ClientSecret, Discovery, Provider, Rule, UnsafeAddress, check_address};
use crate::records::Policy;
use holdfast_api::selector::Selector;

/// Most rules of a provider.
const MAX_RULES: usize = 500;

/// Most scopes of a provider.
const MAX_SCOPES: usize = 20;

/// Decodes the spec of an `IdentityProvider`. `None` if faults were noted.
pub(crate) fn provider(at: &At<'_>) -> Option<(Selector, Policy)> {
    at.object("Provider, this control plane's client there, and who gets which role.", "", |spec| {
        let issuer = spec.required(
            "issuer",
            "Issuer of the ID tokens: the address under which the provider describes itself, letter by letter. It begins with https:// unless it is of this machine.",
            "the provider's address, such as https://id.example.com",
            |at| at.put("pattern", "^https?://").parsed(|text| {
                Discovery::address(text).map(|_| Box::<str>::from(text))
            }),
        );
        let client_id = spec.required(
            "clientId",
            "Id of this control plane at the provider, where it is registered with the address `https://HOST:PORT/api/v1/login/NAME/callback`.",
            "the id that the provider gave this control plane",
            |at| text(at, 1).map(Box::<str>::from),
        );
        let client_secret = spec.maybe(
            "clientSecret",
            "Secret of the client. It is stored sealed and never shown again. Default: none, for a public client.",
            secret,
        );
        let scopes = spec.or(
            "scopes",
            "Scopes that are asked for beside `openid`. Default: `[profile, email]`.",
            vec!["profile".into(), "email".into()],
            |at| at.list(MAX_SCOPES, OR_NOT, scope),
        );
        let name_claim = spec.or(
            "nameClaim",
            "Claim that names a person, such as `preferred_username` or `email`. People must not be able to choose its value. Default: `sub`.",
            "sub".into(),
            claim,
        );
        let address = spec.maybe(
            "address",
            "Address of these pages, such as `https://holdfast.example.com`, where a proxy hides it. Default: the one that the browser asks.",
            |at| at.put("pattern", "^https://").parsed(own_address),
        );
        let ca = spec.maybe(
            "ca",
            "Certificates of the authorities to trust, in PEM. Default: those of the system.",
            |at| pem(at).map(Box::<str>::from),
        );
        let rules = spec.required(
            "rules",
            "Table of roles by claims. Each row that fits gives its role; who fits none, and is named by no role binding, is not let in.",
            "who gets which role, such as [{ claim: groups, value: ops, role: operator, devices: all }]",
            |at| at.list(MAX_RULES, "", rule),
        );
        let provider = Provider {
            issuer: issuer?,
            client_id: client_id?,
            client_secret: client_secret?,
            scopes: scopes?,
            name_claim: name_claim?,
            address: address?,
            ca: ca?,
            rules: rules?,
        };
        Some((Selector::default(), Policy::IdentityProvider { provider: Box::new(provider) }))
    })
}

fn rule(at: &At<'_>) -> Option<Rule> {
    let such = "{ claim: groups, value: ops, role: operator, devices: all }";
    at.object("Row: whoever has the value gets the role.", such, |rule| {
        let claim = rule.required(
            "claim",
            "Claim of the ID token: its name, or a JSON pointer such as `/realm_access/roles`.",
            "which claim, such as groups",
            claim,
        );
        let value = rule.required(
            "value",
            "Value of the claim, or one of its values if it is a list; upper and lower case count.",
            "which value, such as ops",
            |at| text(at, 1).map(Box::<str>::from),
        );
        let role = rule.required(
            "role",
            "Role that is given.",
            "which role, such as operator",
            |at| at.word(&ROLES),
        );
        let devices = rule.required(
            "devices",
            "Devices that the role reaches: `all`, or a selector of labels. With a selector, what is about the tenant as a whole is not allowed.",
            "which devices it reaches: all, or such as { matchLabels: { site: kiel } }",
            devices,
        );
        Some(Rule { claim: claim?, value: value?, role: role?, devices: devices? })
    })
}

fn secret(at: &At<'_>) -> Option<ClientSecret> {
    if at.value() == HIDDEN {
        return Some(ClientSecret::Kept);
    }
    text(at, 1).map(|text| ClientSecret::Plain(text.into()))
}

fn scope(at: &At<'_>) -> Option<Box<str>> {
    at.parsed(|text| {
        let good = !text.is_empty() && text.len() <= 100;
        let signs = text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        if good && signs { Ok(text.into()) } else { Err("not a scope, such as profile") }
    })
}

fn claim(at: &At<'_>) -> Option<Box<str>> {
    at.parsed(|text| {
        let good = !text.is_empty() && text.len() <= 200 && !text.chars().any(char::is_control);
        if good { Ok(text.into()) } else { Err("not the name of a claim, such as groups") }
    })
}

/// Reason why a text is no address of the pages.
#[derive(Debug, thiserror::Error)]
enum NoPages {
    /// It is no address that may be asked.
    #[error(transparent)]
    Unsafe(#[from] UnsafeAddress),
    /// It has a path, a query or another scheme.
    #[error("not an address of pages: https://HOST or https://HOST:PORT")]
    Form,
}

/// Address without a path, as the callback is put behind it.
fn own_address(text: &str) -> Result<Box<str>, NoPages> {
    let url = check_address(text)?;
    if url.scheme() != "https" || url.path() != "/" || url.query().is_some() {
        return Err(NoPages::Form);
    }
    Ok(text.trim_end_matches('/').into())
}
