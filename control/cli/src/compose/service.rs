//! A service of a Compose file as a container of a workload.

use std::collections::BTreeMap;
use std::net::IpAddr;

use holdfast_base::ids::Name;
use serde_json::{Map, Value, json};

use super::context::Context;
use super::environment::environment;
use super::files;
use super::health::health;
use super::keys::{NAMESPACE, SERVICE};
use super::limits::{Whole, whole};
use super::mounts::{has_socket, mounts};
use super::networks::{Attached, attached};
use super::node::{Fields, Item, Tree};
use super::order::{After, after};
use super::ports::ports;
use super::rights::rights;
use super::shell;

/// Most mounts, and most name servers, of a container, as the control plane takes them.
const MOST_MOUNTS: usize = 64;
const MOST_DNS: usize = 3;

/// Service with everything that the workload takes from it.
pub(super) struct Service<'a> {
    /// Place of the service.
    pub(super) item: Item<'a>,
    /// Name in the file.
    pub(super) name: String,
    /// Name of the container.
    pub(super) member: Name,
    /// Fields of the container.
    pub(super) container: Map<String, Value>,
    /// Health probe.
    pub(super) health: Option<Value>,
    /// Services that it waits for.
    pub(super) after: Vec<After<'a>>,
    /// Network.
    pub(super) network: Attached,
    /// Part that holds for the whole workload.
    pub(super) whole: Whole<'a>,
    /// Name by which other containers may look for it: that of the file if it is another one here,
    /// and that of `container_name`.
    pub(super) other_names: Vec<(String, Item<'a>)>,
    /// Ports of the device that it takes.
    pub(super) taken: Vec<(Taken, Item<'a>)>,
}

/// Port of the device: address (none: all of them), number, and whether it is of UDP.
pub(super) type Taken = (Option<String>, u16, bool);

/// Translates a service. `socket`: some service of the file sees the engine's socket.
pub(super) fn service<'a>(
    context: &Context<'_>,
    item: &Item<'a>,
    name: &str,
    member: Name,
    socket: bool,
) -> Service<'a> {
    let fields = item.fields();
    let mut container = Map::new();
    image(&fields, &mut container);
    command(&fields, &mut container);
    let env = environment(context, &fields);
    put(&mut container, "env", (!env.is_empty()).then(|| json!(env)));
    put(&mut container, "workdir", fields.get("working_dir").and_then(|item| in_container(&item)));
    put(&mut container, "user", fields.get("user").and_then(|item| user(&item)));
    let network = attached(&fields, name);
    let taken = published(&fields, &network, &mut container);
    let mut all = mounts(context, name, &fields);
    all.extend(files::mounts(context, &fields));
    if all.len() > MOST_MOUNTS {
        item.fault(format!("{} mounts, at most {MOST_MOUNTS}", all.len()));
    }
    put(&mut container, "mounts", (!all.is_empty()).then(|| json!(all)));
    rights(&fields, &mut container);
    let read_only = fields.get("read_only").and_then(|item| item.flag()).unwrap_or(false);
    put(&mut container, "writableRoot", (!read_only).then_some(Value::Bool(true)));
    let init = fields.get("init").and_then(|item| item.flag()).unwrap_or(false);
    put(&mut container, "init", init.then_some(Value::Bool(true)));
    names(&fields, &mut container);
    let health = fields.get("healthcheck").and_then(|item| health(&item));
    let after = after(&fields);
    let whole = whole(&fields, &mut container);
    let mut other_names = Vec::new();
    if name != member.as_str() {
        other_names.push((name.to_owned(), item.clone()));
    }
    if let Some(given) = fields.get("container_name")
        && let Some(text) = given.text()
        && text != member.as_str()
    {
        other_names.push((text.to_owned(), given));
    }
    unheard(&fields, socket);
    engine(&fields);
    fields.end(&SERVICE);
    Service {
        item: item.clone(),
        name: name.to_owned(),
        member,
        container,
        health,
        after,
        network,
        whole,
        other_names,
        taken,
    }
}

fn put(container: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        container.insert(key.to_owned(), value);
    }
}

fn image(fields: &Fields<'_>, container: &mut Map<String, Value>) {
    let build = fields.get("build");
    match (fields.get("image"), build) {
        (Some(image), build) => {
            let Some(text) = image.text() else { return };
            if text.is_empty() || text.len() > 512 || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
                image.expected("an image, such as shop/till:1.4");
                return;
            }
            if let Some(build) = build {
                build.warning(format!("nothing is built here: build it and push it, by docker build -t {text} . and holdfast image push {text}"));
            }
            container.insert("image".into(), text.into());
        }
        (None, Some(build)) => build.fault(
            "nothing is built here: build the image and push it, by docker build -t NAME:TAG . and holdfast image push NAME:TAG, and write image: NAME:TAG",
        ),
        (None, None) => fields.item.fault("no image"),
    }
}

/// Reads words: a list, or a text that is divided as Compose divides it.
fn words(item: &Item<'_>) -> Option<Vec<String>> {
    if let Tree::Text(text) = &item.node.tree {
        return match shell::words(text) {
            Ok(words) => Some(words),
            Err(why) => {
                item.fault(why.to_string());
                None
            }
        };
    }
    Some(item.list().iter().filter_map(|item| Some(item.text()?.to_owned())).collect())
}

fn command(fields: &Fields<'_>, container: &mut Map<String, Value>) {
    let entry = fields.get("entrypoint").and_then(|item| Some((words(&item)?, item)));
    let command = fields.get("command").and_then(|item| words(&item)).unwrap_or_default();
    match entry {
        None => put(container, "args", (!command.is_empty()).then(|| json!(command))),
        // No entry point: the command is the program.
        Some((entry, _)) if entry.is_empty() && !command.is_empty() => {
            put(container, "command", Some(json!(command)));
        }
        Some((entry, item)) if entry.is_empty() => {
            item.unsupported("not honoured without command: the image's own entry point is used; write what is to run as command");
        }
        Some((entry, _)) => {
            put(container, "command", Some(json!(entry)));
            put(container, "args", (!command.is_empty()).then(|| json!(command)));
        }
    }
}

fn in_container(item: &Item<'_>) -> Option<Value> {
    item.parsed("an absolute path in the container, such as /app", |path| {
        let good = path.starts_with('/') && !path.split('/').any(|part| part == "..");
        good.then(|| path.into())
    })
}

fn user(item: &Item<'_>) -> Option<Value> {
    item.parsed("a user: USER, UID or UID:GID", |user| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let parts: Vec<&str> = user.split(':').collect();
        let good = parts.len() <= 2
            && parts.iter().all(|part| !part.is_empty() && part.bytes().all(inner));
        (good && user.len() <= 65).then(|| user.into())
    })
}

/// Puts the published ports into the container; returns those that it takes of the device.
fn published<'a>(
    fields: &Fields<'a>,
    network: &Attached,
    container: &mut Map<String, Value>,
) -> Vec<(Taken, Item<'a>)> {
    let Some(item) = fields.get("ports") else { return Vec::new() };
    let all = ports(&item);
    match network {
        Attached::Host => {
            item.warning("not needed: in the device's own network the ports of the container are those of the device");
            return Vec::new();
        }
        Attached::None => {
            item.fault("a container without a network publishes no port");
            return Vec::new();
        }
        _ => {}
    }
    let documents: Vec<Value> = all.iter().map(|(port, _)| port.document()).collect();
    put(container, "ports", (!documents.is_empty()).then(|| json!(documents)));
    all.into_iter()
        .filter_map(|(port, item)| Some(((port.address, port.host?, port.udp), item)))
        .collect()
}

/// Reads name servers and fixed names.
fn names(fields: &Fields<'_>, container: &mut Map<String, Value>) {
    let servers = fields.get("dns").map(|item| (item.one_or_list(), item));
    if let Some((servers, item)) = servers {
        let is_address =
            |text: &str| text.parse::<IpAddr>().ok().map(|address| address.to_string());
        let all: Vec<String> = servers
            .iter()
            .filter_map(|item| item.parsed("the address of a name server", is_address))
            .collect();
        if all.len() > MOST_DNS {
            item.fault(format!("{} name servers, at most {MOST_DNS}", all.len()));
        }
        put(container, "dns", (!all.is_empty()).then(|| json!(all)));
    }
    let Some(hosts) = fields.get("extra_hosts") else { return };
    let mut all = BTreeMap::new();
    for (name, address, item) in hosts.pairs(&['=', ':']) {
        let address = address.unwrap_or_default();
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let named = !name.is_empty() && name.len() <= 253 && name.bytes().all(inner);
        if !named || (bare != "host-gateway" && bare.parse::<IpAddr>().is_err()) {
            item.expected("a name and an address, as NAME:ADDRESS");
            continue;
        }
        all.insert(name, bare.to_owned());
    }
    put(container, "hosts", (!all.is_empty()).then(|| json!(all)));
}

/// Says what becomes of labels, which are not set: who reads them decides whether that matters.
fn unheard(fields: &Fields<'_>, socket: bool) {
    for key in ["labels", "label_file"] {
        let Some(labels) = fields.get(key) else { continue };
        let mut traefik = false;
        if key == "labels" {
            traefik = labels.pairs(&['=']).iter().any(|(name, ..)| name.starts_with("traefik."));
        }
        if socket || traefik {
            labels.unsupported("not honoured: the containers have no labels of their own, so what reads them from the engine's socket finds none; give it a file instead, such as traefik's file provider");
        } else {
            labels.warning("not honoured: the containers have no labels of their own");
        }
    }
}

/// Reads what a service says about the engine's ways, where it is not what the engine does anyway.
fn engine(fields: &Fields<'_>) {
    if let Some(ipc) = fields.get("ipc")
        && !matches!(ipc.text(), Some("private" | "shareable"))
    {
        ipc.unsupported(NAMESPACE);
    }
    if let Some(runtime) = fields.get("runtime")
        && runtime.text() != Some("runc")
    {
        runtime.unsupported(
            "not honoured: the engine's own runtime is used; for GPUs write gpus: all",
        );
    }
}

/// True if some service of the file sees the engine's socket.
pub(super) fn any_socket(services: &[(&str, Item<'_>)]) -> bool {
    services.iter().any(|(_, item)| has_socket(item))
}
