//! Arguments of `timeline` and `activity`.

use clap::{Args, ValueEnum};

use super::format::LedgerFormat;

pub(crate) const TIMELINE_HELP: &str = "Examples:
  holdfast timeline gw-1
  holdfast timeline gw-1 --since 24h --kind connection,problem
  holdfast timeline gw-1 --workload hello --follow
  holdfast timeline gw-1 --limit 500 -o json

Kinds: connection, phase, restart, revision, generation, problem, more. Times are those of the
control plane's clock when it learned of it; what changed while a device was away is said when it
comes back. Of a loop the first events are listed one by one, the rest of an hour is counted. 500
events of a device are kept: 100 connections, 200 phases and restarts, 100 revisions and
generations, 100 problems.";

pub(crate) const ACTIVITY_HELP: &str = "Examples:
  holdfast activity                                          # what people changed lately
  holdfast activity --since 8h --category change,device      # and what devices did beside it
  holdfast activity --who 'night duty' --action workload.apply
  holdfast activity --object workload/hello --category all
  holdfast activity --since 2026-11-01T00:00:00Z -o csv > november.csv

Categories: change, login, read (backups, logs, exports), device; all is all of them. People have
the name that their access token had at the time (--name of `holdfast access create`). 1,000,000
entries of people
are kept, and of devices the newest 4,000 connections, 4,000 phases and restarts and 2,000 problems;
`holdfast timeline` has more of one device.";

#[derive(Debug, Args)]
pub(crate) struct TimelineArgs {
    /// Name of the device.
    pub(crate) device: String,
    /// Earliest time: RFC 3339, or a length of time before now such as 2h.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Time before which to end: RFC 3339, or a length of time before now.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<String>,
    /// Kinds to show, separated by commas: connection, phase, restart, revision, generation,
    /// problem.
    #[arg(long, value_name = "KINDS")]
    pub(crate) kind: Option<String>,
    /// Show only events of this workload.
    #[arg(long, value_name = "NAME")]
    pub(crate) workload: Option<String>,
    /// Number of events to show, the newest.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) limit: u32,
    /// Continue with new events until Ctrl-C.
    #[arg(short, long, conflicts_with = "until")]
    pub(crate) follow: bool,
    /// Format of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: LedgerFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ActivityArgs {
    /// Part of the author's id or name, or of the device's name.
    #[arg(long, value_name = "TEXT")]
    pub(crate) who: Option<String>,
    /// Actions to show, or beginnings of actions, separated by commas, such as workload.apply or
    /// device.
    #[arg(long, value_name = "ACTIONS")]
    pub(crate) action: Option<String>,
    /// Object of the action: KIND/NAME, KIND/ (all of a kind) or NAME.
    #[arg(long, value_name = "OBJECT")]
    pub(crate) object: Option<String>,
    /// Text that must appear in the entry, in upper or lower case.
    #[arg(short = 'q', long, value_name = "TEXT")]
    pub(crate) query: Option<String>,
    /// Categories to show, separated by commas: change, login, read or device; all for every one.
    #[arg(long, value_name = "CATEGORIES", default_value = "change")]
    pub(crate) category: String,
    /// Earliest time: RFC 3339, or a length of time before now such as 2h.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Time before which to end: RFC 3339, or a length of time before now.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<String>,
    /// Number of entries to show, the newest [default: 50; for csv and ndjson all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub(crate) limit: Option<u32>,
    /// Format of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: ActivityFormat,
}

/// Output format of `activity`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ActivityFormat {
    /// A table for people, the newest entry last.
    #[default]
    Table,
    /// Stable JSON for programs, the newest entry first.
    Json,
    /// One JSON object on each line, the newest entry first.
    Ndjson,
    /// Comma-separated values with a heading, the newest entry first.
    Csv,
}
