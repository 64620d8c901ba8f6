//! Reasons for which a connection, or one packet on it, is refused.

use std::fmt;

use super::Version;

/// Reason codes of MQTT 5 that this server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// The operation succeeded.
    Success = 0x00,
    /// No other code fits.
    Unspecified = 0x80,
    /// The packet cannot be parsed.
    Malformed = 0x81,
    /// The packet is well formed, but not allowed at this point.
    Protocol = 0x82,
    /// The packet is valid, but not accepted by this server.
    Implementation = 0x83,
    /// The client speaks neither MQTT 3.1.1 nor 5.
    UnsupportedVersion = 0x84,
    /// The client id is not the one that this client must use.
    ClientId = 0x85,
    /// User name or password are wrong.
    BadCredentials = 0x86,
    /// The client has no right to do this.
    NotAuthorized = 0x87,
    /// The server cannot do this now.
    Unavailable = 0x88,
    /// The server is shutting down.
    ShuttingDown = 0x8B,
    /// The client asks for enhanced authentication, which is not offered.
    BadAuthMethod = 0x8C,
    /// The client was silent for one and a half times its keep-alive.
    KeepAliveTimeout = 0x8D,
    /// A newer connection of the same client has replaced this one.
    TakenOver = 0x8E,
    /// The text is not a topic filter.
    FilterInvalid = 0x8F,
    /// The text is not a topic name.
    TopicInvalid = 0x90,
    /// The PUBREL names no publish that waits for it.
    NoPacketId = 0x92,
    /// The client uses a topic alias, which is not offered.
    TopicAliasInvalid = 0x94,
    /// The packet is larger than announced.
    PacketTooLarge = 0x95,
    /// The client asks for more than this server keeps.
    Quota = 0x97,
    /// An operator has decided to close the connection.
    Administrative = 0x98,
    /// The payload is not of the content type that it names.
    PayloadFormat = 0x99,
    /// The client uses QoS 2, which is not offered.
    QosNotSupported = 0x9B,
    /// The client asks for a shared subscription, which is not offered.
    SharedSubscriptions = 0x9E,
    /// The client uses a subscription identifier, which is not offered.
    SubscriptionIdentifiers = 0xA1,
}

impl Code {
    /// Returns the code as the byte of MQTT 5.
    pub fn byte(self) -> u8 {
        self as u8
    }

    /// Returns the code as CONNACK's return code of MQTT 3.1.1. None: that version has no such
    /// code, and the connection is closed without an answer.
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

/// Reason for a refusal, with its text for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Code that the client receives.
    pub code: Code,
    /// Text for the log, and for the client if the MQTT version has a place for it.
    pub text: &'static str,
}

impl Fault {
    /// Creates a fault from its parts.
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

/// Way in which a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client sent DISCONNECT.
    Goodbye,
    /// The transport ended without a DISCONNECT.
    Lost,
    /// The CONNECT was refused; with the client's version if that could be read.
    Refused(Fault, Option<Version>),
    /// The server ended the session for this reason.
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
