//! A question, as it travels: which records, in which groups, and what of each.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::number::Number;
use super::path::Path;

/// Most things selected.
pub const MAX_SELECT: usize = 32;
/// Most keys that group.
pub const MAX_BY: usize = 8;
/// Deepest nesting of a condition.
pub const MAX_NESTED: usize = 32;
/// Most comparisons of a condition, and most values of an `in`.
pub const MAX_TERMS: usize = 64;
/// Longest text of a part of a question, in bytes.
pub const MAX_TEXT: usize = 4096;

/// What is asked of the records of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// What is said of each group; at least one.
    pub select: Vec<Select>,
    /// Which records count; absent: all.
    pub filter: Option<Condition>,
    /// Values in records by which they are grouped.
    pub by: Vec<Path>,
    /// Length of a window in milliseconds, beginning at multiples of it since 1970; 0: all time
    /// is one.
    pub every_ms: u64,
    /// Only records from this time on, in milliseconds since 1970.
    pub since: u64,
    /// Only records before this time, which is later than `since`; 0: until now.
    pub until: u64,
}

/// One thing said of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// What.
    pub function: Function,
    /// Of the numbers at this path; absent: of the records (`count` alone).
    pub path: Option<Path>,
}

/// What can be said of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// How many.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The last by time.
    Last,
    /// The standard deviation, of the numbers as a whole.
    Stddev,
    /// A quantile, in thousandths.
    Quantile(u16),
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count => f.write_str("count"),
            Self::Sum => f.write_str("sum"),
            Self::Mean => f.write_str("mean"),
            Self::Min => f.write_str("min"),
            Self::Max => f.write_str("max"),
            Self::Last => f.write_str("last"),
            Self::Stddev => f.write_str("stddev"),
            Self::Quantile(thousandths) if thousandths % 10 == 0 => {
                write!(f, "p{}", thousandths / 10)
            }
            Self::Quantile(thousandths) => {
                write!(f, "p{}.{}", thousandths / 10, thousandths % 10)
            }
        }
    }
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            None => write!(f, "{}", self.function),
            Some(path) => write!(f, "{}({path})", self.function),
        }
    }
}

/// Which records count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// All of these.
    #[serde(rename = "&")]
    And(Vec<Condition>),
    /// One of these.
    #[serde(rename = "|")]
    Or(Vec<Condition>),
    /// Not this.
    #[serde(rename = "!")]
    Not(Box<Condition>),
    /// One value beside another.
    #[serde(rename = "c")]
    Compare(Operand, Comparison, Operand),
    /// The value is one of these.
    #[serde(rename = "i")]
    In(Path, Vec<Operand>),
    /// The text has this in it.
    #[serde(rename = "t")]
    Contains(Path, String),
    /// There is something, and it is not `null`.
    #[serde(rename = "e")]
    Exists(Path),
    /// It is `true`.
    #[serde(rename = "b")]
    True(Path),
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// What the record has there.
    Path(Path),
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// `null`, and what is not there.
    Null,
}

/// How two values are compared. Those of different kinds are different, and neither is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// The same.
    #[serde(rename = "=")]
    Equal,
    /// Not the same.
    #[serde(rename = "!=")]
    Different,
    /// Below.
    #[serde(rename = "<")]
    Less,
    /// Not above.
    #[serde(rename = "<=")]
    AtMost,
    /// Above.
    #[serde(rename = ">")]
    Greater,
    /// Not below.
    #[serde(rename = ">=")]
    AtLeast,
}

impl Question {
    /// Whether it is within bounds: what came off the network may not be.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), String> {
        if self.select.is_empty() || self.select.len() > MAX_SELECT {
            return Err(format!("between 1 and {MAX_SELECT} things can be selected"));
        }
        if self.by.len() > MAX_BY {
            return Err(format!("at most {MAX_BY} keys can group"));
        }
        for select in &self.select {
            if select.path.is_none() && select.function != Function::Count {
                return Err(format!("{select} needs a path"));
            }
            if matches!(select.function, Function::Quantile(1001..)) {
                return Err(format!("{select} is no quantile: p0 to p100"));
            }
        }
        let mut terms = 0;
        if let Some(filter) = &self.filter {
            filter.check(0, &mut terms)?;
        }
        Ok(())
    }
}

impl Condition {
    fn check(&self, depth: usize, terms: &mut usize) -> Result<(), String> {
        if depth >= MAX_NESTED {
            return Err(format!("a condition nested deeper than {MAX_NESTED}"));
        }
        let more = match self {
            Self::And(all) | Self::Or(all) => {
                return all.iter().try_for_each(|one| one.check(depth + 1, terms));
            }
            Self::Not(one) => return one.check(depth + 1, terms),
            Self::In(_, values) => values.len(),
            _ => 1,
        };
        *terms += more.max(1);
        if *terms > MAX_TERMS {
            return Err(format!("a condition of more than {MAX_TERMS} comparisons"));
        }
        Ok(())
    }
}
