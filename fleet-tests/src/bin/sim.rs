//! Program that connects a fleet of simulated devices to a running control plane:
//! `sim --url https://127.0.0.1:8443 --token "$(holdfast token create --allow-label '*' --uses 1000)" --devices 1000`.
//! Prints a line per second; ends with Ctrl-C, or after `--seconds`.
#![allow(clippy::disallowed_methods, reason = "a tool for people: it waits and prints")]

use std::time::{Duration, Instant};

use clap::Parser;
use fleet_tests::sim::{Fleet, enrolling};

/// Connects simulated devices to a running control plane.
#[derive(Parser)]
struct Arguments {
    /// URL of the API.
    #[arg(long)]
    url: String,
    /// Enrolment token with as many uses as there are devices.
    #[arg(long, env = "HOLDFAST_TOKEN", hide_env_values = true)]
    token: String,
    /// Number of devices.
    #[arg(long, default_value_t = 100)]
    devices: usize,
    /// Prefix of the devices' names; a number follows.
    #[arg(long, default_value = "sim")]
    prefix: String,
    /// Keep-alive of the MQTT connections in seconds.
    #[arg(long, default_value_t = 300)]
    keep_alive: u16,
    /// Seconds after which the program ends.
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
