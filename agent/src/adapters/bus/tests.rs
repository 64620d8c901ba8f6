//! Tests of the bus over real sockets, with a buffer that can be held back.

use holdfast_records::Range;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::shared::{MAX_CLIENTS, MAX_OF_ONE};
use super::*;
use crate::adapters::intake::Refused;
use crate::adapters::intake_fake::Fake;

const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    scratch: tempfile::TempDir,
    bus: Bus,
    access: Arc<Access>,
    fake: Fake,
    problem_log: Arc<ProblemLog>,
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

impl Rig {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let access = Arc::new(Access::new(scratch.path(), None));
        let (fake, problem_log) = (Fake::default(), Arc::<ProblemLog>::default());
        let bus = Bus::new(Arc::clone(&access), Arc::new(fake.clone()), Arc::clone(&problem_log));
        Self { scratch, bus, access, fake, problem_log }
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
        self.problem_log.problems(uptime_ms(), 0).join("\n")
    }

    fn counted(&self, what: &str) -> u64 {
        self.bus.counts()[what].as_u64().unwrap()
    }
}

/// MQTT client of a test that reads and writes plain bytes.
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

    /// Reads the next packet; `None` when the connection is closed.
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

    /// Asserts that a ping is the only thing answered, so that everything sent before was taken in.
    async fn ping(&mut self) {
        self.send(0xc0, &[]).await;
        assert_eq!(self.read().await.unwrap(), [0xd0, 0]);
    }

    /// Reads the next message: topic and payload.
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
        let for_good = matches!(why, Refused::TooManyStreams | Refused::TooManyOfOne);
        let rig = Rig::with(&[("pump", &[], &[])]);
        rig.fake.refuse(Some(why));
        let mut five = rig.client("pump", 5).await;
        five.send_publish("temp", 7, "21").await;
        assert_eq!(five.read().await.unwrap(), [0x40, 3, 0, 7, 0x97]);
        let mut three = rig.client("pump", 4).await;
        three.send_publish("temp", 7, "21").await;
        let word = for_good.then(|| vec![0x40, 2, 0, 7]);
        assert_eq!(three.read().await, word, "3.1.1 has no word for it");
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
    for topic in ["a*", "a/+", "$SYS/x", "workloads/pump", "a/../b", &"x".repeat(200)] {
        five.send_publish(topic, 7, "1").await;
        assert_eq!(five.read().await.unwrap(), [0x40, 3, 0, 7, 0x90], "{topic}");
    }
    five.send_publish("workloads/fan/x", 7, "1").await;
    assert_eq!(five.read().await.unwrap(), [0x40, 3, 0, 7, 0x87], "not allowed");
    let mut three = rig.client("pump", 4).await;
    three.send_publish("a*", 7, "1").await;
    three.send_publish("zigbee2mqtt/Living Room", 8, "1").await;
    assert_eq!(three.read().await.unwrap(), [0x40, 2, 0, 7], "3.1.1 has no word for it");
    assert_eq!(three.read().await.unwrap(), [0x40, 2, 0, 8], "what comes behind is taken");
    assert_eq!(rig.fake.stored("zigbee2mqtt/Living Room"), ["1"]);
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
    assert_eq!(three.read().await.unwrap(), [0x40, 2, 0, 7], "3.1.1 has no word for it");
    three.ping().await;
    assert_eq!(rig.fake.stored("device/metrics"), Vec::<String>::new());
    assert!(rig.problem().contains("the agent itself fills"));
    rig.bus.keep_for_sources([].into());
    five.send_publish("device/metrics", 9, "1").await;
    assert_eq!(five.read().await.unwrap(), [0x40, 2, 0, 9]);
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_and_its_client_goes_on() {
    for level in [4, 5] {
        let rig = Rig::with(&[("pump", &[], &[])]);
        let mut client = rig.client("pump", level).await;
        let largest = "x".repeat(MAX_RECORD);
        client.send_publish("temp", 7, &largest).await;
        assert_eq!(client.read().await.unwrap(), [0x40, 2, 0, 7]);
        // A little more fits the packet; much more does not, and is never kept.
        for (id, size) in [(8, MAX_RECORD + 1), (9, 20 * MAX_RECORD)] {
            client.send_publish("temp", id, &"x".repeat(size)).await;
            let word = if level == 5 {
                vec![0x40, 3, 0, id as u8, 0x97]
            } else {
                vec![0x40, 2, 0, id as u8]
            };
            assert_eq!(client.read().await.unwrap(), word);
        }
        client.ping().await;
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
    // Connections that send nothing shut nobody out, and are cut after a while.
    let mut unauthenticated = Vec::new();
    for _ in 0..MAX_CLIENTS {
        unauthenticated.push(Client::open(entry.port, 4).await);
        rig.client("fan", 4).await.ping().await;
    }
    let user = format!("user {}", rustix::process::geteuid().as_raw());
    assert!(rig.problem().contains(&user), "{}", rig.problem());
    for mut client in unauthenticated {
        assert_eq!(client.read().await, None);
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
    let said = |rig: &Rig| {
        rig.bus.problems().into_iter().find(|(code, _)| *code == ProblemCode::Bus).unwrap().1
    };
    assert!(said(&rig).unwrap().contains(&port.to_string()));
    drop(other);
    rig.bus.refresh();
    assert_eq!(said(&rig), None);
    rig.client("pump", 4).await.ping().await;
}

#[tokio::test]
async fn a_local_access_is_let_in_as_soon_as_it_is_made_and_no_longer_than_it_is_there() {
    let mut rig = Rig::new();
    assert!(rig.bus.is_idle(), "nobody may come, and nothing listens");
    let tool = Access::new(rig.scratch.path(), None);
    let entry = tool.create(&name("meter"), Permissions::default()).unwrap().entry;
    rig.bus.refresh();
    let mut client = Client::open(entry.port, 4).await;
    client.connect("", "meter", &entry.password).await;
    assert_eq!(client.read().await.unwrap(), [0x20, 2, 0, 0]);
    // Another one needs no look: who knocks is looked for.
    let entry = tool.create(&name("other"), Permissions::default()).unwrap().entry;
    let mut other = Client::open(entry.port, 5).await;
    other.connect("me", "other", &entry.password).await;
    assert_eq!(other.read().await.unwrap()[3], 0);
    tool.remove(&name("meter")).unwrap();
    rig.bus.refresh();
    assert_eq!(client.read().await, None);
    other.ping().await;
    // A workload of that name: its own credentials hold, and it is reported.
    rig.admit("other", &[], &[]);
    let problems = rig.bus.problems();
    let twice = problems.iter().find(|(code, _)| *code == ProblemCode::LocalAccess).unwrap();
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

/// Records in hand when the server ends a connection are on disk a moment later. The client must be
/// told, or it sends them again with each reconnect.
#[tokio::test]
async fn what_is_stored_is_acknowledged_before_the_connection_ends() {
    for level in [4, 5] {
        let mut rig = Rig::with(&[("pump", &[], &[])]);
        let entry = rig.access.workload(&name("pump"), 1).unwrap();
        for end in ["a bad packet", "a newer client", "no more to send", "the agent stops"] {
            let mut client = Client::open(entry.port, level).await;
            client.connect("same", "pump", &entry.password).await;
            client.read().await.unwrap();
            rig.fake.hold();
            for id in [1, 2] {
                client.send_publish("temp", id, "x").await;
            }
            client.ping().await;
            match end {
                "a bad packet" => client.stream.write_all(&[0, 0]).await.unwrap(),
                "a newer client" => {
                    let mut newer = Client::open(entry.port, level).await;
                    newer.connect("same", "pump", &entry.password).await;
                    newer.read().await.unwrap();
                }
                "no more to send" => client.stream.shutdown().await.unwrap(),
                _ => {}
            }
            let fake = rig.fake.clone();
            let stop = async {
                if end == "the agent stops" {
                    let stored = async {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        fake.release();
                    };
                    tokio::join!(rig.bus.stop(), stored);
                } else {
                    fake.release();
                }
            };
            stop.await;
            for id in [1, 2] {
                assert_eq!(client.read().await.unwrap(), [0x40, 2, 0, id], "{end}");
            }
            let reason = client.read().await.map(|it| it[0]);
            assert_eq!(reason, (level == 5 && end != "no more to send").then_some(0xe0), "{end}");
        }
        assert_eq!(rig.fake.stored("temp").len(), 8);
    }
}

/// MQTT 5 clients that ignore the receive maximum send all they have at once.
#[tokio::test]
async fn a_burst_of_any_size_is_taken_once() {
    for (level, qos) in [(4, 1), (5, 1), (4, 2), (5, 2)] {
        let rig = Rig::with(&[("pump", &[], &[])]);
        let mut client = rig.client("pump", level).await;
        let mut burst = Vec::new();
        for id in 1..=1_000 {
            let mut one = client.publish("temp", id, b"x");
            one[0] = 0x30 | qos << 1;
            burst.extend(one);
        }
        let (mut read, mut write) = client.stream.split();
        let answers = async {
            let mut word = [0; 4];
            for id in 1..=1_000_u16 {
                read.read_exact(&mut word).await.unwrap();
                let first = if qos == 2 { 0x50 } else { 0x40 };
                assert_eq!((word[0], u16::from_be_bytes([word[2], word[3]])), (first, id));
            }
        };
        let both = async { tokio::join!(write.write_all(&burst), answers) };
        let (sent, ()) = tokio::time::timeout(PATIENCE, both).await.unwrap();
        sent.unwrap();
        assert_eq!(rig.fake.stored("temp").len(), 1_000, "{level} {qos}");
    }
}

#[tokio::test]
async fn what_is_retained_is_there_after_a_restart_and_what_clears_it_is_no_record() {
    let mut rig = Rig::with(&[("pump", &[], &[]), ("gone", &[], &[])]);
    for (workload, topic, payload) in
        [("pump", "local/state", "on"), ("pump", "mode", "7"), ("gone", "x", "1")]
    {
        let mut client = rig.client(workload, 4).await;
        for payload in ["before", payload] {
            let mut retained = client.publish(topic, 1, payload.as_bytes());
            retained[0] |= 1;
            client.stream.write_all(&retained).await.unwrap();
            assert_eq!(client.read().await.unwrap(), [0x40, 2, 0, 1]);
        }
    }
    // Without a goodbye too: it is written a moment later.
    let path = rig.scratch.path().join("bus.retained");
    let written = async {
        while !std::fs::read(&path).is_ok_and(|it| it.windows(2).any(|part| part == b"on")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.unwrap();
    rig.bus.dismiss(&name("gone"));
    for cleared in [false, true] {
        let (access, fake) = (Arc::clone(&rig.access), Arc::new(rig.fake.clone()));
        // The former gives up its port, and writes what it has not written yet.
        rig.bus = Bus::new(Arc::new(Access::new(rig.scratch.path(), None)), fake, Arc::default());
        let port = rig.access.port().unwrap();
        while TcpStream::connect((HOST, port)).await.is_ok() {
            tokio::task::yield_now().await;
        }
        rig.bus = Bus::new(access, Arc::new(rig.fake.clone()), Arc::clone(&rig.problem_log));
        rig.admit("pump", &[], &[]);
        rig.admit("gone", &[], &[]);
        let mut again = rig.client("pump", 4).await;
        again.subscribe("#").await;
        let mut all = vec![again.message().await];
        if !cleared {
            all.push(again.message().await);
            let mut clear = again.publish("mode", 2, b"");
            clear[0] |= 1;
            again.stream.write_all(&clear).await.unwrap();
            assert_eq!(again.read().await.unwrap(), [0x40, 2, 0, 2]);
            assert_eq!(again.message().await, ("mode".into(), String::new()));
        }
        let found: Vec<&str> = all.iter().map(|(topic, _)| topic.as_str()).collect();
        let wanted: &[&str] = if cleared { &["local/state"] } else { &["local/state", "mode"] };
        assert_eq!(found, wanted);
        again.ping().await;
        let mut gone = rig.client("gone", 4).await;
        gone.subscribe("#").await;
        gone.ping().await;
    }
    assert_eq!(rig.fake.stored("mode"), ["before", "7"], "no empty record");
    assert_eq!(rig.problem(), "");
}

#[tokio::test]
async fn what_is_meant_as_json_and_is_none_is_said_or_refused() {
    let rig = Rig::with(&[("pump", &[], &[])]);
    let mut client = rig.client("pump", 5).await;
    let typed = |kind: &str, payload: &[u8]| {
        let kind = [vec![3], text(kind)].concat();
        let properties = [vec![kind.len() as u8], kind].concat();
        let body = [text("air"), vec![0, 7], properties, payload.to_vec()].concat();
        packet(0x32, &body)
    };
    for (kind, payload, code) in [
        ("application/json", &b"{\"t\":nan}"[..], 0x99),
        ("application/cbor", b"\xa1", 0x99),
        ("application/json", b"{\"t\":1}", 0),
        ("application/cbor", b"\xa1\x61t\x01", 0),
    ] {
        client.stream.write_all(&typed(kind, payload)).await.unwrap();
        let answer = client.read().await.unwrap();
        assert_eq!(answer.get(4).copied().unwrap_or(0), code, "{kind} {payload:?}");
    }
    assert!(rig.problem().contains("published as application/json what is no JSON"));
    for payload in ["{'t':1}", "{\"t\":21.7,}"] {
        client.send_publish("air", 8, payload).await;
        assert_eq!(client.read().await.unwrap(), [0x40, 2, 0, 8], "it is kept");
    }
    client.send_publish("marked", 9, "\u{feff}{\"t\":1}").await;
    client.read().await.unwrap();
    assert_eq!(rig.fake.stored("marked"), ["{\"t\":1}"]);
    let problem = rig.problem();
    let words = "begins like JSON and is none (nan, a comma too many, single quotes?), kept as text without numbers, on air, at least 2 times, last: {\\\"t\\\":21.7,}";
    assert!(problem.contains(words), "{problem}");
    assert!(!problem.contains("marked"), "{problem}");
}
