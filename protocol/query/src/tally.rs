//! Intermediate result for the numbers of one field: enough for every aggregate, and mergeable.
//!
//! See decision 0091.

use serde::{Serialize, Serializer};

use super::ast::Function;
use super::number::Number;
use super::sketch::{Sketch, rank};

/// Sum of numbers as two doubles that do not overlap: `low` holds what `high` alone would lose.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sum {
    high: f64,
    low: f64,
}

/// Writes the sum as one number, the nearest.
impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.number().serialize(serializer)
    }
}

/// Returns `a + b` exactly, as the nearest double and the remainder (Knuth's two-sum).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

impl Sum {
    /// Adds a number to the sum.
    pub fn add(&mut self, number: Number) {
        self.merge(&Self::of(number));
    }

    /// Adds another sum to this one.
    pub fn merge(&mut self, other: &Self) {
        let (high, rest) = two_sum(self.high, other.high);
        let (high, low) = two_sum(high, rest + self.low + other.low);
        *self = if high.is_finite() { Self { high, low } } else { Self { high, low: 0.0 } };
    }

    /// Returns the sum of one number.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a double of a number of 64 bits is less than 2^12 away from it"
    )]
    pub(super) fn of(number: Number) -> Self {
        let high = number.float();
        let low = number.whole().map_or(0.0, |whole| (whole - high as i128) as f64);
        Self { high, low }
    }

    /// Returns the nearest double.
    pub fn value(&self) -> f64 {
        self.high + self.low
    }

    /// Returns the sum as one number: a whole one if it is beyond the range where doubles are
    /// exact.
    #[allow(clippy::cast_possible_truncation, reason = "whole, and less than 2^65")]
    pub fn number(&self) -> Number {
        let value = self.value();
        let whole = self.high.fract() == 0.0 && self.low.fract() == 0.0;
        if whole && (9e15..2e19).contains(&value.abs()) {
            Number::wide(self.high as i128 + self.low as i128)
        } else {
            Number::Float(value)
        }
    }
}

/// Parts of a [`Tally`] that are kept: those that some selection needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Sum: also for means, and for deviations, which need the mean.
    pub sum: bool,
    /// Least and greatest number: also for quantiles, which are never outside of them.
    pub ends: bool,
    /// Last number by time.
    pub last: bool,
    /// Squared distances from the mean: for deviations.
    pub squares: bool,
    /// Sketch of the numbers: for quantiles.
    pub sketch: bool,
}

impl Kept {
    /// Adds the parts that a function needs.
    pub(super) fn take(&mut self, function: Function) {
        match function {
            Function::Count => {}
            Function::Sum | Function::Mean => self.sum = true,
            Function::Min | Function::Max => self.ends = true,
            Function::Last => self.last = true,
            Function::Stddev => (self.sum, self.squares) = (true, true),
            Function::Quantile(_) => (self.ends, self.sketch) = (true, true),
        }
    }
}

/// Intermediate result for the numbers of one field.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Tally {
    /// Number of numbers counted.
    pub count: u64,
    /// Sum of the numbers.
    pub sum: Sum,
    /// Least and greatest number; None: no number yet, or not kept.
    pub ends: Option<(Number, Number)>,
    /// Time, sequence number and value of the last number; at equal times the higher sequence
    /// number.
    pub last: Option<(u64, u64, Number)>,
    /// Sum of the squared distances from the mean (Chan, Golub and LeVeque).
    pub squares: f64,
    /// Sketch of the numbers, for quantiles.
    pub sketch: Sketch,
}

#[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

impl Tally {
    /// Counts a number of a record with this time and sequence number.
    pub fn add(&mut self, kept: Kept, time: u64, seq: u64, number: Number) {
        let double = number.float();
        if kept.squares {
            // The squared distances grow by d² * n / (n + 1), with the distance d from the mean of
            // the n numbers before: exact, and without the difference of two large sums. The first
            // number adds 0.
            let before = self.mean().unwrap_or(double);
            let far = double - before;
            let count = float(self.count);
            self.squares += far * far * count / (count + 1.0);
        }
        self.count += 1;
        self.sum.add(number);
        self.ends = Some(
            self.ends.map_or((number, number), |(low, high)| (low.min(number), high.max(number))),
        );
        self.latest((time, seq, number));
        if kept.sketch {
            self.sketch.add(double);
        }
    }

    fn latest(&mut self, other: (u64, u64, Number)) {
        if self.last.is_none_or(|last| (last.0, last.1) < (other.0, other.1)) {
            self.last = Some(other);
        }
    }

    /// Merges another tally into this one.
    pub fn merge(&mut self, other: &Self) {
        if let (Some(mine), Some(others)) = (self.mean(), other.mean()) {
            // Between two groups of a and b numbers whose means are d apart, the squared distances
            // from the common mean grow by d² * a * b / (a + b).
            let far = others - mine;
            let (a, b) = (float(self.count), float(other.count));
            self.squares += other.squares + far * far * a * b / (a + b);
        } else {
            self.squares += other.squares;
        }
        self.count = self.count.saturating_add(other.count);
        self.sum.merge(&other.sum);
        self.ends = match (self.ends, other.ends) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        if let Some(last) = other.last {
            self.latest(last);
        }
        self.sketch.merge(&other.sketch);
    }

    /// Clears the parts that are not kept. The sum is rounded to one number; the loss is below that
    /// number's own precision.
    pub(super) fn keep(&mut self, kept: Kept) {
        self.sum = if kept.sum { Sum::of(self.sum.number()) } else { Sum::default() };
        self.ends = self.ends.filter(|_| kept.ends);
        self.last = self.last.filter(|_| kept.last);
        // Squares and sketch need no clearing: they are never filled unless kept.
    }

    /// Returns the mean; None: no number.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum.value() / float(self.count))
    }

    /// Returns the standard deviation of the population (divided by the count); None: no number.
    pub fn deviation(&self) -> Option<f64> {
        (self.count > 0).then(|| (self.squares / float(self.count)).max(0.0).sqrt())
    }

    /// Returns a quantile by nearest rank, within the exact least and greatest number.
    pub fn quantile(&self, thousandths: u16) -> Option<Number> {
        let (low, high) = self.ends?;
        let rank = rank(thousandths, self.count)?;
        if rank == 0 {
            return Some(low);
        }
        if rank + 1 == self.count {
            return Some(high);
        }
        self.sketch.quantile(thousandths).map(|number| Number::Float(number).max(low).min(high))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Kept = Kept { sum: true, ends: true, last: true, squares: true, sketch: true };

    fn of(numbers: &[(u64, f64)]) -> Tally {
        let mut tally = Tally::default();
        for (at, (time, number)) in numbers.iter().enumerate() {
            tally.add(ALL, *time, at as u64, Number::Float(*number));
        }
        tally
    }

    fn near(a: f64, b: f64, scale: f64) -> bool {
        (a - b).abs() <= 1e-9 * scale.max(1e-300)
    }

    fn numbers() -> impl Strategy<Value = Vec<(u64, f64)>> {
        proptest::collection::vec((0..20u64, -1e6..1e6f64), 0..80)
    }

    proptest! {
        #[test]
        fn merging_is_associative(a in numbers(), b in numbers(), c in numbers()) {
            let [x, y, z] = [&a, &b, &c].map(|part| of(part));
            let (mut left, mut right, mut all) = (x.clone(), y.clone(), x);
            left.merge(&y);
            left.merge(&z);
            right.merge(&z);
            all.merge(&right);
            prop_assert_eq!((left.count, left.ends, left.last), (all.count, all.ends, all.last));
            prop_assert_eq!(&left.sketch, &all.sketch);
            prop_assert!((left.sum.value() - all.sum.value()).abs() <= 1e-9);
            prop_assert!(near(left.squares, all.squares, left.squares));
        }

        #[test]
        fn it_says_what_the_numbers_are(parts in proptest::collection::vec(numbers(), 1..4)) {
            let mut tally = Tally::default();
            for part in &parts {
                tally.merge(&of(part));
            }
            let all: Vec<f64> = parts.concat().iter().map(|(_, number)| *number).collect();
            prop_assert_eq!(tally.count, all.len() as u64);
            let Some(mean) = tally.mean() else { return Ok(()) };
            let exact = all.iter().sum::<f64>() / all.len() as f64;
            prop_assert!(near(mean, exact, 1e6));
            let squares: f64 = all.iter().map(|x| (x - exact) * (x - exact)).sum();
            prop_assert!(near(tally.deviation().unwrap(), (squares / all.len() as f64).sqrt(), 1e6));
            prop_assert_eq!(tally.quantile(0).map(Number::float), all.iter().copied().reduce(f64::min));
            prop_assert_eq!(tally.quantile(1000).map(Number::float), all.iter().copied().reduce(f64::max));
        }
    }

    #[test]
    fn a_sum_keeps_what_one_double_would_lose() {
        let mut sum = Sum::default();
        for number in [1e16, 1.0, -1e16, 1e-3] {
            sum.add(Number::Float(number));
        }
        assert_eq!(sum.value(), 1.001);
        let mut many = Sum::default();
        for _ in 0..1_000_000 {
            many.add(Number::Float(0.1));
        }
        assert!((many.value() - 100_000.0).abs() < 1e-9, "{}", many.value());
    }
}
