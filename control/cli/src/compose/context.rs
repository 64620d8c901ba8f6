//! What the parts of the translation share: the file, what lies beside it, and what is laid into the
//! workload's folder.

use std::cell::RefCell;
use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use serde_json::{Map, Value};

use super::interpolate::Lookup;
use super::load::Neighbours;
use super::node::Item;
use super::notes::At;

/// Most bytes of all files of a workload, and most of such files, as the control plane takes them.
pub(super) const MAX_CONFIG: usize = 128 * 1024;
/// Most files of a workload, as the control plane takes them.
pub(super) const MAX_FILES: usize = 256;

/// Everything that a part of the translation may look at.
pub(super) struct Context<'a> {
    /// Whole file.
    pub(super) root: Item<'a>,
    /// Name of the workload.
    pub(super) name: &'a Name,
    /// Folder of each file by its number, relative to that of the first.
    pub(super) folders: &'a [String],
    /// Files beside the Compose file.
    pub(super) neighbours: &'a dyn Neighbours,
    /// Variables of the shell and of `.env`.
    pub(super) variables: &'a Lookup<'a>,
    /// Files of the workload.
    pub(super) laid: RefCell<Laid>,
}

/// Files of the workload's folder, and the secrets among them.
#[derive(Debug, Default)]
pub(super) struct Laid {
    /// Texts by their paths (`spec.config`).
    pub(super) config: BTreeMap<String, String>,
    /// Files with values of the secret (`spec.files`), path to key.
    pub(super) files: BTreeMap<String, String>,
    /// Values of the secret by their keys.
    pub(super) secret: Map<String, Value>,
    /// True once it was said that the files are too large.
    full: bool,
}

impl Laid {
    /// True once there are too many or too large files, and no further one is to be read.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Lays a text at a path. Says once at `item` if there are too many or too large ones.
    pub(super) fn lay(&mut self, item: &Item<'_>, path: String, text: String) {
        self.config.insert(path, text);
        let bytes: usize = self.config.values().map(String::len).sum();
        if (bytes > MAX_CONFIG || self.config.len() > MAX_FILES) && !self.full {
            self.full = true;
            item.fault(format!(
                "with it the files of this workload have {bytes} bytes in {} files; {MAX_CONFIG} and {MAX_FILES} are the most: put them into the image, or on the device",
                self.config.len()
            ));
        }
    }
}

impl<'a> Context<'a> {
    /// Returns the folder of the file in which something stands.
    pub(super) fn folder(&self, at: At) -> &str {
        self.folders.get(at.file).map_or("", String::as_str)
    }

    /// Returns an entry of one of the top-level objects, such as `volumes`. None: there is none.
    /// The inner option is none for an entry without a value.
    pub(super) fn defined(&self, section: &str, name: &str) -> Option<Item<'a>> {
        let section = self.root.fields().get(section)?;
        section.entries().into_iter().find(|(key, _)| *key == name).map(|(_, item)| item)
    }
}
