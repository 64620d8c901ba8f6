//! What a container may do: capabilities, security options, devices and GPUs.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::node::{Fields, Item};
use super::notes::Level::Warning;

/// Capabilities that Docker gives a container of which nothing is said.
const DEFAULT: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Capabilities beyond the usual ones.
const FURTHER: [&str; 27] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "DAC_READ_SEARCH",
    "IPC_LOCK",
    "IPC_OWNER",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "NET_ADMIN",
    "NET_BROADCAST",
    "PERFMON",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
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

/// Most GPUs of a container, as the control plane takes them.
const MOST_GPUS: u32 = 256;

/// Puts the rights of a service into its container.
pub(super) fn rights(service: &Fields<'_>, container: &mut Map<String, Value>) {
    let kept = capabilities(service);
    if !kept.is_empty() {
        container.insert("capabilities".into(), json!(kept));
    }
    if let Some(privileged) = service.get("privileged")
        && privileged.flag() == Some(true)
    {
        privileged.unsupported("not honoured: a privileged container may do everything on the device; name what it needs by devices: and cap_add:");
    }
    for option in service.get("security_opt").into_iter().flat_map(|item| item.list()) {
        security(&option, container);
    }
    let devices: Vec<Value> = service
        .get("devices")
        .into_iter()
        .flat_map(|item| item.list())
        .filter_map(|item| device(&item))
        .collect();
    if !devices.is_empty() {
        container.insert("devices".into(), json!(devices));
    }
    if let Some(gpus) = service.get("gpus") {
        self::gpus(&gpus, container);
    }
}

fn capability(item: &Item<'_>) -> Option<String> {
    let name = item.text()?.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    if name == "ALL" || DEFAULT.contains(&name) || FURTHER.contains(&name) {
        return Some(name.to_owned());
    }
    item.expected("a capability of Linux, such as NET_ADMIN, or ALL");
    None
}

/// Returns the capabilities that are kept: the engine's usual ones without the dropped ones, and the
/// added ones.
fn capabilities(service: &Fields<'_>) -> Vec<String> {
    let all = |key: &str| -> BTreeSet<String> {
        let items = service.get(key).into_iter().flat_map(|item| item.list());
        items.filter_map(|item| capability(&item)).collect()
    };
    let (mut add, drop) = (all("cap_add"), all("cap_drop"));
    if add.remove("ALL") {
        add.extend(DEFAULT.into_iter().chain(FURTHER).map(ToOwned::to_owned));
    }
    let usual: Vec<String> = if drop.contains("ALL") {
        Vec::new()
    } else if drop.iter().any(|name| DEFAULT.contains(&name.as_str())) {
        let kept = DEFAULT.into_iter().filter(|name| !drop.contains(*name));
        kept.map(ToOwned::to_owned).collect()
    } else if DEFAULT.into_iter().all(|name| add.contains(name)) {
        Vec::new()
    } else {
        vec!["DEFAULT".to_owned()]
    };
    let further: Vec<String> = add
        .into_iter()
        .filter(|name| !usual.contains(name) && (drop.contains("ALL") || !drop.contains(name)))
        .filter(|name| {
            usual.first().is_none_or(|first| first != "DEFAULT")
                || !DEFAULT.contains(&name.as_str())
        })
        .collect();
    usual.into_iter().chain(further).collect()
}

fn security(option: &Item<'_>, container: &mut Map<String, Value>) {
    let Some(text) = option.text() else { return };
    let (kind, value) = text.split_once([':', '=']).unwrap_or((text, ""));
    match (kind, value) {
        ("seccomp", "unconfined") => drop(container.insert("seccomp".into(), json!("unconfined"))),
        ("seccomp", _) => {
            option.unsupported("not honoured: the filter of system calls is the engine's own, or none (seccomp:unconfined)");
        }
        ("no-new-privileges", "" | "true") => {}
        ("no-new-privileges", _) => {
            option.unsupported(
                "not honoured: a container gains no privileges here, whatever is said",
            );
        }
        _ => option.warning("not honoured: the engine's own settings hold"),
    }
}

fn device(item: &Item<'_>) -> Option<Value> {
    let (source, target, rights) = match item.node.text() {
        Some(text) if !text.starts_with('/') && text.contains('=') => {
            return Some(json!({ "cdi": text }));
        }
        Some(text) => {
            let mut parts = text.splitn(3, ':');
            (parts.next(), parts.next(), parts.next())
        }
        None => {
            let fields = item.fields();
            let text = |key: &str| fields.get(key).and_then(|item| item.text());
            let all = (text("source"), text("target"), text("permissions"));
            fields.end(&[]);
            all
        }
    };
    // Docker reads `SOURCE:rwm` as a path and rights.
    let is_rights =
        |text: &str| !text.is_empty() && text.len() <= 3 && text.chars().all(|c| "rwm".contains(c));
    let (target, rights) = match (target, rights) {
        (Some(only), None) if is_rights(only) => (None, Some(only)),
        other => other,
    };
    let is_path = |path: &str| {
        path.starts_with('/') && !path.split('/').any(|part| matches!(part, "." | ".."))
    };
    let good =
        source.is_some_and(is_path) && target.is_none_or(is_path) && rights.is_none_or(is_rights);
    let (Some(source), true) = (source, good) else {
        item.expected("a device: PATH, PATH:PATH, PATH:PATH:rwm or VENDOR/CLASS=NAME");
        return None;
    };
    let mut device = Map::new();
    device.insert("path".into(), source.into());
    if let Some(target) = target.filter(|target| *target != source) {
        device.insert("as".into(), target.into());
    }
    if let Some(rights) = rights {
        device.insert("rights".into(), rights.into());
    }
    Some(Value::Object(device))
}

/// Reads GPUs: `all`, or a list of requests.
pub(super) fn gpus(item: &Item<'_>, container: &mut Map<String, Value>) {
    if item.node.text() == Some("all") {
        container.insert("gpus".into(), json!("all"));
        return;
    }
    for request in item.list() {
        self::request(&request, container);
    }
}

/// Reads a request for devices, as `gpus` and `deploy.resources.reservations.devices` have it.
fn request(item: &Item<'_>, container: &mut Map<String, Value>) {
    let fields = item.fields();
    let driver = fields.get("driver").and_then(|item| item.text());
    let count = fields.get("count");
    let ids = fields.get("device_ids");
    let capabilities = fields.get("capabilities");
    fields.end(&[("options", Warning, "not honoured: the engine's own options hold")]);
    if driver == Some("cdi") {
        let names: Vec<Value> = ids
            .into_iter()
            .flat_map(|ids| ids.list())
            .filter_map(|item| Some(json!({ "cdi": item.text()? })))
            .collect();
        if let Value::Array(all) = container.entry("devices").or_insert_with(|| json!([])) {
            all.extend(names);
        }
        return;
    }
    if let Some(ids) = ids {
        ids.unsupported("not honoured: which GPU is not chosen; name it by its CDI name, as devices: [nvidia.com/gpu=0]");
    }
    let mut asked = capabilities.iter().flat_map(|item| item.list());
    if capabilities.is_some() && !asked.any(|item| item.node.text() == Some("gpu")) {
        item.unsupported("left out: devices that are no GPU are named by their CDI names, as devices: [VENDOR/CLASS=NAME]");
        return;
    }
    let count = match count.as_ref().map(|count| (count, count.node.text())) {
        None | Some((_, Some("all" | "-1"))) => json!("all"),
        Some((count, _)) => {
            let some = count.parsed("a number of GPUs, 1 to 256, or all", |text| {
                text.parse::<u32>().ok().filter(|some| (1..=MOST_GPUS).contains(some))
            });
            let Some(some) = some else { return };
            json!(some)
        }
    };
    container.insert("gpus".into(), count);
}
