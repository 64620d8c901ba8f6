//! Ports of a service, in the short and the long form.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::node::Item;
use super::quantity::name_of;

/// Most ports of a container, as the control plane takes them.
const MOST: usize = 64;

/// Port that a service publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    /// Port of the container.
    pub(super) container: u16,
    /// Port of the device. None: the device assigns one.
    pub(super) host: Option<u16>,
    /// Address of the device.
    pub(super) address: Option<String>,
    /// True for UDP.
    pub(super) udp: bool,
    name: Option<String>,
}

impl Port {
    /// Returns the port as a document has it.
    pub(super) fn document(&self) -> Value {
        let mut port = Map::new();
        port.insert("container".into(), self.container.into());
        match (self.host, &self.name) {
            (Some(host), _) => drop(port.insert("host".into(), host.into())),
            (None, Some(name)) => drop(port.insert("name".into(), name.as_str().into())),
            (None, None) => drop(port.insert("name".into(), self.usual_name().into())),
        }
        if let Some(address) = &self.address {
            port.insert("address".into(), address.as_str().into());
        }
        if self.udp {
            port.insert("protocol".into(), json!("udp"));
        }
        Value::Object(port)
    }

    fn usual_name(&self) -> String {
        format!("port-{}{}", self.container, if self.udp { "-udp" } else { "" })
    }
}

/// Reads the ports of a service.
pub(super) fn ports<'a>(item: &Item<'a>) -> Vec<(Port, Item<'a>)> {
    let mut all = Vec::new();
    for item in item.list() {
        let some = match item.node.text() {
            Some(text) => short(&item, text),
            None => long(&item),
        };
        for port in some.unwrap_or_default() {
            if port.host.is_none() {
                let name = port.name.clone().unwrap_or_else(|| port.usual_name());
                item.note(format!(
                    "the device assigns a port and reports it by the name {name}; for a fixed one write HOST:{}",
                    port.container
                ));
            }
            all.push((port, item.clone()));
        }
    }
    if all.len() > MOST {
        item.fault(format!("{} ports, at most {MOST}", all.len()));
    }
    all
}

const FORM: &str = "a port: CONTAINER, HOST:CONTAINER or ADDRESS:HOST:CONTAINER, with ranges such as 8000-8010, and /udp behind it";

/// First and last port of a range.
type Range = (u16, u16);

fn range(text: &str) -> Option<Range> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

fn short(item: &Item<'_>, text: &str) -> Option<Vec<Port>> {
    let (ports, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let (rest, container) = match ports.rsplit_once(':') {
        Some((rest, container)) => (Some(rest), container),
        None => (None, ports),
    };
    let (address, host) = match rest.map(|rest| {
        rest.rsplit_once(':').map_or((None, rest), |(address, host)| (Some(address), host))
    }) {
        Some((address, host)) => (address, (!host.is_empty()).then_some(host)),
        None => (None, None),
    };
    let container = range(container);
    let host = host.map(range);
    let (Some(container), Some(host)) = (container, host.map_or(Some(None), |host| host.map(Some)))
    else {
        item.expected(FORM);
        return None;
    };
    let udp = protocol_of(item, protocol)?;
    let address = match address {
        Some(address) => self::address(item, address)?,
        None => None,
    };
    spread(item, container, host, address, udp, None)
}

/// Reads an address. None within: all addresses of the device.
#[allow(clippy::option_option, reason = "the outer one is a fault that was noted")]
fn address(item: &Item<'_>, text: &str) -> Option<Option<String>> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => Some(None),
        Ok(address) => Some(Some(address.to_string())),
        Err(_) => {
            item.fault(format!("{text:?} is not an address of the device, such as 127.0.0.1"));
            None
        }
    }
}

fn protocol_of(item: &Item<'_>, text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Some(false),
        "udp" => Some(true),
        other => {
            item.unsupported(format!(
                "left out: the protocol of a port is tcp or udp, not {other}"
            ));
            None
        }
    }
}

/// Makes the ports of ranges.
fn spread(
    item: &Item<'_>,
    container: Range,
    host: Option<Range>,
    address: Option<String>,
    udp: bool,
    name: Option<String>,
) -> Option<Vec<Port>> {
    let (first, last) = container;
    let count = last - first;
    if usize::from(count) >= MOST {
        item.fault(format!("{} ports, at most {MOST}", usize::from(count) + 1));
        return None;
    }
    let host = match host {
        Some((begin, end)) if end - begin != count && count == 0 => {
            item.unsupported(format!(
                "a range of the device for one port of the container: {begin} is taken; a port that the device assigns has no port of the device at all"
            ));
            Some(begin)
        }
        Some((begin, end)) if end - begin != count => {
            item.fault("the two ranges have not the same length");
            return None;
        }
        host => host.map(|(begin, _)| begin),
    };
    let port = |step: u16| Port {
        container: first + step,
        host: host.map(|host| host + step),
        address: address.clone(),
        udp,
        name: name.clone().filter(|_| count == 0),
    };
    Some((0..=count).map(port).collect())
}

fn long(item: &Item<'_>) -> Option<Vec<Port>> {
    let fields = item.fields();
    let target = fields.get("target");
    let published = fields.get("published");
    let host_ip = fields.get("host_ip");
    let protocol = fields.get("protocol");
    let name = fields.get("name");
    if let Some(mode) = fields.get("mode") {
        mode.text();
    }
    fields.get("app_protocol");
    fields.end(&[]);
    let Some(target) = target else {
        item.fault("no target: the port of the container");
        return None;
    };
    let target = target.parsed("a port, 1 to 65535", range)?;
    let published = match published.filter(|item| item.node.text() != Some("")) {
        Some(published) => Some(published.parsed("a port or a range of ports, 1 to 65535", range)?),
        None => None,
    };
    let udp = match protocol {
        Some(protocol) => protocol_of(&protocol, protocol.text()?)?,
        None => false,
    };
    let address = match host_ip {
        Some(host_ip) => address(&host_ip, host_ip.text()?)?,
        None => None,
    };
    let name = name.and_then(|name| name_of(name.text()?)).map(|name| name.to_string());
    spread(item, target, published, address, udp, name)
}
