//! Form of `windows` in `Workload` documents: times of the day, on some days of the week, within
//! which a device downloads and turns to another revision.
//!
//! See decision 0178.

use holdfast_protocol::workload::{EVERY_DAY, MAX_WINDOWS, Window, Windows};

use super::at::At;

/// Days of the week, in the order of the bits of [`Window::days`].
const WEEK: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Regular expression of a window, for the schema.
const PATTERN: &str = r"^((Mon|Tue|Wed|Thu|Fri|Sat|Sun)(-(Mon|Tue|Wed|Thu|Fri|Sat|Sun))?(,(Mon|Tue|Wed|Thu|Fri|Sat|Sun)(-(Mon|Tue|Wed|Thu|Fri|Sat|Sun))?)* )?([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$";

/// Text that is no window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum NotAWindow {
    #[error("not a window, such as 22:00-06:00 or Sat,Sun 02:00-04:00")]
    Form,
    #[error("unknown day of the week; there are Mon, Tue, Wed, Thu, Fri, Sat and Sun")]
    Day,
    #[error("not times of the day: write them as HH:MM, 00:00 to 24:00, such as 02:00-04:00")]
    Time,
    #[error(
        "it ends when it begins; a whole day is 00:00-24:00, and without windows it is any time"
    )]
    Empty,
}

/// Decodes the windows of a workload. `None` if faults were noted.
pub(super) fn windows(at: &At<'_>) -> Option<Windows> {
    let about = "Times at which devices download what a revision needs, and turn to it, in each device's own time zone: `22:00-06:00`, `Sat,Sun 02:00-04:00`, `Mon-Fri 00:00-24:00`. One that ends on the next day belongs to the day on which it begins.";
    at.object(about, "", |fields| {
        let download = fields.or(
            "download",
            "Windows within which devices download. Default: at any time.",
            Vec::new(),
            list,
        );
        let switch = fields.or(
            "switch",
            "Windows within which devices replace a revision by another one. A first start, restarts and the way back to the last revision that worked do not wait. Default: at any time.",
            Vec::new(),
            list,
        );
        Some(Windows { download: download?, switch: switch? })
    })
}

fn list(at: &At<'_>) -> Option<Vec<Window>> {
    at.put("maxItems", MAX_WINDOWS);
    let count = at.value().as_array().map_or(0, Vec::len);
    if count > MAX_WINDOWS {
        at.fault(format!("{count} windows, at most {MAX_WINDOWS}"));
        return None;
    }
    at.each(|at| at.put("pattern", PATTERN).parsed(window)).into_iter().collect()
}

fn window(text: &str) -> Result<Window, NotAWindow> {
    let (days, times) = match text.split_once(' ') {
        Some((days, times)) => (days_of(days)?, times),
        None => (EVERY_DAY, text),
    };
    let (from, to) = times.split_once('-').ok_or(NotAWindow::Form)?;
    let (from, to) = (minutes(from)?, minutes(to)?);
    if from == to {
        return Err(NotAWindow::Empty);
    }
    // 24:00 is an end alone; an end at 00:00 is the same moment.
    if from == 24 * 60 {
        return Err(NotAWindow::Time);
    }
    Ok(Window { from, to: if to == 0 { 24 * 60 } else { to }, days })
}

fn minutes(text: &str) -> Result<u16, NotAWindow> {
    let two = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten().ok_or(NotAWindow::Time)
    };
    let (hours, minutes) = text.split_once(':').ok_or(NotAWindow::Time)?;
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let all = hours * 60 + minutes;
    if minutes < 60 && all <= 24 * 60 { Ok(all) } else { Err(NotAWindow::Time) }
}

/// Days of `Sat,Sun` or `Mon-Fri`, as bits.
fn days_of(text: &str) -> Result<u8, NotAWindow> {
    let day = |name: &str| WEEK.iter().position(|it| *it == name).ok_or(NotAWindow::Day);
    let mut bits = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // Fri-Mon goes over the end of the week.
        let length = (last + 7 - first) % 7;
        for at in 0..=length {
            bits |= 1 << ((first + at) % 7);
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_from_texts() {
        let day = |from, to| Window { from, to, days: EVERY_DAY };
        for (text, read) in [
            ("22:00-06:00", Ok(day(1_320, 360))),
            ("00:00-24:00", Ok(day(0, 1_440))),
            ("20:15-00:00", Ok(day(1_215, 1_440))),
            ("Sat,Sun 02:00-04:00", Ok(Window { from: 120, to: 240, days: 0b110_0000 })),
            ("Mon-Fri 01:00-02:00", Ok(Window { from: 60, to: 120, days: 0b001_1111 })),
            ("Fri-Mon 01:00-02:00", Ok(Window { from: 60, to: 120, days: 0b111_0001 })),
            ("Wed,Fri-Sat 01:00-02:00", Ok(Window { from: 60, to: 120, days: 0b011_0100 })),
            ("Mon-Sun 01:00-02:00", Ok(day(60, 120))),
            ("", Err(NotAWindow::Form)),
            ("02:00", Err(NotAWindow::Form)),
            ("Sat", Err(NotAWindow::Form)),
            ("2:00-4:00", Err(NotAWindow::Time)),
            ("02:00 - 04:00", Err(NotAWindow::Day)),
            ("02:00-04:60", Err(NotAWindow::Time)),
            ("02:00-24:01", Err(NotAWindow::Time)),
            ("24:00-02:00", Err(NotAWindow::Time)),
            ("+2:00-04:00", Err(NotAWindow::Time)),
            ("Sam 02:00-04:00", Err(NotAWindow::Day)),
            ("sat 02:00-04:00", Err(NotAWindow::Day)),
            ("Sat, 02:00-04:00", Err(NotAWindow::Day)),
            ("02:00-02:00", Err(NotAWindow::Empty)),
        ] {
            assert_eq!(window(text), read, "{text}");
        }
    }
}
