//! Points in time as RFC 3339 text in UTC, and durations as people write them.

use holdfast_base::words::date;

/// Formats seconds since 1970 as `2026-11-23T21:00:00Z`.
pub fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3_600, rest % 3_600 / 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Formats milliseconds since 1970 as `2026-11-23T21:00:00.123Z`.
pub fn rfc3339_millis(millis: u64) -> String {
    let mut text = rfc3339(millis / 1_000);
    text.pop();
    format!("{text}.{:03}Z", millis % 1_000)
}

/// Parses a duration such as `30d`, `12h`, `15m` or `90s` to seconds. None: another form, zero, or
/// more than a century.
pub fn duration(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.strip_prefix(digits)? {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (1..=100 * 366 * 86_400).contains(&seconds).then_some(seconds)
}

/// Parses a point in time to milliseconds since 1970. It is RFC 3339 (`2026-11-23T21:00:00.5Z`,
/// `…+02:00`, or the date alone), or a duration before `now` (`2h`, `-24h`, `0s` or `now`). None:
/// another form, or before 1970.
pub fn moment(text: &str, now: u64) -> Option<u64> {
    let text = text.trim();
    if text == "now" {
        return Some(now);
    }
    let back = text.strip_prefix('-').unwrap_or(text);
    if back == "0s" {
        return Some(now);
    }
    if let Some(seconds) = duration(back) {
        return now.checked_sub(seconds.checked_mul(1_000)?);
    }
    let (date, rest) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00:00Z"));
    let days = days(date)?;
    let (clock, offset) = zone(rest)?;
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(whole, ':')?;
    if hour > 23 || minute > 59 || second > 59 || fraction.is_empty() {
        return None;
    }
    let digits: String = fraction.chars().chain("00".chars()).take(3).collect();
    let millis = if fraction.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse::<u64>().ok()?
    } else {
        return None;
    };
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    let seconds = i64::try_from(seconds).ok()?.checked_sub(offset)?;
    u64::try_from(seconds).ok()?.checked_mul(1_000)?.checked_add(millis)
}

/// Parses three numbers of one to four digits with `between` between them.
fn numbers(text: &str, between: char) -> Option<[u64; 3]> {
    let number = |text: &str| {
        let good = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| good)
    };
    let all: Vec<u64> = text.split(between).map(number).collect::<Option<_>>()?;
    all.try_into().ok()
}

/// Returns the days since 1970 of a date such as `2026-11-23`.
fn days(date: &str) -> Option<u64> {
    let [year, month, day] = numbers(date, '-')?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1970..=9999).contains(&year) || !(1..=last).contains(&day) {
        return None;
    }
    // The year is taken to begin in March, so that a leap day is the last of its year and the
    // months before it have fixed lengths: `(153 * m + 2) / 5` is the day on which month m begins,
    // with March as 0. 719,468 days lie between 0000-03-01 and 1970-01-01.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    (era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year).checked_sub(719_468)
}

/// Splits off the offset to UTC. Returns the time of day and the seconds by which it is ahead of
/// UTC.
fn zone(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let (clock, offset) = text.split_at_checked(text.rfind(['+', '-'])?)?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let (hours, minutes) = (hours.parse::<u32>().ok()?, minutes.parse::<u32>().ok()?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = i64::from(hours * 3_600 + minutes * 60);
    Some((clock, if offset.starts_with('-') { -seconds } else { seconds }))
}

/// Formats a duration in words, in its largest unit, such as `90 s`, `15 min` or `3 days`.
pub fn words(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_467_661, "2026-11-23T21:01:01Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now = 1_795_467_661_500;
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-23T21:01:01Z", Some(1_795_467_661_000)),
            ("2026-11-23T21:01:01.5Z", Some(1_795_467_661_500)),
            ("2026-11-23t21:01:01.123456z", Some(1_795_467_661_123)),
            ("2026-11-23T22:01:01+01:00", Some(1_795_467_661_000)),
            ("2026-11-23 20:31:01-00:30", Some(1_795_467_661_000)),
            ("2000-02-29", Some(951_782_400_000)),
            ("now", Some(now)),
            ("0s", Some(now)),
            ("2h", Some(now - 7_200_000)),
            ("-24h", Some(now - 86_400_000)),
            ("1970-01-01T00:00:00+01:00", None),
            ("100000d", None),
            ("2026-13-01", None),
            ("2026-00-10", None),
            ("2026-01-00", None),
            ("2026-01-32", None),
            ("2026-02-29", None),
            ("2026-02-30T00:00:00Z", None),
            ("2025-02-29T00:00:00Z", None),
            ("2100-02-29", None),
            ("2024-02-29", Some(1_709_164_800_000)),
            ("2026-04-31", None),
            ("2026-06-31", None),
            ("2026-09-31", None),
            ("2026-11-31", None),
            ("2026-11-23T21:01:60Z", None),
            ("2026-11-23T24:00:00Z", None),
            ("2026-11-23T21:01:01", None),
            ("2026-11-23T21:01:01.Z", None),
            ("2026-11-23T21:01Z", None),
            ("2026-11-23T+1:01:01Z", None),
            ("yesterday", None),
            ("1795467661", None),
            ("", None),
        ] {
            assert_eq!(moment(text, now), millis, "{text}");
        }
        for millis in [0, 951_782_399_999, now] {
            assert_eq!(moment(&rfc3339_millis(millis), now), Some(millis));
        }
    }

    #[test]
    fn lengths_have_a_unit() {
        assert_eq!(duration("6s"), Some(6));
        assert_eq!(duration("30d"), Some(2_592_000));
        for bad in ["", "s", "6", "6 s", "-1s", "0s", "1y", "99999999999999999999d", "99999d"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
