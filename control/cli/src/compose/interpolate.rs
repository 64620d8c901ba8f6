//! Variables in texts, as Compose has them: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`,
//! `${NAME:?error}`, `${NAME?error}`, `${NAME:+instead}`, `${NAME+instead}`, and `$$` for `$`.

use super::node::{Node, Tree};
use super::notes::{Level, Notes};
use holdfast_api::path::path_of;

/// Most variables within each other's defaults.
const MAX_DEPTH: usize = 16;
/// Most bytes that all texts of a file have in the end. A short text can name a long variable often.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Error for a text whose variables cannot be replaced.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadText {
    /// `$` that begins no variable.
    #[error("{0:?} begins no variable: write $$ for a $ that stands for itself")]
    Dollar(String),
    /// `${` that does not end.
    #[error("${{ without its }}: write $$ for a $ that stands for itself")]
    Open,
    /// Name that is none, or something behind it that is not understood.
    #[error(
        "${{{0}}} is no variable: its name has letters, digits and _, and one of :- - :? ? :+ + may follow"
    )]
    Form(String),
    /// Variable that must have a value.
    #[error("{name} must be set: {why}")]
    Required {
        /// Name of the variable.
        name: String,
        /// Text that the file gives for it.
        why: String,
    },
    /// Variables in variables.
    #[error("too deep: more than {MAX_DEPTH} variables within each other")]
    Deep,
    /// Result without bound.
    #[error("more than {MAX_BYTES} bytes with what its variables stand for")]
    Large,
}

/// Function that returns the value of a variable.
pub(super) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Replaces variables in every text of a value.
pub(super) fn in_node(node: &mut Node, path: &str, variables: &Lookup<'_>, notes: &Notes) {
    let mut bytes = 0;
    walk(node, path, variables, notes, &mut bytes);
}

fn walk(node: &mut Node, path: &str, variables: &Lookup<'_>, notes: &Notes, bytes: &mut usize) {
    let at = node.at;
    match &mut node.tree {
        Tree::Null => {}
        Tree::Text(text) => {
            if !text.contains('$') {
                return;
            }
            let mut unset = Vec::new();
            let replaced = replace(text, variables, &mut unset).and_then(|text| {
                *bytes += text.len();
                if *bytes > MAX_BYTES { Err(BadText::Large) } else { Ok(text) }
            });
            for name in unset {
                let said = format!("the variable {name} is not set: an empty text is taken for it");
                notes.add(Level::Warning, at, path, said);
            }
            match replaced {
                Ok(replaced) => *text = replaced,
                Err(why) => notes.add(Level::Fault, at, path, why.to_string()),
            }
        }
        Tree::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                walk(item, &format!("{path}[{index}]"), variables, notes, bytes);
            }
        }
        Tree::Map(entries) => {
            for entry in entries {
                walk(&mut entry.value, &path_of(path, &entry.key), variables, notes, bytes);
            }
        }
    }
}

/// Replaces the variables of a text. `unset` gets the names of those that have no value and no
/// default.
pub(super) fn replace(
    text: &str,
    variables: &Lookup<'_>,
    unset: &mut Vec<String>,
) -> Result<String, BadText> {
    replace_within(text, variables, unset, 0)
}

fn replace_within(
    text: &str,
    variables: &Lookup<'_>,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<String, BadText> {
    if depth > MAX_DEPTH {
        return Err(BadText::Deep);
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some(inside) = after.strip_prefix('{') {
            let (inside, after) = braced(inside)?;
            result.push_str(&one(inside, variables, unset, depth)?);
            rest = after;
        } else {
            let (name, after) = name_of(after);
            if name.is_empty() {
                let shown = after.chars().next().map_or("$".to_owned(), |next| format!("${next}"));
                return Err(BadText::Dollar(shown));
            }
            result.push_str(&value(name, variables, unset));
            rest = after;
        }
        if result.len() > MAX_BYTES {
            return Err(BadText::Large);
        }
    }
    result.push_str(rest);
    Ok(result)
}

/// Divides a text at the brace that ends a variable; braces within count.
fn braced(text: &str) -> Result<(&str, &str), BadText> {
    let mut open = 1_usize;
    for (index, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => continue,
        }
        if open == 0 {
            let (inside, after) = text.split_at(index);
            return Ok((inside, after.strip_prefix('}').unwrap_or(after)));
        }
    }
    Err(BadText::Open)
}

/// Divides a text behind the name of a variable that it begins with.
fn name_of(text: &str) -> (&str, &str) {
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = if first { text.find(|c| !inner(c)).unwrap_or(text.len()) } else { 0 };
    text.split_at(end)
}

fn value(name: &str, variables: &Lookup<'_>, unset: &mut Vec<String>) -> String {
    variables(name).unwrap_or_else(|| {
        unset.push(name.to_owned());
        String::new()
    })
}

/// Replaces what stands between braces.
fn one(
    inside: &str,
    variables: &Lookup<'_>,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<String, BadText> {
    let (name, rest) = name_of(inside);
    if name.is_empty() {
        return Err(BadText::Form(inside.to_owned()));
    }
    if rest.is_empty() {
        return Ok(value(name, variables, unset));
    }
    let (filled, rest) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let present = variables(name).filter(|value| !filled || !value.is_empty());
    let mut other = |text: &str| replace_within(text, variables, unset, depth + 1);
    if let Some(default) = rest.strip_prefix('-') {
        return present.map_or_else(|| other(default), Ok);
    }
    if let Some(instead) = rest.strip_prefix('+') {
        return if present.is_some() { other(instead) } else { Ok(String::new()) };
    }
    if let Some(why) = rest.strip_prefix('?') {
        return match present {
            Some(value) => Ok(value),
            None => Err(BadText::Required { name: name.to_owned(), why: other(why)? }),
        };
    }
    Err(BadText::Form(inside.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Option<String> {
        match name {
            "A" => Some("a".into()),
            "EMPTY" => Some(String::new()),
            "_x1" => Some("under".into()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_as_compose_has_it() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$A", "a"),
            ("$A.b", "a.b"),
            ("${A}b", "ab"),
            ("$_x1-", "under-"),
            ("$$A", "$A"),
            ("$${A}", "${A}"),
            ("100$$", "100$"),
            ("${A:-b}", "a"),
            ("${NO:-b}", "b"),
            ("${NO-b}", "b"),
            ("${EMPTY:-b}", "b"),
            ("${EMPTY-b}", ""),
            ("${NO:-${A}c}", "ac"),
            ("${NO:-{\"x\": 1}}", "{\"x\": 1}"),
            ("${NO:-}", ""),
            ("${A:+b}", "b"),
            ("${EMPTY:+b}", ""),
            ("${EMPTY+b}", "b"),
            ("${NO+b}", ""),
            ("${A:?must}", "a"),
            ("${EMPTY?must}", ""),
            ("é$Aé", "éaé"),
        ] {
            let mut unset = Vec::new();
            assert_eq!(replace(text, &variables, &mut unset).as_deref(), Ok(expected), "{text}");
            assert!(unset.is_empty(), "{text}");
        }
        let mut unset = Vec::new();
        assert_eq!(replace("$NO-${NOT}", &variables, &mut unset).unwrap(), "-");
        assert_eq!(unset, ["NO", "NOT"]);
    }

    #[test]
    fn what_is_no_variable_is_a_fault() {
        let form = |text: &str| BadText::Form(text.to_owned());
        let required =
            |name: &str, why: &str| BadText::Required { name: name.into(), why: why.into() };
        for (text, expected) in [
            ("$", BadText::Dollar("$".into())),
            ("a $1", BadText::Dollar("$1".into())),
            ("$(x)", BadText::Dollar("$(".into())),
            ("${A", BadText::Open),
            ("${}", form("")),
            ("${1}", form("1")),
            ("${A!}", form("A!")),
            ("${A:b}", form("A:b")),
            ("${NO:?it is the key}", required("NO", "it is the key")),
            ("${EMPTY:?}", required("EMPTY", "")),
        ] {
            assert_eq!(replace(text, &variables, &mut Vec::new()), Err(expected), "{text}");
        }
        let deep = format!("{}x{}", "${N:-".repeat(20), "}".repeat(20));
        assert_eq!(replace(&deep, &variables, &mut Vec::new()), Err(BadText::Deep));
        let long = |_: &str| Some("x".repeat(100_000));
        assert_eq!(replace(&"$A".repeat(1_000), &long, &mut Vec::new()), Err(BadText::Large));
    }
}
