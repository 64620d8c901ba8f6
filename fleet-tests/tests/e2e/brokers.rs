//! Brokers that are not the gateway: one that loses what it has acknowledged, one that speaks MQTT
//! 3.1.1 alone, and ones that refuse a subscription.

use std::net::Ipv4Addr;
use std::time::Duration;

use fleet_tests::harness::{DEADLINE, Device, EvilBroker, Flaw, Plane, eventually, processes};
use holdfast_base::codec;
use holdfast_protocol::message::{ReportAck, StateReport};
use serde_json::Value;

use crate::{marker, sleeper};

/// Device with one workload whose link leads to another broker.
struct Scene {
    plane: Plane,
    device: Device,
    broker: EvilBroker,
    marker: String,
    pid: u32,
}

impl Scene {
    fn new(flaw: Flaw) -> Self {
        let plane = Plane::start();
        let device = plane.device("d-1", &["role=a"]);
        let marker = marker();
        plane.cli().apply(&sleeper("w", "a", &marker)).ok();
        let pid = device.await_phase("w", "running");
        plane.await_settled("d-1");
        let secrets = plane.secrets();
        let broker = EvilBroker::with(flaw, Ipv4Addr::LOCALHOST, &secrets.ca, &secrets.ca_key);
        device.link.divert(plane.mqtt.port(), broker.address);
        Self { plane, device, broker, marker, pid }
    }

    /// Returns the reports that the device sent, with their topic.
    fn reports(&self) -> Vec<(String, StateReport)> {
        let seen = self.broker.seen();
        let states = seen.into_iter().filter(|publish| publish.topic.ends_with("/state"));
        states.map(|it| (it.topic, codec::decode(&it.payload).unwrap())).collect()
    }

    /// Waits until the device has sent this number of reports.
    fn await_reports(&self, within: Duration, count: usize) -> Vec<(String, StateReport)> {
        eventually(within, &format!("{count} reports"), || {
            let reports = self.reports();
            if reports.len() >= count { Ok(reports) } else { Err(format!("{reports:?}")) }
        })
    }

    /// Leads the link to the real control plane again: all is as before, and changes arrive.
    fn heals(self) {
        self.device.link.divert_no_more();
        self.plane.await_connection("d-1", "online");
        let fresh = marker();
        self.plane.cli().apply(&sleeper("fresh", "a", &fresh)).ok();
        self.plane.await_phase("d-1", "fresh", "running");
        assert_eq!(processes::with_argument(&self.marker), [self.pid], "nothing was restarted");
        self.device.await_status("the problem is over", |status| said(status).is_none());
    }
}

/// Returns the text of the problem about a subscription.
fn said(status: &Value) -> Option<String> {
    let problems = status["problems"].as_array()?;
    let found = problems.iter().find(|it| it["code"] == "subscription-refused")?;
    found["message"].as_str().map(str::to_owned)
}

#[test]
fn a_report_that_a_broker_acknowledged_and_lost_is_sent_again() {
    let mut scene = Scene::new(Flaw::None);
    // The broker sends a PUBACK at once, and nobody stores the report.
    let reports = scene.await_reports(Duration::from_secs(90), 2);
    assert_eq!(scene.broker.connects(), 1, "on the same connection");
    let ((topic, first), (_, second)) = (&reports[0], &reports[1]);
    assert!(first.full && second.full, "everything is sent again");
    assert_ne!(first.id, second.id);
    // The acknowledgement of the lost one says nothing; that of the newest ends it: the next report
    // is of a change alone.
    let ack_topic = topic.replace("/state", "/ack");
    for id in [first.id, second.id] {
        let ack = ReportAck { v: 1, id: id.unwrap() };
        scene.broker.publish(&ack_topic, &codec::encode(&ack).unwrap());
    }
    scene.broker.publish(&topic.replace("/state", "/desired"), b"forged");
    let third = scene.await_reports(DEADLINE, 3)[2].1.clone();
    assert!(!third.full && third.problems.is_some(), "{third:?}");
    scene.heals();
}

#[test]
fn a_broker_of_3_1_1_alone_is_spoken_to_in_its_version() {
    let mut scene = Scene::new(Flaw::Only311);
    let reports = scene.await_reports(DEADLINE, 1);
    assert!(reports[0].1.full);
    // The control plane had answered version 5 at this address, so one close does not count.
    assert_eq!(scene.broker.connects(), 4, "5 three times, then 3.1.1");
    let known = scene.reports().len();
    scene.device.stop_agent();
    scene.device.up();
    scene.await_reports(DEADLINE, known + 1);
    assert_eq!(scene.broker.connects(), 6, "an agent that knows nothing: 5 once, then 3.1.1");
    let online = scene.broker.seen().iter().any(|publish| publish.topic.ends_with("/presence"));
    assert!(online, "its presence comes too");
    scene.heals();
}

#[test]
fn a_refused_subscription_is_said_and_not_asked_for_in_a_loop() {
    for flaw in [Flaw::Refuses("ack"), Flaw::ClosesOn("call")] {
        let scene = Scene::new(flaw);
        let (Flaw::Refuses(channel) | Flaw::ClosesOn(channel)) = flaw else { unreachable!() };
        let began = std::time::Instant::now();
        let status = scene
            .device
            .await_status("the refused subscription is said", |status| said(status).is_some());
        let text = said(&status).unwrap();
        assert!(text.contains(&format!("_d-1/{channel} (")), "{flaw:?}: {text}");
        assert!(text.contains("permissions"), "{flaw:?}: {text}");
        eventually(DEADLINE, "it is tried again", || {
            let connects = scene.broker.connects();
            if connects >= 4 { Ok(()) } else { Err(connects.to_string()) }
        });
        // The waits are half of 500, 1,000 and 2,000 ms at least.
        assert!(began.elapsed() > Duration::from_millis(1_000), "{flaw:?}: {:?}", began.elapsed());
        assert_eq!(said(&scene.device.status().unwrap()), Some(text), "the text stands still");
        scene.heals();
    }
}
