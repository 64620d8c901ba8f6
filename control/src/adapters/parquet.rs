//! Records as a Parquet file, written in groups of rows as they come: memory is bounded by one
//! group, whatever the length of the file.
//!
//! Columns: `device`, `stream`, `seq`, `time`, `value` (the value as JSON text, as it was
//! published), and one for each field that a first look at the records found: numbers as DOUBLE,
//! truth values as BOOLEAN, text as STRING, nested fields by their path (`a.b`). A record that is a
//! bare number has it in `number`. What a later record has otherwise is null in its column and
//! whole in `value`.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use holdfast_protocol::data::Record;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use serde_json::Value;

use crate::core::values::{value_json, value_tree};

/// Rows of a group.
const GROUP_ROWS: usize = 50_000;

/// Bytes of values after which a group ends.
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// Most columns of fields; further fields are in `value` alone.
const MAX_COLUMNS: usize = 200;

/// Longest path of a field, in bytes.
const MAX_PATH: usize = 128;

/// Deepest object that is looked into.
const MAX_DEPTH: usize = 6;

/// The name of the column of bare numbers.
const NUMBER: &str = "number";

/// The columns that every file has.
const FIXED: [&str; 5] = ["device", "stream", "seq", "time", "value"];

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Flag,
    Text,
    /// Not always the same: no column.
    Mixed,
}

/// What a first look at some records found.
#[derive(Debug, Default)]
pub struct Look {
    fields: BTreeMap<String, Kind>,
}

impl Look {
    /// Looks at a record.
    pub fn at(&mut self, record: &Record) {
        let Some(tree) = value_tree(record) else { return };
        let fields = &mut self.fields;
        visit(&tree, &mut String::new(), 0, &mut |path, value| {
            let kind = match value {
                Value::Number(_) => Kind::Number,
                Value::Bool(_) => Kind::Flag,
                Value::String(_) if !path.is_empty() => Kind::Text,
                _ => return,
            };
            if let Some(known) = fields.get_mut(path) {
                if *known != kind {
                    *known = Kind::Mixed;
                }
            } else if fields.len() < MAX_COLUMNS {
                fields.insert(path.to_owned(), kind);
            }
        });
    }
}

/// Visits what is no object, with its path.
fn visit(value: &Value, path: &mut String, depth: usize, leaf: &mut dyn FnMut(&str, &Value)) {
    let Value::Object(fields) = value else { return leaf(path, value) };
    for (name, value) in fields {
        if depth >= MAX_DEPTH || path.len() + name.len() > MAX_PATH {
            continue;
        }
        let before = path.len();
        if depth > 0 {
            path.push('.');
        }
        path.push_str(name);
        visit(value, path, depth + 1, leaf);
        path.truncate(before);
    }
}

/// Values of a field's column, and for each row whether there is one.
struct Field {
    values: Values,
    there: Vec<i16>,
}

enum Values {
    Number(Vec<f64>),
    Flag(Vec<bool>),
    Text(Vec<ByteArray>),
}

impl Field {
    /// Adds a value if it fits. True: it did.
    fn put(&mut self, row: usize, value: &Value) {
        if self.there.len() > row {
            return; // A name twice, by a dot in it.
        }
        let fits = match (&mut self.values, value) {
            (Values::Number(values), Value::Number(number)) => {
                number.as_f64().map(|number| values.push(number)).is_some()
            }
            (Values::Flag(values), Value::Bool(value)) => {
                values.push(*value);
                true
            }
            (Values::Text(values), Value::String(text)) => {
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
            Values::Number(values) => values.clear(),
            Values::Flag(values) => values.clear(),
            Values::Text(values) => values.clear(),
        }
    }
}

/// Rows of the group that is being filled.
#[derive(Default)]
struct Rows {
    device: Vec<ByteArray>,
    stream: Vec<ByteArray>,
    seq: Vec<i64>,
    time: Vec<i64>,
    value: Vec<ByteArray>,
    bytes: usize,
}

/// A file that is being written.
pub struct Table<W: Write + Send> {
    file: SerializedFileWriter<W>,
    rows: Rows,
    /// In the order of the columns.
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
    /// When `out` takes nothing.
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
        let mut fields = Vec::new();
        let mut by_path = BTreeMap::new();
        for (path, kind) in look.fields {
            let (values, physical, logical) = match kind {
                Kind::Number => (Values::Number(Vec::new()), Physical::DOUBLE, None),
                Kind::Flag => (Values::Flag(Vec::new()), Physical::BOOLEAN, None),
                Kind::Text => {
                    (Values::Text(Vec::new()), Physical::BYTE_ARRAY, Some(LogicalType::String))
                }
                Kind::Mixed => continue,
            };
            let name = match path.as_str() {
                "" => NUMBER.to_owned(),
                taken if FIXED.contains(&taken) || taken == NUMBER => format!("value.{taken}"),
                free => free.to_owned(),
            };
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

    /// Adds a row.
    ///
    /// # Errors
    /// When a group was full and could not be written.
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
            visit(&tree, &mut String::new(), 0, &mut |path, value| {
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

    /// Writes what waits as a group.
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

    /// Writes the rest and the file's end.
    ///
    /// # Errors
    /// When `out` does not take it.
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
