//! Tables of aligned columns, without lines or frames, two spaces between columns.

use super::text::{Mood, Output, one_line};

/// One field of a row.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    mood: Mood,
}

impl Cell {
    /// Makes a field in the colour of `mood`.
    pub(crate) fn new(text: impl Into<String>, mood: Mood) -> Self {
        let text = one_line(&text.into());
        Self { text: if text.is_empty() { "-".to_owned() } else { text }, mood }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Mood::Plain)
    }
}

/// Returns a table as text, each line indented by `indent` spaces. An empty list of headings gives
/// none.
pub(crate) fn table(
    output: Output,
    indent: usize,
    headings: &[&str],
    rows: &[Vec<Cell>],
) -> String {
    let headings: Vec<Cell> =
        headings.iter().map(|heading| Cell::new(*heading, Mood::Heading)).collect();
    let all = || std::iter::once(&headings).filter(|row| !row.is_empty()).chain(rows);
    let mut widths: Vec<usize> = Vec::new();
    for row in all() {
        for (column, cell) in row.iter().enumerate() {
            let width = cell.text.chars().count();
            match widths.get_mut(column) {
                Some(widest) => *widest = (*widest).max(width),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for row in all() {
        let mut line = " ".repeat(indent);
        let mut gap = 0;
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&" ".repeat(gap));
            line.push_str(&output.painted(&cell.text, cell.mood));
            gap = width.saturating_sub(cell.text.chars().count()) + 2;
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Returns names with their values as text, one on each line, indented by `indent` spaces.
pub(super) fn facts(output: Output, indent: usize, facts: Vec<(&str, Cell)>) -> String {
    let rows: Vec<Vec<Cell>> = facts
        .into_iter()
        .map(|(name, value)| vec![Cell::new(format!("{name}:"), Mood::Heading), value])
        .collect();
    table(output, indent, &[], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tails() {
        let rows = vec![
            vec![Cell::from("a"), Cell::new("online", Mood::Good), Cell::from("x")],
            vec![Cell::from("long-name"), Cell::from(""), Cell::from("a\x1b[2Jb\nc")],
        ];
        let plain = table(Output { colour: false }, 0, &["NAME", "IS", "MORE"], &rows);
        assert_eq!(
            plain,
            "NAME       IS      MORE\na          online  x\nlong-name  -       a\u{fffd}[2Jb c\n"
        );
        let coloured = table(Output { colour: true }, 2, &[], &rows);
        assert!(coloured.starts_with("  a          \x1b[32monline\x1b[0m  x\n"), "{coloured:?}");
    }
}
