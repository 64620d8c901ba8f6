//! Fuzzes messages to a device: COSE_Sign1, from a broker that is not trusted.
#![no_main]

use holdfast_base::ids::DeviceId;
use holdfast_protocol::message::DesiredState;
use holdfast_protocol::signing::{Signed, Signer, open_call, verify};
use libfuzzer_sys::fuzz_target;

/// Session of the golden vectors.
const SESSION: u64 = u64::MAX - 1;

/// Returns the key of the golden vectors.
fn signer() -> Signer {
    let mut document = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    document.extend([1; 32]);
    Signer::from_pkcs8(&document).expect("a key")
}

/// Asserts that bytes that verify carry an honest signature: none is found by trial.
fn check<T: Signed>(bytes: &[u8], key: &[u8], device: &DeviceId) {
    if let Ok(message) = verify::<T>(bytes, key, device) {
        assert_eq!(message.device(), device);
        let honest = signer().sign(&message).expect("it can be signed");
        has_signature_of(bytes, &honest);
    }
}

fn has_signature_of(bytes: &[u8], honest: &[u8]) {
    let signature = &honest[honest.len() - 64..];
    assert!(bytes.windows(64).any(|part| part == signature), "passed without its signature");
}

fuzz_target!(|bytes: &[u8]| {
    let key = signer().public_key();
    let device: DeviceId = "acme_dev-1".parse().expect("a device id");
    check::<DesiredState>(bytes, &key, &device);
    if let Ok(call) = open_call(bytes, &key, &device, SESSION) {
        let honest = signer().sign_call(&call, &device, SESSION).expect("it can be signed");
        has_signature_of(bytes, &honest);
    }
});
