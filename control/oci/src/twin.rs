//! Raw twin of an image: the manifests that stand for it here, whose layers are uncompressed.
//!
//! The bytes of a twin's manifest are a function of its configuration and layers alone, so they are
//! made anew each time. Their form never changes: digests of stored images are digests of them.
//!
//! See decision 0174.

use serde::{Deserialize, Serialize};

use holdfast_base::ids::Digest;
use holdfast_protocol::workload::Artifact;

use crate::digest_of;

/// Media type of a manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an index.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an image's configuration.
pub const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an uncompressed layer.
pub const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// Most layers of an image: engines stack no more than about 125.
pub const MAX_LAYERS: usize = 128;
/// Most platforms of an image; the official images of the largest public registry have about ten.
pub const MAX_PLATFORMS: usize = 32;
/// Longest word for an architecture or its variant, in bytes.
const MAX_WORD: usize = 32;

/// Content of an image for one kind of machine. The operating system is always Linux.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Architecture as images name it, such as `amd64`, `arm64` or `arm`.
    pub arch: String,
    /// Variant of the architecture, such as `v7`. Empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Configuration of the image.
    pub config: Artifact,
    /// Uncompressed layers, the lowest first.
    pub layers: Vec<Artifact>,
}

/// Reason why platforms make no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// There is nothing in it.
    #[error("an image needs a platform")]
    NoPlatform,
    /// Too many platforms.
    #[error(
        "the image has {0} platforms, at most {MAX_PLATFORMS} are taken: choose some by --platform"
    )]
    Platforms(usize),
    /// Too many layers.
    #[error("the image has {0} layers, at most {MAX_LAYERS} are taken: build it with fewer steps")]
    Layers(usize),
    /// Two contents for one platform.
    #[error("the image has platform linux/{0} twice")]
    Twice(String),
    /// Word for an architecture that is not one.
    #[error("{0:?} is not an architecture, such as amd64, arm64 or arm/v7")]
    Word(String),
}

/// File that a manifest or an index names, in the order of its fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'a str,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Words<'a>>,
}

/// Platform in an index.
#[derive(Serialize)]
struct Words<'a> {
    architecture: &'a str,
    os: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    variant: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u32,
    media_type: &'a str,
    config: Descriptor<'a>,
    layers: Vec<Descriptor<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u32,
    media_type: &'a str,
    manifests: Vec<Descriptor<'a>>,
}

/// Writes a value whose keys are texts, which cannot fail.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn file<'a>(media_type: &'a str, artifact: &Artifact) -> Descriptor<'a> {
    Descriptor { media_type, digest: artifact.digest, size: artifact.size, platform: None }
}

impl Platform {
    /// Returns the twin's manifest of this platform.
    pub fn manifest(&self) -> Vec<u8> {
        json(&Manifest {
            schema_version: 2,
            media_type: MANIFEST_TYPE,
            config: file(CONFIG_TYPE, &self.config),
            layers: self.layers.iter().map(|layer| file(LAYER_TYPE, layer)).collect(),
        })
    }

    /// Returns the platform as people write it, without the operating system: `arm/v7`.
    pub fn words(&self) -> String {
        match self.variant.as_str() {
            "" => self.arch.clone(),
            variant => format!("{}/{variant}", self.arch),
        }
    }

    /// Returns every file of the platform: its configuration, then its layers.
    pub fn files(&self) -> impl Iterator<Item = &Artifact> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// Key by which platforms are sorted. Of the variants of an architecture a device takes the first
    /// one: of `arm` that is the newest, which every agent for `arm` can run; of others the plain one.
    fn order(&self) -> (&str, std::cmp::Reverse<&str>, &str) {
        let newest = if self.arch == "arm" { self.variant.as_str() } else { "" };
        (self.arch.as_str(), std::cmp::Reverse(newest), self.variant.as_str())
    }
}

/// Image as it is stored: its content for each platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    /// Platforms, sorted, each once; at least one.
    platforms: Vec<Platform>,
}

fn is_word(word: &str) -> bool {
    let good = |one: u8| one.is_ascii_lowercase() || one.is_ascii_digit() || b"._-".contains(&one);
    word.len() <= MAX_WORD && word.bytes().all(good)
}

impl Twin {
    /// Makes an image of its platforms, in whatever order they are.
    ///
    /// # Errors
    /// [`Unfit`] for none, too many, one twice, or one with too many layers.
    pub fn new(mut platforms: Vec<Platform>) -> Result<Self, Unfit> {
        if platforms.is_empty() {
            return Err(Unfit::NoPlatform);
        }
        if platforms.len() > MAX_PLATFORMS {
            return Err(Unfit::Platforms(platforms.len()));
        }
        for platform in &platforms {
            if platform.layers.len() > MAX_LAYERS {
                return Err(Unfit::Layers(platform.layers.len()));
            }
            if platform.arch.is_empty() || !is_word(&platform.arch) || !is_word(&platform.variant) {
                return Err(Unfit::Word(platform.words().chars().take(MAX_WORD).collect()));
            }
        }
        platforms.sort_by(|a, b| a.order().cmp(&b.order()));
        let twice = platforms.windows(2).find_map(|pair| match pair {
            [a, b] if a.words() == b.words() => Some(a.words()),
            _ => None,
        });
        match twice {
            Some(words) => Err(Unfit::Twice(words)),
            None => Ok(Self { platforms }),
        }
    }

    /// Returns the content for each platform.
    pub fn platforms(&self) -> &[Platform] {
        &self.platforms
    }

    /// Returns the index over the platforms. None: there is one platform, whose manifest stands for
    /// the image.
    pub fn index(&self) -> Option<Vec<u8>> {
        if self.platforms.len() < 2 {
            return None;
        }
        let entry = |platform: &Platform| (platform.manifest(), platform.clone());
        let all: Vec<(Vec<u8>, Platform)> = self.platforms.iter().map(entry).collect();
        let manifests = all.iter().map(|(manifest, platform)| Descriptor {
            media_type: MANIFEST_TYPE,
            digest: digest_of(manifest),
            size: manifest.len() as u64,
            platform: Some(Words {
                architecture: &platform.arch,
                os: "linux",
                variant: &platform.variant,
            }),
        });
        Some(json(&Index {
            schema_version: 2,
            media_type: INDEX_TYPE,
            manifests: manifests.collect(),
        }))
    }

    /// Returns the document that stands for the image, with its media type: the index, or the
    /// manifest of the only platform.
    pub fn document(&self) -> (&'static str, Vec<u8>) {
        match (self.index(), self.platforms.first()) {
            (Some(index), _) => (INDEX_TYPE, index),
            (None, Some(only)) => (MANIFEST_TYPE, only.manifest()),
            (None, None) => (INDEX_TYPE, Vec::new()),
        }
    }

    /// Returns the identity of the image: the digest of [`Twin::document`].
    pub fn digest(&self) -> Digest {
        digest_of(&self.document().1)
    }

    /// Returns every file of every platform. A file of several platforms is there several times.
    pub fn files(&self) -> impl Iterator<Item = &Artifact> {
        self.platforms.iter().flat_map(Platform::files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(byte: u8, size: u64) -> Artifact {
        Artifact { digest: Digest([byte; 32]), size }
    }

    fn platform(arch: &str, variant: &str, byte: u8) -> Platform {
        let layers = vec![artifact(1, 10_240), artifact(2, 512)];
        let (arch, variant) = (arch.to_owned(), variant.to_owned());
        Platform { arch, variant, config: artifact(byte, 7), layers }
    }

    /// The digests of stored images are digests of these bytes: they never change.
    #[test]
    fn the_bytes_of_a_twin_never_change() {
        let hex = |byte: u8| format!("{byte:02x}").repeat(32);
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{}","size":7}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:{}","size":10240}},{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:{}","size":512}}]}}"#,
            hex(9),
            hex(1),
            hex(2)
        );
        let one = Twin::new(vec![platform("amd64", "", 9)]).unwrap();
        assert_eq!(String::from_utf8(one.document().1).unwrap(), manifest);
        assert_eq!(one.document().0, MANIFEST_TYPE);
        assert_eq!(
            one.digest().to_string(),
            "sha256:0da17be3c039adff15fcdaf4607d8fd584c2d65f3ab90925c047aa51f68c4273"
        );
        let two = Twin::new(vec![platform("arm", "v7", 8), platform("amd64", "", 9)]).unwrap();
        let index = String::from_utf8(two.document().1).unwrap();
        let first = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{},"platform":{{"architecture":"amd64","os":"linux"}}}},"#,
            one.digest(),
            manifest.len()
        );
        assert!(index.starts_with(&first), "{index}");
        assert!(
            index.ends_with(r#""platform":{"architecture":"arm","os":"linux","variant":"v7"}}]}"#)
        );
        assert_eq!(two.document().0, INDEX_TYPE);
    }

    #[test]
    fn the_order_of_platforms_is_that_in_which_a_device_chooses() {
        let words = |given: [(&str, &str); 6]| {
            let platforms = given.map(|(arch, variant)| platform(arch, variant, 1)).to_vec();
            let twin = Twin::new(platforms).unwrap();
            twin.platforms().iter().map(Platform::words).collect::<Vec<_>>()
        };
        let sorted = ["amd64", "amd64/v3", "arm/v7", "arm/v6", "arm", "arm64/v8"];
        let given = [
            ("arm64", "v8"),
            ("arm", ""),
            ("amd64", "v3"),
            ("arm", "v6"),
            ("arm", "v7"),
            ("amd64", ""),
        ];
        assert_eq!(words(given), sorted);
    }

    #[test]
    fn what_is_beyond_a_bound_is_no_image() {
        assert_eq!(Twin::new(Vec::new()), Err(Unfit::NoPlatform));
        let many = (0..33).map(|at| platform(&format!("a{at}"), "", 1)).collect();
        assert_eq!(Twin::new(many), Err(Unfit::Platforms(33)));
        let mut tall = platform("amd64", "", 1);
        tall.layers = vec![artifact(1, 1); MAX_LAYERS];
        assert!(Twin::new(vec![tall.clone()]).is_ok());
        tall.layers.push(artifact(1, 1));
        assert_eq!(Twin::new(vec![tall]), Err(Unfit::Layers(129)));
        let twice = vec![platform("arm", "v7", 1), platform("arm", "v7", 2)];
        assert_eq!(Twin::new(twice), Err(Unfit::Twice("arm/v7".into())));
        for (arch, variant) in [("", ""), ("AMD64", ""), ("a b", ""), ("arm", "v/7")] {
            assert!(matches!(Twin::new(vec![platform(arch, variant, 1)]), Err(Unfit::Word(_))));
        }
    }
}
