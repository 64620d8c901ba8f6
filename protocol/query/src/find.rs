//! Lookup of paths in a record, by its encoding.

use std::borrow::Cow;

use super::path::{Found, Paths};
use super::{cbor, json};
use holdfast_records::block::{Format, Record};

impl Paths {
    /// Returns the value at each path, in their order. A record that is neither JSON nor CBOR
    /// counts as a text if it is UTF-8.
    pub fn find<'a>(&self, record: &'a Record) -> Vec<Found<'a>> {
        let mut found = vec![Found::Missing; self.all.len()];
        let whole = match record.format {
            Format::Cbor => cbor::scan(&record.value, self, &mut found),
            Format::Plain => json::scan(&record.value, self, &mut found),
        };
        if whole.is_none() {
            let text = match record.format {
                Format::Plain => std::str::from_utf8(&record.value).ok(),
                Format::Cbor => None,
            };
            for ((path, _), found) in self.all.iter().zip(&mut found) {
                *found = match text {
                    Some(text) if path.parts().is_empty() => Found::Text(Cow::Borrowed(text)),
                    _ => Found::Missing,
                };
            }
        }
        found
    }
}
