//! Files of variables, as Compose reads them: `.env` and `env_file`.

use super::interpolate::{BadText, Lookup, replace};

/// Largest file of variables, in bytes. All variables of a container travel in its document, which
/// is smaller.
pub(super) const MAX_BYTES: usize = 256 * 1024;

/// Error for a line that is no variable.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadLine {
    /// Name that is none.
    #[error("line {0}: not NAME=VALUE")]
    Form(usize),
    /// Quotation that does not end.
    #[error("line {0}: a quotation mark without its end")]
    Quote(usize),
    /// Variable in a value.
    #[error("line {line}: {why}")]
    Variable {
        /// Line, from 1.
        line: usize,
        /// What is wrong with the value.
        #[source]
        why: BadText,
    },
}

/// Variables of a file, in its order. None: the variable has its value from elsewhere.
pub(super) type Variables = Vec<(String, Option<String>)>;

/// Reads a file of variables. Values that are not in single quotes may use the variables before them
/// and those that `outer` knows.
pub(super) fn read(text: &str, outer: &Lookup<'_>) -> Result<Variables, BadLine> {
    let mut all: Variables = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let (first, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = first.trim_start();
        if trimmed.trim_end().is_empty() || trimmed.starts_with('#') {
            rest = after;
            line += 1;
            continue;
        }
        let begin = trimmed.strip_prefix("export ").map_or(trimmed, str::trim_start);
        let Some((name, value)) = begin.split_once(['=', ':']) else {
            let name = checked(begin.trim_end(), line)?;
            all.push((name, None));
            rest = after;
            line += 1;
            continue;
        };
        let name = checked(name.trim_end(), line)?;
        let begin = value.trim_start_matches([' ', '\t']);
        let quote = begin.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, next, raw) = match quote {
            None => (unquoted(begin).to_owned(), after, false),
            Some(quote) => {
                // A quotation may have several lines, so it is looked for in all that is left.
                let from = first.len() - begin.len();
                let whole = rest.get(from..).and_then(|whole| whole.strip_prefix(quote));
                let (value, next) =
                    whole.and_then(|text| quoted(text, quote)).ok_or(BadLine::Quote(line))?;
                (value, next, quote == '\'')
            }
        };
        let value = if raw { value } else { expanded(&value, &all, outer, line)? };
        line += newlines(rest) - newlines(next);
        rest = next;
        all.push((name, Some(value)));
    }
    Ok(all)
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// Reads a file of variables in which nothing is quoted and nothing replaced.
pub(super) fn read_raw(text: &str) -> Result<Variables, BadLine> {
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line.trim_end(), None),
        };
        all.push((checked(name, index + 1)?, value));
    }
    Ok(all)
}

fn checked(name: &str, line: usize) -> Result<String, BadLine> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let good = !name.is_empty() && name.chars().all(inner);
    good.then(|| name.to_owned()).ok_or(BadLine::Form(line))
}

/// Value without quotation marks: a `#` behind a space begins a comment.
fn unquoted(text: &str) -> &str {
    let comment = text.match_indices('#').find(|(index, _)| {
        let before = text.get(..*index).unwrap_or_default();
        before.is_empty() || before.ends_with([' ', '\t'])
    });
    comment.and_then(|(index, _)| text.get(..index)).unwrap_or(text).trim_end()
}

/// Divides a text behind the quotation that it begins with. In double quotes `\n`, `\r`, `\t`, `\"`
/// and `\\` are read; a `\$` becomes `$$`, so that it stands for itself.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, c)) = characters.next() {
        match c {
            _ if c == quote => {
                let rest = text.get(index + c.len_utf8()..).unwrap_or_default();
                // What stands behind it on the line is a comment.
                let next = rest.split_once('\n').map_or("", |(_, next)| next);
                return Some((value, next));
            }
            '\\' if quote == '"' => match characters.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                '$' => value.push_str("$$"),
                other @ ('"' | '\\') => value.push(other),
                other => value.extend(['\\', other]),
            },
            c => value.push(c),
        }
    }
    None
}

fn expanded(
    value: &str,
    before: &Variables,
    outer: &Lookup<'_>,
    line: usize,
) -> Result<String, BadLine> {
    let own = |name: &str| {
        let found = before.iter().rev().find(|(known, _)| known == name);
        found.and_then(|(_, value)| value.clone())
    };
    let lookup = |name: &str| outer(name).or_else(|| own(name));
    replace(value, &lookup, &mut Vec::new()).map_err(|why| BadLine::Variable { line, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outer(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/home/a".to_owned())
    }

    #[test]
    fn variables_are_read_as_compose_reads_them() {
        let text = "\u{feff}# first\nA=1\nexport B=two words  # said\nC='$A # not said'\nD=\"x\\n$A\"\n\
            E=\nF\nG: yaml\nH=a#b\nI=\"two\nlines\" # and\nJ=${A}-${HOME}-${NO:-none}\nK=\"\\$A \\\"q\\\"\"\n\n  L = spaced\n";
        let all = read(text, &outer).unwrap();
        let all: Vec<_> =
            all.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        assert_eq!(
            all,
            [
                ("A", Some("1")),
                ("B", Some("two words")),
                ("C", Some("$A # not said")),
                ("D", Some("x\n1")),
                ("E", Some("")),
                ("F", None),
                ("G", Some("yaml")),
                ("H", Some("a#b")),
                ("I", Some("two\nlines")),
                ("J", Some("1-/home/a-none")),
                ("K", Some("$A \"q\"")),
                ("L", Some("spaced")),
            ]
        );
        assert_eq!(read("", &outer).unwrap(), []);
        assert_eq!(read("A='x'", &outer).unwrap(), [("A".into(), Some("x".into()))]);
    }

    #[test]
    fn faults_name_their_line() {
        for (text, expected) in [
            ("A=1\nB C=2\n", "line 2: not NAME=VALUE"),
            ("=2\n", "line 1: not NAME=VALUE"),
            ("A=\"two\nlines\"\nB='x\n", "line 3: a quotation mark without its end"),
            (
                "\nA=$1\n",
                "line 2: \"$1\" begins no variable: write $$ for a $ that stands for itself",
            ),
        ] {
            assert_eq!(read(text, &outer).unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn raw_values_are_taken_as_they_are() {
        let all = read_raw("A='x' # y\n# no\nB=$A\nC\n").unwrap();
        let value = |text: &str| Some(text.to_owned());
        assert_eq!(
            all,
            [("A".into(), value("'x' # y")), ("B".into(), value("$A")), ("C".into(), None)]
        );
    }
}
