//! `apply --compose`: reads the files that an import asks for, prints its messages, and hands its
//! documents on.

#![allow(
    clippy::disallowed_methods,
    reason = "the command line reads the files and the environment that it is given"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use holdfast_api::count::count;
use holdfast_api::selector::{self, ALL};
use reqwest::Method;
use serde_json::{Value, json};

use super::load::{Look, Neighbours, NoFile, Source};
use super::notes::Level;
use super::read::MAX_BYTES;
use super::{Asked, Imported, import, write};
use crate::args::{Compose, ComposeFormat};
use crate::client::Client;
use crate::documents::Document;
use crate::failure::{Exit, Failure, Outcome};
use crate::text::{Output, note};

/// Deepest folder within a folder that is bound.
const MAX_DEPTH: usize = 16;

/// Imports Compose files; returns the documents. A file that is not valid, and one that cannot be
/// honoured, is a failure with all faults at once.
pub(crate) fn imported(wanted: &Compose) -> Outcome<Vec<Value>> {
    let sources: Vec<Source> =
        wanted.files.iter().map(|path| source(path)).collect::<Outcome<_>>()?;
    let first = wanted.files.first().map(PathBuf::as_path).unwrap_or(Path::new("-"));
    let folder = match first.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    // Paths of `--env-file` are those of the shell, not of the Compose file.
    let absolute =
        |path: &PathBuf| std::path::absolute(path).ok().map(|path| path.display().to_string());
    let env_files: Vec<String> = if wanted.env_file.is_empty() {
        vec![".env".to_owned()]
    } else {
        for path in &wanted.env_file {
            fs::metadata(path).map_err(|error| Failure::file("read", path, error))?;
        }
        wanted.env_file.iter().filter_map(absolute).collect()
    };
    let name = wanted.name.as_ref().map(|name| name.parse()).transpose().map_err(|_| {
        Failure::usage("--name: a name has lower-case letters, digits and -, at most 63, and begins and ends with a letter or digit")
    })?;
    let asked = Asked {
        sources: &sources,
        name,
        devices: devices(wanted)?,
        profiles: wanted.profiles.clone(),
        shell: &std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect::<BTreeMap<_, _>>(),
        env_files: &env_files,
        neighbours: &Folder(folder),
    };
    said(import(&asked), wanted)
}

/// Returns the choice of devices as a document has it. None: none was given.
fn devices(wanted: &Compose) -> Outcome<Option<Value>> {
    if wanted.devices.is_some() {
        return Ok(Some(json!(ALL)));
    }
    let Some(text) = &wanted.selector else { return Ok(None) };
    let parsed =
        selector::parse(text).map_err(|why| Failure::usage(format!("--selector: {why}")))?;
    Ok(Some(serde_json::to_value(parsed).unwrap_or_default()))
}

/// Prints the messages of an import; returns its documents.
fn said(imported: Imported, wanted: &Compose) -> Outcome<Vec<Value>> {
    let mut faults = Vec::new();
    let all = imported.messages.iter();
    let invalid = all.filter(|message| message.level == Level::Fault).count();
    for message in &imported.messages {
        match message.level {
            // What became of things is of no use while nothing becomes of them.
            Level::Note if invalid > 0 => {}
            Level::Note => note(&format!("note: {message}")),
            Level::Warning => note(&format!("warning: {message}")),
            Level::Unsupported if wanted.ignore_unsupported => note(&format!("warning: {message}")),
            Level::Unsupported | Level::Fault => faults.push(message.to_string()),
        }
    }
    if imported.more > 0 {
        note(&format!("note: {} more messages are not shown", imported.more));
    }
    if faults.is_empty() {
        return Ok(imported.documents);
    }
    let of = |number: usize, word: &str| count(u64::try_from(number).unwrap_or(u64::MAX), word);
    let said = match (invalid, faults.len() - invalid) {
        (0, unsupported) => format!(
            "{} of the Compose file cannot be honoured, and nothing was applied; --ignore-unsupported applies the rest",
            of(unsupported, "part")
        ),
        (invalid, 0) => {
            format!("{} in the Compose file, and nothing was applied", of(invalid, "fault"))
        }
        (invalid, unsupported) => format!(
            "{} in the Compose file and {} that cannot be honoured; nothing was applied",
            of(invalid, "fault"),
            of(unsupported, "part")
        ),
    };
    Err(Failure { exit: Exit::Failed, message: said, faults })
}

/// Prints documents as they would be applied.
pub(crate) fn print(output: Output, documents: &[Value], format: ComposeFormat) -> Outcome {
    let secrets =
        documents.iter().filter(|document| document.get("kind") == Some(&json!("Secret")));
    if secrets.count() > 0 {
        note(
            "warning: the output holds the values of secrets as readable text; holdfast apply seals them",
        );
    }
    match format {
        ComposeFormat::Yaml => output.bytes(write::yaml(documents)?.as_bytes()),
        ComposeFormat::Json => {
            let text = serde_json::to_string_pretty(documents);
            output.line(
                &text.map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?,
            )
        }
    }
}

/// Adds the choice of devices of the present workload where none was given.
pub(crate) async fn with_devices(
    client: &Client,
    mut documents: Vec<Value>,
) -> Outcome<Vec<Value>> {
    for document in &mut documents {
        let is_workload = document.get("kind") == Some(&json!("Workload"));
        if !is_workload || document.pointer("/spec/devices").is_some() {
            continue;
        }
        let name = document
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let present = client.send(Method::GET, &["workloads", &name], &[], &Value::Null).await;
        let present = match present {
            Ok(present) => present,
            Err(failure) if failure.exit == Exit::NotFound => return Err(chosen(Some(&name))),
            Err(failure) => return Err(failure),
        };
        let Some(devices) = present.pointer("/spec/devices") else {
            return Err(chosen(Some(&name)));
        };
        if let Some(spec) = document.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("devices".into(), devices.clone());
        }
    }
    Ok(documents)
}

/// Failure of an import that does not say which devices run the workload. `name` is that of a
/// workload that was looked for and is not there.
pub(crate) fn chosen(name: Option<&str>) -> Failure {
    let looked =
        name.map(|name| format!(", and there is no workload {name} yet")).unwrap_or_default();
    Failure::usage(format!(
        "a Compose file does not say which devices run it{looked}: give --devices all, or --selector such as role=gateway"
    ))
}

/// Returns documents in the form in which others are applied.
pub(crate) fn as_read(documents: Vec<Value>) -> Vec<Document> {
    documents.into_iter().map(|document| Document::of("compose", document)).collect()
}

fn source(path: &Path) -> Outcome<Source> {
    let name = path.display().to_string();
    let bytes = if path.as_os_str() == "-" {
        bounded(std::io::stdin().lock(), MAX_BYTES)
    } else if path.is_dir() {
        return Err(Failure::file("read", path, "it is a folder: name the file in it"));
    } else {
        fs::File::open(path).map_err(NoFile::of).and_then(|file| bounded(file, MAX_BYTES))
    };
    let bytes = bytes.map_err(|error| Failure::file("read", path, error))?;
    Ok(Source { name, bytes })
}

impl NoFile {
    fn of(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Reads at most so many bytes.
fn bounded(from: impl std::io::Read, most: usize) -> Result<Vec<u8>, NoFile> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    from.take(limit).read_to_end(&mut bytes).map_err(NoFile::of)?;
    if bytes.len() > most {
        return Err(NoFile(format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

/// Folder of the first Compose file.
pub(super) struct Folder(pub(super) PathBuf);

impl Neighbours for Folder {
    fn look(&self, path: &str, most: usize) -> Result<Look, NoFile> {
        let path = self.0.join(path);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Look::Missing),
            Err(error) => return Err(NoFile::of(error)),
        };
        if metadata.is_file() {
            return Ok(Look::File(metadata.permissions().mode() & 0o111 != 0));
        }
        if !metadata.is_dir() {
            return Ok(Look::Other);
        }
        let mut files = Vec::new();
        walk(&path, "", most, 0, &mut files)?;
        files.sort();
        Ok(Look::Folder(files))
    }

    fn read(&self, path: &str, most: usize) -> Result<Vec<u8>, NoFile> {
        let path = self.0.join(path);
        // A pipe would be waited for.
        if !fs::metadata(&path).map_err(NoFile::of)?.is_file() {
            return Err(NoFile("it is no plain file".to_owned()));
        }
        bounded(fs::File::open(path).map_err(NoFile::of)?, most)
    }
}

/// Collects the paths of the plain files below a folder.
fn walk(
    folder: &Path,
    prefix: &str,
    most: usize,
    depth: usize,
    files: &mut Vec<String>,
) -> Result<(), NoFile> {
    if depth > MAX_DEPTH {
        return Err(NoFile(format!("more than {MAX_DEPTH} folders within each other")));
    }
    for entry in fs::read_dir(folder).map_err(NoFile::of)? {
        let entry = entry.map_err(NoFile::of)?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(NoFile("the name of a file in it is not UTF-8 text".to_owned()));
        };
        let below = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let metadata = fs::metadata(entry.path()).map_err(NoFile::of)?;
        if metadata.is_dir() {
            walk(&entry.path(), &below, most, depth + 1, files)?;
        } else if metadata.is_file() {
            files.push(below);
        } else {
            return Err(NoFile(format!("{below} is neither a plain file nor a folder")));
        }
        if files.len() > most {
            return Err(NoFile(format!("it has more than {most} files")));
        }
    }
    Ok(())
}
