//! The fields of a record's value, each with its path, for tables and time series.

use super::tree::Tree;

/// Longest path of a field, in bytes.
const MAX_PATH: usize = 128;

/// Deepest object that is looked into.
const MAX_DEPTH: usize = 6;

impl Tree {
    /// Visits everything that is no object, with its path: names with `.` between them. A name that
    /// is empty or has a `.` or a back quote in it stands in back quotes, as questions have it, so
    /// that `{"a.b":1}` and `{"a":{"b":1}}` have paths of their own. A value that is no object has
    /// the empty path. False: what is deeper or longer than is looked into was left out.
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
