//! Program of `make demo`: a control plane and three devices on this machine, until Ctrl-C. See
//! [`fleet_tests::demo`].

fn main() -> std::process::ExitCode {
    fleet_tests::demo::main()
}
