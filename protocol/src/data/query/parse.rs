//! Placeholder until the language comes.

/// Whether a part of a path needs no quotes.
pub(super) fn is_word(part: &str) -> bool {
    let mut letters = part.chars();
    letters
        .next()
        .is_some_and(|first| first.is_alphabetic() || first == '_' || first.is_ascii_digit())
        && letters.all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-'))
}
