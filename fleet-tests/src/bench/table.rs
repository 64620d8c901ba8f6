//! Table of results: each row with an aim, a measurement and how it was made.

use std::fmt::Write as _;

/// One figure of a benchmark.
#[derive(Debug, Clone)]
pub struct Row {
    /// Description of the figure.
    pub what: String,
    /// Aim: the most (or, with `at_least`, the least) that it should be.
    pub target: f64,
    /// Value that was measured.
    pub measured: f64,
    /// Unit of both values.
    pub unit: &'static str,
    /// True: the aim is a lower bound.
    pub at_least: bool,
    /// Method of the measurement, and the peer beside it.
    pub how: String,
}

impl Row {
    /// Creates a row for a figure that should be at most `target`.
    pub fn at_most(what: &str, target: f64, measured: f64, unit: &'static str, how: &str) -> Self {
        Self { what: what.into(), target, measured, unit, at_least: false, how: how.into() }
    }

    /// Creates a row for a figure that should be at least `target`.
    pub fn at_least(what: &str, target: f64, measured: f64, unit: &'static str, how: &str) -> Self {
        Self { at_least: true, ..Self::at_most(what, target, measured, unit, how) }
    }

    /// Returns true if the aim is met.
    pub fn is_met(&self) -> bool {
        if self.at_least { self.measured >= self.target } else { self.measured <= self.target }
    }

    /// Returns the row as a line of a Markdown table.
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

/// Returns the table as Markdown.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::from("| what | aim | measured | | how |\n|---|---|---|---|---|\n");
    for row in rows {
        let _ = writeln!(text, "{}", row.line());
    }
    text
}
