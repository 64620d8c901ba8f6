//! Mounts of a service: `volumes`, `tmpfs` and `shm_size`.

use holdfast_base::ids::Name;
use serde_json::{Map, Value};

use super::bind;
use super::context::Context;
use super::from::From;
use super::node::{Fields, Item, Known};
use super::notes::Level::{Unsupported, Warning};
use super::quantity::{bytes, name_of, write_bytes};

/// Sockets of engines: who may use one may do everything on the device.
const SOCKETS: [&str; 2] = ["docker.sock", "podman.sock"];

/// Returns a mount as a document has it.
pub(super) fn document(path: &str, from: &From, read_only: bool) -> Value {
    let mut mount = Map::new();
    mount.insert("path".into(), path.into());
    let (key, value) = match from {
        From::Volume(name) => ("volume", name.as_str().into()),
        From::Host(path) => ("host", path.as_str().into()),
        From::Files(path) => ("file", path.as_str().into()),
        From::Memory(bytes) => ("memory", write_bytes(*bytes)),
    };
    mount.insert(key.into(), value);
    if read_only {
        mount.insert("readOnly".into(), true.into());
    }
    Value::Object(mount)
}

/// Reads the mounts of a service; `service` is its name.
pub(super) fn mounts(context: &Context<'_>, service: &str, fields: &Fields<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    for item in fields.get("volumes").into_iter().flat_map(|item| item.list()) {
        let mount = match item.node.text() {
            Some(text) => short(context, service, &item, text),
            None => long(context, service, &item),
        };
        all.extend(mount);
    }
    for item in fields.get("tmpfs").into_iter().flat_map(|item| item.one_or_list()) {
        all.extend(in_memory(&item));
    }
    if let Some(size) = fields.get("shm_size")
        && let Some(size) = size.parsed("a size, such as 64m", bytes)
    {
        all.push(document("/dev/shm", &From::Memory(size), false));
    }
    all
}

/// Returns a path in the container if it is one. Notes a fault otherwise.
pub(super) fn target<'a>(item: &Item<'_>, path: &'a str) -> Option<&'a str> {
    if !path.starts_with('/') || path.split('/').any(|part| part == "..") || path.contains('\0') {
        item.fault(format!("{path:?} is not an absolute path in the container, such as /data"));
        return None;
    }
    if path == "/" {
        item.fault("the container's root is its image: give a path below it");
        return None;
    }
    Some(path)
}

fn short(context: &Context<'_>, service: &str, item: &Item<'_>, text: &str) -> Option<Value> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, path, options) = match parts.as_slice() {
        [path] => (None, *path, ""),
        [source, path] => (Some(*source), *path, ""),
        [source, path, options] => (Some(*source), *path, *options),
        _ => {
            item.expected("a volume: NAME:PATH or SOURCE:PATH, with :ro behind it");
            return None;
        }
    };
    let mut read_only = false;
    for option in options.split(',') {
        match option {
            "ro" => read_only = true,
            "" | "rw" | "cached" | "delegated" | "consistent" => {}
            "z" | "Z" => item.warning("labels of SELinux (z, Z) are not set"),
            "nocopy" => item.warning("nocopy is not honoured: the engine fills an empty volume with what the image has there"),
            "private" | "rprivate" | "slave" | "rslave" => {}
            "shared" | "rshared" => item.unsupported(format!("{option} is not honoured: what is mounted within is not shared with the device")),
            other => item.fault(format!("{other:?} is no option of a volume, such as ro")),
        }
    }
    let source = source.filter(|source| !source.is_empty());
    let path = target(item, path)?;
    let is_path = source.is_some_and(|source| source.starts_with(['.', '/', '~']));
    let from = match source {
        Some(source) if is_path => bind::from(context, item, source, read_only)?,
        source => volume(context, service, item, source, path)?,
    };
    said(item, &from);
    Some(document(path, &from, read_only))
}

const LONG: [Known; 4] = [
    ("consistency", Warning, ""),
    ("cluster", Unsupported, "not honoured: a device has no volumes of a cluster"),
    ("image", Unsupported, "not honoured: an image is no volume here"),
    ("npipe", Unsupported, "not honoured: devices run Linux"),
];

fn long(context: &Context<'_>, service: &str, item: &Item<'_>) -> Option<Value> {
    let fields = item.fields();
    let kind = fields.get("type").and_then(|item| item.text()).unwrap_or("volume");
    let source = fields.get("source").and_then(|item| item.text());
    let path =
        fields.get("target").or_else(|| fields.get("destination")).and_then(|item| item.text());
    let read_only = fields.get("read_only").and_then(|item| item.flag()).unwrap_or(false);
    options(&fields);
    let size = size_of_memory(&fields);
    fields.end(&LONG);
    let Some(path) = path else {
        item.fault("no target: the path in the container");
        return None;
    };
    let path = target(item, path)?;
    let from = match (kind, source) {
        ("volume", source) => volume(context, service, item, source, path)?,
        ("bind", Some(source)) => bind::from(context, item, source, read_only)?,
        ("bind", None) => {
            item.fault("no source: the path of the device");
            return None;
        }
        ("tmpfs", _) => From::Memory(size),
        (other, _) => {
            item.unsupported(format!(
                "left out: mounts are volume, bind or tmpfs here, not {other}"
            ));
            return None;
        }
    };
    said(item, &from);
    Some(document(path, &from, read_only))
}

/// Reads what the long form says about the kinds of mounts, which is of no consequence or not
/// honoured.
fn options(fields: &Fields<'_>) {
    if let Some(bind) = fields.get("bind") {
        bind.fields().end(&[
            ("create_host_path", Warning, ""),
            ("recursive", Warning, "not honoured"),
            ("selinux", Warning, "labels of SELinux are not set"),
            (
                "propagation",
                Warning,
                "not honoured: what is mounted within is not shared with the device",
            ),
        ]);
    }
    if let Some(volume) = fields.get("volume") {
        volume.fields().end(&[
            (
                "nocopy",
                Warning,
                "not honoured: the engine fills an empty volume with what the image has there",
            ),
            ("subpath", Unsupported, "not honoured: the whole volume is seen"),
            ("labels", Warning, ""),
        ]);
    }
}

fn size_of_memory(fields: &Fields<'_>) -> u64 {
    let Some(tmpfs) = fields.get("tmpfs") else { return 0 };
    let inner = tmpfs.fields();
    let size = inner.get("size").and_then(|size| size.parsed("a size, such as 64m", bytes));
    inner.end(&[("mode", Warning, "not honoured: the engine's own mode holds")]);
    size.unwrap_or(0)
}

fn said(item: &Item<'_>, from: &From) {
    let From::Host(path) = from else { return };
    if SOCKETS.iter().any(|socket| path.ends_with(socket)) {
        item.warning(format!(
            "{path} is the engine's socket: what has it may do everything on the device, and the agent's configuration must allow the path"
        ));
    } else {
        item.note(format!(
            "{path} is a path of the device, which the agent's configuration must allow"
        ));
    }
}

/// Volume of the workload. `source` is its name; none: it has none.
fn volume(
    context: &Context<'_>,
    service: &str,
    item: &Item<'_>,
    source: Option<&str>,
    path: &str,
) -> Option<From> {
    let Some(source) = source else {
        let Some(name) = name_of(&format!("{service}{path}")) else {
            item.fault("no name for the volume: give it one, as NAME:PATH");
            return None;
        };
        item.note(format!(
            "the volume without a name is named {name}, and kept until it is deleted"
        ));
        return Some(From::Volume(name));
    };
    let Some(name) = name_of(source) else {
        item.fault(format!(
            "{source:?} is no name of a volume here: it has lower-case letters, digits and -"
        ));
        return None;
    };
    let Some(section) = context.root.node.get("volumes").and_then(|all| all.entry(source)) else {
        item.fault(format!("the volume {source} stands not in volumes: of the file"));
        return None;
    };
    let twin = context
        .root
        .node
        .get("volumes")
        .into_iter()
        .flat_map(|all| all.entries())
        .find(|entry| entry.key != section.key && name_of(&entry.key).as_ref() == Some(&name));
    if let Some(twin) = twin {
        item.fault(format!(
            "the volumes {source} and {} have the same name {name} here: rename one of them",
            twin.key
        ));
        return None;
    }
    let defined = context.defined("volumes", source)?;
    Some(of_definition(&defined, name))
}

/// Reads what the top-level `volumes` say of a volume.
fn of_definition(defined: &Item<'_>, name: Name) -> From {
    let fields = defined.fields();
    if let Some(external) = fields.get("external")
        && external.flag() != Some(false)
    {
        external.unsupported("not honoured: each workload has its own volumes, and this one begins empty; holdfast volume restore fills it");
    }
    if let Some(driver) = fields.get("driver")
        && let Some(text) = driver.text()
        && text != "local"
    {
        driver.unsupported(format!(
            "the driver {text} is not honoured: the volume lies on the device's own disk"
        ));
    }
    let options = fields.get("driver_opts");
    fields.end(&[("name", Warning, ""), ("labels", Warning, "")]);
    options.and_then(|options| of_options(&options)).unwrap_or(From::Volume(name))
}

/// Reads the options of the local driver, by which a volume can be a path of the device or memory.
fn of_options(options: &Item<'_>) -> Option<From> {
    let fields = options.fields();
    let text = |key: &str| fields.get(key).and_then(|item| item.text());
    let (kind, device, mount) = (text("type"), text("device"), text("o").unwrap_or_default());
    let bound = mount.split(',').any(|option| matches!(option, "bind" | "rbind"));
    match (kind, device) {
        (_, Some(device))
            if bound && device.starts_with('/') && !device.split('/').any(|part| part == "..") =>
        {
            Some(From::Host(device.to_owned()))
        }
        (Some("tmpfs"), _) => {
            let size = mount.split(',').find_map(|option| option.strip_prefix("size="));
            Some(From::Memory(size.and_then(bytes).unwrap_or(0)))
        }
        _ => {
            options.unsupported("not honoured: the volume lies on the device's own disk");
            None
        }
    }
}

/// Folder in memory of `tmpfs`: a path, and options behind a colon.
fn in_memory(item: &Item<'_>) -> Option<Value> {
    let text = item.text()?;
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    let path = target(item, path)?;
    let (mut size, mut read_only) = (0, false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("size", value) => match bytes(value) {
                Some(value) => size = value,
                None => item.fault(format!("{value:?} is no size, such as 64m")),
            },
            ("ro", _) => read_only = true,
            ("rw" | "nosuid" | "nodev" | "noexec", _) => {}
            (other, _) => {
                item.warning(format!("{other} is not honoured: the engine's own options hold"))
            }
        }
    }
    Some(document(path, &From::Memory(size), read_only))
}

/// True if a service sees the socket of an engine.
pub(super) fn has_socket(service: &Item<'_>) -> bool {
    let mut found = false;
    if let Some(volumes) = service.node.get("volumes") {
        volumes
            .each_text(&mut |_, text| found |= SOCKETS.iter().any(|socket| text.contains(socket)));
    }
    found
}
