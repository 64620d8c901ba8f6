//! Backups and their restore: encrypted to recipients or by a passphrase, or not encrypted when that
//! was asked for.
//!
//! Of an encrypted backup the key of that one file is opened here and sent; identities and
//! passphrases stay on this machine. See decision 0160.

#![allow(
    clippy::disallowed_methods,
    reason = "the command line reads and writes the files it is given"
)]

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_age::{Head, With, identities};
use reqwest::Method;

use super::args;
use super::cells::read;
use super::client::Client;
use super::failure::{Exit, Failure, Outcome};
use super::text::{Output, note};
use super::transfer::{Asked, fetch, upload_of};
use holdfast_api::count::count;
use holdfast_api::{
    BACKUP_HEAD, BACKUP_KEY, BackupRequest, ENCRYPTED_BACKUP, Restored, begins_like_a_backup,
};

/// Longest file of a passphrase or of identities that is read, in bytes.
const MOST: u64 = 64 * 1024;

fn text(path: &Path) -> Outcome<String> {
    let wrong = |error: io::Error| Failure::file("read", path, error);
    let mut text = String::new();
    File::open(path).map_err(wrong)?.take(MOST).read_to_string(&mut text).map_err(wrong)?;
    Ok(text)
}

/// Reads a passphrase: the first line of a file.
fn passphrase(path: &Path) -> Outcome<String> {
    let line = text(path)?.lines().next().unwrap_or_default().to_owned();
    if line.is_empty() {
        return Err(Failure::file(
            "read",
            path,
            "its first line is empty: put the passphrase there",
        ));
    }
    Ok(line)
}

/// Writes a backup to a file, which takes its place once it is complete.
pub(crate) async fn backup(client: &Client, output: Output, wanted: &args::Backup) -> Outcome {
    let path = &wanted.file.file;
    let request = BackupRequest {
        recipients: wanted.recipient.clone(),
        passphrase: wanted.passphrase_file.as_deref().map(passphrase).transpose()?,
    };
    let (parts, body): (&[&str], _) = if wanted.unencrypted {
        note(
            "it is not encrypted: documents, names and labels can be read; keys and secrets stay sealed, and only a control plane with the same master key restores it",
        );
        (&["backup", "unencrypted"], serde_json::Value::Null)
    } else {
        let body = serde_json::to_value(&request);
        (&["backup"], body.map_err(|error| Failure::failed(error.to_string()))?)
    };
    let size = fetch(client, Asked::Post(parts, &body), path, "backing up").await?;
    output.line(&format!("backup of {size} bytes in {}", path.display()))
}

/// Replaces the control plane's state by a backup.
pub(crate) async fn restore(client: &Client, output: Output, wanted: &args::Restore) -> Outcome {
    let path = &wanted.file.file;
    let key = key_of(path, wanted)?;
    let (body, length, _) = upload_of(path, "restoring").await?;
    if !wanted.yes && io::stdin().is_terminal() && !confirmed(path)? {
        return Err(Failure {
            exit: Exit::Failed,
            message: "nothing was restored".into(),
            faults: Vec::new(),
        });
    }
    let key = key.map(|key| (BACKUP_KEY, key));
    let answer = client.upload(Method::POST, &["restore"], (body, length), key).await?;
    let restored: Restored = read(&answer)?;
    output.line(&format!(
        "restored {} and {}; the epoch is {} from now on",
        count(restored.devices, "device"),
        count(restored.workloads, "workload"),
        restored.epoch
    ))?;
    for line in &restored.notes {
        note(line);
    }
    Ok(())
}

/// Checks that a file looks like a backup, before gigabytes of it are sent, and opens the key of an
/// encrypted one, in base64.
fn key_of(path: &Path, wanted: &args::Restore) -> Outcome<Option<String>> {
    let wrong = |error: io::Error| Failure::file("read", path, error);
    let mut file = BufReader::new(File::open(path).map_err(wrong)?);
    let first = file.fill_buf().map_err(wrong)?;
    if !first.starts_with(ENCRYPTED_BACKUP.as_bytes()) {
        let mut head = Vec::new();
        file.take(BACKUP_HEAD as u64).read_to_end(&mut head).map_err(wrong)?;
        if begins_like_a_backup(&head) {
            return Ok(None);
        }
        return Err(Failure::failed(format!(
            "{} is not a backup of holdfast: `holdfast backup FILE` makes one",
            path.display()
        )));
    }
    let refused = |error: holdfast_age::AgeError| Failure::file("open", path, error);
    let head = Head::read(&mut file).map_err(refused)?;
    let with = match (&wanted.identity, &wanted.passphrase_file) {
        (Some(file), _) => {
            let all = identities(&text(file)?);
            With::Identities(all.map_err(|error| Failure::file("use", file, error))?)
        }
        (None, Some(file)) => With::Passphrase(passphrase(file)?),
        (None, None) if head.is_by_passphrase() => {
            return Err(Failure::usage(
                "the backup is encrypted by a passphrase: say --passphrase-file FILE",
            ));
        }
        (None, None) => {
            return Err(Failure::usage(
                "the backup is encrypted to a recipient: say --identity FILE",
            ));
        }
    };
    let key = head.file_key(&with).map_err(refused)?;
    Ok(Some(STANDARD.encode(key.bytes())))
}

fn confirmed(path: &Path) -> Outcome<bool> {
    let mut err = io::stderr().lock();
    let _nobody_reads = write!(
        err,
        "This replaces the control plane's whole state by {}; devices will follow it.\nGo on? [y/N] ",
        path.display()
    )
    .and_then(|()| err.flush());
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Failure::failed(format!("cannot read the answer: {error}")))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
