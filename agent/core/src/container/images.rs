//! Images at the engine: which layers it has already, how an archive of an image is laid out, and
//! which images are removed.
//!
//! See decision 0176.

use std::collections::BTreeSet;

use holdfast_base::ids::Digest;
use holdfast_protocol::container::{Image, Platform};
use holdfast_protocol::workload::Artifact;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Length of a block of a tar archive in bytes.
const BLOCK: u64 = 512;
/// Largest file whose size fits in the eleven octal digits of a header, in bytes: 8 GiB.
const LARGEST: u64 = (1 << 33) - 1;

/// Name under which an image is kept at the engine, so that it is found there whatever the engine
/// takes for its id.
pub fn tag(image: &Digest) -> String {
    let hex = image.hex();
    format!("holdfast.local/image:{}", hex.get(..32).unwrap_or(&hex))
}

/// Names by which an image may be known at the engine: the id that Docker and Podman give it, that
/// of a store by manifests, and the agent's own tag.
pub fn names(image: &Image, platform: &Platform) -> [String; 3] {
    [platform.config.digest.to_string(), image.digest.to_string(), tag(&image.digest)]
}

/// True if what an engine says of an image (`GET /images/NAME/json`) is this content. By its id, or
/// by its layers: a store by manifests has ids of its own.
pub fn is_content(inspected: &Value, platform: &Platform) -> bool {
    let id = inspected.get("Id").and_then(Value::as_str).unwrap_or_default();
    if id == platform.config.digest.to_string() || id == platform.config.digest.hex() {
        return true;
    }
    let layers = layers(inspected);
    !layers.is_empty() && layers == digests(platform)
}

/// Layers of an image as an engine tells them, the lowest first.
pub fn layers(inspected: &Value) -> Vec<String> {
    let layers = inspected.get("RootFS").and_then(|it| it.get("Layers")).and_then(Value::as_array);
    layers.into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned)).collect()
}

fn digests(platform: &Platform) -> Vec<String> {
    platform.layers.iter().map(|layer| layer.digest.to_string()).collect()
}

/// Number of the lowest layers that the engine has already, by the layers of each of its images: a
/// layer counts only above those that are below it here.
pub fn known_layers(platform: &Platform, there: &[Vec<String>]) -> usize {
    let mine = digests(platform);
    let common = |other: &Vec<String>| mine.iter().zip(other).take_while(|(a, b)| a == b).count();
    there.iter().map(common).max().unwrap_or(0)
}

/// File of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Bytes that are there.
    Text(Vec<u8>),
    /// Artifact on the disk.
    File(Artifact),
}

impl Content {
    fn size(&self) -> u64 {
        match self {
            Self::Text(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::File(artifact) => artifact.size,
        }
    }
}

/// One piece of an archive, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Header of the file.
    pub header: Vec<u8>,
    /// Content of the file.
    pub content: Content,
    /// Zeros after it.
    pub padding: usize,
}

/// Reason why an image cannot be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its layer {0} is larger than 8 GiB, which no archive for an engine can hold")]
pub struct TooLarge(pub Digest);

/// Archive of an image as `docker save` writes it, for `POST /images/load`. The `known` lowest layers
/// are named in it and left out.
///
/// # Errors
/// [`TooLarge`].
pub fn archive(image: &Digest, platform: &Platform, known: usize) -> Result<Vec<Entry>, TooLarge> {
    let path = |layer: &Artifact| format!("{}/layer.tar", layer.digest.hex());
    let config = format!("{}.json", platform.config.digest.hex());
    let layers: Vec<String> = platform.layers.iter().map(path).collect();
    let manifest = json!([{ "Config": config, "RepoTags": [tag(image)], "Layers": layers }]);
    let manifest = serde_json::to_vec(&manifest).unwrap_or_default();
    let mut entries = vec![
        entry("manifest.json", Content::Text(manifest)),
        entry(&config, Content::File(platform.config)),
    ];
    let mut given = BTreeSet::new();
    for layer in platform.layers.iter().skip(known) {
        if layer.size > LARGEST {
            return Err(TooLarge(layer.digest));
        }
        // An image may have a layer twice.
        if given.insert(layer.digest) {
            entries.push(entry(&path(layer), Content::File(*layer)));
        }
    }
    let end = usize::try_from(2 * BLOCK).unwrap_or(0);
    entries.push(Entry { header: vec![0; end], content: Content::Text(Vec::new()), padding: 0 });
    Ok(entries)
}

/// Length of an archive in bytes.
pub fn length(archive: &[Entry]) -> u64 {
    let of = |it: &Entry| (it.header.len() + it.padding) as u64 + it.content.size();
    archive.iter().map(of).sum()
}

fn entry(path: &str, content: Content) -> Entry {
    let size = content.size();
    let mut header = vec![0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = header.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, path.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    if let Some(place) = header.get_mut(148..156) {
        place.copy_from_slice(sum.as_bytes());
    }
    let padding = usize::try_from((BLOCK - size % BLOCK) % BLOCK).unwrap_or(0);
    Entry { header, content, padding }
}

/// Image that this agent has handed to the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// Identity of the image.
    pub digest: Digest,
    /// Id at the engine.
    pub id: String,
    /// Sum of its layers in bytes.
    pub size: u64,
    /// Number of the hand-over, which orders them.
    pub at: u64,
}

/// Images to remove, the oldest first: none that is kept, and only as many as bring the sum down to
/// the quota.
pub fn surplus(loaded: &[Loaded], keep: &BTreeSet<Digest>, quota: u64) -> Vec<Digest> {
    let mut sum: u64 = loaded.iter().map(|it| it.size).fold(0, u64::saturating_add);
    let mut unkept: Vec<&Loaded> = loaded.iter().filter(|it| !keep.contains(&it.digest)).collect();
    unkept.sort_by_key(|it| it.at);
    let mut surplus = Vec::new();
    for image in unkept {
        if sum <= quota {
            break;
        }
        sum = sum.saturating_sub(image.size);
        surplus.push(image.digest);
    }
    surplus
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(byte: u8, size: u64) -> Artifact {
        Artifact { digest: Digest([byte; 32]), size }
    }

    fn platform(layers: &[u8]) -> Platform {
        let layers = layers.iter().map(|byte| artifact(*byte, 1_000)).collect();
        Platform { arch: "amd64".into(), config: artifact(0xc0, 10), layers }
    }

    #[test]
    fn a_layer_is_known_only_above_those_below_it() {
        let text = |bytes: &[u8]| bytes.iter().map(|it| Digest([*it; 32]).to_string()).collect();
        let there: Vec<Vec<String>> = vec![text(&[1, 9]), text(&[1, 2, 8]), text(&[3]), vec![]];
        for (mine, known) in [(&[1, 2, 3][..], 2), (&[2, 3], 0), (&[3, 4], 1), (&[], 0)] {
            assert_eq!(known_layers(&platform(mine), &there), known, "{mine:?}");
        }
        assert_eq!(known_layers(&platform(&[1]), &[]), 0);
    }

    #[test]
    fn an_image_is_known_by_its_id_or_by_its_layers() {
        let platform = platform(&[1, 2]);
        let layers = [Digest([1; 32]).to_string(), Digest([2; 32]).to_string()];
        let of = |id: &str, layers: &[String]| json!({ "Id": id, "RootFS": { "Layers": layers } });
        let id = platform.config.digest;
        assert!(is_content(&of(&id.to_string(), &[]), &platform));
        assert!(is_content(&of(&id.hex(), &[]), &platform), "Podman's list has no sha256:");
        assert!(is_content(&of("sha256:4f", &layers), &platform), "an id by manifest");
        assert!(!is_content(&of("sha256:4f", &layers[..1]), &platform));
        assert!(!is_content(&of("sha256:4f", &[]), &platform));
        assert!(!is_content(&Value::Null, &platform));
    }

    #[test]
    fn an_archive_has_every_file_that_the_engine_lacks() {
        let image = Digest([0xaa; 32]);
        let whole = archive(&image, &platform(&[1, 2, 1]), 0).unwrap();
        let files: Vec<&Content> = whole.iter().map(|it| &it.content).collect();
        assert_eq!(files.len(), 5, "manifest, config, two layers, end");
        assert_eq!(files[1], &Content::File(artifact(0xc0, 10)));
        assert_eq!(length(&whole) % BLOCK, 0);
        let header = String::from_utf8_lossy(&whole[2].header[..80]).into_owned();
        assert!(header.starts_with(&format!("{}/layer.tar", Digest([1; 32]).hex())), "{header}");
        let Content::Text(manifest) = files[0] else { panic!("{files:?}") };
        let manifest: Value = serde_json::from_slice(manifest).unwrap();
        assert_eq!(manifest[0]["Layers"].as_array().map(Vec::len), Some(3));
        assert_eq!(manifest[0]["RepoTags"][0], tag(&image));
        let part = archive(&image, &platform(&[1, 2]), 1).unwrap();
        assert_eq!(part.len(), 4);
        let mut large = platform(&[1]);
        large.layers[0].size = 1 << 33;
        assert_eq!(archive(&image, &large, 0), Err(TooLarge(Digest([1; 32]))));
    }

    #[test]
    fn the_oldest_go_first_and_never_what_is_kept() {
        let loaded =
            |byte: u8, at| Loaded { digest: Digest([byte; 32]), id: "x".into(), size: 100, at };
        let all = [loaded(1, 3), loaded(2, 1), loaded(3, 2), loaded(4, 4)];
        let digest = |byte: u8| Digest([byte; 32]);
        let keep = BTreeSet::from([digest(2)]);
        assert_eq!(surplus(&all, &keep, 400), []);
        assert_eq!(surplus(&all, &keep, 399), [digest(3)]);
        assert_eq!(surplus(&all, &keep, 200), [digest(3), digest(1)]);
        assert_eq!(surplus(&all, &keep, 0), [digest(3), digest(1), digest(4)]);
    }
}
