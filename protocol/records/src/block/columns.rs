//! Layout of a block in columns: the text that records have in common once, and each hole in it as
//! a column of numbers, times or texts. PROTOCOL.md describes it byte by byte.
//!
//! See decision 0052.

use std::collections::HashMap;

use super::record::{
    BlockError, Format, MAX_RECORD, MAX_RECORDS, MAX_UNPACKED, Record, row, take_row, take_varint,
    unzigzag, varint, zigzag,
};
use super::token::{self, Hole, MAX_HOLES, NUMBER, TEXT, TIME};

/// Most templates of a block; with more the records have too little in common.
const MAX_TEMPLATES: usize = 64;

/// Least number of records of a template; fewer are cheaper as whole values.
const FEW: usize = 3;

/// Most entries of all dictionaries of a block: the reader keeps them in memory.
const MAX_ENTRIES: usize = 65_536;

/// Number of orders in which a column of whole numbers can be written: as differences to the first
/// value (0), to the value before (1), or as differences of those differences (2).
const ORDERS: u8 = 3;

/// Forms of a column of decimals, by the number of digits after the point: the same for all; as few
/// as each value needs; the same with at least one; given for each value.
const ALIKE: u8 = 0;
const SHORT: u8 = 1;
const POINT: u8 = 2;
const SAID: u8 = 3;
/// Form of a column of decimals that do not fit: written as texts.
const AS_TEXTS: u8 = 4;

/// Greatest power of ten that 64 bits hold: 10^18.
const MAX_SCALE: u8 = 18;

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Records that share a template, with one column for each hole.
struct Group<'a> {
    template: Vec<u8>,
    columns: Vec<Vec<Hole<'a>>>,
    count: usize,
}

/// Writes records in columns. Returns false if they have nothing in common.
pub(super) fn write(records: &[Record], out: &mut Vec<u8>) -> bool {
    let Some((mut kinds, groups)) = group(records) else { return false };
    // Records of a rare template are written whole; the other templates are numbered anew, from 1.
    let mut numbers = vec![0u64];
    let mut kept = Vec::new();
    for group in groups {
        if group.count < FEW {
            numbers.push(0);
        } else {
            kept.push(group);
            numbers.push(number(kept.len()));
        }
    }
    if kept.is_empty() {
        return false;
    }
    for kind in &mut kinds {
        let new = usize::try_from(*kind).ok().and_then(|at| numbers.get(at));
        *kind = new.copied().unwrap_or(0);
    }

    runs(out, records);
    let mut column = Vec::new();
    let times: Vec<i64> = records.iter().map(|record| record.time.cast_signed()).collect();
    whole_numbers(&mut column, &times);
    framed(out, &mut column);
    varint(out, number(kept.len()));
    for group in &kept {
        varint(out, number(group.template.len()));
        out.extend_from_slice(&group.template);
    }
    for run in kinds.chunk_by(|a, b| a == b) {
        varint(out, run.first().copied().unwrap_or(0));
        varint(out, number(run.len()));
    }
    for (record, _) in records.iter().zip(&kinds).filter(|(_, kind)| **kind == 0) {
        row(record, out);
    }
    let mut entries = 0;
    for group in &kept {
        for holes in &group.columns {
            match holes.first() {
                Some(Hole::Number { .. }) => decimals(&mut column, holes, &mut entries),
                Some(Hole::Time(_)) => {
                    let times: Vec<i64> = holes.iter().map(since).collect();
                    whole_numbers(&mut column, &times);
                }
                _ => {
                    let texts: Vec<&[u8]> = holes.iter().map(text).collect();
                    texts_of(&mut column, &texts, &mut entries);
                }
            }
            framed(out, &mut column);
        }
    }
    true
}

/// Returns the template of each record, from 1 (0: none), and the records grouped by template.
fn group(records: &[Record]) -> Option<(Vec<u64>, Vec<Group<'_>>)> {
    let mut kinds = Vec::with_capacity(records.len());
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
    let (mut template, mut holes) = (Vec::new(), Vec::new());
    let mut last = 0;
    let mut whole = 0;
    for record in records {
        // If most records have no template, the others are not examined: trying costs time.
        let hopeless = whole > 256 && whole * 2 > kinds.len();
        let cut = !hopeless
            && record.format == Format::Plain
            && token::cut(&record.value, &mut template, &mut holes);
        let at = if !cut {
            None
        } else if groups.get(last).is_some_and(|group| group.template == template) {
            Some(last)
        } else if let Some(at) = known.get(&template) {
            Some(*at)
        } else if groups.len() < MAX_TEMPLATES {
            known.insert(template.clone(), groups.len());
            groups.push(Group {
                template: template.clone(),
                columns: vec![Vec::new(); holes.len()],
                count: 0,
            });
            Some(groups.len() - 1)
        } else {
            None
        };
        if let Some(group) = at.and_then(|at| groups.get_mut(at)) {
            group.count += 1;
            for (column, hole) in group.columns.iter_mut().zip(&holes) {
                column.push(*hole);
            }
            last = at.unwrap_or(0);
            kinds.push(number(last) + 1);
        } else {
            whole += 1;
            kinds.push(0);
        }
    }
    (!groups.is_empty()).then_some((kinds, groups))
}

fn since(hole: &Hole<'_>) -> i64 {
    match hole {
        Hole::Time(since) => *since,
        _ => 0,
    }
}

fn text<'a>(hole: &Hole<'a>) -> &'a [u8] {
    match hole {
        Hole::Text(text) => text,
        _ => &[],
    }
}

/// Appends a column with its length before it, and empties the column.
fn framed(out: &mut Vec<u8>, column: &mut Vec<u8>) {
    varint(out, number(column.len()));
    out.append(column);
}

/// Appends the sequence numbers as runs: for each the distance of its first number from the former
/// run's end, and its length. For 1, 2, 3, 7: two runs, (1, 3) and (4, 1).
fn runs(out: &mut Vec<u8>, records: &[Record]) {
    let runs = records.chunk_by(|a, b| a.seq.checked_add(1) == Some(b.seq));
    varint(out, number(runs.clone().count()));
    let mut end = 0;
    for run in runs {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        varint(out, first.seq.wrapping_sub(end));
        varint(out, number(run.len()));
        end = last.seq;
    }
}

fn step(value: i64, order: u8, first: i64, before: i64, slope: i64) -> i64 {
    match order {
        0 => value.wrapping_sub(first),
        1 => value.wrapping_sub(before),
        _ => value.wrapping_sub(before).wrapping_sub(slope),
    }
}

/// Returns what a column in this order contains, value by value; the first value stands as it is.
fn steps(values: &[i64], order: u8) -> impl Iterator<Item = u64> + '_ {
    let first = values.first().copied().unwrap_or(0);
    let (mut before, mut slope, mut begun) = (0i64, 0i64, false);
    values.iter().map(move |&value| {
        let written = if begun { step(value, order, first, before, slope) } else { value };
        slope = if begun { value.wrapping_sub(before) } else { 0 };
        before = value;
        begun = true;
        zigzag(written.cast_unsigned())
    })
}

/// Returns the order in which the values take the fewest bits.
fn best(values: &[i64]) -> u8 {
    let bits = |order: &u8| -> u64 {
        steps(values, *order).skip(1).map(|value| u64::from(64 - value.leading_zeros())).sum()
    };
    (0..ORDERS).min_by_key(bits).unwrap_or(0)
}

fn whole_numbers(out: &mut Vec<u8>, values: &[i64]) {
    let order = best(values);
    out.push(order);
    for value in steps(values, order) {
        varint(out, value);
    }
}

fn decimals(out: &mut Vec<u8>, holes: &[Hole<'_>], entries: &mut usize) {
    let parts = || {
        holes.iter().map(|hole| match hole {
            Hole::Number { mantissa, scale } => (*mantissa, *scale),
            _ => (0, 0),
        })
    };
    let most = parts().map(|(_, scale)| scale).max().unwrap_or(0);
    // All values at the greatest scale: 1.5 and 2.25 become 150 and 225 with scale 2. If that does
    // not fit 64 bits, the column is written as texts.
    let common: Option<Vec<i64>> = parts()
        .map(|(mantissa, scale)| mantissa.checked_mul(10i64.checked_pow(u32::from(most - scale))?))
        .collect();
    let Some(values) = common else {
        let texts: Vec<Vec<u8>> = parts()
            .map(|(mantissa, scale)| {
                let mut text = Vec::new();
                token::write_number(&mut text, mantissa, scale);
                text
            })
            .collect();
        let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        out.push(AS_TEXTS);
        return texts_of(out, &texts, entries);
    };
    let all = |least: u8| {
        values.iter().zip(parts()).all(|(value, (_, scale))| shortest(*value, most, least) == scale)
    };
    let form = if parts().all(|(_, scale)| scale == most) {
        ALIKE
    } else if all(0) {
        SHORT
    } else if all(1) {
        POINT
    } else {
        SAID
    };
    out.extend([form, most]);
    if form == SAID {
        out.extend(parts().map(|(_, scale)| scale));
    }
    whole_numbers(out, &values);
}

/// Returns the fewest digits after the point that represent the number exactly, but at least
/// `least`.
fn shortest(value: i64, scale: u8, least: u8) -> u8 {
    let (mut value, mut scale) = (value, scale);
    while scale > least && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    scale
}

/// Appends the distinct texts and then the index of each value's text; or, if most texts differ,
/// the texts one after the other.
fn texts_of(out: &mut Vec<u8>, texts: &[&[u8]], entries: &mut usize) {
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    let mut different: Vec<&[u8]> = Vec::new();
    // A dictionary pays only if texts repeat: with more than half of them different, they are
    // written inline.
    let most = (texts.len() / 2).min(MAX_ENTRIES.saturating_sub(*entries));
    let mut indexes = Vec::with_capacity(texts.len());
    for text in texts {
        let at = *places.entry(text).or_insert_with(|| {
            different.push(text);
            different.len() - 1
        });
        if different.len() > most {
            break;
        }
        indexes.push(at);
    }
    let inline = different.len() > most;
    varint(out, if inline { 0 } else { number(different.len()) });
    for text in if inline { texts } else { &different } {
        varint(out, number(text.len()));
        out.extend_from_slice(text);
    }
    if !inline {
        *entries += different.len();
        if different.len() > 1 {
            for index in indexes {
                varint(out, number(index));
            }
        }
    }
}

#[cfg(test)]
pub(super) fn write_framed(out: &mut Vec<u8>, bytes: &[u8]) {
    framed(out, &mut bytes.to_vec());
}

const CUT_SHORT: BlockError = BlockError::Damaged("a column cut short");

fn take<'a>(bytes: &mut &'a [u8], many: u64) -> Result<&'a [u8], BlockError> {
    let many = usize::try_from(many).unwrap_or(usize::MAX);
    let (taken, rest) = bytes.split_at_checked(many).ok_or(CUT_SHORT)?;
    *bytes = rest;
    Ok(taken)
}

fn take_byte(bytes: &mut &[u8]) -> Result<u8, BlockError> {
    let (first, rest) = bytes.split_first().ok_or(CUT_SHORT)?;
    *bytes = rest;
    Ok(*first)
}

fn take_framed<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], BlockError> {
    let length = take_varint(bytes)?;
    take(bytes, length)
}

/// Reader of a column of whole numbers.
struct Numbers<'a> {
    rest: &'a [u8],
    order: u8,
    first: i64,
    before: i64,
    slope: i64,
    begun: bool,
}

impl<'a> Numbers<'a> {
    fn new(mut column: &'a [u8]) -> Result<Self, BlockError> {
        let order = take_byte(&mut column)?;
        if order >= ORDERS {
            return Err(BlockError::Damaged("an unknown order of a column"));
        }
        Ok(Self { rest: column, order, first: 0, before: 0, slope: 0, begun: false })
    }

    fn next(&mut self) -> Result<i64, BlockError> {
        let written = unzigzag(take_varint(&mut self.rest)?).cast_signed();
        let value = if self.begun {
            match self.order {
                0 => self.first.wrapping_add(written),
                1 => self.before.wrapping_add(written),
                _ => self.before.wrapping_add(self.slope).wrapping_add(written),
            }
        } else {
            self.first = written;
            written
        };
        self.slope = if self.begun { value.wrapping_sub(self.before) } else { 0 };
        self.before = value;
        self.begun = true;
        Ok(value)
    }
}

/// Reader of a column of texts.
struct Texts<'a> {
    entries: Vec<&'a [u8]>,
    rest: &'a [u8],
}

impl<'a> Texts<'a> {
    fn new(mut column: &'a [u8], entries: &mut usize) -> Result<Self, BlockError> {
        let many = take_varint(&mut column)?;
        *entries = entries.saturating_add(usize::try_from(many).unwrap_or(usize::MAX));
        if *entries > MAX_ENTRIES {
            return Err(BlockError::Damaged("too many texts"));
        }
        let mut known = Vec::new();
        for _ in 0..many {
            known.push(take_framed(&mut column)?);
        }
        Ok(Self { entries: known, rest: column })
    }

    fn next(&mut self) -> Result<&'a [u8], BlockError> {
        let at = match self.entries.len() {
            0 => return take_framed(&mut self.rest),
            1 => 0,
            _ => take_varint(&mut self.rest)?,
        };
        let entry = usize::try_from(at).ok().and_then(|at| self.entries.get(at));
        entry.copied().ok_or(BlockError::Damaged("a text that is not there"))
    }
}

/// Reader of the column for one hole.
enum Column<'a> {
    Texts(Texts<'a>),
    Times(Numbers<'a>),
    Decimals { form: u8, most: u8, scales: &'a [u8], numbers: Numbers<'a> },
}

impl<'a> Column<'a> {
    fn new(
        kind: u8,
        mut column: &'a [u8],
        count: u64,
        entries: &mut usize,
    ) -> Result<Self, BlockError> {
        if kind == TEXT {
            return Ok(Self::Texts(Texts::new(column, entries)?));
        }
        if kind == TIME {
            return Ok(Self::Times(Numbers::new(column)?));
        }
        let form = take_byte(&mut column)?;
        if form == AS_TEXTS {
            return Ok(Self::Texts(Texts::new(column, entries)?));
        }
        let most = take_byte(&mut column)?;
        if form > SAID || most > MAX_SCALE {
            return Err(BlockError::Damaged("an unknown form of numbers"));
        }
        let scales = take(&mut column, if form == SAID { count } else { 0 })?;
        Ok(Self::Decimals { form, most, scales, numbers: Numbers::new(column)? })
    }

    fn write(&mut self, out: &mut Vec<u8>, time_form: u8) -> Result<(), BlockError> {
        match self {
            Self::Texts(texts) => out.extend_from_slice(texts.next()?),
            Self::Times(numbers) => {
                if !token::write_time(out, time_form, numbers.next()?) {
                    return Err(BlockError::Damaged("a time that cannot be"));
                }
            }
            Self::Decimals { form, most, scales, numbers } => {
                let value = numbers.next()?;
                let scale = match *form {
                    ALIKE => *most,
                    SHORT => shortest(value, *most, 0),
                    POINT => shortest(value, *most, 1),
                    _ => take_byte(scales)?.min(*most),
                };
                let power = 10i64.pow(u32::from(*most - scale));
                token::write_number(out, value / power, scale);
            }
        }
        Ok(())
    }

    fn is_read(&self) -> bool {
        match self {
            Self::Texts(texts) => texts.rest.is_empty(),
            Self::Times(numbers) | Self::Decimals { numbers, .. } => numbers.rest.is_empty(),
        }
    }
}

/// Reads the records of a block in columns.
pub(super) fn read(mut bytes: &[u8]) -> Result<Vec<Record>, BlockError> {
    let mut records = numbered(&mut bytes)?;
    let mut times = Numbers::new(take_framed(&mut bytes)?)?;
    for record in &mut records {
        record.time = times.next()?.cast_unsigned();
    }
    let many = take_varint(&mut bytes)?;
    if many > number(MAX_TEMPLATES) {
        return Err(BlockError::Damaged("too many templates"));
    }
    let mut templates = Vec::new();
    for _ in 0..many {
        templates.push(take_framed(&mut bytes)?);
    }
    let kinds = kinds(&mut bytes, records.len(), templates.len())?;

    let mut room = MAX_UNPACKED;
    for (record, _) in records.iter_mut().zip(&kinds).filter(|(_, kind)| **kind == 0) {
        (record.format, record.value) = take_row(&mut bytes)?;
        room = room.checked_sub(record.value.len()).ok_or(BlockError::TooLarge)?;
    }
    let mut entries = 0;
    for (kind, template) in (1u8..).zip(templates) {
        let count = number(kinds.iter().filter(|of| **of == kind).count());
        let mut columns = columns(&mut bytes, template, count, &mut entries)?;
        for (record, _) in records.iter_mut().zip(&kinds).filter(|(_, of)| **of == kind) {
            fill(template, &mut columns, &mut record.value)?;
            room = room.checked_sub(record.value.len()).ok_or(BlockError::TooLarge)?;
        }
        if !columns.iter().all(Column::is_read) {
            return Err(BlockError::Damaged("more in a column than is used"));
        }
    }
    if bytes.is_empty() { Ok(records) } else { Err(BlockError::Damaged("more than the records")) }
}

/// Reads the sequence numbers and returns records that have nothing else yet.
fn numbered(bytes: &mut &[u8]) -> Result<Vec<Record>, BlockError> {
    let mut records = Vec::new();
    let mut end = 0u64;
    for _ in 0..take_varint(bytes)? {
        let rises = BlockError::Damaged("numbers do not rise");
        let first = take_varint(bytes)?;
        let first = end.checked_add(first).filter(|first| *first > end).ok_or(rises.clone())?;
        let many = take_varint(bytes)?;
        if many > number(MAX_RECORDS - records.len()) {
            return Err(BlockError::TooLarge);
        }
        end = many.checked_sub(1).and_then(|more| first.checked_add(more)).ok_or(rises)?;
        records.extend((first..=end).map(|seq| Record {
            seq,
            time: 0,
            format: Format::Plain,
            value: Vec::new(),
        }));
    }
    Ok(records)
}

/// Returns the template of each record; 0: none.
fn kinds(bytes: &mut &[u8], records: usize, templates: usize) -> Result<Vec<u8>, BlockError> {
    let mut kinds = Vec::new();
    while kinds.len() < records {
        let kind = take_varint(bytes)?;
        let run = usize::try_from(take_varint(bytes)?).unwrap_or(usize::MAX);
        if kind > number(templates) || run == 0 || run > records - kinds.len() {
            return Err(BlockError::Damaged("a template that is not there"));
        }
        kinds.resize(kinds.len() + run, u8::try_from(kind).unwrap_or(0));
    }
    Ok(kinds)
}

fn columns<'a>(
    bytes: &mut &'a [u8],
    template: &[u8],
    count: u64,
    entries: &mut usize,
) -> Result<Vec<Column<'a>>, BlockError> {
    let mut columns = Vec::new();
    let mut parts = template.iter();
    while let Some(&byte) = parts.next() {
        if byte == TIME {
            parts.next();
        }
        if (NUMBER..=TIME).contains(&byte) {
            if columns.len() >= MAX_HOLES {
                return Err(BlockError::Damaged("too many holes"));
            }
            columns.push(Column::new(byte, take_framed(bytes)?, count, entries)?);
        }
    }
    Ok(columns)
}

/// Appends the record's value: the template with its holes filled from the columns.
fn fill(template: &[u8], columns: &mut [Column<'_>], out: &mut Vec<u8>) -> Result<(), BlockError> {
    let mut columns = columns.iter_mut();
    let mut rest = template;
    while !rest.is_empty() {
        let literal = rest.iter().position(|byte| (NUMBER..=TIME).contains(byte));
        let (text, hole) = rest.split_at_checked(literal.unwrap_or(rest.len())).ok_or(CUT_SHORT)?;
        out.extend_from_slice(text);
        rest = hole;
        if let Some((&kind, after)) = hole.split_first() {
            rest = after;
            let form = if kind == TIME { take_byte(&mut rest)? } else { 0 };
            columns.next().ok_or(CUT_SHORT)?.write(out, form)?;
        }
        if out.len() > MAX_RECORD {
            return Err(BlockError::Damaged("a record too large"));
        }
    }
    out.shrink_to_fit();
    Ok(())
}
