//! Format of the agent's data folder: which folders this agent runs from.
//!
//! A folder of an older format is upgraded in place. One of a newer format is refused by the name of
//! the agent that wrote it, before anything is changed; what runs goes on meanwhile. A file that
//! older agents cannot read raises `FORMAT`.
//!
//! See decision 0159.

#![allow(clippy::disallowed_methods, reason = "an adapter: files are its trade")]

use std::io::{self, ErrorKind};
use std::path::Path;

use super::files;

/// Name of the file that holds the format.
const NAME: &str = "format";

/// Format of the folders that this agent writes. 1: from before the file existed.
const FORMAT: u32 = 2;

/// Name and version of this agent.
const AGENT: &str = concat!("holdfast-agent ", env!("CARGO_PKG_VERSION"));

/// Longest file that is read, in bytes.
const MOST: u64 = 256;

/// Reason why a data folder of a newer format is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the data folder has format {format} and was written by {agent}; this agent ({AGENT}) reads formats up to {FORMAT}: install {agent} or a newer one. Nothing was changed, and workloads go on"
)]
pub struct TooNew {
    format: u32,
    agent: String,
}

/// Checks the format of a data folder, and notes this agent's in an older one. A note that cannot be
/// written (the disk is full) hinders nothing: the next start writes it.
///
/// # Errors
/// [`TooNew`]; nothing is changed then.
pub fn check(data: &Path) -> Result<(), TooNew> {
    let path = data.join(NAME);
    let found = match files::read(&path, MOST) {
        Ok(bytes) => parse(&String::from_utf8_lossy(&bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Some((1, String::new())),
        Err(_) => None,
    };
    match found {
        Some((format, agent)) if format > FORMAT => Err(TooNew { format, agent }),
        Some((FORMAT, _)) => Ok(()),
        Some(_) | None => {
            note(&path).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "the format cannot be noted yet");
            });
            Ok(())
        }
    }
}

fn note(path: &Path) -> io::Result<()> {
    files::replace(path, format!("{FORMAT} {AGENT}\n").as_bytes(), 0o600)
}

fn parse(text: &str) -> Option<(u32, String)> {
    let (format, agent) = text.trim().split_once(' ')?;
    Some((format.parse().ok()?, agent.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_folder_is_taken_and_a_newer_one_refused_by_name() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join(NAME);
        check(scratch.path()).unwrap();
        let noted = std::fs::read_to_string(&path).unwrap();
        assert_eq!(parse(&noted), Some((FORMAT, AGENT.to_owned())));
        check(scratch.path()).unwrap();
        let newer = format!("{} holdfast-agent 9.0.0\n", FORMAT + 1);
        std::fs::write(&path, &newer).unwrap();
        let said = check(scratch.path()).unwrap_err().to_string();
        assert!(said.contains("install holdfast-agent 9.0.0 or a newer one"), "{said}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), newer);
        for nonsense in ["", "x", "\u{0}"] {
            std::fs::write(&path, nonsense).unwrap();
            check(scratch.path()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), noted);
        }
    }
}
