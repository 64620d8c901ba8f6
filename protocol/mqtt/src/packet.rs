//! Packets of a connected client, in one form for both versions. Packets that the parser accepts
//! and the standard forbids are refused here.

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{Property, Qos, RetainHandling, SubEntry, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};

use super::Version;
use super::filter::{MAX_TOPIC, is_filter, is_topic_name};
use super::frame::Kind;
use super::reason::{Code, Fault};

/// Largest properties of a PUBLISH, in bytes: many small properties take twenty times more memory
/// when parsed, and none of them is used.
const MAX_PROPERTIES: usize = 8 * 1024;

/// Packet of a connected client.
pub(super) enum Packet {
    Publish(Publish),
    Puback { packet_id: u16 },
    Pubrel { packet_id: u16 },
    Subscribe { packet_id: u16, entries: Vec<Wish> },
    Unsubscribe { packet_id: u16, filters: Vec<String> },
    Pingreq,
    Disconnect { with_will: bool, session_expiry: bool },
}

/// A PUBLISH to any topic.
pub(super) struct Publish {
    pub(super) topic: String,
    /// Packet id; None for QoS 0.
    pub(super) packet_id: Option<u16>,
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// Content type that the client names for the payload (v5).
    pub(super) content_type: Option<Box<str>>,
    pub(super) payload: Bytes,
}

/// Subscription that a client asks for.
pub(super) struct Wish {
    pub(super) filter: String,
    /// Highest QoS of the messages to it, 0 or 1.
    pub(super) qos: u8,
    /// True: the retain flag stays as it was published (v5).
    pub(super) retain_as_published: bool,
    /// True: the client does not want its own messages (v5).
    pub(super) no_local: bool,
    /// Retained messages to send at once (v5).
    pub(super) retained: Wanted,
}

/// Retained messages that a subscription asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Always,
    IfNew,
    Never,
}

/// Maps an error of the parser to the fault that the client is told.
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

/// Parses a packet. A second CONNECT is refused here.
pub(super) fn parse(version: Version, kind: Kind, flags: u8, body: &[u8]) -> Result<Packet, Fault> {
    match (kind, version) {
        (Kind::Connect, _) => Err(Fault::protocol("a second CONNECT")),
        (Kind::Pingreq, _) => Ok(Packet::Pingreq),
        (Kind::Publish, _) => publish(version, flags, body),
        (Kind::Puback, _) => puback(version, body),
        (Kind::Pubrel, _) => pubrel(version, body),
        (Kind::Subscribe, _) => subscribe(version, body),
        (Kind::Unsubscribe, _) => unsubscribe(version, body),
        (Kind::Disconnect, _) => disconnect(version, body),
    }
}

/// Reader of a packet's body, from its beginning.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let cut = Fault::malformed("a packet cut short");
        let (taken, rest) = self.0.split_at_checked(count).ok_or(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, Fault> {
        let bytes = self.take(2)?;
        Ok(bytes.iter().fold(0, |value, &byte| value << 8 | u16::from(byte)))
    }

    fn binary(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    fn text(&mut self) -> Result<&'a str, Fault> {
        let text = std::str::from_utf8(self.binary()?)
            .map_err(|_| Fault::malformed("a text that is not UTF-8"))?;
        if text.contains('\0') { Err(NUL) } else { Ok(text) }
    }

    /// Reads a variable byte integer.
    fn length(&mut self) -> Result<usize, Fault> {
        let mut value = 0_usize;
        for index in 0..4 {
            let byte = self.take(1)?.first().copied().unwrap_or_default();
            value |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::malformed("a length of more than four bytes"))
    }
}

/// Parses a PUBLISH. The session checks whether its topic is a valid name.
fn publish(version: Version, flags: u8, body: &[u8]) -> Result<Packet, Fault> {
    let mut body = Body(body);
    let topic = body.text()?;
    let qos = (flags >> 1) & 3;
    let packet_id = if qos == 0 { None } else { Some(body.u16()?) };
    if packet_id == Some(0) {
        return Err(PACKET_ID_0);
    }
    let mut content_type = None;
    if version == Version::V5 {
        let length = body.length()?;
        if length > MAX_PROPERTIES {
            return Err(Fault::new(Code::Quota, "too many properties in a publish"));
        }
        content_type = publish_properties(Body(body.take(length)?))?;
        if topic.is_empty() {
            return Err(Fault::protocol("a publish without topic and topic alias"));
        }
    }
    Ok(Packet::Publish(Publish {
        topic: topic.to_owned(),
        packet_id,
        qos,
        retain: flags & 1 != 0,
        content_type: content_type.map(Box::from),
        payload: Bytes::copy_from_slice(body.0),
    }))
}

/// Checks the properties of a PUBLISH and returns the content type.
fn publish_properties(mut body: Body<'_>) -> Result<Option<&str>, Fault> {
    let mut content_type = None;
    let mut seen = 0_u64;
    while let Some(&id) = body.0.first() {
        body.take(1)?;
        match id {
            1 if body.take(1)?.first().is_some_and(|&format| format > 1) => {
                return Err(Fault::protocol("a payload format that is none"));
            }
            1 => {}
            2 => drop(body.take(4)?),
            3 => content_type = Some(body.text()?),
            8 if !is_topic_name(body.text()?) => {
                return Err(Fault::new(Code::TopicInvalid, "the response topic is no topic name"));
            }
            8 => {}
            9 => drop(body.binary()?),
            0x23 if body.u16()? == 0 => return Err(Fault::protocol("topic alias 0")),
            0x23 => {
                return Err(Fault::new(Code::TopicAliasInvalid, "topic aliases are not offered"));
            }
            0x26 => {
                body.text()?;
                body.text()?;
                continue; // the only one that may come again
            }
            0x0b => return Err(Fault::protocol("a subscription identifier from a client")),
            0x11..=0x2a => return Err(Fault::protocol("a property of another packet")),
            _ => return Err(Fault::malformed("an unknown property")),
        }
        if seen & (1 << id) != 0 {
            return Err(Fault::protocol("a property twice"));
        }
        seen |= 1 << id;
    }
    Ok(content_type)
}

/// Returns topic and packet id of a PUBLISH whose body is too large to be kept. None: more of the
/// beginning is needed.
pub(super) fn beginning(flags: u8, body: &[u8]) -> Option<Result<(String, Option<u16>), Fault>> {
    let mut body = Body(body);
    let topic = body.binary().ok()?;
    let packet_id = if (flags >> 1) & 3 == 0 { None } else { Some(body.u16().ok()?) };
    if packet_id == Some(0) {
        return Some(Err(PACKET_ID_0));
    }
    Some(Ok((String::from_utf8_lossy(topic).chars().take(MAX_TOPIC).collect(), packet_id)))
}

/// Parses a PUBREL. A reason code and properties of version 5 have no effect.
fn pubrel(version: Version, body: &[u8]) -> Result<Packet, Fault> {
    let packet_id = Body(body).u16()?;
    if packet_id == 0 {
        return Err(PACKET_ID_0);
    }
    if version == Version::V311 {
        whole(body, 2)?;
    }
    Ok(Packet::Pubrel { packet_id })
}

const PACKET_ID_0: Fault = Fault::protocol("packet identifier 0");
const NUL: Fault = Fault::malformed("NUL in a text");

fn puback(version: Version, body: &[u8]) -> Result<Packet, Fault> {
    if let [0, 0, ..] = body {
        return Err(PACKET_ID_0);
    }
    let (packet_id, used) = match version {
        Version::V311 => {
            // The parser accepts a reason code too, which only version 5 has.
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
