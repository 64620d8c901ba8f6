//! Arguments of `audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Check that the audit log is whole and that nobody rewrote it.
    #[command(after_help = "Examples:
  holdfast audit verify                       # the chain and the signed checkpoints
  holdfast audit verify --witness             # and what the connected devices saw of it
  holdfast audit verify --file audit.ndjson   # an export, without a control plane
  holdfast audit verify --file audit.ndjson --key KEY   # signed by this key, and no other

Whoever owns the control plane's disk and its signing key can rewrite the log so that its chain
holds: the devices then still know it as it was. Exit codes: 0 whole, 14 not whole (the first wrong
entry is named), 15 whole but no device vouches for it (with --witness), 1 it could not be checked.")]
    Verify(VerifyAudit),
    /// Write the whole audit log with its hashes to a file, as JSON lines.
    #[command(after_help = "Examples:
  holdfast audit export -f audit.ndjson
  holdfast audit export | gzip > audit.ndjson.gz

The first line has the signed checkpoints, each further one an entry. The export is an entry of the
log itself, which comes after it.")]
    Export(ExportAudit),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyAudit {
    /// Ask the connected devices for the checkpoints that they keep.
    #[arg(long, conflicts_with = "file")]
    pub(crate) witness: bool,
    /// Check this export instead of the control plane's log.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Public key, in base64, that must have signed the checkpoints of the file. Without it, that
    /// of the file's first line.
    #[arg(long, value_name = "KEY", requires = "file")]
    pub(crate) key: Option<String>,
    /// Format of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: VerifyFormat,
}

/// Output format of `audit verify`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyFormat {
    /// Sentences for people.
    #[default]
    Text,
    /// Stable JSON for programs.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ExportAudit {
    /// File to write; it must not exist. Without it, standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}
