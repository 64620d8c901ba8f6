//! Estimate of the bytes that a message costs on a link, headers included. The agent's link budget
//! and the control plane's cost of a question use the same one.
//!
//! See decisions 0050 and 0061.

/// Bytes of IP and TCP headers in a segment, with time stamps.
const SEGMENT_HEADERS: u64 = 52;
/// Payload of a TCP segment in bytes, as most links carry it.
const SEGMENT: u64 = 1_400;
/// Bytes that TLS adds to each of its records: header, type and tag.
const RECORD: u64 = 22;
/// Largest payload of a TLS record in bytes.
const RECORD_BYTES: u64 = 16_384;
/// Bytes of an MQTT PUBLISH apart from topic, payload and the packet's length: type, the topic's
/// length, no properties.
const PUBLISH: u64 = 4;
/// Bytes of the packet id, present at QoS 1.
const PACKET_ID: u64 = 2;
/// Bytes of a PUBACK without reason code and properties.
const PUBACK: u64 = 4;

/// Returns the bytes on the wire, in the sending direction and in the other, for `bytes` that one
/// side writes at once. The other direction carries a TCP acknowledgement for every second segment.
pub fn on_the_wire(bytes: u64) -> (u64, u64) {
    let segments = bytes.div_ceil(SEGMENT).max(1);
    (bytes + segments * SEGMENT_HEADERS, segments.div_ceil(2) * SEGMENT_HEADERS)
}

/// Returns the size of `bytes` once TLS has encrypted them.
pub fn sealed(bytes: u64) -> u64 {
    bytes + bytes.div_ceil(RECORD_BYTES).max(1) * RECORD
}

/// Bytes that an alias (MQTT 5) adds to the properties of a publish. The topic beside it is empty.
pub const TOPIC_ALIAS: usize = 3;

/// Returns the cost of a publish in a TLS record of its own, both directions together: its packet
/// and TCP's acknowledgement; with `acked` (QoS 1) also the PUBACK, which carries TCP's
/// acknowledgement and is acknowledged in turn.
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
