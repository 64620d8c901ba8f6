//! A Compose file as documents: one `Workload` of all its services, and a `Secret` with its secrets.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_api::API_VERSION;
use serde_json::{Map, Value, json};

use super::context::Context;
use super::keys::FILE;
use super::limits;
use super::networks;
use super::node::{Item, Tree};
use super::order::{Until, is_wanted, sorted};
use super::quantity::name_of;
use super::service::{Service, any_socket, service};

/// Most containers of a group, as the control plane takes them.
const MOST: usize = 32;

/// Returns the documents of a file. Empty: faults were noted.
pub(super) fn documents(
    context: &Context<'_>,
    profiles: &BTreeSet<String>,
    devices: Option<&Value>,
) -> Vec<Value> {
    let fields = context.root.fields();
    fields.end(&FILE);
    let Some(all) = fields.get("services") else {
        context.root.fault("no services");
        return Vec::new();
    };
    let mut wanted = Vec::new();
    for (name, item) in all.entries() {
        if !matches!(item.node.tree, Tree::Map(_)) {
            item.expected("an object with image");
        } else if is_wanted(&item, profiles) {
            wanted.push((name, item));
        } else {
            item.note("left out: none of its profiles is asked for (--profile)");
        }
    }
    if wanted.is_empty() {
        all.fault("no service is left to import");
        return Vec::new();
    }
    if let Some((_, item)) = wanted.get(MOST) {
        item.fault(format!("{} services, at most {MOST} in a workload", wanted.len()));
        return Vec::new();
    }
    let mut services = translated(context, &wanted);
    settle(&mut services, &all);
    let waits: Vec<Vec<usize>> = services.iter().map(|one| numbers(one, &services)).collect();
    let order = match sorted(&waits) {
        Ok(order) => order,
        Err(circle) => {
            let names: Vec<&str> = circle
                .iter()
                .filter_map(|number| Some(services.get(*number)?.name.as_str()))
                .collect();
            let item = circle
                .first()
                .and_then(|number| services.get(*number))
                .map_or(&all, |one| &one.item);
            item.fault(format!(
                "these services wait for each other in a circle: {}",
                names.join(", ")
            ));
            return Vec::new();
        }
    };
    ports_once(&services);
    connect(context, &mut services);
    found_by_other_names(context, &services);
    let mut places: BTreeMap<usize, Service<'_>> = services.into_iter().enumerate().collect();
    let services: Vec<Service<'_>> =
        order.iter().filter_map(|number| places.remove(number)).collect();
    written(context, services, devices)
}

fn translated<'a>(context: &Context<'_>, wanted: &[(&'a str, Item<'a>)]) -> Vec<Service<'a>> {
    let socket = any_socket(wanted);
    let mut services: Vec<Service<'a>> = Vec::new();
    for (name, item) in wanted {
        let Some(member) = name_of(name) else {
            item.fault(format!(
                "{name:?} gives no name of a container: it has lower-case letters, digits and -"
            ));
            continue;
        };
        if let Some(twin) = services.iter().find(|one| one.member == member) {
            item.fault(format!(
                "the services {name} and {} have the same name {member} here: rename one of them",
                twin.name
            ));
            continue;
        }
        services.push(service(context, item, name, member, socket));
    }
    services
}

/// Checks what services wait for: that it is there, and can be in that state.
fn settle(services: &mut [Service<'_>], all: &Item<'_>) {
    let names: BTreeMap<String, bool> =
        services.iter().map(|one| (one.name.clone(), one.health.is_some())).collect();
    let mut jobs = BTreeSet::new();
    for one in services.iter_mut() {
        one.after.retain(|after| {
            let known = names.contains_key(&after.service);
            if !known && after.required {
                after.item.fault(if all.node.get(&after.service).is_some() {
                    format!(
                        "it waits for {}, which is left out because of its profile",
                        after.service
                    )
                } else {
                    format!("it waits for {}, which is no service of the file", after.service)
                });
            }
            known
        });
        for after in &mut one.after {
            if after.until == Until::Completed {
                jobs.insert(after.service.clone());
            }
            if after.until == Until::Healthy && names.get(&after.service) == Some(&false) {
                after.item.unsupported(format!(
                    "{} has no healthcheck in the file, and that of an image is not used here: write it, or wait for service_started",
                    after.service
                ));
                after.until = Until::Started;
            }
        }
    }
    for one in services {
        one.whole.is_job = jobs.contains(&one.name);
    }
}

fn numbers(one: &Service<'_>, all: &[Service<'_>]) -> Vec<usize> {
    let number = |name: &str| all.iter().position(|other| other.name == name);
    one.after.iter().filter_map(|after| number(&after.service)).collect()
}

/// Says which port of the device two services publish.
fn ports_once(services: &[Service<'_>]) {
    /// Address of the device (none: all of them), and the service that publishes there.
    type Publisher<'a> = (Option<&'a str>, &'a str);
    let mut taken: BTreeMap<(u16, bool), Vec<Publisher<'_>>> = BTreeMap::new();
    for one in services {
        for ((address, port, udp), item) in &one.taken {
            let address = address.as_deref();
            let others = taken.entry((*port, *udp)).or_default();
            let meets =
                |other: &Option<&str>| other.is_none() || address.is_none() || *other == address;
            if let Some((_, other)) = others.iter().find(|(other, _)| meets(other)) {
                item.fault(format!("port {port} of the device is published by {other} already"));
            }
            others.push((address, &one.name));
        }
    }
}

fn connect(context: &Context<'_>, services: &mut [Service<'_>]) {
    let mut all: Vec<_> =
        services.iter_mut().map(|one| (&one.item, &one.network, &mut one.container)).collect();
    networks::decide(context, &mut all);
}

/// Says which names other containers look for that do not lead to a container here.
fn found_by_other_names(context: &Context<'_>, services: &[Service<'_>]) {
    let laid = context.laid.borrow();
    for one in services {
        for (name, item) in &one.other_names {
            // A name of a service that cannot be one here (`db_main`) hardly means anything else.
            let is_own = *name == one.name;
            let others = services.iter().filter(|other| other.name != one.name);
            let mut user = others.filter(|other| {
                let parts =
                    ["env", "args", "command"].iter().filter_map(|key| other.container.get(*key));
                parts.chain(&other.health).any(|value| looks_for(value, "", name, is_own))
            });
            let place =
                user.next().map(|other| format!("the service {}", other.name)).or_else(|| {
                    let mut texts = laid.config.iter().filter(|_| services.len() > 1);
                    let found = texts.find(|(_, text)| is_host_in(text, "", name, is_own));
                    found.map(|(path, _)| format!("the file {path}"))
                });
            match place {
                Some(place) => item.unsupported(format!(
                    "{place} looks for {name}, and the container is found by the name {} alone: write that in both places",
                    one.member
                )),
                None if is_own => item.note(format!("it is named {} here", one.member)),
                None if services.len() == 1 => item.warning("not honoured: the container is named after its workload"),
                None => item.warning(format!("not honoured: others find the container by the name {}", one.member)),
            }
        }
    }
}

/// True if a value names a host. `key` is what the value belongs to, such as a variable.
fn looks_for(value: &Value, key: &str, name: &str, anywhere: bool) -> bool {
    match value {
        Value::String(text) => is_host_in(text, key, name, anywhere),
        Value::Array(items) => items.iter().any(|item| looks_for(item, key, name, anywhere)),
        Value::Object(map) => map.iter().any(|(key, item)| looks_for(item, key, name, anywhere)),
        _ => false,
    }
}

/// Words in the name of a variable or option whose value is a host.
const HOSTS: [&str; 7] = ["host", "server", "url", "uri", "addr", "endpoint", "broker"];

/// True if a text has a name, and not as a part of another one. Unless `anywhere`, it must be at a
/// host's place: behind `://` or `@`, before a port, or all of the value of such a variable or option.
fn is_host_in(text: &str, key: &str, name: &str, anywhere: bool) -> bool {
    let inner = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.match_indices(name).any(|(begin, _)| {
        let before = text.get(..begin).unwrap_or_default();
        let after = text.get(begin + name.len()..).unwrap_or_default();
        if before.ends_with(inner) || after.starts_with(inner) {
            return false;
        }
        let port = after
            .strip_prefix(':')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let word = |text: &str| HOSTS.iter().any(|word| text.to_ascii_lowercase().contains(word));
        anywhere
            || port
            || before.ends_with("://")
            || before.ends_with('@')
            || (before.is_empty() && word(key))
            || (before.ends_with('=') && word(before))
    })
}

/// Writes the documents of services in the order of their starts.
fn written(
    context: &Context<'_>,
    services: Vec<Service<'_>>,
    devices: Option<&Value>,
) -> Vec<Value> {
    let mut spec = Map::new();
    if let Some(devices) = devices {
        spec.insert("devices".into(), devices.clone());
    }
    limits::join(&services.iter().map(|one| &one.whole).collect::<Vec<_>>(), &mut spec);
    if let Some(first) = services.iter().find(|one| one.health.is_some()) {
        let place = first.item.fields().get("healthcheck");
        place
            .unwrap_or_else(|| first.item.clone())
            .note("a container that is not healthy restarts the workload here; Compose lets it be");
    }
    let alone = services.len() == 1;
    let names: BTreeMap<String, String> =
        services.iter().map(|one| (one.name.clone(), one.member.to_string())).collect();
    let mut containers = Vec::new();
    for one in services {
        let mut container = one.container;
        if alone {
            if let Some(health) = one.health {
                spec.insert("health".into(), health);
            }
            containers.push(Value::Object(container));
            continue;
        }
        container.insert("name".into(), one.member.as_str().into());
        if let Some(health) = one.health {
            container.insert("health".into(), health);
        }
        let after: Vec<Value> = one
            .after
            .iter()
            .filter_map(|after| {
                let name = names.get(&after.service)?;
                Some(match after.until {
                    Until::Started => json!(name),
                    Until::Healthy => json!({ "name": name, "until": "healthy" }),
                    Until::Completed => json!({ "name": name, "until": "completed" }),
                })
            })
            .collect();
        if !after.is_empty() {
            container.insert("after".into(), json!(after));
        }
        containers.push(Value::Object(container));
    }
    let run = match containers.pop() {
        Some(only) if alone => json!({ "container": only }),
        last => {
            containers.extend(last);
            json!({ "group": { "containers": containers } })
        }
    };
    spec.insert("run".into(), run);
    with_files(context, spec)
}

/// Adds the files of the workload, and the document of its secrets.
fn with_files(context: &Context<'_>, mut spec: Map<String, Value>) -> Vec<Value> {
    let laid = context.laid.borrow();
    let document = |kind: &str, name: &str, spec: Value| json!({ "apiVersion": API_VERSION, "kind": kind, "metadata": { "name": name }, "spec": spec });
    let mut documents = Vec::new();
    if !laid.config.is_empty() {
        spec.insert("config".into(), json!(laid.config));
    }
    if let Some(name) =
        name_of(&format!("{}-secrets", context.name)).filter(|_| !laid.secret.is_empty())
    {
        let reference = |key: &String| json!({ "secret": name.as_str(), "key": key });
        let files: BTreeMap<&String, Value> =
            laid.files.iter().map(|(path, key)| (path, reference(key))).collect();
        spec.insert("files".into(), json!(files));
        documents.push(document("Secret", name.as_str(), json!({ "data": laid.secret })));
    }
    documents.push(document("Workload", context.name.as_str(), Value::Object(spec)));
    documents
}
