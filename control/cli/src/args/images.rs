//! Arguments of `image`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::format::Format;

/// Subcommands of `image`.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Push an image from an archive, from a folder or from an engine on this machine.
    #[command(after_help = "Examples:
  holdfast image push till.tar shop/till:1.4       # of `docker save`, `podman save` or an OCI archive
  holdfast image push ./layout shop/till:1.4       # a folder with an OCI layout
  holdfast image push docker://shop/till:1.4       # from the engine, under the same name
  holdfast image push podman://till:1.4 shop/till:1.4
  holdfast image push docker://till:1.4 --engine unix:///run/user/1000/docker.sock
  holdfast image push till.oci.tar shop/till:1.4 --platform linux/arm64 --platform linux/arm/v7

It prints NAME@DIGEST, by which a document can name exactly this image. Layers that the control plane
has are not sent, so a push that was cut goes on where it was. They are unpacked before: on devices a
layer is the same however it was compressed.")]
    Push(PushImage),
    /// Copy an image from another registry. The control plane itself fetches it.
    #[command(after_help = "Examples:
  holdfast image copy docker.io/nginx:1.27 web/nginx:1.27
  holdfast image copy registry.example/app:1.2              # under the same name
  pass registry | holdfast image copy registry.example/app:1.2 app:1.2 --username ci --password-stdin
  holdfast image copy registry.example/app:1.2 app:1.2 --secret registry
  holdfast image copy registry.example/app:1.2 --platform linux/arm64

A Secret document has the keys `username` and `password`. Layers that the control plane has are not
fetched, so a copy that was cut goes on where it was.")]
    Copy(CopyImageArgs),
    /// List images. `holdfast get images` is the same.
    #[command(after_help = "Examples:
  holdfast image list
  holdfast image list -o wide     # with digests and platforms")]
    List {
        /// Format of the output.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Give an image another name or another tag.
    #[command(after_help = "Examples:
  holdfast image tag shop/till:1.4 shop/till:stable
  holdfast image tag shop/till@sha256:… shop/till:1.4")]
    Tag {
        /// Image, as NAME:TAG or NAME@DIGEST.
        image: String,
        /// Further name, as NAME:TAG.
        name: String,
    },
    /// Delete a tag, and the image with its last tag.
    #[command(after_help = "Examples:
  holdfast image delete shop/till:1.3
  holdfast image delete shop/till@sha256:…         # with all of its tags
  holdfast image delete shop/till:1.3 --force      # though a workload names it

Layers that no other image and no workload names go with it.")]
    Delete {
        /// Image, as NAME:TAG or NAME@DIGEST.
        image: String,
        /// Delete it although revisions of workloads name it. What they name of its layers stays.
        #[arg(long)]
        force: bool,
    },
}

/// Image to push.
#[derive(Debug, Args)]
pub(crate) struct PushImage {
    /// Archive, folder, docker://NAME:TAG or podman://NAME:TAG.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) source: String,
    /// Name with the tag to set [default: the name in the archive, or at the engine].
    #[arg(value_name = "NAME:TAG")]
    pub(crate) name: Option<String>,
    /// Image of the archive, where it has several [default: NAME:TAG].
    #[arg(long, value_name = "NAME:TAG")]
    pub(crate) image: Option<String>,
    /// Platform to push, such as linux/arm64; may be repeated [default: all].
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub(crate) platforms: Vec<String>,
    /// Socket of the engine, unix:///PATH [default: the usual one].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) engine: Option<String>,
}

/// Image to copy.
#[derive(Debug, Args)]
pub(crate) struct CopyImageArgs {
    /// Image at the other registry, with its host: registry.example/app:1.2.
    pub(crate) from: String,
    /// Name here [default: the same, with the registry].
    #[arg(value_name = "NAME:TAG")]
    pub(crate) to: Option<String>,
    /// User at the registry.
    #[arg(long, requires = "password_stdin", conflicts_with = "secret")]
    pub(crate) username: Option<String>,
    /// Read the password or token of the user from standard input.
    #[arg(long, requires = "username")]
    pub(crate) password_stdin: bool,
    /// Secret document with the keys `username` and `password`.
    #[arg(long, value_name = "NAME")]
    pub(crate) secret: Option<String>,
    /// Platform to copy, such as linux/arm64; may be repeated [default: all].
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub(crate) platforms: Vec<String>,
    /// File with the certificates of the registry's authority (PEM) [default: those that the control
    /// plane's system trusts].
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub(crate) ca: Option<PathBuf>,
    /// Speak HTTP without TLS with the registry.
    #[arg(long)]
    pub(crate) plain_http: bool,
}
