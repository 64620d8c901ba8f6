//! Reasons why an image is not copied from another registry, as sentences for people.

use holdfast_base::ids::Digest;
use holdfast_oci::{BadConfig, BadManifest, BadReference, NotUnpacked};

use crate::core::alarms::NotDelivered;
use crate::service::Failure;

/// Reason why an image is not copied.
#[derive(Debug, thiserror::Error)]
pub enum NotCopied {
    /// The name says no registry.
    #[error(
        "{0} names no registry: write it in front, such as registry.example/{0}, or docker.io/{0}"
    )]
    NoRegistry(String),
    /// The text names no image.
    #[error(transparent)]
    Reference(#[from] BadReference),
    /// The registry wants credentials and has none, or they are wrong.
    #[error("{}", refused(.registry, *.given, .status))]
    Credentials {
        /// Host of the registry.
        registry: String,
        /// True if there were credentials.
        given: bool,
        /// Status of the response.
        status: u16,
    },
    /// The registry asks for a kind of proof that is not known here.
    #[error("{0} asks for a kind of login that is not known here ({1}): Basic and Bearer are")]
    Login(String, String),
    /// There is no such image, or nothing that these credentials may see.
    #[error("{0} has no {1} that these credentials may see")]
    NotThere(String, String),
    /// The registry wants fewer requests.
    #[error("{0} asks to wait (status 429): it allows no more requests for now")]
    TooMany(String),
    /// Any other status.
    #[error("{registry} answers {what} with status {status}{said}")]
    Status {
        /// Host of the registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// Status of the response.
        status: u16,
        /// Beginning of its body, with the punctuation before it.
        said: String,
    },
    /// The registry cannot be reached, or the connection was cut again and again.
    #[error("{0}")]
    Unreached(String),
    /// The certificates or TLS cannot be used.
    #[error("{0}")]
    Tls(#[from] NotDelivered),
    /// A response leads somewhere that is not followed.
    #[error("{0} leads to {1}, which is not followed: {2}")]
    Redirect(String, String, &'static str),
    /// A document is larger than it may be.
    #[error("{0} of {1} is larger than {2} bytes")]
    Large(String, String, u64),
    /// Bytes that are not those of their digest.
    #[error("{registry} sent other bytes than those of {wanted}: their digest is {found}")]
    Lie {
        /// Host of the registry.
        registry: String,
        /// Digest that was asked for.
        wanted: Digest,
        /// Digest of what came.
        found: Digest,
    },
    /// A layer that is not the one that the configuration names.
    #[error(
        "layer {layer} unpacks to {found}, but the configuration of the image names {wanted}: the image is damaged"
    )]
    OtherLayer {
        /// Digest of the packed layer.
        layer: Digest,
        /// Digest that the configuration names.
        wanted: Digest,
        /// Digest of what was unpacked.
        found: Digest,
    },
    /// Layers of manifest and configuration differ in number.
    #[error("the manifest has {0} layers and the configuration {1}: the image is damaged")]
    Count(usize, usize),
    /// A layer that is not unpacked.
    #[error("layer {0}: {1}")]
    Layer(Digest, #[source] NotUnpacked),
    /// A manifest that is not taken.
    #[error("manifest of {0}: {1}")]
    Manifest(String, #[source] BadManifest),
    /// A configuration that is not taken.
    #[error("configuration of {0}: {1}")]
    Config(String, #[source] BadConfig),
    /// The control plane refuses or fails.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The control plane's disk.
    #[error("the control plane's disk: {0}")]
    Disk(#[from] std::io::Error),
}

fn refused(registry: &str, given: bool, status: &u16) -> String {
    match given {
        true => format!(
            "credentials refused by {registry} (status {status}): is the password right, and may this user read the image?"
        ),
        false => format!(
            "{registry} asks for credentials (status {status}): give a user and a password, or a Secret with the keys username and password"
        ),
    }
}
