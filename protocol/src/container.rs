//! Description of containers as a device gets it: images by digest, and what an engine is asked for.
//!
//! An image is described by its uncompressed layers: their digests do not depend on how they were
//! packed on the way, so that layers are shared, resumed and sent as deltas like every other artifact.
//!
//! See decision 0171.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use holdfast_base::ids::{Digest, Name};

use crate::absent::is_default;
use crate::artifact::Artifact;
use crate::health::Probe;

/// Image of a container, which never changes: a tag was resolved when the workload was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Name as the operator wrote it, such as `shop/till:1.4`. For people: nothing is fetched by it.
    pub name: String,
    /// Identity of the image: digest of its manifest, or of its index if it is of several platforms.
    pub digest: Digest,
    /// Content for each platform, at least one.
    pub platforms: Vec<Platform>,
}

/// Content of an image for one kind of machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Architecture as images name it, such as `amd64`, `arm64` or `arm`.
    pub arch: String,
    /// Configuration of the image. Its digest is the image's id at the engine.
    pub config: Artifact,
    /// Uncompressed layers, the lowest first. Their digests are the `diff_ids` of the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Artifact>,
}

impl Platform {
    /// Returns every file of the image: its configuration, then its layers.
    pub fn files(&self) -> impl Iterator<Item = &Artifact> {
        std::iter::once(&self.config).chain(&self.layers)
    }
}

impl Image {
    /// Returns the content for a machine, by the name that Rust has for its architecture (`x86_64`).
    pub fn platform(&self, arch: &str) -> Option<&Platform> {
        let arch = match arch {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        };
        self.platforms.iter().find(|platform| platform.arch == arch)
    }
}

/// Container that an engine runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Image of its files.
    pub image: Image,
    /// Program and first arguments, in place of the image's entry point. Empty: the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Arguments, in place of the image's own. Empty: the image's own, unless `command` is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables, in addition to those of the image and the few that the agent sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Working folder. Absent: the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// User, as `USER`, `UID` or `UID:GID`. Absent: the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Ports that it listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Volumes, folders and files that it sees beside its image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Devices of the machine that it may use.
    #[serde(default, skip_serializing_if = "Devices::is_none")]
    pub devices: Devices,
    /// Network that it is in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: Network,
    /// True if it may write to the files of its image. Such changes are lost with the container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub writable_root: bool,
    /// Capabilities that it keeps, such as `NET_BIND_SERVICE`; all others are dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// True if the engine's filter of system calls is off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seccomp_off: bool,
    /// Time zone, such as `Europe/Oslo`, which is given as the variable `TZ`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Addresses of name servers. Empty: those of the engine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// Names that resolve to fixed addresses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, String>,
    /// True if the engine's own small first process reaps orphans and passes on signals.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
}

/// Port of a container, and where the device has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Name, under which an assigned port is reported and given as `HOLDFAST_PORT_NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Port in the container, from 1. In the device's own network it is the port of the device too.
    pub container: u16,
    /// Port of the device, from 1. Absent: the device assigns a free one and keeps to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<u16>,
    /// Address of the device to listen at. Absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// True for UDP; false for TCP.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub udp: bool,
}

/// Something that a container sees at a path beside its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container.
    pub path: String,
    /// Thing that is seen there.
    pub from: MountFrom,
    /// True if it can be read only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// Thing that a container sees at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountFrom {
    /// Volume of the workload, which is kept across revisions and until an operator deletes it.
    Volume(Name),
    /// Path of the device, which the agent's configuration must allow.
    Host(String),
    /// File or folder below the workload's own folder: configuration and files with secrets. Empty:
    /// the whole folder.
    Files(String),
    /// Folder in memory, of at most so many bytes; 0: as the engine has it.
    Memory(u64),
}

/// Devices of the machine that a container may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// Device files, by their path on the machine and in the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<DeviceFile>,
    /// Devices by their names of the Container Device Interface, such as `nvidia.com/gpu=all`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cdi: Vec<String>,
    /// Number of GPUs that the engine's own driver gives; -1: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<i32>,
}

impl Devices {
    /// Returns true if there are none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Device file that a container may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFile {
    /// Path on the machine.
    pub host: String,
    /// Path in the container.
    pub container: String,
    /// Rights: any of `r`, `w` and `m` (make a node).
    pub rights: String,
}

/// Network that a container is in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The device's own, as for a process.
    #[default]
    Host,
    /// A bridge of the engine: its ports are published, and it reaches the outside.
    Bridge,
    /// No network but its own loopback interface.
    None,
    /// Networks of the device by name, which workloads share. In them a workload is found by its
    /// name, and a container of a group by its own.
    Shared(Vec<Name>),
}

/// Containers that are one workload: they start in order, and stop and change together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Containers in the order of their starts; at least one, each with another name.
    pub containers: Vec<Member>,
}

/// Container of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Name within the group, by which the others find it in the group's network.
    pub name: Name,
    /// What is run.
    pub container: Container,
    /// Probe of this container. [`Probe::Members`] asks it; a start may wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// Containers before it in the order that it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<After>,
}

/// Container that another one waits for before its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// Name of the container that is waited for.
    pub name: Name,
    /// State of it that is waited for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub until: Until,
}

/// State of a container that another one waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// It was started.
    #[default]
    Started,
    /// Its probe succeeds.
    Healthy,
    /// It ended with code 0. It is not started again with the group's others still running.
    Completed,
}
