//! Program `holdfast`: the control plane and its command line.

use std::process::ExitCode;

use holdfast_cli::{Programs, ResetArgs, ServeArgs};
use holdfast_control::adapters::deltas::child;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if let [first, rest @ ..] = arguments.as_slice()
        && first == child::NAME
    {
        return child::run(rest);
    }
    holdfast_cli::run(Programs { serve, reset })
}

fn serve(wanted: ServeArgs) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(holdfast_control::serve::run(wanted));
    ended.map_err(|error| format!("{error:#}").into())
}

fn reset(wanted: ResetArgs) -> Result<String, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(holdfast_control::serve::reset(wanted));
    ended.map_err(|error| format!("{error:#}").into())
}
