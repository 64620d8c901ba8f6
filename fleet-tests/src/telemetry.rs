//! Telemetry of a machine, as benchmarks and tests publish it: JSON of about 200 bytes with a
//! counter, a time, a state and several figures that drift slowly and are noisy, each rounded as
//! sensors round. The same seed gives the same data records.

use std::fmt::Write as _;

use holdfast_agent::core::backoff::Entropy;

/// Generator for one machine's data records.
#[derive(Debug, Clone)]
pub struct Telemetry {
    chance: Entropy,
    machine: u64,
    count: u64,
    /// Time of the next record, in milliseconds since 1970.
    at: u64,
    step: u64,
    state: usize,
    temperature: f64,
    pressure: f64,
    speed: f64,
    current: f64,
    vibration: f64,
    energy: f64,
}

const STATES: [&str; 4] = ["running", "idle", "starting", "fault"];

impl Telemetry {
    /// Creates a machine whose first record is of `from` (milliseconds since 1970), and one follows
    /// every `step` milliseconds.
    pub fn new(seed: u64, from: u64, step: u64) -> Self {
        Self {
            chance: Entropy::new(seed),
            machine: seed % 1_000,
            count: 0,
            at: from,
            step,
            state: 0,
            temperature: 64.0,
            pressure: 2.4,
            speed: 1_480.0,
            current: 12.5,
            vibration: 0.8,
            energy: 10_234.0,
        }
    }

    /// Returns a number from -1 to 1, with the middle likelier.
    fn noise(&mut self) -> f64 {
        let mut one = || (self.chance.draw() % 2_001) as f64 / 1_000.0 - 1.0;
        f64::midpoint(one(), one())
    }

    /// Returns the next value of a random walk that is drawn back to its middle.
    fn drift(&mut self, value: f64, middle: f64, width: f64) -> f64 {
        value + (middle - value) * 0.002 + self.noise() * width
    }

    /// Returns the next record.
    pub fn record(&mut self) -> Vec<u8> {
        self.count += 1;
        // A state lasts for about a quarter of an hour.
        if self.chance.draw().is_multiple_of(900) {
            self.state = usize::try_from(self.chance.draw() % 4).unwrap_or(0);
        }
        self.temperature = self.drift(self.temperature, 64.0, 0.08);
        self.pressure = self.drift(self.pressure, 2.4, 0.004);
        self.speed = self.drift(self.speed, 1_480.0, 1.5);
        self.current = self.drift(self.current, 12.5, 0.05);
        self.vibration = self.drift(self.vibration, 0.8, 0.01).abs();
        self.energy += self.current * 0.000_11;
        let (temperature, pressure) =
            (self.temperature + self.noise() * 0.1, self.pressure + self.noise() * 0.003);
        let (x, y) = (self.vibration + self.noise() * 0.05, self.vibration + self.noise() * 0.04);
        let mut text = String::with_capacity(220);
        let _ = write!(
            text,
            "{{\"ts\":{},\"n\":{},\"machine\":\"press-{:03}\",\"state\":\"{}\",\"temp\":{temperature:.2},\"pressure\":{pressure:.3},\"rpm\":{:.1},\"current\":{:.2},\"vibration\":{{\"x\":{x:.3},\"y\":{y:.3}}},\"energy_kwh\":{:.3},\"door_open\":{}}}",
            self.at,
            self.count,
            self.machine,
            STATES[self.state],
            self.speed,
            self.current,
            self.energy,
            self.state == 1 && self.count.is_multiple_of(7),
        );
        self.at += self.step;
        text.into_bytes()
    }

    /// Returns the next `count` records.
    pub fn records(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.record()).collect()
    }
}

/// Returns the counter in a record of [`Telemetry`].
pub fn number(record: &[u8]) -> Option<u64> {
    let at = record.windows(4).position(|window| window == b"\"n\":")? + 4;
    let digits = record.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit());
    std::str::from_utf8(&digits.copied().collect::<Vec<u8>>()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_json_of_about_200_bytes() {
        let records = Telemetry::new(7, 1_764_000_000_000, 1_000).records(2_000);
        assert_eq!(records, Telemetry::new(7, 1_764_000_000_000, 1_000).records(2_000));
        let mean = records.iter().map(Vec::len).sum::<usize>() / records.len();
        assert!((190..=210).contains(&mean), "{mean}");
        for (at, record) in records.iter().enumerate() {
            let read: serde_json::Value = serde_json::from_slice(record).unwrap();
            assert_eq!(read["n"], at as u64 + 1);
            assert_eq!(number(record), Some(at as u64 + 1));
            let temperature = read["temp"].as_f64().unwrap();
            assert!((50.0..80.0).contains(&temperature), "{temperature}");
        }
    }
}
