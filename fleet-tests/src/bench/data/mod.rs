//! Benchmark of `make bench-data`: Holdfast's buffer beside mosquitto as the buffer of a bridge
//! whose upstream is down, on the same data records, from the same publisher, in the same run.

mod figures;
pub mod ours;
pub mod peer;
pub mod sink;

use std::fmt::Write as _;

pub use self::figures::{Buffered, DAY_OF_SECONDS, FROM, Sizes, WINDOW};
use self::ours::{Asked, Ours};
use crate::bench::machine;
use crate::bench::table::Row;

/// Measures mosquitto in its three configurations.
pub fn peers(sizes: Sizes) -> Vec<Buffered> {
    vec![
        peer::measure(peer::DURABLE, sizes.durable),
        peer::measure(peer::UNLIMITED, sizes.unlimited),
        peer::measure(peer::DEFAULT, sizes.unlimited / 4),
    ]
}

/// Returns the buffers' figures side by side, as Markdown.
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

/// Returns the rows of the table: aims and measurements.
#[allow(clippy::too_many_lines, reason = "a table: one row after the other")]
pub fn rows(peers: &[Buffered], ours: &Ours, asked: Option<Asked>) -> Vec<Row> {
    let it = &ours.buffered;
    let (durable, unlimited) = (&peers[0], &peers[1]);
    let version = machine::output("mosquitto", &["-h"]);
    let waiting = ours.waiting;
    let mut rows = vec![
        Row::at_least(
            "accepted durably, MQTT QoS 1, against mosquitto made durable",
            30.0,
            it.mqtt_rate / durable.mqtt_rate,
            "times",
            &format!(
                "{:.0} and {:.0} records of 200 B a second, {WINDOW} in flight, one client; {version}",
                it.mqtt_rate, durable.mqtt_rate
            ),
        ),
        Row::at_least(
            "accepted durably over HTTP, a thousand a call",
            100_000.0,
            ours.http_rate,
            "a second",
            "one connection on the Unix socket, NDJSON, each call answered when it is on disk",
        ),
        Row::at_least(
            "accepted durably over MQTT QoS 1",
            20_000.0,
            it.mqtt_rate,
            "a second",
            &format!(
                "{WINDOW} in flight, one client; mosquitto that saves nothing {:.0}",
                unlimited.mqtt_rate
            ),
        ),
        Row::at_most(
            "written a payload byte, HTTP",
            1.3,
            ours.http_amplification,
            "bytes",
            "`write_bytes` of the agent; blocks are compressed",
        ),
        Row::at_most(
            "written a payload byte, MQTT",
            1.3,
            it.mqtt_amplification,
            "bytes",
            &format!("the same; mosquitto made durable {:.0}", durable.mqtt_amplification),
        ),
        Row::at_most(
            "agent's memory while a million records wait",
            16.0,
            ours.pss.1 / 1024.0,
            "MiB",
            &format!(
                "PSS with {waiting} waiting; {:.1} with a tenth, {:.1} before any; mosquitto {:.0} B a record",
                ours.pss.0 / 1024.0,
                ours.pss_idle / 1024.0,
                unlimited.memory_kib * 1024.0 / unlimited.acknowledged.max(1) as f64
            ),
        ),
        Row::at_most(
            "acknowledged and lost on `kill -9`",
            0.0,
            it.lost_on_kill as f64,
            "records",
            &format!(
                "of {}; mosquitto made durable {} of {}, unlimited {} of {}, by default {} of {} without any fault",
                waiting + it.acknowledged,
                durable.lost_on_kill,
                durable.acknowledged,
                unlimited.lost_on_kill,
                unlimited.acknowledged,
                peers[2].lost,
                peers[2].acknowledged
            ),
        ),
        Row::at_least(
            "drained on reconnect",
            20_000.0,
            it.drain_rate,
            "a second",
            &format!(
                "stored durably by the control plane, mutual TLS, all on these cores; the bridge into a server that stores nothing, plain TCP: {:.0}",
                unlimited.drain_rate
            ),
        ),
        Row::at_most(
            "on the wire a record, against JSON over MQTT",
            0.1,
            it.wire / unlimited.wire,
            "of it",
            &format!(
                "{:.1} and {:.1} bytes, TCP payload both ways; ours with TLS, the bridge's without",
                it.wire, unlimited.wire
            ),
        ),
    ];
    if let Some(asked) = asked {
        let crossed = asked.wire.max(asked.crossed);
        let json = unlimited.wire * DAY_OF_SECONDS as f64;
        rows.push(Row::at_least(
            "a question over 24 h of a record a second, against shipping it",
            1_000.0,
            asked.shipping / crossed,
            "times fewer bytes",
            &format!(
                "{crossed:.0} bytes for one device, and {:.0} in Holdfast's own packed batches; as JSON over MQTT it would be {json:.0}, {:.0} times as many",
                asked.shipping,
                json / crossed
            ),
        ));
    }
    rows
}
