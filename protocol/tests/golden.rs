//! Golden vectors of the wire: today's encoder writes the same bytes as when the vector was made;
//! the bytes can be decoded; and `holdfast.cddl` describes them. Vectors are kept for ever, since
//! agents in the field still write them.
//!
//! `HOLDFAST_GOLDEN=write cargo test -p holdfast-protocol --test golden` adds the vectors that are
//! missing. It never changes an existing one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "a test fails loudly, and reads its vectors from files"
)]

mod golden {
    pub(super) mod described;
    pub(super) mod enrolment;
    pub(super) mod vectors;
}

use std::fs;
use std::path::{Path, PathBuf};

use cddl_cat::cbor::validate_cbor_bytes;
use holdfast_base::codec;
use holdfast_protocol::checkpoint::Testimony;
use holdfast_protocol::message::{
    Call, DesiredState, Fetched, Presence, Reply, ReportAck, StateReport,
};
use holdfast_protocol::sealing::{Bound, INFO, SealedContent, SealingKey, seal};
use holdfast_protocol::signing::{
    Signed, Signer, call_purpose, open_call, open_checkpoint, verify,
};
use holdfast_query::{Partial, Question};
use holdfast_records::{Acknowledgement, Batch};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use golden::vectors;

/// Returns the folder of version 1's vectors.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn writing() -> bool {
    std::env::var_os("HOLDFAST_GOLDEN").is_some_and(|value| value == "write")
}

/// Returns the stored vector; made from `bytes` first if it is missing and `HOLDFAST_GOLDEN=write`
/// is set.
fn stored(file: &str, bytes: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let path = folder().join(file);
    if !path.exists() && writing() {
        fs::write(&path, bytes()).unwrap();
    }
    fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; HOLDFAST_GOLDEN=write makes it", path.display())
    })
}

fn stored_json(file: &str, value: impl FnOnce() -> Value) -> Value {
    let pretty = || {
        let mut text = serde_json::to_vec_pretty(&value()).unwrap();
        text.push(b'\n');
        text
    };
    serde_json::from_slice(&stored(file, pretty)).unwrap()
}

/// Returns a publicly known signing key of a control plane: its seed is 32 bytes of 1.
fn signer() -> Signer {
    let mut document = unhex("302e020100300506032b657004220420");
    document.extend([1; 32]);
    Signer::from_pkcs8(&document).unwrap()
}

/// Returns a publicly known sealing key of a device: 32 bytes of 2.
fn device_key() -> SealingKey {
    SealingKey::new([2; 32]).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(pair).collect()
}

/// Returns the rules as cddl-cat reads them: in RFC 8610 a `.regexp` matches a whole text, in
/// cddl-cat any part of it.
fn cddl() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("holdfast.cddl");
    let whole = |line: &str| match line.split_once(".regexp \"") {
        Some((before, rest)) => format!("{before}.regexp \"^{}$\"", rest.trim_end_matches('"')),
        None => line.to_owned(),
    };
    fs::read_to_string(path).unwrap().lines().map(whole).collect::<Vec<_>>().join("\n")
}

fn conforms(rule: &str, bytes: &[u8]) -> Result<(), String> {
    validate_cbor_bytes(rule, &cddl(), bytes).map_err(|error| error.to_string())
}

/// Checks one message against `NAME.cbor` and, for people and other languages, `NAME.json`.
fn holds<T>(name: &str, rule: &str, about: &str, message: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let encoded = codec::encode(message).unwrap();
    let golden = stored(&format!("{name}.cbor"), || encoded.clone());
    assert_eq!(encoded, golden, "{name}: encodes to other bytes than the golden vector");
    assert_eq!(&codec::decode::<T>(&golden).unwrap(), message, "{name}: decodes");
    conforms(rule, &golden).unwrap_or_else(|error| panic!("{name} against {rule}: {error}"));
    let json = stored_json(
        &format!("{name}.json"),
        || json!({ "about": about, "rule": rule, "message": message }),
    );
    let said: T = serde_json::from_value(json["message"].clone()).unwrap();
    assert_eq!(&said, message, "{name}.json describes the vector");
}

/// Checks one signed message against `NAME.cose`.
fn holds_signed<T>(name: &str, rule: &str, message: &T)
where
    T: Signed + PartialEq + std::fmt::Debug,
{
    let signed = signer().sign(message).unwrap();
    let golden = sealed(name, rule, message, signed, &String::from_utf8_lossy(T::PURPOSE));
    let key = signer().public_key();
    assert_eq!(&verify::<T>(&golden, &key, message.device()).unwrap(), message);
}

/// Checks the vector of a signed message against the rules and its description.
fn sealed<T: Serialize>(
    name: &str,
    rule: &str,
    message: &T,
    signed: Vec<u8>,
    purpose: &str,
) -> Vec<u8> {
    let golden = stored(&format!("{name}.cose"), || signed.clone());
    assert_eq!(signed, golden, "{name}: signs to other bytes than the golden vector");
    let key = signer().public_key();
    conforms(rule, &golden).unwrap_or_else(|error| panic!("{name} against {rule}: {error}"));
    let own = codec::encode(message).unwrap();
    let json = stored_json(&format!("{name}.cose.json"), || {
        json!({
            "about": "COSE_Sign1, untagged, over the payload",
            "rule": rule,
            "payload": format!("{name}.cbor"),
            "externalAad": purpose,
            "seed": holdfast_base::ids::hex(&[1; 32]),
            "publicKey": holdfast_base::ids::hex(&key),
        })
    });
    assert_eq!(json["publicKey"], holdfast_base::ids::hex(&key));
    assert_eq!(json["externalAad"], purpose);
    assert!(golden.windows(own.len()).any(|part| part == own), "the payload stands inside");
    golden
}

#[test]
fn desired_states() {
    for (name, about, message) in [
        ("desired-empty", "nothing is to run", vectors::desired_empty()),
        ("desired-small", "one workload, every default", vectors::desired_small()),
        ("desired-all", "every field of a workload", vectors::desired_all()),
        ("desired-paused", "one workload that is paused", vectors::desired_paused()),
        ("desired-containers", "containers and a group", vectors::desired_containers()),
        ("desired-windows", "windows of downloads and switches", vectors::desired_windows()),
        ("desired-neighbours", "files are shared on a site", vectors::desired_neighbours()),
        ("desired-data", "every field of streams, link and bus", vectors::desired_data()),
        ("desired-data-named", "the same, and whose budget it is", vectors::desired_data_named()),
        ("desired-data-small", "policies, and none in them", vectors::desired_data_small()),
        ("desired-audit", "with a checkpoint of the audit log", vectors::desired_audit()),
    ] {
        holds::<DesiredState>(name, "desired-state", about, &message);
        holds_signed(name, "signed-desired", &message);
    }
}

/// Checks sealed secrets: the states that carry them, their content, and that the key of the vectors
/// opens them.
#[test]
fn sealed_secrets() {
    for (name, about, message) in [
        (
            "desired-sealed",
            "a workload with secrets, restarted on a change",
            vectors::desired_sealed(),
        ),
        (
            "desired-sealed-signal",
            "the same, rotated, with a signal",
            vectors::desired_sealed_signal(),
        ),
    ] {
        holds::<DesiredState>(name, "desired-state", about, &message);
        holds_signed(name, "signed-desired", &message);
        let (workload, wanted) = message.workloads.first_key_value().unwrap();
        let sealed = wanted.sealed.as_ref().unwrap();
        let bound = Bound {
            device: &message.device,
            workload,
            revision: wanted.revision,
            epoch: message.epoch,
            version: sealed.version,
        };
        let content = vectors::sealed_content(sealed.version);
        let random = vectors::SEALED_RANDOM;
        let again = seal(&content, &device_key().public(), &bound, random).unwrap();
        assert_eq!(again, sealed.bytes, "{name}: seals to other bytes than the golden vector");
        assert_eq!(device_key().open(&sealed.bytes, &bound), Ok(content.clone()), "{name}");
        let plain = serde_cbor::to_vec(&content).unwrap();
        let golden = stored(&format!("{name}.content.cbor"), || plain.clone());
        assert_eq!(plain, golden, "{name}: the content is encoded to other bytes");
        assert_eq!(codec::from_slice::<SealedContent>(&golden).unwrap(), content);
        conforms("sealed-content", &golden).unwrap();
        let json = stored_json(&format!("{name}.content.json"), || {
            json!({
                "about": "the content that is sealed, and what it is sealed with",
                "rule": "sealed-content",
                "state": format!("{name}.cbor"),
                "info": String::from_utf8_lossy(INFO),
                "aad": String::from_utf8_lossy(&bound.aad()),
                "devicePrivateKey": holdfast_base::ids::hex(&device_key().to_bytes()),
                "devicePublicKey": holdfast_base::ids::hex(&device_key().public()),
                "ikmE": holdfast_base::ids::hex(&random),
                "message": content,
            })
        });
        assert_eq!(json["aad"].as_str().unwrap().as_bytes(), bound.aad());
    }
}

#[test]
fn calls() {
    for (name, about, message) in [
        ("call-logs", "the last 100 lines", vectors::call_logs()),
        ("call-follow", "lines as they come, for a minute", vectors::call_follow()),
        ("call-logs-part", "a part of a log with everything in it", vectors::call_logs_part()),
        ("call-query", "a question with everything in it", vectors::call_query()),
        ("call-query-small", "the least question", vectors::call_query_small()),
        ("call-query-whole", "whole numbers of 64 bits", vectors::call_query_whole()),
        ("call-fetch", "records of five minutes", vectors::call_fetch()),
        ("call-restart", "one workload, now", vectors::call_restart()),
        ("call-volumes", "the volumes of its containers", vectors::call_volumes()),
        ("call-volume-restore", "of a volume's content", vectors::call_volume_restore()),
        ("call-audit-checkpoint", "what is kept of it", vectors::call_audit_checkpoint()),
        ("call-cancel", "an end to the call with this id", vectors::call_cancel()),
    ] {
        holds::<Call>(name, "call", about, &message);
        let (device, session) = (vectors::DEVICE.parse().unwrap(), vectors::SESSION);
        let signed = signer().sign_call(&message, &device, session).unwrap();
        let purpose = call_purpose(&device, session);
        let golden = sealed(name, "signed-call", &message, signed, &purpose);
        let key = signer().public_key();
        assert_eq!(open_call(&golden, &key, &device, session).unwrap(), message);
    }
}

#[test]
fn state_reports() {
    for (name, about, message) in [
        ("state-first", "a device that was never told anything", vectors::state_first()),
        ("state-witness", "it keeps checkpoints of the audit log", vectors::state_witness()),
        ("state-containers", "a container and its engine", vectors::state_containers()),
        ("state-neighbours", "where neighbours are served", vectors::state_neighbours()),
        ("state-progress", "downloads under way", vectors::state_progress()),
        ("state-full", "everything, after a connect", vectors::state_full()),
        ("state-delta", "what changed: one workload, one is gone", vectors::state_delta()),
        ("state-paused", "a workload that is paused", vectors::state_paused()),
        ("state-numbered", "what changed, to be acknowledged", vectors::state_numbered()),
        ("state-healed", "nothing is wrong any more", vectors::state_healed()),
        ("state-data", "streams, buffer, link and horizon", vectors::state_data()),
        ("state-data-period", "the link's period", vectors::state_data_period()),
        ("state-data-waits", "what waits for the link budget", vectors::state_data_waits()),
        ("state-data-small", "a device without streams", vectors::state_data_small()),
        ("state-history", "which history of the device this is", vectors::state_history()),
        ("state-diverged", "it goes on above what it was told", vectors::state_diverged()),
    ] {
        holds::<StateReport>(name, "state-report", about, &message);
    }
}

#[test]
fn replies_and_presence() {
    for (name, about, message) in [
        ("reply-piece", "a piece of a log, more follow", vectors::reply_piece()),
        ("reply-end", "the end", vectors::reply_end()),
        ("reply-log", "two lines of a log, with their place and times", vectors::reply_log()),
        ("reply-error", "the call could not be answered", vectors::reply_error()),
        ("reply-busy", "the call may be sent again soon", vectors::reply_busy()),
    ] {
        holds::<Reply>(name, "reply", about, &message);
    }
    for (name, about, message) in [
        ("presence-online", "published after every connect", vectors::online()),
        ("presence-will", "the last will", vectors::will()),
    ] {
        holds::<Presence>(name, "presence", about, &message);
    }
}

/// Checks the bodies of replies.
#[test]
fn answers_to_questions() {
    answer("answer-query", "call-query", &vectors::partial(), &vectors::question());
    let (partial, question) = (vectors::partial_whole(), vectors::question_whole());
    answer("answer-query-whole", "call-query-whole", &partial, &question);

    let fetched = Fetched { records: 300, bytes: 4_000 };
    let golden = stored("answer-fetch.cbor", || serde_cbor::to_vec(&fetched).unwrap());
    assert_eq!(serde_cbor::from_slice::<Fetched>(&golden).unwrap(), fetched);
    conforms("fetched", &golden).unwrap();
}

/// Checks the checkpoints of the audit log: what a device keeps, and one that is signed by itself.
#[test]
fn checkpoints_of_the_audit_log() {
    let testimony = vectors::testimony();
    let golden = stored("answer-audit.cbor", || serde_cbor::to_vec(&testimony).unwrap());
    assert_eq!(codec::from_slice::<Testimony>(&golden).unwrap(), testimony);
    assert_eq!(serde_cbor::to_vec(&testimony).unwrap(), golden);
    conforms("testimony", &golden).unwrap();
    let checkpoint = testimony.0[1].checkpoint;
    for (file, tenant) in [("checkpoint.cose", Some("acme")), ("checkpoint-all.cose", None)] {
        let signed = signer().sign_checkpoint(&checkpoint, tenant).unwrap();
        let golden = stored(file, || signed.clone());
        assert_eq!(signed, golden, "{file}");
        conforms("signed-checkpoint", &golden).unwrap();
        let key = signer().public_key();
        assert_eq!(open_checkpoint(&golden, &key, tenant).unwrap(), checkpoint);
        let other = if tenant.is_some() { None } else { Some("acme") };
        assert!(open_checkpoint(&golden, &key, other).is_err(), "it is of one chain");
    }
}

/// Measures what a checkpoint adds to a desired state.
#[test]
fn a_checkpoint_takes_a_few_dozen_bytes() {
    let length = |message: &DesiredState| signer().sign(message).unwrap().len();
    let added = length(&vectors::desired_audit()) - length(&vectors::desired_small());
    assert_eq!(added, 51, "of a log of 70,000 entries");
}

fn answer(name: &str, call: &str, partial: &Partial, question: &Question) {
    let packed = partial.pack(question).unwrap();
    assert_eq!(&Partial::unpack(&packed, question).unwrap(), partial);
    // The bytes that zstd produces may change; the content may not.
    let plain = match packed.split_first() {
        Some((0, plain)) => plain.to_vec(),
        Some((1, frame)) => zstd::bulk::decompress(frame, 1 << 20).unwrap(),
        other => panic!("{other:?}"),
    };
    let encoded = [vec![0], plain].concat();
    let golden = stored(&format!("{name}.bin"), || encoded.clone());
    assert_eq!(encoded, golden, "encodes to other bytes than the golden vector");
    assert_eq!(&Partial::unpack(&golden, question).unwrap(), partial);
    let about = format!("the answer to {call}, not compressed; `question` is of that call");
    let file = format!("{name}.json");
    let said = stored_json(&file, || json!({ "about": about, "message": partial }));
    assert_eq!(said["message"], json!(partial));
}

#[test]
fn batches_and_acknowledgements() {
    for (name, about, message) in [
        ("batch-whole", "three records, none missing", vectors::batch_whole()),
        (
            "batch-rows",
            "rows, not compressed; what is not there was thinned",
            vectors::batch_rows(),
        ),
        ("batch-columns", "columns, not compressed: every form", vectors::batch_columns()),
        ("batch-gaps", "no records; every reason", vectors::batch_gaps()),
        ("batch-doubt", "numbers that may have been given twice", vectors::batch_doubt()),
        ("batch-fetched", "records that were asked for again", vectors::batch_fetched()),
    ] {
        holds::<Batch>(name, "batch", about, &message);
    }
    for (name, about, message) in [
        ("ack-stored", "two batches are stored", vectors::ack_stored()),
        ("ack-refused", "one can never be", vectors::ack_refused()),
        ("ack-hold", "no further batch for 30 s", vectors::ack_hold()),
        ("ack-store", "which data store this is", vectors::ack_store()),
        ("ack-conflict", "numbers that stand for other records", vectors::ack_conflict()),
        ("ack-diverged", "the history is not the one that is known", vectors::ack_diverged()),
    ] {
        holds::<Acknowledgement>(name, "acknowledgement", about, &message);
    }
    let about = "the report of state-numbered is stored";
    holds::<ReportAck>("ack-report", "report-ack", about, &vectors::report_ack());
}

/// The rules refuse wrong messages, so that conforming means something.
#[test]
fn the_rules_have_teeth() {
    let cbor = |value: &Value| {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).unwrap();
        bytes
    };
    let good = json!({ "v": 1, "online": true, "session": 7 });
    conforms("presence", &cbor(&good)).unwrap();
    for (field, bad) in
        [("v", json!(2)), ("online", json!(1)), ("session", json!(-1)), ("other", json!(1))]
    {
        let mut wrong = good.clone();
        wrong[field] = bad;
        assert!(conforms("presence", &cbor(&wrong)).is_err(), "{field}");
    }
    let good = json!({ "v": 1, "epoch": 1, "generation": 2,
        "workloads": { "hello": { "revision": 1, "phase": "running" }, "gone": null } });
    conforms("state-report", &cbor(&good)).unwrap();
    for (path, bad) in [
        ("/workloads/hello/phase", json!("sleeping")),
        ("/workloads/hello/revision", json!("1")),
        ("/workloads/hello", json!(7)),
        ("/generation", json!(null)),
    ] {
        let mut wrong = good.clone();
        *wrong.pointer_mut(path).unwrap() = bad;
        assert!(conforms("state-report", &cbor(&wrong)).is_err(), "{path}");
    }
    let batch = json!({ "v": 1, "stream": "a/b", "from": 1, "to": 2, "rest": "quota" });
    conforms("batch", &cbor(&batch)).unwrap();
    for (field, bad) in [
        ("stream", json!("a/+")),
        ("from", json!(0)),
        ("rest", json!("lost")),
        ("gaps", json!([{ "from": 1, "to": 2 }])),
        ("block", json!("text")),
    ] {
        let mut wrong = batch.clone();
        wrong[field] = bad;
        assert!(conforms("batch", &cbor(&wrong)).is_err(), "{field}");
    }
    let mut wrong = good;
    wrong["workloads"]["Not A Name"] = json!(null);
    assert!(conforms("state-report", &cbor(&wrong)).is_err(), "a bad name");
    let mut device = vectors::desired_small();
    device.v = 2;
    assert!(conforms("desired-state", &codec::encode(&device).unwrap()).is_err(), "version 2");
}

/// Fields may be added within a version: today's reader ignores unknown ones.
#[test]
fn unknown_fields_are_ignored() {
    let tomorrow = json!({ "v": 1, "online": true, "session": 7, "mood": { "good": [1, null] } });
    let bytes = serde_cbor::to_vec(&tomorrow).unwrap();
    assert_eq!(codec::decode::<Presence>(&bytes).unwrap().session, 7);
}
