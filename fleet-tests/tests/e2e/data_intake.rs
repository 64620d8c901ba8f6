//! Intake of data: records that workloads and other programs publish and post with common clients
//! (mosquitto, paho for Python, curl), and their arrival at the control plane.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use fleet_tests::harness::{Device, Plane, eventually, holds_for};
use serde_json::Value;

use crate::{QUICK, assert_says, await_copies, marker, script};

/// Longest time for records to be stored, shipped and stored again.
const PATIENCE: Duration = Duration::from_secs(90);

/// Credentials of a local access.
struct Way {
    port: String,
    user: String,
    password: String,
    socket: String,
}

impl Way {
    fn create(device: &Device, name: &str, more: &[&str]) -> Self {
        device.await_status("it runs", |_| true);
        let mut command = device.command(&["local-access", "create", name, "-o", "json"]);
        command.args(more);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let entry: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(entry["host"], "127.0.0.1");
        let text = |key: &str| entry[key].as_str().unwrap().to_owned();
        Self {
            port: entry["port"].to_string(),
            user: text("username"),
            password: text("password"),
            socket: text("socket"),
        }
    }

    fn mosquitto(&self, program: &str, version: &str, more: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(["-V", version, "-h", "127.0.0.1", "-p", &self.port]);
        command.args(["-u", &self.user, "-P", &self.password]).args(more);
        command
    }

    fn publish(&self, version: &str, more: &[&str]) -> Output {
        self.mosquitto("mosquitto_pub", version, more).output().unwrap()
    }

    fn paho(&self, version: &str, topics: &str, count: u32) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/paho_bus.py");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).args([version, "127.0.0.1", &self.port, &self.user, &self.password]);
        command.args([topics, &count.to_string()]);
        command
    }

    /// Posts a body and returns status and response.
    fn post(&self, stream: &str, kind: &str, body: &str) -> (u16, Value) {
        let mut command = Command::new("curl");
        command.args(["-sS", "--unix-socket", &self.socket, "-w", "\n%{http_code}"]);
        command.args(["-u", &format!("{}:{}", self.user, self.password)]);
        command.args(["-H", &format!("content-type: {kind}"), "--data-binary", body]);
        command.arg(format!("http://localhost/v1/streams/{stream}"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let (answer, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), serde_json::from_str(answer).unwrap())
    }
}

/// Returns the data records of a stream at the control plane, by sequence number.
fn records(plane: &Plane, device: &str, stream: &str) -> BTreeMap<u64, Value> {
    let stream = stream.replace('/', "%2F").replace(' ', "%20");
    let mut found = BTreeMap::new();
    let mut next = String::new();
    loop {
        let path = format!("/api/v1/devices/{device}/streams/{stream}/records?limit=1000{next}");
        let Ok(answer) = plane.https().get(&path) else { return found };
        // No records yet, or the store is still being opened.
        if matches!(answer.status, 404 | 503) {
            return found;
        }
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let page = answer.json();
        for item in page["items"].as_array().unwrap() {
            found.insert(item["seq"].as_u64().unwrap(), item["value"].clone());
        }
        match page["metadata"]["continue"].as_str() {
            Some(more) => next = format!("&continue={more}"),
            None => return found,
        }
    }
}

/// Waits until the control plane has these values of a stream, in any order.
fn await_values(plane: &Plane, device: &str, stream: &str, wanted: &[&str]) {
    let sorted = |values: Vec<String>| {
        let mut values = values;
        values.sort();
        values
    };
    let wanted = sorted(wanted.iter().map(|it| (*it).to_owned()).collect());
    eventually(PATIENCE, &format!("{stream} has {wanted:?}"), || {
        let found = records(plane, device, stream).into_values();
        let found = sorted(found.map(|it| it.to_string()).collect());
        if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn unchanged_clients_put_records_in_and_all_of_them_arrive() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    // Without any access the agent does not listen.
    assert!(!device.data().join("data.sock").exists());
    let way = Way::create(&device, "meter", &[]);
    let mut number = 0;
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1"] {
            for topic in ["temp", "streams/temp"] {
                number += 1;
                let value = number.to_string();
                succeeded(&way.publish(version, &["-q", qos, "-t", topic, "-m", &value]));
            }
        }
    }
    await_values(&plane, "d-1", "temp", &["1", "2", "3", "4", "5", "6", "7", "8"]);
    for version in ["4", "5"] {
        let output = way.paho(version, &format!("paho/{version}"), 300).output().unwrap();
        succeeded(&output);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "acknowledged 300 of 300\n");
        let wanted: Vec<String> = (0..300).map(|it: u32| it.to_string()).collect();
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        await_values(&plane, "d-1", &format!("paho/{version}"), &wanted);
    }
    let (status, answer) = way.post("curl", "application/x-ndjson", "{\"t\":1}\n{\"t\":2}\n");
    assert_eq!((status, &answer["stored"], &answer["last"]), (200, &2.into(), &2.into()));
    assert_eq!(way.post("curl", "application/json", "[3]").0, 200);
    assert_eq!(way.post("curl", "text/plain", "four\nfive").1["first"], 4);
    await_values(&plane, "d-1", "curl", &["{\"t\":1}", "{\"t\":2}", "[3]", "\"four\"", "\"five\""]);
    let (status, answer) = way.post("curl", "application/x-ndjson", "1\n{\n");
    assert_eq!((status, &answer["error"]["line"]), (400, &2.into()));
    assert_eq!(records(&plane, "d-1", "curl").len(), 5, "nothing of a call that is refused");
}

#[test]
fn a_workload_finds_the_ways_in_and_they_outlive_the_agent() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let marker = marker();
    // By MQTT with its credentials; over HTTP by its user id alone, and with its credentials.
    let text = format!(
        "/bin/sleep {marker} & n=0; while true; do n=$((n+1)); \
         mosquitto_pub -h $HOLDFAST_MQTT_HOST -p $HOLDFAST_MQTT_PORT -u $HOLDFAST_MQTT_USERNAME \
         -P $HOLDFAST_MQTT_PASSWORD -q 1 -t mqtt -m $n; \
         curl -sS --unix-socket $HOLDFAST_SOCKET -H 'content-type: text/plain' -d $n \
         http://localhost/v1/streams/user; \
         curl -sS --unix-socket $HOLDFAST_SOCKET -u $HOLDFAST_MQTT_USERNAME:$HOLDFAST_MQTT_PASSWORD \
         -H 'content-type: text/plain' -d $n http://localhost/v1/streams/basic; \
         sleep 0.2; done"
    );
    plane.cli().apply(&script("pump", "a", &text, QUICK)).ok();
    let pid = device.await_phase("pump", "running");
    let last = |stream: &str| records(&plane, "d-1", stream).keys().max().copied().unwrap_or(0);
    let await_more = |stream: &str, than: u64| {
        eventually(PATIENCE, &format!("more than {than} of {stream}"), || {
            let last = last(stream);
            if last > than { Ok(last) } else { Err(last.to_string()) }
        })
    };
    let before: Vec<u64> =
        ["mqtt", "user", "basic"].into_iter().map(|it| await_more(it, 2)).collect();
    device.restart();
    assert_eq!(device.await_phase("pump", "running"), pid, "it is let in as it runs");
    for (stream, before) in ["mqtt", "user", "basic"].into_iter().zip(before) {
        await_more(stream, before);
    }
    assert_eq!(await_copies(&marker, 1).len(), 1);
    // Asking for the password again keeps the rights.
    let rights = ["--subscribe", "pump/#"];
    let _with_rights = Way::create(&device, "viewer", &rights);
    let again = Way::create(&device, "viewer", &[]);
    let shown = device.command(&["local-access", "create", "viewer"]).output().unwrap();
    assert_says(&String::from_utf8_lossy(&shown.stdout), &["workloads/pump/#", &again.password]);
    let read = again
        .mosquitto("mosquitto_sub", "mqttv5", &["-t", "workloads/pump/#", "-C", "1", "-W", "30"])
        .output()
        .unwrap();
    assert!(read.status.success(), "{read:?}");
    // The workload's name cannot be used for a local access.
    let output = device.command(&["local-access", "create", "pump"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_says(&String::from_utf8_lossy(&output.stderr), &["is a workload", "another name"]);
    // A deleted workload is disconnected from the bus as well.
    plane.cli().run(&["delete", "workload", "pump"]).ok();
    device.await_status("pump is gone", |status| status["workloads"].get("pump").is_none());
}

#[test]
fn workloads_reach_each_other_as_far_as_their_documents_allow() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let login = "-h $HOLDFAST_MQTT_HOST -p $HOLDFAST_MQTT_PORT -u $HOLDFAST_MQTT_USERNAME -P $HOLDFAST_MQTT_PASSWORD";
    let pump = format!(
        "mosquitto_sub {login} -q 1 -t 'set/+' -F 'pump got %t %p' & \
         while true; do mosquitto_pub {login} -q 1 -t temp -m 21; sleep 0.2; done"
    );
    let talk = format!(
        "mosquitto_sub {login} -q 1 -t 'workloads/pump/#' -F '{{}} got %t %p' & \
         while true; do mosquitto_pub {login} -V mqttv5 -q 1 -t workloads/pump/set/speed -m 9; sleep 0.2; done"
    );
    let bus = "  bus: { subscribe: [\"pump/#\"], publish: [\"pump/set/+\"] }\n";
    let with = |name: &str, text: &str, more: &str| {
        script(name, "a", &text.replace("{}", name), &format!("{QUICK}{more}"))
    };
    plane.cli().apply(&with("pump", &pump, "")).ok();
    plane.cli().apply(&with("friend", &talk, bus)).ok();
    plane.cli().apply(&with("stranger", &talk, "")).ok();
    let log = |name: &str| {
        let path = device.data().join("workloads").join(name).join("log");
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    };
    for (who, words) in [
        ("pump", "pump got set/speed 9"),
        ("friend", "friend got workloads/pump/temp 21"),
        ("stranger", "Not authorized"),
    ] {
        eventually(PATIENCE, &format!("{who} says {words}"), || {
            let log = log(who);
            if log.contains(words) { Ok(()) } else { Err(log) }
        });
    }
    assert!(!log("stranger").contains("got workloads"), "{}", log("stranger"));
    let problem = device.await_problem("intake-refused");
    assert_says(&problem, &["stranger", "does not allow"]);
    assert!(!problem.contains("friend"), "{problem}");
    // Messages to other workloads are not stored.
    assert_eq!(records(&plane, "d-1", "set/speed").len(), 0);
}

#[test]
fn what_is_wrong_is_refused_and_said_and_disturbs_nobody() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let way = Way::create(&device, "meter", &[]);
    let wrong = Way { password: "guess".into(), ..Way::create(&device, "meter", &[]) };
    for version in ["mqttv311", "mqttv5"] {
        let refused = wrong.publish(version, &["-q", "1", "-t", "temp", "-m", "x"]);
        assert_ne!(refused.status.code(), Some(0), "{refused:?}");
        assert_says(&String::from_utf8_lossy(&refused.stderr), &["bad user name or password"]);
        let subscribed = way
            .mosquitto("mosquitto_sub", version, &["-t", "workloads/pump/#", "-C", "1", "-W", "10"])
            .output()
            .unwrap();
        assert_says(&String::from_utf8_lossy(&subscribed.stderr), &["denied"]);
    }
    assert_eq!(wrong.post("temp", "text/plain", "x").0, 401);
    let refused = way.publish("mqttv5", &["-q", "1", "-t", "a*b", "-m", "x"]);
    assert_says(&String::from_utf8_lossy(&refused.stderr), &["topic name invalid"]);
    // MQTT 3.1.1 cannot refuse: the publish is dropped, acknowledged and reported.
    succeeded(&way.publish("mqttv311", &["-q", "1", "-t", "a*b", "-m", "x"]));
    let large = "x".repeat(70_000);
    succeeded(&way.publish("mqttv311", &["-q", "1", "-t", "temp", "-m", &large]));
    for (version, qos) in [("mqttv311", "2"), ("mqttv5", "2"), ("mqttv311", "1")] {
        let room = "zigbee2mqtt/Living Room";
        succeeded(&way.publish(version, &["-q", qos, "-t", room, "-m", "5"]));
    }
    await_values(&plane, "d-1", "zigbee2mqtt/Living Room", &["5", "5", "5"]);
    assert_eq!(way.post("temp", "text/plain", &large).0, 413);
    let problem = device.await_problem("intake-refused");
    assert_says(&problem, &["wrong user name or password", "names no stream", "64 KiB"]);
    succeeded(&way.publish("mqttv5", &["-q", "1", "-t", "temp", "-m", "7"]));
    await_values(&plane, "d-1", "temp", &["7"]);
    // A removed access is disconnected and not admitted again.
    let mut listening =
        way.mosquitto("mosquitto_sub", "mqttv5", &["-t", "#", "-W", "60"]).spawn().unwrap();
    device.await_status("it is connected", |status| status["bus"]["clients"] == 1);
    succeeded(&device.command(&["local-access", "remove", "meter"]).output().unwrap());
    device.await_status("it is cut", |status| status["bus"]["clients"] == 0);
    let _ended = listening.kill();
    let _reaped = listening.wait();
    let refused = way.publish("mqttv5", &["-q", "1", "-t", "temp", "-m", "8"]);
    assert_ne!(refused.status.code(), Some(0), "{refused:?}");
    let names = device.command(&["local-access", "list", "-o", "json"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&names.stdout).trim(), "{\"items\":[]}");
}

#[test]
fn ten_thousand_topics_are_bounded_and_said() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let way = Way::create(&device, "meter", &[]);
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", device.pid().unwrap()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    // Every publish is answered, most of them with a refusal.
    succeeded(&way.paho("5", "topic-{}", 10_000).output().unwrap());
    let problem = device.await_problem("intake-refused");
    assert_says(&problem, &["as many streams as one may make, 200", "last: topic-", "UTC"]);
    let refused = device.status().unwrap()["bus"]["refused"].as_u64().unwrap();
    assert!(refused >= 9_800, "{refused}");
    assert!(resident() < 64 * 1024, "{} KiB", resident());
    // Another publisher can still create streams.
    let other = Way::create(&device, "other", &[]);
    succeeded(&other.publish("mqttv5", &["-q", "1", "-t", "mine", "-m", "8"]));
    await_values(&plane, "d-1", "mine", &["8"]);
    // Existing streams go on.
    succeeded(&way.publish("mqttv5", &["-q", "1", "-t", "topic-0", "-m", "7"]));
    await_values(&plane, "d-1", "topic-0", &["0", "7"]);
}

#[test]
fn what_was_acknowledged_is_there_however_often_the_agent_is_killed() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let way = Way::create(&device, "meter", &[]);
    let count = 30_000;
    let mut publisher = way.paho("4", "temp", count).spawn().unwrap();
    let stored = |device: &Device| {
        device.status().map_or(0, |status| status["bus"]["stored"].as_u64().unwrap_or(0))
    };
    for _ in 0..4 {
        eventually(PATIENCE, "it takes records in", || {
            if stored(&device) > 0 || !matches!(publisher.try_wait(), Ok(None)) {
                Ok(())
            } else {
                Err("nothing yet".to_owned())
            }
        });
        device.restart();
    }
    assert!(publisher.wait().unwrap().success(), "every publish was acknowledged in the end");
    let wanted: BTreeSet<String> = (0..count).map(|it| it.to_string()).collect();
    eventually(PATIENCE, "every acknowledged record is there", || {
        let found = records(&plane, "d-1", "temp");
        let found: BTreeSet<String> = found.into_values().map(|it| it.to_string()).collect();
        if found == wanted { Ok(()) } else { Err(format!("{} of {count}", found.len())) }
    });
}

#[test]
fn who_never_reads_is_cut_and_its_neighbour_loses_nothing() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let way = Way::create(&device, "meter", &[]);
    let neighbour = Way::create(&device, "neighbour", &[]);
    // The client subscribes, reads the retained messages, and then never reads again.
    succeeded(&way.publish("mqttv5", &["-q", "1", "-r", "-t", "local/hello", "-m", "hello"]));
    let mut deaf = way.mosquitto("mosquitto_sub", "mqttv5", &["-t", "#", "-q", "0"]);
    let mut deaf = deaf.stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 5];
    deaf.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"hello");
    let stop = rustix::process::Pid::from_raw(deaf.id().cast_signed()).unwrap();
    rustix::process::kill_process(stop, rustix::process::Signal::STOP).unwrap();
    let body = "x".repeat(60_000);
    let flood = std::thread::spawn(move || {
        for _ in 0..300 {
            succeeded(&way.publish("mqttv5", &["-q", "1", "-t", "local/flood", "-m", &body]));
        }
    });
    for number in 0..20 {
        let value = number.to_string();
        succeeded(&neighbour.publish("mqttv5", &["-q", "1", "-t", "calm", "-m", &value]));
    }
    flood.join().unwrap();
    device.await_status("it is cut", |status| status["bus"]["cut"] == 1);
    assert_says(&device.await_problem("intake-refused"), &["does not read"]);
    let _ended = deaf.kill();
    let _reaped = deaf.wait();
    let wanted: Vec<String> = (0..20).map(|it: u32| it.to_string()).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    await_values(&plane, "d-1", "calm", &wanted);
}

#[test]
fn a_port_that_is_taken_is_said_and_workloads_run_on() {
    let plane = Plane::start();
    let mut device = plane.bare_device("d-1");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    device.config = Some(format!("[bus]\nport = {port}\n"));
    device.enrol(&plane.token(&["--uses", "1"]), &["role=a"]).ok();
    device.up();
    let text = "echo port $HOLDFAST_MQTT_PORT; exec sleep 1000";
    plane.cli().apply(&script("pump", "a", text, QUICK)).ok();
    device.await_phase("pump", "running");
    assert_says(&device.await_problem("bus"), &[&port.to_string(), "stays the same"]);
    holds_for(Duration::from_secs(1), "it runs on", || {
        let phase = device.status()?["workloads"]["pump"]["phase"].clone();
        if phase == "running" { Ok(()) } else { Err(phase.to_string()) }
    });
    drop(taken);
    device.await_healed("bus");
    let way = Way::create(&device, "meter", &[]);
    assert_eq!(way.port, port.to_string());
    succeeded(&way.publish("mqttv5", &["-q", "1", "-t", "temp", "-m", "1"]));
}

/// Returns a policy with a source, on devices with `role: a`.
fn source(name: &str, stream: &str, source: &str) -> String {
    format!(
        "apiVersion: holdfast/v1\n\
         kind: Stream\n\
         metadata: {{ name: {name} }}\n\
         spec:\n\
         \x20 devices: {{ matchLabels: {{ role: a }} }}\n\
         \x20 streams: [\"{stream}\"]\n\
         \x20 source: {source}\n"
    )
}

#[test]
fn a_log_is_a_stream_of_its_lines_each_once_however_often_the_agent_is_killed() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    plane.cli().apply(&source("pump-log", "logs/pump", "{ logs: { workload: pump } }")).ok();
    // Lines written before the log is followed, some at once, and more while it is.
    let count = 3_000;
    let text = format!(
        "n=0; while [ $n -lt {count} ]; do n=$((n+1)); echo line $n; \
         [ $((n % 20)) = 0 ] && sleep 0.1; done; printf end; exec sleep 1000"
    );
    plane.cli().apply(&script("pump", "a", &text, QUICK)).ok();
    device.await_phase("pump", "running");
    let found = || records(&plane, "d-1", "logs/pump");
    for part in [200, 700, 1_200] {
        eventually(PATIENCE, &format!("{part} lines"), || {
            let found = found().len();
            if found >= part { Ok(()) } else { Err(found.to_string()) }
        });
        device.restart();
    }
    // The last line has no line end.
    let mut wanted: Vec<Value> = (1..=count).map(|n| format!("line {n}").into()).collect();
    wanted.push("end".into());
    eventually(PATIENCE, "every line", || {
        let found: Vec<Value> = found().into_values().collect();
        let last = found.last().cloned();
        if found == wanted { Ok(()) } else { Err(format!("{} of {count}, {last:?}", found.len())) }
    });
    // An agent that is stopped and started again adds no line.
    device.stop_agent();
    device.up();
    device.await_link("up");
    holds_for(Duration::from_secs(7), "nothing twice", || {
        let found = found().len();
        if found == wanted.len() { Ok(()) } else { Err(found.to_string()) }
    });
}

#[test]
fn of_a_flooded_log_every_byte_is_a_record_or_said_to_be_missed() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    plane.cli().apply(&source("pump-log", "logs/pump", "{ logs: { workload: pump } }")).ok();
    let lines = 8_000;
    let text = format!(
        "line=$(head -c 999 /dev/zero | tr '\\0' x); yes $line | head -n {lines}; echo over; \
         exec sleep 1000"
    );
    plane.cli().apply(&script("pump", "a", &text, QUICK)).ok();
    device.await_phase("pump", "running");
    eventually(PATIENCE, "the flood is over", || {
        let found = records(&plane, "d-1", "logs/pump");
        let texts: Vec<String> =
            found.into_values().map(|it| it.as_str().unwrap_or_default().to_owned()).collect();
        if texts.last().is_none_or(|it| it != "over") {
            return Err(format!("{:?}", texts.len()));
        }
        let (mut bytes, mut missed) = (0, 0);
        for text in &texts {
            match text.strip_prefix("[holdfast: ") {
                Some(told) => missed += told.split(' ').next().unwrap().parse::<usize>().unwrap(),
                None => bytes += text.len() + 1,
            }
        }
        assert_eq!(bytes + missed, lines * 1_000 + 5, "{bytes} and {missed}");
        Ok(())
    });
    let log = device.data().join("workloads/pump/log");
    assert!(std::fs::metadata(log).unwrap().len() <= 2 * 1024 * 1024, "it stays bounded");
}

#[test]
fn the_devices_own_figures_are_a_stream() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    plane.cli().apply(&source("machine", "device/metrics", "{ metrics: { every: 1s } }")).ok();
    let found = eventually(PATIENCE, "three records", || {
        let found = records(&plane, "d-1", "device/metrics");
        if found.len() >= 3 { Ok(found) } else { Err(found.len().to_string()) }
    });
    for record in found.values() {
        let number = |path: &str| record.pointer(path).and_then(Value::as_f64);
        for (path, least, most) in [
            ("/cpu", 0.0, 100.0),
            ("/load", 0.0, 1e6),
            ("/memory/total", 1e6, 1e15),
            ("/memory/used", 1.0, 1e15),
            ("/disk/total", 1e6, 1e18),
            ("/disk/free", 0.0, 1e18),
            ("/network/received", 0.0, 1e15),
        ] {
            let value = number(path).unwrap_or(-1.0);
            assert!((least..=most).contains(&value), "{path}: {record}");
        }
    }
    // No other publisher may write to the agent's own stream.
    let way = Way::create(&device, "meter", &[]);
    let (status, answer) = way.post("device/metrics", "application/json", "{\"cpu\":1}");
    assert_eq!(status, 403, "{answer}");
    assert!(device.await_problem("intake-refused").contains("the agent itself fills"));
    // Without the policy the stream gets no more records.
    plane.cli().run(&["delete", "stream", "machine"]).ok();
    let last = || records(&plane, "d-1", "device/metrics").keys().max().copied();
    eventually(PATIENCE, "it ends", || {
        let before = last();
        std::thread::sleep(Duration::from_millis(2_500));
        let after = last();
        if before == after { Ok(()) } else { Err(format!("{before:?} {after:?}")) }
    });
}
