//! Program `holdfast`: the control plane and its command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_control::cli::run()
}
