//! The bus over real sockets, with a buffer that can be held back.

use std::time::Duration;

use holdfast_protocol::data::Range;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::adapters::intake::Refused;
use crate::adapters::intake_fake::Fake;

const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    scratch: tempfile::TempDir,
    bus: Bus,
    access: Arc<Access>,
    fake: Fake,
    said: Arc<Said>,
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

impl Rig {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let access = Arc::new(Access::new(scratch.path(), None));
        let (fake, said) = (Fake::default(), Arc::<Said>::default());
        let bus = Bus::new(Arc::clone(&access), Arc::new(fake.clone()), Arc::clone(&said));
        Self { scratch, bus, access, fake, said }
    }

    fn with(workloads: &[(&str, &[&str], &[&str])]) -> Self {
        let mut rig = Self::new();
        for (name, subscribe, publish) in workloads {
            rig.admit(name, subscribe, publish);
        }
        rig
    }

    fn admit(&mut self, workload: &str, subscribe: &[&str], publish: &[&str]) {
        let owned = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
        let bus = Permissions { subscribe: owned(subscribe), publish: owned(publish) };
        self.bus.admit(name(workload), bus, Some(1));
    }

    async fn client(&self, workload: &str, level: u8) -> Client {
        let entry = self.access.workload(&name(workload), 1).unwrap();
        let mut client = Client::open(entry.port, level).await;
        client.connect("", workload, &entry.password).await;
        assert_eq!(client.read().await.unwrap()[3], 0, "CONNACK");
        client
    }

    fn problem(&self) -> String {
        self.said.problems(uptime_ms(), 0).join("\n")
    }

    fn counted(&self, what: &str) -> u64 {
        self.bus.counts()[what].as_u64().unwrap()
    }
}

/// Bytes on a wire.
struct Client {
    stream: TcpStream,
    level: u8,
}

fn text(text: &str) -> Vec<u8> {
    let mut out = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    out.extend(text.as_bytes());
    out
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (mut out, mut length) = (vec![first], body.len());
    while length > 127 {
        out.push((length & 127) as u8 | 128);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(body);
    out
}

impl Client {
    async fn open(port: u16, level: u8) -> Self {
        Self { stream: TcpStream::connect((HOST, port)).await.unwrap(), level }
    }

    async fn send(&mut self, first: u8, body: &[u8]) {
        self.stream.write_all(&packet(first, body)).await.unwrap();
    }

    async fn connect(&mut self, id: &str, user: &str, password: &str) {
        let mut body = [text("MQTT"), vec![self.level, 0xc2, 0, 60]].concat();
        body.extend(if self.level == 5 { vec![0] } else { vec![] });
        body.extend([text(id), text(user), text(password)].concat());
        self.send(0x10, &body).await;
    }

    fn publish(&self, topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
        let mut body = text(topic);
        if id > 0 {
            body.extend(id.to_be_bytes());
        }
        body.extend(if self.level == 5 { vec![0] } else { vec![] });
        body.extend(payload);
        packet(if id > 0 { 0x32 } else { 0x30 }, &body)
    }

    async fn send_publish(&mut self, topic: &str, id: u16, payload: &str) {
        let bytes = self.publish(topic, id, payload.as_bytes());
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn subscribe(&mut self, filter: &str) -> u8 {
        let mut body = vec![0, 9];
        body.extend(if self.level == 5 { vec![0] } else { vec![] });
        body.extend(text(filter));
        body.push(1);
        self.send(0x82, &body).await;
        *self.read().await.unwrap().last().unwrap()
    }

    /// The next packet; None: closed.
    async fn read(&mut self) -> Option<Vec<u8>> {
        let read = async {
            let mut out = vec![self.stream.read_u8().await.ok()?];
            let (mut length, mut shift) = (0_usize, 0);
            loop {
                let byte = self.stream.read_u8().await.ok()?;
                out.push(byte);
                length |= usize::from(byte & 127) << shift;
                shift += 7;
                if byte & 128 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await.ok()?;
            out.extend(body);
            Some(out)
        };
        tokio::time::timeout(PATIENCE, read).await.expect("an answer in time")
    }

    /// Everything that was sent before is taken in, and nothing but this comes of it.
    async fn ping(&mut self) {
        self.send(0xc0, &[]).await;
        assert_eq!(self.read().await.unwrap(), [0xd0, 0]);
    }

    /// The next message: topic and payload.
    async fn message(&mut self) -> (String, String) {
        let bytes = self.read().await.unwrap();
        assert_eq!(bytes[0] >> 4, 3, "{bytes:?}");
        let header = 1 + bytes[1..].iter().position(|byte| byte & 128 == 0).unwrap() + 1;
        let body = &bytes[header..];
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let mut at = 2 + length;
        if bytes[0] & 6 != 0 {
            let id = [body[at], body[at + 1]];
            at += 2;
            self.send(0x40, &id).await;
        }
        at += usize::from(self.level == 5);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(&body[2..2 + length]), text(&body[at..]))
    }
}

#[tokio::test]
async fn a_publish_is_acknowledged_when_it_is_on_disk_and_not_before() {
    for level in [4, 5] {
        let rig = Rig::with(&[("pump", &[], &[])]);
        let mut client = rig.client("pump", level).await;
        rig.fake.hold();
        client.send_publish("temp", 7, "21").await;
        client.send_publish("streams/other", 8, "x").await;
        client.send_publish("temp", 9, "22").await;
        client.ping().await;
        assert_eq!((rig.fake.held(), rig.fake.stored("temp").len()), (3, 0));
        rig.fake.release();
        for id in [7, 8, 9] {
            assert_eq!(client.read().await.unwrap(), [0x40, 2, 0, id], "in their order");
        }
        assert_eq!(rig.fake.stored("temp"), ["21", "22"]);
        assert_eq!(rig.fake.stored("other"), ["x"]);
        client.send_publish("temp", 0, "23").await;
        client.ping().await;
        assert_eq!(rig.fake.stored("temp").len(), 3, "QoS 0 is stored too");
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_and_said() {
    for (why, words) in [
        (Refused::DiskFull("no space".into()), "the disk is full"),
        (Refused::Dropped(Range { from: 3, to: 3 }), "used up its quota"),
        (Refused::TooManyStreams, "as many streams as it"),
        (Refused::TooManyOfOne, "as many streams as one"),
    ] {
        let rig = Rig::with(&[("pump", &[], &[])]);
        rig.fake.refuse(Some(why));
        let mut five = rig.client("pump", 5).await;
        five.send_publish("temp", 7, "21").await;
        assert_eq!(five.read().await.unwrap(), [0x40, 3, 0, 7, 0x97]);
        let mut three = rig.client("pump", 4).await;
        three.send_publish("temp", 7, "21").await;
        assert_eq!(three.read().await, None, "3.1.1 has no word for it");
        assert!(rig.problem().contains(words), "{}", rig.problem());
        rig.fake.refuse(None);
        five.send_publish("temp", 8, "21").await;
        assert_eq!(five.read().await.unwrap(), [0x40, 2, 0, 8]);
        assert_eq!(rig.fake.owners(), [Some(name("pump"))].into());
    }
}

#[tokio::test]
async fn qos_0_does_not_wait_for_a_busy_buffer_and_its_loss_is_counted() {
    let rig = Rig::with(&[("pump", &[], &[])]);
    let mut client = rig.client("pump", 4).await;
    rig.fake.refuse(Some(Refused::Busy));
    client.send_publish("temp", 0, "1").await;
    client.send_publish("temp", 0, "2").await;
    client.ping().await;
    rig.fake.refuse(None);
    client.send_publish("temp", 0, "3").await;
    client.ping().await;
    assert_eq!(rig.counted("dropped"), 2);
    assert_eq!(rig.fake.stored("temp"), ["3"]);
    assert!(rig.problem().contains("dropped"));
}

#[tokio::test]
async fn a_topic_that_is_no_stream_is_refused() {
    let rig = Rig::with(&[("pump", &[], &[])]);
    let mut five = rig.client("pump", 5).await;
    for topic in ["a b", "$SYS/x", "workloads/pump", "/", &"x".repeat(200)] {
        five.send_publish(topic, 7, "1").await;
        assert_eq!(five.read().await.unwrap(), [0x40, 3, 0, 7, 0x90], "{topic}");
    }
    five.send_publish("workloads/fan/x", 7, "1").await;
    assert_eq!(five.read().await.unwrap(), [0x40, 3, 0, 7, 0x87], "not allowed");
    let mut three = rig.client("pump", 4).await;
    three.send_publish("a b", 7, "1").await;
    assert_eq!(three.read().await, None);
    assert!(rig.problem().contains("names no stream"));
    assert!(rig.counted("refused") >= 7);
    five.ping().await;
}

#[tokio::test]
async fn nobody_publishes_to_a_stream_that_the_agent_fills() {
    let mut rig = Rig::with(&[("pump", &[], &[])]);
    rig.bus.keep_for_sources(["device/metrics".parse().unwrap()].into());
    let mut five = rig.client("pump", 5).await;
    for topic in ["device/metrics", "streams/device/metrics"] {
        five.send_publish(topic, 7, "1").await;
        assert_eq!(five.read().await.unwrap(), [0x40, 3, 0, 7, 0x87], "{topic}");
    }
    five.send_publish("device/metric", 8, "1").await;
    assert_eq!(five.read().await.unwrap(), [0x40, 2, 0, 8]);
    let mut three = rig.client("pump", 4).await;
    three.send_publish("device/metrics", 7, "1").await;
    assert_eq!(three.read().await, None);
    assert_eq!(rig.fake.stored("device/metrics"), Vec::<String>::new());
    assert!(rig.problem().contains("the agent itself fills"));
    rig.bus.keep_for_sources([].into());
    five.send_publish("device/metrics", 9, "1").await;
    assert_eq!(five.read().await.unwrap(), [0x40, 2, 0, 9]);
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_before_it_is_read() {
    for level in [4, 5] {
        let rig = Rig::with(&[("pump", &[], &[])]);
        let mut client = rig.client("pump", level).await;
        let largest = "x".repeat(MAX_RECORD);
        client.send_publish("temp", 7, &largest).await;
        assert_eq!(client.read().await.unwrap(), [0x40, 2, 0, 7]);
        // A little more fits the packet, and is refused as a record.
        let mut other = rig.client("pump", level).await;
        other.send_publish("temp", 7, &format!("{largest}x")).await;
        let answer = other.read().await;
        assert_eq!(answer, (level == 5).then(|| vec![0x40, 3, 0, 7, 0x97]));
        // Much more: the header tells.
        client.stream.write_all(&[0x32, 0xff, 0xff, 0xff, 0x7f]).await.unwrap();
        let end = client.read().await;
        assert_eq!(end.is_some(), level == 5, "{end:?}");
        assert!(end.is_none_or(|it| it[0] == 0xe0 && it[2] == 0x95));
        assert!(rig.problem().contains("64 KiB"));
        assert_eq!(rig.fake.stored("temp").len(), 1);
    }
}

#[tokio::test]
async fn who_has_no_credentials_is_not_let_in() {
    let rig = Rig::with(&[("pump", &[], &[]), ("fan", &[], &[])]);
    let port = rig.access.port().unwrap();
    let password = |of: &str| rig.access.workload(&name(of), 1).unwrap().password;
    for (user, password) in [
        ("pump", password("fan")),
        ("pump", String::new()),
        ("nobody", password("pump")),
        ("Not A Name", password("pump")),
    ] {
        for (level, code) in [(4, 4), (5, 0x86)] {
            let mut client = Client::open(port, level).await;
            client.connect("", user, &password).await;
            assert_eq!(client.read().await.unwrap()[3], code, "{user} {level}");
            assert_eq!(client.read().await, None);
        }
    }
    assert!(rig.problem().contains("wrong user name or password"));
    // What is no CONNECT at all.
    let mut noise = Client::open(port, 4).await;
    noise.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(noise.read().await, None);
}

#[tokio::test]
async fn workloads_reach_each_other_as_far_as_they_are_allowed_to() {
    let mut rig = Rig::with(&[
        ("pump", &[], &[]),
        ("watch", &["pump/#"], &["pump/set/+"]),
        ("fan", &[], &[]),
    ]);
    let mut pump = rig.client("pump", 4).await;
    let mut watch = rig.client("watch", 5).await;
    let mut fan = rig.client("fan", 5).await;
    assert_eq!(watch.subscribe("workloads/pump/#").await, 1);
    assert_eq!(watch.subscribe("workloads/fan/#").await, 0x87);
    assert_eq!(fan.subscribe("workloads/pump/#").await, 0x87);
    assert_eq!(fan.subscribe("#").await, 1);
    assert_eq!(pump.subscribe("set/+").await, 1);
    pump.send_publish("temp", 1, "21").await;
    assert_eq!(watch.message().await, ("workloads/pump/temp".into(), "21".into()));
    pump.send_publish("local/state", 2, "on").await;
    assert_eq!(watch.message().await, ("workloads/pump/local/state".into(), "on".into()));
    assert_eq!(pump.read().await.unwrap(), [0x40, 2, 0, 1]);
    assert_eq!(pump.read().await.unwrap(), [0x40, 2, 0, 2]);
    watch.send_publish("workloads/pump/set/speed", 3, "9").await;
    assert_eq!(pump.message().await, ("set/speed".into(), "9".into()));
    assert_eq!(watch.read().await.unwrap(), [0x40, 2, 0, 3]);
    // It has subscribed to that one's topics, whoever publishes to them.
    assert_eq!(watch.message().await, ("workloads/pump/set/speed".into(), "9".into()));
    watch.send_publish("workloads/pump/other", 4, "9").await;
    assert_eq!(watch.read().await.unwrap(), [0x40, 3, 0, 4, 0x87]);
    // What is local is stored nowhere.
    assert_eq!(rig.fake.stored("temp"), ["21"]);
    assert_eq!(rig.fake.stored("set/speed"), Vec::<String>::new());
    // A document that allows less holds at once.
    rig.admit("watch", &[], &[]);
    pump.send_publish("temp", 5, "22").await;
    assert_eq!(pump.read().await.unwrap(), [0x40, 2, 0, 5]);
    watch.ping().await;
    fan.ping().await;
    // Who is gone is cut.
    rig.bus.dismiss(&name("pump"));
    assert_eq!(pump.read().await, None);
}

#[tokio::test]
async fn retained_messages_wait_for_those_who_come_later() {
    let rig = Rig::with(&[("pump", &[], &[]), ("watch", &["pump/#"], &[])]);
    let mut pump = rig.client("pump", 4).await;
    let mut retained = pump.publish("local/state", 1, b"on");
    retained[0] |= 1;
    pump.stream.write_all(&retained).await.unwrap();
    assert_eq!(pump.read().await.unwrap(), [0x40, 2, 0, 1]);
    let mut watch = rig.client("watch", 5).await;
    watch.subscribe("workloads/pump/local/+").await;
    let message = watch.message().await;
    assert_eq!(message, ("workloads/pump/local/state".into(), "on".into()));
    let mut cleared = pump.publish("local/state", 2, b"");
    cleared[0] |= 1;
    pump.stream.write_all(&cleared).await.unwrap();
    assert_eq!(watch.message().await.1, "");
    let mut late = rig.client("watch", 5).await;
    late.subscribe("workloads/pump/#").await;
    late.ping().await;
}

#[tokio::test]
async fn who_never_reads_is_cut_and_said_and_nobody_else_waits() {
    let rig = Rig::with(&[("pump", &[], &[]), ("fan", &[], &[])]);
    let mut deaf = rig.client("pump", 4).await;
    deaf.subscribe("#").await;
    let mut fan = rig.client("fan", 4).await;
    let bytes = deaf.publish("temp", 0, &vec![b'x'; 60_000]);
    // It publishes without end, gets everything back, and reads none of it.
    let cut = async { while deaf.stream.write_all(&bytes).await.is_ok() {} };
    let others = async {
        loop {
            fan.send_publish("calm", 1, "1").await;
            assert_eq!(fan.read().await.unwrap(), [0x40, 2, 0, 1]);
        }
    };
    tokio::select! {
        ended = tokio::time::timeout(PATIENCE, cut) => ended.expect("it is cut"),
        () = others => {}
    }
    assert_eq!(rig.counted("cut"), 1);
    assert!(rig.problem().contains("does not read"), "{}", rig.problem());
    rig.client("fan", 4).await.ping().await;
}

#[tokio::test]
async fn the_bus_is_served_on_a_unix_socket_and_a_former_password_nowhere() {
    let mut rig = Rig::with(&[("pump", &[], &[])]);
    let former = rig.access.workload(&name("pump"), 1).unwrap();
    let now = rig.access.workload(&name("pump"), 2).unwrap();
    rig.bus.admit(name("pump"), Permissions::default(), Some(2));
    for (entry, code) in [(&former, 4), (&now, 0)] {
        let mut stream = UnixStream::connect(&entry.bus).await.unwrap();
        let login = [text("c"), text("pump"), text(&entry.password)].concat();
        let body = [text("MQTT"), vec![4, 0xc2, 0, 60], login].concat();
        stream.write_all(&packet(0x10, &body)).await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, [0x20, 2, 0, code]);
        let mut client = Client::open(entry.port, 4).await;
        client.connect("", "pump", &entry.password).await;
        assert_eq!(client.read().await.unwrap()[3], code);
    }
}

#[tokio::test]
async fn clients_are_bounded() {
    let rig = Rig::with(&[("pump", &[], &[]), ("fan", &[], &[])]);
    let mut clients = Vec::new();
    for _ in 0..MAX_OF_ONE {
        clients.push(rig.client("pump", 4).await);
    }
    let entry = rig.access.workload(&name("pump"), 1).unwrap();
    let mut surplus = Client::open(entry.port, 4).await;
    surplus.connect("", "pump", &entry.password).await;
    assert_eq!(surplus.read().await.unwrap(), [0x20, 2, 0, 3], "unavailable");
    let mut fan = rig.client("fan", 4).await;
    fan.ping().await;
    // Strangers that say nothing shut nobody out, and go after a while.
    let mut strangers = Vec::new();
    for _ in 0..MAX_CLIENTS {
        strangers.push(Client::open(entry.port, 4).await);
        rig.client("fan", 4).await.ping().await;
    }
    let user = format!("user {}", rustix::process::geteuid().as_raw());
    assert!(rig.problem().contains(&user), "{}", rig.problem());
    for mut stranger in strangers {
        assert_eq!(stranger.read().await, None);
    }
    fan.ping().await;
    drop(clients);
    rig.client("fan", 5).await.ping().await;
}

#[tokio::test]
async fn a_port_that_somebody_has_is_said_and_taken_when_it_is_free() {
    let mut rig = Rig::new();
    let port = rig.access.port().unwrap();
    let other = std::net::TcpListener::bind((HOST, port)).unwrap();
    rig.admit("pump", &[], &[]);
    let said =
        |rig: &Rig| rig.bus.problems().into_iter().find(|(code, _)| *code == "bus").unwrap().1;
    assert!(said(&rig).unwrap().contains(&port.to_string()));
    drop(other);
    rig.bus.look();
    assert_eq!(said(&rig), None);
    rig.client("pump", 4).await.ping().await;
}

#[tokio::test]
async fn a_local_access_is_let_in_as_soon_as_it_is_made_and_no_longer_than_it_is_there() {
    let mut rig = Rig::new();
    assert!(rig.bus.is_idle(), "nobody may come, and nothing listens");
    let tool = Access::new(rig.scratch.path(), None);
    let entry = tool.create(&name("meter"), Permissions::default()).unwrap().entry;
    rig.bus.look();
    let mut client = Client::open(entry.port, 4).await;
    client.connect("", "meter", &entry.password).await;
    assert_eq!(client.read().await.unwrap(), [0x20, 2, 0, 0]);
    // Another one needs no look: who knocks is looked for.
    let entry = tool.create(&name("other"), Permissions::default()).unwrap().entry;
    let mut other = Client::open(entry.port, 5).await;
    other.connect("me", "other", &entry.password).await;
    assert_eq!(other.read().await.unwrap()[3], 0);
    tool.remove(&name("meter")).unwrap();
    rig.bus.look();
    assert_eq!(client.read().await, None);
    other.ping().await;
    // A workload of that name: its own credentials hold, and it is said.
    rig.admit("other", &[], &[]);
    let problems = rig.bus.problems();
    let twice = problems.iter().find(|(code, _)| *code == "local-access").unwrap();
    assert!(twice.1.as_ref().unwrap().contains("other"));
    let mut former = Client::open(entry.port, 4).await;
    former.connect("", "other", &entry.password).await;
    assert_eq!(former.read().await.unwrap()[3], 4);
}

#[tokio::test]
async fn a_newer_client_of_the_same_id_takes_the_place_of_the_older() {
    let rig = Rig::with(&[("pump", &[], &[]), ("fan", &[], &[])]);
    let entry = |of: &str| rig.access.workload(&name(of), 1).unwrap();
    let mut clients = Vec::new();
    for workload in ["pump", "fan", "pump"] {
        let entry = entry(workload);
        let mut client = Client::open(entry.port, 5).await;
        client.connect("same", workload, &entry.password).await;
        assert_eq!(client.read().await.unwrap()[3], 0);
        clients.push(client);
    }
    let end = clients[0].read().await.unwrap();
    assert_eq!((end[0], end[2]), (0xe0, 0x8e), "taken over");
    clients[1].ping().await;
    clients[2].ping().await;
}
