//! Messages about a Compose file: what is wrong, what cannot be honoured, and what became of things,
//! each with its file, its line and its path.

use std::cell::{Cell, RefCell};
use std::fmt;

/// Most messages that are kept. A person reads no more, and a hostile file could make one for each
/// of its values.
const MOST: usize = 200;

/// Place in one of the files that are read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct At {
    /// Number of the file in the order in which files were read, from 0.
    pub(super) file: usize,
    /// Line in the file, from 1.
    pub(super) line: usize,
}

/// Weight of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Something was translated in a way that is worth knowing.
    Note,
    /// Something is not honoured, and the containers work as before without it.
    Warning,
    /// Something cannot be honoured, and the containers may work otherwise without it.
    Unsupported,
    /// The file is not valid.
    Fault,
}

/// Message about a place in a Compose file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Weight of the message.
    pub(crate) level: Level,
    /// Name of the file, as the user gave it.
    pub(crate) file: String,
    /// Line in the file, from 1.
    pub(crate) line: usize,
    /// Path of the value, such as `services.web.ports[0]`. Empty: the whole file.
    pub(crate) path: String,
    /// Text of the message.
    pub(crate) text: String,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, path, text, .. } = self;
        if path.is_empty() {
            return write!(f, "{file}:{line}: {text}");
        }
        write!(f, "{file}:{line}: {path}: {text}")
    }
}

/// Collected messages, and the names of the files that they are about.
#[derive(Debug, Default)]
pub(super) struct Notes {
    files: RefCell<Vec<String>>,
    all: RefCell<Vec<Message>>,
    left_out: Cell<usize>,
}

impl Notes {
    /// Adds a file; returns its number.
    pub(super) fn file(&self, name: &str) -> usize {
        let mut files = self.files.borrow_mut();
        files.push(name.to_owned());
        files.len() - 1
    }

    /// Returns the name of a file.
    pub(super) fn name_of(&self, at: At) -> String {
        self.files.borrow().get(at.file).cloned().unwrap_or_default()
    }

    /// Adds a message, unless the same one stands there already or there are too many.
    pub(super) fn add(&self, level: Level, at: At, path: &str, text: impl Into<String>) {
        let (file, path, text) = (self.name_of(at), path.to_owned(), text.into());
        let message = Message { level, file, line: at.line, path, text };
        let mut all = self.all.borrow_mut();
        if all.contains(&message) {
            return;
        }
        if all.len() >= MOST {
            self.left_out.set(self.left_out.get() + 1);
            return;
        }
        all.push(message);
    }

    /// True if the file is not valid so far.
    pub(super) fn has_faults(&self) -> bool {
        self.all.borrow().iter().any(|message| message.level == Level::Fault)
    }

    /// Returns the messages in the order of files and lines, and how many more there were.
    pub(super) fn into_messages(self) -> (Vec<Message>, usize) {
        let files = self.files.into_inner();
        let mut all = self.all.into_inner();
        let number = |message: &Message| files.iter().position(|file| *file == message.file);
        all.sort_by_key(|message| (number(message), message.line));
        (all, self.left_out.get())
    }
}
