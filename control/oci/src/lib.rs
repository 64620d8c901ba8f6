//! Container images as registries and engines know them: names, manifests, indexes, configurations
//! and archives, in the forms of the Open Container Initiative and of Docker.
//!
//! Of each image there is a *raw twin*: the same configuration over the same layers, uncompressed.
//! What an image is does not depend on how its layers were compressed on the way.
//!
//! Without I/O of its own: it stands on readers and writers that it is given. See decision 0174.

mod archive;
mod config;
mod manifest;
mod platform;
mod reference;
mod twin;
mod unpack;

pub use archive::{Archived, ArchivedLayer, ArchivedPlatform, BadArchive, Files, Tar, find};
pub use config::{BadConfig, Config, MAX_CONFIG};
pub use manifest::{BadManifest, Blob, Document, Entry, Index, MAX_MANIFEST, Manifest, READ_TYPES};
pub use platform::{BadPlatform, Wanted as WantedPlatform};
pub use reference::{BadReference, DEFAULT_TAG, Reference, Repository, Tag, Wanted};
pub use twin::{
    CONFIG_TYPE, INDEX_TYPE, LAYER_TYPE, MANIFEST_TYPE, MAX_LAYERS, MAX_PLATFORMS, Platform, Twin,
    Unfit,
};
pub use unpack::{NotUnpacked, Unpacked, Unpacking};

use holdfast_base::ids::Digest;

/// Returns the SHA-256 digest of bytes.
pub fn digest_of(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    out.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    Digest(out)
}
