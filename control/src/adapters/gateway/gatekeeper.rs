//! MQTT policy of a device's connection: the device is the one that its certificate names, must be
//! admitted by the control plane, and may use only its own topics.
//!
//! See decision 0060.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_mqtt::{Client, Code, Fault, Policy};
use holdfast_protocol::topic::Channel;

use super::identity::Identity;
use crate::core::device_topics::DeviceTopics;
use crate::ports::bus::{Admission, Refusal};

/// Reason why a device was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The certificate is not valid now.
    Certificate,
    /// The control plane does not admit the device.
    Admission(Refusal),
}

/// Policy of one connection.
pub(super) struct Gatekeeper {
    pub(super) identity: Identity,
    admission: Arc<dyn Admission>,
    topics: Option<DeviceTopics>,
    pub(super) refused: Option<Why>,
}

impl Gatekeeper {
    pub(super) fn new(identity: Identity, admission: Arc<dyn Admission>) -> Self {
        Self { identity, admission, topics: None, refused: None }
    }

    /// Topic of the device for a channel; `None` until the device is admitted.
    pub(super) fn topic(&self, channel: Channel) -> Option<String> {
        self.topics.as_ref().map(|topics| topics.topic(channel))
    }

    /// Checks that the certificate is valid now. TLS checks its dates in full handshakes only, not
    /// in resumed ones.
    fn check_dates(&self) -> Result<(), Fault> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        if now > self.identity.not_after {
            return Err(Fault::new(
                Code::NotAuthorized,
                "the certificate has expired: renew it over HTTPS",
            ));
        }
        if now < self.identity.not_before {
            return Err(Fault::new(Code::NotAuthorized, "the certificate is not valid yet"));
        }
        Ok(())
    }
}

impl Policy for Gatekeeper {
    type Route = Channel;

    fn connect(&mut self, client: &Client<'_>) -> Result<(), Fault> {
        DeviceTopics::check_client_id(&self.identity.device, client.id)?;
        if let Err(fault) = self.check_dates() {
            self.refused = Some(Why::Certificate);
            return Err(fault);
        }
        match self.admission.admit(&self.identity.device, &self.identity.serial) {
            Ok(shard) => {
                self.topics = Some(DeviceTopics::new(shard, &self.identity.device));
                self.identity.serial = Vec::new();
                Ok(())
            }
            Err(refusal) => {
                self.refused = Some(Why::Admission(refusal));
                let text = match refusal {
                    Refusal::Unknown => "unknown device: it is not enrolled here",
                    Refusal::Pending => "the device waits for approval",
                    Refusal::Revoked => "the device or its certificate is revoked",
                };
                Err(Fault::new(Code::NotAuthorized, text))
            }
        }
    }

    fn publish(&self, topic: &str) -> Option<Channel> {
        self.topics.as_ref()?.publish(topic)
    }

    fn subscribe(&self, filter: &str) -> bool {
        self.topics.as_ref().is_some_and(|topics| topics.subscribe(filter))
    }
}
