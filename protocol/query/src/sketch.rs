//! Quantiles of many numbers in little memory, mergeable: a DDSketch (Masson, Rim and Lee, 2019).
//!
//! A number falls into the bin of its logarithm, so that the bin's value is never more than
//! [`RELATIVE_ERROR`] of itself away from the number. For each sign, only the [`MAX_SPAN`] bins of
//! the greatest magnitudes are kept apart; smaller numbers (by a factor of more than 10^35) count
//! in the last of these bins. That bound depends on the greatest number alone, and so merging is
//! exactly associative and commutative.
//!
//! See decisions 0061 and 0091.

use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use holdfast_records::block::{take_varint, unzigzag, varint, zigzag};

/// Greatest relative distance of a quantile from the number of its rank.
pub const RELATIVE_ERROR: f64 = 0.01;

/// Bins of one sign, from the greatest magnitude downwards: a factor of e^82 from end to end.
pub const MAX_SPAN: i32 = 4096;

/// Width of a bin in logarithms: ln((1 + e) / (1 - e)) for the relative error e.
const WIDTH: f64 = 0.020_000_666_706_669_45;

/// Magnitude below which a number counts as zero.
const LEAST: f64 = 1e-300;

/// Counts of the numbers of one sign by their magnitude.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Bins {
    /// Bin and count, by rising bin; no count is 0.
    counts: Vec<(i32, u64)>,
}

impl Bins {
    fn add(&mut self, bin: i32, count: u64) {
        let lowest = self.lowest();
        let bin = bin.max(lowest);
        let new_top = self.counts.last().is_none_or(|(top, _)| bin > *top);
        match self.counts.binary_search_by_key(&bin, |(bin, _)| *bin) {
            Ok(at) => {
                if let Some((_, held)) = self.counts.get_mut(at) {
                    *held = held.saturating_add(count);
                }
            }
            Err(at) => self.counts.insert(at, (bin, count)),
        }
        if new_top {
            self.fold();
        }
    }

    /// Returns the lowest bin that is kept apart.
    fn lowest(&self) -> i32 {
        self.counts.last().map_or(i32::MIN, |(top, _)| top.saturating_sub(MAX_SPAN - 1))
    }

    /// Moves the counts below the lowest bin into it.
    fn fold(&mut self) {
        let lowest = self.lowest();
        let below = self.counts.partition_point(|(bin, _)| *bin < lowest);
        if below > 0 {
            let count = self.counts.drain(..below).fold(0u64, |sum, (_, n)| sum.saturating_add(n));
            self.add(lowest, count);
        }
    }

    fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

/// Returns the nearest rank of a quantile among `count` numbers, from 0: `ceil(thousandths / 1000 *
/// count) - 1`. The p95 of 10 numbers has rank 9. None: there are no numbers.
pub(super) fn rank(thousandths: u16, count: u64) -> Option<u64> {
    let part = u64::from(thousandths.min(1_000));
    // The product count * part may exceed 64 bits, so it is computed in two parts.
    let rank = count / 1_000 * part + (count % 1_000 * part).div_ceil(1_000);
    count.checked_sub(1).map(|last| rank.saturating_sub(1).min(last))
}

/// Counts of numbers by their value, to within [`RELATIVE_ERROR`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sketch {
    zero: u64,
    positive: Bins,
    negative: Bins,
}

#[allow(clippy::cast_possible_truncation, reason = "a logarithm of a double, divided: within 2^16")]
fn bin(magnitude: f64) -> i32 {
    (magnitude.ln() / WIDTH).ceil() as i32
}

/// Returns the value of a bin: the one whose greatest relative distance from the numbers in the bin
/// is the least.
fn middle(bin: i32) -> f64 {
    (f64::from(bin) * WIDTH).exp() * (1.0 - RELATIVE_ERROR)
}

impl Sketch {
    /// Counts a finite number.
    pub fn add(&mut self, number: f64) {
        if number.abs() < LEAST {
            self.zero = self.zero.saturating_add(1);
        } else if number > 0.0 {
            self.positive.add(bin(number), 1);
        } else {
            self.negative.add(bin(-number), 1);
        }
    }

    /// Adds the counts of another sketch.
    pub fn merge(&mut self, other: &Self) {
        self.zero = self.zero.saturating_add(other.zero);
        for (mine, others) in
            [(&mut self.positive, &other.positive), (&mut self.negative, &other.negative)]
        {
            // From the top downwards the span is known at once, and nothing is inserted only to be
            // folded.
            for (bin, count) in others.counts.iter().rev() {
                mine.add(*bin, *count);
            }
        }
    }

    /// Returns how many numbers were counted.
    pub fn count(&self) -> u64 {
        self.zero.saturating_add(self.positive.total()).saturating_add(self.negative.total())
    }

    /// Returns the number of bins, which is what the sketch costs in memory.
    pub fn bins(&self) -> usize {
        self.positive.counts.len() + self.negative.counts.len()
    }

    /// Returns the quantile of the numbers counted, 500 being the median. None: nothing was
    /// counted.
    pub fn quantile(&self, thousandths: u16) -> Option<f64> {
        let mut rank = rank(thousandths, self.count())?;
        let down = self.negative.counts.iter().rev().map(|(bin, n)| (-middle(*bin), *n));
        let up = self.positive.counts.iter().map(|(bin, n)| (middle(*bin), *n));
        for (number, many) in down.chain([(0.0, self.zero)]).chain(up) {
            if rank < many {
                return Some(number);
            }
            rank -= many;
        }
        None
    }

    /// Appends the encoded sketch. Most of `total` numbers, or all, were counted in it.
    ///
    /// First two varints: how many of `total` are not counted; bins above 0 times 4, plus 2 if
    /// there are bins below, plus 1 if there are zeros. Then the zeros' count; the bins above 0;
    /// the number of bins below and these. For each sign the first bin (signed), and for each bin,
    /// rising, its count times 2, plus 1 if the next bin is not its neighbour, followed by the
    /// distance beyond the neighbour. The last count of all is written as 0: it is what is left of
    /// the total.
    pub(super) fn put(&self, out: &mut Vec<u8>, total: u64) {
        let many = |bins: &Bins| u64::try_from(bins.counts.len()).unwrap_or(0);
        let (up, down) = (many(&self.positive), many(&self.negative));
        varint(out, total.saturating_sub(self.count()));
        varint(out, up << 2 | u64::from(down > 0) << 1 | u64::from(self.zero > 0));
        if self.zero > 0 {
            // Without bins the zeros are the last count, and so what is left of the total.
            varint(out, if up + down == 0 { 0 } else { self.zero });
        }
        self.positive.put(out, down == 0);
        if down > 0 {
            varint(out, down);
            self.negative.put(out, true);
        }
    }

    /// Decodes what [`Sketch::put`] wrote. None: the bytes are something else.
    pub(super) fn take(bytes: &mut &[u8], total: u64) -> Option<Self> {
        let mut rest = total.checked_sub(take_varint(bytes).ok()?)?;
        if rest >= 1 << 62 {
            return None; // More than can have been counted, and than a count has room for.
        }
        let head = take_varint(bytes).ok()?;
        let (up, down) = (head >> 2, head & 2 != 0);
        let mut sketch = Self::default();
        if head & 1 != 0 {
            sketch.zero = part(&mut rest, take_varint(bytes).ok()?, up == 0 && !down)?;
        }
        sketch.positive = Bins::take(bytes, up, &mut rest, !down)?;
        if down {
            let many = take_varint(bytes).ok().filter(|many| *many > 0)?;
            sketch.negative = Bins::take(bytes, many, &mut rest, true)?;
        }
        (rest == 0).then_some(sketch)
    }
}

/// Takes a count off what is left of the total; the last count, written as 0, takes all of it.
fn part(rest: &mut u64, count: u64, last: bool) -> Option<u64> {
    let count = if last && count == 0 { *rest } else { count };
    *rest = rest.checked_sub(count)?;
    (count > 0).then_some(count)
}

impl Bins {
    fn put(&self, out: &mut Vec<u8>, last: bool) {
        if let Some((first, _)) = self.counts.first() {
            varint(out, zigzag(i64::from(*first).cast_unsigned()));
        }
        let nexts = self.counts.iter().skip(1).map(Some).chain([None]);
        for ((bin, count), next) in self.counts.iter().zip(nexts) {
            let beyond = next.map_or(0, |(next, _)| next.abs_diff(*bin).saturating_sub(1));
            let count = if last && next.is_none() { 0 } else { *count };
            varint(out, count << 1 | u64::from(beyond > 0));
            if beyond > 0 {
                varint(out, u64::from(beyond));
            }
        }
    }

    fn take(bytes: &mut &[u8], many: u64, rest: &mut u64, last: bool) -> Option<Self> {
        let mut bins = Self::default();
        if many == 0 {
            return Some(bins);
        }
        if many > u64::try_from(MAX_SPAN).ok()? {
            return None;
        }
        let mut bin = unzigzag(take_varint(bytes).ok()?).cast_signed();
        for left in (0..many).rev() {
            let head = take_varint(bytes).ok()?;
            let count = part(rest, head >> 1, last && left == 0)?;
            bins.counts.push((i32::try_from(bin).ok()?, count));
            let beyond = if head & 1 == 0 { 0 } else { take_varint(bytes).ok()? };
            bin = bin.checked_add(i64::try_from(beyond).ok()?)?.checked_add(1)?;
        }
        bins.fold();
        Some(bins)
    }
}

/// Writes the counts of the bins, for people.
impl Serialize for Sketch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_struct("Sketch", 3)?;
        all.serialize_field("zero", &self.zero)?;
        all.serialize_field("positive", &self.positive.counts)?;
        all.serialize_field("negative", &self.negative.counts)?;
        all.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(numbers: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        for number in numbers {
            sketch.add(*number);
        }
        sketch
    }

    fn numbers() -> impl Strategy<Value = Vec<f64>> {
        let one = prop_oneof![
            Just(0.0),
            -100.0..100.0f64,
            0.1..10.0f64,
            (-1e15..1e15f64),
            any::<i8>().prop_map(f64::from),
        ];
        proptest::collection::vec(one, 1..300)
    }

    /// Generates any doubles but NaN and infinities: wider spans than a sketch keeps apart.
    fn wild() -> impl Strategy<Value = Vec<f64>> {
        proptest::collection::vec(proptest::num::f64::NORMAL | proptest::num::f64::ZERO, 0..60)
    }

    #[test]
    fn the_width_is_that_of_the_error() {
        let exact = ((1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR)).ln();
        assert!((exact / WIDTH - 1.0).abs() < 1e-14);
    }

    proptest! {
        #[test]
        fn a_quantile_is_within_its_error_of_the_nearest_rank(mut numbers in numbers(), part in 0..=1000u16) {
            let sketch = of(&numbers);
            numbers.sort_by(f64::total_cmp);
            let rank = (usize::from(part) * numbers.len()).div_ceil(1_000).max(1);
            let (exact, said) = (numbers[rank - 1], sketch.quantile(part).unwrap());
            let error = (said - exact).abs();
            prop_assert!(error <= exact.abs() * RELATIVE_ERROR * 1.000_001, "{said} for {exact}");
        }

        #[test]
        fn merging_is_counting_together_in_any_order(a in wild(), b in wild(), c in wild()) {
            let whole = of(&[a.clone(), b.clone(), c.clone()].concat());
            let merged = |parts: [&Vec<f64>; 3]| {
                let [x, y, z] = parts.map(|part| of(part));
                let (mut left, mut right) = (x.clone(), y.clone());
                left.merge(&y);
                left.merge(&z);
                right.merge(&z);
                let mut other = x;
                other.merge(&right);
                (left, other)
            };
            for order in [[&a, &b, &c], [&c, &a, &b], [&b, &a, &c]] {
                let (left, right) = merged(order);
                prop_assert_eq!(&left, &whole);
                prop_assert_eq!(&right, &whole);
            }
            prop_assert_eq!(whole.count(), (a.len() + b.len() + c.len()) as u64);
            prop_assert!(whole.bins() <= 2 * MAX_SPAN as usize);
            for total in [whole.count(), whole.count() + 7] {
                let mut bytes = Vec::new();
                whole.put(&mut bytes, total);
                let mut rest = &bytes[..];
                prop_assert_eq!(Sketch::take(&mut rest, total), Some(whole.clone()));
                prop_assert!(rest.is_empty());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
            total in prop_oneof![0..300u64, any::<u64>()],
        ) {
            if let Some(sketch) = Sketch::take(&mut &bytes[..], total) {
                prop_assert!(sketch.count() <= total);
                let _any = sketch.quantile(500);
            }
        }
    }

    #[test]
    fn ten_thousand_temperatures_take_few_bytes() {
        let numbers: Vec<f64> = (0..10_000).map(|n| 20.0 + f64::from(n % 700) / 100.0).collect();
        let sketch = of(&numbers);
        let mut bytes = Vec::new();
        sketch.put(&mut bytes, 10_000);
        assert!(sketch.bins() < 20 && bytes.len() < 2 * sketch.bins() + 4, "{}", bytes.len());
        assert_eq!(Sketch::default().quantile(500), None);
    }
}
