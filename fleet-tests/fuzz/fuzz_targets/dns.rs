//! Fuzzes answers of name servers, which anybody on the network path can send to an agent.
#![no_main]

use holdfast_agent_core::dns;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for kind in [dns::A, dns::AAAA] {
        if let Some(found) = dns::records(bytes, kind) {
            // Each entry takes at least a name's end, a header and itself.
            assert!(found.len() * 15 <= bytes.len());
        }
    }
});
