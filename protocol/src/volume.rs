//! Volumes of containers, as orders to a device and what it answers.
//!
//! See decision 0180.

use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use holdfast_base::ids::Name;

/// Volume of a workload on one device. It outlives the workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VolumeId {
    /// Workload that the volume was made for.
    pub workload: Name,
    /// Name of the volume within the workload.
    pub volume: Name,
}

impl std::fmt::Display for VolumeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.workload, self.volume)
    }
}

/// What a device does with volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeOrder {
    /// It lists them. The reply's body is [`Volumes`].
    List,
    /// It deletes one, which no container uses.
    Delete(VolumeId),
    /// It uploads the content of one as a tar. The reply's body is a [`VolumeBackup`]. While it
    /// works, it sends empty pieces.
    Backup(VolumeId),
    /// It replaces the content of one by that of a tar, which it downloads. No container may use the
    /// volume. While it works, it sends empty pieces.
    Restore(VolumeId, Artifact),
}

/// Volumes of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volumes {
    /// Wire version, [`holdfast_base::WIRE_VERSION`].
    pub v: u8,
    /// The volumes, in the order of their workloads and names; at most [`MAX_VOLUMES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
}

/// Most volumes in a [`Volumes`]: a page of names for a person, and well below the largest reply.
pub const MAX_VOLUMES: usize = 1_000;

/// Volume as its device knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Which volume it is.
    #[serde(flatten)]
    pub id: VolumeId,
    /// Bytes of its files. Absent: the device could not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// True if a container uses it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub used: bool,
}

/// What a backup of a volume became.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeBackup {
    /// Wire version, [`holdfast_base::WIRE_VERSION`].
    pub v: u8,
    /// Tar of the volume's files, as the control plane has stored it.
    pub artifact: Artifact,
}
