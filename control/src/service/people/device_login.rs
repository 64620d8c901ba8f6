//! Logins of the command line by an identity provider (device flow). They are asked for again and
//! again with a handle, and bounded in number.

use holdfast_base::ids::{hex, unhex};

use super::known::{KEPT, KEPT_AT_BEGIN};
use super::part::People;
use super::waiting::{Asked, Waiting, over};
use crate::api::{DeviceLogin, DeviceLoginState, NewDeviceLogin};
use crate::core::oidc::{DeviceBegun, DeviceState, Form, begin_device, device_form, device_state};
use crate::core::throttle::network;
use crate::service::Failure;
use crate::service::access::Client;

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
