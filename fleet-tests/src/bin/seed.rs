//! Fills an empty data folder with devices that do not exist:
//! `seed --data /tmp/large --devices 50000`, then `holdfast serve --data /tmp/large`.
#![allow(clippy::disallowed_methods, reason = "a tool for people: it reads the clock and prints")]

use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use fleet_tests::sim::seed::seed;

/// Fills an empty data folder with devices that do not exist.
#[derive(Parser)]
struct Arguments {
    /// Data folder, as in `holdfast serve --data`.
    #[arg(long, env = "HOLDFAST_DATA")]
    data: PathBuf,
    /// Number of devices.
    #[arg(long, default_value_t = 50_000)]
    devices: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    seed(&arguments.data, arguments.devices, now)?;
    println!("{} devices in {:?}", arguments.devices, began.elapsed());
    Ok(())
}
