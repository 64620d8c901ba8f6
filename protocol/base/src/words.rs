//! Times and amounts as people read them: in UTC, and in the units of the documents.

/// Formats a number of bytes: `512`, `1.5Ki`, `40Ki`.
pub fn size(bytes: u64) -> String {
    let (mut factor, mut unit) = (1_u64, "");
    for name in ["Ki", "Mi", "Gi", "Ti"] {
        if bytes / 1_024 < factor {
            break;
        }
        (factor, unit) = (factor * 1_024, name);
    }
    let (whole, tenths) = (bytes / factor, bytes % factor * 10 / factor);
    if whole < 10 && tenths > 0 {
        format!("{whole}.{tenths}{unit}")
    } else {
        format!("{whole}{unit}")
    }
}

/// Formats the distance of `then` from `now`, both in seconds since 1970: `in 6h`, `5m ago`.
pub fn until(then: u64, now: u64) -> String {
    if then > now {
        format!("in {}", length(then - now))
    } else {
        format!("{} ago", length(now - then))
    }
}

/// Formats a duration in one unit: `119s`, `2m`, `47h`, `2d`.
pub fn length(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Formats a time in seconds since 1970 to the minute: `2026-11-28 01:00 UTC`.
pub fn moment(seconds: u64) -> String {
    let (year, month, day) = date(seconds / 86_400);
    format!("{year}-{month:02}-{day:02} {} UTC", time_of_day(seconds))
}

/// Formats the time of the day of a time in seconds since 1970: `01:00`.
pub fn time_of_day(seconds: u64) -> String {
    format!("{:02}:{:02}", seconds / 3_600 % 24, seconds / 60 % 60)
}

/// Returns year, month and day of a number of days since 1970-01-01, after Howard Hinnant's
/// `civil_from_days`. Its years begin in March, so that the leap day is the last day of a year.
pub fn date(day: u64) -> (u64, u64, u64) {
    let shifted = day.saturating_add(719_468);
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_moments_in_words() {
        for (bytes, text) in [
            (0, "0"),
            (1_023, "1023"),
            (1_024, "1Ki"),
            (1_536, "1.5Ki"),
            (10_500, "10Ki"),
            (1_048_576, "1Mi"),
            (5 << 40, "5Ti"),
            (u64::MAX, "16777215Ti"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!((until(1_000, 900), until(900, 1_000)), ("in 100s".into(), "100s ago".into()));
        assert_eq!(until(25_000, 0), "in 6h");
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_709_208_000, "2024-02-29 12:00 UTC"),
            (1_795_467_661, "2026-11-23 21:01 UTC"),
            (1_704_067_199, "2023-12-31 23:59 UTC"),
        ] {
            assert_eq!(moment(seconds), text);
        }
    }
}
