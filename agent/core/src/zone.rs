//! Time zone of the device: the offset from UTC at a moment, read from a file of the system's
//! database (TZif, RFC 9636) or from a rule of POSIX (`CET-1CEST,M3.5.0,M10.5.0/3`).
//!
//! See decision 0178.

mod offset;
mod rule;
mod tzif;

pub use rule::NotARule;
pub use tzif::NotAZone;

pub(crate) use offset::DAY;
use offset::Offset;
use rule::Rule;

/// Time zone: the moments at which its offset changed or will change, and a rule for the time after
/// them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Moment of each change in seconds since 1970, ascending, and the number of the offset in
    /// `offsets` that holds from then on.
    changes: Vec<(i64, usize)>,
    offsets: Vec<Offset>,
    /// Rule for the time after the last change. None: the last offset goes on.
    rule: Option<Rule>,
}

impl Default for Zone {
    fn default() -> Self {
        Self::utc()
    }
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        let offsets = vec![Offset { seconds: 0, name: "UTC".into() }];
        Self { changes: Vec::new(), offsets, rule: None }
    }

    /// Reads a file of the system's database.
    ///
    /// # Errors
    /// [`NotAZone`].
    pub fn read(file: &[u8]) -> Result<Self, NotAZone> {
        let tzif::Content { changes, offsets, rule } = tzif::read(file)?;
        Ok(Self { changes, offsets, rule })
    }

    /// Reads a rule of POSIX, such as `CET-1CEST,M3.5.0,M10.5.0/3` or `<+05>-5`.
    ///
    /// # Errors
    /// [`NotARule`].
    pub fn of_rule(text: &str) -> Result<Self, NotARule> {
        let rule = rule::parse(text)?;
        Ok(Self { changes: Vec::new(), offsets: Vec::new(), rule: Some(rule) })
    }

    /// Seconds that the local time is ahead of UTC at a moment, in seconds since 1970.
    pub fn offset(&self, moment: i64) -> i64 {
        self.at(moment).map_or(0, |offset| offset.seconds)
    }

    /// Abbreviation of the local time at a moment, such as `CEST`.
    pub fn name(&self, moment: i64) -> &str {
        self.at(moment).map_or("UTC", |offset| &offset.name)
    }

    /// Moment at which local clocks show a time, which is given as if it were seconds of UTC. Of two
    /// such moments (clocks are set back) it is the first. A time that is skipped (clocks are set
    /// forward) counts by the offset before: 02:30 is then 03:30.
    pub fn moment(&self, local: i64) -> i64 {
        // No zone is more than a day off, and none changes twice within two days.
        let (before, after) = (self.offset(local - DAY), self.offset(local + DAY));
        let (first, second) = (local - before, local - after);
        if self.offset(first) != before && self.offset(second) == after { second } else { first }
    }

    fn at(&self, moment: i64) -> Option<&Offset> {
        let begun = self.changes.partition_point(|(at, _)| *at <= moment);
        if begun == self.changes.len()
            && let Some(rule) = &self.rule
        {
            return Some(rule.at(moment));
        }
        // Before the first change the first offset holds, by RFC 9636.
        let number = begun.checked_sub(1).and_then(|last| self.changes.get(last));
        self.offsets.get(number.map_or(0, |(_, number)| *number))
    }
}

#[cfg(test)]
mod tests;
