//! Fuzzes deltas: whatever stands behind a header, applying it ends with an error, in bounded memory
//! and time, and writes no more than the header promises.
#![no_main]

use holdfast_delta::{Header, Limits, Method, apply};
use libfuzzer_sys::fuzz_target;

/// Bytes of the result that the header promises.
const SIZE: u64 = 40_000;

fuzz_target!(|bytes: &[u8]| {
    // The base holds code, as the input has it, so that references are met.
    let [kind, rest @ ..] = bytes else { return };
    let method = match kind % 4 {
        0 => Method::Whole,
        1 => Method::Prefix,
        _ => Method::Patch,
    };
    let base = rest.repeat(20_000 / rest.len().max(1) + 1);
    let header = Header {
        method,
        memory: 8 << 20,
        old_size: base.len() as u64,
        new_size: SIZE,
        old: [1; 32],
        new: [2; 32],
    };
    let delta = [header.bytes(), rest.to_vec()].concat();
    let limits = Limits { memory: 8 << 20, size: SIZE, new: [2; 32], old: Some([1; 32]) };
    let mut made = Vec::new();
    let applied = apply(&mut delta.as_slice(), &base.as_slice(), &limits, &mut made);
    assert!(applied.is_err(), "no input has the digest that was promised");
    assert!(made.len() as u64 <= SIZE, "more was written than was promised");
    // A delta as it comes: its own header is read.
    let as_it_is = apply(&mut &*bytes, &base.as_slice(), &limits, &mut Vec::new());
    assert!(as_it_is.is_err());
});
