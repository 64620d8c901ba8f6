//! Enrols many devices, several at a time, as provisioning scripts would.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, anyhow, bail};
use holdfast_base::ids::hex;
use holdfast_protocol::enrol::EnrolToken;

use super::Identity;
use super::identity::new_key;
use crate::harness::Https;

/// Number of concurrent requests: enough to keep two cores busy.
const AT_ONCE: usize = 8;

/// Returns the address of `https://host:port`.
///
/// # Errors
/// Fails if the text is no such URL, or its host is unknown.
pub fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let rest = url.strip_prefix("https://").context("the URL begins with https://")?;
    let host = rest.trim_end_matches('/');
    let mut addresses =
        host.to_socket_addrs().with_context(|| format!("{host}: which address?"))?;
    addresses.next().with_context(|| format!("{host} has no address"))
}

/// Enrols devices `<prefix>-0` ... with one token, whose uses must suffice.
///
/// # Errors
/// Returns the first refusal.
pub fn enrol(
    api: SocketAddr,
    token: &str,
    prefix: &str,
    devices: usize,
) -> anyhow::Result<Vec<Identity>> {
    let ca = token.parse::<EnrolToken>().context("the token")?.ca_sha256;
    let https = Https::new(api, &hex(&ca), None);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(devices)));
    let one = |number: usize| {
        let name = format!("{prefix}-{number}");
        Identity::enrol(&https, new_key(), token, Some(&name)).map_err(|answer| match answer {
            Some(answer) => {
                let said = String::from_utf8_lossy(&answer.body).into_owned();
                anyhow!("{name} was refused with {}: {said}", answer.status)
            }
            None => anyhow!("{name}: no answer from {api}"),
        })
    };
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= devices {
                return Ok(());
            }
            let identity = one(number)?;
            done.lock().unwrap_or_else(PoisonError::into_inner).push(identity);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(_) => bail!("a worker panicked"),
        })
    })?;
    Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Returns the address of the devices' broker: the first that enrolment named.
///
/// # Errors
/// Fails if enrolment named none, or its host is unknown.
pub fn broker(api: SocketAddr, identity: &Identity) -> anyhow::Result<SocketAddr> {
    let first = identity.enrolment.mqtt.first().context("enrolment named no broker")?;
    if let Some(port) = first.strip_prefix(':') {
        return Ok(SocketAddr::new(api.ip(), port.parse().context("the broker's port")?));
    }
    let mut addresses =
        first.to_socket_addrs().with_context(|| format!("{first}: which address?"))?;
    addresses.next().with_context(|| format!("{first} has no address"))
}
