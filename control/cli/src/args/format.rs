//! Formats of the output, and values of arguments that several commands take.

use clap::ValueEnum;

use holdfast_api::selector;

/// Output format of resources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// Stable JSON for programs.
    Json,
    /// The JSON documents as YAML.
    Yaml,
}

/// Output format of ledgers, lists and results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LedgerFormat {
    /// A table for people.
    #[default]
    Table,
    /// Stable JSON for programs.
    Json,
}

/// Checks a selector of labels, which is sent as it was written.
pub(super) fn checked_selector(text: &str) -> Result<String, String> {
    selector::parse(text).map(|_| text.to_owned()).map_err(|why| why.to_string())
}
