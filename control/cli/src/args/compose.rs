//! Arguments of `apply`: documents, or Compose files.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::format::checked_selector;

pub(crate) const APPLY_HELP: &str = "Examples:
  holdfast apply -f hello.yaml
  holdfast apply -f workloads/ -f extra.json
  generate | holdfast apply -f - --dry-run     # says what would change, changes nothing
  holdfast apply --compose compose.yaml --name shop --devices all
  holdfast apply --compose compose.yaml --name shop --selector role=till --dry-run
  holdfast apply --compose compose.yaml --name shop --devices all -o yaml > shop.yaml

Of a folder the files that end in .yaml, .yml or .json are taken, in whatever case; what is skipped
(hidden files, other names, folders in it) is said on standard error. `devices: all` in a document
chooses every device.

A Compose file becomes one workload of all its services: they start in order, stop and change
together, and find each other by their names. Variables are those of this shell, then of .env beside
the file. Small texts that are bound (./nginx.conf:/etc/nginx/nginx.conf) become files of the
workload, a folder that is not there or empty becomes a volume, secrets become a Secret. Images come
from the control plane (`holdfast image push`); nothing is built. Each key that is not honoured is
named with its line: one whose loss is harmless is a warning, any other ends the import unless
--ignore-unsupported is given. With -o the documents are printed, to be kept and edited, and nothing
is applied.";

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// File (YAML with one or more documents, or JSON), folder of such files, or - for standard
    /// input; may be repeated.
    #[arg(short = 'f', long = "filename", required_unless_present = "compose", value_name = "FILE|DIR|-", value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) compose: Compose,
    /// Print what would change, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Compose files, and what they do not say themselves.
#[derive(Debug, Args)]
pub(crate) struct Compose {
    /// Compose file, or - for standard input; of several each is laid over the former ones.
    #[arg(id = "compose", long = "compose", conflicts_with = "files", value_name = "FILE|-", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Name of the workload of a Compose file [default: the file's own name].
    #[arg(long, requires = "compose", value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Devices that run a Compose file: all [default: those that run the workload already].
    #[arg(long, requires = "compose", conflicts_with = "selector", value_name = "all", value_parser = ["all"])]
    pub(crate) devices: Option<String>,
    /// Labels of the devices that run a Compose file: k=v, k!=v, k (present), !k (absent), separated
    /// by commas.
    #[arg(long, requires = "compose", value_parser = checked_selector, value_name = "LABELS")]
    pub(crate) selector: Option<String>,
    /// Profile of a Compose file whose services are imported, or * for all; may be repeated
    /// [default: those that COMPOSE_PROFILES names].
    #[arg(long = "profile", requires = "compose", value_name = "PROFILE")]
    pub(crate) profiles: Vec<String>,
    /// File of variables of a Compose file; may be repeated [default: .env beside it].
    #[arg(long, requires = "compose", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) env_file: Vec<PathBuf>,
    /// Apply what is left of a Compose file when parts of it cannot be honoured.
    #[arg(long, requires = "compose")]
    pub(crate) ignore_unsupported: bool,
    /// Print the documents of a Compose file, and apply nothing.
    #[arg(short, long, requires = "compose", conflicts_with = "dry_run", value_enum)]
    pub(crate) output: Option<ComposeFormat>,
}

/// Output format of the documents of a Compose file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ComposeFormat {
    /// YAML, one document behind another.
    Yaml,
    /// A list in JSON.
    Json,
}
