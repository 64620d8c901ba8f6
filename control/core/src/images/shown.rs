//! Images in the API's form.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::ids::Digest;
use holdfast_oci::{Platform, Repository, Tag};

use super::known::{Held, Images, KnownImage, RepositoryRecord};
use crate::model::Model;
use holdfast_api::time::rfc3339;
use holdfast_api::{Image, ImageLayer, ImagePlatform, ImageSummary};

/// Most other images that a shared layer names.
const NAMED: usize = 10;

impl Images {
    /// Returns for each file how many images have it.
    fn counts(&self) -> BTreeMap<Digest, u64> {
        let mut counts = BTreeMap::new();
        for known in self.contents.values() {
            let files: BTreeSet<Digest> =
                known.record.twin.files().map(|file| file.digest).collect();
            files.into_iter().for_each(|file| *counts.entry(file).or_insert(0) += 1);
        }
        counts
    }

    /// Returns the names of the images that have a file.
    pub fn references_with(&self, file: &Digest) -> Vec<String> {
        let with = self.contents.iter().filter(|(_, known)| known.has(file));
        with.flat_map(|(image, _)| self.references(image)).collect()
    }

    /// Returns the names of the images with this digest, such as `shop/till:1.4`.
    fn references(&self, digest: &Digest) -> Vec<String> {
        let holding = self.repositories.iter().filter(|(_, it)| it.images.contains_key(digest));
        let name = |(name, repository): (&Repository, &RepositoryRecord)| match repository
            .tags_of(digest)
            .next()
        {
            Some(tag) => format!("{name}:{tag}"),
            None => format!("{name}@{digest}"),
        };
        holding.map(name).collect()
    }
}

/// Bytes of the files that no other image has.
fn own_bytes(known: &KnownImage, counts: &BTreeMap<Digest, u64>) -> u64 {
    let files: BTreeMap<Digest, u64> =
        known.record.twin.files().map(|file| (file.digest, file.size)).collect();
    let own = files.iter().filter(|(digest, _)| counts.get(*digest).is_none_or(|count| *count < 2));
    own.fold(0, |sum, (_, size)| sum.saturating_add(*size))
}

fn platform_words(platform: &Platform) -> String {
    format!("linux/{}", platform.words())
}

/// Key of an image in the list, by which pages go on.
pub fn list_key(name: &Repository, digest: &Digest) -> String {
    format!("{name}@{digest}")
}

/// Returns the images of all repositories with their keys, in the order of the keys. `after` is the
/// key behind which the list begins.
pub fn list(model: &Model, after: &str, most: usize) -> Vec<(String, ImageSummary)> {
    let images = &model.images;
    let (counts, named) = (images.counts(), model.named_digests());
    let users = |digest: &Digest| -> u64 {
        let names = images.names_of(digest);
        let using = names.iter().filter_map(|name| named.get(name));
        using.flatten().collect::<BTreeSet<_>>().len() as u64
    };
    let held = images.repositories.iter().flat_map(|(name, repository)| {
        repository.images.iter().map(move |(digest, held)| (name, repository, digest, held))
    });
    let mut keyed: Vec<_> = held
        .map(|(name, repository, digest, held)| {
            (list_key(name, digest), (name, repository, digest, held))
        })
        .filter(|(key, _)| key.as_str() > after)
        .collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    keyed
        .into_iter()
        .filter_map(|(key, (name, repository, digest, held))| {
            let known = images.contents.get(digest)?;
            let platforms = known.record.twin.platforms().iter();
            let summary = ImageSummary {
                name: name.to_string(),
                digest: digest.to_string(),
                tags: repository.tags_of(digest).map(ToString::to_string).collect(),
                platforms: platforms.map(platform_words).collect(),
                size: known.size(),
                own_size: own_bytes(known, &counts),
                workloads: users(digest),
                copied_from: held.copied_from.clone(),
                pushed_at: rfc3339(held.pushed_at),
            };
            Some((key, summary))
        })
        .take(most)
        .collect()
}

/// Returns an image of a repository with its layers. None: the repository does not have it.
pub fn one(model: &Model, name: &Repository, digest: &Digest) -> Option<Image> {
    let images = &model.images;
    let repository = images.repositories.get(name)?;
    let held: &Held = repository.images.get(digest)?;
    let known = images.contents.get(digest)?;
    let counts = images.counts();
    let shared = |file: &Digest| -> Vec<String> {
        if counts.get(file).is_none_or(|count| *count < 2) {
            return Vec::new();
        }
        let with = images.contents.iter().filter(|(image, it)| *image != digest && it.has(file));
        let with = with.flat_map(|(image, _)| images.references(image));
        with.take(NAMED).collect()
    };
    let platforms = known.record.twin.platforms().iter().zip(&known.manifests);
    let platforms = platforms.map(|(platform, manifest)| ImagePlatform {
        platform: platform_words(platform),
        digest: manifest.to_string(),
        config: platform.config.digest.to_string(),
        layers: platform
            .layers
            .iter()
            .map(|layer| ImageLayer {
                digest: layer.digest.to_string(),
                size: layer.size,
                shared_with: shared(&layer.digest),
            })
            .collect(),
    });
    Some(Image {
        name: name.to_string(),
        digest: digest.to_string(),
        tags: repository.tags_of(digest).map(Tag::to_string).collect(),
        platforms: platforms.collect(),
        size: known.size(),
        own_size: own_bytes(known, &counts),
        workloads: model.workloads_with_image(digest).iter().map(ToString::to_string).collect(),
        sources: held.sources.iter().map(ToString::to_string).collect(),
        copied_from: held.copied_from.clone(),
        pushed_at: rfc3339(held.pushed_at),
    })
}
