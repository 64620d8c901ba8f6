//! paho for Python, in both versions: `paho_client.py` does the talking.

use std::path::Path;
use std::process::Command;

use holdfast_protocol::topic::Channel;

use crate::others::{Files, run};
use crate::world::{Seen, World, topic};

const DEV: &str = "acme_dev-1";

#[tokio::test]
async fn speaks_with_the_gateway_in_both_versions() {
    for version in ["4", "5"] {
        let world = World::new().await;
        world.directory.set_desired(DEV, "first");
        let files = Files::of(&world, DEV);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/paho_client.py");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).args([version, &files.port.to_string(), DEV]);
        for file in ["ca.pem", "cert.pem", "key.pem"] {
            command.arg(files.path(file));
        }
        let prefix = topic(DEV, "");
        command.arg(&prefix).arg(topic("acme_dev-2", "desired"));
        let said = run(command).await;
        assert_eq!(said.code, Some(0), "{version}: {said:?}");
        // 3.1.1 has no word for a refused publish: its connection ends.
        let after = if version == "5" { "still connected" } else { "connection ended" };
        let refused = if version == "5" { 0x87 } else { 0x80 };
        let expected = [
            "connected 0".to_owned(),
            "granted [1]".to_owned(),
            format!("message {prefix}desired qos 1 retain 1 first"),
            "published and acknowledged".to_owned(),
            format!("granted [{refused}]"),
            format!("after a foreign publish: {after}"),
        ];
        assert_eq!(said.out.lines().collect::<Vec<_>>(), expected, "{version}");
        assert_eq!(world.directory.payload(DEV, Channel::State).await, "from paho");
        let received = |seen: &&Seen| matches!(seen, Seen::Received(..));
        assert_eq!(world.directory.seen().iter().filter(received).count(), 1);
    }
}
