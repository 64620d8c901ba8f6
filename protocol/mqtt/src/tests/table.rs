//! Table of malformed packets and of what their sender receives. fleet-tests also sends them over
//! TLS to the real gateway.

use super::wire::{self, Connect, NAME, packet, text, topic};

/// Bytes that the client receives before the connection closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gets {
    /// A v5 CONNACK with this reason code.
    Connack5(u8),
    /// A v3.1.1 CONNACK with this return code.
    Connack3(u8),
    /// A v5 DISCONNECT with this reason code.
    Disconnect(u8),
    /// Nothing before the connection closes.
    Nothing,
}

/// Row of the table.
pub(super) struct Case {
    pub(super) what: String,
    /// Version of the connected session that gets the bytes. None: they are the first bytes of a
    /// connection.
    pub(super) connected: Option<u8>,
    pub(super) bytes: Vec<u8>,
    pub(super) gets: Gets,
}

/// Largest packet that the server of this table accepts, in bytes.
pub(super) const MAX_PACKET: usize = 64 * 1024;

/// Classifies the bytes that were sent back.
pub(super) fn read(answer: &[u8]) -> Gets {
    match *answer {
        [] => Gets::Nothing,
        [0x20, 2, 0, code] => Gets::Connack3(code),
        [0x20, _, 0, code, ..] => Gets::Connack5(code),
        [0xe0, _, code, ..] => Gets::Disconnect(code),
        _ => panic!("neither CONNACK nor DISCONNECT: {answer:02x?}"),
    }
}

/// Returns all rows of the table.
pub(super) fn cases() -> Vec<Case> {
    let mut table = Table { cases: Vec::new() };
    what_is_no_connect_is_closed(&mut table);
    unsupported_versions_are_told(&mut table);
    connect_flags(&mut table);
    connect_cut_short_or_too_long(&mut table);
    connect_texts(&mut table);
    connect_wills(&mut table);
    connect_properties(&mut table);
    fixed_headers(&mut table);
    publishes(&mut table);
    publishes_of_version_5(&mut table);
    subscriptions(&mut table);
    acknowledgements_and_goodbyes(&mut table);
    table.cases
}

struct Table {
    cases: Vec<Case>,
}

impl Table {
    fn push(&mut self, what: &str, connected: Option<u8>, bytes: &[u8], gets: Gets) {
        let version = connected.map_or(String::new(), |version| format!(", version {version}"));
        let what = format!("{what}{version}");
        self.cases.push(Case { what, connected, bytes: bytes.to_vec(), gets });
    }

    /// Adds a row for the first bytes of a connection.
    fn first(&mut self, what: &str, bytes: &[u8], gets: Gets) {
        self.push(what, None, bytes, gets);
    }

    /// Adds rows for connected sessions of both versions: v5 gets `code`, v3.1.1 is closed.
    fn both(&mut self, what: &str, code: u8, bytes: impl Fn(u8) -> Vec<u8>) {
        self.only5(what, code, &bytes(5));
        self.only3(what, &bytes(4));
    }

    fn only5(&mut self, what: &str, code: u8, bytes: &[u8]) {
        self.push(what, Some(5), bytes, Gets::Disconnect(code));
    }

    fn only3(&mut self, what: &str, bytes: &[u8]) {
        self.push(what, Some(4), bytes, Gets::Nothing);
    }
}

fn what_is_no_connect_is_closed(table: &mut Table) {
    table.first("PINGREQ first", &[0xc0, 0], Gets::Nothing);
    table.first("PUBLISH first", &wire::publish(5, 0, "a", None, &[], b""), Gets::Nothing);
    table.first("SUBSCRIBE first", &wire::subscribe(4, 1, &[("a", 0)]), Gets::Nothing);
    table.first("an HTTP request", b"GET / HTTP/1.1\r\n\r\n", Gets::Nothing);
    table.first("a TLS hello", &[0x16, 3, 1, 2, 0, 1], Gets::Nothing);
    table.first("packet type 0", &[0, 0], Gets::Nothing);
    table.first("AUTH", &[0xf0, 0], Gets::Nothing);
    table.first("wrong flags", &[0x11, 0], Gets::Nothing);
    table.first("an empty CONNECT", &[0x10, 0], Gets::Nothing);
    table.first("an overlong length", &[0x10, 0x80, 0x80, 0x80, 0x80, 1], Gets::Nothing);
    table.first("a padded length", &[0x10, 0x80, 0], Gets::Nothing);
    table.first("a huge CONNECT", &[0x10, 0xff, 0xff, 0xff, 0x7f], Gets::Nothing);
    table.first("another protocol", &packet(0x10, b"\0\x04MQTX\x04\x02\0\0\0\0"), Gets::Nothing);
}

fn unsupported_versions_are_told(table: &mut Table) {
    for level in [0, 1, 3, 6, 0x83, 0x84, 255] {
        let mut connect = wire::connect(4, NAME);
        connect[8] = level;
        table.first("another level", &connect, Gets::Connack3(1));
    }
    table.first("3.1", &packet(0x10, b"\0\x06MQIsdp\x03\x02\0\0\0\x01a"), Gets::Connack3(1));
}

fn connect_flags(table: &mut Table) {
    for (what, flags, code) in [
        ("reserved flag", 3, 0x81),
        ("will QoS without will", 0x0a, 0x81),
        ("will retain without will", 0x22, 0x81),
        ("will of QoS 3", 0x1e, 0x81),
        ("will of QoS 2", 0x16, 0x9b),
    ] {
        let mut connect = Connect::will(5, NAME, &topic("presence"), b"");
        connect.flags = flags;
        table.first(what, &connect.bytes(), Gets::Connack5(code));
        let mut connect = Connect::will(4, NAME, &topic("presence"), b"");
        connect.flags = flags;
        table.first(what, &connect.bytes(), Gets::Nothing);
    }
    let mut connect = Connect::new(4, NAME);
    connect.flags = 0x42;
    connect.tail = text("password");
    table.first("password without user", &connect.bytes(), Gets::Nothing);
}

fn connect_cut_short_or_too_long(table: &mut Table) {
    for version in [4, 5] {
        let gets = if version == 5 { Gets::Connack5(0x81) } else { Gets::Nothing };
        let mut full = Connect::will(version, NAME, &topic("presence"), b"bye");
        full.flags |= 0xc0;
        full.tail.extend(text("user"));
        full.tail.extend(text("password"));
        let full = full.bytes();
        let body = &full[2..];
        // Once the flags can be read the version is known, and so is the form of the answer.
        for cut in 8..body.len() {
            table.first(&format!("cut at {cut}"), &packet(0x10, &body[..cut]), gets);
        }
        for cut in 0..7 {
            table.first(&format!("cut at {cut}"), &packet(0x10, &body[..cut]), Gets::Nothing);
        }
        table.first("cut at 7", &packet(0x10, &body[..7]), gets);
        table.first("one byte more", &packet(0x10, &[body, &[0]].concat()), gets);
        let large = [body, &[0; 17_000]].concat();
        table.first("far more", &packet(0x10, &large), Gets::Nothing);
    }
}

fn connect_texts(table: &mut Table) {
    for (what, id) in [
        ("empty client id", ""),
        ("another's client id", "acme_other"),
        ("a prefix", "acme_de"),
        ("upper case", "ACME_DEV"),
    ] {
        table.first(what, &wire::connect(5, id), Gets::Connack5(0x85));
        table.first(what, &wire::connect(4, id), Gets::Connack3(2));
    }
    table.first("NUL in the client id", &wire::connect(5, "acme_dev\0"), Gets::Connack5(0x81));
    table.first("NUL in the client id", &wire::connect(4, "acme_dev\0"), Gets::Nothing);
    for version in [4, 5] {
        let mut connect = wire::connect(version, "acme_xxx");
        let end = connect.len() - 1;
        connect[end] = 0xff;
        let gets = if version == 5 { Gets::Connack5(0x81) } else { Gets::Nothing };
        table.first("a client id that is not UTF-8", &connect, gets);
    }
}

fn connect_wills(table: &mut Table) {
    for (what, to, payload, code5, code3) in [
        ("another's topic", "hf/v1/7/acme_other/presence", 0, 0x87, Gets::Connack3(5)),
        ("a down-channel", "hf/v1/7/acme_dev/desired", 0, 0x87, Gets::Connack3(5)),
        ("a wildcard", "hf/v1/7/acme_dev/#", 0, 0x90, Gets::Nothing),
        ("an empty topic", "", 0, 0x90, Gets::Nothing),
        ("NUL", "hf/v1/7/acme_dev/\0", 0, 0x81, Gets::Nothing),
        ("too large", "hf/v1/7/acme_dev/presence", 5_000, 0x97, Gets::Connack3(3)),
    ] {
        let payload = vec![0; payload];
        table.first(what, &Connect::will(5, NAME, to, &payload).bytes(), Gets::Connack5(code5));
        table.first(what, &Connect::will(4, NAME, to, &payload).bytes(), code3);
    }
}

fn connect_properties(table: &mut Table) {
    for (what, props, code) in [
        ("Receive Maximum 0", &[0x21, 0, 0][..], 0x82),
        ("Maximum Packet Size 0", &[0x27, 0, 0, 0, 0], 0x82),
        ("Receive Maximum twice", &[0x21, 0, 9, 0x21, 0, 9], 0x82),
        ("Session Expiry twice", &[0x11, 0, 0, 0, 0, 0x11, 0, 0, 0, 0], 0x82),
        ("a property of PUBLISH", &[0x23, 0, 1], 0x82),
        ("an unknown property", &[0x7f, 0], 0x81),
        ("Request Problem Information 2", &[0x17, 2], 0x82),
        ("a property cut short", &[0x21, 0], 0x81),
        ("Authentication Method", &[0x15, 0, 1, b'x'], 0x8c),
        ("Authentication Data alone", &[0x16, 0, 1, b'x'], 0x8c),
    ] {
        let mut connect = Connect::new(5, NAME);
        connect.props = props.to_vec();
        table.first(what, &connect.bytes(), Gets::Connack5(code));
    }
    let mut connect = Connect::new(5, NAME).bytes();
    connect[12] = 0xff; // a property length of more than there is
    table.first("properties longer than the packet", &connect, Gets::Connack5(0x81));
}

fn fixed_headers(table: &mut Table) {
    table.both("packet type 0", 0x81, |_| vec![0, 0]);
    table.both("a second CONNECT", 0x82, |version| wire::connect(version, NAME));
    table.both("CONNECT with flags", 0x81, |_| vec![0x11, 0]);
    for (name, first) in
        [("CONNACK", 0x20), ("SUBACK", 0x90), ("UNSUBACK", 0xb0), ("PINGRESP", 0xd0)]
    {
        table.both(name, 0x82, |_| vec![first, 0]);
    }
    for (name, first) in [("PUBREC", 0x50), ("PUBREL", 0x62), ("PUBCOMP", 0x70)] {
        table.both(name, 0x82, |_| packet(first, &[0, 1]));
    }
    table.both("AUTH", 0x82, |_| vec![0xf0, 0]);
    table.both("PUBACK with flags", 0x81, |_| packet(0x41, &[0, 1]));
    table.both("SUBSCRIBE without its flags", 0x81, |version| {
        let mut subscribe = wire::subscribe(version, 1, &[(&topic("desired"), 1)]);
        subscribe[0] = 0x80;
        subscribe
    });
    table.both("UNSUBSCRIBE without its flags", 0x81, |version| {
        let mut unsubscribe = wire::unsubscribe(version, 1, &[&topic("desired")]);
        unsubscribe[0] = 0xa0;
        unsubscribe
    });
    table.both("PINGREQ with flags", 0x81, |_| vec![0xc1, 0]);
    table.both("PINGREQ with a body", 0x81, |_| vec![0xc0, 1, 0]);
    table.both("DISCONNECT with flags", 0x81, |_| vec![0xe1, 0]);
    table.both("an overlong length", 0x81, |_| vec![0x30, 0xff, 0xff, 0xff, 0xff, 1]);
    table.both("a padded length", 0x81, |_| vec![0x40, 0x82, 0, 0, 1]);
    table.both("a PUBLISH larger than announced", 0x95, |_| vec![0x30, 0x81, 0x80, 4]);
    table.both("a large SUBSCRIBE", 0x95, |_| vec![0x82, 0x80, 0x80, 1]);
    table.both("the largest packet there is", 0x95, |_| vec![0x32, 0xff, 0xff, 0xff, 0x7f]);
}

fn publishes(table: &mut Table) {
    let state = topic("state");
    table.both("QoS 3", 0x81, |v| wire::publish(v, 6, &state, Some(1), &[], b""));
    table.both("QoS 2", 0x9b, |v| wire::publish(v, 4, &state, Some(1), &[], b""));
    table.both("DUP with QoS 0", 0x81, |v| wire::publish(v, 8, &state, None, &[], b""));
    table.both("packet id 0", 0x82, |v| wire::publish(v, 2, &state, Some(0), &[], b""));
    table.both("+ in the topic", 0x90, |v| wire::publish1(v, "hf/v1/7/acme_dev/+", 1, b""));
    table.both("# in the topic", 0x90, |v| wire::publish1(v, "#", 1, b""));
    table.both("NUL in the topic", 0x81, |v| wire::publish1(v, "hf/v1/7/acme_dev/state\0", 1, b""));
    table.both("an overlong topic", 0x90, |v| wire::publish1(v, &"x".repeat(257), 1, b""));
    table.both("a topic that is not UTF-8", 0x81, |v| {
        let mut publish = wire::publish1(v, "xx", 1, b"");
        publish[4] = 0xff;
        publish
    });
    table.both("an empty body", 0x81, |_| packet(0x30, b""));
    table.both("a topic cut short", 0x81, |_| packet(0x30, &[0, 5, b'a']));
    table.both("no packet id", 0x81, |_| packet(0x32, &text("a")));
    table.both("half a packet id", 0x81, |_| packet(0x32, &[&text("a")[..], &[1]].concat()));
    table.both("another's topic, QoS 0", 0x87, |v| {
        wire::publish(v, 0, "hf/v1/7/acme_other/state", None, &[], b"")
    });
    table.both("its own down-channel, QoS 0", 0x87, |v| {
        wire::publish(v, 0, &topic("desired"), None, &[], b"")
    });
    table.only3("an empty topic", &wire::publish1(4, "", 1, b""));
    table.only3("another's topic, QoS 1", &wire::publish1(4, "hf/v1/7/acme_other/state", 1, b""));
}

fn publishes_of_version_5(table: &mut Table) {
    let state = topic("state");
    let with = |props: &[u8]| wire::publish(5, 2, &state, Some(1), props, b"");
    table.only5("no topic, no alias", 0x82, &wire::publish1(5, "", 1, b""));
    table.only5("an alias", 0x94, &with(&[0x23, 0, 1]));
    table.only5("alias 0", 0x82, &with(&[0x23, 0, 0]));
    table.only5("alias alone", 0x94, &wire::publish(5, 2, "", Some(1), &[0x23, 0, 1], b""));
    table.only5("a subscription identifier", 0x82, &with(&[0x0b, 1]));
    table.only5("a property of CONNECT", 0x82, &with(&[0x21, 0, 1]));
    table.only5("Payload Format 2", 0x82, &with(&[1, 2]));
    table.only5("Payload Format twice", 0x82, &with(&[1, 0, 1, 0]));
    table.only5("an unknown property", 0x81, &with(&[0x7e]));
    table.only5("a wildcard in the response topic", 0x90, &with(&[8, 0, 1, b'#']));
    table.only5("no properties at all", 0x81, &packet(0x30, &text(&state)));
    let cut = [&text(&state)[..], &[5, 1]].concat();
    table.only5("properties cut short", 0x81, &packet(0x30, &cut));
    let long = [&text(&state)[..], &[0xff, 0xff, 0xff, 0xff, 1]].concat();
    table.only5("an overlong property length", 0x81, &packet(0x30, &long));
    let many = [&text(&state)[..], &[0xc1, 0x40], &[0; 8_257]].concat();
    table.only5("too many properties", 0x97, &packet(0x30, &many));
}

fn subscriptions(table: &mut Table) {
    for filter in ["a#", "#/a", "a/#/b", "+a", "a+/b", "", &"x".repeat(257)] {
        table.both("a bad filter", 0x8f, |v| wire::subscribe(v, 1, &[(filter, 0)]));
        table.both("a bad filter", 0x8f, |v| wire::unsubscribe(v, 1, &[filter]));
    }
    table.both("NUL", 0x81, |v| wire::subscribe(v, 1, &[("a\0", 0)]));
    table.both("NUL", 0x81, |v| wire::unsubscribe(v, 1, &["a\0"]));
    table.both("no filter", 0x82, |v| wire::subscribe(v, 1, &[]));
    table.both("no filter", 0x82, |v| wire::unsubscribe(v, 1, &[]));
    table.both("packet id 0", 0x82, |v| wire::subscribe(v, 0, &[("a", 0)]));
    table.both("packet id 0", 0x82, |v| wire::unsubscribe(v, 0, &["a"]));
    table.both("QoS 3", 0x81, |v| wire::subscribe(v, 1, &[("a", 3)]));
    table.both("reserved bits", 0x81, |v| wire::subscribe(v, 1, &[("a", 0x40)]));
    table.both("half a packet id", 0x81, |_| packet(0x82, &[0]));
    table.both("half a packet id", 0x81, |_| packet(0xa2, &[0]));
    table.both("an empty body", 0x81, |_| packet(0x82, &[]));
    table.both("a filter without options", 0x81, |v| {
        let mut bytes = wire::subscribe(v, 1, &[("abc", 0)]);
        bytes.pop();
        bytes[1] -= 1;
        bytes
    });
    for options in [4, 8, 0x10, 0x20] {
        table.only3("options of version 5", &wire::subscribe(4, 1, &[("a", options)]));
    }
    table.only5("retain handling 3", 0x81, &wire::subscribe(5, 1, &[("a", 0x30)]));
    table.only5("no-local and shared", 0x82, &wire::subscribe(5, 1, &[("$share/g/a", 4)]));
    let with = |props: &[u8]| {
        let tail = text(&topic("desired"));
        packet(0x82, &[&[0, 1, u8::try_from(props.len()).unwrap()], props, &tail, &[0]].concat())
    };
    table.only5("a subscription identifier", 0xa1, &with(&[0x0b, 1]));
    table.only5("subscription identifier 0", 0x82, &with(&[0x0b, 0]));
    table.only5("a property of PUBLISH", 0x82, &with(&[1, 0]));
}

fn acknowledgements_and_goodbyes(table: &mut Table) {
    table.both("PUBACK of id 0", 0x82, |_| packet(0x40, &[0, 0]));
    table.both("PUBACK of one byte", 0x81, |_| packet(0x40, &[1]));
    table.both("an empty PUBACK", 0x81, |_| packet(0x40, &[]));
    table.only3("PUBACK with a reason", &packet(0x40, &[0, 1, 0]));
    table.only5("PUBACK with an unknown reason", 0x81, &packet(0x40, &[0, 1, 0x33]));
    table.only5("PUBACK and more", 0x81, &packet(0x40, &[0, 1, 0, 0, 7]));
    table.only5("PUBACK with another's property", 0x82, &packet(0x40, &[0, 1, 0, 3, 0x21, 0, 1]));
    table.only3("DISCONNECT with a body", &packet(0xe0, &[0]));
    table.only5("an unknown reason", 0x81, &packet(0xe0, &[0x33]));
    table.only5("DISCONNECT and more", 0x81, &packet(0xe0, &[0, 0, 7]));
    table.only5("a session after all", 0x82, &packet(0xe0, &[0, 5, 0x11, 0, 0, 0, 9]));
}
