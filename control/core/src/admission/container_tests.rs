//! Tables of containers and groups that are admitted, and of faults that are found in them.

use holdfast_protocol::container::{
    After, Container, Devices, Group, Mount, MountFrom, Network, Port, Until,
};
use holdfast_protocol::workload::{Health, Probe, Run};
use serde_json::{Value, json};

use super::container_samples::{image, workload};
use super::tests::{faults, let_in};
use super::*;

fn container(more: Value) -> Value {
    let mut container = json!({ "image": "till:1" });
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    workload(json!({ "container": container }))
}

fn run(document: &Value) -> Run {
    let_in(document).workload().unwrap().run.clone()
}

fn decoded(more: Value) -> Container {
    match run(&container(more)) {
        Run::Container(container) => *container,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_container_of_which_nothing_is_said_is_closed_and_in_the_devices_network() {
    let plain = decoded(json!({}));
    assert_eq!(plain.image, image("till:1").unwrap());
    assert_eq!(
        (plain.network, plain.writable_root, plain.seccomp_off),
        (Network::Host, false, false)
    );
    assert!(plain.capabilities.is_empty() && plain.devices.is_none() && plain.mounts.is_empty());
}

#[test]
fn programs_in_containers_read_variables_with_dots() {
    let one = decoded(json!({ "env": { "discovery.type": "single-node" } }));
    assert_eq!(one.env.keys().collect::<Vec<_>>(), ["discovery.type"]);
}

#[test]
fn a_container_with_ports_is_behind_a_bridge() {
    let port = |host, name: Option<&str>| Port {
        name: name.map(|name| name.parse().unwrap()),
        container: 80,
        host,
        address: None,
        udp: false,
    };
    let one = decoded(
        json!({ "ports": [{ "container": 80, "host": 8080 }, { "container": 80, "name": "web" }] }),
    );
    assert_eq!(one.network, Network::Bridge);
    assert_eq!(one.ports, [port(Some(8_080), None), port(None, Some("web"))]);
    let shared =
        decoded(json!({ "networks": ["shop"], "ports": [{ "container": 80, "host": 80 }] }));
    assert_eq!(shared.network, Network::Shared(vec!["shop".parse().unwrap()]));
    let host = decoded(json!({ "network": "host", "ports": [{ "container": 80, "host": 80 }] }));
    assert_eq!(host.network, Network::Host);
}

#[test]
fn mounts_devices_and_rights_are_taken_over() {
    let all = decoded(json!({
        "mounts": [
            { "path": "/data", "volume": "data" },
            { "path": "/etc/till.toml", "file": "etc/till.toml", "readOnly": true },
            { "path": "/conf", "file": "etc" },
            { "path": "/srv", "host": "/srv/till" },
            { "path": "/tmp", "memory": "1Mi" },
        ],
        "devices": [{ "path": "/dev/ttyUSB0", "as": "/dev/scale", "rights": "r" }, { "cdi": "nvidia.com/gpu=all" }],
        "gpus": "all",
        "capabilities": ["cap_net_bind_service", "DEFAULT"],
        "seccomp": "unconfined",
        "user": 1000,
    }));
    let from = |path: &str, from, read_only| Mount { path: path.into(), from, read_only };
    let files = |path: &str| MountFrom::Files(path.into());
    assert_eq!(
        all.mounts,
        [
            from("/data", MountFrom::Volume("data".parse().unwrap()), false),
            from("/etc/till.toml", files("etc/till.toml"), true),
            from("/conf", files("etc"), false),
            from("/srv", MountFrom::Host("/srv/till".into()), false),
            from("/tmp", MountFrom::Memory(1 << 20), false),
        ]
    );
    let Devices { files, cdi, gpus } = all.devices;
    assert_eq!(
        (files[0].host.as_str(), files[0].container.as_str()),
        ("/dev/ttyUSB0", "/dev/scale")
    );
    assert_eq!(
        (files[0].rights.as_str(), cdi, gpus),
        ("r", vec!["nvidia.com/gpu=all".into()], Some(-1))
    );
    assert_eq!(all.capabilities, ["NET_BIND_SERVICE", "DEFAULT"]);
    assert_eq!((all.seccomp_off, all.user.as_deref()), (true, Some("1000")));
}

#[test]
fn a_revision_holds_the_digest_of_a_tag() {
    let digest = Digest([1; 32]);
    let one = let_in(&container(json!({})));
    assert_eq!(one.written["run"]["container"]["image"], json!(format!("till:1@{digest}")));
    // The document that was exported is the same document.
    let mut again = container(json!({}));
    again["spec"] = one.written.clone();
    let again = let_in(&again);
    assert_eq!((again.written, again.what), (one.written, one.what));
}

#[test]
fn a_group_is_in_order_and_has_the_probes_of_its_containers() {
    let document = workload(json!({ "group": { "containers": [
        { "name": "db", "image": "db:16", "env": { "PASSWORD": { "secret": "db", "key": "pw" } },
          "health": { "tcp": { "port": 5432 }, "interval": "5s", "timeout": "1s" } },
        { "name": "web", "image": "till:1", "after": ["db", { "name": "db", "until": "healthy" }],
          "health": { "http": { "port": 80 }, "startPeriod": "20s" } },
    ] } }));
    let admitted = let_in(&document);
    let What::Workload(spec, references) = &admitted.what else { panic!() };
    let Run::Group(group) = &spec.run else { panic!() };
    let Group { containers } = &**group;
    let names: Vec<&str> = containers.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["db", "web"]);
    assert_eq!(containers[0].container.network, Network::Bridge, "they find each other");
    let after = |until| After { name: "db".parse().unwrap(), until };
    assert_eq!(containers[1].after, [after(Until::Started), after(Until::Healthy)]);
    assert_eq!(containers[0].probe, Some(Probe::Tcp { host: None, port: 5_432 }));
    assert_eq!(
        spec.health,
        Some(Health {
            probe: Probe::Members,
            start_period_ms: 20_000,
            interval_ms: 5_000,
            timeout_ms: 3_000,
            failures: 3,
        })
    );
    assert_eq!(references.env.keys().collect::<Vec<_>>(), ["db/PASSWORD"]);
    let digest = Digest([1; 32]);
    assert_eq!(
        admitted.written["run"]["group"]["containers"][0]["image"],
        json!(format!("db:16@{digest}"))
    );
}

#[test]
fn faults_of_containers_are_said_where_they_are() {
    let at = "spec.run.container";
    let table = [
        (json!({ "image": "till:2" }), "image: \"till:2\": there is no image till:2"),
        (
            json!({ "network": "none", "ports": [{ "container": 80, "host": 80 }] }),
            "ports[0]: a container without a network",
        ),
        (
            json!({ "network": "host", "ports": [{ "container": 80, "host": 81 }] }),
            "ports[0]: in the device's own network",
        ),
        (json!({ "ports": [{ "container": 80 }] }), "ports[0]: neither host nor name"),
        (json!({ "ports": [{ "container": 0, "host": 1 }] }), "ports[0].container"),
        (
            json!({ "ports": [{ "container": 80, "host": 1, "address": "home" }] }),
            "ports[0].address",
        ),
        (json!({ "network": "bridge", "networks": ["a"] }), "networks: both network and networks"),
        (json!({ "mounts": [{ "path": "data", "volume": "a" }] }), "mounts[0].path"),
        (json!({ "mounts": [{ "path": "/", "volume": "a" }] }), "mounts[0]: the container's root"),
        (json!({ "mounts": [{ "path": "/a", "host": "/a/../b" }] }), "mounts[0].host"),
        (
            json!({ "mounts": [{ "path": "/a", "volume": "a", "host": "/b" }] }),
            "mounts[0]: both volume and host",
        ),
        (json!({ "devices": [{ "cdi": "gpu" }] }), "devices[0].cdi"),
        (json!({ "gpus": 0 }), "gpus"),
        (json!({ "capabilities": ["SYS_EVERYTHING"] }), "capabilities[0]"),
        (json!({ "user": "a:b:c" }), "user"),
        (json!({ "timeZone": "../etc" }), "timeZone"),
        (json!({ "dns": ["name.example"] }), "dns[0]"),
        (json!({ "hosts": { "a": "b" } }), "hosts.a"),
        (json!({ "env": { "HOLDFAST_X": "1" } }), "env.HOLDFAST_X"),
        (json!({ "env": { "a b": "1" } }), "env[\"a b\"]: not a variable's name"),
        (json!({ "privileged": true }), "privileged"),
    ];
    for (more, expected) in table {
        let found = faults(&[container(more.clone())]);
        let whole = format!("{at}.{expected}");
        assert!(found.len() == 1 && found[0].starts_with(&whole), "{more}: {found:?}, not {whole}");
    }
    let missing = faults(&[container(json!({ "mounts": [{ "path": "/a", "file": "b" }] }))]);
    assert_eq!(
        missing,
        [
            "spec.run: /a mounts the file \"b\", which stands neither in spec.config nor in spec.files"
        ]
    );
}

#[test]
fn faults_of_groups_are_said_where_they_are() {
    let member =
        |name: &str, after: Value| json!({ "name": name, "image": "till:1", "after": after });
    let table = [
        (json!([member("a", json!(["b"])), member("b", json!(["a"]))]), "[0]: it waits for b"),
        (json!([member("a", json!(["a"]))]), "[0]: it waits for a"),
        (
            json!([{ "name": "a", "image": "till:1" }, { "name": "a", "image": "till:1" }]),
            "[1]: a second container",
        ),
        (
            json!([{ "name": "a", "image": "till:1" }, member("b", json!([{ "name": "a", "until": "healthy" }]))]),
            "[1]: it waits until a is healthy",
        ),
        (json!([{ "image": "till:1" }]), "[0].name: is missing"),
        (json!([]), ": an empty list"),
    ];
    for (containers, expected) in table {
        let found = faults(&[workload(json!({ "group": { "containers": containers.clone() } }))]);
        let whole = format!("spec.run.group.containers{expected}");
        assert!(
            found.len() == 1 && found[0].starts_with(&whole),
            "{containers}: {found:?}, not {whole}"
        );
    }
    let mut own =
        workload(json!({ "group": { "containers": [{ "name": "a", "image": "till:1" }] } }));
    own["spec"]["health"] = json!({ "tcp": { "port": 1 } });
    assert_eq!(faults(&[own]).len(), 1);
}
