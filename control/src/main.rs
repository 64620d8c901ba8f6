//! Program `holdfast`: the control plane and its command line.

use std::process::ExitCode;

use holdfast_cli::ServeArgs;

fn main() -> ExitCode {
    holdfast_cli::run(serve)
}

fn serve(wanted: ServeArgs) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(holdfast_control::serve::run(wanted));
    ended.map_err(|error| format!("{error:#}").into())
}
