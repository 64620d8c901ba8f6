//! What the service is given at its start: its settings, and the ports that it stands on.

use std::sync::Arc;

use holdfast_base::ids::Name;

use super::alarms::Notifier;
use super::audit::AuditSender;
use super::documents::Uptime;
use super::people::ProviderHttp;
use crate::ports::artifacts::ArtifactSizes;
use crate::ports::authority::Authority;
use crate::ports::bus::Bus;
use crate::ports::data_store::DataStore;
use crate::ports::keyring::ManagedKeyring;
use crate::ports::passwords::Passwords;
use crate::ports::store::Store;

/// Settings of the service, fixed at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the tenant that a new store begins with.
    pub tenant: Name,
    /// Life of a device's certificate, in seconds.
    pub device_ttl: u64,
    /// Addresses that devices connect to for MQTT.
    pub mqtt: Vec<String>,
    /// Address that the API listens on.
    pub api: Option<String>,
    /// Addresses of the API that other machines can reach.
    pub addresses: Vec<String>,
    /// Free space on the data folder's disk that data may not use, in bytes. `None` for the
    /// default.
    pub reserve: Option<u64>,
    /// Clock, in seconds since 1970.
    pub clock: fn() -> u64,
    /// Monotonic clock, by which this process judges how long it holds its lease.
    pub uptime: Uptime,
}

/// What the service stands on: its ports.
pub struct Ports {
    /// Store of documents and leases.
    pub store: Arc<dyn Store>,
    /// Store of data records.
    pub data: Arc<dyn DataStore>,
    /// Connection to the devices.
    pub bus: Arc<dyn Bus>,
    /// Certificate authority and signing key.
    pub authority: Arc<dyn Authority>,
    /// Keyring that seals what is secret in the store.
    pub keyring: Arc<dyn ManagedKeyring>,
    /// Hashes and checks passwords.
    pub passwords: Arc<dyn Passwords>,
    /// Artifacts that devices fetch.
    pub artifacts: Arc<dyn ArtifactSizes>,
    /// Delivery of messages about alarms.
    pub notifier: Arc<dyn Notifier>,
    /// Questions to identity providers.
    pub providers: Arc<dyn ProviderHttp>,
    /// Forwarding of the audit log.
    pub sender: Arc<dyn AuditSender>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}
