//! Arguments of `secret`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::format::Format;

/// Subcommands of `secret`.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Create a secret.
    #[command(after_help = "Examples:
  holdfast secret create database --generate password:40 --from-literal user=app
  holdfast secret create tls --from-file tls.key=server.key --from-file tls.crt=server.crt
  pass show database | holdfast secret create database --from-file password=-

What stands behind --from-literal is in the shell's history and in the process list. Nobody can read
a value back, not even an admin.")]
    Create(Create),
    /// Give a secret new values; devices that use them get them.
    #[command(after_help = "Examples:
  holdfast secret rotate database                # every value of it that was generated
  holdfast secret rotate database password
  pass show database | holdfast secret rotate database --from-file user=-

Workloads that use a value restart, or get the signal of their spec.onSecretChange.
`holdfast describe secret NAME` says which devices have which value.")]
    Rotate(Rotate),
    /// List secrets, without their values.
    #[command(after_help = "Examples:
  holdfast secret list
  holdfast secret list -o yaml        # digests, lengths and times instead of values")]
    List(List),
}

/// Values that are given.
#[derive(Debug, Clone, Args)]
pub(crate) struct Values {
    /// Value of a key, as it stands here.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) from_literal: Vec<String>,
    /// Content of a file as the value of a key; `-` is the standard input.
    #[arg(long, value_name = "KEY=FILE")]
    pub(crate) from_file: Vec<String>,
}

/// Secret that is created.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Name of the secret.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) values: Values,
    /// Key whose value is generated, with its length in characters (8 to 4096, usually 32).
    #[arg(long, value_name = "KEY[:LENGTH]")]
    pub(crate) generate: Vec<String>,
}

/// Secret whose values change.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Name of the secret.
    pub(crate) name: String,
    /// Keys whose values are generated anew [default: all that were generated].
    pub(crate) keys: Vec<String>,
    #[command(flatten)]
    pub(crate) values: Values,
}

/// List of secrets.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Format of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// Returns key and rest of `KEY=REST`. None: there is no `=`, or no key.
pub(crate) fn divided(text: &str) -> Option<(&str, &str)> {
    text.split_once('=').filter(|(key, _)| !key.is_empty())
}

/// Returns key and length of `KEY[:LENGTH]`. None: the length is no number.
pub(crate) fn generated(text: &str) -> Option<(&str, Option<u32>)> {
    match text.split_once(':') {
        None => Some((text, None)),
        Some((key, length)) => Some((key, Some(length.parse().ok()?))),
    }
}

/// Returns the path of a file. None: it is the standard input.
pub(crate) fn path(text: &str) -> Option<PathBuf> {
    (text != "-").then(|| PathBuf::from(text))
}
