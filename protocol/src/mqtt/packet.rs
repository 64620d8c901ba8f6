//! The packets of a connected client, one form for both versions. What the parser lets through
//! and the standard forbids is refused here.

use bytes::Bytes;
use mqtt_protocol_core::mqtt::ArcPayload;
use mqtt_protocol_core::mqtt::packet::{Property, Qos, RetainHandling, SubEntry, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};
use std::sync::Arc;

use super::Version;
use super::filter::{is_filter, is_topic_name};
use super::frame::Kind;
use super::reason::{Code, Fault};

/// Largest properties of a PUBLISH, in bytes: the parsed form of many small properties takes
/// twenty times more memory, and we read none of them.
const MAX_PROPERTIES: usize = 8 * 1024;

/// A packet of a connected client.
pub(super) enum Packet {
    Publish { topic: String, packet_id: Option<u16>, retain: bool, payload: Bytes },
    Puback { packet_id: u16 },
    Subscribe { packet_id: u16, entries: Vec<Wish> },
    Unsubscribe { packet_id: u16, filters: Vec<String> },
    Pingreq,
    Disconnect { with_will: bool, session_expiry: bool },
}

/// One subscription that a client asks for.
pub(super) struct Wish {
    pub(super) filter: String,
    /// 0 or 1: what it may get.
    pub(super) qos: u8,
    /// v5: keep the retain flag as published.
    pub(super) retain_as_published: bool,
    /// v5: not what it publishes itself.
    pub(super) no_local: bool,
    /// v5: which retained messages it wants now.
    pub(super) retained: Wanted,
}

/// Which retained messages a subscription asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Always,
    IfNew,
    Never,
}

/// What the parser's errors mean to the client.
pub(super) fn fault_of(error: MqttError) -> Fault {
    match error {
        MqttError::ProtocolError | MqttError::ValueOutOfRange | MqttError::InvalidQos => {
            Fault::protocol("a field that is not allowed there")
        }
        MqttError::TopicFilterInvalid => Fault::new(Code::FilterInvalid, "not a topic filter"),
        MqttError::TopicNameInvalid => Fault::new(Code::TopicInvalid, "not a topic name"),
        MqttError::TopicAliasInvalid => {
            Fault::new(Code::TopicAliasInvalid, "topic aliases are not offered")
        }
        _ => Fault::malformed("packet cannot be taken apart"),
    }
}

/// Takes a packet apart. A second CONNECT is refused here.
pub(super) fn parse(version: Version, kind: Kind, flags: u8, body: &[u8]) -> Result<Packet, Fault> {
    match (kind, version) {
        (Kind::Connect, _) => Err(Fault::protocol("a second CONNECT")),
        (Kind::Pingreq, _) => Ok(Packet::Pingreq),
        (Kind::Publish, Version::V311) => publish_v311(flags, body),
        (Kind::Publish, Version::V5) => publish_v5(flags, body),
        (Kind::Puback, _) => puback(version, body),
        (Kind::Subscribe, _) => subscribe(version, body),
        (Kind::Unsubscribe, _) => unsubscribe(version, body),
        (Kind::Disconnect, _) => disconnect(version, body),
    }
}

/// Keeps a packet's bytes alive for the payload within them.
struct Payload(ArcPayload);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

fn publish_v311(flags: u8, body: &[u8]) -> Result<Packet, Fault> {
    let (packet, _) = v3_1_1::Publish::parse(flags, Arc::from(body)).map_err(fault_of)?;
    publish(packet.topic_name(), packet.packet_id(), packet.retain(), packet.payload())
}

fn publish_v5(flags: u8, body: &[u8]) -> Result<Packet, Fault> {
    check_publish_properties(flags, body)?;
    let (packet, _) = v5_0::Publish::parse(flags, Arc::from(body)).map_err(fault_of)?;
    for property in packet.props() {
        match property {
            Property::TopicAlias(_) => {
                return Err(Fault::new(Code::TopicAliasInvalid, "topic aliases are not offered"));
            }
            Property::SubscriptionIdentifier(_) => {
                return Err(Fault::protocol("a subscription identifier from a client"));
            }
            Property::ResponseTopic(topic) if !is_topic_name(topic.val()) => {
                return Err(Fault::new(Code::TopicInvalid, "the response topic is no topic name"));
            }
            _ => {}
        }
    }
    if packet.topic_name().is_empty() {
        return Err(Fault::protocol("a publish without topic and topic alias"));
    }
    publish(packet.topic_name(), packet.packet_id(), packet.retain(), packet.payload())
}

/// The parser takes a PUBLISH without properties, and any number of them.
fn check_publish_properties(flags: u8, body: &[u8]) -> Result<(), Fault> {
    const CUT: Fault = Fault::malformed("PUBLISH cut short");
    let [high, low, rest @ ..] = body else { return Err(CUT) };
    let topic = usize::from(u16::from_be_bytes([*high, *low]));
    let id = if flags & 6 == 0 { 0 } else { 2 };
    let rest = rest.get(topic + id..).ok_or(CUT)?;
    let length = variable_length(rest).ok_or(CUT)?;
    if length > MAX_PROPERTIES {
        return Err(Fault::new(Code::Quota, "too many properties in a publish"));
    }
    Ok(())
}

/// A variable byte integer; None: cut short or overlong.
fn variable_length(bytes: &[u8]) -> Option<usize> {
    let mut value = 0_usize;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn publish(
    topic: &str,
    packet_id: Option<u16>,
    retain: bool,
    payload: &ArcPayload,
) -> Result<Packet, Fault> {
    if packet_id == Some(0) {
        return Err(PACKET_ID_0);
    }
    if topic.contains('\0') {
        return Err(NUL);
    }
    if !is_topic_name(topic) {
        return Err(Fault::new(Code::TopicInvalid, "not a topic name, or one that is too long"));
    }
    let payload = Bytes::from_owner(Payload(payload.clone()));
    Ok(Packet::Publish { topic: topic.to_owned(), packet_id, retain, payload })
}

const PACKET_ID_0: Fault = Fault::protocol("packet identifier 0");
const NUL: Fault = Fault::malformed("NUL in a text");

fn puback(version: Version, body: &[u8]) -> Result<Packet, Fault> {
    if let [0, 0, ..] = body {
        return Err(PACKET_ID_0);
    }
    let (packet_id, used) = match version {
        Version::V311 => {
            // The parser takes a reason code too, which only version 5 has.
            let [high, low] = body else { return Err(Fault::malformed("PUBACK of a wrong size")) };
            (u16::from_be_bytes([*high, *low]), 2)
        }
        Version::V5 => {
            let (packet, used) = v5_0::Puback::parse(body).map_err(fault_of)?;
            (packet.packet_id(), used)
        }
    };
    whole(body, used)?;
    Ok(Packet::Puback { packet_id })
}

fn subscribe(version: Version, body: &[u8]) -> Result<Packet, Fault> {
    let (packet_id, entries) = match version {
        Version::V311 => {
            let (packet, used) = v3_1_1::Subscribe::parse(body).map_err(fault_of)?;
            whole(body, used)?;
            (packet.packet_id(), wishes(version, packet.entries())?)
        }
        Version::V5 => {
            let (packet, used) = v5_0::Subscribe::parse(body).map_err(fault_of)?;
            whole(body, used)?;
            if packet.props().iter().any(|p| matches!(p, Property::SubscriptionIdentifier(_))) {
                return Err(Fault::new(
                    Code::SubscriptionIdentifiers,
                    "subscription identifiers are not offered",
                ));
            }
            (packet.packet_id(), wishes(version, packet.entries())?)
        }
    };
    if packet_id == 0 {
        return Err(PACKET_ID_0);
    }
    Ok(Packet::Subscribe { packet_id, entries })
}

fn wishes(version: Version, entries: &[SubEntry]) -> Result<Vec<Wish>, Fault> {
    entries.iter().map(|entry| wish(version, entry)).collect()
}

fn wish(version: Version, entry: &SubEntry) -> Result<Wish, Fault> {
    let (filter, options) = (entry.topic_filter(), entry.sub_opts());
    check_filter(filter)?;
    let [byte] = options.to_buffer();
    if version == Version::V311 && byte & !3 != 0 {
        return Err(Fault::malformed("reserved bits in a subscription"));
    }
    if options.nl() && filter.starts_with("$share/") {
        return Err(Fault::protocol("no-local on a shared subscription"));
    }
    Ok(Wish {
        filter: filter.to_owned(),
        qos: u8::from(options.qos() != Qos::AtMostOnce),
        retain_as_published: options.rap(),
        no_local: options.nl(),
        retained: match options.rh() {
            RetainHandling::SendRetained => Wanted::Always,
            RetainHandling::SendRetainedIfNotExists => Wanted::IfNew,
            RetainHandling::DoNotSendRetained => Wanted::Never,
        },
    })
}

fn check_filter(filter: &str) -> Result<(), Fault> {
    if filter.contains('\0') {
        return Err(NUL);
    }
    if !is_filter(filter) {
        return Err(Fault::new(Code::FilterInvalid, "not a topic filter, or one too long"));
    }
    Ok(())
}

fn unsubscribe(version: Version, body: &[u8]) -> Result<Packet, Fault> {
    let (packet_id, filters, used) = match version {
        Version::V311 => {
            let (packet, used) = v3_1_1::Unsubscribe::parse(body).map_err(fault_of)?;
            (packet.packet_id(), owned(packet.entries()), used)
        }
        Version::V5 => {
            let (packet, used) = v5_0::Unsubscribe::parse(body).map_err(fault_of)?;
            (packet.packet_id(), owned(packet.entries()), used)
        }
    };
    whole(body, used)?;
    if packet_id == 0 {
        return Err(PACKET_ID_0);
    }
    filters.iter().try_for_each(|filter| check_filter(filter))?;
    Ok(Packet::Unsubscribe { packet_id, filters })
}

fn owned<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Vec<String> {
    texts.into_iter().map(|text| text.as_ref().to_owned()).collect()
}

fn disconnect(version: Version, body: &[u8]) -> Result<Packet, Fault> {
    if version == Version::V311 {
        if !body.is_empty() {
            return Err(Fault::malformed("DISCONNECT with a body"));
        }
        return Ok(Packet::Disconnect { with_will: false, session_expiry: false });
    }
    let (packet, used) = v5_0::Disconnect::parse(body).map_err(fault_of)?;
    whole(body, used)?;
    let normal =
        matches!(packet.reason_code(), None | Some(DisconnectReasonCode::NormalDisconnection));
    let session_expiry = packet.props().as_ref().is_some_and(|props| {
        props.iter().any(|p| matches!(p, Property::SessionExpiryInterval(v) if v.val() != 0))
    });
    Ok(Packet::Disconnect { with_will: !normal, session_expiry })
}

fn whole(body: &[u8], used: usize) -> Result<(), Fault> {
    if used == body.len() { Ok(()) } else { Err(Fault::malformed("bytes after a packet's end")) }
}
