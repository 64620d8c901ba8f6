//! Question over the records of a stream: which records count, how they are grouped, and what is
//! computed of each group.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::number::Number;
use super::path::{MAX_PATHS, Path};

/// Most selections of a question.
pub const MAX_SELECT: usize = 32;
/// Most keys to group by.
pub const MAX_BY: usize = 8;
/// Deepest nesting of a condition.
pub const MAX_NESTED: usize = 32;
/// Most comparisons in a condition, and most values of an `in`.
pub const MAX_TERMS: usize = 64;
/// Longest text of one part of a question, in bytes.
pub const MAX_TEXT: usize = 4096;

/// Question over the records of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// Values computed for each group; from 1 to [`MAX_SELECT`].
    pub select: Vec<Select>,
    /// Condition that a record must fulfil to count; absent: all count.
    pub filter: Option<Condition>,
    /// Paths whose values form the groups; at most [`MAX_BY`].
    pub by: Vec<Path>,
    /// Length of a window in milliseconds; windows begin at multiples of it since 1970. 0: one
    /// window for all time.
    pub every_ms: u64,
    /// Start of the time range (included), in milliseconds since 1970.
    pub since: u64,
    /// End of the time range (excluded), later than `since`, in milliseconds since 1970; 0: now.
    pub until: u64,
}

/// Value computed for each group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// Function that computes the value.
    pub function: Function,
    /// Path of the numbers that the function is applied to; absent: the records themselves (`count`
    /// only).
    pub path: Option<Path>,
}

/// Function over the numbers of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Number of values, or of records.
    Count,
    /// Sum of the numbers.
    Sum,
    /// Mean of the numbers.
    Mean,
    /// Least of the numbers.
    Min,
    /// Greatest of the numbers.
    Max,
    /// Last number by time.
    Last,
    /// Standard deviation of the population (divided by the count).
    Stddev,
    /// Quantile in thousandths: 950 is p95.
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

/// Condition on a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// True if all of these are.
    #[serde(rename = "&")]
    And(Vec<Condition>),
    /// True if at least one of these is.
    #[serde(rename = "|")]
    Or(Vec<Condition>),
    /// True if the inner condition is false.
    #[serde(rename = "!")]
    Not(Box<Condition>),
    /// Compares two values of the record or of the question.
    #[serde(rename = "c")]
    Compare(Operand, Comparison, Operand),
    /// True if the value at the path equals one of these.
    #[serde(rename = "i")]
    In(Path, Vec<Operand>),
    /// True if the text at the path contains this text.
    #[serde(rename = "t")]
    Contains(Path, String),
    /// True if the path leads to a value other than `null`.
    #[serde(rename = "e")]
    Exists(Path),
    /// True if the value at the path is `true`.
    #[serde(rename = "b")]
    True(Path),
}

/// Operand of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// Value at this path of the record.
    Path(Path),
    /// Literal number, such as `30.5`.
    Number(Number),
    /// Literal text, such as `"run"`.
    Text(String),
    /// Literal `true` or `false`.
    Bool(bool),
    /// Literal `null`; a path that leads to nothing equals it.
    Null,
}

/// Operator of a comparison. Values of different types are different, and neither is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// Equal, written `=`.
    #[serde(rename = "=")]
    Equal,
    /// Different, written `!=`.
    #[serde(rename = "!=")]
    Different,
    /// Less than, written `<`.
    #[serde(rename = "<")]
    Less,
    /// At most, written `<=`.
    #[serde(rename = "<=")]
    AtMost,
    /// Greater than, written `>`.
    #[serde(rename = ">")]
    Greater,
    /// At least, written `>=`.
    #[serde(rename = ">=")]
    AtLeast,
}

/// Bound that a question exceeds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// Nothing is selected, or more than [`MAX_SELECT`] things.
    #[error("between 1 and {MAX_SELECT} things can be selected")]
    Selections,
    /// More than [`MAX_BY`] keys to group by.
    #[error("at most {MAX_BY} keys can group")]
    Keys,
    /// Selection without the path that its function needs.
    #[error("{0} needs a path")]
    NoPath(Select),
    /// Quantile above 100 per cent.
    #[error("{0} is no quantile: p0 to p100")]
    NoQuantile(Select),
    /// Conditions within each other, deeper than [`MAX_NESTED`].
    #[error("a condition nested deeper than {MAX_NESTED}")]
    Nested,
    /// More than [`MAX_TERMS`] comparisons.
    #[error("a condition of more than {MAX_TERMS} comparisons")]
    Terms,
    /// More than [`MAX_PATHS`] different paths.
    #[error("more than {MAX_PATHS} different paths")]
    Paths,
}

impl Question {
    /// Checks the question's bounds, which bytes from the network may exceed.
    ///
    /// # Errors
    /// Returns the bound that is exceeded.
    pub fn check(&self) -> Result<(), Exceeded> {
        if self.select.is_empty() || self.select.len() > MAX_SELECT {
            return Err(Exceeded::Selections);
        }
        if self.by.len() > MAX_BY {
            return Err(Exceeded::Keys);
        }
        for select in &self.select {
            if select.path.is_none() && select.function != Function::Count {
                return Err(Exceeded::NoPath(select.clone()));
            }
            if matches!(select.function, Function::Quantile(1001..)) {
                return Err(Exceeded::NoQuantile(select.clone()));
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
    fn check(&self, depth: usize, terms: &mut usize) -> Result<(), Exceeded> {
        if depth >= MAX_NESTED {
            return Err(Exceeded::Nested);
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
            return Err(Exceeded::Terms);
        }
        Ok(())
    }
}
