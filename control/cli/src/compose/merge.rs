//! Merging of Compose files: a later file over a former one, and a service over the one that it
//! extends.

use super::node::{Entry, Mark, Node, Tree};

/// Lays one file over another.
pub(super) fn files(base: Node, over: Node) -> Node {
    objects(base, over, &|key, base, over| match key {
        "services" => objects(base, over, &|_, base, over| service(base, over)),
        _ => deep(key, base, over),
    })
}

/// Lays a service over another.
pub(super) fn service(base: Node, over: Node) -> Node {
    objects(base, over, &|key, base, over| match key {
        "command" | "entrypoint" => over,
        "environment" | "labels" | "annotations" | "sysctls" => {
            deep(key, as_object(base, &['=']), as_object(over, &['=']))
        }
        "extra_hosts" => deep(key, as_object(base, &['=', ':']), as_object(over, &['=', ':'])),
        "depends_on" | "networks" => deep(key, as_object(base, &[]), as_object(over, &[])),
        "volumes" | "devices" | "configs" | "secrets" => by_target(base, over),
        "tmpfs" | "dns" | "dns_search" | "env_file" => deep(key, as_list(base), as_list(over)),
        _ => deep(key, base, over),
    })
}

/// Merges two objects, with `both` for keys that both have.
fn objects(base: Node, over: Node, both: &dyn Fn(&str, Node, Node) -> Node) -> Node {
    if over.mark == Mark::Override {
        return Node { mark: Mark::Merged, ..over };
    }
    let (mut entries, more) = match (base.tree, over.tree) {
        (Tree::Map(entries), Tree::Map(more)) => (entries, more),
        (tree @ Tree::Map(_), Tree::Null) => return Node { tree, ..over },
        (_, tree) => return Node { tree, ..over },
    };
    for entry in more {
        let found = entries.iter().position(|present| present.key == entry.key);
        if entry.value.mark == Mark::Reset {
            entries.retain(|present| present.key != entry.key);
            continue;
        }
        let Some(found) = found else {
            entries.push(entry);
            continue;
        };
        let present = entries.remove(found);
        let value = if entry.value.mark == Mark::Override {
            Node { mark: Mark::Merged, ..entry.value }
        } else {
            both(&entry.key, present.value, entry.value)
        };
        entries.insert(found, Entry { value, ..entry });
    }
    Node { tree: Tree::Map(entries), ..over }
}

/// Merges objects key by key and joins lists; otherwise the later value holds.
fn deep(key: &str, base: Node, over: Node) -> Node {
    let at = over.at;
    match (base.tree, over.tree) {
        // A command is one thing, though it is a list.
        (_, tree) if key == "test" => Node::new(at, tree),
        (base @ Tree::Map(_), over @ Tree::Map(_)) => {
            objects(Node::new(at, base), Node::new(at, over), &deep)
        }
        (Tree::List(mut items), Tree::List(more)) => {
            for item in more {
                if !items.iter().any(|present| same(present, &item)) {
                    items.push(item);
                }
            }
            Node::new(at, Tree::List(items))
        }
        (base, Tree::Null) => Node::new(at, base),
        (_, over) => Node::new(at, over),
    }
}

/// True if two values are the same, wherever they stand.
pub(super) fn same(one: &Node, other: &Node) -> bool {
    match (&one.tree, &other.tree) {
        (Tree::List(ones), Tree::List(others)) => {
            ones.len() == others.len()
                && ones.iter().zip(others).all(|(one, other)| same(one, other))
        }
        (Tree::Map(ones), Tree::Map(others)) => {
            let pairs = ones.iter().zip(others);
            ones.len() == others.len()
                && pairs.clone().all(|(one, other)| one.key == other.key)
                && pairs.clone().all(|(one, other)| same(&one.value, &other.value))
        }
        (one, other) => one == other,
    }
}

/// Turns a list of texts into an object; `ends` divide key and value.
fn as_object(node: Node, ends: &[char]) -> Node {
    let Tree::List(items) = node.tree else { return node };
    let entry = |item: Node| {
        let text = item.text()?;
        let (key, value) = match text.split_once(ends) {
            Some((key, value)) if !ends.is_empty() => (key, Tree::Text(value.to_owned())),
            _ => (text, Tree::Null),
        };
        Some(Entry { key: key.to_owned(), at: item.at, value: Node::new(item.at, value) })
    };
    let mut entries: Vec<Entry> = Vec::new();
    for entry in items.into_iter().filter_map(entry) {
        entries.retain(|present| present.key != entry.key);
        entries.push(entry);
    }
    Node { tree: Tree::Map(entries), ..node }
}

fn as_list(node: Node) -> Node {
    match node.tree {
        Tree::Text(_) => Node::new(node.at, Tree::List(vec![node])),
        _ => node,
    }
}

/// Joins lists of which each item has a place in the container: of two for the same place the later
/// holds.
fn by_target(base: Node, over: Node) -> Node {
    let at = over.at;
    let (Tree::List(mut items), Tree::List(more)) = (base.tree, over.tree.clone()) else {
        return over;
    };
    for item in more {
        let target = target(&item);
        items.retain(|present| target.is_none() || self::target(present) != target);
        items.push(item);
    }
    Node::new(at, Tree::List(items))
}

/// Returns the place in the container of a volume, device, configuration or secret.
fn target(item: &Node) -> Option<String> {
    let named = |key: &str| item.get(key).and_then(Node::text).map(ToOwned::to_owned);
    match item.text() {
        Some(text) => {
            let mut parts = text.split(':');
            let first = parts.next();
            parts.next().or(first).map(ToOwned::to_owned)
        }
        None => named("target").or_else(|| named("source")),
    }
}
