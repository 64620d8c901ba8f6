//! Fuzzes the unauthenticated requests to the control plane, the device's view of the responses,
//! and the token that a person pastes.
#![no_main]

use holdfast_protocol::enrol::{
    ApiErrorBody, EnrolAnswer, EnrolRequest, EnrolToken, RenewRequest, enrol_proof,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(token) = text.parse::<EnrolToken>()
    {
        assert!(token.to_string().eq_ignore_ascii_case(text.trim()));
    }
    if let Ok(request) = serde_json::from_slice::<EnrolRequest>(bytes) {
        let again = serde_json::to_vec(&request).expect("what was read can be written");
        let again: EnrolRequest = serde_json::from_slice(&again).expect("and read again");
        assert_eq!(again, request);
        if let Ok(token) = request.token.parse::<EnrolToken>() {
            let sealing_key = request.sealing_key.as_deref();
            assert!(!enrol_proof(&token.id, &request.public_key, sealing_key).is_empty());
        }
    }
    if let Ok(answer) = serde_json::from_slice::<EnrolAnswer>(bytes) {
        let again = serde_json::to_vec(&answer).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<EnrolAnswer>(&again).expect("again"), answer);
    }
    let _renew = serde_json::from_slice::<RenewRequest>(bytes);
    let _error = serde_json::from_slice::<ApiErrorBody>(bytes);
});
