//! Rule of POSIX for a time zone (`TZ`), with the hours beyond a day that RFC 9636 allows.

use holdfast_base::words::date;

use super::offset::{DAY, Offset};

/// Largest offset from UTC, in seconds: 24 hours and 59 minutes, as POSIX has it.
const MAX_OFFSET: i64 = 25 * 3_600 - 1;
/// Latest hour of a change, counted from the midnight of its day; RFC 9636.
const MAX_HOUR: i64 = 167;

/// Text that is no rule of a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no rule of a time zone, such as CET-1CEST,M3.5.0,M10.5.0/3")]
pub struct NotARule;

/// Offsets of a zone over the year.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    standard: Offset,
    summer: Option<Summer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Summer {
    offset: Offset,
    begin: Change,
    end: Change,
}

/// Moment of each year at which clocks are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    day: Day,
    /// Seconds from the midnight of that day, by the clocks before they are set.
    time: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    /// `Mm.w.d`: the w-th such weekday (0 is Sunday) of a month, the last one if w is 5.
    Weekday { month: i64, week: i64, weekday: i64 },
    /// `Jn`: day 1 to 365, without the leap day.
    Julian(i64),
    /// `n`: day 0 to 365 with the leap day.
    Zero(i64),
}

impl Rule {
    /// Offset that holds at a moment, in seconds since 1970.
    pub(super) fn at(&self, moment: i64) -> &Offset {
        let Some(summer) = &self.summer else { return &self.standard };
        let local = moment.saturating_add(self.standard.seconds);
        let year = year_of(local.div_euclid(DAY));
        let begin = summer.begin.local(year) - self.standard.seconds;
        let end = summer.end.local(year) - summer.offset.seconds;
        let is_summer = if begin <= end {
            (begin..end).contains(&moment)
        } else {
            // South of the equator the year begins in summer.
            !(end..begin).contains(&moment)
        };
        if is_summer { &summer.offset } else { &self.standard }
    }
}

impl Change {
    /// Local time of the change in a year, as if it were seconds of UTC.
    fn local(self, year: i64) -> i64 {
        let first = days_before(year);
        let day = match self.day {
            Day::Zero(day) => first + day,
            Day::Julian(day) => {
                let leap = i64::from(is_leap(year) && day >= 60);
                first + day - 1 + leap
            }
            Day::Weekday { month, week, weekday } => {
                let lengths = MONTHS.iter().enumerate().take(12);
                let length = |at: usize, days: i64| days + i64::from(at == 1 && is_leap(year));
                let lengths: Vec<i64> = lengths.map(|(at, days)| length(at, *days)).collect();
                let at = usize::try_from(month - 1).unwrap_or(0);
                let begin = first + lengths.iter().take(at).sum::<i64>();
                // 1970-01-01 was a Thursday, the fourth day from Sunday.
                let of_first = (begin + 4).rem_euclid(7);
                let mut day = (weekday - of_first).rem_euclid(7) + (week - 1) * 7;
                if day >= lengths.get(at).copied().unwrap_or(31) {
                    day -= 7;
                }
                begin + day
            }
        };
        day * DAY + self.time
    }
}

const MONTHS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days from 1970-01-01 to the first day of a year.
fn days_before(year: i64) -> i64 {
    let past = year - 1;
    let leaps = past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400);
    past * 365 + leaps - 719_162
}

fn year_of(day: i64) -> i64 {
    i64::try_from(date(u64::try_from(day).unwrap_or(0)).0).unwrap_or(1970)
}

/// Parses a rule.
pub(super) fn parse(text: &str) -> Result<Rule, NotARule> {
    let mut rest = Rest(text);
    let rule = rest.rule().ok_or(NotARule)?;
    if rest.0.is_empty() { Ok(rule) } else { Err(NotARule) }
}

/// Part of a rule that is not read yet.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn rule(&mut self) -> Option<Rule> {
        let name = self.name()?;
        let standard = Offset { seconds: -self.offset()?, name };
        if self.0.is_empty() {
            return Some(Rule { standard, summer: None });
        }
        let name = self.name()?;
        let seconds = match self.0.chars().next() {
            Some(',') | None => standard.seconds + 3_600,
            Some(_) => -self.offset()?,
        };
        let (begin, end) = (self.change()?, self.change()?);
        let offset = Offset { seconds, name };
        Some(Rule { standard, summer: Some(Summer { offset, begin, end }) })
    }

    fn skip(&mut self, mark: char) -> bool {
        let rest = self.0.strip_prefix(mark);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// Reads the characters that are of some kind.
    fn take(&mut self, is: impl Fn(char) -> bool) -> String {
        let end = self.0.find(|it| !is(it)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at_checked(end).unwrap_or(("", self.0));
        self.0 = rest;
        taken.to_owned()
    }

    fn name(&mut self) -> Option<String> {
        let name = if self.skip('<') {
            let is = |it: char| it.is_ascii_alphanumeric() || it == '+' || it == '-';
            let name = self.take(is);
            self.skip('>').then_some(name)?
        } else {
            self.take(|it| it.is_ascii_alphabetic())
        };
        (3..=16).contains(&name.len()).then_some(name)
    }

    fn number(&mut self, most: i64) -> Option<i64> {
        let digits = self.take(|it| it.is_ascii_digit());
        (digits.len() <= 3).then(|| digits.parse().ok()).flatten().filter(|it| *it <= most)
    }

    /// Reads `[+|-]hh[:mm[:ss]]` as seconds.
    fn time(&mut self, most: i64) -> Option<i64> {
        let sign = if self.skip('-') { -1 } else { 1 };
        if sign == 1 {
            self.skip('+');
        }
        let mut seconds = self.number(most)? * 3_600;
        for unit in [60, 1] {
            if self.skip(':') {
                seconds += self.number(59)? * unit;
            }
        }
        Some(sign * seconds)
    }

    fn offset(&mut self) -> Option<i64> {
        self.time(24).filter(|seconds| seconds.abs() <= MAX_OFFSET)
    }

    fn change(&mut self) -> Option<Change> {
        if !self.skip(',') {
            return None;
        }
        let day = if self.skip('M') {
            let month = self.number(12).filter(|it| *it >= 1)?;
            let week = self.skip('.').then(|| self.number(5))?.filter(|it| *it >= 1)?;
            let weekday = self.skip('.').then(|| self.number(6))??;
            Day::Weekday { month, week, weekday }
        } else if self.skip('J') {
            Day::Julian(self.number(365).filter(|it| *it >= 1)?)
        } else {
            Day::Zero(self.number(365)?)
        };
        let time = if self.skip('/') { self.time(MAX_HOUR)? } else { 2 * 3_600 };
        Some(Change { day, time })
    }
}
