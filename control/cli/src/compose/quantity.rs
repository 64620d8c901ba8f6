//! Quantities as Compose writes them: durations such as `1m30s`, sizes such as `64m` (of 1024), and
//! processors such as `0.5`; and names of this project out of others.

use holdfast_api::units;
use holdfast_base::ids::Name;
use serde_json::Value;

/// Longest name, in bytes.
const MAX_NAME: usize = 63;

/// Reads a duration; returns milliseconds.
pub(super) fn duration(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut nanos = 0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let factor = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3_600e9,
            "d" => 86_400e9,
            "w" => 604_800e9,
            _ => return None,
        };
        nanos += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    whole(nanos / 1e6)
}

/// Reads a size; returns bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let power = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return None,
    };
    whole(number.parse::<f64>().ok()? * 1_024_f64.powi(power))
}

/// Reads a number of processors; returns thousandths of one.
pub(super) fn cpus(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let millis = whole(text.parse::<f64>().ok().filter(|_| plain)? * 1_000.0)?;
    u32::try_from(millis).ok()
}

/// Rounds to a whole number. None: it has no place in 53 bits.
fn whole(value: f64) -> Option<u64> {
    let good = value.is_finite() && (0.0..9e15).contains(&value);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked in the line above"
    )]
    good.then(|| value.round() as u64)
}

/// Writes milliseconds as a document has them.
pub(super) fn write_duration(millis: u64) -> Value {
    units::show_duration(millis).into()
}

/// Writes bytes as a document has them, in the largest unit that expresses them exactly.
pub(super) fn write_bytes(bytes: u64) -> Value {
    for (shift, unit) in [(30, "Gi"), (20, "Mi"), (10, "Ki")] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift).into();
        }
    }
    bytes.into()
}

/// Writes thousandths of a processor as a document has them.
pub(super) fn write_cpus(millis: u32) -> Value {
    if millis.is_multiple_of(1_000) { (millis / 1_000).into() } else { format!("{millis}m").into() }
}

/// Returns the name that is nearest to a text: lower-case letters, digits and `-`. None: nothing is
/// left.
pub(super) fn name_of(text: &str) -> Option<Name> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let lower = text.chars().map(|c| c.to_ascii_lowercase());
    let plain: String = lower.map(|c| if good(c) { c } else { '-' }).take(MAX_NAME).collect();
    plain.trim_matches('-').parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_sizes_and_processors() {
        for (text, millis) in [
            ("30s", Some(30_000)),
            ("1m30s", Some(90_000)),
            ("1h5m30s20ms", Some(3_930_020)),
            ("1.5s", Some(1_500)),
            ("500us", Some(1)),
            ("0s", Some(0)),
            ("10", None),
            ("", None),
            ("s", None),
            ("1x", None),
            ("-1s", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(duration(text), millis, "{text}");
        }
        for (text, size) in [
            ("64m", Some(64 << 20)),
            ("64MB", Some(64 << 20)),
            ("1.5g", Some(3 << 29)),
            ("512", Some(512)),
            ("512b", Some(512)),
            ("10 kib", Some(10_240)),
            ("m", None),
            ("1x", None),
            ("1e3", None),
        ] {
            assert_eq!(bytes(text), size, "{text}");
        }
        assert_eq!(
            (cpus("0.5"), cpus("2"), cpus("x"), cpus("1e3"), cpus("inf")),
            (Some(500), Some(2_000), None, None, None)
        );
        assert_eq!((write_cpus(500), write_cpus(2_000)), (json!("500m"), json!(2)));
        assert_eq!(
            (write_bytes(64 << 20), write_bytes(1_500), write_bytes(0)),
            (json!("64Mi"), json!(1_500), json!(0))
        );
        assert_eq!(write_duration(90_000), json!("90s"));
    }

    #[test]
    fn names_are_made_of_others() {
        for (text, name) in [
            ("db", Some("db")),
            ("My_DB.1", Some("my-db-1")),
            ("_x_", Some("x")),
            ("__", None),
            ("é", None),
        ] {
            assert_eq!(name_of(text).as_ref().map(Name::as_str), name, "{text}");
        }
        assert_eq!(name_of(&"a".repeat(80)).unwrap().as_str().len(), 63);
    }
}
