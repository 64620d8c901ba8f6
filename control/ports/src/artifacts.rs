//! Port of the artifacts: what the service asks of the store of files that devices fetch.

use holdfast_base::ids::Digest;

/// Artifacts that the control plane stores and devices fetch.
pub trait ArtifactSizes: Send + Sync + 'static {
    /// Returns the size of an artifact in bytes. `None`: it is not stored.
    fn size(&self, digest: &Digest) -> Option<u64>;
    /// Returns the digests and sizes of all stored artifacts.
    fn all(&self) -> Vec<(Digest, u64)>;
    /// Takes note that devices which have an artifact will ask for another one in its place.
    fn expect(&self, old: &Digest, new: &Digest);
    /// Removes an artifact when `unowned` says that no tenant has it. Nothing is stored under the
    /// digest while that is asked. An artifact that cannot be removed stays, which is logged.
    fn remove(&self, digest: &Digest, unowned: &dyn Fn() -> bool);
}
