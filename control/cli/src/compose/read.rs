//! YAML to values with lines: anchors, aliases, merge keys and the marks of Compose, in bounds.
//!
//! See decision 0177.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::node::{Entry, Mark, Node, Tree};
use super::notes::At;

/// Largest Compose file, in bytes. Those of public projects have less than 100 KiB.
pub(super) const MAX_BYTES: usize = 1024 * 1024;
/// Most values of a file, those that aliases stand for counted as well.
pub(super) const MAX_NODES: usize = 50_000;
/// Most lists and objects within each other. The deepest place of the specification is at ten.
const MAX_DEPTH: usize = 64;

/// Text that is no YAML which a Compose file can be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(super) struct NotRead {
    /// Line, from 1.
    pub(super) line: usize,
    why: String,
}

impl NotRead {
    fn new(line: usize, why: impl Into<String>) -> Self {
        Self { line, why: why.into() }
    }
}

/// Reads the only document of a text. `file` is the number of the file.
pub(super) fn read(text: &str, file: usize) -> Result<Node, NotRead> {
    if text.len() > MAX_BYTES {
        return Err(NotRead::new(1, format!("{} bytes, at most {MAX_BYTES}", text.len())));
    }
    let options = granit_parser::options! { emit_comments: false };
    let mut builder = Builder { file, ..Builder::default() };
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| {
            NotRead::new(error.marker().line(), format!("not YAML: {}", error.info()))
        })?;
        builder.take(event, span.start.line())?;
    }
    Ok(builder.root.unwrap_or_else(|| Node::new(At { file, line: 1 }, Tree::Null)))
}

/// List or object that has not ended yet.
struct Frame {
    at: At,
    mark: Mark,
    anchor: usize,
    open: Open,
}

enum Open {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(String, At)>, merges: Vec<Node> },
}

#[derive(Default)]
struct Builder {
    file: usize,
    stack: Vec<Frame>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), NotRead> {
        let at = At { file: self.file, line };
        match event {
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(NotRead::new(line, "an alias (*name) stands within what it means"));
                };
                let (nodes, depth) = measure(&node);
                self.count(nodes, depth, line)?;
                self.put(node, line)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, 0, line)?;
                let is_key = self.wants_key();
                let mark = mark(tag.as_deref(), line)?;
                let plain = style == ScalarStyle::Plain && tag.is_none_or(|tag| tag.is_custom());
                let null =
                    plain && !is_key && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let tree = if null { Tree::Null } else { Tree::Text(text.into_owned()) };
                let node = Node { at, tree, mark };
                self.keep(anchor, &node);
                self.put(node, line)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let mark = mark(tag.as_deref(), line)?;
                self.open(Frame { at, mark, anchor, open: Open::List(Vec::new()) })
            }
            Event::MappingStart(_, anchor, tag) => {
                let mark = mark(tag.as_deref(), line)?;
                let open = Open::Map { entries: Vec::new(), key: None, merges: Vec::new() };
                self.open(Frame { at, mark, anchor, open })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(line),
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(NotRead::new(line, "a second document: a Compose file has one"))
            }
            _ => Ok(()),
        }
    }

    fn wants_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { open: Open::Map { key: None, .. }, .. }))
    }

    fn count(&mut self, nodes: usize, depth: usize, line: usize) -> Result<(), NotRead> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let why = format!(
                "more than {MAX_NODES} values, those that aliases (*name) stand for counted as well"
            );
            return Err(NotRead::new(line, why));
        }
        if self.stack.len() + depth > MAX_DEPTH {
            let why =
                format!("too deep: more than {MAX_DEPTH} lists and objects within each other");
            return Err(NotRead::new(line, why));
        }
        Ok(())
    }

    fn open(&mut self, frame: Frame) -> Result<(), NotRead> {
        self.count(1, 1, frame.at.line)?;
        if self.wants_key() {
            return Err(NotRead::new(frame.at.line, "a key is a text, not a list or an object"));
        }
        self.stack.push(frame);
        Ok(())
    }

    fn close(&mut self, line: usize) -> Result<(), NotRead> {
        let Some(Frame { at, mark, anchor, open }) = self.stack.pop() else { return Ok(()) };
        let tree = match open {
            Open::List(items) => Tree::List(items),
            Open::Map { mut entries, merges, .. } => {
                for merged in merges {
                    merge_in(&mut entries, merged)?;
                }
                Tree::Map(entries)
            }
        };
        let node = Node { at, tree, mark };
        self.keep(anchor, &node);
        self.put(node, line)
    }

    fn keep(&mut self, anchor: usize, node: &Node) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
    }

    fn put(&mut self, node: Node, line: usize) -> Result<(), NotRead> {
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut frame.open {
            Open::List(items) => items.push(node),
            Open::Map { entries, key, merges } => match key.take() {
                None => {
                    let Tree::Text(text) = node.tree else {
                        return Err(NotRead::new(line, "a key is a text, not a list or an object"));
                    };
                    *key = Some((text, node.at));
                }
                Some((name, _)) if name == "<<" => merges.push(node),
                Some((name, at)) => {
                    if entries.iter().any(|entry| entry.key == name) {
                        let why = format!("the key {name:?} stands here twice: remove one of them");
                        return Err(NotRead::new(at.line, why));
                    }
                    entries.push(Entry { key: name, at, value: node });
                }
            },
        }
        Ok(())
    }
}

/// Adds what a merge key names; keys that are there already stay.
fn merge_in(entries: &mut Vec<Entry>, merged: Node) -> Result<(), NotRead> {
    let line = merged.at.line;
    let all = match merged.tree {
        Tree::Map(more) => {
            for entry in more {
                if !entries.iter().any(|present| present.key == entry.key) {
                    entries.push(entry);
                }
            }
            return Ok(());
        }
        Tree::Null => return Ok(()),
        Tree::List(all) => all,
        Tree::Text(_) => {
            return Err(NotRead::new(line, "<< takes in an object, or a list of objects"));
        }
    };
    for one in all {
        if !matches!(one.tree, Tree::Map(_)) {
            return Err(NotRead::new(line, "<< takes in an object, or a list of objects"));
        }
        merge_in(entries, one)?;
    }
    Ok(())
}

fn mark(tag: Option<&Tag>, line: usize) -> Result<Mark, NotRead> {
    let Some(tag) = tag else { return Ok(Mark::Merged) };
    match (tag.is_yaml_core_schema(), tag.suffix()) {
        (true, "binary") => Err(NotRead::new(line, "bytes (!!binary): expected text")),
        (true, _) => Ok(Mark::Merged),
        (false, "reset") => Ok(Mark::Reset),
        (false, "override") => Ok(Mark::Override),
        (false, _) => {
            Err(NotRead::new(line, format!("the tag {} has no meaning here", tag.original())))
        }
    }
}

/// Number of values of a value, itself included, and of lists and objects within each other.
pub(super) fn measure(node: &Node) -> (usize, usize) {
    let join = |(nodes, depth): (usize, usize), child: &Node| {
        let (more, deep) = measure(child);
        (nodes + more, depth.max(deep + 1))
    };
    match &node.tree {
        Tree::Null | Tree::Text(_) => (1, 0),
        Tree::List(items) => items.iter().fold((1, 1), join),
        Tree::Map(entries) => entries.iter().map(|entry| &entry.value).fold((1, 1), join),
    }
}
