//! Logins of the command line by an identity provider (device flow). They are asked for again and
//! again with a handle, and bounded in number.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use holdfast_base::ids::{Name, hex, unhex};

use super::known::{KEPT, KEPT_AT_BEGIN};
use super::part::People;
use crate::api::{DeviceLogin, DeviceLoginState, NewDeviceLogin};
use crate::core::model::sha256;
use crate::core::oidc::{DeviceBegun, DeviceState, Form, begin_device, device_form, device_state};
use crate::core::throttle::{Throttle, network};
use crate::service::Failure;
use crate::service::access::Client;

/// Most device logins that wait for a person.
const MOST: usize = 256;

/// Most of them that were begun from one network.
const MOST_OF_ONE: usize = 16;

/// Seconds that are added to the time between two questions when the provider wants fewer.
const SLOWER: u64 = 5;

/// Device login that waits for a person.
#[derive(Debug, Clone)]
struct Waiting {
    tenant: Name,
    provider: Name,
    revision: u64,
    device_code: String,
    from: IpAddr,
    interval: u64,
    next: u64,
    until: u64,
}

/// Device logins that wait for a person, by the digest of their handle.
#[derive(Debug, Default)]
pub(super) struct DeviceLogins {
    waiting: Mutex<BTreeMap<[u8; 32], Waiting>>,
    begun: Mutex<Throttle<IpAddr>>,
}

/// What a question comes to before the provider is asked.
enum Asked {
    Wait(u64),
    Now(Box<Waiting>),
}

impl DeviceLogins {
    /// Counts a login that is begun, and refuses whoever begins too many.
    fn begin(&self, from: IpAddr, now: u64) -> Result<(), Failure> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seconds) = begun.wait(&from, now) {
            let message =
                format!("too many logins were begun from {from}: try again in {seconds} s");
            return Err(Failure::TooMany { message, seconds });
        }
        begun.failed(from, now);
        Ok(())
    }

    fn add(&self, handle: &[u8; 32], one: Waiting, now: u64) -> Result<(), Failure> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, other| other.until > now);
        let of_one = waiting.values().filter(|other| other.from == one.from).count();
        if waiting.len() >= MOST || of_one >= MOST_OF_ONE {
            let message = "too many logins wait for a person already: try again in 60 s".into();
            return Err(Failure::TooMany { message, seconds: 60 });
        }
        waiting.insert(sha256(handle), one);
        Ok(())
    }

    /// Takes the turn to ask. Others who ask meanwhile are told to wait.
    fn turn(&self, handle: &[u8; 32], provider: &str, now: u64) -> Result<Asked, Failure> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let known = waiting.get_mut(&sha256(handle));
        let known = known.filter(|it| it.until > now && it.provider.as_str() == provider);
        let one = known.ok_or_else(over)?;
        if one.next > now {
            return Ok(Asked::Wait(one.next - now));
        }
        one.next = now + one.interval;
        Ok(Asked::Now(Box::new(one.clone())))
    }

    fn slower(&self, handle: &[u8; 32]) -> u64 {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(one) = waiting.get_mut(&sha256(handle)) else { return SLOWER };
        one.interval += SLOWER;
        one.next += SLOWER;
        one.interval
    }

    fn remove(&self, handle: &[u8; 32]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&sha256(handle));
    }
}

fn over() -> Failure {
    Failure::Unauthorized("there is no such login, or its time is up: begin it again".into())
}

impl People {
    /// Begins a login of the command line by an identity provider.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown provider, [`Failure::Unavailable`] when it
    /// cannot be asked, and [`Failure::TooMany`].
    pub async fn begin_device_login(
        &self,
        provider: &str,
        new: &NewDeviceLogin,
        from: &Client,
    ) -> Result<DeviceLogin, Failure> {
        let found = self.provider(new.tenant.as_deref(), provider)?;
        let (from, now) = (network(from.address), self.documents.now());
        self.providers.devices.begin(from, now)?;
        let (discovery, _) = self.providers.of(&found, now, KEPT_AT_BEGIN).await?;
        let address = discovery.device.as_ref().ok_or_else(|| {
            found.failed("it offers no device flow: log in on the pages, or with an access token")
        })?;
        let secret = self.client_secret(&found)?;
        let provider = &found.provider;
        let form = Form { discovery: &discovery, provider, secret: secret.as_deref() };
        let answer =
            self.providers.ask(&found, address.as_str(), Some(&begin_device(&form))).await?;
        let begun = DeviceBegun::read(answer.status, &answer.bytes);
        let begun = begun.map_err(|why| found.failed(why))?;
        let handle: [u8; 32] = self.authority.random().map_err(Failure::internal)?;
        let waiting = Waiting {
            tenant: found.tenant,
            provider: found.name,
            revision: found.revision,
            device_code: begun.device_code,
            from,
            interval: begun.interval,
            next: now,
            until: now + begun.life,
        };
        self.providers.devices.add(&handle, waiting, now)?;
        Ok(DeviceLogin {
            handle: hex(&handle),
            user_code: begun.user_code,
            verification_uri: begun.address,
            verification_uri_complete: begun.complete,
            expires_in: begun.life,
            interval: begun.interval,
        })
    }

    /// Asks whether the person has logged in, and begins the session then.
    ///
    /// # Errors
    /// Returns [`Failure::Unauthorized`] when the login is over: it took too long, was refused, or
    /// gives no role.
    pub async fn ask_device_login(
        &self,
        provider: &str,
        handle: &str,
        from: &Client,
    ) -> Result<DeviceLoginState, Failure> {
        let handle = unhex::<32>(handle).ok_or_else(over)?;
        let now = self.documents.now();
        let waits = |seconds| DeviceLoginState {
            wait: Some(seconds),
            token: None,
            caller: None,
            roles: Vec::new(),
            expires_at: None,
        };
        let waiting = match self.providers.devices.turn(&handle, provider, now)? {
            Asked::Wait(seconds) => return Ok(waits(seconds)),
            Asked::Now(waiting) => waiting,
        };
        let found = self.provider(Some(waiting.tenant.as_str()), provider)?;
        if found.revision != waiting.revision {
            self.providers.devices.remove(&handle);
            return Err(found.failed("its document was changed meanwhile: begin the login again"));
        }
        let (discovery, _) = self.providers.of(&found, now, KEPT).await?;
        let secret = self.client_secret(&found)?;
        let form =
            Form { discovery: &discovery, provider: &found.provider, secret: secret.as_deref() };
        let body = device_form(&form, &waiting.device_code);
        let answer = self.providers.ask(&found, discovery.token.as_str(), Some(&body)).await?;
        let token = match device_state(answer.status, &answer.bytes) {
            Ok(DeviceState::Pending) => return Ok(waits(waiting.interval)),
            Ok(DeviceState::SlowDown) => return Ok(waits(self.providers.devices.slower(&handle))),
            Ok(DeviceState::Done(token)) => token,
            Err(why) => {
                self.providers.devices.remove(&handle);
                return Err(found.failed(why));
            }
        };
        self.providers.devices.remove(&handle);
        let (secret, session) = self.enter(&found, &token, None, from).await?;
        Ok(DeviceLoginState {
            wait: None,
            token: Some(secret.bearer()),
            caller: Some(session.operator),
            roles: session.roles,
            expires_at: Some(session.expires_at),
        })
    }
}
