//! One container of an instance: what the engine is asked for, with its volumes, ports and variables.
//!
//! See decision 0175.

use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};

use holdfast_base::ids::{Name, hex};
use holdfast_protocol::container::{Container, Mount, MountFrom, Network, Port};
use holdfast_protocol::message::ContainerDetail;
use holdfast_protocol::sealing::SealedContent;
use serde_json::{Value, json};

use super::client::{EngineError, query};
use super::engine::Here;
use super::failure::PrepareError;
use super::shared::{SHOWN, Shared};
use super::{images, networks, running, sweep};
use crate::adapters::access::SOCKETS;
use crate::adapters::files;
use crate::core::container::create::{Creation, Mounted, Seen, body};
use crate::core::container::dialect::{Refusal, warnings};
use crate::core::container::group::Order;
use crate::core::container::marks::{self, Mark, Member};
use crate::core::container::{Part, ports};
use crate::runtimes::Prepare;
use crate::runtimes::common::users::FILES;

/// Folder in a container in which it finds the sockets of the local bus and of the data streams.
const SOCKETS_INSIDE: &str = "/run/holdfast";
/// Name of the file with the assigned ports, in the workload's folder.
const PORTS: &str = "ports";
/// Longest file of assigned ports that is read, in bytes.
const MAX_PORTS: u64 = 64 * 1024;

/// Container of the instance that is to be made.
pub(super) struct One<'a> {
    /// Place in the instance.
    pub(super) member: Member,
    /// Description of the container.
    pub(super) container: &'a Container,
    /// Part in its group. None: it is alone.
    pub(super) order: Option<Order>,
    /// Image as the engine knows it.
    pub(super) image: images::There,
}

/// Makes one container.
pub(super) async fn create(
    shared: &Shared,
    here: &Here,
    ask: &Prepare,
    one: &One<'_>,
    content: &SealedContent,
) -> Result<Part, PrepareError> {
    let Prepare { name, revision, nonce, .. } = ask;
    let One { member, container, order, image } = one;
    let is_group = order.is_some();
    let mark = Mark {
        agent: shared.common.agent.clone(),
        workload: name.clone(),
        revision: revision.number,
        nonce: *nonce,
        boot: shared.common.boot.clone(),
        member: member.clone(),
    };
    let networks = networks::ready(shared, here, name, &member.name, container, is_group).await?;
    let ports = assign(shared, name, &member.name, container)?;
    let mut labels = mark.labels();
    let named = named(&ports);
    if !named.is_empty() {
        labels.insert(marks::PORTS.into(), marks::ports_text(&named));
    }
    if let Some(order) = order {
        let text = serde_json::to_string(order).unwrap_or_default();
        labels.insert(marks::ORDER.into(), text);
    }
    let hostname = if member.name.is_empty() { name.to_string() } else { member.name.clone() };
    let asked = Creation {
        container,
        image: &image.name,
        resources: revision.spec.resources,
        env: environment(shared, ask, container, content, &named),
        labels,
        mounts: mounts(shared, here, name, container, content).await?,
        ports,
        networks: networks.first.clone(),
        hostname,
    };
    let mut body = body(&asked, &here.dialect);
    let hash = ring::digest::digest(&ring::digest::SHA256, body.to_string().as_bytes());
    if let Some(labels) = body.get_mut("Labels").and_then(Value::as_object_mut) {
        labels.insert(marks::SPEC.into(), json!(hex(hash.as_ref())));
    }
    let (id, warned) = post(here, &mark, &body, container).await?;
    if member.at == 0 || !warned.is_empty() {
        shared.unlimited().insert(name.clone(), warned);
    }
    let part = Part { name: member.name.clone(), id };
    if let Err(error) = networks::join(here, &part.id, &networks).await {
        running::discard(here, &part).await;
        return Err(error);
    }
    let short = part.id.chars().take(SHOWN).collect();
    shared.details().insert(part.id.clone(), ContainerDetail { id: short, ports: named });
    Ok(part)
}

/// Asks the engine for a container; returns its id, and what the engine warns of.
async fn post(
    here: &Here,
    mark: &Mark,
    body: &Value,
    container: &Container,
) -> Result<(String, String), PrepareError> {
    let name = mark.container();
    let path = format!("/containers/create?name={}", query(&name));
    let error = match here.client.post(&path, Some(body)).await {
        Ok(answer) => match answer.get("Id").and_then(Value::as_str) {
            Some(id) => return Ok((id.to_owned(), warnings(&answer))),
            None => EngineError::Broken { what: path, why: "no id came".into() },
        },
        Err(error) => error,
    };
    // It may have been made although no answer came, or only a refusal of the second try.
    let list = sweep::list(here, &mark.agent, Some(&mark.workload)).await.unwrap_or_default();
    let is_it = |it: &&crate::core::container::seen::Listed| it.mark == *mark;
    if let Some(there) = list.iter().find(is_it) {
        return Ok((there.id.clone(), String::new()));
    }
    match error.refusal() {
        Some(Refusal::NoImage) => Err(PrepareError::Image(container.image.digest)),
        _ => Err(PrepareError::engine(format!("container {name}"))(error)),
    }
}

/// Ports by name, of those that have one.
fn named(ports: &[(&Port, u16)]) -> BTreeMap<Name, u16> {
    let mut named = BTreeMap::new();
    for (port, host) in ports {
        if let Some(name) = &port.name {
            named.insert(name.clone(), *host);
        }
    }
    named
}

/// All environment variables of a container.
fn environment(
    shared: &Shared,
    ask: &Prepare,
    container: &Container,
    content: &SealedContent,
    ports: &BTreeMap<Name, u16>,
) -> BTreeMap<String, String> {
    let Prepare { name, revision, nonce, .. } = ask;
    let mut env = BTreeMap::from([
        ("HOLDFAST_WORKLOAD".into(), name.to_string()),
        ("HOLDFAST_DEVICE".into(), shared.common.device.clone()),
    ]);
    match shared.common.access.workload(name, *nonce) {
        Ok(entry) => {
            env.extend(entry.environment());
            for (key, path) in
                [("HOLDFAST_SOCKET", &entry.socket), ("HOLDFAST_MQTT_SOCKET", &entry.bus)]
            {
                let file = path.file_name().unwrap_or_default().to_string_lossy();
                env.insert(key.into(), format!("{SOCKETS_INSIDE}/{file}"));
            }
            if container.network != Network::Host {
                // The bus listens on the device's own loopback interface, which is not its.
                env.remove("HOLDFAST_MQTT_HOST");
                env.remove("HOLDFAST_MQTT_PORT");
            }
        }
        // The bus reports this too; the workload may not need it.
        Err(error) => tracing::error!(workload = %name, %error, "it has no way to put data in"),
    }
    let whole = |mount: &&Mount| matches!(&mount.from, MountFrom::Files(path) if path.is_empty());
    if let Some(mount) = container.mounts.iter().find(whole) {
        env.insert("HOLDFAST_FOLDER".into(), mount.path.clone());
    }
    if let Some(zone) = &container.time_zone {
        env.insert("TZ".into(), zone.clone());
    }
    for (port, number) in ports {
        let word = port.as_str().to_uppercase().replace('-', "_");
        env.insert(format!("HOLDFAST_PORT_{word}"), number.to_string());
    }
    env.extend(container.env.iter().map(|(key, value)| (key.clone(), value.clone())));
    env.extend(content.env.iter().map(|(key, value)| (key.clone(), value.clone())));
    env.insert("HOLDFAST_REVISION".into(), revision.number.to_string());
    env
}

/// Everything that a container sees beside its image; its volumes are made.
async fn mounts(
    shared: &Shared,
    here: &Here,
    name: &Name,
    container: &Container,
    content: &SealedContent,
) -> Result<Vec<Mounted>, PrepareError> {
    let sockets = shared.common.access.data().join(SOCKETS);
    let mut all = Vec::new();
    match files::folder(&sockets, 0o755) {
        Ok(()) => all.push(Mounted {
            at: SOCKETS_INSIDE.into(),
            what: Seen::Path(sockets.to_string_lossy().into_owned()),
            read_only: true,
        }),
        Err(error) => tracing::error!(workload = %name, %error, "it has no way to put data in"),
    }
    let own = shared.common.folder(name).join(FILES);
    let mut sees_files = false;
    for mount in &container.mounts {
        let what = match &mount.from {
            MountFrom::Volume(volume) => {
                Seen::Volume(volume_ready(shared, here, name, volume).await?)
            }
            MountFrom::Host(path) => Seen::Path(path.clone()),
            MountFrom::Files(path) => {
                sees_files = true;
                let path = if path.is_empty() { own.clone() } else { own.join(path) };
                Seen::Path(path.to_string_lossy().into_owned())
            }
            MountFrom::Memory(bytes) => Seen::Memory(*bytes),
        };
        all.push(Mounted { at: mount.path.clone(), what, read_only: mount.read_only });
    }
    // Files of secrets are links to a folder in memory, which therefore has the same path inside.
    if let Some(memory) =
        shared.common.secrets.folder(name).filter(|_| sees_files && !content.files.is_empty())
    {
        let path = memory.to_string_lossy().into_owned();
        all.push(Mounted { at: path.clone(), what: Seen::Path(path), read_only: true });
    }
    Ok(all)
}

/// Makes a workload's volume if it is not there; returns its name at the engine.
async fn volume_ready(
    shared: &Shared,
    here: &Here,
    workload: &Name,
    volume: &Name,
) -> Result<String, PrepareError> {
    let name = marks::volume(workload, volume);
    let labels = json!({
        marks::AGENT: shared.common.agent,
        marks::WORKLOAD: workload,
        marks::VOLUME: volume,
    });
    let body = json!({ "Name": name, "Labels": labels });
    let made = here.client.post("/volumes/create", Some(&body)).await;
    let made = match made {
        // Podman 4.0 refuses a name that is there.
        Err(error) if error.refusal() == Some(Refusal::Conflict) => {
            here.client.get(&format!("/volumes/{}", query(&name))).await
        }
        other => other,
    };
    let made = made.map_err(PrepareError::engine(format!("volume {name}")))?;
    let whose = made.get("Labels").and_then(|it| it.get(marks::WORKLOAD)).and_then(Value::as_str);
    if whose != Some(workload.as_str()) {
        return Err(PrepareError::Foreign(format!(
            "there is a volume {name} at the engine that no agent has made: rename or remove it"
        )));
    }
    Ok(name)
}

/// Port of the device for each port of a container.
fn assign<'a>(
    shared: &Shared,
    workload: &Name,
    member: &str,
    container: &'a Container,
) -> Result<Vec<(&'a Port, u16)>, PrepareError> {
    let file = shared.common.folder(workload).join(PORTS);
    let former = files::read(&file, MAX_PORTS).unwrap_or_default();
    let former: BTreeMap<String, u16> = serde_json::from_slice(&former).unwrap_or_default();
    let mut known = former.clone();
    let mut all = Vec::new();
    for port in &container.ports {
        let number = match (port.host, &container.network) {
            (Some(fixed), _) => fixed,
            (None, Network::Host) => port.container,
            (None, _) => {
                let word = port.name.as_ref().map_or(port.container.to_string(), Name::to_string);
                let key = if member.is_empty() { word } else { format!("{member}/{word}") };
                let mut tries = ports::candidates(workload, &key, known.get(&key).copied());
                let is_free = |number: &u16| is_free(port, *number);
                let free = tries.find(is_free).ok_or_else(|| PrepareError::NoPort(key.clone()))?;
                known.insert(key, free);
                free
            }
        };
        all.push((port, number));
    }
    if known != former {
        let text = serde_json::to_vec(&known).unwrap_or_default();
        if let Err(error) = files::replace(&file, &text, 0o600) {
            tracing::warn!(%workload, %error, "its assigned ports cannot be kept");
        }
    }
    Ok(all)
}

fn is_free(port: &Port, number: u16) -> bool {
    let address = port.address.as_deref().unwrap_or("0.0.0.0");
    let address = address.trim_start_matches('[').trim_end_matches(']');
    if port.udp {
        UdpSocket::bind((address, number)).is_ok()
    } else {
        TcpListener::bind((address, number)).is_ok()
    }
}
