//! Entry of the `holdfast-agent` program: see [`holdfast_agent`].

use clap::Parser as _;
use holdfast_agent::cli::{Cli, report_usage};

fn main() {
    std::process::exit(Cli::try_parse().map_or_else(|error| report_usage(&error), Cli::run));
}
