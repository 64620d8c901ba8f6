//! `holdfast-agent`: see `holdfast_agent`.

use clap::Parser as _;
use holdfast_agent::cli::Cli;

fn main() {
    std::process::exit(Cli::parse().run());
}
