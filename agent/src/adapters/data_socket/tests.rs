//! Tests of the data socket over a real one, with a buffer that can be held back.

use holdfast_base::ids::Name;
use holdfast_protocol::workload::Bus as Permissions;
use holdfast_records::Range;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::slot::{MAX_CONNECTIONS, MAX_OF_ONE};
use super::*;
use crate::adapters::access::Access;
use crate::adapters::bus::Bus;
use crate::adapters::intake::Refused;
use crate::adapters::intake_fake::Fake;

struct Rig {
    scratch: tempfile::TempDir,
    fake: Fake,
    problem_log: Arc<ProblemLog>,
    /// Authorization header of workload pump.
    basic: String,
    /// Authorization header of workload fan.
    other: String,
    bus: Bus,
    _socket: DataSocket,
}

impl Rig {
    fn new() -> Self {
        use base64::Engine as _;
        let scratch = tempfile::tempdir().unwrap();
        let access = Arc::new(Access::new(scratch.path(), None));
        let (fake, problem_log) = (Fake::default(), Arc::<ProblemLog>::default());
        let mut bus =
            Bus::new(Arc::clone(&access), Arc::new(fake.clone()), Arc::clone(&problem_log));
        let mut admit = |name: &str| {
            let name: Name = name.parse().unwrap();
            bus.admit(name.clone(), Permissions::default(), Some(1));
            let password = access.workload(&name, 1).unwrap().password;
            let pair = format!("{name}:{password}");
            let pair = base64::engine::general_purpose::STANDARD.encode(pair);
            format!("authorization: Basic {pair}\r\n")
        };
        let (basic, other) = (admit("pump"), admit("fan"));
        let intake = Arc::new(fake.clone());
        let mut socket = DataSocket::new(bus.authority(), intake, Arc::clone(&problem_log));
        socket.listen(&access.socket());
        assert_eq!(socket.problem(), None);
        Self { scratch, fake, problem_log, basic, other, bus, _socket: socket }
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.scratch.path().join("data.sock")).await.unwrap()
    }

    async fn send(&self, request: &[u8]) -> (u16, String) {
        let mut stream = self.connect().await;
        let answer = async {
            // Who is refused early may be closed before all is sent.
            let _early = stream.write_all(request).await;
            let mut text = Vec::new();
            let _reset = stream.read_to_end(&mut text).await;
            String::from_utf8(text).unwrap()
        };
        let text = tokio::time::timeout(Duration::from_secs(20), answer).await.unwrap();
        let status = text.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer: {text:?}"));
        (status, text.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    async fn post(&self, stream: &str, kind: &str, body: &[u8]) -> (u16, String) {
        let close = format!("connection: close\r\n{}{kind}", self.basic);
        let head = head(stream, &close, body.len());
        self.send(&[head.as_bytes(), body].concat()).await
    }

    /// Posts as workload fan; returns the status.
    async fn post_of_other(&self) -> u16 {
        let head = head("fan", &format!("connection: close\r\n{}", self.other), 1);
        self.send(format!("{head}1").as_bytes()).await.0
    }
}

fn head(stream: &str, more: &str, length: usize) -> String {
    format!(
        "POST /v1/streams/{stream} HTTP/1.1\r\nhost: x\r\n{more}content-length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn records_of_every_kind_are_stored_before_they_are_answered_for() {
    let rig = Rig::new();
    let stored = (200, "{\"first\":1,\"last\":2,\"stored\":2}\n".to_owned());
    let ndjson = "content-type: application/x-ndjson; charset=utf-8\r\n";
    assert_eq!(rig.post("a", ndjson, b"{\"t\":1}\n2\n").await, stored);
    assert_eq!(rig.post("b/c", "", b"1\n2").await, stored);
    assert_eq!(rig.post("b%2Fd", "content-type: text/plain\r\n", b"x y\n\nz\n").await, stored);
    let cbor = "content-type: application/cbor-seq\r\n";
    assert_eq!(rig.post("e", cbor, b"\x01\x61x").await, stored);
    let json = "content-type: application/json\r\n";
    assert_eq!(rig.post("f", json, b"{\n\"t\": 1\n}\n").await.0, 200);
    assert_eq!(rig.post("f", json, b"[]").await.1, "{\"first\":2,\"last\":2,\"stored\":1}\n");
    assert_eq!(rig.post("g", ndjson, b"\n").await, (200, "{\"stored\":0}\n".to_owned()));
    assert_eq!(rig.fake.stored("a"), ["{\"t\":1}", "2"]);
    assert_eq!(rig.fake.stored("b/d"), ["x y", "z"]);
    assert_eq!(rig.fake.owners(), [Some("pump".parse().unwrap())].into());
    rig.fake.hold();
    let waiting = rig.post("h", "", b"1");
    tokio::pin!(waiting);
    let release = async {
        while rig.fake.held() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = &mut waiting => panic!("answered before it is stored: {answer:?}"),
        () = release => rig.fake.release(),
    }
    assert_eq!(waiting.await.0, 200);
}

#[tokio::test]
async fn what_is_wrong_is_said_with_what_to_do_and_nothing_of_it_is_stored() {
    let rig = Rig::new();
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let large = vec![b'1'; 70_000];
    for (stream, kind, body, status, words) in [
        ("a", "", &b"1\n{\n3\n"[..], 400, "\"line\":2"),
        ("a", form, b"1", 415, "application/x-ndjson"),
        ("a%2Ab", "", b"1", 400, "is not the name of a stream"),
        ("", "", b"1", 400, "is not the name of a stream"),
        ("a", "", &large, 413, "65536"),
        ("a", "content-type: application/cbor\r\n", b"\x01\xff", 400, "item 2"),
    ] {
        let (code, text) = rig.post(stream, kind, body).await;
        assert!(code == status && text.contains(words), "{code} {text}");
    }
    let huge = vec![b'\n'; 8 * 1024 * 1024 + 1];
    assert_eq!(rig.post("a", "", &huge).await.0, 413);
    assert_eq!(rig.fake.stored("a"), Vec::<String>::new());
    assert!(rig.problem_log.problems(uptime_ms(), 0).join("\n").contains("pump: posted"));
    let get =
        format!("GET /v1/streams/a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}\r\n", rig.basic);
    assert_eq!(rig.send(get.as_bytes()).await.0, 405);
    let other = get.replace("/v1/streams/a", "/metrics");
    assert_eq!(rig.send(other.as_bytes()).await.0, 404);
}

#[tokio::test]
async fn nobody_posts_to_a_stream_that_the_agent_fills() {
    let mut rig = Rig::new();
    rig.bus.keep_for_sources(["logs/pump".parse().unwrap()].into());
    let (code, text) = rig.post("logs%2Fpump", "", b"1").await;
    assert!(code == 403 && text.contains("source"), "{code} {text}");
    assert_eq!(rig.post("logs/fan", "", b"1").await.0, 200);
    assert_eq!(rig.fake.stored("logs/pump"), Vec::<String>::new());
    assert!(rig.problem_log.problems(uptime_ms(), 0).join("\n").contains("the agent itself fills"));
}

#[tokio::test]
async fn the_buffers_no_is_passed_on() {
    let rig = Rig::new();
    for (why, status) in [
        (Refused::Busy, 429),
        (Refused::DiskFull("no space".into()), 507),
        (Refused::TooManyStreams, 507),
        (Refused::TooManyOfOne, 507),
        (Refused::Closed, 503),
    ] {
        rig.fake.refuse(Some(why));
        assert_eq!(rig.post("a", "", b"1").await.0, status);
    }
    rig.fake.refuse(Some(Refused::Dropped(Range { from: 7, to: 8 })));
    let (status, text) = rig.post("a", "", b"1\n2\n").await;
    let said: serde_json::Value = serde_json::from_str(&text).unwrap();
    let error = &said["error"];
    assert_eq!((status, &error["code"]), (507, &"quota".into()));
    assert_eq!((&error["stored"], &error["dropped"]), (&0.into(), &2.into()));
    assert!(error["message"].as_str().unwrap().contains("spec.quota"), "{text}");
}

#[tokio::test]
async fn who_is_nobody_is_told_how_to_be_somebody() {
    let mut rig = Rig::new();
    rig.basic.clear();
    let (code, text) = rig.post("a", "", b"1").await;
    assert!(code == 401 && text.contains("HOLDFAST_MQTT_PASSWORD"), "{code} {text}");
    rig.basic = "authorization: Basic cHVtcDp4\r\n".into();
    assert_eq!(rig.post("a", "", b"1").await.0, 401);
    rig.basic = "authorization: Bearer x\r\n".into();
    assert_eq!(rig.post("a", "", b"1").await.0, 401);
    assert_eq!(rig.fake.stored("a"), Vec::<String>::new());
}

#[tokio::test]
async fn who_is_nobody_is_not_waited_for() {
    let rig = Rig::new();
    // More than a little is claimed, and nothing sent.
    let claim = head("a", "", 1_000_000);
    let answered = rig.send(claim.as_bytes());
    let (code, _) = tokio::time::timeout(Duration::from_secs(1), answered).await.unwrap();
    assert_eq!(code, 401);
}

#[tokio::test]
async fn a_body_that_trickles_in_is_given_up() {
    let rig = Rig::new();
    let (mut read, mut write) = rig.connect().await.into_split();
    write.write_all(head("a", &rig.basic, 4 * 1024 * 1024).as_bytes()).await.unwrap();
    let trickle = async {
        while write.write_all(b"1").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    let answered = async {
        let _reset = read.read_to_end(&mut answer).await;
    };
    tokio::select! {
        () = trickle => {}
        done = tokio::time::timeout(Duration::from_secs(20), answered) => done.unwrap(),
    }
    let text = String::from_utf8(answer).unwrap();
    assert!(text.starts_with("HTTP/1.1 408") && text.contains("too slowly"), "{text}");
    assert_eq!(rig.fake.stored("a"), Vec::<String>::new());
}

#[tokio::test]
async fn connections_and_bodies_are_bounded_and_one_caller_leaves_room_for_others() {
    let rig = Rig::new();
    let busy = |answer: &(u16, String)| answer.0 == 429;
    // A call that claims all the memory that a caller may have, and sends nothing.
    let mut idle = rig.connect().await;
    idle.write_all(head("a", &rig.basic, 8 * 1024 * 1024).as_bytes()).await.unwrap();
    // The claim may not have been read yet.
    while !busy(&rig.post("b", "", b"1").await) {}
    assert_eq!(rig.post_of_other().await, 200);
    drop(idle);
    while busy(&rig.post("b", "", b"1").await) {}

    let mut many = Vec::new();
    for _ in 0..MAX_OF_ONE {
        let mut stream = rig.connect().await;
        stream.write_all(format!("{}1", head("c", &rig.basic, 1)).as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        many.push(stream);
    }
    let answer = rig.post("c", "", b"1").await;
    assert!(busy(&answer) && answer.1.contains("connections of pump"), "{answer:?}");
    assert_eq!(rig.post_of_other().await, 200);
    drop(many);
    while busy(&rig.post("c", "", b"1").await) {}

    // Silent ones shut nobody out: the oldest of their user is cut, and that user is reported.
    let mut many = Vec::new();
    for _ in 0..2 * MAX_CONNECTIONS {
        many.push(rig.connect().await);
        assert_eq!(rig.post_of_other().await, 200);
    }
    assert_eq!(many[0].read(&mut [0; 1]).await.unwrap(), 0, "the oldest was not cut");
    let user = format!("user {}", rustix::process::geteuid().as_raw());
    let said = rig.problem_log.problems(uptime_ms(), 0).join("\n");
    assert!(said.contains(&user), "{said}");
}

#[tokio::test]
async fn headers_that_make_another_thing_of_a_body_are_refused() {
    let rig = Rig::new();
    for header in [
        "content-encoding: gzip\r\n",
        "content-encoding: identity\r\ncontent-encoding: br\r\n",
        "content-range: bytes 0-0/2\r\n",
        "content-type: application/json; charset=utf-16\r\n",
        "content-type: text/plain;charset=\"ISO-8859-1\"\r\n",
        "content-type: multipart/form-data; boundary=x\r\n",
        "content-type: application/json\r\ncontent-type: text/plain\r\n",
    ] {
        let (status, answer) = rig.post("temp", header, b"1").await;
        assert_eq!(status, 415, "{header}: {answer}");
    }
    for header in [
        "content-encoding: identity\r\n",
        "content-type: application/json; charset=\"UTF-8\"\r\n",
        "content-type: text/plain;charset=us-ascii\r\n",
    ] {
        assert_eq!(rig.post("temp", header, b"1").await.0, 200, "{header}");
    }
    let chunked = format!(
        "POST /v1/streams/temp HTTP/1.1\r\nhost: x\r\n{}connection: close\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
        rig.basic
    );
    assert!(matches!(rig.send(chunked.as_bytes()).await.0, 400 | 415 | 501));
    assert_eq!(rig.fake.stored("temp").len(), 3);
}

#[tokio::test]
async fn a_refusal_reaches_who_sends_all_before_it_reads() {
    let rig = Rig::new();
    let stranger = "authorization: Basic eDp5\r\n".to_owned();
    for (kind, basic, size, wanted) in [
        ("content-type: text/plain\r\n", &rig.basic, 9 * 1024 * 1024, 413),
        ("content-type: image/png\r\n", &rig.basic, 20 * 1024 * 1024, 415),
        ("content-type: text/plain\r\n", &stranger, 9 * 1024 * 1024, 401),
    ] {
        let head = head("temp", &format!("{basic}{kind}"), size);
        let mut stream = rig.connect().await;
        let all = [head.as_bytes(), &vec![b'x'; size]].concat();
        stream.write_all(&all).await.unwrap_or_else(|error| panic!("{wanted}: {error}"));
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), format!("HTTP/1.1 {wanted}"));
    }
}

#[tokio::test]
async fn names_are_escaped_as_addresses_are() {
    let rig = Rig::new();
    for (path, name) in [
        ("zigbee2mqtt/Living%20Room", "zigbee2mqtt/Living Room"),
        ("te%2Fdevice%2fmain///m/env", "te/device/main///m/env"),
        ("/a", "/a"),
        ("100%25", "100%"),
        ("%E6%B8%A9", "\u{6e29}"),
    ] {
        assert_eq!(rig.post(path, "", b"1").await.0, 200, "{path}");
        assert_eq!(rig.fake.stored(name), ["1"], "{path}");
    }
    for bad in ["%", "%4", "%zz", "%ff", "a%2A", "%24SYS", "a%0Ab", "a/../b"] {
        assert_eq!(rig.post(bad, "", b"1").await.0, 400, "{bad}");
    }
}
