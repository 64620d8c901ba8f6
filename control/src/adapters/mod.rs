//! Adapters to the outside world: sockets, disks, clocks.

pub mod artifacts;
pub mod authority;
pub mod clock;
pub mod data_store;
pub mod deltas;
pub mod gateway;
pub mod http;
pub mod keyring;
pub mod notify;
pub mod oidc;
pub mod parquet;
pub mod passwords;
mod seats;
pub mod store;

/// Size and free space of a folder's file system.
fn disk(folder: &std::path::Path) -> Option<crate::ports::rows::Disk> {
    let seen = rustix::fs::statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(seen.f_frsize);
    Some(crate::ports::rows::Disk { total: bytes(seen.f_blocks), free: bytes(seen.f_bavail) })
}
