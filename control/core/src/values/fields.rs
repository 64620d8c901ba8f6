//! Fields of a data record's value with their paths, for tables and time series.

use super::tree::Tree;

/// Longest path of a field, in bytes.
const MAX_PATH: usize = 128;

/// Most levels of objects that are visited.
const MAX_DEPTH: usize = 6;

impl Tree {
    /// Visits every value that is not an object, with its path: names joined by `.`. False: fields
    /// beyond the depth or the length of a path were left out.
    ///
    /// A name that is empty or contains `.` or a backquote stands in backquotes, as in queries:
    /// `{"a.b":1}` has the path `` `a.b` ``, and `{"a":{"b":1}}` has `a.b`. If the value itself is
    /// not an object, its path is empty.
    pub fn fields(&self, leaf: &mut dyn FnMut(&str, &Self)) -> bool {
        visit(self, &mut String::new(), 0, leaf)
    }
}

fn visit(value: &Tree, path: &mut String, depth: usize, leaf: &mut dyn FnMut(&str, &Tree)) -> bool {
    let Tree::Map(fields) = value else {
        leaf(path, value);
        return true;
    };
    let mut whole = true;
    for (name, value) in fields {
        if depth >= MAX_DEPTH || path.len() + name.len() > MAX_PATH {
            whole = false;
            continue;
        }
        let before = path.len();
        if depth > 0 {
            path.push('.');
        }
        let quoted = name.is_empty() || name.contains(['.', '`']);
        let quote = if quoted { "`" } else { "" };
        for part in [quote, name, quote] {
            path.push_str(part);
        }
        whole &= visit(value, path, depth + 1, leaf);
        path.truncate(before);
    }
    whole
}
