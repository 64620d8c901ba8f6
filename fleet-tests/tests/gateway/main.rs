//! The device gateway on real sockets: other people's clients, hostile ones, and many at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "tests fail loudly, and deal in sockets and processes by trade"
)]

mod disturbers;
mod fleet;
mod heard;
mod identity;
mod malformed;
mod mosquitto;
mod others;
mod paho;
mod pki;
mod raw;
mod readers;
mod rights;
mod rumqttc_v5;
mod rush;
mod storage;
mod takeover;
mod world;

#[path = "../../../protocol/mqtt/src/tests/table.rs"]
mod table;
#[path = "../../../protocol/mqtt/src/tests/wire.rs"]
mod wire;
