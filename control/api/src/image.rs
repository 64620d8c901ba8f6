//! Documents of images.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Image of a repository, as lists have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageSummary {
    /// Name of the repository, such as `shop/till`.
    pub name: String,
    /// Identity of the image: digest of its manifest or index over uncompressed layers.
    pub digest: String,
    /// Tags of the image in this repository.
    pub tags: Vec<String>,
    /// Platforms of the image, such as `linux/arm64`.
    pub platforms: Vec<String>,
    /// Size of configurations and uncompressed layers in bytes; what several platforms share counts
    /// once.
    pub size: u64,
    /// Size in bytes of the files that no other image of the tenant has.
    pub own_size: u64,
    /// Number of workloads of which a stored revision names the image.
    pub workloads: u64,
    /// Reference that it was copied from. Absent: it was pushed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub copied_from: String,
    /// Time of the last push into this repository.
    pub pushed_at: String,
}

/// Layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageLayer {
    /// Digest of the uncompressed layer, which is an artifact.
    pub digest: String,
    /// Size in bytes.
    pub size: u64,
    /// Other images that have this layer, at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared_with: Vec<String>,
}

/// Content of an image for one kind of machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImagePlatform {
    /// Kind of machine, such as `linux/arm/v7`.
    pub platform: String,
    /// Digest of the manifest of this platform.
    pub digest: String,
    /// Digest of the configuration, which is an artifact. It is the image's id at most engines.
    pub config: String,
    /// Uncompressed layers, the lowest first.
    pub layers: Vec<ImageLayer>,
}

/// Image of a repository with its layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Name of the repository, such as `shop/till`.
    pub name: String,
    /// Identity of the image: digest of its manifest or index over uncompressed layers.
    pub digest: String,
    /// Tags of the image in this repository.
    pub tags: Vec<String>,
    /// Content for each platform.
    pub platforms: Vec<ImagePlatform>,
    /// Size of configurations and uncompressed layers in bytes; what several platforms share counts
    /// once.
    pub size: u64,
    /// Size in bytes of the files that no other image of the tenant has.
    pub own_size: u64,
    /// Workloads of which a stored revision names the image.
    pub workloads: Vec<String>,
    /// Digests of the manifests or indexes that it was pushed or copied as. `NAME@DIGEST` with one of
    /// them means this image.
    pub sources: Vec<String>,
    /// Reference that it was copied from. Absent: it was pushed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub copied_from: String,
    /// Time of the last push into this repository.
    pub pushed_at: String,
}

/// Content of a pushed image for one kind of machine. The files are pushed as artifacts before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PushedPlatform {
    /// Digest of the configuration. It says for which machine the content is.
    pub config: String,
    /// Digests of the uncompressed layers, the lowest first: the `diff_ids` of the configuration.
    #[serde(default)]
    pub layers: Vec<String>,
}

/// Body of `PUT /api/v1/images`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PushedImage {
    /// Name with the tag to set, such as `shop/till:1.4`.
    pub name: String,
    /// Content for each platform, at least one.
    pub platforms: Vec<PushedPlatform>,
    /// Digests of the manifests or indexes that the image comes from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
}

/// Body of `POST /api/v1/images/{reference}/tag`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TagImage {
    /// Further name of the image, such as `shop/till:stable`.
    pub name: String,
}

/// What became of `DELETE /api/v1/images/{reference}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletedImage {
    /// Tags that are gone.
    pub tags: Vec<String>,
    /// True if the image is gone; false if it has other tags.
    pub image: bool,
    /// Number of files that nothing needed any more and that are deleted.
    pub files: u64,
    /// Size of these files in bytes.
    pub bytes: u64,
}

/// Body of `POST /api/v1/images/copy`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CopyImage {
    /// Image of another registry, such as `registry.example/app:1.2`.
    pub from: String,
    /// Name that it gets here. Absent: the name that it has there, with the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Platforms to copy, such as `linux/arm64`. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// User at the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password or token of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Name of a `Secret` document with the keys `username` and `password`, in place of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Certificates of the registry's authority as PEM. Absent: those that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// True if the registry speaks HTTP without TLS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain_http: bool,
}

impl std::fmt::Debug for CopyImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyImage").field("from", &self.from).finish_non_exhaustive()
    }
}

/// Progress of a copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CopyProgress {
    /// Number of files that are here.
    pub files: u64,
    /// Number of files of the image.
    pub of: u64,
    /// Bytes that came from the registry.
    pub bytes: u64,
    /// Bytes that are to come from it in all; files that were here before do not count.
    pub of_bytes: u64,
}

/// One line of the streamed response to a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum CopyLine {
    /// Progress so far.
    Progress(CopyProgress),
    /// Image that is here now, the last line.
    Result(Box<Image>),
    /// Reason why the image is not here, the last line. What was copied stays, and the next copy goes
    /// on from there.
    Failed(String),
}
