//! Framing: the bounds of a packet, and whether its fixed header is allowed. A packet is refused as
//! early as its header permits, before its body is kept.

use super::reason::{Code, Fault};

/// Largest packet other than PUBLISH in bytes: a CONNECT with its will, a SUBSCRIBE with many
/// filters. Legitimate ones are far smaller, and the parsed forms take several times more memory.
pub(super) const MAX_SMALL: usize = 16 * 1024;

/// Types of packet that a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Connect,
    Publish,
    Puback,
    Pubrel,
    Subscribe,
    Unsubscribe,
    Pingreq,
    Disconnect,
}

/// Position of a packet in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// Low four bits of the first byte.
    pub(super) flags: u8,
    /// Number of bytes before the body.
    pub(super) header: usize,
    /// Number of bytes of the whole packet.
    pub(super) total: usize,
}

/// Reads the header of the next packet. `Ok(None)`: the header is incomplete. `Ok(Some)`: the
/// header is valid; the body may be incomplete. `lenient`: QoS 2 is served, and a PUBLISH of any
/// size is accepted here.
pub(super) fn peek(bytes: &[u8], max_packet: usize, lenient: bool) -> Result<Option<Frame>, Fault> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let (kind, flags) = (kind(first, lenient)?, first & 0x0f);
    let mut length = 0_usize;
    for (index, &byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 != 0 {
            continue;
        }
        if byte == 0 && index > 0 {
            return Err(Fault::malformed("remaining length in more bytes than it needs"));
        }
        let header = index + 2;
        let total = header + length;
        let max_packet = if lenient && kind == Kind::Publish { total } else { max_packet };
        check(kind, length, total, max_packet)?;
        return Ok(Some(Frame { kind, flags, header, total }));
    }
    if rest.len() >= 4 {
        return Err(Fault::malformed("remaining length of more than four bytes"));
    }
    Ok(None)
}

fn check(kind: Kind, length: usize, total: usize, max_packet: usize) -> Result<(), Fault> {
    let (limit, fault) = match kind {
        Kind::Publish => (max_packet, Fault::new(Code::PacketTooLarge, "packet too large")),
        _ => (
            max_packet.min(MAX_SMALL),
            Fault::new(Code::PacketTooLarge, "packet too large for its type"),
        ),
    };
    if total > limit {
        return Err(fault);
    }
    if kind == Kind::Pingreq && length != 0 {
        return Err(Fault::malformed("PINGREQ with a body"));
    }
    Ok(())
}

/// Returns the packet's type if a client may send it with these flags.
fn kind(first: u8, qos_2: bool) -> Result<Kind, Fault> {
    let flags = first & 0x0f;
    let (kind, wanted) = match first >> 4 {
        1 => (Kind::Connect, 0),
        3 => {
            return match (flags >> 1) & 3 {
                3 => Err(Fault::malformed("QoS 3")),
                2 if !qos_2 => Err(Fault::new(Code::QosNotSupported, "QoS 2 is not offered")),
                0 if flags & 8 != 0 => Err(Fault::malformed("DUP flag with QoS 0")),
                _ => Ok(Kind::Publish),
            };
        }
        4 => (Kind::Puback, 0),
        6 if qos_2 => (Kind::Pubrel, 2),
        5..=7 => return Err(Fault::protocol("a QoS 2 packet: no QoS 2 is under way")),
        8 => (Kind::Subscribe, 2),
        10 => (Kind::Unsubscribe, 2),
        12 => (Kind::Pingreq, 0),
        14 => (Kind::Disconnect, 0),
        0 => return Err(Fault::malformed("packet type 0")),
        15 => return Err(Fault::protocol("AUTH without an authentication method")),
        _ => return Err(Fault::protocol("a packet that only servers send")),
    };
    if flags != wanted {
        return Err(Fault::malformed("reserved flags in the fixed header"));
    }
    Ok(kind)
}
