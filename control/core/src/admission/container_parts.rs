//! Form of the smaller parts of containers: image, ports, mounts, devices and names.
//!
//! See decisions 0147 and 0171.

use std::collections::BTreeMap;
use std::net::IpAddr;

use holdfast_protocol::container::{DeviceFile, Devices, Image, Mount, MountFrom, Port};

use super::Stored;
use super::at::{At, Words};
use super::command::{MAX_PATH, is_short_enough};
use super::document::NAME;
use super::parts::config_path;
use super::quantities::SIZE;

/// Most name servers of a container: resolvers ask no more than three.
const MAX_DNS: usize = 3;
/// Most names with fixed addresses.
const MAX_HOSTS: usize = 256;
/// Longest reference to an image, in bytes: as registries have it, with host, tag and digest.
const MAX_IMAGE: usize = 512;
/// Word of engines for the address of the device itself.
const HOST_GATEWAY: &str = "host-gateway";

/// Decodes a reference to an image of the control plane.
pub(super) fn image(at: &At<'_>, stored: &Stored<'_>) -> Option<Image> {
    let text = at.text_without_nul()?;
    if text.len() > MAX_IMAGE {
        at.fault(format!("{} bytes, at most {MAX_IMAGE}", text.len()));
        return None;
    }
    match (stored.image)(text) {
        Ok(image) => Some(image),
        Err(why) => {
            at.refuse(why);
            None
        }
    }
}

/// Decodes an absolute path in the container.
pub(super) fn in_container(at: &At<'_>) -> Option<String> {
    at.put("pattern", "^/");
    let path = at.text_without_nul()?;
    if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
        at.refuse("not an absolute path in the container, such as /var/lib/app");
        return None;
    }
    is_short_enough(at, path, MAX_PATH).then(|| path.to_owned())
}

/// Decodes an absolute path of the device.
fn on_device(at: &At<'_>) -> Option<String> {
    at.put("pattern", "^/");
    let path = at.text_without_nul()?;
    let odd = |part: &str| matches!(part, "." | "..");
    if !path.starts_with('/') || path.split('/').any(odd) {
        at.refuse("not an absolute path of the device without \".\" and \"..\", such as /srv/data");
        return None;
    }
    is_short_enough(at, path, MAX_PATH).then(|| path.to_owned())
}

fn number(at: &At<'_>) -> Option<u16> {
    at.whole(1, u64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok())
}

fn address(at: &At<'_>) -> Option<String> {
    at.parsed(|text| {
        let good = text.parse::<IpAddr>().is_ok();
        good.then(|| text.to_owned()).ok_or("not an address of the device, such as 127.0.0.1")
    })
}

const PROTOCOLS: Words<'static, bool> = Words {
    about: "Protocol of a port.",
    what: "protocol",
    list: &[("tcp", "TCP.", false), ("udp", "UDP.", true)],
    or: &[],
};

/// Decodes a port.
pub(super) fn port(at: &At<'_>) -> Option<Port> {
    at.object("Port that the container listens on.", "{ container: 80, host: 8080 }", |fields| {
        let container = fields.required(
            "container",
            "Port in the container, 1 to 65535.",
            "the port that the container listens on",
            number,
        );
        let host = fields.maybe(
            "host",
            "Port of the device, 1 to 65535. Default: the device assigns a free one and keeps to it; it is reported, and given as the variable `HOLDFAST_PORT_NAME` with the port's name in capitals.",
            number,
        );
        let name = fields.maybe(
            "name",
            "Name of the port; a port that the device assigns needs one.",
            |at| at.put("pattern", NAME).parsed(str::parse),
        );
        let address = fields.maybe(
            "address",
            "Address of the device to listen at, such as `127.0.0.1`. Default: all of them.",
            address,
        );
        let udp = fields.or("protocol", "Protocol: `tcp` or `udp`. Default: `tcp`.", false, |at| {
            at.word(&PROTOCOLS)
        });
        let port = Port {
            name: name?,
            container: container?,
            host: host?,
            address: address?,
            udp: udp?,
        };
        if port.host.is_none() && port.name.is_none() {
            at.fault("neither host nor name: give the device's port, or a name under which the assigned one is found");
            return None;
        }
        Some(port)
    })
}

/// Decodes a mount.
pub(super) fn mount(at: &At<'_>) -> Option<Mount> {
    let such = "{ path: /var/lib/app, volume: data }";
    at.object("Thing that the container sees at a path.", such, |fields| {
        let path = fields.required(
            "path",
            "Absolute path in the container.",
            "where the container sees it",
            in_container,
        );
        let forms = [
            ("volume", "Name of a volume of the workload, which is made when it is first needed and kept across revisions."),
            ("host", "Absolute path of the device; the agent's configuration must allow it."),
            ("file", "File or folder of `spec.config` or `spec.files`."),
            ("memory", "Most bytes of a folder in memory, such as `16Mi`; 0: no bound but the container's."),
        ];
        let from = fields.one_of("what is seen there", &forms, |which, at| match which {
            "volume" => at.put("pattern", NAME).parsed(str::parse).map(MountFrom::Volume),
            "host" => on_device(at).map(MountFrom::Host),
            "file" => at
                .parsed(|path| config_path(path).map(|()| path.to_owned()))
                .map(MountFrom::Files),
            _ => at.quantity(&SIZE).map(MountFrom::Memory),
        });
        let read_only = fields.or(
            "readOnly",
            "True if the container can only read it. Default: false.",
            false,
            |at| at.flag(),
        );
        let path = path?;
        if path == "/" {
            at.fault("the container's root is its image: give a path below it");
            return None;
        }
        Some(Mount { path, from: from?, read_only: read_only? })
    })
}

/// Device as a document names it.
pub(super) enum Device {
    /// Device file.
    File(DeviceFile),
    /// Name of the Container Device Interface.
    Cdi(String),
}

impl Device {
    /// Adds the device to the others of its kind.
    pub(super) fn add_to(self, all: &mut Devices) {
        match self {
            Self::File(file) => all.files.push(file),
            Self::Cdi(name) => all.cdi.push(name),
        }
    }
}

/// Decodes a device.
pub(super) fn device(at: &At<'_>) -> Option<Device> {
    at.object("Device that the container may use.", "{ path: /dev/ttyUSB0 }", |fields| {
        let forms = [
            ("path", "Path of a device file of the device."),
            ("cdi", "Name of the Container Device Interface, such as `nvidia.com/gpu=all`."),
        ];
        let which = fields.one_of("a device", &forms, |which, at| match which {
            "path" => on_device(at).map(|path| (true, path)),
            _ => cdi(at).map(|name| (false, name)),
        });
        let container = fields.maybe(
            "as",
            "Path in the container, with `path`. Default: the same.",
            in_container,
        );
        let rights = fields.or(
            "rights",
            "Rights with `path`: any of `r`, `w` and `m` (make a node). Default: `rw`.",
            "rw".to_owned(),
            rights,
        );
        let ((is_file, name), container, rights) = (which?, container?, rights?);
        if is_file {
            let container = container.unwrap_or_else(|| name.clone());
            return Some(Device::File(DeviceFile { host: name, container, rights }));
        }
        Some(Device::Cdi(name))
    })
}

fn cdi(at: &At<'_>) -> Option<String> {
    at.parsed(|text| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b"._-:/".contains(&b);
        let good = text.split_once('=').is_some_and(|(kind, name)| {
            kind.contains('/') && !name.is_empty() && kind.bytes().chain(name.bytes()).all(inner)
        });
        good.then(|| text.to_owned())
            .ok_or("not a name of the Container Device Interface: VENDOR/CLASS=NAME")
    })
}

fn rights(at: &At<'_>) -> Option<String> {
    at.parsed(|text| {
        let good = !text.is_empty() && text.len() <= 3 && text.chars().all(|c| "rwm".contains(c));
        good.then(|| text.to_owned()).ok_or("not rights: any of r, w and m")
    })
}

/// Decodes the addresses of name servers.
pub(super) fn dns(at: &At<'_>) -> Option<Vec<String>> {
    at.list(MAX_DNS, "; leave it out for those of the engine", |at| {
        at.parsed(|text| {
            let good = text.parse::<IpAddr>().is_ok();
            good.then(|| text.to_owned()).ok_or("not the address of a name server")
        })
    })
}

/// Decodes names with fixed addresses. Faulty ones are noted and left out.
pub(super) fn hosts(at: &At<'_>) -> BTreeMap<String, String> {
    let entries = at.entries();
    if entries.len() > MAX_HOSTS {
        at.fault(format!("{} names, at most {MAX_HOSTS}", entries.len()));
        return BTreeMap::new();
    }
    let mut hosts = BTreeMap::new();
    for (name, at) in entries {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if name.is_empty() || name.len() > 253 || !name.bytes().all(inner) {
            at.fault("not the name of a host");
        }
        let address = at.parsed(|text| {
            let good = text == HOST_GATEWAY || text.parse::<IpAddr>().is_ok();
            good.then(|| text.to_owned()).ok_or("not an address, nor host-gateway")
        });
        if let Some(address) = address {
            hosts.insert(name.to_owned(), address);
        }
    }
    hosts
}

/// Decodes a time zone.
pub(super) fn time_zone(at: &At<'_>) -> Option<String> {
    at.parsed(|text| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b"/_+-".contains(&b);
        let good = !text.is_empty()
            && text.len() <= 64
            && text.bytes().all(inner)
            && text.starts_with(|c: char| c.is_ascii_alphabetic());
        good.then(|| text.to_owned()).ok_or("not a time zone, such as Europe/Oslo or UTC")
    })
}
