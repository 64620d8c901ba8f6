//! PROTOCOL.md follows the code: it holds the digests of the sources of the wire, and mentions the
//! names and limits in them.

use std::fs;
use std::path::Path;

use holdfast_base::codec::MAX_MESSAGE;
use holdfast_base::ids::hex;
use holdfast_protocol::enrol::{ENROL_PATH, NONCE_PATH, RENEW_PATH, SERVER_NAME};
use holdfast_protocol::message::{MAX_REASON, MAX_REPLY_BODY};
use holdfast_protocol::problem::ProblemCode;
use holdfast_protocol::sealing::MAX_CONTENT;
use holdfast_protocol::topic::Channel;
use holdfast_query::{MAX_KEY, MAX_PARTIAL, MAX_ROWS};
use holdfast_records::block::{MAX_RECORD, MAX_UNPACKED};
use holdfast_records::message::{MAX_BATCH, MAX_BATCH_GAPS, MAX_BATCH_RECORDS};
use holdfast_records::report::MAX_REPORTED_STREAMS;
use holdfast_records::{GapReason, HorizonCause, TrafficClass};
use ring::digest::{SHA256, digest};

const SOURCES: [&str; 28] = [
    "src/message.rs",
    "src/checkpoint.rs",
    "src/wire.rs",
    "src/volume.rs",
    "src/workload.rs",
    "src/artifact.rs",
    "src/health.rs",
    "src/container.rs",
    "src/neighbours.rs",
    "src/enrol.rs",
    "src/sealing.rs",
    "base/src/ids.rs",
    "src/topic.rs",
    "src/signing.rs",
    "records/src/message.rs",
    "records/src/name.rs",
    "records/src/policy.rs",
    "records/src/report.rs",
    "records/src/block.rs",
    "records/src/block/columns.rs",
    "records/src/block/record.rs",
    "records/src/block/token.rs",
    "query/src/ast.rs",
    "query/src/wire.rs",
    "query/src/answer.rs",
    "query/src/groups.rs",
    "query/src/sketch.rs",
    "query/src/tally.rs",
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_description_is_of_these_sources() {
    let described = read("PROTOCOL.md");
    let mut stale = String::new();
    for file in SOURCES {
        let line = format!("{file} {}", hex(digest(&SHA256, read(file).as_bytes()).as_ref()));
        if !described.lines().any(|known| known == line) {
            stale.push_str(&format!("  {line}\n"));
        }
    }
    assert!(
        stale.is_empty(),
        "Sources of the wire have changed since PROTOCOL.md was last read against them.\n\
         1. If what is on the wire changed: is it only an added field that old readers may\n\
         \x20  ignore? If not, raise WIRE_VERSION and start tests/golden/v2.\n\
         2. Say it in PROTOCOL.md and holdfast.cddl, and add a golden vector that shows it\n\
         \x20  (HOLDFAST_GOLDEN=write); never change an old one.\n\
         3. Then put these lines in place of the old ones at the end of PROTOCOL.md:\n{stale}"
    );
}

#[test]
fn what_the_code_names_is_described() {
    let described = read("PROTOCOL.md");
    let channels = Channel::ALL.map(|channel| format!("`{}`", channel.as_str()));
    let limits = [
        MAX_MESSAGE,
        MAX_REASON,
        MAX_REPLY_BODY,
        MAX_RECORD,
        MAX_UNPACKED,
        MAX_BATCH,
        MAX_BATCH_GAPS,
        MAX_BATCH_RECORDS,
        MAX_REPORTED_STREAMS,
        MAX_PARTIAL,
        MAX_ROWS,
        MAX_KEY,
        MAX_CONTENT,
    ]
    .map(|limit| limit.to_string());
    let names = [SERVER_NAME, ENROL_PATH, RENEW_PATH, NONCE_PATH].map(str::to_owned);
    for word in channels.into_iter().chain(limits).chain(names) {
        assert!(described.contains(&word), "PROTOCOL.md says nothing of {word}");
    }
}

/// Table of all codes as it stands in PROTOCOL.md.
fn table() -> String {
    let mut table = "| code | reported by | meaning | what helps |\n|---|---|---|---|\n".to_owned();
    for code in ProblemCode::ALL {
        let (word, by) = (code.as_str(), code.reporter().as_str());
        table.push_str(&format!("| `{word}` | {by} | {} | {} |\n", code.meaning(), code.cure()));
    }
    table
}

#[test]
fn the_problem_codes_are_those_of_the_table() {
    let described = read("PROTOCOL.md");
    let (before, rest) = described.split_once("**Problem codes**").unwrap();
    let (text, rest) = rest.split_once("\n\n").unwrap();
    let after = rest.split_once("\n## ").unwrap().1;
    let now = format!("{before}**Problem codes**{text}\n\n{}\n## {after}", table());
    if std::env::var_os("HOLDFAST_UPDATE").is_some() {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("PROTOCOL.md"), &now).unwrap();
        return;
    }
    assert!(
        described == now,
        "PROTOCOL.md has other problem codes than protocol/src/problem.rs: set HOLDFAST_UPDATE=1"
    );
}

#[test]
fn the_words_of_data_stand_in_the_rules() {
    let rules = read("holdfast.cddl");
    let reasons = [
        GapReason::Expired,
        GapReason::Quota,
        GapReason::Thinned,
        GapReason::Reduced,
        GapReason::Withheld,
        GapReason::Damaged,
        GapReason::DiskFull,
    ];
    let causes =
        [HorizonCause::Certificate, HorizonCause::Buffer, HorizonCause::Disk, HorizonCause::Clock];
    let words = reasons.map(GapReason::as_str).into_iter();
    let words = words.chain(causes.map(HorizonCause::as_str));
    for word in words.chain(TrafficClass::ALL.map(TrafficClass::as_str)) {
        assert!(rules.contains(&format!("{word:?}")), "holdfast.cddl says nothing of {word}");
    }
}
