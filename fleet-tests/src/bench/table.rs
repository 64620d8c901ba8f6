//! The result: rows with what was aimed at, what was measured and how.

use std::fmt::Write as _;

/// One figure.
#[derive(Debug, Clone)]
pub struct Row {
    /// What.
    pub what: String,
    /// What it should be at most (or, for `at_least`, at least).
    pub target: f64,
    /// What it was.
    pub measured: f64,
    /// In which unit.
    pub unit: &'static str,
    /// The target is a lower bound.
    pub at_least: bool,
    /// How it was measured, and beside what.
    pub how: String,
}

impl Row {
    /// A figure that should be at most `target`.
    pub fn at_most(what: &str, target: f64, measured: f64, unit: &'static str, how: &str) -> Self {
        Self { what: what.into(), target, measured, unit, at_least: false, how: how.into() }
    }

    /// A figure that should be at least `target`.
    pub fn at_least(what: &str, target: f64, measured: f64, unit: &'static str, how: &str) -> Self {
        Self { at_least: true, ..Self::at_most(what, target, measured, unit, how) }
    }

    /// Whether it is what it should be.
    pub fn is_met(&self) -> bool {
        if self.at_least { self.measured >= self.target } else { self.measured <= self.target }
    }

    /// As a line of a table.
    pub fn line(&self) -> String {
        let sign = if self.at_least { "≥" } else { "≤" };
        let verdict = if self.is_met() { "met" } else { "**missed**" };
        let Self { what, target, measured, unit, how, .. } = self;
        format!(
            "| {what} | {sign} {} {unit} | {} {unit} | {verdict} | {how} |",
            show(*target),
            show(*measured)
        )
    }
}

fn show(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// The whole table, as Markdown.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::from("| what | aim | measured | | how |\n|---|---|---|---|---|\n");
    for row in rows {
        let _ = writeln!(text, "{}", row.line());
    }
    text
}
