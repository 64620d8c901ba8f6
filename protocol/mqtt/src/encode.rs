//! Encoders for the packets that the server sends; they append directly to its output.

use super::Version;
use super::reason::Fault;

/// Returns the bytes of a packet with a body of `body` bytes, as a client's Maximum Packet Size
/// counts them.
pub(super) fn packet_size(body: usize) -> usize {
    1 + match body {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    } + body
}

fn length(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    // The texts of this program are short; a longer one is cut off, so that the packet stays valid.
    let size = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(text.as_bytes().get(..usize::from(size)).unwrap_or_default());
}

fn packet(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    length(out, body.len());
    out.extend_from_slice(body);
}

/// Properties of this server that CONNACK tells to a v5 client.
pub(super) struct Offer {
    pub(super) receive_maximum: u16,
    pub(super) max_packet: usize,
    pub(super) qos_2: bool,
    /// Keep-alive in seconds, if it differs from what the client asked for.
    pub(super) server_keep_alive: Option<u16>,
    /// True: the client asked for a session that outlives the connection, which is not offered.
    pub(super) no_session: bool,
    /// Client id assigned to a client that gave none.
    pub(super) assigned_id: Option<String>,
}

pub(super) fn connack(out: &mut Vec<u8>, version: Version, offer: &Offer) {
    if version == Version::V311 {
        out.extend_from_slice(&[0x20, 2, 0, 0]);
        return;
    }
    let mut props = Vec::with_capacity(32);
    if offer.no_session {
        props.extend_from_slice(&[0x11, 0, 0, 0, 0]);
    }
    if let Some(id) = &offer.assigned_id {
        props.push(0x12);
        text(&mut props, id);
    }
    if offer.receive_maximum != u16::MAX {
        props.push(0x21);
        props.extend_from_slice(&offer.receive_maximum.to_be_bytes());
    }
    if !offer.qos_2 {
        props.extend_from_slice(&[0x24, 1]); // Maximum QoS 1
    }
    let max_packet = u32::try_from(offer.max_packet).unwrap_or(u32::MAX);
    props.push(0x27);
    props.extend_from_slice(&max_packet.to_be_bytes());
    props.extend_from_slice(&[0x29, 0, 0x2a, 0]); // no subscription ids, no shared subscriptions
    if let Some(seconds) = offer.server_keep_alive {
        props.push(0x13);
        props.extend_from_slice(&seconds.to_be_bytes());
    }
    let mut body = vec![0, 0];
    length(&mut body, props.len());
    body.append(&mut props);
    packet(out, 0x20, &body);
}

/// Appends the refusal of a CONNECT; nothing if the version has no code for it.
pub(super) fn refusal(
    out: &mut Vec<u8>,
    version: Option<Version>,
    fault: Fault,
    maximum_packet: usize,
) {
    if version == Some(Version::V5) {
        reason_packet(out, 0x20, &[0, fault.code.byte()], fault.text, maximum_packet);
    } else if let Some(code) = fault.code.return_code()
        && (version.is_some() || code == 1)
    {
        out.extend_from_slice(&[0x20, 2, 0, code]);
    }
}

/// Appends a DISCONNECT; only v5 has one from the server.
pub(super) fn disconnect(out: &mut Vec<u8>, fault: Fault, maximum_packet: usize) {
    reason_packet(out, 0xe0, &[fault.code.byte()], fault.text, maximum_packet);
}

/// Appends a packet with the reason string if the client accepts that size, else without it, else
/// nothing.
fn reason_packet(out: &mut Vec<u8>, first: u8, head: &[u8], words: &str, maximum: usize) {
    let mut body = head.to_vec();
    length(&mut body, words.len() + 3);
    body.push(0x1f);
    text(&mut body, words);
    if packet_size(body.len()) > maximum {
        body = head.to_vec();
        body.push(0);
    }
    if packet_size(body.len()) <= maximum {
        packet(out, first, &body);
    }
}

/// First byte of PUBACK, the answer to a publish of QoS 1.
pub(super) const PUBACK: u8 = 0x40;
/// First byte of PUBREC, the answer to a publish of QoS 2.
pub(super) const PUBREC: u8 = 0x50;
/// First byte of PUBCOMP, the answer to a PUBREL.
pub(super) const PUBCOMP: u8 = 0x70;

/// Appends one of the answers to a publish.
pub(super) fn answer(out: &mut Vec<u8>, first: u8, packet_id: u16, code: u8) {
    let [high, low] = packet_id.to_be_bytes();
    if code == 0 {
        out.extend_from_slice(&[first, 2, high, low]);
    } else {
        out.extend_from_slice(&[first, 3, high, low, code]);
    }
}

pub(super) fn suback(out: &mut Vec<u8>, version: Version, packet_id: u16, codes: &[u8]) {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    body.extend_from_slice(codes);
    packet(out, 0x90, &body);
}

pub(super) fn unsuback(out: &mut Vec<u8>, version: Version, packet_id: u16, codes: &[u8]) {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
        body.extend_from_slice(codes);
    }
    packet(out, 0xb0, &body);
}

pub(super) fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xd0, 0]);
}

/// Bytes of the property with a topic alias.
pub(super) const TOPIC_ALIAS: usize = 3;

/// Topic of a publish on the wire.
#[derive(Clone, Copy)]
pub(super) struct Topic<'a> {
    /// Name of the topic; empty: the alias stands for it.
    pub(super) name: &'a str,
    /// Alias that stands for the topic from now on; only in v5.
    pub(super) alias: Option<u16>,
}

/// Returns the bytes of a publish's body without a topic alias.
pub(super) fn publish_body(version: Version, topic: &str, acked: bool, payload: usize) -> usize {
    2 + topic.len() + if acked { 2 } else { 0 } + usize::from(version == Version::V5) + payload
}

pub(super) fn publish(
    out: &mut Vec<u8>,
    version: Version,
    topic: Topic<'_>,
    packet_id: Option<u16>,
    retain: bool,
    payload: &[u8],
) {
    let Topic { name, alias } = topic;
    let alias = alias.filter(|_| version == Version::V5);
    let body = publish_body(version, name, packet_id.is_some(), payload.len())
        + if alias.is_some() { TOPIC_ALIAS } else { 0 };
    out.reserve(packet_size(body));
    out.push(0x30 | u8::from(retain) | if packet_id.is_some() { 2 } else { 0 });
    length(out, body);
    text(out, name);
    if let Some(id) = packet_id {
        out.extend_from_slice(&id.to_be_bytes());
    }
    match alias.map(u16::to_be_bytes) {
        Some([high, low]) => out.extend_from_slice(&[3, 0x23, high, low]),
        None if version == Version::V5 => out.push(0),
        None => {}
    }
    out.extend_from_slice(payload);
}
