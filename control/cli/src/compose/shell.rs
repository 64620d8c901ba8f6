//! Words of a command that is written as one text, divided as Compose divides it: by a shell's
//! quotation marks, and without a shell.

/// Error for a text that cannot be divided into words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadCommand {
    /// Character that means something to a shell alone.
    #[error(
        "{0:?} outside of quotation marks means something to a shell alone, and no shell reads this: write [\"sh\", \"-c\", \"…\"]"
    )]
    Operator(char),
    /// Quotation that does not end.
    #[error("a quotation mark or a backslash without its end")]
    Open,
}

/// Divides a text into words.
pub(super) fn words(text: &str) -> Result<Vec<String>, BadCommand> {
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                let c = match characters.next().ok_or(BadCommand::Open)? {
                    't' => '\t',
                    'n' => '\n',
                    other => other,
                };
                word.get_or_insert_default().push(c);
            }
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (' ' | '\t' | '\r' | '\n', None) => all.extend(word.take()),
            (';' | '&' | '|' | '<' | '>' | '(' | ')' | '`', None) => {
                return Err(BadCommand::Operator(c));
            }
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(BadCommand::Open);
    }
    all.extend(word);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_divided_into_words() {
        let table: [(&str, &[&str]); 8] = [
            ("", &[]),
            ("  a  b\n c ", &["a", "b", "c"]),
            ("sh -c 'echo \"$x\" && true'", &["sh", "-c", "echo \"$x\" && true"]),
            ("a\\ b \"c \\\"d\\\"\"", &["a b", "c \"d\""]),
            ("--x='a b'c", &["--x=a bc"]),
            ("'a\\nb' \"a\\nb\"", &["a\\nb", "a\nb"]),
            ("a '' \"\"", &["a", "", ""]),
            ("--flag=$HOME é", &["--flag=$HOME", "é"]),
        ];
        for (text, expected) in table {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
        for (text, expected) in [
            ("a && b", BadCommand::Operator('&')),
            ("a > b", BadCommand::Operator('>')),
            ("a $(b)", BadCommand::Operator('(')),
            ("'a", BadCommand::Open),
            ("a \\", BadCommand::Open),
        ] {
            assert_eq!(words(text), Err(expected), "{text}");
        }
    }
}
