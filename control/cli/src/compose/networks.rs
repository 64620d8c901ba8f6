//! Networks of services: `network_mode` and `networks`.
//!
//! A project's own networks are the group's one network wherever that is the same. Others become
//! named networks of the device: an external one by its own name, one of the project by the name of
//! the workload and its own.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use serde_json::{Map, Value, json};

use super::context::Context;
use super::node::{Fields, Item, Known, Tree};
use super::notes::Level::{Unsupported, Warning};
use super::quantity::name_of;

/// Network that services are in of which nothing is said.
const USUAL: &str = "default";

/// Network of a service, as the file says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attached {
    /// The device's own.
    Host,
    /// None but its own loopback interface.
    None,
    /// The engine's bridge, without the other services.
    Bridge,
    /// Networks by their keys in the file.
    Named(Vec<String>),
}

/// Reads the network of a service; `name` is the service's.
pub(super) fn attached(service: &Fields<'_>, name: &str) -> Attached {
    let usual = || Attached::Named(vec![USUAL.to_owned()]);
    let networks = service.get("networks");
    if let Some(mode) = service.get("network_mode") {
        if let Some(networks) = &networks {
            networks.fault("both network_mode and networks");
        }
        return match mode.text() {
            Some("host") => Attached::Host,
            Some("none") => Attached::None,
            Some("bridge" | "default") => Attached::Bridge,
            Some(other) if other.starts_with("service:") || other.starts_with("container:") => {
                mode.unsupported("not honoured: a container is in no other's network; the containers of a group find each other by their names");
                usual()
            }
            Some(other) => {
                mode.fault(format!("{other:?}: expected host, bridge or none"));
                usual()
            }
            None => usual(),
        };
    }
    let Some(networks) = networks else { return usual() };
    if matches!(networks.node.tree, Tree::List(_)) {
        let keys = networks.list();
        return Attached::Named(
            keys.iter().filter_map(|key| Some(key.text()?.to_owned())).collect(),
        );
    }
    let mut keys = Vec::new();
    for (key, item) in networks.entries() {
        keys.push(key.to_owned());
        if item.node.tree != Tree::Null {
            options(&item, name);
        }
    }
    Attached::Named(keys)
}

const OPTIONS: [Known; 7] = [
    (
        "ipv4_address",
        Unsupported,
        "not honoured: the engine assigns addresses; containers find each other by their names",
    ),
    (
        "ipv6_address",
        Unsupported,
        "not honoured: the engine assigns addresses; containers find each other by their names",
    ),
    ("priority", Warning, ""),
    ("gw_priority", Warning, ""),
    ("link_local_ips", Warning, "not honoured"),
    ("mac_address", Warning, "not honoured: the engine assigns it"),
    ("driver_opts", Warning, "not honoured"),
];

fn options(item: &Item<'_>, name: &str) {
    let fields = item.fields();
    for alias in fields.get("aliases").into_iter().flat_map(|item| item.list()) {
        if alias.text().is_some_and(|alias| alias != name) {
            alias.unsupported(format!("not honoured: the container is found by the name {name} alone; use it, or name the service so"));
        }
    }
    if let Some(interface) = fields.get("interface_name") {
        interface.warning("not honoured");
    }
    fields.end(&OPTIONS);
}

/// Named network of the device, or the one of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Resolved {
    name: Name,
    /// True if it is the project's own, and nobody else can be in it.
    own: bool,
}

/// Writes the network of each service into its container.
pub(super) fn decide(
    context: &Context<'_>,
    services: &mut [(&Item<'_>, &Attached, &mut Map<String, Value>)],
) {
    let alone = services.len() == 1;
    let mut known: BTreeMap<String, Resolved> = BTreeMap::new();
    for (item, attached, _) in services.iter() {
        for key in keys(attached) {
            if !known.contains_key(key)
                && let Some(resolved) = resolve(context, item, key)
            {
                known.insert(key.clone(), resolved);
            }
        }
    }
    let named = || {
        services.iter().filter_map(|(_, attached, _)| match attached {
            Attached::Named(keys) => Some(keys.as_slice()),
            _ => None,
        })
    };
    let owns = |key: &String| known.get(key).is_some_and(|resolved| resolved.own);
    // One network of the project's own, and everybody in it alone: the group's network is the same.
    let first = named().next().and_then(|keys| keys.first()).cloned();
    let one = first
        .filter(|first| owns(first) && named().all(|keys| matches!(keys, [only] if only == first)));
    // The usual network is the group's if nobody is in it and in another one.
    let mixed = named().any(|keys| keys.len() > 1 && keys.iter().any(|key| key == USUAL));
    let group = one.or_else(|| (!mixed && owns(&USUAL.to_owned())).then(|| USUAL.to_owned()));
    for (_, attached, container) in services.iter_mut() {
        match attached {
            Attached::Host => drop(container.insert("network".into(), json!("host"))),
            Attached::None => drop(container.insert("network".into(), json!("none"))),
            Attached::Bridge => drop(container.insert("network".into(), json!("bridge"))),
            Attached::Named(keys) if matches!(keys.as_slice(), [only] if Some(only) == group.as_ref()) =>
            {
                // A container alone without ports would be in the device's own network.
                if alone {
                    container.insert("network".into(), json!("bridge"));
                }
            }
            Attached::Named(keys) => {
                let names: Vec<&str> =
                    keys.iter().filter_map(|key| Some(known.get(key)?.name.as_str())).collect();
                container.insert("networks".into(), json!(names));
            }
        }
    }
}

fn keys(attached: &Attached) -> &[String] {
    match attached {
        Attached::Named(keys) => keys,
        _ => &[],
    }
}

/// Reads what the top-level `networks` say of a network. None: a fault was noted.
fn resolve(context: &Context<'_>, service: &Item<'_>, key: &str) -> Option<Resolved> {
    let own = name_of(&format!("{}-{key}", context.name)).map(|name| Resolved { name, own: true });
    let Some(defined) = context.defined("networks", key) else {
        if key != USUAL {
            service.fault(format!("its network {key} stands not in networks: of the file"));
        }
        return own;
    };
    let fields = defined.fields();
    let external = fields.get("external");
    let is_external = external.as_ref().is_some_and(|external| {
        matches!(external.node.tree, Tree::Map(_)) || external.flag() == Some(true)
    });
    // Older files have the name within `external`.
    let inner = external.filter(|item| matches!(item.node.tree, Tree::Map(_)));
    let name = fields.get("name").or_else(|| inner.and_then(|item| item.fields().get("name")));
    if let Some(internal) = fields.get("internal")
        && internal.flag() == Some(true)
    {
        internal.unsupported("not honoured: a network of the device reaches the outside");
    }
    if let Some(driver) = fields.get("driver")
        && let Some(text) = driver.text()
        && text != "bridge"
    {
        driver.unsupported(format!("the driver {text} is not honoured: networks are bridges of the engine, or network_mode: host"));
    }
    fields.end(&[
        ("attachable", Warning, ""),
        ("enable_ipv4", Warning, ""),
        ("labels", Warning, ""),
        ("enable_ipv6", Warning, "not honoured: the engine decides about IPv6"),
        ("driver_opts", Warning, "not honoured"),
        ("ipam", Warning, "not honoured: the engine assigns addresses"),
    ]);
    let written = match &name {
        Some(name) => name.text()?,
        None if is_external => key,
        None => return own,
    };
    let Some(found) = name_of(written) else {
        defined.fault(format!(
            "{written:?} is no name of a network here: it has lower-case letters, digits and -"
        ));
        return None;
    };
    defined.note(format!("every workload of a device that names the network {found} is in it"));
    Some(Resolved { name: found, own: false })
}
