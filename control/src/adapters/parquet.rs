//! Data records as a Parquet file, written in row groups: memory is bounded by one group, whatever
//! the length of the file.
//!
//! Columns are `device`, `stream`, `seq`, `time`, `value` (the value as JSON text, as it was
//! published), and one for each field that the first look at the records found. Numbers are INT64
//! when all are whole and fit, else UINT64 when all fit that, else DOUBLE. Truth values are
//! BOOLEAN, text is STRING, and nested fields are named by their path (`a.b`). A record that is a
//! bare number has it in `number`. A field with values of several kinds has the column of the most
//! frequent kind. A value that does not fit its column is null there and complete in `value`. No
//! two columns have names that differ in case only, because many readers treat those as one.
//!
//! See decisions 0062 and 0094.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use holdfast_query as query;
use holdfast_records::Record;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use crate::core::values::{Tree, value_json, value_tree};

/// Maximum number of rows in a row group.
const GROUP_ROWS: usize = 50_000;

/// Size of values after which a row group ends, in bytes.
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// Maximum number of columns for fields. Further fields are in `value` only.
const MAX_COLUMNS: usize = 200;

/// Name of the column of bare numbers.
const NUMBER: &str = "number";

/// Columns that every file has.
const FIXED: [&str; 5] = ["device", "stream", "seq", "time", "value"];

/// Number of values of each kind in a field.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    numbers: u64,
    flags: u64,
    texts: u64,
    /// True when some numbers are not whole, or fit neither 64-bit type.
    float: bool,
    /// True when some whole numbers are negative.
    negative: bool,
    /// True when some whole numbers are above `i64::MAX`.
    large: bool,
}

impl Seen {
    fn add(&mut self, path: &str, value: &Tree) -> bool {
        match value {
            Tree::Number(number) => {
                self.numbers += 1;
                match query::Number::parse(number) {
                    Some(query::Number::Whole(whole)) => self.negative |= whole < 0,
                    Some(query::Number::Large(_)) => self.large = true,
                    _ => self.float = true,
                }
            }
            Tree::Bool(_) => self.flags += 1,
            Tree::Text(_) if !path.is_empty() => self.texts += 1,
            _ => return false,
        }
        true
    }

    /// Returns the column for the most frequent kind; numbers win a tie.
    fn column(&self) -> (Values, Physical, Option<LogicalType>) {
        if self.numbers >= self.flags.max(self.texts) {
            if self.float || (self.negative && self.large) {
                return (Values::Number(Vec::new()), Physical::DOUBLE, None);
            }
            let logical = LogicalType::integer(64, !self.large);
            let values = Values::Whole { values: Vec::new(), unsigned: self.large };
            return (values, Physical::INT64, Some(logical));
        }
        if self.texts >= self.flags {
            (Values::Text(Vec::new()), Physical::BYTE_ARRAY, Some(LogicalType::String))
        } else {
            (Values::Flag(Vec::new()), Physical::BOOLEAN, None)
        }
    }
}

/// Fields that the first look at the records found.
#[derive(Debug, Default)]
pub struct Look {
    fields: BTreeMap<String, Seen>,
}

impl Look {
    /// Adds the fields of a record.
    pub fn at(&mut self, record: &Record) {
        let Some(tree) = value_tree(record) else { return };
        let fields = &mut self.fields;
        tree.fields(&mut |path, value| {
            if let Some(known) = fields.get_mut(path) {
                known.add(path, value);
            } else if fields.len() < MAX_COLUMNS {
                let mut seen = Seen::default();
                if seen.add(path, value) {
                    fields.insert(path.to_owned(), seen);
                }
            }
        });
    }
}

/// Lower-case names of the columns so far: no two columns differ in case only.
struct Names(BTreeSet<String>);

impl Names {
    fn new() -> Self {
        Self(FIXED.into_iter().chain([NUMBER]).map(str::to_owned).collect())
    }

    /// Chooses the name of a field's column.
    fn of(&mut self, path: &str) -> String {
        if path.is_empty() {
            return NUMBER.to_owned();
        }
        // Quotes that tell a dot in a name from one between names are left out where the name is
        // clear without.
        let plain = query::Path::dotted(path).map(|path| path.parts().join("."));
        let plain = plain.ok().filter(|plain| !plain.is_empty()).unwrap_or(path.to_owned());
        let numbered = (2..).map(|number| format!("value.{path}_{number}"));
        [plain.clone(), format!("value.{plain}"), path.to_owned()]
            .into_iter()
            .chain(numbered)
            .find(|name| self.0.insert(name.to_lowercase()))
            .unwrap_or(plain)
    }
}

/// Values of a field's column, and for each row of the group 1 when it has one, else 0.
struct Field {
    values: Values,
    there: Vec<i16>,
}

#[derive(Debug)]
enum Values {
    Whole {
        /// Values; an unsigned column holds the same 64 bits.
        values: Vec<i64>,
        unsigned: bool,
    },
    Number(Vec<f64>),
    Flag(Vec<bool>),
    Text(Vec<ByteArray>),
}

impl Field {
    /// Adds a row's value when it fits the column.
    fn put(&mut self, row: usize, value: &Tree) {
        if self.there.len() > row {
            return; // The same path again, which quotes in names allow.
        }
        let fits = match (&mut self.values, value) {
            (Values::Whole { values, unsigned }, Tree::Number(number)) => {
                let whole = match query::Number::parse(number) {
                    Some(query::Number::Whole(whole)) if !*unsigned || whole >= 0 => Some(whole),
                    Some(query::Number::Large(large)) if *unsigned => Some(large.cast_signed()),
                    _ => None,
                };
                whole.map(|whole| values.push(whole)).is_some()
            }
            (Values::Number(values), Tree::Number(number)) => {
                let float = query::Number::parse(number).map(query::Number::float);
                float.map(|float| values.push(float)).is_some()
            }
            (Values::Flag(values), Tree::Bool(value)) => {
                values.push(*value);
                true
            }
            (Values::Text(values), Tree::Text(text)) => {
                values.push(text.as_bytes().to_vec().into());
                true
            }
            _ => false,
        };
        if fits {
            self.there.resize(row, 0);
            self.there.push(1);
        }
    }

    fn clear(&mut self) {
        self.there.clear();
        match &mut self.values {
            Values::Whole { values, .. } => values.clear(),
            Values::Number(values) => values.clear(),
            Values::Flag(values) => values.clear(),
            Values::Text(values) => values.clear(),
        }
    }
}

/// Rows of the row group that is being filled.
#[derive(Default)]
struct Rows {
    device: Vec<ByteArray>,
    stream: Vec<ByteArray>,
    seq: Vec<i64>,
    time: Vec<i64>,
    value: Vec<ByteArray>,
    bytes: usize,
}

/// Parquet file that is being written.
pub struct Table<W: Write + Send> {
    file: SerializedFileWriter<W>,
    rows: Rows,
    /// Columns of fields, in the order of the file.
    fields: Vec<Field>,
    by_path: BTreeMap<String, usize>,
}

impl<W: Write + Send> std::fmt::Debug for Table<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("rows", &self.rows.seq.len()).finish_non_exhaustive()
    }
}

impl<W: Write + Send> Table<W> {
    /// Begins a file with the columns that a look found.
    ///
    /// # Errors
    /// Returns an error when `out` cannot be written.
    pub fn new(out: W, look: Look) -> Result<Self> {
        let mut columns = vec![
            column(
                "device",
                Physical::BYTE_ARRAY,
                Some(LogicalType::String),
                Repetition::REQUIRED,
            )?,
            column(
                "stream",
                Physical::BYTE_ARRAY,
                Some(LogicalType::String),
                Repetition::REQUIRED,
            )?,
            column(
                "seq",
                Physical::INT64,
                Some(LogicalType::integer(64, false)),
                Repetition::REQUIRED,
            )?,
            column(
                "time",
                Physical::INT64,
                Some(LogicalType::timestamp(true, TimeUnit::MILLIS)),
                Repetition::REQUIRED,
            )?,
            column("value", Physical::BYTE_ARRAY, Some(LogicalType::String), Repetition::REQUIRED)?,
        ];
        let (mut fields, mut by_path) = (Vec::new(), BTreeMap::new());
        let mut names = Names::new();
        for (path, seen) in look.fields {
            let (values, physical, logical) = seen.column();
            let name = names.of(&path);
            columns.push(column(&name, physical, logical, Repetition::OPTIONAL)?);
            by_path.insert(path, fields.len());
            fields.push(Field { values, there: Vec::new() });
        }
        let schema = Type::group_type_builder("records").with_fields(columns).build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_created_by(format!("holdfast {}", env!("CARGO_PKG_VERSION")))
            .build();
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
        Ok(Self { file, rows: Rows::default(), fields, by_path })
    }

    /// Adds a record as a row.
    ///
    /// # Errors
    /// Returns an error when a full row group could not be written.
    pub fn add(&mut self, device: &str, stream: &str, record: &Record) -> Result<()> {
        let rows = &mut self.rows;
        let row = rows.seq.len();
        let value = value_json(record);
        rows.bytes += value.len();
        rows.device.push(device.as_bytes().to_vec().into());
        rows.stream.push(stream.as_bytes().to_vec().into());
        // An unsigned column holds the same 64 bits.
        rows.seq.push(record.seq.cast_signed());
        rows.time.push(i64::try_from(record.time).unwrap_or(i64::MAX));
        rows.value.push(value.into_bytes().into());
        if !self.fields.is_empty()
            && let Some(tree) = value_tree(record)
        {
            let (fields, by_path) = (&mut self.fields, &self.by_path);
            tree.fields(&mut |path, value| {
                let at = by_path.get(path).copied();
                if let Some(field) = at.and_then(|at| fields.get_mut(at)) {
                    field.put(row, value);
                }
            });
        }
        if row + 1 >= GROUP_ROWS || self.rows.bytes >= GROUP_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the waiting rows as a row group.
    fn flush(&mut self) -> Result<()> {
        let count = self.rows.seq.len();
        if count == 0 {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        let rows = std::mem::take(&mut self.rows);
        put(&mut group, None, &Column::Bytes(&rows.device))?;
        put(&mut group, None, &Column::Bytes(&rows.stream))?;
        put(&mut group, None, &Column::Integer(&rows.seq))?;
        put(&mut group, None, &Column::Integer(&rows.time))?;
        put(&mut group, None, &Column::Bytes(&rows.value))?;
        for field in &mut self.fields {
            field.there.resize(count, 0);
            let column = match &field.values {
                Values::Whole { values, .. } => Column::Integer(values),
                Values::Number(values) => Column::Number(values),
                Values::Flag(values) => Column::Flag(values),
                Values::Text(values) => Column::Bytes(values),
            };
            put(&mut group, Some(&field.there), &column)?;
            field.clear();
        }
        group.close()?;
        Ok(())
    }

    /// Writes the remaining rows and the end of the file.
    ///
    /// # Errors
    /// Returns an error when `out` cannot be written.
    pub fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.file.finish()?;
        Ok(())
    }
}

fn column(
    name: &str,
    physical: Physical,
    logical: Option<LogicalType>,
    repetition: Repetition,
) -> Result<TypePtr> {
    Type::primitive_type_builder(name, physical)
        .with_logical_type(logical)
        .with_repetition(repetition)
        .build()
        .map(Arc::new)
}

enum Column<'a> {
    Bytes(&'a [ByteArray]),
    Integer(&'a [i64]),
    Number(&'a [f64]),
    Flag(&'a [bool]),
}

fn put<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    there: Option<&[i16]>,
    column: &Column<'_>,
) -> Result<()> {
    let Some(mut next) = group.next_column()? else {
        return Err(ParquetError::General("fewer columns than values".into()));
    };
    match (next.untyped(), column) {
        (ColumnWriter::ByteArrayColumnWriter(writer), Column::Bytes(values)) => {
            writer.write_batch(values, there, None)?;
        }
        (ColumnWriter::Int64ColumnWriter(writer), Column::Integer(values)) => {
            writer.write_batch(values, there, None)?;
        }
        (ColumnWriter::DoubleColumnWriter(writer), Column::Number(values)) => {
            writer.write_batch(values, there, None)?;
        }
        (ColumnWriter::BoolColumnWriter(writer), Column::Flag(values)) => {
            writer.write_batch(values, there, None)?;
        }
        _ => return Err(ParquetError::General("a column of another type".into())),
    }
    next.close()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use holdfast_records::Format;
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field as Cell;

    use super::*;

    /// Returns the rows of a file of these values by the names of its columns, and the names in
    /// their order.
    fn table(values: &[&str]) -> (Vec<String>, Vec<BTreeMap<String, Cell>>) {
        let records: Vec<Record> = (1..)
            .zip(values)
            .map(|(seq, value)| Record {
                seq,
                time: 1,
                format: Format::Plain,
                value: value.as_bytes().to_vec(),
            })
            .collect();
        let mut look = Look::default();
        records.iter().for_each(|record| look.at(record));
        let mut out = Vec::new();
        let mut table = Table::new(&mut out, look).unwrap();
        for record in &records {
            table.add("d", "s", record).unwrap();
        }
        table.finish().unwrap();
        let file = SerializedFileReader::new(Bytes::from(out)).unwrap();
        let schema = file.metadata().file_metadata().schema();
        let names = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
        let rows = file.get_row_iter(None).unwrap().map(|row| row.unwrap());
        (names, rows.map(|row| row.into_columns().into_iter().collect()).collect())
    }

    fn column(values: &[&str], name: &str) -> Vec<Cell> {
        table(values).1.into_iter().map(|mut row| row.remove(name).unwrap()).collect()
    }

    #[test]
    fn whole_numbers_keep_their_digits() {
        let big = [r#"{"n":9007199254740993}"#, r#"{"n":-9223372036854775808}"#];
        assert_eq!(column(&big, "n"), [Cell::Long(9_007_199_254_740_993), Cell::Long(i64::MIN)]);
        let large = [r#"{"n":18446744073709551615}"#, r#"{"n":0}"#];
        assert_eq!(column(&large, "n"), [Cell::ULong(u64::MAX), Cell::ULong(0)]);
        let neither = [r#"{"n":18446744073709551615}"#, r#"{"n":-1}"#, r#"{"n":1.5}"#];
        assert_eq!(
            column(&neither, "n"),
            [18_446_744_073_709_551_615.0, -1.0, 1.5].map(Cell::Double)
        );
        assert_eq!(column(&["7", "-8"], NUMBER), [Cell::Long(7), Cell::Long(-8)]);
    }

    #[test]
    fn one_odd_record_takes_no_column_away() {
        let text = |text: &str| Cell::Str(text.into());
        for (odd, shown) in [
            (r#""err""#, Cell::Null),
            ("null", Cell::Null),
            ("[1]", Cell::Null),
            ("{\"x\":1}", Cell::Null),
            ("1e400", Cell::Null),
            ("true", Cell::Null),
        ] {
            let odd = format!("{{\"t\":{odd},\"u\":\"a\"}}");
            for values in
                [[odd.as_str(), "{\"t\":1.5}", "{\"t\":2.5}"], ["{\"t\":1.5}", "{\"t\":2.5}", &odd]]
            {
                let cells = column(&values, "t");
                assert_eq!(cells.iter().filter(|cell| **cell == shown).count(), 1, "{values:?}");
                assert!(cells.contains(&Cell::Double(1.5)) && cells.contains(&Cell::Double(2.5)));
                assert!(column(&values, "value").contains(&text(&odd)), "it is whole in value");
            }
        }
        let mostly = [r#"{"t":"a"}"#, r#"{"t":"b"}"#, r#"{"t":1}"#];
        assert_eq!(column(&mostly, "t"), [text("a"), text("b"), Cell::Null]);
        // A value beyond JSON's doubles, and half of a surrogate pair, cost no other record a cell.
        let beside = [r#"{"t":1,"x":1e400}"#, r#"{"t":2,"x":"\ud800"}"#];
        assert_eq!(column(&beside, "t"), [Cell::Long(1), Cell::Long(2)]);
    }

    #[test]
    fn no_two_columns_have_one_name() {
        for value in [
            r#"{"seq":1,"Seq":2,"value.seq":3,"value":{"seq":4},"TIME":5,"number":6,"Number":7}"#,
            r#"{"temp":1,"Temp":2,"TEMP":3,"value.temp":4,"Value.Temp":5}"#,
            r#"{"a.b":1,"a":{"b":2},"A":{"B":3},"`a.b`":4,"a`":{"`b":5}}"#,
            r#"{"":1,"``":2,".":3}"#,
        ] {
            let (names, rows) = table(&[value]);
            let different: BTreeSet<String> =
                names.iter().map(|name| name.to_lowercase()).collect();
            assert_eq!(different.len(), names.len(), "{value}: {names:?}");
            let numbers = rows[0].values().filter(|cell| matches!(cell, Cell::Long(_))).count();
            assert_eq!(
                numbers,
                value.matches(|c: char| c.is_ascii_digit()).count(),
                "{value}: {names:?}"
            );
        }
        let row = &table(&[r#"{"seq":7,"motor.current":8,"n":{"m":9}}"#]).1[0];
        for (name, number) in [("value.seq", 7), ("motor.current", 8), ("n.m", 9)] {
            assert_eq!(row[name], Cell::Long(number), "{name}");
        }
    }
}
