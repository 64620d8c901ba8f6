//! Fuzzes data messages of a device and their answers: batches, blocks of records,
//! acknowledgements.
#![no_main]

use std::fmt::Debug;

use holdfast_base::codec::{decode, encode};
use holdfast_query::{Partial, Question, parse};
use holdfast_records::block::{MAX_RECORD, MAX_UNPACKED, pack, unpack};
use holdfast_records::{Acknowledgement, Batch, Layout, Pattern, StreamName};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Asserts that a message that decodes also encodes, and decodes to the same message again.
fn round<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let message = decode::<T>(bytes).ok()?;
    let again = encode(&message).expect("what was read can be written");
    assert_eq!(decode::<T>(&again).expect("and read again"), message);
    Some(message)
}

/// Asserts that records that unpack are bounded and rise, and pack and unpack to the same.
fn block(bytes: &[u8]) {
    let Ok(records) = unpack(bytes) else { return };
    assert!(records.iter().all(|record| record.value.len() <= MAX_RECORD));
    assert!(records.iter().map(|record| record.value.len()).sum::<usize>() <= MAX_UNPACKED);
    assert!(records.windows(2).all(|pair| pair[0].seq < pair[1].seq), "numbers rise");
    for layout in [Layout::Rows, Layout::Smallest] {
        assert_eq!(unpack(&pack(&records, layout, false)).expect("our own block"), records);
    }
}

/// Asserts that an answer that unpacks also packs, and unpacks to the same.
fn answer(bytes: &[u8], question: &Question) {
    if let Ok(partial) = Partial::unpack(bytes, question) {
        let packed = partial.pack(question).expect("what was read can be written");
        assert_eq!(Partial::unpack(&packed, question).expect("and read again"), partial);
    }
}

fuzz_target!(|bytes: &[u8]| {
    block(bytes);
    if let Some(batch) = round::<Batch>(bytes) {
        block(&batch.block);
    }
    round::<Acknowledgement>(bytes);
    let question =
        parse::question("count, p95(t), last(t), stddev(x)", "", "m", "1h").expect("a question");
    answer(bytes, &question);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let (select, filter) = text.split_once('\n').unwrap_or(("count", text));
        if let Ok(question) = parse::question(select, filter, "a, b.c", "5m") {
            question.check().expect("what is parsed is within bounds");
            let again = serde_cbor::to_vec(&question).expect("it can be written");
            let again: Question = serde_cbor::from_slice(&again).expect("and read again");
            assert_eq!(again, question);
        }
        if let Ok(name) = text.parse::<StreamName>() {
            assert_eq!(name.as_str(), text);
            let pattern: Pattern = text.parse().expect("a name is a pattern");
            assert!(pattern.matches(&name));
        }
        if let Ok(pattern) = text.parse::<Pattern>() {
            assert_eq!(pattern.as_str(), text);
        }
    }
});
