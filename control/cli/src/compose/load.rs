//! Files of a Compose project to one value: variables replaced, `include` and `extends` followed,
//! later files laid over former ones.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::env_file;
use super::interpolate;
use super::merge;
use super::node::{Entry, Item, Node, Tree};
use super::notes::{At, Level, Notes};
use super::read::{self, MAX_NODES, measure, read};
use holdfast_api::path::path_of;

/// Most files that are read for a project, those that `include` and `extends` name among them.
const MAX_FILES: usize = 64;
/// Most files that include or extend each other in a row, so that a circle ends.
const MAX_DEPTH: usize = 8;

/// File or folder beside a Compose file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// Plain file. True if it may be executed.
    File(bool),
    /// Folder, with the paths of all plain files below it, relative to it.
    Folder(Vec<String>),
    /// Neither a plain file nor a folder, such as a socket.
    Other,
    /// Nothing is there.
    Missing,
}

/// Error of reading a file beside a Compose file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoFile(pub(crate) String);

/// Files beside a Compose file. Paths are absolute, or relative to the folder of the first file.
pub(crate) trait Neighbours {
    /// Returns what is at a path. A folder with more files than `most` gives an error.
    ///
    /// # Errors
    /// [`NoFile`], with what went wrong.
    fn look(&self, path: &str, most: usize) -> Result<Look, NoFile>;

    /// Returns the bytes of a file.
    ///
    /// # Errors
    /// [`NoFile`], also if it has more than `most` bytes.
    fn read(&self, path: &str, most: usize) -> Result<Vec<u8>, NoFile>;
}

/// Text of a Compose file.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Name of the file, as the user gave it.
    pub(crate) name: String,
    /// Bytes of the file.
    pub(crate) bytes: Vec<u8>,
}

/// Variables by which texts are replaced: those of the shell before those of files.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables(Vec<BTreeMap<String, String>>);

impl Variables {
    /// Makes variables out of those of the shell.
    pub(super) fn new(shell: &BTreeMap<String, String>) -> Self {
        Self(vec![shell.clone()])
    }

    /// Adds variables that count where no former ones have the name.
    pub(super) fn behind(&mut self, more: BTreeMap<String, String>) {
        self.0.push(more);
    }

    /// Returns the value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find_map(|layer| layer.get(name)).cloned()
    }
}

/// Reading of the files of a project.
pub(super) struct Loader<'a> {
    notes: &'a Notes,
    neighbours: &'a dyn Neighbours,
    folders: RefCell<Vec<String>>,
    count: Cell<usize>,
    /// Number of values that were copied because a service extends another.
    copied: Cell<usize>,
}

impl<'a> Loader<'a> {
    /// Makes a reader of files.
    pub(super) fn new(notes: &'a Notes, neighbours: &'a dyn Neighbours) -> Self {
        Self {
            notes,
            neighbours,
            folders: RefCell::default(),
            count: Cell::new(0),
            copied: Cell::new(0),
        }
    }

    /// Returns the folder of each file by its number, relative to that of the first file.
    pub(super) fn into_folders(self) -> Vec<String> {
        self.folders.into_inner()
    }

    /// Reads the given files, each laid over the former ones.
    pub(super) fn project(&self, sources: &[Source], variables: &Variables) -> Option<Node> {
        let one = |source: &Source| self.source(source, "", variables, 0);
        let all: Vec<Option<Node>> = sources.iter().map(one).collect();
        all.into_iter().collect::<Option<Vec<_>>>()?.into_iter().reduce(merge::files)
    }

    /// Reads a file of variables, if it is there.
    pub(super) fn env_file(&self, path: &str, variables: &Variables) -> BTreeMap<String, String> {
        let Ok(bytes) = self.neighbours.read(path, env_file::MAX_BYTES) else {
            return BTreeMap::new();
        };
        let read = env_file::read(&String::from_utf8_lossy(&bytes), &|name| variables.get(name));
        match read {
            Ok(all) => all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
            Err(why) => {
                let at = At { file: self.file(path, ""), line: 1 };
                self.notes.add(Level::Fault, at, "", why.to_string());
                BTreeMap::new()
            }
        }
    }

    fn file(&self, name: &str, folder: &str) -> usize {
        self.folders.borrow_mut().push(folder.to_owned());
        self.notes.file(name)
    }

    fn source(
        &self,
        source: &Source,
        folder: &str,
        variables: &Variables,
        depth: usize,
    ) -> Option<Node> {
        let file = self.file(&source.name, folder);
        let fault = |line: usize, why: String| {
            self.notes.add(Level::Fault, At { file, line }, "", why);
            None
        };
        let Ok(text) = std::str::from_utf8(&source.bytes) else {
            return fault(1, "it is not UTF-8 text".to_owned());
        };
        let mut node = match read(text.strip_prefix('\u{feff}').unwrap_or(text), file) {
            Ok(node) => node,
            Err(why) => return fault(why.line, why.to_string()),
        };
        if !matches!(node.tree, Tree::Map(_)) {
            return fault(1, "not a Compose file: an object with services is expected".to_owned());
        }
        interpolate::in_node(&mut node, "", &|name| variables.get(name), self.notes);
        let node = self.with_extends(node, folder, variables, depth);
        Some(self.with_includes(node, folder, variables, depth))
    }

    /// Reads a file that another one names.
    fn named(
        &self,
        item: &Item<'_>,
        path: &str,
        variables: &Variables,
        depth: usize,
    ) -> Option<Node> {
        self.count.set(self.count.get() + 1);
        if depth >= MAX_DEPTH || self.count.get() > MAX_FILES {
            item.fault(format!(
                "{path} is not read: files name each other in a circle, more than {MAX_DEPTH} deep, or are more than {MAX_FILES}"
            ));
            return None;
        }
        if is_remote(path) {
            item.fault(format!("{path} is no file of this machine: get it, and name the file"));
            return None;
        }
        match self.neighbours.read(path, read::MAX_BYTES) {
            Ok(bytes) => {
                let source = Source { name: path.to_owned(), bytes };
                self.source(&source, folder_of(path), variables, depth + 1)
            }
            Err(why) => {
                item.fault(format!("{path} cannot be read: {why}"));
                None
            }
        }
    }

    fn with_includes(
        &self,
        mut node: Node,
        folder: &str,
        variables: &Variables,
        depth: usize,
    ) -> Node {
        let Tree::Map(entries) = &mut node.tree else { return node };
        let Some(index) = entries.iter().position(|entry| entry.key == "include") else {
            return node;
        };
        let include = entries.remove(index);
        let root = Node::new(node.at, Tree::Map(vec![include]));
        let root = Item::root(&root, self.notes);
        for item in root.fields().get("include").into_iter().flat_map(|item| item.list()) {
            if let Some(more) = self.included(&item, folder, variables, depth) {
                self.take_in(&mut node, more);
            }
        }
        node
    }

    /// Reads what one entry of `include` names.
    fn included(
        &self,
        item: &Item<'_>,
        folder: &str,
        variables: &Variables,
        depth: usize,
    ) -> Option<Node> {
        let (paths, env_files) = if item.node.text().is_some() {
            (vec![item.clone()], None)
        } else {
            let fields = item.fields();
            if let Some(other) = fields.get("project_directory") {
                other.unsupported("not honoured: paths are relative to the included file");
            }
            let paths = fields.get("path").map(|path| path.one_or_list()).unwrap_or_default();
            let env_files = fields.get("env_file").map(|files| files.one_or_list());
            fields.end(&[]);
            (paths, env_files)
        };
        let texts = |items: &[Item<'_>]| -> Vec<String> {
            items.iter().filter_map(|item| Some(join(folder, item.text()?))).collect()
        };
        let paths = texts(&paths);
        let beside = join(folder_of(paths.first().map_or("", String::as_str)), ".env");
        let env_files = env_files.map_or_else(|| vec![beside], |files| texts(&files));
        let mut variables = variables.clone();
        for path in env_files {
            let more = self.env_file(&path, &variables);
            variables.behind(more);
        }
        let all = paths.iter().map(|path| self.named(item, path, &variables, depth));
        all.collect::<Option<Vec<_>>>()?.into_iter().reduce(merge::files)
    }

    /// Adds what an included file has. What stands in both is a fault, as Compose has it.
    fn take_in(&self, node: &mut Node, more: Node) {
        let (Tree::Map(entries), Tree::Map(more)) = (&mut node.tree, more.tree) else { return };
        for section in more {
            if !matches!(
                section.key.as_str(),
                "services" | "volumes" | "networks" | "configs" | "secrets"
            ) {
                continue;
            }
            let Some(own) = entries.iter_mut().find(|own| own.key == section.key) else {
                entries.push(section);
                continue;
            };
            let (Tree::Map(own), Tree::Map(others)) = (&mut own.value.tree, section.value.tree)
            else {
                continue;
            };
            for other in others {
                match own.iter().find(|own| own.key == other.key) {
                    None => own.push(other),
                    Some(own) if merge::same(&own.value, &other.value) => {}
                    Some(own) => {
                        let path = path_of(&section.key, &other.key);
                        let also = self.notes.name_of(other.at);
                        let said =
                            format!("it stands in the included {also} as well: rename one of them");
                        self.notes.add(Level::Fault, own.at, &path, said);
                    }
                }
            }
        }
    }

    fn with_extends(&self, node: Node, folder: &str, variables: &Variables, depth: usize) -> Node {
        let Some(services) = node.get("services") else { return node };
        if !services.entries().iter().any(|service| service.value.get("extends").is_some()) {
            return node;
        }
        let resolved = |entry: &Entry| {
            let mut names = Vec::new();
            let value = self.extended(services, entry, folder, variables, depth, &mut names);
            Entry { value, ..entry.clone() }
        };
        let all: Vec<Entry> = services.entries().iter().map(resolved).collect();
        let tree = Tree::Map(all);
        let services = Node { tree, ..services.clone() };
        let Tree::Map(mut entries) = node.tree else { return node };
        for entry in &mut entries {
            if entry.key == "services" {
                entry.value = services.clone();
            }
        }
        Node { tree: Tree::Map(entries), ..node }
    }

    /// Lays a service over the one that it extends. `names` are the services that led here.
    fn extended(
        &self,
        services: &Node,
        entry: &Entry,
        folder: &str,
        variables: &Variables,
        depth: usize,
        names: &mut Vec<String>,
    ) -> Node {
        let mut own = entry.value.clone();
        let Tree::Map(entries) = &mut own.tree else { return own };
        let Some(index) = entries.iter().position(|entry| entry.key == "extends") else {
            return own;
        };
        let extends = entries.remove(index);
        let path = path_of(&path_of("services", &entry.key), "extends");
        let fault = |text: String| self.notes.add(Level::Fault, extends.at, &path, text);
        names.push(entry.key.clone());
        let text = |key: &str| extends.value.get(key).and_then(Node::text);
        let Some(service) = extends.value.text().or_else(|| text("service")) else {
            fault("no service: expected { service: NAME, file: FILE }".to_owned());
            return own;
        };
        let base = match text("file") {
            Some(file) => {
                let whole = Node::new(extends.at, Tree::Map(vec![extends.clone()]));
                let root = Item::root(&whole, self.notes);
                let Some(item) = root.fields().get("extends") else { return own };
                let item = item.with_path(&path);
                let Some(other) = self.named(&item, &join(folder, file), variables, depth) else {
                    return own;
                };
                // `named` has followed what the service there extends.
                other.get("services").and_then(|all| all.get(service)).cloned()
            }
            None if names.iter().any(|name| name == service) => {
                fault(format!("a circle: {service} extends itself"));
                return own;
            }
            None if names.len() > MAX_DEPTH => {
                fault(format!("more than {MAX_DEPTH} services extend each other in a row"));
                return own;
            }
            None => services
                .entry(service)
                .map(|base| self.extended(services, base, folder, variables, depth, names)),
        };
        match base {
            Some(base) => {
                self.copied.set(self.copied.get() + measure(&base).0);
                if self.copied.get() > MAX_NODES {
                    fault(format!(
                        "services that are extended have more than {MAX_NODES} values in all"
                    ));
                    return own;
                }
                merge::service(base, own)
            }
            None => {
                fault(format!("there is no service {service:?} there"));
                own
            }
        }
    }
}

/// True if a path is an address of another machine.
fn is_remote(path: &str) -> bool {
    path.contains("://") || path.starts_with("git@")
}

/// Returns the folder of a path. Empty: that of the project.
fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| if folder.is_empty() { "/" } else { folder })
}

/// Joins a path to a folder, without `.`, and without `..` where a folder stands before it.
pub(super) fn join(folder: &str, path: &str) -> String {
    if is_remote(path) {
        return path.to_owned();
    }
    let absolute = path.starts_with('/') || folder.starts_with('/');
    let folder = if path.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    if absolute { format!("/{joined}") } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined() {
        for (folder, path, joined) in [
            ("", "./a/b", "a/b"),
            ("", ".", ""),
            ("sub", "../a", "a"),
            ("sub", "../../a", "../a"),
            ("sub", "/etc/../x", "/x"),
            ("/srv", "a/./b", "/srv/a/b"),
            ("/", "../a", "/a"),
            ("..", "a", "../a"),
        ] {
            assert_eq!(join(folder, path), joined, "{folder} {path}");
        }
        assert_eq!((folder_of("a"), folder_of("a/b/c"), folder_of("/a")), ("", "a/b", "/"));
    }
}
