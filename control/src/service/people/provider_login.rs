//! Login of people by an identity provider: in a browser with a code, and what an ID token is worth.
//!
//! See decision 0165.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::Name;

use super::known::{Found, KEPT, KEPT_AT_BEGIN};
use super::part::{People, Tried};
use crate::api::{self, LoginProvider, LoginProviders};
use crate::core::granted;
use crate::core::oidc::{
    BadAnswer, BadToken, Claims, Expected, Form, NoRole, Ticket, Where, code_form, id_token,
    secret_context, verify,
};
use crate::core::people;
use crate::core::records::{Policy, PolicyKind, SessionRecord};
use crate::core::session::Secret;
use crate::core::throttle::network;
use crate::service::Failure;
use crate::service::access::Client;

/// What a provider sends a browser back with.
#[derive(Debug, Clone, Default)]
pub struct Callback {
    /// Code that is exchanged for tokens.
    pub code: Option<String>,
    /// State of the login.
    pub state: Option<String>,
    /// Error, as a word.
    pub error: Option<String>,
    /// Error in words.
    pub error_description: Option<String>,
    /// Issuer that answers.
    pub iss: Option<String>,
}

/// Login that a browser has to go on with at the provider.
#[derive(Debug, Clone)]
pub struct BegunLogin {
    /// Address at the provider.
    pub address: String,
    /// Value of `Set-Cookie`: the ticket.
    pub cookie: String,
}

/// Login that a provider has ended well.
#[derive(Debug)]
pub struct ProviderLogin {
    /// Secret of the session.
    pub secret: Secret,
    /// Path of the page to go back to.
    pub back: String,
}

impl People {
    /// Lists the names of a tenant's identity providers. An unknown tenant has none.
    pub fn login_providers(&self, tenant: Option<&str>) -> LoginProviders {
        let tenant = match tenant {
            None => self.documents.first_tenant().clone(),
            Some(tenant) => match tenant.parse() {
                Ok(tenant) => tenant,
                Err(_) => return LoginProviders::default(),
            },
        };
        let model = self.documents.model(&tenant);
        let all = model.policies.keys().filter(|(kind, _)| *kind == PolicyKind::IdentityProvider);
        let items = all.map(|(_, name)| LoginProvider { name: name.to_string() }).collect();
        LoginProviders { items }
    }

    /// Finds a provider.
    pub(super) fn provider(&self, tenant: Option<&str>, name: &str) -> Result<Found, Failure> {
        let none = || Failure::no("identity provider", name);
        let tenant: Name = match tenant {
            None => self.documents.first_tenant().clone(),
            Some(tenant) => tenant.parse().map_err(|_| none())?,
        };
        let name: Name = name.parse().map_err(|_| none())?;
        let (provider, revision) = {
            let model = self.documents.model(&tenant);
            let known = model.policies.get(&(PolicyKind::IdentityProvider, name.clone()));
            let record = &known.ok_or_else(none)?.record;
            match &record.policy {
                Policy::IdentityProvider { provider } => ((**provider).clone(), record.revision),
                _ => return Err(none()),
            }
        };
        Ok(Found { tenant, name, provider, revision })
    }

    /// Opens the secret of this control plane at a provider.
    pub(super) fn client_secret(&self, found: &Found) -> Result<Option<String>, Failure> {
        use crate::core::oidc::ClientSecret::Sealed;
        let Some(Sealed(sealed)) = &found.provider.client_secret else { return Ok(None) };
        let open = || {
            let sealed = STANDARD.decode(&**sealed).ok()?;
            let context = secret_context(&found.tenant, &found.name);
            String::from_utf8(self.keyring.open(&context, &sealed).ok()?).ok()
        };
        open().map(Some).ok_or_else(|| {
            found.unreached("its client secret cannot be opened: an admin has to write it again")
        })
    }

    /// Begins a login in a browser. `host` is the address that the browser asked.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown provider, and [`Failure::Unavailable`] when it
    /// cannot be asked.
    pub async fn begin_login(
        &self,
        provider: &str,
        (tenant, back): (Option<&str>, Option<&str>),
        host: &str,
    ) -> Result<BegunLogin, Failure> {
        let found = self.provider(tenant, provider)?;
        let now = self.documents.now();
        let (discovery, _) = self.providers.of(&found, now, KEPT_AT_BEGIN).await?;
        let random: [u8; 32] = self.authority.random().map_err(Failure::internal)?;
        let at = Where {
            tenant: found.tenant.clone(),
            provider: found.name.clone(),
            back: back.unwrap_or("/").to_owned(),
        };
        let (ticket, key) = (Ticket::new(at, now, random), &self.providers.key);
        let (state, nonce, challenge) =
            (ticket.state(key), ticket.nonce(key), ticket.challenge(key));
        let redirect = redirect(&found, host);
        let url = discovery.login(&found.provider, &redirect, (&state, &nonce, &challenge));
        Ok(BegunLogin { address: url.into(), cookie: ticket.cookie() })
    }

    /// Ends a login in a browser: exchanges the code, verifies the ID token and begins the session.
    ///
    /// # Errors
    /// Returns [`Failure::Unauthorized`] when the login does not count, and
    /// [`Failure::Unavailable`] when the provider cannot be asked.
    pub async fn finish_login(
        &self,
        provider: &str,
        (ticket, answer): (Option<Ticket>, &Callback),
        host: &str,
        from: &Client,
    ) -> Result<ProviderLogin, Failure> {
        let (key, now) = (&self.providers.key, self.documents.now());
        let ticket = ticket.ok_or(crate::core::oidc::BadTicket::None);
        let ticket = ticket.and_then(|ticket| {
            let state = answer.state.as_deref().unwrap_or_default();
            ticket.check(key, provider, state, now).map(|()| ticket)
        });
        let shown: String = provider.chars().take(63).collect();
        let ticket = ticket
            .map_err(|why| Failure::Unauthorized(format!("identity provider {shown}: {why}")))?;
        let found = self.provider(Some(ticket.at.tenant.as_str()), provider)?;
        if let Some(error) = &answer.error {
            return Err(found.failed(BadAnswer::said(error, answer.error_description.as_deref())));
        }
        let (discovery, _) = self.providers.of(&found, now, KEPT).await?;
        // RFC 9207: another provider's answer must not be taken for this one's.
        let issuer = answer.iss.as_deref();
        if issuer.map_or(discovery.names_issuer, |issuer| *issuer != *found.provider.issuer) {
            return Err(found.failed("the answer comes from another issuer (iss)"));
        }
        let code = answer.code.as_deref().filter(|code| !code.is_empty() && code.len() <= 4_096);
        let code = code.ok_or_else(|| found.failed("its answer has no code"))?;
        let secret = self.client_secret(&found)?;
        let form =
            Form { discovery: &discovery, provider: &found.provider, secret: secret.as_deref() };
        let body = code_form(&form, code, &redirect(&found, host), &ticket.verifier(key));
        let given = self.providers.ask(&found, discovery.token.as_str(), Some(&body)).await?;
        let token = id_token(given.status, &given.bytes).map_err(|why| found.failed(why))?;
        let (secret, _) = self.enter(&found, &token, Some(&ticket.nonce(key)), from).await?;
        Ok(ProviderLogin { secret, back: ticket.at.back })
    }

    /// Begins the session of whoever an ID token is of.
    pub(super) async fn enter(
        &self,
        found: &Found,
        token: &str,
        nonce: Option<&str>,
        from: &Client,
    ) -> Result<(Secret, api::Session), Failure> {
        let tried: Tried =
            (network(from.address), format!("{}/@{}", found.tenant, found.name).into());
        self.wait(&tried)?;
        let entered = match self.claims(found, token, nonce).await {
            Ok(claims) => {
                self.judged(found, &claims).map_err(|(person, no)| (person, no.to_string()))
            }
            Err(Judged::Bad(bad)) => Err((None, bad.to_string())),
            Err(Judged::Failed(failure)) => return Err(failure),
        };
        let record = match entered {
            Ok(record) => record,
            Err((person, why)) => {
                let by = people::caller(&format!("{}@{}", person.unwrap_or_default(), found.name));
                self.failed(tried, &by, &found.tenant);
                return Err(found.failed(why));
            }
        };
        self.access.begin(&found.tenant, record, from, |_| Ok(())).await
    }

    /// Verifies an ID token, with newer keys if need be.
    async fn claims(
        &self,
        found: &Found,
        token: &str,
        nonce: Option<&str>,
    ) -> Result<Claims, Judged> {
        let now = self.documents.now();
        let (_, keys) = self.providers.of(found, now, KEPT).await.map_err(Judged::Failed)?;
        let provider = &found.provider;
        let expected =
            Expected { issuer: &provider.issuer, client: &provider.client_id, nonce, now };
        match verify(token, &keys, &expected) {
            Err(unknown @ BadToken::UnknownKey(_)) => {
                let newer = self.providers.newer_keys(found, now).await.map_err(Judged::Failed)?;
                let keys = newer.ok_or(Judged::Bad(unknown))?;
                verify(token, &keys, &expected).map_err(Judged::Bad)
            }
            other => other.map_err(Judged::Bad),
        }
    }

    /// Decides what the claims of a person are worth.
    fn judged(
        &self,
        found: &Found,
        claims: &Claims,
    ) -> Result<SessionRecord, (Option<Box<str>>, NoRole)> {
        let provider = &found.provider;
        let name = provider.person(claims).map_err(|no| (None, no))?;
        let person = format!("{name}@{}", found.name);
        let given = provider.grants(found.name.as_str(), claims);
        let bound = || !granted::grants(&self.documents.model(&found.tenant), &person).is_empty();
        if given.is_empty() && !bound() {
            let seen = provider.seen(claims);
            return Err((Some(name), NoRole::Rules { person, seen }));
        }
        Ok(SessionRecord {
            person: Some(person.into()),
            given,
            issuer: Some(provider.issuer.clone()),
            ..SessionRecord::default()
        })
    }
}

/// Why there are no claims.
enum Judged {
    /// The token is not believed.
    Bad(BadToken),
    /// The provider cannot be asked.
    Failed(Failure),
}

/// Address that the provider sends the browser back to.
fn redirect(found: &Found, host: &str) -> String {
    let own = format!("https://{host}");
    let base = found.provider.address.as_deref().unwrap_or(&own);
    format!("{base}/api/v1/login/{}/callback", found.name)
}
