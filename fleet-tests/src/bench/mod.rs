//! Instruments of the benchmarks. Everything runs on this machine, on the released programs, with
//! the peer beside it in the same run where there is one. Medians and ratios are quoted, since
//! machines are shared and noisy.

pub mod agent;
pub mod data;
pub mod deltas;
pub mod fanout;
pub mod fleet;
pub mod latency;
pub mod machine;
pub mod table;
pub mod wire;

/// Returns the median; 0 for no measurements.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Returns the value below which `percent` of a hundred values lie.
pub fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(0.0)
}
