//! Topic names and topic filters: validity and matching.

/// Longest topic name or filter, in bytes. Those of this protocol have at most 150; the standard's
/// 65,535 would waste memory.
pub(super) const MAX_TOPIC: usize = 256;

/// Returns true for a valid topic name: not empty, no wildcard, no NUL, at most `MAX_TOPIC` bytes.
pub fn is_topic_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TOPIC && !text.contains(['+', '#', '\0'])
}

/// Returns true for a valid topic filter: `#` only as the whole last level, `+` only as a whole
/// level.
pub fn is_filter(text: &str) -> bool {
    if text.is_empty() || text.len() > MAX_TOPIC || text.contains('\0') {
        return false;
    }
    let mut levels = text.split('/').peekable();
    while let Some(level) = levels.next() {
        let good = match level {
            "#" => levels.peek().is_none(),
            "+" => true,
            other => !other.contains(['+', '#']),
        };
        if !good {
            return false;
        }
    }
    true
}

/// Returns true if the filter matches the topic name. A wildcard in the first level matches no name
/// that begins with `$`.
pub fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = name.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true, // "a/#" matches "a" too
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_filter() {
        for good in ["a", "#", "+", "a/#", "a/+/b", "+/+", "/", "a//b", "$share/g/t"] {
            assert!(is_filter(good), "{good}");
        }
        for bad in ["", "a#", "a/#/b", "#/", "a+", "a/+b", "a\0", &"x".repeat(257)] {
            assert!(!is_filter(bad), "{bad:?}");
        }
    }

    #[test]
    fn what_is_a_topic_name() {
        assert!(is_topic_name("a/b"));
        for bad in ["", "a/+", "#", "a\0b", &"x".repeat(257)] {
            assert!(!is_topic_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn what_matches() {
        for (filter, name, yes) in [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a", false),
            ("a/+", "a/b/c", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "b", false),
            ("#", "a/b", true),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("+", "/a", false),
            ("+/+", "/a", true),
            ("a/b/", "a/b", false),
        ] {
            assert_eq!(matches(filter, name), yes, "{filter} {name}");
        }
    }
}
