//! Topics that a device may publish and subscribe to at the gateway: its own and nothing else.

use holdfast_base::ids::DeviceId;
use holdfast_mqtt::{Code, Fault, is_filter, matches};
use holdfast_protocol::topic::{Channel, prefix};

/// Rights of a device: its own topics and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceTopics {
    prefix: Box<str>,
}

impl DeviceTopics {
    /// Creates the rights of a device in its shard.
    pub fn new(shard: u8, device: &DeviceId) -> Self {
        Self { prefix: prefix(shard, device).into() }
    }

    /// Checks that the client id is the device's name in its certificate. With another id a client
    /// could take over another device's session.
    ///
    /// # Errors
    /// Returns a fault with [`Code::ClientId`] if it is another id.
    pub fn check_client_id(device: &DeviceId, id: &str) -> Result<(), Fault> {
        if id.parse::<DeviceId>().is_ok_and(|named| named == *device) {
            Ok(())
        } else {
            Err(Fault::new(
                Code::ClientId,
                "the client id must be the certificate's common name, <tenant>_<device>",
            ))
        }
    }

    /// Returns the topic of a channel.
    pub fn topic(&self, channel: Channel) -> String {
        format!("{}{}", self.prefix, channel.as_str())
    }

    /// Returns the channel that the device may publish to by this topic.
    pub fn publish(&self, topic: &str) -> Option<Channel> {
        let name = topic.strip_prefix(&*self.prefix)?;
        Channel::ALL.into_iter().find(|channel| channel.is_up() && channel.as_str() == name)
    }

    /// Returns true if the filter stays within the device's topics and matches at least one
    /// channel.
    pub fn subscribe(&self, filter: &str) -> bool {
        let Some(rest) = filter.strip_prefix(&*self.prefix) else { return false };
        is_filter(rest) && Channel::ALL.iter().any(|channel| matches(rest, channel.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> DeviceTopics {
        DeviceTopics::new(7, &"acme_dev".parse().unwrap())
    }

    #[test]
    fn a_device_publishes_its_up_channels_alone() {
        for (topic, channel) in [
            ("hf/v1/7/acme_dev/state", Some(Channel::State)),
            ("hf/v1/7/acme_dev/reply", Some(Channel::Reply)),
            ("hf/v1/7/acme_dev/presence", Some(Channel::Presence)),
            ("hf/v1/7/acme_dev/desired", None),
            ("hf/v1/7/acme_dev/call", None),
            ("hf/v1/7/acme_dev/state/", None),
            ("hf/v1/7/acme_dev/", None),
            ("hf/v1/8/acme_dev/state", None),
            ("hf/v1/7/acme_dev2/state", None),
            ("hf/v1/7/other_dev/state", None),
            ("state", None),
        ] {
            assert_eq!(topics().publish(topic), channel, "{topic}");
        }
    }

    #[test]
    fn a_device_subscribes_within_its_prefix() {
        for (filter, yes) in [
            ("hf/v1/7/acme_dev/desired", true),
            ("hf/v1/7/acme_dev/call", true),
            ("hf/v1/7/acme_dev/#", true),
            ("hf/v1/7/acme_dev/+", true),
            ("hf/v1/7/acme_dev/state", true),
            ("hf/v1/7/acme_dev/other", false),
            ("hf/v1/7/acme_dev/+/x", false),
            ("hf/v1/7/+/desired", false),
            ("hf/v1/+/acme_dev/desired", false),
            ("hf/v1/7/acme_dev", false),
            ("hf/v1/8/acme_dev/#", false),
            ("hf/v1/7/acme_dev2/#", false),
            ("#", false),
        ] {
            assert_eq!(topics().subscribe(filter), yes, "{filter}");
        }
    }

    #[test]
    fn the_client_id_is_the_certificates_name() {
        let device: DeviceId = "acme_dev".parse().unwrap();
        assert!(DeviceTopics::check_client_id(&device, "acme_dev").is_ok());
        for bad in ["", "acme", "acme_dev2", "acme_dev_x", "acme.dev", "Acme_dev", "other_dev"] {
            let fault = DeviceTopics::check_client_id(&device, bad).unwrap_err();
            assert_eq!(fault.code, Code::ClientId, "{bad}");
        }
    }
}
