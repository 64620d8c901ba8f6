//! Records that every buffer gets, and the figures that are measured of it.

/// Number of data records in flight over MQTT.
pub const WINDOW: usize = 100;

/// Time of the first record: 2026-11-24, in milliseconds since 1970.
pub const FROM: u64 = 1_795_478_400_000;

/// Number of records of a day with one per second.
pub const DAY_OF_SECONDS: usize = 86_400;

/// Figures of one buffer.
#[derive(Debug, Clone, Default)]
pub struct Buffered {
    /// Name of the buffer in the table.
    pub name: String,
    /// Number of records published.
    pub records: usize,
    /// Number of records acknowledged.
    pub acknowledged: usize,
    /// Records acknowledged per second over MQTT QoS 1.
    pub mqtt_rate: f64,
    /// Bytes written for each payload byte over MQTT.
    pub mqtt_amplification: f64,
    /// Growth of anonymous memory in KiB while all records wait.
    pub memory_kib: f64,
    /// Number of records acknowledged and never delivered, without any fault.
    pub lost: usize,
    /// Number of records acknowledged and never delivered after `kill -9`.
    pub lost_on_kill: usize,
    /// Records delivered per second, once there is a link.
    pub drain_rate: f64,
    /// Bytes on the wire per record, both directions, as TCP payload.
    pub wire: f64,
}

impl Buffered {
    /// Creates the figures of a buffer that are not measured yet.
    pub(super) fn new(name: &str, records: usize) -> Self {
        Self { name: name.to_owned(), records, ..Self::default() }
    }
}

/// Number of records to publish to each buffer.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Number for the buffer that saves everything at each change; its time grows with the square.
    pub durable: usize,
    /// Number for the buffer that keeps everything in memory.
    pub unlimited: usize,
    /// Number for Holdfast over MQTT.
    pub mqtt: usize,
    /// Number for Holdfast over HTTP; all of them wait in the end.
    pub http: usize,
}

impl Sizes {
    /// Sizes for the published table.
    pub const FULL: Self =
        Self { durable: 2_000, unlimited: 200_000, mqtt: 200_000, http: 1_000_000 };
    /// Sizes for a quick check.
    pub const QUICK: Self = Self { durable: 1_000, unlimited: 20_000, mqtt: 20_000, http: 100_000 };
}
