//! `make bench-data`: Holdfast's buffer beside mosquitto as the buffer of a bridge whose upstream
//! is down, on the same records, from the same publisher, in the same run.

pub mod peer;
pub mod sink;

use std::fmt::Write as _;

/// Records in flight over MQTT.
pub const WINDOW: usize = 100;

/// Time of the first record: 2026-11-24, in milliseconds since 1970.
pub const FROM: u64 = 1_795_478_400_000;

/// What was measured of one buffer.
#[derive(Debug, Clone, Default)]
pub struct Buffered {
    /// Which.
    pub name: String,
    /// Records published.
    pub records: usize,
    /// Of them acknowledged.
    pub acknowledged: usize,
    /// Acknowledged a second, MQTT QoS 1.
    pub mqtt_rate: f64,
    /// Bytes written for each payload byte, so published.
    pub mqtt_amplification: f64,
    /// Anonymous memory more than before, while all wait.
    pub memory_kib: f64,
    /// Acknowledged and never delivered, without any fault.
    pub lost: usize,
    /// Acknowledged and never delivered after `kill -9`.
    pub lost_on_kill: usize,
    /// Delivered a second, once there is a link.
    pub drain_rate: f64,
    /// Bytes on the wire a record, both ways, TCP payload.
    pub wire: f64,
}

impl Buffered {
    fn new(name: &str, records: usize) -> Self {
        Self { name: name.to_owned(), records, ..Self::default() }
    }
}

/// How much is published.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Into what saves everything at each change: its time grows with the square.
    pub durable: usize,
    /// Into what keeps everything in memory.
    pub unlimited: usize,
}

impl Sizes {
    /// For the table.
    pub const FULL: Self = Self { durable: 2_000, unlimited: 200_000 };
    /// For a look.
    pub const QUICK: Self = Self { durable: 1_000, unlimited: 20_000 };
}

/// Measures mosquitto in its three set-ups.
pub fn peers(sizes: Sizes) -> Vec<Buffered> {
    vec![
        peer::measure(peer::DURABLE, sizes.durable),
        peer::measure(peer::UNLIMITED, sizes.unlimited),
        peer::measure(peer::DEFAULT, sizes.unlimited / 4),
    ]
}

/// Buffers beside one another, as Markdown.
pub fn beside(all: &[Buffered]) -> String {
    let mut text = String::from(
        "| buffer | records | accepted/s, MQTT QoS 1 | written a payload byte | memory, all waiting | lost without fault | lost on `kill -9` | drained/s | wire a record |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for it in all {
        let each = it.memory_kib * 1024.0 / it.acknowledged.max(1) as f64;
        let _ = writeln!(
            text,
            "| {} | {} | {:.0} | {:.2} | {:.1} MiB ({each:.0} B each) | {} | {} | {:.0} | {:.0} B |",
            it.name,
            it.records,
            it.mqtt_rate,
            it.mqtt_amplification,
            it.memory_kib / 1024.0,
            it.lost,
            it.lost_on_kill,
            it.drain_rate,
            it.wire,
        );
    }
    text
}
