//! Images and repositories as they are stored.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use holdfast_base::ids::Digest;
use holdfast_oci::{Repository, Tag, Twin};

/// Most digests of originals that are kept of one image in a repository: the same content comes
/// compressed in other ways, and what is older than so many pushes is forgotten.
pub const MAX_SOURCES: usize = 16;

/// Image as it is stored, once for all repositories of the tenant that hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRecord {
    /// Content for each platform.
    #[serde(flatten)]
    pub twin: Twin,
    /// Time of the first push, in seconds since 1970.
    pub created_at: u64,
}

/// Image with the digests of its manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownImage {
    /// Image as stored.
    pub record: ImageRecord,
    /// Digest of the manifest of each platform, in their order.
    pub manifests: Vec<Digest>,
}

impl KnownImage {
    /// Computes the digests of the manifests.
    pub fn new(record: ImageRecord) -> Self {
        let platforms = record.twin.platforms().iter();
        let manifests = platforms.map(|one| holdfast_oci::digest_of(&one.manifest())).collect();
        Self { record, manifests }
    }

    /// Returns the size of the image in bytes. A file of several platforms counts once.
    pub fn size(&self) -> u64 {
        let files: BTreeMap<Digest, u64> =
            self.record.twin.files().map(|file| (file.digest, file.size)).collect();
        files.values().fold(0, |sum, size| sum.saturating_add(*size))
    }

    /// True if a file is the configuration or a layer of a platform.
    pub fn has(&self, digest: &Digest) -> bool {
        self.record.twin.files().any(|file| file.digest == *digest)
    }
}

/// Image that a repository holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// Digests of the manifests or indexes that it was pushed or copied as, the newest last, at most
    /// [`MAX_SOURCES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Digest>,
    /// Time of the last push into this repository, in seconds since 1970.
    pub pushed_at: u64,
    /// Reference that it was copied from. Empty: it was pushed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub copied_from: String,
}

/// Repository: images under one name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryRecord {
    /// Images by their digests.
    pub images: BTreeMap<Digest, Held>,
    /// Tags, each with the digest of its image.
    pub tags: BTreeMap<Tag, Digest>,
}

impl RepositoryRecord {
    /// Returns the image with this digest, or with this digest of its original.
    pub fn by_digest(&self, digest: &Digest) -> Option<Digest> {
        let of_original = || {
            let mut all = self.images.iter();
            all.find(|(_, held)| held.sources.contains(digest)).map(|(image, _)| *image)
        };
        self.images.contains_key(digest).then_some(*digest).or_else(of_original)
    }

    /// Returns the tags of an image.
    pub fn tags_of<'a>(&'a self, image: &'a Digest) -> impl Iterator<Item = &'a Tag> {
        self.tags.iter().filter(move |(_, of)| *of == image).map(|(tag, _)| tag)
    }
}

/// Images of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    /// Repositories by their names.
    pub repositories: BTreeMap<Repository, RepositoryRecord>,
    /// Contents by the digests of the images.
    pub contents: BTreeMap<Digest, KnownImage>,
}

impl Images {
    /// Returns the texts by which documents name the images that have a file: digests of the images
    /// and of their originals.
    pub fn names_of_images_with(&self, file: &Digest) -> BTreeSet<String> {
        let with = self.contents.iter().filter(|(_, known)| known.has(file));
        with.flat_map(|(image, _)| self.names_of(image)).collect()
    }

    /// Returns the texts by which documents name an image: its digest and those of its originals.
    pub fn names_of(&self, image: &Digest) -> BTreeSet<String> {
        let held = self.repositories.values().filter_map(|known| known.images.get(image));
        let sources = held.flat_map(|held| &held.sources).map(ToString::to_string);
        sources.chain([image.to_string()]).collect()
    }
}
