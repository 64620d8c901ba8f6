//! Translation between the MQTT library, which speaks version 5, and a broker that speaks 3.1.1
//! alone. It is possible packet by packet because the agent uses nothing that 3.1.1 lacks: no
//! property that carries a meaning, no topic alias, no reason code.
//!
//! See decision 0146.

/// Largest packet in bytes, with room for its header: what the agent reads and writes is smaller.
const MAX_PACKET: usize = 2 * 1024 * 1024;

/// Level of MQTT 3.1.1 in a CONNECT.
const LEVEL_311: u8 = 4;

/// Packet types, in the high nibble of the first byte.
mod kind {
    pub(super) const CONNECT: u8 = 1;
    pub(super) const CONNACK: u8 = 2;
    pub(super) const PUBLISH: u8 = 3;
    pub(super) const PUBACK: u8 = 4;
    pub(super) const SUBSCRIBE: u8 = 8;
    pub(super) const SUBACK: u8 = 9;
    pub(super) const PINGREQ: u8 = 12;
    pub(super) const PINGRESP: u8 = 13;
    pub(super) const DISCONNECT: u8 = 14;
}

/// Reason why bytes cannot be translated: they are no packet that is expected on this way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a packet that cannot be translated between MQTT 5 and 3.1.1")]
pub struct NotTranslatable;

/// Direction of the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the library to the broker: 5 becomes 3.1.1.
    Up,
    /// From the broker to the library: 3.1.1 becomes 5.
    Down,
}

/// Translator of one direction. It holds the bytes of a packet that is not complete.
#[derive(Debug)]
pub struct Translator {
    way: Way,
    input: Vec<u8>,
}

impl Translator {
    /// Creates the translator of a new connection.
    pub fn new(way: Way) -> Self {
        Self { way, input: Vec::new() }
    }

    /// Takes bytes, and appends the translation of all packets that are complete by now to `out`.
    ///
    /// # Errors
    /// [`NotTranslatable`]; the connection is of no use any more.
    pub fn translate(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), NotTranslatable> {
        self.input.extend_from_slice(bytes);
        let mut done = 0;
        while let Some(rest) = self.input.get(done..)
            && let Some(Frame { first, body, total }) = frame(rest)?
        {
            let translated = match self.way {
                Way::Up => up(first, body),
                Way::Down => down(first, body),
            };
            packet(out, first, &translated.ok_or(NotTranslatable)?)?;
            done += total;
        }
        self.input.drain(..done);
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        Ok(())
    }
}

/// Complete packet at the start of the input.
struct Frame<'a> {
    /// First byte: type and flags.
    first: u8,
    /// Bytes after the remaining length.
    body: &'a [u8],
    /// Size of the whole packet in bytes.
    total: usize,
}

/// Returns the first packet. None: it is not complete.
fn frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, NotTranslatable> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((length, size)) = varint(rest) else {
        return if rest.len() < 4 { Ok(None) } else { Err(NotTranslatable) };
    };
    if length > MAX_PACKET {
        return Err(NotTranslatable);
    }
    let body = rest.get(size..size + length);
    Ok(body.map(|body| Frame { first, body, total: 1 + size + length }))
}

/// Returns a number of MQTT's variable length, and its own length in bytes.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

fn packet(out: &mut Vec<u8>, first: u8, body: &[u8]) -> Result<(), NotTranslatable> {
    out.push(first);
    let mut rest = body.len();
    loop {
        let byte = u8::try_from(rest & 0x7f).map_err(|_| NotTranslatable)?;
        rest >>= 7;
        out.push(if rest > 0 { byte | 0x80 } else { byte });
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    Ok(())
}

/// Splits a field of two bytes of length and its content off, with the length.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, _) = bytes.split_first_chunk::<2>()?;
    bytes.split_at_checked(2 + usize::from(u16::from_be_bytes(*length)))
}

/// Drops properties of version 5 from the beginning.
fn skip_properties(bytes: &[u8]) -> Option<&[u8]> {
    let (length, size) = varint(bytes)?;
    bytes.get(size + length..)
}

/// Splits a PUBLISH after topic and packet id.
fn publish(first: u8, body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (topic, _) = field(body)?;
    let id = if first & 0x06 == 0 { 0 } else { 2 };
    body.split_at_checked(topic.len() + id)
}

/// Translates the body of a packet of version 5. None: it cannot be.
fn up(first: u8, body: &[u8]) -> Option<Vec<u8>> {
    match first >> 4 {
        kind::CONNECT => connect(body),
        kind::PUBLISH => {
            let (head, rest) = publish(first, body)?;
            let payload = skip_properties(rest)?;
            // A topic that only an alias stands for cannot be said in 3.1.1.
            (head.get(..2)? != [0, 0]).then(|| [head, payload].concat())
        }
        // Without reason and properties.
        kind::PUBACK => body.get(..2).map(<[u8]>::to_vec),
        kind::SUBSCRIBE => {
            let (id, rest) = body.split_at_checked(2)?;
            let mut filters = skip_properties(rest)?;
            let mut out = id.to_vec();
            while !filters.is_empty() {
                let (filter, rest) = field(filters)?;
                let (options, rest) = rest.split_first()?;
                out.extend_from_slice(filter);
                out.push(options & 3);
                filters = rest;
            }
            Some(out)
        }
        kind::PINGREQ | kind::DISCONNECT => Some(Vec::new()),
        _ => None,
    }
}

fn connect(body: &[u8]) -> Option<Vec<u8>> {
    let (name, rest) = field(body)?;
    let ([_level, flags, high, low], rest) = rest.split_first_chunk::<4>()?;
    let (client, mut rest) = field(skip_properties(rest)?)?;
    let mut out = [name, &[LEVEL_311, *flags, *high, *low], client].concat();
    if flags & 4 != 0 {
        rest = skip_properties(rest)?;
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// Translates the body of a packet of 3.1.1. None: it cannot be.
fn down(first: u8, body: &[u8]) -> Option<Vec<u8>> {
    match first >> 4 {
        kind::CONNACK => {
            let [flags, code] = body else { return None };
            let reason = match code {
                0 => 0,
                1 => 0x84, // unsupported protocol version
                2 => 0x85, // client identifier not valid
                3 => 0x88, // server unavailable
                4 => 0x86, // bad user name or password
                _ => 0x87, // not authorized
            };
            Some(vec![*flags, reason, 0])
        }
        kind::PUBLISH => {
            let (head, payload) = publish(first, body)?;
            Some([head, &[0], payload].concat())
        }
        kind::PUBACK => Some(body.to_vec()),
        kind::SUBACK => {
            let (id, codes) = body.split_at_checked(2)?;
            Some([id, &[0], codes].concat())
        }
        kind::PINGRESP => Some(Vec::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(way: Way, bytes: &[u8]) -> Result<Vec<u8>, NotTranslatable> {
        let mut out = Vec::new();
        Translator::new(way).translate(bytes, &mut out).map(|()| out)
    }

    #[test]
    fn every_packet_of_the_agent_is_said_in_3_1_1() {
        let connect5 = b"\x10\x1f\0\x04MQTT\x05\x2e\x01\x2c\x03\x21\0\x10\0\x03a_b\x02\x01\x01\0\x03p/q\0\x02hi";
        let connect4 = b"\x10\x18\0\x04MQTT\x04\x2e\x01\x2c\0\x03a_b\0\x03p/q\0\x02hi";
        let plain5 = b"\x10\x10\0\x04MQTT\x05\x02\0\x3c\0\0\x03a_b";
        let plain4 = b"\x10\x0f\0\x04MQTT\x04\x02\0\x3c\0\x03a_b";
        for (what, five, three) in [
            ("CONNECT with a will", &connect5[..], &connect4[..]),
            ("CONNECT", plain5, plain4),
            ("PUBLISH, QoS 1", b"\x33\x0a\0\x03p/q\0\x07\0hi", b"\x33\x09\0\x03p/q\0\x07hi"),
            ("PUBLISH, QoS 0", b"\x30\x06\0\x03p/q\0", b"\x30\x05\0\x03p/q"),
            ("PUBLISH with properties", b"\x30\x08\0\x03p/q\x02\x01\x01", b"\x30\x05\0\x03p/q"),
            ("PUBACK", b"\x40\x02\0\x07", b"\x40\x02\0\x07"),
            ("PUBACK with a reason", b"\x40\x04\0\x07\x10\0", b"\x40\x02\0\x07"),
            (
                "SUBSCRIBE",
                b"\x82\x0f\0\x01\0\0\x03p/q\x2d\0\x03p/r\0",
                b"\x82\x0e\0\x01\0\x03p/q\x01\0\x03p/r\0",
            ),
            ("PINGREQ", b"\xc0\0", b"\xc0\0"),
            ("DISCONNECT", b"\xe0\x02\0\0", b"\xe0\0"),
        ] {
            assert_eq!(translated(Way::Up, five).as_deref(), Ok(three), "{what}");
        }
    }

    #[test]
    fn every_packet_of_a_broker_is_said_in_5() {
        for (what, three, five) in [
            ("CONNACK", &b"\x20\x02\0\0"[..], &b"\x20\x03\0\0\0"[..]),
            ("CONNACK, version", b"\x20\x02\0\x01", b"\x20\x03\0\x84\0"),
            ("CONNACK, not authorised", b"\x20\x02\0\x05", b"\x20\x03\0\x87\0"),
            ("PUBLISH, QoS 1", b"\x33\x09\0\x03p/q\0\x07hi", b"\x33\x0a\0\x03p/q\0\x07\0hi"),
            ("PUBLISH, QoS 0", b"\x30\x05\0\x03p/q", b"\x30\x06\0\x03p/q\0"),
            ("PUBACK", b"\x40\x02\0\x07", b"\x40\x02\0\x07"),
            ("SUBACK", b"\x90\x04\0\x01\x01\x80", b"\x90\x05\0\x01\0\x01\x80"),
            ("PINGRESP", b"\xd0\0", b"\xd0\0"),
        ] {
            assert_eq!(translated(Way::Down, three).as_deref(), Ok(five), "{what}");
        }
    }

    #[test]
    fn pieces_are_put_together_and_lengths_are_of_any_size() {
        let payload = [7; 130];
        let three = [&b"\x30\x87\x01\0\x03p/q"[..], &payload, b"\xd0\0"].concat();
        let five = [&b"\x30\x88\x01\0\x03p/q\0"[..], &payload, b"\xd0\0"].concat();
        let (mut translator, mut out) = (Translator::new(Way::Down), Vec::new());
        for byte in three {
            translator.translate(&[byte], &mut out).unwrap();
        }
        assert_eq!(out, five);
        assert!(translator.input.is_empty());
    }

    #[test]
    fn what_cannot_be_said_ends_the_connection() {
        for (way, bytes) in [
            (Way::Up, &b"\xf0\0"[..]),
            (Way::Up, b"\x30\x06\0\0\x03\x23\0\x01"),
            (Way::Up, b"\x10\x02\0\x04"),
            (Way::Down, b"\x20\x03\0\0\0"),
            (Way::Down, b"\xe0\0"),
            (Way::Down, b"\x30\x01\0"),
            (Way::Down, b"\x30\xff\xff\xff\xff"),
            (Way::Down, b"\x30\xff\xff\xff\x7f"),
        ] {
            assert_eq!(translated(way, bytes), Err(NotTranslatable), "{way:?} {bytes:02x?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            for way in [Way::Up, Way::Down] {
                let _any = translated(way, &bytes);
            }
        }
    }
}
