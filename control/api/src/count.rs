//! Formats numbers with their nouns: `1 device`, `2 devices`. The only module that knows the
//! plural.
//!
//! See decision 0128.

/// Formats a number with a noun whose plural ends in `s`: `0 devices`, `1 device`.
pub fn count(number: u64, one: &str) -> String {
    either(number, one, &format!("{one}s"))
}

/// Formats a number with words that differ by more than an `s`: `1 device fails`, `2 devices fail`.
pub fn either(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Formats how often something happened: `once`, `3 times`.
pub fn times(number: u64) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}

/// Formats a length of a collection like [`count`].
pub fn counted(number: usize, one: &str) -> String {
    count(u64::try_from(number).unwrap_or(u64::MAX), one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_all_else_is_many() {
        for (number, said) in [(0, "0 devices"), (1, "1 device"), (2, "2 devices")] {
            assert_eq!(count(number, "device"), said);
        }
        assert_eq!(either(1, "device fails", "devices fail"), "1 device fails");
        assert_eq!(either(2, "device fails", "devices fail"), "2 devices fail");
        assert_eq!((times(1), times(2)), ("once".to_owned(), "2 times".to_owned()));
        assert_eq!(counted(1, "fault"), "1 fault");
    }
}
