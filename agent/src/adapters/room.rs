//! Room on the disk for downloads that are under way at the same time: each counts what the others
//! still have to write, so that none ends on a full disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_base::ids::Digest;

/// Bytes that must stay free on the disk beside what is downloaded.
const HEADROOM: u64 = 4 * 1024 * 1024;

/// Bytes that downloads under way have still to write, by their digests.
#[derive(Debug, Clone, Default)]
pub struct Rooms {
    claims: Arc<Mutex<BTreeMap<Digest, u64>>>,
}

/// Claim of one download, given back when it is dropped.
#[derive(Debug)]
pub struct Claim {
    rooms: Rooms,
    digest: Digest,
}

/// Bytes that lack for a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{needed} bytes more do not fit on the disk{}: free some space",
    if *others > 0 { " beside what other downloads still need" } else { "" }
)]
pub struct NoRoom {
    /// Bytes that the download still has to write.
    needed: u64,
    /// Bytes that other downloads still have to write.
    others: u64,
}

impl Rooms {
    /// Claims the bytes that a download has still to write. `free`: bytes that are free on the disk.
    ///
    /// # Errors
    /// [`NoRoom`] if they do not fit beside those of the other downloads.
    pub fn claim(&self, digest: Digest, needed: u64, free: u64) -> Result<Claim, NoRoom> {
        let mut claims = self.lock();
        let others = claims.iter().filter(|(other, _)| **other != digest);
        let others = others.map(|(_, bytes)| *bytes).fold(0, u64::saturating_add);
        // A small file needs little room beside it.
        let beside = HEADROOM.min(needed.saturating_mul(4));
        if free < needed.saturating_add(others).saturating_add(beside) {
            return Err(NoRoom { needed, others });
        }
        claims.insert(digest, needed);
        Ok(Claim { rooms: self.clone(), digest })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, u64>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Notes that bytes were written, which are not free any more.
    pub fn written(&self, bytes: u64) {
        if let Some(left) = self.rooms.lock().get_mut(&self.digest) {
            *left = left.saturating_sub(bytes);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.rooms.lock().remove(&self.digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn what_others_still_have_to_write_counts() {
        let rooms = Rooms::default();
        let (one, two) = (Digest([1; 32]), Digest([2; 32]));
        let first = rooms.claim(one, 60 * MIB, 100 * MIB).unwrap();
        let refused = rooms.claim(two, 40 * MIB, 100 * MIB).unwrap_err();
        assert_eq!(refused, NoRoom { needed: 40 * MIB, others: 60 * MIB });
        assert!(refused.to_string().contains("free some space"));
        // Ten MiB were written: as much less is free.
        first.written(10 * MIB);
        assert!(rooms.claim(two, 36 * MIB, 90 * MIB).is_ok());
        assert!(rooms.claim(two, 37 * MIB, 90 * MIB).is_err(), "4 MiB stay free");
        // Its own claim from a try before does not count twice.
        assert!(rooms.claim(one, 50 * MIB, 90 * MIB).is_ok());
        drop(first);
        assert!(rooms.claim(two, 40 * MIB, 100 * MIB).is_ok(), "given back");
        assert!(rooms.claim(two, 100, 499).is_err() && rooms.claim(two, 100, 500).is_ok());
    }
}
