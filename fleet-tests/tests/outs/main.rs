//! Exports with a real consumer each: mosquitto_sub, a Prometheus server, DuckDB; images with skopeo
//! and a docker-registry.
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

mod duckdb;
mod images;
mod mosquitto;
mod prometheus;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use fleet_tests::harness::{Https, Plane};
use fleet_tests::sim::packets::{kind, publish};
use fleet_tests::sim::{Identity, Raw, enrolling, identity};
use holdfast_base::codec;
use holdfast_protocol::message::StateReport;
use holdfast_records::block::pack;
use holdfast_records::{Batch, DataReport, Format, Layout, Record};

/// Returns the time in milliseconds since 1970.
pub fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Device that ships the records that a test gives it.
pub struct Publisher {
    raw: Raw,
    pub identity: Identity,
    api: SocketAddr,
}

impl Publisher {
    pub fn new(plane: &Plane, name: &str, labels: &[&str]) -> Self {
        let mut arguments = vec!["--uses", "1"];
        for label in labels {
            arguments.extend(["--label", label]);
        }
        let token = plane.token(&arguments);
        let token = token.trim();
        let api = enrolling::address(&plane.cli().url).unwrap();
        let https = Https::new(api, &plane.cli().ca, None);
        let identity =
            Identity::enrol(&https, identity::new_key(), token, Some(name)).expect("it enrols");
        let (raw, code) =
            Raw::connect(enrolling::broker(api, &identity).unwrap(), &identity).unwrap();
        assert_eq!(code, 0);
        Self { raw, identity, api }
    }

    pub fn broker(&self) -> SocketAddr {
        enrolling::broker(self.api, &self.identity).unwrap()
    }

    fn publish(&mut self, channel: &str, payload: &[u8]) {
        let topic = self.identity.topic(channel);
        self.raw.send(&publish(&topic, 7, false, payload)).unwrap();
        // The acknowledgement means that the batch is stored.
        self.raw.await_kind(kind::PUBACK).unwrap();
    }

    /// Ships records of these values, numbered from `first`, one millisecond apart and ending now.
    pub fn ship(&mut self, stream: &str, first: u64, values: &[&str]) {
        let count = values.len() as u64;
        let begin = now() - count;
        let record = |(seq, value): (u64, &&str)| {
            let time = begin + (seq - first);
            Record { seq, time, format: Format::Plain, value: value.as_bytes().to_vec() }
        };
        let records: Vec<Record> = (first..).zip(values).map(record).collect();
        let batch = Batch {
            v: holdfast_base::WIRE_VERSION,
            stream: stream.parse().unwrap(),
            from: first,
            to: first + count - 1,
            rest: None,
            gaps: Vec::new(),
            fetched: false,
            doubt: false,
            block: pack(&records, Layout::Smallest, true),
        };
        self.publish("data", &codec::encode(&batch).unwrap());
    }

    /// Sends a report with this data part.
    pub fn report(&mut self, data: DataReport) {
        let report = StateReport {
            v: holdfast_base::WIRE_VERSION,
            full: true,
            epoch: 0,
            generation: 0,
            workloads: [].into(),
            problems: None,
            agent: None,
            data: Some(Box::new(data)),
            history: Vec::new(),
            id: None,
        };
        self.publish("state", &codec::encode(&report).unwrap());
    }
}
