//! Who may do what: asked by the session, answered by a value.

use super::Version;
use super::filter::{is_filter, matches};
use super::reason::{Code, Fault};
use crate::ids::DeviceId;
use crate::topic::{Channel, prefix};

/// What a client says of itself in CONNECT.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// Its client id.
    pub id: &'a str,
    /// Its version.
    pub version: Version,
    /// User name, when given.
    pub user: Option<&'a str>,
    /// Password, when given.
    pub password: Option<&'a [u8]>,
}

/// Who may do what on one connection.
pub trait Policy {
    /// What a topic that the client publishes to means to the host.
    type Route;

    /// May this client connect? Called once; the last will is judged after it.
    ///
    /// # Errors
    /// What the client is told.
    fn connect(&mut self, client: &Client<'_>) -> Result<(), Fault>;

    /// Where a publish (or last will) to this topic goes. None: the client may not.
    fn publish(&self, topic: &str) -> Option<Self::Route>;

    /// May the client subscribe to this (well-formed) filter?
    fn subscribe(&self, filter: &str) -> bool;

    /// What a client is told whose publish to this topic [`Policy::publish`] refused.
    fn refusal(&self, _topic: &str) -> Fault {
        Fault::new(Code::NotAuthorized, "published to a topic that is not its own")
    }

    /// Whether a subscription to `filter` means `topic`: where a host has topics that wildcards
    /// do not reach.
    fn means(&self, filter: &str, topic: &str) -> bool {
        matches(filter, topic)
    }

    /// The client id of a v5 client that gave none. None: it has none.
    fn assigned_id(&self) -> Option<String> {
        None
    }
}

/// A device's own topics, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceTopics {
    prefix: Box<str>,
}

impl DeviceTopics {
    /// Of this device in this shard.
    pub fn new(shard: u8, device: &DeviceId) -> Self {
        Self { prefix: prefix(shard, device).into() }
    }

    /// The client id that a device must use: its name in the certificate. Another id could take
    /// over another device's session.
    ///
    /// # Errors
    /// [`Code::ClientId`].
    pub fn check_client_id(device: &DeviceId, id: &str) -> Result<(), Fault> {
        let same = id
            .split_once('.')
            .is_some_and(|(t, d)| t == device.tenant.as_str() && d == device.device.as_str());
        if same {
            Ok(())
        } else {
            Err(Fault::new(
                Code::ClientId,
                "the client id must be the certificate's common name, <tenant>.<device>",
            ))
        }
    }

    /// The whole topic of a channel.
    pub fn topic(&self, channel: Channel) -> String {
        format!("{}{}", self.prefix, channel.as_str())
    }

    /// The channel that the device may publish on by this topic.
    pub fn publish(&self, topic: &str) -> Option<Channel> {
        let name = topic.strip_prefix(&*self.prefix)?;
        Channel::ALL.into_iter().find(|channel| channel.is_up() && channel.as_str() == name)
    }

    /// Whether the filter stays within the prefix and means at least one channel.
    pub fn subscribe(&self, filter: &str) -> bool {
        let Some(rest) = filter.strip_prefix(&*self.prefix) else { return false };
        is_filter(rest) && Channel::ALL.iter().any(|channel| matches(rest, channel.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> DeviceTopics {
        DeviceTopics::new(7, &"acme.dev".parse().unwrap())
    }

    #[test]
    fn a_device_publishes_its_up_channels_alone() {
        for (topic, channel) in [
            ("hf/v1/7/acme.dev/state", Some(Channel::State)),
            ("hf/v1/7/acme.dev/reply", Some(Channel::Reply)),
            ("hf/v1/7/acme.dev/presence", Some(Channel::Presence)),
            ("hf/v1/7/acme.dev/desired", None),
            ("hf/v1/7/acme.dev/call", None),
            ("hf/v1/7/acme.dev/state/", None),
            ("hf/v1/7/acme.dev/", None),
            ("hf/v1/8/acme.dev/state", None),
            ("hf/v1/7/acme.dev2/state", None),
            ("hf/v1/7/other.dev/state", None),
            ("state", None),
        ] {
            assert_eq!(topics().publish(topic), channel, "{topic}");
        }
    }

    #[test]
    fn a_device_subscribes_within_its_prefix() {
        for (filter, yes) in [
            ("hf/v1/7/acme.dev/desired", true),
            ("hf/v1/7/acme.dev/call", true),
            ("hf/v1/7/acme.dev/#", true),
            ("hf/v1/7/acme.dev/+", true),
            ("hf/v1/7/acme.dev/state", true),
            ("hf/v1/7/acme.dev/other", false),
            ("hf/v1/7/acme.dev/+/x", false),
            ("hf/v1/7/+/desired", false),
            ("hf/v1/+/acme.dev/desired", false),
            ("hf/v1/7/acme.dev", false),
            ("hf/v1/8/acme.dev/#", false),
            ("hf/v1/7/acme.dev2/#", false),
            ("#", false),
        ] {
            assert_eq!(topics().subscribe(filter), yes, "{filter}");
        }
    }

    #[test]
    fn the_client_id_is_the_certificates_name() {
        let device: DeviceId = "acme.dev".parse().unwrap();
        assert!(DeviceTopics::check_client_id(&device, "acme.dev").is_ok());
        for bad in ["", "acme", "acme.dev2", "acme.dev.x", "Acme.dev", "other.dev"] {
            let fault = DeviceTopics::check_client_id(&device, bad).unwrap_err();
            assert_eq!(fault.code, Code::ClientId, "{bad}");
        }
    }
}
