//! Devices of a site on a network of their own, each with a thin link to the control plane: a file
//! crosses one of the links, and the others take it from there. Network namespaces are the devices,
//! a bridge is the site, and the links count their bytes.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fleet_tests::harness::{DEADLINE, Device, Link, Plane, eventually};

use crate::{QUICK, marker};

const MIB: u64 = 1024 * 1024;
/// Size of a file in bytes, beside which handshakes, desired states and reports are small.
const LARGE: u64 = 12 * MIB;

/// Runs this test again in a network namespace of its own, in which it may make interfaces. Returns
/// false in that run.
fn runs_in_a_network_of_its_own(test: &str) -> bool {
    const MARK: &str = "HOLDFAST_TEST_OWN_NETWORK";
    if std::env::var_os(MARK).is_some() {
        ip("link set lo up");
        ip("link add site type bridge");
        ip("link set site up");
        return false;
    }
    let status = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("neighbours::{test}"), "--nocapture"])
        .env(MARK, "1")
        .status();
    assert!(
        status.as_ref().is_ok_and(|status| status.success()),
        "{status:?}: it failed above, or may not make a network of its own: run the suite as root"
    );
    true
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.expect("ip of iproute2; `make test` installs what is missing");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// Device in a network namespace of its own, at the bridge of the site.
struct Neighbour {
    device: Device,
    /// Process that keeps the namespace.
    keeper: Child,
    number: u8,
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _gone = self.keeper.kill();
        let _code = self.keeper.wait();
    }
}

impl Neighbour {
    fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, self.number)
    }

    /// Returns `nsenter` into the device's network, to be continued with a program.
    fn within(&self) -> Vec<std::ffi::OsString> {
        let network = format!("--net=/proc/{}/ns/net", self.keeper.id());
        vec!["nsenter".into(), network.into()]
    }

    /// Runs `ip` in the device's network.
    fn ip(&self, arguments: &str) {
        let within = self.within();
        let mut command = Command::new(&within[0]);
        command.args(&within[1..]).arg("ip").args(arguments.split(' '));
        let status = command.status().unwrap();
        assert!(status.success(), "ip {arguments}");
    }

    fn name(number: u8) -> String {
        format!("d-{number}")
    }
}

/// Makes a device with its network, enrolled with these labels and not started.
fn neighbour(plane: &Plane, number: u8, labels: &[&str]) -> Neighbour {
    let keeper = Command::new("unshare")
        .args(["--net", "sleep", "100000"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    eventually(DEADLINE, "the device has a network of its own", || {
        match std::fs::read_link(format!("/proc/{}/ns/net", keeper.id())) {
            Ok(network) if network != own => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let (pid, port) = (keeper.id(), format!("site{number}"));
    ip(&format!("link add {port} type veth peer name eth0 netns {pid}"));
    ip(&format!("link set {port} master site up"));
    // The far end of the device's link stands at an address of its own on the bridge.
    let far = Ipv4Addr::new(10, 77, 1, number);
    ip(&format!("addr add {far}/16 dev site"));
    let link = Link::new(far, &[plane.api, plane.mqtt]);
    let mut device = Device::new(plane, &Neighbour::name(number));
    device.set_link(link, plane);
    let mut neighbour = Neighbour { device, keeper, number };
    neighbour.ip("link set lo up");
    neighbour.ip("link set eth0 up");
    neighbour.ip(&format!("addr add {}/16 dev eth0", neighbour.address()));
    let agent = neighbour.device.program.clone();
    neighbour.device.program = neighbour.within().into_iter().chain(agent).collect();
    neighbour.device.enrol(&plane.token(&["--uses", "1"]), labels).ok();
    neighbour
}

/// Pushes a program that sleeps for `marker`, with bytes behind it that cannot be compressed.
fn push(plane: &Plane, marker: &str, size: u64) -> String {
    let mut program = format!("#!/bin/sh\nexec sleep {marker}\n").into_bytes();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    while (program.len() as u64) < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        program.extend(state.to_be_bytes());
    }
    let file = plane.scratch.write(&format!("program-{marker}"), program);
    plane.cli().run(&["artifact", "push", file.to_str().unwrap()]).ok()
}

fn workload(digest: &str, role: &str) -> String {
    format!(
        "apiVersion: holdfast/v1\nkind: Workload\nmetadata: {{ name: w }}\nspec:\n\
         \x20 devices: {{ matchLabels: {{ role: {role} }} }}\n\
         \x20 run: {{ process: {{ artifact: \"{digest}\" }} }}\n{QUICK}"
    )
}

const SHARING: &str = "apiVersion: holdfast/v1\nkind: LinkBudget\nmetadata: { name: thin }\nspec: { devices: all, per: day, bytes: 100Gi, neighbours: true }\n";

/// Makes a site of running devices, whose addresses the control plane knows.
fn site(plane: &Plane, count: u8) -> Vec<Neighbour> {
    plane.cli().apply(SHARING).ok();
    let mut all: Vec<Neighbour> =
        (1..=count).map(|number| neighbour(plane, number, &["role=a", "site=s"])).collect();
    all.iter_mut().for_each(|it| it.device.up());
    all.iter().for_each(|it| await_address(plane, it));
    all
}

fn await_address(plane: &Plane, it: &Neighbour) {
    let name = Neighbour::name(it.number);
    eventually(DEADLINE, "it reports where neighbours are served", || {
        let addresses = plane.view(&name)["status"]["neighbours"].to_string();
        if addresses.contains(&it.address().to_string()) { Ok(()) } else { Err(addresses) }
    });
}

fn down(all: &[Neighbour]) -> u64 {
    all.iter().map(|it| it.device.link.down()).sum()
}

fn await_running(plane: &Plane, all: &[Neighbour]) {
    for it in all {
        plane.await_phase(&Neighbour::name(it.number), "w", "running");
    }
}

#[test]
fn ten_devices_of_a_site_cost_the_bytes_of_one() {
    if runs_in_a_network_of_its_own("ten_devices_of_a_site_cost_the_bytes_of_one") {
        return;
    }
    let plane = Plane::start();
    let all = site(&plane, 10);
    for it in &all {
        // Slow enough that all want the file while one has begun.
        it.device.link.rate(Some(4 * MIB));
    }
    let digest = push(&plane, &marker(), LARGE);
    let before = down(&all);
    plane.cli().apply(&workload(&digest, "a")).ok();
    await_running(&plane, &all);
    let used = down(&all) - before;
    println!(
        "{used} bytes over ten links for a file of {LARGE}: {:.3}",
        used as f64 / LARGE as f64
    );
    assert!(used >= LARGE, "it came over some link");
    assert!(used <= LARGE + LARGE / 10, "{used} bytes for a file of {LARGE}");
}

#[test]
fn a_device_takes_a_file_from_its_neighbour_while_the_control_plane_is_away() {
    let here = "a_device_takes_a_file_from_its_neighbour_while_the_control_plane_is_away";
    if runs_in_a_network_of_its_own(here) {
        return;
    }
    let plane = Plane::start();
    let mut all = site(&plane, 2);
    let second = Neighbour::name(2);
    // The first has the file; the second knows that it should, and is cut off before it has begun.
    all[1].device.stop_agent();
    let digest = push(&plane, &marker(), LARGE);
    plane.cli().apply(&workload(&digest, "a")).ok();
    await_running(&plane, &all[..1]);
    all[1].device.link.rate(Some(64 * 1024));
    all[1].device.up();
    eventually(DEADLINE, "it has the desired state", || {
        let desired = all[1].device.data().join("desired.cose");
        let state = std::fs::read(&desired).unwrap_or_default();
        let text = String::from_utf8_lossy(&state).into_owned();
        if text.contains("artifact") { Ok(()) } else { Err(format!("{} bytes", state.len())) }
    });
    all[1].device.link.cut();
    all[0].device.link.cut();
    // The addresses that the control plane told are no good any more: multicast finds the new one.
    all[0].ip("addr del 10.77.0.1/16 dev eth0");
    all[0].ip("addr add 10.77.0.201/16 dev eth0");
    all[0].device.restart();
    all[1].device.restart();
    all[1].device.await_phase("w", "running");
    assert!(all[1].device.link.down() < LARGE / 2, "not over its link");
    assert!(all[1].device.log().contains("from a neighbour"), "{second} took it from the first");
}

#[test]
fn a_lying_neighbour_costs_a_retry_and_nothing_else() {
    if runs_in_a_network_of_its_own("a_lying_neighbour_costs_a_retry_and_nothing_else") {
        return;
    }
    let plane = Plane::start();
    let mut all = site(&plane, 2);
    all[1].device.stop_agent();
    let digest = push(&plane, &marker(), LARGE);
    plane.cli().apply(&workload(&digest, "a")).ok();
    await_running(&plane, &all[..1]);
    // The file of the first is changed behind its back: it gives other bytes under the same name.
    let hex = digest.strip_prefix("sha256:").unwrap();
    let file = all[0].device.data().join("artifacts/sha256").join(hex);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[LARGE as usize / 2] ^= 1;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, &bytes).unwrap();
    all[1].device.up();
    await_running(&plane, &all[1..]);
    let log = all[1].device.log();
    assert!(log.contains("other bytes than the file has"), "{log}");
    let used = all[1].device.link.down();
    assert!((LARGE..LARGE + LARGE / 10).contains(&used), "{used}: once, from the control plane");
}

#[test]
fn a_device_of_another_tenant_or_site_gets_nothing() {
    if runs_in_a_network_of_its_own("a_device_of_another_tenant_or_site_gets_nothing") {
        return;
    }
    let plane = Plane::start();
    let all = site(&plane, 1);
    let digest = push(&plane, &marker(), LARGE);
    plane.cli().apply(&workload(&digest, "a")).ok();
    await_running(&plane, &all);
    let curl = |who: Option<&Neighbour>| {
        let mut command = Command::new(&all[0].within()[0]);
        command.args(&all[0].within()[1..]);
        command.args(["curl", "-sk", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}"]);
        if let Some(who) = who {
            let text = std::fs::read_to_string(who.device.data().join("identity.json")).unwrap();
            let identity: serde_json::Value = serde_json::from_str(&text).unwrap();
            let certificate = identity["enrolment"]["certificate"].as_str().unwrap().to_owned();
            let key = identity["key"].as_str().unwrap();
            let key = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
            let path = plane.scratch.write(&format!("{}.pem", who.device.name), certificate + &key);
            command.arg("--cert").arg(path);
        }
        let url = format!("https://10.77.0.1:8886/holdfast/v1/files/{digest}");
        let output = command.arg(url).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(curl(None), "000", "without a certificate there is no connection");
    let other_site = neighbour(&plane, 2, &["role=b", "site=elsewhere"]);
    assert_eq!(curl(Some(&other_site)), "403");
    let same_site = neighbour(&plane, 3, &["role=b", "site=s"]);
    // The list is asked for again a minute after the last one at the earliest.
    eventually(Duration::from_secs(100), "a new device of the site is served", || {
        let status = curl(Some(&same_site));
        if status == "206" { Ok(()) } else { Err(status) }
    });
    let other = Plane::start();
    let stranger = neighbour(&other, 4, &["role=a", "site=s"]);
    assert_eq!(curl(Some(&stranger)), "000", "a certificate of another CA is none");
}

#[test]
fn a_slow_neighbour_is_left_for_the_control_plane() {
    if runs_in_a_network_of_its_own("a_slow_neighbour_is_left_for_the_control_plane") {
        return;
    }
    let plane = Plane::start();
    let mut all = site(&plane, 2);
    all[1].device.stop_agent();
    let digest = push(&plane, &marker(), LARGE);
    plane.cli().apply(&workload(&digest, "a")).ok();
    await_running(&plane, &all[..1]);
    // A kilobyte a second between them.
    let within = all[0].within();
    let shape = "qdisc add dev eth0 root tbf rate 16kbit burst 3kb latency 400ms";
    let mut tc = Command::new(&within[0]);
    let status = tc.args(&within[1..]).arg("tc").args(shape.split(' ')).status().unwrap();
    assert!(status.success(), "tc {shape}");
    let begun = Instant::now();
    all[1].device.up();
    await_running(&plane, &all[1..]);
    println!("left after {:?}", begun.elapsed());
    assert!(all[1].device.link.down() >= LARGE, "over its own link");
}
