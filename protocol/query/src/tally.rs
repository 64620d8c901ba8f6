//! What is kept of the numbers of one field: enough for every aggregate, and mergeable.

use serde::{Serialize, Serializer};

use super::ast::Function;
use super::number::Number;
use super::sketch::{Sketch, rank};

/// A sum of two doubles that do not overlap: what one alone would lose stands in `low`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sum {
    high: f64,
    low: f64,
}

/// As one number, the nearest.
impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.number().serialize(serializer)
    }
}

/// `a + b` exactly, as the nearest double and what is left.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

impl Sum {
    /// Adds a number.
    pub fn add(&mut self, number: Number) {
        self.merge(&Self::of(number));
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        let (high, rest) = two_sum(self.high, other.high);
        let (high, low) = two_sum(high, rest + self.low + other.low);
        *self = if high.is_finite() { Self { high, low } } else { Self { high, low: 0.0 } };
    }

    /// Of one number.
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

    /// The nearest double.
    pub fn value(&self) -> f64 {
        self.high + self.low
    }

    /// It as one number: a whole one where it is beyond what a double tells apart.
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

/// Which parts of a [`Tally`] are kept: those that somebody asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// The sum, for means too, and for deviations, which need the mean.
    pub sum: bool,
    /// The least and the greatest, for quantiles too, which are never outside of them.
    pub ends: bool,
    /// The last.
    pub last: bool,
    /// Square distances, for deviations.
    pub squares: bool,
    /// The sketch, for quantiles.
    pub sketch: bool,
}

impl Kept {
    /// Keeps what this function needs too.
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

/// What is kept of the numbers of one field.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: Sum,
    /// The least and the greatest.
    pub ends: Option<(Number, Number)>,
    /// The last, with its time and number: of the same time the greater number.
    pub last: Option<(u64, u64, Number)>,
    /// Sum of the squares of their distances from the mean (Chan, Golub and LeVeque).
    pub squares: f64,
    /// Their quantiles.
    pub sketch: Sketch,
}

#[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

impl Tally {
    /// Takes a number in, of this time and sequence number.
    pub fn add(&mut self, kept: Kept, time: u64, seq: u64, number: Number) {
        let double = number.float();
        if kept.squares {
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

    /// Takes another in.
    pub fn merge(&mut self, other: &Self) {
        if let (Some(mine), Some(others)) = (self.mean(), other.mean()) {
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

    /// Leaves out what is not kept. The sum becomes one number: what it loses is less than what
    /// that one can say.
    pub(super) fn keep(&mut self, kept: Kept) {
        self.sum = if kept.sum { Sum::of(self.sum.number()) } else { Sum::default() };
        self.ends = self.ends.filter(|_| kept.ends);
        self.last = self.last.filter(|_| kept.last);
        // Squares and sketch are not even begun where nobody asked for them.
    }

    /// The mean; None: no number.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum.value() / float(self.count))
    }

    /// The deviation of the numbers as a whole (divided by their count); None: no number.
    pub fn deviation(&self) -> Option<f64> {
        (self.count > 0).then(|| (self.squares / float(self.count)).max(0.0).sqrt())
    }

    /// A quantile by nearest rank, never outside of the least and the greatest, which are exact.
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
