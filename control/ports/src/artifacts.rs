//! Port of the artifacts: what the service asks of the store of files that devices fetch.

use holdfast_base::ids::Digest;

/// Artifacts that the control plane stores and devices fetch.
pub trait ArtifactSizes: Send + Sync + 'static {
    /// Returns the size of an artifact in bytes. `None`: it is not stored.
    fn size(&self, digest: &Digest) -> Option<u64>;
}
