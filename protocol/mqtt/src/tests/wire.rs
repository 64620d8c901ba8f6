//! Packets of a client, built byte by byte.

/// Device of these tests, which is its client id.
pub(super) const NAME: &str = "acme_dev";

/// Returns a topic of that device.
pub(super) fn topic(channel: &str) -> String {
    format!("hf/v1/7/{NAME}/{channel}")
}

/// Returns a packet: first byte, length, body.
pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        out.push(if length == 0 { byte } else { byte | 0x80 });
        if length == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

pub(super) fn text(text: &str) -> Vec<u8> {
    let mut out = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(text.as_bytes());
    out
}

/// Parts of a CONNECT, so that each can be made wrong.
pub(super) struct Connect<'a> {
    pub(super) version: u8,
    pub(super) flags: u8,
    pub(super) keep_alive: u16,
    pub(super) props: Vec<u8>,
    pub(super) client_id: &'a str,
    /// Bytes that follow the client id.
    pub(super) tail: Vec<u8>,
}

impl<'a> Connect<'a> {
    pub(super) fn new(version: u8, client_id: &'a str) -> Self {
        Self { version, flags: 2, keep_alive: 60, props: Vec::new(), client_id, tail: Vec::new() }
    }

    /// Returns a CONNECT with a last will (QoS 0, no properties).
    pub(super) fn will(version: u8, client_id: &'a str, topic: &str, payload: &[u8]) -> Self {
        let mut connect = Self::new(version, client_id);
        connect.flags |= 4;
        if version == 5 {
            connect.tail.push(0);
        }
        connect.tail.extend(text(topic));
        connect.tail.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        connect.tail.extend(payload);
        connect
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', self.version, self.flags];
        body.extend(self.keep_alive.to_be_bytes());
        if self.version == 5 {
            body.push(u8::try_from(self.props.len()).unwrap());
            body.extend(&self.props);
        }
        body.extend(text(self.client_id));
        body.extend(&self.tail);
        packet(0x10, &body)
    }
}

pub(super) fn connect(version: u8, client_id: &str) -> Vec<u8> {
    Connect::new(version, client_id).bytes()
}

/// Returns a PUBLISH; `props` are those of version 5.
pub(super) fn publish(
    version: u8,
    flags: u8,
    topic: &str,
    packet_id: Option<u16>,
    props: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut body = text(topic);
    if let Some(id) = packet_id {
        body.extend(id.to_be_bytes());
    }
    if version == 5 {
        body.push(u8::try_from(props.len()).unwrap());
        body.extend(props);
    }
    body.extend(payload);
    packet(0x30 | flags, &body)
}

/// Returns a PUBLISH of QoS 1 without properties.
pub(super) fn publish1(version: u8, topic: &str, packet_id: u16, payload: &[u8]) -> Vec<u8> {
    publish(version, 2, topic, Some(packet_id), &[], payload)
}

/// Returns a SUBSCRIBE; each entry is a filter and its options byte.
pub(super) fn subscribe(version: u8, packet_id: u16, entries: &[(&str, u8)]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == 5 {
        body.push(0);
    }
    for (filter, options) in entries {
        body.extend(text(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}

pub(super) fn unsubscribe(version: u8, packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == 5 {
        body.push(0);
    }
    for filter in filters {
        body.extend(text(filter));
    }
    packet(0xa2, &body)
}

pub(super) fn puback(packet_id: u16) -> Vec<u8> {
    packet(0x40, &packet_id.to_be_bytes())
}
