//! Configuration of an image: for which machine it is, and which layers it has.

use serde::Deserialize;

use holdfast_base::ids::Digest;

use crate::twin::MAX_LAYERS;

/// Largest configuration in bytes. It has a line for each layer and the image's environment.
pub const MAX_CONFIG: u64 = 4 * 1024 * 1024;

/// Most bytes of a word that an error repeats.
const SHOWN: usize = 32;

/// Reason why a configuration is not that of an image for Linux.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// The bytes are no configuration.
    #[error("it is no configuration of an image: {0}")]
    Form(#[from] serde_json::Error),
    /// Another operating system.
    #[error("the image is for {0:?}; devices run linux")]
    System(String),
    /// Layers that are not named by their digests.
    #[error("its layers are named by {0:?} and not by digests")]
    Layers(String),
    /// Too many layers.
    #[error("the image has {0} layers, at most {MAX_LAYERS} are taken: build it with fewer steps")]
    Many(usize),
    /// More bytes than a configuration has.
    #[error("the configuration has {0} bytes, at most {MAX_CONFIG} are taken")]
    Large(u64),
}

#[derive(Deserialize)]
struct Form {
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: Option<String>,
    rootfs: Root,
}

#[derive(Deserialize)]
struct Root {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

/// Configuration of an image, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Architecture, such as `amd64`.
    pub arch: String,
    /// Variant of the architecture, such as `v7`. Empty: none.
    pub variant: String,
    /// Digests of the uncompressed layers, the lowest first.
    pub layers: Vec<Digest>,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`BadConfig`].
    pub fn read(bytes: &[u8]) -> Result<Self, BadConfig> {
        if bytes.len() as u64 > MAX_CONFIG {
            return Err(BadConfig::Large(bytes.len() as u64));
        }
        let form: Form = serde_json::from_slice(bytes)?;
        let cut = |text: &str| text.chars().take(SHOWN).collect::<String>();
        if form.os != "linux" {
            return Err(BadConfig::System(cut(&form.os)));
        }
        if form.rootfs.kind != "layers" {
            return Err(BadConfig::Layers(cut(&form.rootfs.kind)));
        }
        let layers = form.rootfs.diff_ids.unwrap_or_default();
        if layers.len() > MAX_LAYERS {
            return Err(BadConfig::Many(layers.len()));
        }
        Ok(Self { arch: form.architecture, variant: form.variant.unwrap_or_default(), layers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_says_machine_and_layers() {
        let digest = Digest([7; 32]);
        let text = format!(
            r#"{{"architecture":"arm","variant":"v7","os":"linux","created":"2026-01-01T00:00:00Z",
            "config":{{"Env":["A=1"]}},"rootfs":{{"type":"layers","diff_ids":["{digest}"]}}}}"#
        );
        let config = Config::read(text.as_bytes()).unwrap();
        let (arch, variant) = ("arm".to_owned(), "v7".to_owned());
        assert_eq!(config, Config { arch, variant, layers: vec![digest] });
        let empty =
            r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":null}}"#;
        assert!(Config::read(empty.as_bytes()).unwrap().layers.is_empty(), "FROM scratch alone");
    }

    #[test]
    fn what_is_no_configuration_for_linux_is_refused() {
        let many = vec![format!("\"{}\"", Digest([7; 32])); 129].join(",");
        let many = format!(
            r#"{{"architecture":"arm","os":"linux","rootfs":{{"type":"layers","diff_ids":[{many}]}}}}"#
        );
        for (text, said) in [
            ("", "no configuration"),
            ("{}", "no configuration"),
            ("[]", "no configuration"),
            (r#"{"architecture":"amd64","os":"windows","rootfs":{"type":"layers"}}"#, "windows"),
            (r#"{"architecture":"amd64","rootfs":{"type":"layers"}}"#, "devices run linux"),
            (r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"zip"}}"#, "zip"),
            (
                r#"{"architecture":"a","os":"linux","rootfs":{"type":"layers","diff_ids":["md5:1"]}}"#,
                "no configuration",
            ),
            (many.as_str(), "129 layers"),
        ] {
            let why = Config::read(text.as_bytes()).unwrap_err().to_string();
            assert!(why.contains(said), "{text}: {why}");
        }
        let large = vec![b' '; 4 * 1024 * 1024 + 1];
        assert!(matches!(Config::read(&large), Err(BadConfig::Large(_))));
    }
}
