//! What bytes cost on a link, estimated: one estimate for the agent's link budget and for what the
//! control plane says of a question.

/// Bytes of IP and TCP headers in a segment, time stamps included.
const SEGMENT_HEADERS: u64 = 52;
/// Bytes of a segment beside its headers, as most links carry them.
const SEGMENT: u64 = 1_400;
/// TLS adds to a record: header, type and tag.
const RECORD: u64 = 22;
/// Bytes of a TLS record.
const RECORD_BYTES: u64 = 16_384;
/// MQTT's own bytes in a publish beside topic, payload and the packet's length: type, the topic's
/// length, no properties.
const PUBLISH: u64 = 4;
/// Its packet id, at QoS 1.
const PACKET_ID: u64 = 2;
/// A PUBACK that says nothing more.
const PUBACK: u64 = 4;

/// What so many bytes that one side writes at once cost on the wire: in their direction, and in the
/// other, where every second segment is acknowledged.
pub fn on_the_wire(bytes: u64) -> (u64, u64) {
    let segments = bytes.div_ceil(SEGMENT).max(1);
    (bytes + segments * SEGMENT_HEADERS, segments.div_ceil(2) * SEGMENT_HEADERS)
}

/// What so many bytes are once TLS has sealed them.
pub fn sealed(bytes: u64) -> u64 {
    bytes + bytes.div_ceil(RECORD_BYTES).max(1) * RECORD
}

/// A publish in a TLS record of its own, both ways together: its packet and TCP's acknowledgement;
/// where it is `acked` (QoS 1), MQTT's too, which carries TCP's and is acknowledged in turn.
pub fn publish(topic: usize, payload: usize, acked: bool) -> u64 {
    let bytes = u64::try_from(topic.saturating_add(payload)).unwrap_or(u64::MAX);
    let body = bytes.saturating_add(PUBLISH - 1 + if acked { PACKET_ID } else { 0 });
    let length = [1 << 7, 1 << 14, 1 << 21].iter().filter(|more| body >= **more).count();
    let packet = body.saturating_add(2 + u64::try_from(length).unwrap_or(0));
    let (there, back) = on_the_wire(sealed(packet));
    let puback = if acked { on_the_wire(sealed(PUBACK)).0 } else { 0 };
    there + back + puback
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_counted() {
        assert_eq!(sealed(100), 122);
        assert_eq!(on_the_wire(122), (174, 52));
        assert_eq!(on_the_wire(14_000), (14_520, 260));
        // One segment with its acknowledgement; the same with a PUBACK, which is a segment more.
        assert_eq!(publish(30, 90, false), 5 + 120 + 22 + 52 + 52);
        assert_eq!(publish(30, 100, false), 6 + 130 + 22 + 52 + 52);
        assert_eq!(publish(30, 100, true), 8 + 130 + 22 + 52 + 52 + (4 + 22 + 52));
    }
}
