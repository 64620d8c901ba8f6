//! Entry of the `holdfast-agent` program: see [`holdfast_agent`].

fn main() {
    std::process::exit(holdfast_agent::cli::run(std::env::args_os().skip(1)));
}
