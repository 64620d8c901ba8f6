//! What is known of identity providers: their addresses and keys, fetched when they are needed, kept
//! for an hour, and fetched again for a key that is not among them.
//!
//! See decision 0165.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_base::ids::Name;
use tokio::sync::Semaphore;

use super::provider_http::{ProviderAnswer, ProviderAsk, ProviderHttp};
use super::waiting::DeviceLogins;
use crate::core::oidc::{Body, Discovery, Keys, Provider, TicketKey};
use crate::service::Failure;

/// Time for which addresses and keys are kept, in seconds: one hour.
pub(super) const KEPT: u64 = 3_600;

/// Time for which they are kept where a login begins, in seconds: a person who is sent to a provider
/// that is down sees an error of the browser alone.
pub(super) const KEPT_AT_BEGIN: u64 = 10;

/// Shortest time between two fetches of the keys for tokens with an unknown key, in seconds.
const KEYS_EVERY: u64 = 60;

/// Time for which a provider that failed is not asked again, in seconds.
const FAILED_FOR: u64 = 5;

/// Most requests to providers at a time.
const AT_ONCE: usize = 16;

/// Most providers of all tenants that something is kept of. Beyond it all is fetched anew.
const MOST: usize = 1_024;

/// Seconds after which whoever finds all places taken is told to try again.
const AGAIN: u64 = 3;

/// Provider as its document has it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) tenant: Name,
    pub(super) name: Name,
    pub(super) provider: Provider,
    /// Number of the document's content.
    pub(super) revision: u64,
}

impl Found {
    /// Failure of a login by this provider: its name, and what failed.
    pub(super) fn failed(&self, why: impl std::fmt::Display) -> Failure {
        Failure::Unauthorized(format!("identity provider {}: {why}", self.name))
    }

    /// Failure of a login because the provider cannot be asked.
    pub(super) fn unreached(&self, why: impl std::fmt::Display) -> Failure {
        Failure::Unavailable(format!(
            "identity provider {} cannot be asked: {why}. Other ways of logging in go on",
            self.name
        ))
    }
}

/// What was fetched of a provider.
#[derive(Debug, Clone)]
struct Fetched {
    /// Document that it was fetched for. A later tenant of the same name may have another one of the
    /// same number.
    provider: Provider,
    revision: u64,
    discovery: Discovery,
    keys: Keys,
    read_at: u64,
    keys_at: u64,
}

/// State of one provider.
#[derive(Debug, Default)]
struct State {
    fetched: Option<Fetched>,
    /// Time and reason of the last failure, and the content of the document that failed.
    failed: Option<(u64, u64, String)>,
}

type Entry = Arc<tokio::sync::Mutex<State>>;

/// Providers, as far as they are known, and logins by them that are under way.
pub(in crate::service) struct Providers {
    http: Arc<dyn ProviderHttp>,
    pub(super) key: TicketKey,
    pub(super) devices: DeviceLogins,
    places: Semaphore,
    entries: Mutex<BTreeMap<(Name, Name), Entry>>,
}

impl Providers {
    pub(in crate::service) fn new(http: Arc<dyn ProviderHttp>, random: [u8; 32]) -> Self {
        Self {
            http,
            key: TicketKey::new(random),
            devices: DeviceLogins::default(),
            places: Semaphore::new(AT_ONCE),
            entries: Mutex::default(),
        }
    }

    /// Asks a provider, when there is a place.
    pub(super) async fn ask(
        &self,
        found: &Found,
        url: &str,
        body: Option<&Body>,
    ) -> Result<ProviderAnswer, Failure> {
        let _place = self.places.try_acquire().map_err(|_| Failure::TooMany {
            message: format!("{AT_ONCE} logins are being asked of identity providers already: try again in {AGAIN} s"),
            seconds: AGAIN,
        })?;
        let ask = ProviderAsk { url, ca: found.provider.ca.as_deref(), body };
        self.http.ask(ask).await.map_err(|why| found.unreached(why))
    }

    fn entry(&self, found: &Found) -> Entry {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (found.tenant.clone(), found.name.clone());
        if entries.len() >= MOST && !entries.contains_key(&key) {
            entries.clear();
        }
        Arc::clone(entries.entry(key).or_default())
    }

    /// Returns addresses and keys of a provider, the addresses no older than `age` seconds. One
    /// caller fetches, the others wait for it.
    pub(super) async fn of(
        &self,
        found: &Found,
        now: u64,
        age: u64,
    ) -> Result<(Discovery, Keys), Failure> {
        let entry = self.entry(found);
        let mut state = entry.lock().await;
        let state = &mut *state;
        state.fetched.take_if(|fetched| {
            fetched.revision != found.revision || fetched.provider != found.provider
        });
        if let Some(fetched) = &state.fetched
            && now.abs_diff(fetched.read_at) < age
        {
            return Ok((fetched.discovery.clone(), fetched.keys.clone()));
        }
        if let Some((at, revision, why)) = &state.failed
            && *revision == found.revision
            && now.abs_diff(*at) < FAILED_FOR
        {
            return Err(Failure::Unavailable(why.clone()));
        }
        match self.fetch(found, state.fetched.as_ref(), now).await {
            Ok(fetched) => {
                let made = (fetched.discovery.clone(), fetched.keys.clone());
                *state = State { fetched: Some(fetched), failed: None };
                Ok(made)
            }
            Err(failure) => {
                if matches!(failure, Failure::Unavailable(_)) {
                    state.failed = Some((now, found.revision, failure.to_string()));
                }
                Err(failure)
            }
        }
    }

    /// Fetches the keys again, for a token whose key is not among them. None: they were fetched just
    /// now.
    pub(super) async fn newer_keys(
        &self,
        found: &Found,
        now: u64,
    ) -> Result<Option<Keys>, Failure> {
        let entry = self.entry(found);
        let mut state = entry.lock().await;
        let Some(fetched) = &mut state.fetched else { return Ok(None) };
        if now.abs_diff(fetched.keys_at) < KEYS_EVERY {
            return Ok(None);
        }
        // Also when it fails: what is asked for by strangers' tokens is bounded.
        fetched.keys_at = now;
        let keys = self.keys(found, &fetched.discovery).await?;
        fetched.keys = keys.clone();
        Ok(Some(keys))
    }

    /// Fetches the addresses of a provider, and its keys unless the former ones are of the same
    /// address and young enough.
    async fn fetch(
        &self,
        found: &Found,
        former: Option<&Fetched>,
        now: u64,
    ) -> Result<Fetched, Failure> {
        let issuer = &found.provider.issuer;
        let address = Discovery::address(issuer).map_err(|why| found.unreached(why))?;
        let answer = self.ask(found, address.as_str(), None).await?;
        if answer.status != 200 {
            let status = answer.status;
            return Err(found.unreached(format!("{address} answered with status {status}")));
        }
        let discovery =
            Discovery::read(&answer.bytes, issuer).map_err(|why| found.unreached(why))?;
        let same = former.filter(|former| {
            former.discovery.keys == discovery.keys && now.abs_diff(former.keys_at) < KEPT
        });
        let (keys, keys_at) = match same {
            Some(former) => (former.keys.clone(), former.keys_at),
            None => (self.keys(found, &discovery).await?, now),
        };
        let (provider, revision) = (found.provider.clone(), found.revision);
        Ok(Fetched { provider, revision, discovery, keys, read_at: now, keys_at })
    }

    async fn keys(&self, found: &Found, discovery: &Discovery) -> Result<Keys, Failure> {
        let answer = self.ask(found, discovery.keys.as_str(), None).await?;
        if answer.status != 200 {
            let (url, status) = (&discovery.keys, answer.status);
            return Err(found.unreached(format!("{url} answered with status {status}")));
        }
        Keys::read(&answer.bytes).map_err(|why| found.unreached(why))
    }
}
