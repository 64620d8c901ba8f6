//! Importer of Compose files: text, variables and neighbouring files to documents and messages.
//!
//! A file becomes one `Workload` of all its services. Each key that is not honoured is named with its
//! line. Everything but `command` is a function of values: it reads no file, clock or environment.
//!
//! See decision 0177.

mod bind;
pub(crate) mod command;
mod context;
mod env_file;
mod environment;
mod files;
mod from;
mod health;
mod interpolate;
mod keys;
mod limits;
mod load;
mod merge;
mod mounts;
mod networks;
mod node;
mod notes;
mod order;
mod ports;
mod project;
mod quantity;
mod read;
mod rights;
mod service;
mod shell;
mod write;

#[cfg(test)]
mod shapes;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::ids::Name;
use serde_json::Value;

use self::context::{Context, Laid};
use self::load::{Loader, Neighbours, Source, Variables};
use self::node::Item;
use self::notes::{Message, Notes};

/// What is to be imported.
pub(crate) struct Asked<'a> {
    /// Compose files; each is laid over the former ones.
    pub(crate) sources: &'a [Source],
    /// Name of the workload. None: the file's `name`.
    pub(crate) name: Option<Name>,
    /// Choice of devices, as a document has it. None: it is added later.
    pub(crate) devices: Option<Value>,
    /// Profiles whose services are imported. Empty: those that `COMPOSE_PROFILES` names.
    pub(crate) profiles: Vec<String>,
    /// Variables of the shell.
    pub(crate) shell: &'a BTreeMap<String, String>,
    /// Files of variables, each before the former ones, such as `.env`.
    pub(crate) env_files: &'a [String],
    /// Files beside the first Compose file.
    pub(crate) neighbours: &'a dyn Neighbours,
}

/// Result of an import.
#[derive(Debug)]
pub(crate) struct Imported {
    /// Documents. Empty if the file is not valid.
    pub(crate) documents: Vec<Value>,
    /// Messages, by file and line.
    pub(crate) messages: Vec<Message>,
    /// Number of messages beyond those that are kept.
    pub(crate) more: usize,
}

/// Translates Compose files into documents.
pub(crate) fn import(asked: &Asked<'_>) -> Imported {
    let notes = Notes::default();
    let documents = documents(asked, &notes);
    let documents = if notes.has_faults() { Vec::new() } else { documents };
    let (messages, more) = notes.into_messages();
    Imported { documents, messages, more }
}

fn documents(asked: &Asked<'_>, notes: &Notes) -> Vec<Value> {
    let mut shell = asked.shell.clone();
    if let Some(name) = &asked.name {
        shell.insert("COMPOSE_PROJECT_NAME".into(), name.to_string());
    }
    let loader = Loader::new(notes, asked.neighbours);
    let mut variables = Variables::new(&shell);
    for path in asked.env_files.iter().rev() {
        let more = loader.env_file(path, &variables);
        variables.behind(more);
    }
    let Some(root) = loader.project(asked.sources, &variables) else { return Vec::new() };
    let folders = loader.into_folders();
    let Some(name) = asked.name.clone().or_else(|| own_name(&Item::root(&root, notes))) else {
        return Vec::new();
    };
    let lookup = |name: &str| variables.get(name);
    let context = Context {
        root: Item::root(&root, notes),
        name: &name,
        folders: &folders,
        neighbours: asked.neighbours,
        variables: &lookup,
        laid: RefCell::new(Laid::default()),
    };
    let named = || variables.get("COMPOSE_PROFILES").unwrap_or_default();
    let profiles: BTreeSet<String> = if asked.profiles.is_empty() {
        named().split(',').map(|one| one.trim().to_owned()).collect()
    } else {
        asked.profiles.iter().cloned().collect()
    };
    project::documents(&context, &profiles, asked.devices.as_ref())
}

/// Name that the file gives itself. None: a fault was noted.
fn own_name(root: &Item<'_>) -> Option<Name> {
    let Some(name) = root.fields().get("name") else {
        root.fault("no name for the workload: give --name NAME, or write name: in the file");
        return None;
    };
    name.parsed("a name of lower-case letters, digits and -, or --name NAME", |text| {
        text.parse().ok()
    })
}
