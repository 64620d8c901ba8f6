//! Fuzzes documents that a person applies: any JSON is accepted, or refused with paths, and nothing
//! else happens.
#![no_main]

use holdfast_control_core::admission::admit;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    let documents = match value {
        Value::Array(documents) => documents,
        other => vec![other],
    };
    match admit(&documents, &|digest| (digest.0[0] & 1 == 0).then_some(4_096)) {
        Ok(admitted) => assert_eq!(admitted.len(), documents.len()),
        Err(faults) => assert!(!faults.is_empty(), "refused without a fault"),
    }
});
