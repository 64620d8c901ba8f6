//! Texts that others wrote, before they are printed.

/// Removes control characters from a text, except newlines and tabs: names and reasons come from
/// devices and must not control the reader's terminal.
pub(crate) fn clean(text: &str) -> String {
    let harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    text.chars().map(|c| if harmless(c) { c } else { '\u{fffd}' }).collect()
}
