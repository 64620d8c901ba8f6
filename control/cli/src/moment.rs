//! Moments and lengths of time: from the API's text to words and back.

use holdfast_base::words;

/// Parses `2026-11-23T21:00:00Z` to seconds since 1970. None: another form.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let number = |text: &str| text.parse::<u64>().ok();
    let mut parts = date.splitn(3, '-').map(number);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let whole = time.split('.').next()?;
    let mut parts = whole.splitn(3, ':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None; // 31 February passes: servers send real days only.
    }
    // Howard Hinnant, "chrono-compatible low-level date algorithms". Years begin in March, so that
    // the leap day is the last day: 2024-02-29 is day 365 of the year 2023. 719,468 are the days
    // from 0000-03-01 to 1970-01-01.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    Some(days.checked_sub(719_468)? * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Returns how long ago a moment was, in words.
pub(crate) fn ago(moment: &str, now: u64) -> String {
    match seconds(moment) {
        None => moment.to_owned(),
        Some(then) if then >= now => "now".to_owned(),
        Some(then) => format!("{} ago", words::length(now - then)),
    }
}

/// Returns how far ahead a moment is, in words.
pub(crate) fn until(moment: &str, now: u64) -> String {
    seconds(moment).map_or_else(|| moment.to_owned(), |then| words::until(then, now))
}

/// Parses a length of time such as `90s`, `15m`, `24h` or `30d` to seconds.
pub(crate) fn ttl(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no length of time: use s, m, h or d, such as 24h");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).and_then(|digits| digits.parse::<u64>().ok());
    match number.and_then(|number| number.checked_mul(factor)) {
        Some(0) => Err("it must be longer than nothing".to_owned()),
        Some(seconds) => Ok(seconds),
        None => Err(wrong()),
    }
}

/// Length of a life that may have no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ttl {
    /// It does not end by itself.
    Never,
    /// Seconds.
    Seconds(u64),
}

/// Parses a length of time as [`ttl`] does, or `never`.
pub(crate) fn ttl_or_never(text: &str) -> Result<Ttl, String> {
    if text == "never" { Ok(Ttl::Never) } else { ttl(text).map(Ttl::Seconds) }
}

/// Parses a length of time as [`ttl`] does; `0s` is none.
pub(crate) fn ttl_or_none(text: &str) -> Result<u64, String> {
    if text == "0s" { Ok(0) } else { ttl(text) }
}

/// Returns a moment and how long ago it was, or `never`.
pub(super) fn and_ago(moment: Option<&String>, now: u64) -> String {
    moment.map_or_else(|| "never".to_owned(), |at| format!("{at} ({})", ago(at, now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_become_words() {
        for (text, number) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00Z", Some(951_782_400)),
            ("2026-11-23T21:01:01Z", Some(1_795_467_661)),
            ("2026-11-23T21:01:01.250Z", Some(1_795_467_661)),
            ("2026-13-23T21:01:01Z", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), number, "{text}");
        }
        let now = 951_782_400 + 300;
        assert_eq!(ago("2000-02-29T00:00:00Z", now), "5m ago");
        assert_eq!(ago("2026-11-23T21:01:01Z", now), "now");
        assert_eq!(until("2000-02-29T01:00:00Z", now), "in 55m");
        assert_eq!(until("2000-02-29T00:00:00Z", now), "5m ago");
    }

    #[test]
    fn lengths_of_time_are_read() {
        for (text, seconds) in [("24h", 86_400), ("90s", 90), ("15m", 900), ("30d", 2_592_000)] {
            assert_eq!(ttl(text), Ok(seconds), "{text}");
        }
        for text in ["", "24", "h", "1w", "0h", "-1h", "99999999999999999999h", "1.5h", "1ö"] {
            assert!(ttl(text).is_err(), "{text}");
        }
    }
}
