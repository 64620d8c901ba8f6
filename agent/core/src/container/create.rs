//! What an engine is asked for to make a container.
//!
//! See decision 0175.

use std::collections::BTreeMap;

use holdfast_protocol::container::{Container, Devices, Port};
use holdfast_protocol::workload::Resources;
use serde_json::{Map, Value, json};

use super::dialect::Dialect;

/// Limit of processes and threads of a container that names none: enough for any service, and a
/// fork bomb does not take the device along. Podman's own default is 2048, Docker has none.
const PIDS: u32 = 4_096;

/// Something that is seen in a container, as the engine is asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Path of the device.
    Path(String),
    /// Volume of the engine, by its name there.
    Volume(String),
    /// Folder in memory of at most so many bytes; 0: as the engine has it.
    Memory(u64),
}

/// Mount of a container, as the engine is asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Absolute path in the container.
    pub at: String,
    /// Thing that is seen there.
    pub what: Seen,
    /// True if it can be read only.
    pub read_only: bool,
}

/// Networks of a container, as the engine is asked for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    /// `host`, `none`, `bridge`, or the name of a network of the engine.
    pub mode: String,
    /// Names under which it is found in the network `mode`.
    pub aliases: Vec<String>,
}

/// Everything that is known of a container before it is made.
#[derive(Debug, Clone)]
pub struct Creation<'a> {
    /// Description of the container.
    pub container: &'a Container,
    /// Image by what the engine knows it.
    pub image: &'a str,
    /// Limits of the container.
    pub resources: Resources,
    /// All environment variables.
    pub env: BTreeMap<String, String>,
    /// Labels of the container.
    pub labels: BTreeMap<String, String>,
    /// Everything that it sees beside its image.
    pub mounts: Vec<Mounted>,
    /// Ports with the port of the device that each has.
    pub ports: Vec<(&'a Port, u16)>,
    /// Networks that it begins in.
    pub networks: Networks,
    /// Host name, where it has a network of its own.
    pub hostname: String,
}

/// Body of `POST /containers/create`.
pub fn body(asked: &Creation<'_>, dialect: &Dialect) -> Value {
    let Creation { container, image, env, labels, networks, .. } = asked;
    let env: Vec<String> = env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut body = json!({
        "Image": image,
        "Env": env,
        "Labels": labels,
        "Tty": false,
        "OpenStdin": false,
        "AttachStdin": false,
        "AttachStdout": false,
        "AttachStderr": false,
        // The agent's own probes are the ones that count.
        "Healthcheck": { "Test": ["NONE"] },
        "HostConfig": host_config(asked, dialect),
    });
    let mut set = |key: &str, value: Value| {
        if let Some(body) = body.as_object_mut() {
            body.insert(key.to_owned(), value);
        }
    };
    if !container.command.is_empty() {
        set("Entrypoint", json!(container.command));
    }
    if !container.args.is_empty() {
        set("Cmd", json!(container.args));
    }
    if let Some(folder) = &container.workdir {
        set("WorkingDir", json!(folder));
    }
    if let Some(user) = &container.user {
        set("User", json!(user));
    }
    if networks.mode != "host" {
        set("Hostname", json!(asked.hostname));
        let exposed: Map<String, Value> =
            asked.ports.iter().map(|(port, _)| (port_key(port), json!({}))).collect();
        set("ExposedPorts", Value::Object(exposed));
    }
    if !networks.aliases.is_empty() {
        let mode = networks.mode.as_str();
        let endpoint = json!({ mode: { "Aliases": networks.aliases } });
        set("NetworkingConfig", json!({ "EndpointsConfig": endpoint }));
    }
    body
}

fn host_config(asked: &Creation<'_>, dialect: &Dialect) -> Value {
    let Creation { container, resources, networks, .. } = asked;
    let mut security = vec!["no-new-privileges"];
    if container.seccomp_off {
        security.push("seccomp=unconfined");
    }
    let hosts: Vec<String> =
        container.hosts.iter().map(|(name, to)| format!("{name}:{to}")).collect();
    let mounts: Vec<Value> = asked.mounts.iter().map(mount).collect();
    let (devices, requests) = devices(&container.devices, dialect);
    let mut config = json!({
        "NetworkMode": networks.mode,
        // The agent alone restarts.
        "RestartPolicy": { "Name": "no" },
        "AutoRemove": false,
        "Privileged": false,
        "ReadonlyRootfs": !container.writable_root,
        "CapDrop": ["ALL"],
        "CapAdd": container.capabilities,
        "SecurityOpt": security,
        "PidsLimit": resources.pids.unwrap_or(PIDS),
        "LogConfig": dialect.log(),
        "Mounts": mounts,
        "Devices": devices,
    });
    let mut set = |key: &str, value: Value| {
        if let Some(config) = config.as_object_mut() {
            config.insert(key.to_owned(), value);
        }
    };
    if let Some(bytes) = resources.memory_bytes {
        set("Memory", json!(bytes));
        // No swap beside it: what is over the limit ends the container.
        set("MemorySwap", json!(bytes));
    }
    if let Some(millis) = resources.cpu_millis {
        set("NanoCpus", json!(u64::from(millis) * 1_000_000));
    }
    if !requests.is_empty() {
        set("DeviceRequests", Value::Array(requests));
    }
    if !container.dns.is_empty() {
        set("Dns", json!(container.dns));
    }
    if !hosts.is_empty() {
        set("ExtraHosts", json!(hosts));
    }
    if container.init {
        set("Init", json!(true));
    }
    if networks.mode != "host" && networks.mode != "none" {
        set("PortBindings", bindings(&asked.ports));
    }
    config
}

fn port_key(port: &Port) -> String {
    format!("{}/{}", port.container, if port.udp { "udp" } else { "tcp" })
}

fn bindings(ports: &[(&Port, u16)]) -> Value {
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (port, host) in ports {
        let address = port.address.as_deref().unwrap_or_default();
        let binding = json!({ "HostIp": address, "HostPort": host.to_string() });
        all.entry(port_key(port)).or_default().push(binding);
    }
    json!(all)
}

fn mount(mounted: &Mounted) -> Value {
    let (target, read_only) = (&mounted.at, mounted.read_only);
    match &mounted.what {
        Seen::Path(path) => {
            json!({ "Type": "bind", "Source": path, "Target": target, "ReadOnly": read_only })
        }
        Seen::Volume(name) => {
            json!({ "Type": "volume", "Source": name, "Target": target, "ReadOnly": read_only })
        }
        Seen::Memory(bytes) => {
            // Writable for all, as /tmp: Podman leaves it to root otherwise.
            let mut options = json!({ "Mode": 0o1777 });
            if let Some(options) = options.as_object_mut().filter(|_| *bytes > 0) {
                options.insert("SizeBytes".into(), json!(bytes));
            }
            json!({ "Type": "tmpfs", "Target": target, "ReadOnly": read_only, "TmpfsOptions": options })
        }
    }
}

/// Device files, and requests for devices.
fn devices(devices: &Devices, dialect: &Dialect) -> (Vec<Value>, Vec<Value>) {
    let file = |host: &str, container: &str, rights: &str| json!({ "PathOnHost": host, "PathInContainer": container, "CgroupPermissions": rights });
    let mut files: Vec<Value> =
        devices.files.iter().map(|it| file(&it.host, &it.container, &it.rights)).collect();
    let mut requests = Vec::new();
    if dialect.cdi_is_a_device_file() {
        files.extend(devices.cdi.iter().map(|name| file(name, name, "rwm")));
    } else if !devices.cdi.is_empty() {
        requests.push(json!({ "Driver": "cdi", "DeviceIDs": devices.cdi }));
    }
    if let Some(count) = devices.gpus {
        requests.push(json!({ "Driver": "", "Count": count, "Capabilities": [["gpu"]] }));
    }
    (files, requests)
}

#[cfg(test)]
mod tests {
    use holdfast_base::ids::Digest;
    use holdfast_protocol::container::{DeviceFile, Image, Network};

    use super::*;

    fn dialect(component: &str) -> Dialect {
        let version = json!({ "ApiVersion": "1.41", "Components": [{ "Name": component }] });
        Dialect::of(&version).unwrap()
    }

    fn container() -> Container {
        Container {
            image: Image { name: "x".into(), digest: Digest([1; 32]), platforms: vec![] },
            command: vec![],
            args: vec![],
            env: BTreeMap::new(),
            workdir: None,
            user: None,
            ports: vec![],
            mounts: vec![],
            devices: Devices::default(),
            network: Network::Host,
            writable_root: false,
            capabilities: vec![],
            seccomp_off: false,
            time_zone: None,
            dns: vec![],
            hosts: BTreeMap::new(),
            init: false,
        }
    }

    fn asked(container: &Container) -> Creation<'_> {
        Creation {
            container,
            image: "sha256:4f",
            resources: Resources::default(),
            env: BTreeMap::new(),
            labels: BTreeMap::new(),
            mounts: vec![],
            ports: vec![],
            networks: Networks { mode: "host".into(), aliases: vec![] },
            hostname: "w".into(),
        }
    }

    #[test]
    fn nothing_is_allowed_that_was_not_asked_for() {
        let plain = container();
        let body = body(&asked(&plain), &dialect("Engine"));
        let host = &body["HostConfig"];
        assert_eq!(host["CapDrop"], json!(["ALL"]));
        assert_eq!(host["CapAdd"], json!([]));
        assert_eq!(host["SecurityOpt"], json!(["no-new-privileges"]));
        assert_eq!(host["ReadonlyRootfs"], true);
        assert_eq!(host["RestartPolicy"]["Name"], "no");
        assert_eq!(host["PidsLimit"], PIDS);
        assert_eq!(host["LogConfig"]["Config"]["max-size"], "1m");
        for key in ["Memory", "NanoCpus", "DeviceRequests", "PortBindings", "Dns", "Init"] {
            assert!(host.get(key).is_none(), "{key}");
        }
        for key in ["Entrypoint", "Cmd", "User", "WorkingDir", "Hostname"] {
            assert!(body.get(key).is_none(), "{key}: the image's own");
        }
    }

    #[test]
    fn each_field_reaches_the_engine() {
        let mut full = container();
        full.command = vec!["/a".into()];
        full.args = vec!["b".into()];
        full.workdir = Some("/w".into());
        full.user = Some("7:8".into());
        full.writable_root = true;
        full.capabilities = vec!["NET_RAW".into()];
        full.seccomp_off = true;
        full.dns = vec!["9.9.9.9".into()];
        full.hosts = [("db".to_owned(), "10.0.0.1".to_owned())].into();
        full.init = true;
        full.devices = Devices {
            files: vec![DeviceFile {
                host: "/dev/a".into(),
                container: "/dev/b".into(),
                rights: "r".into(),
            }],
            cdi: vec!["nvidia.com/gpu=all".into()],
            gpus: Some(-1),
        };
        let web = Port { name: None, container: 80, host: None, address: None, udp: false };
        let dns = Port { udp: true, container: 53, address: Some("::1".into()), ..web.clone() };
        let mut asked = asked(&full);
        asked.resources =
            Resources { cpu_millis: Some(1_500), memory_bytes: Some(1 << 20), pids: Some(9) };
        asked.ports = vec![(&web, 8_080), (&web, 8_081), (&dns, 53)];
        asked.networks = Networks { mode: "hf-a".into(), aliases: vec!["w".into()] };
        let at = |at: &str, what: Seen| Mounted { at: at.into(), what, read_only: true };
        asked.mounts = vec![
            at("/p", Seen::Path("/srv".into())),
            at("/v", Seen::Volume("hf-w.v".into())),
            at("/m", Seen::Memory(4_096)),
            at("/n", Seen::Memory(0)),
        ];
        let docker = body(&asked, &dialect("Engine"));
        let host = &docker["HostConfig"];
        assert_eq!(docker["Entrypoint"], json!(["/a"]));
        assert_eq!(docker["Cmd"], json!(["b"]));
        assert_eq!((&docker["User"], &docker["WorkingDir"]), (&json!("7:8"), &json!("/w")));
        assert_eq!(docker["Hostname"], "w");
        let endpoint = &docker["NetworkingConfig"]["EndpointsConfig"]["hf-a"];
        assert_eq!(endpoint["Aliases"], json!(["w"]));
        assert_eq!(host["Memory"], host["MemorySwap"]);
        assert_eq!((&host["NanoCpus"], &host["PidsLimit"]), (&json!(1_500_000_000), &json!(9)));
        assert_eq!(host["SecurityOpt"], json!(["no-new-privileges", "seccomp=unconfined"]));
        assert_eq!(host["ExtraHosts"], json!(["db:10.0.0.1"]));
        let ports = &host["PortBindings"];
        assert_eq!(ports["80/tcp"].as_array().map(Vec::len), Some(2));
        assert_eq!(ports["53/udp"], json!([{ "HostIp": "::1", "HostPort": "53" }]));
        let kinds: Vec<&Value> =
            host["Mounts"].as_array().unwrap().iter().map(|it| &it["Type"]).collect();
        assert_eq!(kinds, ["bind", "volume", "tmpfs", "tmpfs"]);
        assert_eq!(host["Mounts"][2]["TmpfsOptions"]["SizeBytes"], 4_096);
        assert_eq!(host["DeviceRequests"].as_array().map(Vec::len), Some(2));
        assert_eq!(host["Devices"].as_array().map(Vec::len), Some(1));
        let podman = body(&asked, &dialect("Podman Engine"));
        assert_eq!(podman["HostConfig"]["Devices"].as_array().map(Vec::len), Some(2));
        assert_eq!(podman["HostConfig"]["DeviceRequests"].as_array().map(Vec::len), Some(1));
    }
}
