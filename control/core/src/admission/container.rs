//! Form of containers in `Workload` documents.
//!
//! See decisions 0147 and 0171.

use holdfast_protocol::container::{Container, Devices, Network};
use holdfast_protocol::workload::Run;
use serde_json::{Value, json};

use super::Stored;
use super::at::{At, Words};
use super::command::args;
use super::container_parts::{device, dns, hosts, image, in_container, mount, port, time_zone};
use super::document::NAME;
use super::environment::{Env, Names, env};
use super::fields::Fields;

/// Most ports, mounts, devices or networks of a container.
const MOST: usize = 64;
/// Longest user of a container, in bytes: two names that Linux tools create, and the colon.
const MAX_USER: usize = 65;

/// Capabilities of Linux, as engines name them. `DEFAULT` stands for those that the engine gives a
/// container of which nothing is said.
const CAPABILITIES: [&str; 42] = [
    "DEFAULT",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Decodes a container. `None` if faults were noted.
pub(super) fn container(at: &At<'_>, stored: &Stored<'_>) -> Option<(Container, Env)> {
    let about = "Container that the device's engine (Docker, Podman) runs.";
    at.object(about, "{ image: shop/till:1.4 }", |fields| fields_of(fields, stored, false))
}

/// Asks for the fields of a container. `in_group`: it is one of several in a workload.
pub(super) fn fields_of(
    fields: &Fields<'_>,
    stored: &Stored<'_>,
    in_group: bool,
) -> Option<(Container, Env)> {
    let image = fields.required(
        "image",
        "Image, as `NAME:TAG` or `NAME@sha256:…` of an image of the control plane (`holdfast get images`). A tag is resolved when the document is applied: another image behind it needs another apply.",
        "an image, such as shop/till:1.4",
        |at| image(at, stored),
    );
    let command = words(
        fields,
        "command",
        "Program and first arguments, in place of the image's entry point. With it the image's own arguments are not used.",
    );
    let arguments =
        words(fields, "args", "Arguments, in place of those of the image. Default: the image's.");
    let env = fields.or(
        "env",
        "Environment variables in addition to those of the image: a text, `{ secret: NAME, key: KEY }`, `{ config: NAME, key: KEY }` or `{ template: … }`. Names that begin with `HOLDFAST_` are reserved.",
        Default::default(),
        |at| Some(env(at, Names::OfContainers)),
    );
    let workdir = fields.maybe(
        "workdir",
        "Working folder: an absolute path in the container. Default: the image's.",
        in_container,
    );
    let user =
        fields.maybe("user", "User, as `USER`, `UID` or `UID:GID`. Default: the image's.", user);
    let outside = Outside::of(fields, in_group);
    let inside = Inside::of(fields);
    let ((env, references), outside, inside) = (env?, outside?, inside?);
    let container = Container {
        image: image?,
        command: command?,
        args: arguments?,
        env,
        workdir: workdir?,
        user: user?,
        ports: outside.ports,
        mounts: inside.mounts,
        devices: inside.devices,
        network: outside.network,
        writable_root: inside.writable_root,
        capabilities: inside.capabilities,
        seccomp_off: inside.seccomp_off,
        time_zone: inside.time_zone,
        dns: outside.dns,
        hosts: outside.hosts,
        init: inside.init,
    };
    Some((container, references))
}

fn words(fields: &Fields<'_>, key: &'static str, about: &str) -> Option<Vec<String>> {
    fields.or(key, about, Vec::new(), |at| Some(args(at)))
}

/// What connects a container with others.
struct Outside {
    ports: Vec<holdfast_protocol::container::Port>,
    network: Network,
    dns: Vec<String>,
    hosts: std::collections::BTreeMap<String, String>,
}

const NETWORKS: Words<'static, Network> = Words {
    about: "Network of a container.",
    what: "network",
    list: &[
        (
            "host",
            "The device's own, as for a process: without any delay or translation.",
            Network::Host,
        ),
        (
            "bridge",
            "A network of the engine, from which only the named ports are seen.",
            Network::Bridge,
        ),
        ("none", "No network but its own loopback interface.", Network::None),
    ],
    or: &[],
};

impl Outside {
    fn of(fields: &Fields<'_>, in_group: bool) -> Option<Self> {
        let ports = fields.or(
            "ports",
            "Ports that the container listens on and the device shows.",
            Vec::new(),
            |at| at.list(MOST, "; leave it out to have none", port),
        );
        let network = fields.maybe(
            "network",
            "Network of the container: `host`, `bridge` or `none`. Default: `bridge` if it has ports or is one of a group, else `host`.",
            |at| at.word(&NETWORKS),
        );
        let networks = fields.maybe(
            "networks",
            "Names of networks that workloads of a device share, in place of `network`. In them a workload is found by its name.",
            |at| {
                at.list(MOST, "; leave it out to have none", |at| {
                    at.put("pattern", NAME).parsed(str::parse)
                })
            },
        );
        let dns = fields.or(
            "dns",
            "Addresses of name servers. Default: those of the engine.",
            Vec::new(),
            dns,
        );
        let hosts = fields.or(
            "hosts",
            "Names that resolve to fixed addresses: name to address, or to `host-gateway` for the device itself.",
            Default::default(),
            |at| Some(hosts(at)),
        );
        let (ports, network, networks) = (ports?, network?, networks?);
        if let (Some(_), Some(_), Some(at)) = (&network, &networks, fields.get("networks")) {
            at.fault("both network and networks: a container is in named networks, or in one of the kinds");
            return None;
        }
        let network = match (networks, network) {
            (Some(names), _) => Network::Shared(names),
            (None, Some(network)) => network,
            (None, None) if in_group || !ports.is_empty() => Network::Bridge,
            (None, None) => Network::Host,
        };
        fit(fields, &ports, &network)?;
        Some(Self { ports, network, dns: dns?, hosts: hosts? })
    }
}

/// Notes a fault for each port that the network cannot show. `None` if there is one.
fn fit(
    fields: &Fields<'_>,
    ports: &[holdfast_protocol::container::Port],
    network: &Network,
) -> Option<()> {
    let Some(at) = fields.get("ports") else { return Some(()) };
    let mut good = true;
    for (index, port) in ports.iter().enumerate() {
        let why = match network {
            Network::None => "a container without a network shows no port",
            Network::Host if port.host.is_some_and(|host| host != port.container) => {
                "in the device's own network the port of the device is that of the container: leave host out, or take network: bridge"
            }
            Network::Host if port.address.is_some() => {
                "in the device's own network the container chooses the address itself: leave address out"
            }
            _ => continue,
        };
        good = false;
        if let Some(item) = at.value().get(index) {
            at.item(index, item).fault(why);
        }
    }
    good.then_some(())
}

/// What a container sees and may do inside.
struct Inside {
    mounts: Vec<holdfast_protocol::container::Mount>,
    devices: Devices,
    writable_root: bool,
    capabilities: Vec<String>,
    seccomp_off: bool,
    time_zone: Option<String>,
    init: bool,
}

impl Inside {
    fn of(fields: &Fields<'_>) -> Option<Self> {
        let mounts = fields.or(
            "mounts",
            "Volumes, files of the workload, paths of the device and folders in memory that the container sees.",
            Vec::new(),
            |at| at.list(MOST, "; leave it out to have none", mount),
        );
        let devices = fields.or(
            "devices",
            "Device files, or devices by their names of the Container Device Interface.",
            Vec::new(),
            |at| at.list(MOST, "; leave it out to have none", device),
        );
        let gpus = fields.maybe(
            "gpus",
            "GPUs that the engine's own driver gives: a number, or `all`.",
            gpus,
        );
        let writable_root = fields.or(
            "writableRoot",
            "True if the container may write to the files of its image; such changes are lost with it. Default: false.",
            false,
            |at| at.flag(),
        );
        let capabilities = fields.or(
            "capabilities",
            "Capabilities of Linux that the container keeps, such as `NET_BIND_SERVICE`; `DEFAULT` stands for those that the engine usually gives. Default: none.",
            Vec::new(),
            |at| at.list(CAPABILITIES.len(), "; leave it out to have none", capability),
        );
        let seccomp = fields.or(
            "seccomp",
            "Filter of system calls: `default` (the engine's) or `unconfined`. Default: `default`.",
            false,
            |at| {
                at.word(&Words {
                    about: "Filter of system calls.",
                    what: "filter",
                    list: &[
                        ("default", "The engine's own filter.", false),
                        ("unconfined", "No filter.", true),
                    ],
                    or: &[],
                })
            },
        );
        let time_zone = fields.maybe(
            "timeZone",
            "Time zone, such as `Europe/Oslo`, given as the variable `TZ`. Default: the image's.",
            time_zone,
        );
        let init = fields.or(
            "init",
            "True if the engine's small first process reaps orphans and passes on signals. Default: false.",
            false,
            |at| at.flag(),
        );
        let mut all = Devices { gpus: gpus?, ..Devices::default() };
        for device in devices? {
            device.add_to(&mut all);
        }
        Some(Self {
            mounts: mounts?,
            devices: all,
            writable_root: writable_root?,
            capabilities: capabilities?,
            seccomp_off: seccomp?,
            time_zone: time_zone?,
            init: init?,
        })
    }
}

fn capability(at: &At<'_>) -> Option<String> {
    at.parsed(|text| {
        let name = text.to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name);
        let known = CAPABILITIES.iter().find(|known| **known == name);
        known
            .map(|known| (*known).to_owned())
            .ok_or("not a capability of Linux, such as NET_BIND_SERVICE, nor DEFAULT")
    })
}

fn gpus(at: &At<'_>) -> Option<i32> {
    at.put("anyOf", json!([{ "const": "all", "description": "All of them." }, { "type": "integer", "minimum": 1 }]));
    if at.node().is_some() {
        return None;
    }
    match at.value() {
        Value::String(text) if text == "all" => return Some(-1),
        Value::Number(number) => {
            // More than a few of them are in no machine; the bound is a slip's.
            let some = number.as_i64().and_then(|number| i32::try_from(number).ok());
            if let Some(some @ 1..=256) = some {
                return Some(some);
            }
        }
        _ => {}
    }
    at.expected("a number of GPUs, 1 to 256, or all");
    None
}

fn user(at: &At<'_>) -> Option<String> {
    at.put("anyOf", json!([{ "type": "string" }, { "type": "integer", "minimum": 0 }]));
    if at.node().is_some() {
        return None;
    }
    if let Some(number) = at.value().as_u64().and_then(|number| u32::try_from(number).ok()) {
        return Some(number.to_string());
    }
    let user = at.text()?;
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let part = |part: &str| !part.is_empty() && part.bytes().all(inner);
    let parts: Vec<&str> = user.split(':').collect();
    let good = user.len() <= MAX_USER && parts.len() <= 2 && parts.iter().copied().all(part);
    if !good {
        at.refuse("not a user of a container: USER, UID or UID:GID");
        return None;
    }
    Some(user.to_owned())
}

/// Writes the digest of each image into a spec as it is kept, so that the revision says which image a
/// tag stood for.
pub(super) fn pin(spec: &mut Value, run: &Run) {
    let mut images: Vec<&mut Value> = match run {
        Run::Container(_) => spec.pointer_mut("/run/container/image").into_iter().collect(),
        Run::Group(_) => {
            let all = spec.pointer_mut("/run/group/containers").and_then(Value::as_array_mut);
            all.into_iter().flatten().filter_map(|member| member.get_mut("image")).collect()
        }
        Run::Process(_) | Run::Unknown(_) => Vec::new(),
    };
    for (written, container) in images.iter_mut().zip(run.containers()) {
        let image = &container.image;
        **written = Value::String(format!("{}@{}", image.name, image.digest));
    }
}
