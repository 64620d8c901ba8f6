//! Program `holdfast`: the control plane and its command line.

use std::process::ExitCode;

use holdfast_cli::ServeArgs;

fn main() -> ExitCode {
    holdfast_cli::run(serve)
}

fn serve(wanted: ServeArgs) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(holdfast_control::serve::run(wanted)).map_err(|error| format!("{error:#}"))
}
