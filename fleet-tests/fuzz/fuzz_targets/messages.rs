//! Fuzzes messages from devices: state reports, replies, presence, checkpoints that they keep; and the payload of a signature.
#![no_main]

use std::fmt::Debug;

use holdfast_base::codec::{decode, encode};
use holdfast_protocol::checkpoint::Testimony;
use holdfast_protocol::message::{Call, DesiredState, Presence, Reply, StateReport};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Asserts that a message that decodes also encodes, and decodes to the same message again.
fn round<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(message) = decode::<T>(bytes) {
        let again = encode(&message).expect("what was read can be written");
        assert_eq!(decode::<T>(&again).expect("and read again"), message);
    }
}

fuzz_target!(|bytes: &[u8]| {
    round::<StateReport>(bytes);
    round::<Reply>(bytes);
    round::<Presence>(bytes);
    round::<Testimony>(bytes);
    round::<DesiredState>(bytes);
    round::<Call>(bytes);
});
