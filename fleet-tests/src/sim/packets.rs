//! MQTT packets that a simulated device and a test's broker need, as bytes: of version 5, and what a
//! broker needs of 3.1.1 (version 4 on the wire). Written apart from
//! the product's codec on purpose: a fault there must not hide itself here.

/// Packet as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// First byte: type and flags.
    pub first: u8,
    /// Bytes after the remaining length.
    pub body: Vec<u8>,
}

/// Fields of a PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Name of the topic.
    pub topic: String,
    /// Packet id; 0 at QoS 0.
    pub id: u16,
    /// Bytes of the message.
    pub payload: Vec<u8>,
}

/// Packet types, in the high nibble of the first byte.
pub mod kind {
    #![allow(missing_docs, reason = "the names are MQTT's own")]
    pub const CONNECT: u8 = 0x10;
    pub const CONNACK: u8 = 0x20;
    pub const PUBLISH: u8 = 0x30;
    pub const PUBACK: u8 = 0x40;
    pub const SUBSCRIBE: u8 = 0x80;
    pub const SUBACK: u8 = 0x90;
    pub const PINGREQ: u8 = 0xc0;
    pub const PINGRESP: u8 = 0xd0;
    pub const DISCONNECT: u8 = 0xe0;
}

impl Packet {
    /// Returns the type without flags.
    pub fn kind(&self) -> u8 {
        self.first & 0xf0
    }

    /// Returns the reason code or return code: the byte after `skip` bytes; 0 if left out.
    pub fn reason(&self, skip: usize) -> u8 {
        self.body.get(skip).copied().unwrap_or(0)
    }

    /// Returns the packet id at the start of a PUBACK, SUBSCRIBE or SUBACK.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.body[0], self.body[1]])
    }

    /// Parses a PUBLISH of this version; None: the packet is another one.
    pub fn publish(&self, version: u8) -> Option<Publish> {
        if self.kind() != kind::PUBLISH {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([*self.body.first()?, *self.body.get(1)?]));
        let topic = String::from_utf8_lossy(self.body.get(2..2 + length)?).into_owned();
        let mut at = 2 + length;
        let mut id = 0;
        if self.first & 0x06 != 0 {
            id = u16::from_be_bytes([*self.body.get(at)?, *self.body.get(at + 1)?]);
            at += 2;
        }
        at += properties(self.body.get(at..)?, version)?;
        let payload = self.body.get(at..)?.to_vec();
        Some(Publish { topic, id, payload })
    }
}

/// Splits the first complete packet off a buffer.
pub fn take(buffer: &mut Vec<u8>) -> Option<Packet> {
    let first = *buffer.first()?;
    let (length, size) = read_varint(buffer.get(1..)?)?;
    let end = 1 + size + length;
    if buffer.len() < end {
        return None;
    }
    let body = buffer[1 + size..end].to_vec();
    buffer.drain(..end);
    Some(Packet { first, body })
}

/// Returns the size of the properties at the start; 3.1.1 has none.
fn properties(bytes: &[u8], version: u8) -> Option<usize> {
    if version != 5 {
        return Some(0);
    }
    read_varint(bytes).map(|(length, size)| length + size)
}

fn read_varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// Returns a packet of this first byte and body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut rest = body.len();
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap_or(0);
        rest >>= 7;
        bytes.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

fn binary(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a short field");
    [&length.to_be_bytes(), bytes].concat()
}

/// Returns a CONNECT with a clean start and, if wanted, a retained last will at QoS 1.
pub fn connect(client: &str, keep_alive: u16, will: Option<(&str, &[u8])>) -> Vec<u8> {
    let flags = if will.is_some() { 0x02 | 0x04 | 0x08 | 0x20 } else { 0x02 };
    let mut body = head(flags, keep_alive, client);
    if let Some((topic, payload)) = will {
        body.push(0);
        body.extend(text(topic));
        body.extend(binary(payload));
    }
    packet(kind::CONNECT, &body)
}

/// Returns a CONNECT with a clean start, a user name and a password.
pub fn login(client: &str, keep_alive: u16, user: &str, password: &str) -> Vec<u8> {
    let mut body = head(0x02 | 0x40 | 0x80, keep_alive, client);
    body.extend(text(user));
    body.extend(text(password));
    packet(kind::CONNECT, &body)
}

fn head(flags: u8, keep_alive: u16, client: &str) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([5, flags]);
    body.extend(keep_alive.to_be_bytes());
    body.push(0);
    body.extend(text(client));
    body
}

/// Returns a SUBSCRIBE to one filter at QoS 1.
pub fn subscribe(id: u16, filter: &str) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.push(0);
    body.extend(text(filter));
    body.push(1);
    packet(kind::SUBSCRIBE | 2, &body)
}

/// Returns a PUBLISH at QoS 1, or at QoS 0 with id 0.
pub fn publish(topic: &str, id: u16, retain: bool, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    if id != 0 {
        body.extend(id.to_be_bytes());
    }
    body.push(0);
    body.extend(payload);
    packet(kind::PUBLISH | u8::from(id != 0) << 1 | u8::from(retain), &body)
}

/// Returns a PUBACK with success.
pub fn puback(id: u16) -> Vec<u8> {
    packet(kind::PUBACK, &id.to_be_bytes())
}

/// Returns a SUBACK with these codes.
pub fn suback(id: u16, version: u8, codes: &[u8]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == 5 {
        body.push(0);
    }
    body.extend(codes);
    packet(kind::SUBACK, &body)
}

/// Returns the filters in a SUBSCRIBE of this version.
pub fn filters(subscribe: &Packet, version: u8) -> Vec<String> {
    let Some(size) = subscribe.body.get(2..).and_then(|rest| properties(rest, version)) else {
        return Vec::new();
    };
    let mut at = 2 + size;
    let mut filters = Vec::new();
    while let (Some(&high), Some(&low)) = (subscribe.body.get(at), subscribe.body.get(at + 1)) {
        let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
        let filter = subscribe.body.get(at + 2..end).unwrap_or_default();
        filters.push(String::from_utf8_lossy(filter).into_owned());
        at = end + 1;
    }
    filters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut bytes = publish("a/b", 7, true, &[9; 300]);
        bytes.extend(puback(7));
        let first = take(&mut bytes).unwrap();
        let read = first.publish(5).unwrap();
        assert_eq!((read.topic.as_str(), read.id, read.payload), ("a/b", 7, vec![9; 300]));
        assert_eq!(take(&mut bytes).unwrap().id(), 7);
        assert_eq!(take(&mut bytes), None);
        let asked = take(&mut subscribe(3, "x/y")).unwrap();
        assert_eq!((asked.id(), filters(&asked, 5)), (3, vec!["x/y".to_owned()]));
    }
}
