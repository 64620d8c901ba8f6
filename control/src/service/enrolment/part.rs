//! The state of the enrolment part: what devices and people are told about the control plane, and
//! whether it must be restarted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use holdfast_base::ids::hex;
use tokio::time::Instant;

use crate::api;
use crate::api::time::rfc3339;
use crate::core::nonce::Nonces;
use crate::core::rights::{Action, Actor};
use crate::ports::authority::Authority;
use crate::service::Failure;
use crate::service::counters::EnrolmentCounters;
use crate::service::documents::Documents;
use crate::service::rights::may;

/// What devices and people are told of where the control plane is, and for how long a device is
/// certified.
#[derive(Debug)]
pub(in crate::service) struct Terms {
    /// Life of a device's certificate, in seconds.
    pub(in crate::service) device_ttl: u64,
    /// Addresses that devices connect to for MQTT.
    pub(in crate::service) mqtt: Vec<String>,
    /// Address that the API listens on.
    pub(in crate::service) api: Option<String>,
    /// Addresses of the API that other machines can reach.
    pub(in crate::service) addresses: Vec<String>,
}

/// Enrolment of devices, and what they are told about the control plane.
pub struct Enrolment {
    pub(super) documents: Arc<Documents>,
    pub(super) authority: Arc<dyn Authority>,
    pub(super) terms: Terms,
    /// True when a restored backup has another CA, so that this process must be restarted.
    pub(super) restart_needed: AtomicBool,
    pub(super) counters: EnrolmentCounters,
    /// Nonces of renewals; None until the first is asked for.
    pub(super) nonces: Mutex<Option<Nonces>>,
    /// Beginning of the times of nonces.
    pub(super) began: Instant,
}

impl std::fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolment").field("terms", &self.terms).finish_non_exhaustive()
    }
}

impl Enrolment {
    pub(in crate::service) fn new(
        documents: Arc<Documents>,
        authority: Arc<dyn Authority>,
        terms: Terms,
    ) -> Self {
        let (restart_needed, counters) = (AtomicBool::new(false), EnrolmentCounters::default());
        let (nonces, began) = (Mutex::default(), Instant::now());
        Self { documents, authority, terms, restart_needed, counters, nonces, began }
    }

    /// Counters of enrolment.
    pub fn counters(&self) -> &EnrolmentCounters {
        &self.counters
    }

    /// Certificate authority and signing key.
    pub fn authority(&self) -> &dyn Authority {
        &*self.authority
    }

    /// Returns true after a restore that brought another CA.
    pub fn needs_restart(&self) -> bool {
        self.restart_needed.load(Ordering::Relaxed)
    }

    /// Notes that the documents belong to another CA now: no device enrols before a restart.
    pub(in crate::service) fn need_restart(&self) {
        self.restart_needed.store(true, Ordering::Relaxed);
    }

    /// Returns the control plane's version, tenant, addresses and CA.
    ///
    /// # Errors
    /// Returns [`Failure::Internal`] when the CA's certificate cannot be read.
    pub fn about(&self, actor: &Actor) -> Result<api::About, Failure> {
        may(actor, Action::DescribeControlPlane, "")?;
        let authority = &self.authority;
        let ca = api::Authority {
            sha256: hex(&authority.ca_sha256()),
            pem: self.ca_pem(),
            not_after: rfc3339(authority.ca_end().map_err(Failure::internal)?),
        };
        let model = self.documents.model(&actor.tenant);
        Ok(api::About {
            version: env!("CARGO_PKG_VERSION").into(),
            epoch: model.meta.epoch,
            resource_version: model.meta.version,
            started_at: rfc3339(self.documents.started()),
            trust_domain: authority.trust_domain().to_owned(),
            tenant: model.tenant.to_string(),
            api_address: self.terms.api.clone(),
            addresses: self.terms.addresses.clone(),
            ca,
            server_certificate_not_after: authority.server_end().map(rfc3339),
        })
    }

    /// CA certificate in PEM.
    pub fn ca_pem(&self) -> String {
        self.authority.keys().ca_pem.clone()
    }
}
