//! A fleet of simulated devices against a running control plane:
//! `sim --url https://127.0.0.1:8443 --token "$(holdfast token create --allow-label '*' --uses 1000)" --devices 1000`.
//! Prints a line a second; ends with Ctrl-C, or after `--seconds`.
#![allow(clippy::disallowed_methods, reason = "a tool for people: it waits and prints")]

use std::time::{Duration, Instant};

use clap::Parser;
use fleet_tests::sim::{Fleet, enrolling};

/// Simulated devices against a running control plane.
#[derive(Parser)]
struct Arguments {
    /// Where the API is.
    #[arg(long)]
    url: String,
    /// An enrolment token with as many uses as there are devices.
    #[arg(long, env = "HOLDFAST_TOKEN", hide_env_values = true)]
    token: String,
    /// How many.
    #[arg(long, default_value_t = 100)]
    devices: usize,
    /// They are named so, with a number.
    #[arg(long, default_value = "sim")]
    prefix: String,
    /// Seconds.
    #[arg(long, default_value_t = 300)]
    keep_alive: u16,
    /// End after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let api = enrolling::address(&arguments.url)?;
    let began = Instant::now();
    let identities = enrolling::enrol(api, &arguments.token, &arguments.prefix, arguments.devices)?;
    eprintln!("{} devices enrolled in {:?}", identities.len(), began.elapsed());
    let Some(first) = identities.first() else { return Ok(()) };
    let broker = enrolling::broker(api, first)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let fleet = Fleet::start(identities, broker, arguments.keep_alive);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let until = arguments.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        while until.is_none_or(|until| Instant::now() < until) {
            tick.tick().await;
            println!("{}", fleet.stats().line());
        }
        fleet.stop().await;
        Ok(())
    })
}
