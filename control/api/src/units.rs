//! Parses and formats units as people write them: memory, CPU time, durations, signals.

/// Reason for which a text with a unit is refused. The text completes `"12Q": ...`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAUnit {
    /// A size with an unknown unit.
    #[error("unknown unit; a size is bytes, or a number with Ki, Mi, Gi, k, M or G, such as 64Mi")]
    Memory,
    /// An amount of processor time with an unknown unit.
    #[error("unknown unit; cpu is cores or thousandths of one, such as 500m, 1 or 1.5")]
    Cpu,
    /// A duration with an unknown unit.
    #[error(
        "unknown unit; a duration is a number with ms, s, m, h or d, such as 100ms, 10s, 5m, 1h or 30d"
    )]
    Duration,
    /// A duration that is a number alone.
    #[error("a duration needs its unit: ms, s, m, h or d, such as 10s")]
    DurationWithoutUnit,
    /// A text that is no number with a unit.
    #[error("not a number followed by a unit")]
    Number,
    /// A percentage outside of 0 to 100.
    #[error("not a part of a whole: it is 0% to 100%, such as 60%")]
    Percent,
    /// A cost of a byte outside of 0.01 to 1000.
    #[error(
        "not what a byte counts: it is a number from 0.01 to 1000 with two digits, such as 1.5"
    )]
    Cost,
    /// A number beyond 64 bits.
    #[error("too large")]
    TooLarge,
    /// More than three digits after the point.
    #[error("at most three digits after the point are read")]
    Digits,
    /// Less than a thousandth of a core.
    #[error("finer than a thousandth of a core; the smallest is 1m")]
    TooFine,
    /// An unknown signal.
    #[error(
        "unknown signal; use a name such as SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, or a number from 1 to 31"
    )]
    Signal,
}

/// Parses an amount of bytes: `64Mi`, `1G`, `1048576`.
pub fn memory(text: &str) -> Result<u64, NotAUnit> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err(NotAUnit::Memory),
    };
    let thousandths = u128::from(number) * u128::from(factor);
    u64::try_from(thousandths / 1_000).map_err(|_| NotAUnit::TooLarge)
}

/// Parses CPU time into thousandths of a core: `500m`, `1`, `1.5`.
pub fn cpu(text: &str) -> Result<u32, NotAUnit> {
    let (thousandths, unit) = split(text).map_err(|why| match why {
        NotAUnit::Digits => NotAUnit::TooFine,
        other => other,
    })?;
    let millis = match unit {
        "" => thousandths,
        "m" if thousandths.is_multiple_of(1_000) => thousandths / 1_000,
        "m" => return Err(NotAUnit::TooFine),
        _ => return Err(NotAUnit::Cpu),
    };
    u32::try_from(millis).map_err(|_| NotAUnit::TooLarge)
}

/// Parses a percentage: `60%`.
pub fn percent(text: &str) -> Result<u8, NotAUnit> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<u8>().ok());
    number.filter(|percent| *percent <= 100).ok_or(NotAUnit::Percent)
}

/// Parses a factor into hundredths: `1.5` to 150.
pub fn hundredths(text: &str) -> Result<u32, NotAUnit> {
    let (thousandths, unit) = split(text).map_err(|_| NotAUnit::Cost)?;
    let good = unit.is_empty() && thousandths.is_multiple_of(10);
    let hundredths = u32::try_from(thousandths / 10).ok().filter(|_| good);
    hundredths.filter(|cost| (1..=100_000).contains(cost)).ok_or(NotAUnit::Cost)
}

/// Parses a duration into milliseconds: `100ms`, `10s`, `5m`, `1h`, `30d`, `1.5s`.
pub fn duration(text: &str) -> Result<u64, NotAUnit> {
    let (thousandths, unit) = split(text)?;
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(NotAUnit::DurationWithoutUnit),
        _ => return Err(NotAUnit::Duration),
    };
    let millis = u128::from(thousandths) * u128::from(factor) / 1_000;
    u64::try_from(millis).map_err(|_| NotAUnit::TooLarge)
}

/// Formats milliseconds in the largest unit that expresses them exactly; one day as `24h`.
pub fn show_duration(millis: u64) -> String {
    match millis {
        _ if millis >= 2 * 86_400_000 && millis.is_multiple_of(86_400_000) => {
            format!("{}d", millis / 86_400_000)
        }
        _ if millis >= 3_600_000 && millis.is_multiple_of(3_600_000) => {
            format!("{}h", millis / 3_600_000)
        }
        _ if millis >= 60_000 && millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis >= 1_000 && millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

/// Parses a signal into its Linux number: `SIGTERM`, `TERM` or `15`.
pub fn signal(text: &str) -> Result<u8, NotAUnit> {
    if let Ok(number) = text.parse::<u8>() {
        return if (1..=31).contains(&number) { Ok(number) } else { Err(NotAUnit::Signal) };
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    SIGNALS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|&(_, number)| number)
        .ok_or(NotAUnit::Signal)
}

/// Signals that can mean "stop" or "shut down" to a program, with their numbers on x86 and ARM.
const SIGNALS: [(&str, u8); 14] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("USR2", 12),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// Splits a text into a number in thousandths and its unit: `1.5Mi` into 1500 and `Mi`.
fn split(text: &str) -> Result<(u64, &str), NotAUnit> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end).ok_or(NotAUnit::Number)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(NotAUnit::Number);
    }
    // Values are kept in thousandths of their unit.
    if fraction.len() > 3 {
        return Err(NotAUnit::Digits);
    }
    let whole: u64 = whole.parse().map_err(|_| NotAUnit::TooLarge)?;
    let fraction: u64 = format!("{fraction:0<3}").parse().map_err(|_| NotAUnit::Number)?;
    let thousandths = whole.checked_mul(1_000).and_then(|whole| whole.checked_add(fraction));
    Ok((thousandths.ok_or(NotAUnit::TooLarge)?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_every_unit() {
        for (text, bytes) in [
            ("1048576", 1_048_576),
            ("64Ki", 65_536),
            ("64Mi", 67_108_864),
            ("1.5Gi", 1_610_612_736),
            ("64k", 64_000),
            ("64M", 64_000_000),
            ("2G", 2_000_000_000),
        ] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for (text, why) in [
            ("12Q", NotAUnit::Memory),
            ("64mi", NotAUnit::Memory),
            ("64MB", NotAUnit::Memory),
            ("64 Mi", NotAUnit::Memory),
            ("Mi", NotAUnit::Number),
            ("", NotAUnit::Number),
            ("-1", NotAUnit::Number),
            ("1.2.3G", NotAUnit::Number),
            ("1.2345G", NotAUnit::Digits),
            ("99999999999999999999", NotAUnit::TooLarge),
            ("18446744073709551Gi", NotAUnit::TooLarge),
        ] {
            assert_eq!(memory(text), Err(why), "{text}");
        }
    }

    #[test]
    fn cpu_in_cores_and_thousandths() {
        for (text, millis) in [("500m", 500), ("1", 1_000), ("1.5", 1_500), ("0.25", 250)] {
            assert_eq!(cpu(text), Ok(millis), "{text}");
        }
        for (text, why) in [
            ("500x", NotAUnit::Cpu),
            ("0.5m", NotAUnit::TooFine),
            ("0.0005", NotAUnit::TooFine),
            ("0.0005.1", NotAUnit::Number),
            ("m", NotAUnit::Number),
            ("5000000", NotAUnit::TooLarge),
        ] {
            assert_eq!(cpu(text), Err(why), "{text}");
        }
    }

    #[test]
    fn durations_need_their_unit() {
        for (text, millis) in [
            ("100ms", 100),
            ("10s", 10_000),
            ("1.5s", 1_500),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("30d", 2_592_000_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(millis), "{text}");
        }
        for (text, why) in [
            ("10", NotAUnit::DurationWithoutUnit),
            ("10w", NotAUnit::Duration),
            ("10 s", NotAUnit::Duration),
            ("0.0001s", NotAUnit::Digits),
            ("s", NotAUnit::Number),
            ("18446744073709551h", NotAUnit::TooLarge),
        ] {
            assert_eq!(duration(text), Err(why), "{text}");
        }
    }

    #[test]
    fn parts_and_costs() {
        for (text, good) in [("60%", Ok(60)), ("0%", Ok(0)), ("100%", Ok(100))] {
            assert_eq!(percent(text), good, "{text}");
        }
        for text in ["60", "101%", "-1%", "%", "1.5%", ""] {
            assert_eq!(percent(text), Err(NotAUnit::Percent), "{text}");
        }
        for (text, good) in [("1", 100), ("1.5", 150), ("0.01", 1), ("1000", 100_000)] {
            assert_eq!(hundredths(text), Ok(good), "{text}");
        }
        for text in ["0", "1.005", "1001", "-1", "1x", ""] {
            assert_eq!(hundredths(text), Err(NotAUnit::Cost), "{text}");
        }
    }

    #[test]
    fn signals_by_name_or_number() {
        for (text, number) in [("SIGTERM", 15), ("TERM", 15), ("2", 2), ("SIGUSR1", 10), ("31", 31)]
        {
            assert_eq!(signal(text), Ok(number), "{text}");
        }
        for text in ["0", "32", "SIGNOPE", "sigterm", "", "-1", "300"] {
            assert_eq!(signal(text), Err(NotAUnit::Signal), "{text}");
        }
    }
}
