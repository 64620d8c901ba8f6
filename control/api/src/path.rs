//! Paths of values in documents, as faults name them: `spec.run.env["a.b"]`.

/// Most characters of a document that a fault quotes.
const QUOTED: usize = 60;

/// Returns the path of a key below a path: `a.b`, or `a["b.c"]` if the key has other characters
/// than letters, digits, `_` and `-`.
pub fn path_of(path: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && key.len() <= QUOTED
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    match (plain, path.is_empty() || path.ends_with(' ')) {
        (true, true) => format!("{path}{key}"),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{:?}]", shorten(key)),
    }
}

/// Shortens a text to 60 characters for a message; an ellipsis marks the cut.
pub fn shorten(text: &str) -> String {
    let mut characters = text.chars();
    let mut short: String = characters.by_ref().take(QUOTED).collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn paths_quote_what_needs_it() {
        assert_eq!(path_of("spec", "run"), "spec.run");
        assert_eq!(path_of("", "spec"), "spec");
        assert_eq!(path_of("spec.config", "etc/a.conf"), "spec.config[\"etc/a.conf\"]");
        assert_eq!(
            path_of("documents[1] (Workload/a): ", "spec"),
            "documents[1] (Workload/a): spec"
        );
    }
}
