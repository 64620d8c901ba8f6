//! Tests with `mosquitto_pub` and `mosquitto_sub`, in both versions of MQTT.

use std::process::Command;

use holdfast_control::ports::bus::Bus as _;
use holdfast_protocol::topic::Channel;

use crate::others::{Files, run};
use crate::world::{Seen, World, id, topic, value};

const VERSIONS: [&str; 2] = ["mqttv311", "mqttv5"];
const DEV: &str = "acme_dev-1";

fn command(program: &str, files: &Files, version: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["-h", "localhost", "-p", &files.port.to_string(), "-V", version]);
    command.args(["-i", &files.device, "-q", "1"]);
    for (option, file) in [("--cafile", "ca.pem"), ("--cert", "cert.pem"), ("--key", "key.pem")] {
        command.arg(option).arg(files.path(file));
    }
    command.args(arguments);
    command
}

#[tokio::test]
async fn publishes_what_it_may() {
    for version in VERSIONS {
        let world = World::new().await;
        let files = Files::of(&world, DEV);
        let state = topic(DEV, "state");
        let said = run(command("mosquitto_pub", &files, version, &["-t", &state, "-m", "x"])).await;
        assert_eq!(said.code, Some(0), "{version}: {said:?}");
        assert_eq!(world.directory.payload(DEV, Channel::State).await, "x");
        assert_eq!(world.directory.end_of(DEV).await, "disconnected by the device");
        let large = files.path("large");
        std::fs::write(&large, vec![b'z'; 1_000_000]).unwrap();
        let reply = topic(DEV, "reply");
        let mut publish = command("mosquitto_pub", &files, version, &["-t", &reply, "-f"]);
        publish.arg(large);
        assert_eq!(run(publish).await.code, Some(0));
        assert_eq!(world.directory.payload(DEV, Channel::Reply).await.len(), 1_000_000);
    }
}

#[tokio::test]
async fn a_foreign_publish_is_refused() {
    for version in VERSIONS {
        let world = World::new().await;
        let files = Files::of(&world, DEV);
        let foreign = topic("acme_dev-2", "state");
        let publish = command("mosquitto_pub", &files, version, &["-t", &foreign, "-m", "x"]);
        let said = run(publish).await;
        if version == "mqttv5" {
            assert!(said.err.contains("Not authorized"), "{said:?}");
        } else {
            assert_ne!(said.code, Some(0), "{said:?}");
        }
        let got = |seen: &Seen| matches!(seen, Seen::Received(..));
        assert!(!world.directory.seen().iter().any(got));
        assert!(value(&world.gateway.counters().refused_topic) >= 1);
    }
}

#[tokio::test]
async fn subscribes_to_its_desired_state() {
    for version in VERSIONS {
        let world = World::new().await;
        world.directory.set_desired(DEV, "first");
        let files = Files::of(&world, DEV);
        let desired = topic(DEV, "desired");
        let subscribe = command(
            "mosquitto_sub",
            &files,
            version,
            &["-t", &desired, "-C", "2", "-W", "15", "-F", "%t %q %r %p"],
        );
        let subscribed = tokio::spawn(run(subscribe));
        world.until("the first", |w| value(&w.gateway.counters().publishes_out) == 1).await;
        world.directory.set_desired(DEV, "second");
        world.gateway.desired_changed(&id(DEV));
        let said = subscribed.await.unwrap();
        assert_eq!(said.code, Some(0), "{version}: {said:?}");
        assert_eq!(said.out, format!("{desired} 1 1 first\n{desired} 1 0 second\n"), "{version}");
    }
}

#[tokio::test]
async fn a_foreign_subscription_is_refused() {
    for version in VERSIONS {
        let world = World::new().await;
        world.directory.set_desired("acme_dev-2", "not yours");
        let files = Files::of(&world, DEV);
        for filter in [&topic("acme_dev-2", "desired"), "#", "hf/v1/7/+/desired"] {
            let subscribe = ["-t", filter, "-C", "1", "-W", "10"];
            let said = run(command("mosquitto_sub", &files, version, &subscribe)).await;
            assert!(said.err.contains("denied"), "{version}, {filter}: {said:?}");
            assert_eq!(said.out, "", "{version}, {filter}");
        }
    }
}

#[tokio::test]
async fn another_client_id_is_refused() {
    for version in VERSIONS {
        let world = World::new().await;
        let mut files = Files::of(&world, DEV);
        files.device = "acme_dev-2".into();
        let foreign = topic("acme_dev-2", "state");
        let publish = command("mosquitto_pub", &files, version, &["-t", &foreign, "-m", "x"]);
        let said = run(publish).await;
        assert_ne!(said.code, Some(0), "{said:?}");
        assert!(said.err.to_lowercase().contains("identifier"), "{version}: {said:?}");
        assert_eq!(world.directory.seen(), []);
    }
}

#[tokio::test]
async fn its_last_will_arrives_when_it_is_killed() {
    for version in VERSIONS {
        let world = World::new().await;
        let files = Files::of(&world, DEV);
        let (desired, presence) = (topic(DEV, "desired"), topic(DEV, "presence"));
        let will = ["-t", &desired, "--will-topic", &presence, "--will-payload", "gone"];
        let mut child = command("mosquitto_sub", &files, version, &will).spawn().unwrap();
        world.directory.connection(DEV, 1).await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(world.directory.payload(DEV, Channel::Presence).await, "gone", "{version}");
        assert_eq!(world.directory.end_of(DEV).await, "connection lost");
    }
}
