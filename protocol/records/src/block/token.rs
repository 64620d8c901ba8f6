//! A record's text split into a template and the values of its holes: numbers, texts and times,
//! each restored byte for byte.
//!
//! No parser: any bytes are split by what they look like. JSON is split best.
//!
//! See decision 0052.

/// Byte in a template that stands for a decimal number.
pub(super) const NUMBER: u8 = 1;
/// Byte in a template that stands for a text.
pub(super) const TEXT: u8 = 2;
/// Byte in a template that stands for a date and time of day; the next byte gives its form.
pub(super) const TIME: u8 = 3;

/// Mask in the byte after [`TIME`]: number of digits of the second's fraction.
const DIGITS: u8 = 0x0f;
/// Flag in the byte after [`TIME`]: a blank separates date and time, not a `T`.
const BLANK: u8 = 0x10;

/// Most holes of a record; with more, the columns would cost more than they save.
pub(super) const MAX_HOLES: usize = 256;

/// Value that fills a hole of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hole<'a> {
    /// The number `mantissa / 10^scale`, written without exponent.
    Number { mantissa: i64, scale: u8 },
    /// Text that is written unchanged.
    Text(&'a [u8]),
    /// Time since 1970, in units of the fraction's last digit: milliseconds for three digits.
    Time(i64),
}

/// Splits a record into template and holes. Returns false if it is better left whole.
pub(super) fn cut<'a>(value: &'a [u8], template: &mut Vec<u8>, holes: &mut Vec<Hole<'a>>) -> bool {
    template.clear();
    holes.clear();
    let mut at = 0;
    // Start of the text that is not in the template yet; it ends at `at`.
    let mut from = 0;
    let mut before = b' ';
    while let Some(&byte) = value.get(at) {
        let found = match byte {
            0..=TIME => return false,
            b'"' => match text(value, at + 1) {
                Some((end, false)) => Some((at + 1, end, Hole::Text(slice(value, at + 1, end)))),
                Some((end, true)) => {
                    at = end + 1;
                    before = b'"';
                    continue;
                }
                None => None,
            },
            b'-' | b'0'..=b'9' if begins(before) => time_or_number(value, at),
            b't' | b'f' | b'n' if begins(before) => word(value, at),
            _ => None,
        };
        let Some((start, end, hole)) = found else {
            before = byte;
            at += 1;
            continue;
        };
        if holes.len() >= MAX_HOLES {
            return false;
        }
        template.extend_from_slice(slice(value, from, start));
        // A text may begin with a time of day and go on: its rest stays in the template.
        let (end, hole) = match (hole, time(value, start)) {
            (Hole::Text(text), Some((time_end, form, since)))
                if time_end <= end && text.len() < 40 =>
            {
                template.extend([TIME, form]);
                (time_end, Hole::Time(since))
            }
            (Hole::Text(_), _) => {
                template.push(TEXT);
                (end, hole)
            }
            (Hole::Number { .. }, _) => {
                template.push(NUMBER);
                (end, hole)
            }
            (Hole::Time(since), Some((_, form, _))) => {
                template.extend([TIME, form]);
                (end, Hole::Time(since))
            }
            (Hole::Time(_), None) => return false, // cannot be: it was just read
        };
        holes.push(hole);
        // The closing quote of a text is skipped, since it would otherwise open the next text.
        let quoted = byte == b'"';
        from = end;
        at = end;
        if quoted {
            while value.get(at).is_some_and(|&byte| byte != b'"') {
                at += 1;
            }
            at += 1;
        }
        before = b'x';
    }
    if slice(value, from, value.len()).iter().any(|&byte| byte <= TIME) {
        return false;
    }
    template.extend_from_slice(slice(value, from, value.len()));
    true
}

fn slice(bytes: &[u8], from: usize, to: usize) -> &[u8] {
    bytes.get(from..to.min(bytes.len())).unwrap_or_default()
}

/// Returns true if a value may begin after this byte.
fn begins(before: u8) -> bool {
    matches!(before, b' ' | b'\t' | b'\n' | b':' | b',' | b'[' | b'{' | b'(' | b'=' | b';')
}

/// Returns the end of a quoted text that begins at `at`, and whether it is a field's name
/// (`"name":`).
fn text(value: &[u8], at: usize) -> Option<(usize, bool)> {
    let mut end = at;
    loop {
        match *value.get(end)? {
            b'"' => break,
            b'\\' if *value.get(end + 1)? > TIME => end += 2,
            b'\\' | 0..=TIME => return None,
            _ => end += 1,
        }
    }
    let mut after = end + 1;
    while matches!(value.get(after), Some(b' ')) {
        after += 1;
    }
    Some((end, value.get(after) == Some(&b':')))
}

fn word(value: &[u8], at: usize) -> Option<(usize, usize, Hole<'_>)> {
    let rest = value.get(at..)?;
    let word = ["true", "false", "null"].into_iter().find(|w| rest.starts_with(w.as_bytes()))?;
    let end = at + word.len();
    let more = value.get(end).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    (!more).then(|| (at, end, Hole::Text(slice(value, at, end))))
}

fn time_or_number(value: &[u8], at: usize) -> Option<(usize, usize, Hole<'_>)> {
    if let Some((end, _, since)) = time(value, at) {
        return Some((at, end, Hole::Time(since)));
    }
    let digits = |mut at: usize| {
        while matches!(value.get(at), Some(b'0'..=b'9')) {
            at += 1;
        }
        at
    };
    let minus = usize::from(value.get(at) == Some(&b'-'));
    let whole = digits(at + minus);
    if whole == at + minus {
        return None;
    }
    let mut end = whole;
    if value.get(whole) == Some(&b'.') {
        let fraction = digits(whole + 1);
        if fraction > whole + 1 {
            end = fraction;
        }
    }
    // A number with an exponent is kept as text, and so is one that would not be written the same.
    let mut plain = true;
    if matches!(value.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(value.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
            plain = false;
        }
    }
    let zeros = value.get(at + minus) == Some(&b'0') && whole > at + minus + 1;
    if plain
        && !zeros
        && end - at <= 19
        && let Some(number) = decimal(slice(value, at, end), end.saturating_sub(whole + 1))
    {
        return Some((at, end, number));
    }
    Some((at, end, Hole::Text(slice(value, at, end))))
}

/// Parses a number without leading zeros and exponent, of at most 18 digits.
fn decimal<'a>(text: &[u8], scale: usize) -> Option<Hole<'a>> {
    let mut mantissa = 0i64;
    let minus = text.first() == Some(&b'-');
    for digit in text.iter().filter(|byte| byte.is_ascii_digit()) {
        mantissa = mantissa.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
    }
    if minus && mantissa == 0 {
        return None; // -0
    }
    let mantissa = if minus { -mantissa } else { mantissa };
    Some(Hole::Number { mantissa, scale: u8::try_from(scale).ok()? })
}

/// Parses a time such as `2026-11-24T18:51:01.123` at `at`: returns its end, its form and its
/// value.
fn time(value: &[u8], at: usize) -> Option<(usize, u8, i64)> {
    let text = value.get(at..at.checked_add(19)?)?;
    let number = |from: usize, to: usize| {
        let mut sum = 0i64;
        for digit in text.get(from..to)? {
            sum = sum * 10 + i64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        }
        Some(sum)
    };
    let dividers = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if !dividers.iter().all(|(place, divider)| text.get(*place) == Some(divider)) {
        return None;
    }
    let blank = match text.get(10)? {
        b'T' => 0,
        b' ' => BLANK,
        _ => return None,
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let days = days(year, month, day);
    if !(1970..2200).contains(&year)
        || date(days) != (year, month, day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let mut since = ((days * 24 + hour) * 60 + minute) * 60 + second;
    let mut end = at + 19;
    let mut digits = 0u8;
    if value.get(end) == Some(&b'.') {
        while let Some(digit @ b'0'..=b'9') = value.get(end + 1 + usize::from(digits)) {
            if digits >= 9 {
                return None;
            }
            since = since * 10 + i64::from(digit - b'0');
            digits += 1;
        }
        if digits > 0 {
            end += 1 + usize::from(digits);
        }
    }
    Some((end, blank | digits, since))
}

/// Returns the days since 1970 of a date from 1970 on (Howard Hinnant's `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let of_era = year % 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Returns the date of a day counted from 1970 (Howard Hinnant's `civil_from_days`).
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// Appends a number exactly as it was before it was split off.
pub(super) fn write_number(out: &mut Vec<u8>, mantissa: i64, scale: u8) {
    if mantissa < 0 {
        out.push(b'-');
    }
    let mut digits = [b'0'; 40];
    let scale = usize::from(scale);
    let (mut rest, mut count) = (mantissa.unsigned_abs(), 0);
    for place in &mut digits {
        if rest == 0 && count > scale {
            break;
        }
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        count += 1;
    }
    for at in (0..count).rev() {
        out.extend(digits.get(at));
        if at == scale && scale > 0 {
            out.push(b'.');
        }
    }
}

/// Appends a time exactly as it was before it was split off. Returns false for a form or value that
/// no reader produces.
pub(super) fn write_time(out: &mut Vec<u8>, form: u8, since: i64) -> bool {
    let digits = form & DIGITS;
    if form & !(DIGITS | BLANK) != 0 || digits > 9 {
        return false;
    }
    let unit = 10i64.pow(u32::from(digits));
    let (seconds, fraction) = (since.div_euclid(unit), since.rem_euclid(unit));
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    if !(0..84_006).contains(&days) {
        return false;
    }
    let (year, month, day) = date(days);
    padded(out, year, 4);
    out.push(b'-');
    padded(out, month, 2);
    out.push(b'-');
    padded(out, day, 2);
    out.push(if form & BLANK == 0 { b'T' } else { b' ' });
    padded(out, of_day / 3_600, 2);
    out.push(b':');
    padded(out, of_day / 60 % 60, 2);
    out.push(b':');
    padded(out, of_day % 60, 2);
    if digits > 0 {
        out.push(b'.');
        padded(out, fraction, u32::from(digits));
    }
    true
}

fn padded(out: &mut Vec<u8>, number: i64, width: u32) {
    for place in (0..width).rev() {
        out.push(b'0' + u8::try_from(number / 10i64.pow(place) % 10).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str) -> Option<(Vec<u8>, Vec<Hole<'_>>)> {
        let (mut template, mut holes) = (Vec::new(), Vec::new());
        cut(text.as_bytes(), &mut template, &mut holes).then_some((template, holes))
    }

    /// Returns the text that template and holes were split from.
    fn whole(template: &[u8], holes: &[Hole<'_>]) -> Vec<u8> {
        let (mut out, mut holes) = (Vec::new(), holes.iter());
        let mut bytes = template.iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                NUMBER | TEXT | TIME => match *holes.next().unwrap() {
                    Hole::Number { mantissa, scale } => write_number(&mut out, mantissa, scale),
                    Hole::Text(text) => out.extend_from_slice(text),
                    Hole::Time(since) => {
                        assert!(write_time(&mut out, *bytes.next().unwrap(), since));
                    }
                },
                other => out.push(other),
            }
        }
        assert!(holes.next().is_none());
        out
    }

    #[test]
    fn a_record_is_its_names_and_its_values() {
        let text = r#"{"t":-20.50,"n":7,"at":"2026-11-24T18:51:01.123Z","s":"r\"un","ok":true}"#;
        let (template, holes) = parts(text).unwrap();
        let wanted = b"{\"t\":\x01,\"n\":\x01,\"at\":\"\x03\x03Z\",\"s\":\"\x02\",\"ok\":\x02}";
        assert_eq!(template, wanted, "{}", String::from_utf8_lossy(&template));
        let since = 1_795_546_261_123;
        let numbers = [
            Hole::Number { mantissa: -2050, scale: 2 },
            Hole::Number { mantissa: 7, scale: 0 },
            Hole::Time(since),
            Hole::Text(b"r\\\"un"),
            Hole::Text(b"true"),
        ];
        assert_eq!(holes, numbers);
    }

    #[test]
    fn what_is_written_otherwise_is_a_text() {
        for odd in ["-0", "00", "-0.0", "1e5", "01.5", "123456789012345678901"] {
            let text = format!("[{odd}]");
            let (template, holes) = parts(&text).unwrap();
            assert_eq!((template, holes), (b"[\x02]".to_vec(), vec![Hole::Text(odd.as_bytes())]));
        }
        assert!(parts("a\x01b").is_none() && parts("\"a\x02\"").is_none());
        assert!(
            parts("2026-02-30 00:00:00").unwrap().1.iter().all(|h| !matches!(h, Hole::Time(_)))
        );
    }

    proptest! {
        #[test]
        fn what_is_cut_goes_together_again(text in "[\\[\\]{}\"\\\\,: =0-9eE.TZ-]{0,40}|.{0,40}") {
            if let Some((template, holes)) = parts(&text) {
                prop_assert_eq!(whole(&template, &holes), text.as_bytes());
            }
        }

        #[test]
        fn numbers_and_times_too(
            mantissa in -999_999_999_999_999_999..=999_999_999_999_999_999i64,
            scale in 0usize..10,
            seconds in 0i64..7_258_118_400,
            digits in 0u8..=9,
            blank: bool,
        ) {
            let number = format!("{:.*}", scale, mantissa as f64 / 1e9);
            let mut time = Vec::new();
            let form = digits | if blank { BLANK } else { 0 };
            let unit = 10i64.pow(digits.into());
            prop_assert!(write_time(&mut time, form, seconds * unit + mantissa.rem_euclid(unit)));
            let time = String::from_utf8(time).unwrap();
            for text in [format!("{{\"a\":{number},\"b\":\"{time}Z\"}}"), format!("{time} x={number}")] {
                let (template, holes) = parts(&text).unwrap();
                prop_assert_eq!(whole(&template, &holes), text.as_bytes());
                prop_assert_eq!(holes.iter().filter(|h| matches!(h, Hole::Time(_))).count(), 1);
            }
        }
    }
}
