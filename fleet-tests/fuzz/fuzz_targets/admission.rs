//! Documents that somebody applies: any JSON is let in or refused with paths, never anything else.
#![no_main]

#[allow(
    dead_code,
    unused_imports,
    reason = "what describes the documents to editors is not used here"
)]
#[path = "../../../control/src/core/admission/mod.rs"]
mod admission;
#[allow(dead_code, reason = "what reads selectors from a query is not used here")]
#[path = "../../../control/src/core/selector.rs"]
mod selector;

/// Their places in the control plane's crate.
mod core {
    pub(crate) use crate::selector;

    /// What a document about data says, as `control/src/core/records.rs` has it.
    pub(crate) mod records {
        use holdfast_records::{LinkBudget, StreamPolicy};

        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) enum Policy {
            Stream { policy: StreamPolicy, retention: super::ingest::Retention },
            LinkBudget { budget: LinkBudget },
        }
    }

    /// What a stream keeps, as `control/src/core/ingest.rs` has it.
    pub(crate) mod ingest {
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub(crate) struct Retention {
            pub(crate) age: Option<u64>,
            pub(crate) bytes: Option<u64>,
        }
    }
}
mod api {
    pub(crate) const API_VERSION: &str = "holdfast/v1";
}

use admission::admit;
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
