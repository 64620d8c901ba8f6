//! Topics: `hf/v1/<shard>/<tenant>_<device>/<channel>`.
//!
//! Topics are fixed by the certificate: any broker that takes a certificate's common name for a
//! user name can enforce them with the pattern `hf/v1/+/%u/#`.

use std::fmt;
use std::str::FromStr;

use holdfast_base::ids::DeviceId;

/// Last part of a topic: the kind of message that it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Signed [`crate::message::DesiredState`] to the device, retained.
    Desired,
    /// Signed [`crate::message::Call`] to the device.
    Call,
    /// [`holdfast_records::Acknowledgement`] of data, or [`crate::message::ReportAck`] of a report,
    /// to the device.
    Ack,
    /// [`crate::message::StateReport`] from the device.
    State,
    /// [`holdfast_records::Batch`] from the device.
    Data,
    /// [`crate::message::Reply`] from the device.
    Reply,
    /// [`crate::message::Presence`] from the device, retained; also its last will.
    Presence,
}

impl Channel {
    /// All channels, those to the device first.
    pub const ALL: [Self; 7] = [
        Self::Desired,
        Self::Call,
        Self::Ack,
        Self::State,
        Self::Data,
        Self::Reply,
        Self::Presence,
    ];

    /// Returns the last part of the topic, such as `desired`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Desired => "desired",
            Self::Call => "call",
            Self::Ack => "ack",
            Self::Data => "data",
            Self::State => "state",
            Self::Reply => "reply",
            Self::Presence => "presence",
        }
    }

    /// Returns true if the device publishes on the channel, false if it subscribes to it.
    pub fn is_up(self) -> bool {
        matches!(self, Self::State | Self::Data | Self::Reply | Self::Presence)
    }
}

/// Topic of a device for one channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    /// Shard of the device, assigned at enrolment.
    pub shard: u8,
    /// Device that the topic belongs to.
    pub device: DeviceId,
    /// Kind of message that the topic carries.
    pub channel: Channel,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", prefix(self.shard, &self.device), self.channel.as_str())
    }
}

/// Error for a text that is no topic of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a topic of this protocol: hf/v1/<shard>/<tenant>_<device>/<channel>")]
pub struct NotATopic;

impl FromStr for Topic {
    type Err = NotATopic;
    fn from_str(text: &str) -> Result<Self, NotATopic> {
        let rest = text.strip_prefix("hf/v1/").ok_or(NotATopic)?;
        let mut parts = rest.split('/');
        let (Some(shard), Some(device), Some(channel), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotATopic);
        };
        let number: u8 = shard.parse().map_err(|_| NotATopic)?;
        if number.to_string() != shard {
            return Err(NotATopic); // "+5" and "005" are other spellings of 5
        }
        Ok(Self {
            shard: number,
            device: device.parse().map_err(|_| NotATopic)?,
            channel: Channel::ALL
                .into_iter()
                .find(|known| known.as_str() == channel)
                .ok_or(NotATopic)?,
        })
    }
}

/// Returns the beginning of all the device's topics, with the final `/`.
pub fn prefix(shard: u8, device: &DeviceId) -> String {
    format!("hf/v1/{shard}/{device}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_reads_back() {
        for channel in Channel::ALL {
            let topic = Topic { shard: 255, device: "acme_dev-1".parse().unwrap(), channel };
            assert_eq!(topic.to_string().parse::<Topic>().unwrap(), topic);
        }
    }

    #[test]
    fn only_one_spelling_is_a_topic() {
        for bad in [
            "hf/v1/256/a_b/state",
            "hf/v1/+5/a_b/state",
            "hf/v1/05/a_b/state",
            "hf/v1/5/a_b/state/",
            "hf/v1/5/a_b",
            "hf/v1/5/a/state",
            "hf/v1/5/a_b/other",
            "hf/v1/5/a.b/state",
            "hf/v1/5/a_b_c/state",
            "/hf/v1/5/a_b/state",
            "hf/v1/5/+/state",
            "hf/v1/5/#",
            "hf/v2/5/a_b/state",
        ] {
            assert!(bad.parse::<Topic>().is_err(), "{bad}");
        }
    }
}
