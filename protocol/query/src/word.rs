//! Words of the language of questions.

/// Words of the language, which no path begins with unless they are quoted.
pub(super) const KEYWORDS: [&str; 9] =
    ["and", "or", "not", "in", "contains", "exists", "true", "false", "null"];

/// Returns true if a part of a path needs no quotes.
pub(super) fn is_word(part: &str) -> bool {
    !part.is_empty() && part.chars().all(in_word) && !KEYWORDS.contains(&part)
}

/// Returns true if a letter may be part of a word.
pub(super) fn in_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '-')
}
