//! Manifests and indexes as registries, archives and engines give them, in the forms of OCI and of
//! Docker's schema 2.

use serde::Deserialize;

use holdfast_base::ids::Digest;

use crate::platform::Wanted;
use crate::twin::{MAX_LAYERS, MAX_PLATFORMS};

/// Largest manifest or index in bytes, as registries bound them.
pub const MAX_MANIFEST: u64 = 4 * 1024 * 1024;

/// Media types of manifests and indexes that are read, for `Accept`.
pub const READ_TYPES: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Most bytes of a word that an error repeats.
const SHOWN: usize = 100;

/// Annotation of an entry of an index that describes another one and is no image.
const ABOUT: &str = "vnd.docker.reference.type";

/// Reason why a manifest or an index is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BadManifest {
    /// The bytes are neither.
    #[error("it is no manifest of an image: {0}")]
    Form(#[from] serde_json::Error),
    /// Neither the fields of a manifest nor those of an index.
    #[error("it is neither a manifest nor an index of an image ({0})")]
    Kind(String),
    /// Form of Docker's first registries.
    #[error("it has schema version {0}, and 2 is read: pull and push the image by a newer engine")]
    Schema(u64),
    /// More bytes than a manifest has.
    #[error("it has {0} bytes, at most {MAX_MANIFEST} are taken")]
    Large(u64),
    /// Layer that is no tar archive, or that is kept elsewhere.
    #[error("layer {0} has the media type {1:?}, which is no layer of a container image")]
    Layer(Digest, String),
    /// Too many layers.
    #[error("the image has {0} layers, at most {MAX_LAYERS} are taken: build it with fewer steps")]
    Layers(usize),
    /// Too many platforms.
    #[error(
        "the image has {0} platforms, at most {MAX_PLATFORMS} are taken: choose some by --platform"
    )]
    Platforms(usize),
    /// A platform was asked for that the image does not have.
    #[error("the image has no platform {wanted}; it has {there}")]
    NoPlatform {
        /// Platform that was asked for.
        wanted: Wanted,
        /// Platforms that there are.
        there: String,
    },
    /// No platform is for Linux.
    #[error("the image is for no machine with linux; it has {0}")]
    NoLinux(String),
}

/// File that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Digest of the bytes as they are stored, compressed or not.
    pub digest: Digest,
    /// Number of these bytes.
    pub size: u64,
}

/// Manifest of an image for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Configuration of the image.
    pub config: Blob,
    /// Layers, the lowest first.
    pub layers: Vec<Blob>,
}

/// Entry of an index: the manifest of a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Manifest of the platform.
    pub manifest: Blob,
    /// Architecture and variant. None: the index does not say it.
    pub platform: Option<(String, String)>,
    /// Name that archives give to the entry. Empty: none.
    pub name: String,
}

/// Index over the platforms of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Manifests for Linux, without those that describe other entries.
    pub entries: Vec<Entry>,
    /// Platforms of other systems, as words.
    pub others: Vec<String>,
}

/// Manifest or index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// Image for one platform.
    Manifest(Manifest),
    /// Image for several platforms.
    Index(Index),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form {
    schema_version: u64,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default)]
    platform: Option<PlatformForm>,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct PlatformForm {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: Option<String>,
}

impl Descriptor {
    fn blob(&self) -> Blob {
        Blob { digest: self.digest, size: self.size }
    }

    fn annotation(&self, key: &str) -> Option<&String> {
        self.annotations.as_ref().and_then(|all| all.get(key))
    }
}

/// True for the media type of a layer, compressed in whatever way. How it is compressed is told by
/// its first bytes.
fn is_layer(media_type: &str) -> bool {
    let oci = media_type.strip_prefix("application/vnd.oci.image.layer.v1.tar");
    let docker = media_type.strip_prefix("application/vnd.docker.image.rootfs.diff.tar");
    oci.or(docker).is_some_and(|rest| matches!(rest, "" | "+gzip" | "+zstd" | ".gzip" | ".zstd"))
}

impl Document {
    /// Reads a manifest or an index.
    ///
    /// # Errors
    /// [`BadManifest`].
    pub fn read(bytes: &[u8]) -> Result<Self, BadManifest> {
        if bytes.len() as u64 > MAX_MANIFEST {
            return Err(BadManifest::Large(bytes.len() as u64));
        }
        let form: Form = serde_json::from_slice(bytes)?;
        if form.schema_version != 2 {
            return Err(BadManifest::Schema(form.schema_version));
        }
        let kind = form.media_type.unwrap_or_default();
        match (form.manifests, form.config, form.layers) {
            (Some(manifests), None, None) => Ok(Self::Index(index(&manifests))),
            (None, Some(config), Some(layers)) => manifest(&config, &layers).map(Self::Manifest),
            _ => Err(BadManifest::Kind(kind.chars().take(SHOWN).collect())),
        }
    }
}

fn manifest(config: &Descriptor, layers: &[Descriptor]) -> Result<Manifest, BadManifest> {
    if layers.len() > MAX_LAYERS {
        return Err(BadManifest::Layers(layers.len()));
    }
    if let Some(other) = layers.iter().find(|layer| !is_layer(&layer.media_type)) {
        let kind = other.media_type.chars().take(SHOWN).collect();
        return Err(BadManifest::Layer(other.digest, kind));
    }
    Ok(Manifest { config: config.blob(), layers: layers.iter().map(Descriptor::blob).collect() })
}

fn index(manifests: &[Descriptor]) -> Index {
    let (mut entries, mut others) = (Vec::new(), Vec::new());
    for one in manifests {
        if one.annotation(ABOUT).is_some() {
            continue;
        }
        let name = one.annotation("org.opencontainers.image.ref.name").cloned();
        let (manifest, name) = (one.blob(), name.unwrap_or_default());
        match &one.platform {
            Some(platform) if platform.os != "linux" => {
                let words = format!("{}/{}", platform.os, platform.architecture);
                others.push(words.chars().take(SHOWN).collect());
            }
            Some(platform) => {
                let variant = platform.variant.clone().unwrap_or_default();
                let platform = Some((platform.architecture.clone(), variant));
                entries.push(Entry { manifest, platform, name });
            }
            None => entries.push(Entry { manifest, platform: None, name }),
        }
    }
    Index { entries, others }
}

impl Index {
    /// Returns the entries of the wanted platforms; all of them, if none is wanted. Of several entries
    /// for one platform it is the first.
    ///
    /// # Errors
    /// [`BadManifest`] for a platform that is not there, and for too many of them.
    pub fn choose(&self, wanted: &[Wanted]) -> Result<Vec<&Entry>, BadManifest> {
        let mut chosen: Vec<&Entry> = Vec::new();
        for entry in &self.entries {
            let twice = chosen
                .iter()
                .any(|other| other.platform.is_some() && other.platform == entry.platform);
            let fits = wanted.is_empty() || wanted.iter().any(|it| it.fits_entry(entry));
            if fits && !twice {
                chosen.push(entry);
            }
        }
        for one in wanted {
            if !chosen.iter().any(|entry| one.fits_entry(entry)) {
                return Err(BadManifest::NoPlatform { wanted: one.clone(), there: self.words() });
            }
        }
        match chosen.len() {
            0 => Err(BadManifest::NoLinux(self.words())),
            1..=MAX_PLATFORMS => Ok(chosen),
            more => Err(BadManifest::Platforms(more)),
        }
    }

    /// Returns the platforms that there are.
    fn words(&self) -> String {
        let linux = self.entries.iter().filter_map(|entry| entry.platform.as_ref());
        let linux = linux.map(|(arch, variant)| match variant.as_str() {
            "" => format!("linux/{arch}"),
            variant => format!("linux/{arch}/{variant}"),
        });
        let all: Vec<String> =
            linux.chain(self.others.iter().cloned()).take(MAX_PLATFORMS).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    }
}

impl Wanted {
    /// True if an entry of an index is for this platform. One that does not say its platform may be.
    fn fits_entry(&self, entry: &Entry) -> bool {
        entry.platform.as_ref().is_none_or(|(arch, variant)| self.fits(arch, variant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(byte: u8) -> String {
        format!("sha256:{}", format!("{byte:02x}").repeat(32))
    }

    fn descriptor(kind: &str, byte: u8, more: &str) -> String {
        format!(r#"{{"mediaType":"{kind}","digest":"{}","size":{byte}{more}}}"#, hex(byte))
    }

    fn platform(arch: &str, variant: &str) -> String {
        format!(r#","platform":{{"os":"linux","architecture":"{arch}","variant":"{variant}"}}"#)
    }

    fn with_layers(kind: &str, layers: usize) -> String {
        let layers = vec![descriptor(kind, 2, ""); layers].join(",");
        let config = descriptor("application/vnd.oci.image.config.v1+json", 1, "");
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#)
    }

    fn index_of(entries: &[String]) -> Index {
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
        match Document::read(text.as_bytes()).unwrap() {
            Document::Index(index) => index,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn manifests_of_both_kinds_are_read() {
        for kind in [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.docker.image.rootfs.diff.tar",
        ] {
            let read = Document::read(with_layers(kind, 2).as_bytes()).unwrap();
            let config = Blob { digest: Digest([1; 32]), size: 1 };
            let layers = vec![Blob { digest: Digest([2; 32]), size: 2 }; 2];
            assert_eq!(read, Document::Manifest(Manifest { config, layers }), "{kind}");
        }
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let good = "application/vnd.oci.image.layer.v1.tar";
        for (text, said) in [
            (String::new(), "no manifest"),
            ("{}".into(), "no manifest"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.into(), "schema version 1"),
            (r#"{"schemaVersion":2,"mediaType":"x/y"}"#.into(), "x/y"),
            (
                with_layers("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", 1),
                "foreign",
            ),
            (with_layers("application/vnd.oci.image.layer.nondistributable.v1.tar", 1), "nondistr"),
            (with_layers("application/vnd.cncf.helm.chart.content.v1.tar+gzip", 1), "helm"),
            (with_layers(good, 129), "129 layers"),
            (format!("{}{}", with_layers(good, 1), " ".repeat(4 << 20)), "at most 4194304"),
        ] {
            let why = Document::read(text.as_bytes()).unwrap_err().to_string();
            assert!(why.contains(said), "{why}");
        }
    }

    #[test]
    fn attestations_and_other_systems_are_left_out_of_an_index() {
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let windows = r#","platform":{"os":"windows","architecture":"amd64"}"#;
        let about = r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"},"platform":{"os":"unknown","architecture":"unknown"}"#;
        let index = index_of(&[
            descriptor(kind, 1, &platform("amd64", "")),
            descriptor(kind, 2, &platform("arm", "v7")),
            descriptor(kind, 3, windows),
            descriptor(kind, 4, about),
            descriptor(kind, 5, &platform("amd64", "")),
        ]);
        let digests = |wanted: &[&str]| -> Result<Vec<u8>, String> {
            let wanted: Vec<Wanted> = wanted.iter().map(|it| it.parse().unwrap()).collect();
            let chosen = index.choose(&wanted).map_err(|why| why.to_string())?;
            Ok(chosen.iter().map(|entry| entry.manifest.digest.0[0]).collect())
        };
        assert_eq!(digests(&[]), Ok(vec![1, 2]));
        assert_eq!(digests(&["linux/arm/v7"]), Ok(vec![2]));
        assert_eq!(digests(&["arm"]), Ok(vec![2]));
        assert_eq!(digests(&["arm", "amd64"]), Ok(vec![1, 2]));
        let why = digests(&["arm64"]).unwrap_err();
        let there = "no platform linux/arm64; it has linux/amd64, linux/arm/v7";
        assert!(why.contains(there), "{why}");
        let none = index_of(&[descriptor(kind, 3, windows)]);
        assert!(none.choose(&[]).unwrap_err().to_string().contains("windows/amd64"));
        let many: Vec<String> =
            (0..33).map(|at| descriptor(kind, at, &platform(&format!("a{at}"), ""))).collect();
        assert!(matches!(index_of(&many).choose(&[]), Err(BadManifest::Platforms(33))));
    }
}
