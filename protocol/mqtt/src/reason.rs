//! Why a connection, or one packet on it, is refused.

use std::fmt;

use super::Version;

/// Reason codes of MQTT 5 that this server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Nothing wrong.
    Success = 0x00,
    /// None of the others.
    Unspecified = 0x80,
    /// Cannot be taken apart.
    Malformed = 0x81,
    /// Well formed, not allowed there.
    Protocol = 0x82,
    /// Well formed, not taken by this server.
    Implementation = 0x83,
    /// Neither 3.1.1 nor 5.
    UnsupportedVersion = 0x84,
    /// The client id is not the one that this client must use.
    ClientId = 0x85,
    /// Bad user name or password.
    BadCredentials = 0x86,
    /// Not allowed to this client.
    NotAuthorized = 0x87,
    /// Not now.
    Unavailable = 0x88,
    /// The server stops.
    ShuttingDown = 0x8B,
    /// No enhanced authentication is offered.
    BadAuthMethod = 0x8C,
    /// Silent for one and a half times the keep-alive.
    KeepAliveTimeout = 0x8D,
    /// A newer connection of the same client.
    TakenOver = 0x8E,
    /// Not a topic filter.
    FilterInvalid = 0x8F,
    /// Not a topic name.
    TopicInvalid = 0x90,
    /// PUBREL names no publish that waits for it.
    NoPacketId = 0x92,
    /// None is offered.
    TopicAliasInvalid = 0x94,
    /// Larger than announced.
    PacketTooLarge = 0x95,
    /// More than this server keeps.
    Quota = 0x97,
    /// An operator's decision.
    Administrative = 0x98,
    /// The payload is not of the content type that it names.
    PayloadFormat = 0x99,
    /// More than QoS 1.
    QosNotSupported = 0x9B,
    /// No shared subscriptions.
    SharedSubscriptions = 0x9E,
    /// No subscription identifiers.
    SubscriptionIdentifiers = 0xA1,
}

impl Code {
    /// As the byte of MQTT 5.
    pub fn byte(self) -> u8 {
        self as u8
    }

    /// As CONNACK's return code of MQTT 3.1.1, where it has one; without, the connection is
    /// closed in silence.
    pub(super) fn return_code(self) -> Option<u8> {
        match self {
            Self::UnsupportedVersion => Some(1),
            Self::ClientId => Some(2),
            Self::Unavailable | Self::ShuttingDown | Self::Quota => Some(3),
            Self::BadCredentials | Self::BadAuthMethod => Some(4),
            Self::NotAuthorized | Self::Administrative => Some(5),
            _ => None,
        }
    }
}

/// A code with words for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What the client is told.
    pub code: Code,
    /// What the log says, and the client too where the version has a place for it.
    pub text: &'static str,
}

impl Fault {
    /// From its parts.
    pub const fn new(code: Code, text: &'static str) -> Self {
        Self { code, text }
    }

    pub(super) const fn malformed(text: &'static str) -> Self {
        Self::new(Code::Malformed, text)
    }

    pub(super) const fn protocol(text: &'static str) -> Self {
        Self::new(Code::Protocol, text)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02x})", self.text, self.code.byte())
    }
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client said goodbye.
    Goodbye,
    /// The transport ended without a goodbye.
    Lost,
    /// CONNECT was refused; of which version, when that much was understood.
    Refused(Fault, Option<Version>),
    /// Ended by this server, for this reason.
    Fault(Fault),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goodbye => f.write_str("disconnected by the device"),
            Self::Lost => f.write_str("connection lost"),
            Self::Refused(fault, _) => write!(f, "refused: {fault}"),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}
