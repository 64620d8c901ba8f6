//! `holdfast audit`: whether the audit log is whole, and its export.
//!
//! See decisions 0169 and 0170.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use holdfast_api::audit::Standing;
use holdfast_api::chain::{Checker, opened};
use holdfast_api::count::{count, either};
use holdfast_api::time::rfc3339;
use holdfast_api::{
    AUDIT_FORMAT, AuditCheckpoint, AuditFault, AuditHead, AuditRecord, Verification,
};
use holdfast_protocol::checkpoint::Checkpoint;
use holdfast_protocol::signing::open_checkpoint;
use serde_json::json;

use super::args::{Audit, ExportAudit, VerifyAudit, VerifyFormat};
use super::cells::read;
use super::clean::clean;
use super::client::Client;
use super::failure::{Exit, Failure, Outcome};
use super::text::{Output, note};

/// Longest line of an export that is read, in bytes; entries have some hundred.
const MAX_LINE: u64 = 4 * 1024 * 1024;

/// Runs a subcommand of `audit` at a control plane.
pub(crate) async fn audit(client: &Client, output: Output, command: &Audit) -> Outcome {
    match command {
        Audit::Verify(wanted) => {
            let witness = if wanted.witness { "true" } else { "false" };
            let answer = client.get(&["audit", "verification"], &[("witness", witness)]).await?;
            let found: Verification = read(&answer)?;
            say(output, wanted, &found)
        }
        Audit::Export(wanted) => export(client, output, wanted).await,
    }
}

async fn export(client: &Client, output: Output, wanted: &ExportAudit) -> Outcome {
    let mut response = client.stream(&["audit", "export"], &[]).await?;
    let mut file = match &wanted.file {
        Some(path) => {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            Some((path, made.map_err(|error| Failure::file("create", path, error))?))
        }
        None => None,
    };
    while let Some(chunk) = response.chunk().await.map_err(|error| client.unreachable(&error))? {
        match &mut file {
            Some((path, file)) => {
                file.write_all(&chunk).map_err(|error| Failure::file("write", path, error))?;
            }
            None => output.bytes(&chunk)?,
        }
    }
    if let Some((path, file)) = file {
        file.sync_all().map_err(|error| Failure::file("write", path, error))?;
        note(&format!(
            "the audit log is in {}: holdfast audit verify --file checks it",
            path.display()
        ));
    }
    Ok(())
}

/// Checks an export, without a control plane.
pub(crate) fn verify_file(output: Output, wanted: &VerifyAudit, path: &Path, now: u64) -> Outcome {
    let file = File::open(path).map_err(|error| Failure::file("read", path, error))?;
    let found = check(BufReader::new(file), wanted.key.as_deref(), now)
        .map_err(|why| Failure::failed(format!("{}: {why}", path.display())))?;
    say(output, wanted, &found)
}

/// Reason why a file is no export that can be checked.
#[derive(Debug, thiserror::Error)]
enum NoExport {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("it is empty")]
    Empty,
    #[error("its first line is not that of an export: holdfast audit export makes one")]
    NoHead,
    #[error("it is of the form {0:?}, and this is for {AUDIT_FORMAT:?}")]
    Form(String),
    #[error("the key is not in base64")]
    Key,
    #[error("line {0} is not an entry of an audit log: {1}")]
    Line(u64, serde_json::Error),
}

/// Reads the next line. None: the end.
fn line(from: &mut impl std::io::BufRead) -> Result<Option<Vec<u8>>, NoExport> {
    let mut line = Vec::new();
    std::io::Read::take(&mut *from, MAX_LINE).read_until(b'\n', &mut line)?;
    if line.is_empty() { Ok(None) } else { Ok(Some(line)) }
}

/// Checks the lines of an export.
fn check(
    mut from: impl std::io::BufRead,
    key: Option<&str>,
    now: u64,
) -> Result<Verification, NoExport> {
    let first = line(&mut from)?.ok_or(NoExport::Empty)?;
    let head: AuditHead = serde_json::from_slice(&first).map_err(|_| NoExport::NoHead)?;
    if head.format != AUDIT_FORMAT {
        return Err(NoExport::Form(head.format));
    }
    let mut found = Verification { at: rfc3339(now), ..Verification::default() };
    if let Some(key) = key.filter(|key| *key != head.signing_key) {
        found.notes.push(format!("the file names another signing key than {key}"));
    }
    let key =
        BASE64_STANDARD.decode(key.unwrap_or(&head.signing_key)).map_err(|_| NoExport::Key)?;
    let open = |said: &AuditCheckpoint| {
        let bytes = BASE64_STANDARD.decode(&said.signed).unwrap_or_default();
        opened(said, open_checkpoint(&bytes, &key, Some(&head.tenant)).ok())
    };
    let mut points: Vec<Checkpoint> = Vec::new();
    for said in &head.checkpoints {
        match open(said) {
            Ok(point) => points.push(point),
            Err(fault) if found.faults.is_empty() => found.faults.push(fault),
            Err(_) => {}
        }
    }
    let base = match head.base.as_ref().map(open).transpose() {
        Ok(base) => base,
        Err(fault) => {
            found.faults.push(fault);
            return Ok(found);
        }
    };
    let mut checker =
        Checker::new(&head.tenant, base.as_ref(), points.iter().map(|point| point.number));
    let mut wrong = walk(&mut from, &mut checker)?;
    if wrong.is_none() {
        wrong = checker.end(Some(head.next)).err();
    }
    if wrong.is_none() {
        wrong = checker.agree(&points, "a signed checkpoint").err();
    }
    found.faults.extend(wrong);
    found.checkpoints = points.len() as u64;
    (found.entries, found.former) = (checker.entries, checker.former);
    (found.first, found.last) = (checker.first, checker.last());
    found.intact = found.faults.is_empty();
    Ok(found)
}

/// Gives every entry of an export to the checker.
fn walk(
    from: &mut impl std::io::BufRead,
    checker: &mut Checker,
) -> Result<Option<AuditFault>, NoExport> {
    let mut number: u64 = 1;
    while let Some(line) = line(from)? {
        number += 1;
        let entry: AuditRecord =
            serde_json::from_slice(&line).map_err(|error| NoExport::Line(number, error))?;
        if let Err(fault) = checker.take(&entry) {
            return Ok(Some(fault));
        }
    }
    Ok(None)
}

/// Sentences about a verification.
fn words(found: &Verification) -> Vec<String> {
    let mut lines = Vec::new();
    let span = match (found.first, found.last) {
        (Some(first), Some(last)) => format!(", {first} to {last}"),
        _ => String::new(),
    };
    let checked = format!(
        "{}{span}; {}",
        either(found.entries, "entry", "entries"),
        count(found.checkpoints, "signed checkpoint")
    );
    match found.faults.first() {
        None => lines.push(format!("chain verified: {checked}")),
        Some(_) => lines.push(format!("NOT INTACT, checked {checked}")),
    }
    lines.extend(found.faults.iter().map(|fault| fault.message.clone()));
    if let Some(whole) = found.whole {
        lines.push(format!(
            "over all tenants: {} of {}",
            either(whole.entries, "entry", "entries"),
            count(whole.tenants, "tenant")
        ));
    }
    if found.former > 0 {
        let former = either(found.former, "entry", "entries");
        lines.push(format!(
            "{former} of a version before the chain, covered by the one that began it"
        ));
    }
    if let Some(said) = &found.witnesses {
        let mut parts = vec![format!("{} of {} agree", said.agree, said.of)];
        for (many, word) in [
            (said.disagree, "disagree"),
            (said.none, "without a checkpoint yet"),
            (said.away, "away"),
        ] {
            if many > 0 {
                parts.push(format!("{many} {word}"));
            }
        }
        lines.push(format!("witnesses: {}", parts.join(", ")));
        for device in found.devices.iter().filter(|it| it.standing == Standing::Disagrees) {
            lines.push(format!("  {}: {}", device.device, device.message));
        }
    }
    lines.extend(found.notes.iter().map(|text| format!("note: {text}")));
    lines
}

fn say(output: Output, wanted: &VerifyAudit, found: &Verification) -> Outcome {
    match wanted.output {
        VerifyFormat::Json => {
            let text = serde_json::to_string_pretty(&json!(found)).unwrap_or_default() + "\n";
            output.bytes(text.as_bytes())?;
        }
        VerifyFormat::Text => {
            let lines = words(found).into_iter().map(|line| clean(&line).to_string() + "\n");
            output.bytes(lines.collect::<String>().as_bytes())?;
        }
    }
    let alone = found.witnesses.is_some_and(|said| said.agree == 0);
    match found.intact {
        false => Err(Failure::said(Exit::AuditWrong)),
        true if alone => Err(Failure::said(Exit::AuditAlone)),
        true => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verification_in_words() {
        let mut found: Verification = serde_json::from_value(json!({
            "intact": true, "at": "2026-11-23T20:51:01Z", "entries": 41, "first": 0, "last": 40,
            "checkpoints": 3, "former": 2, "whole": { "tenants": 2, "entries": 90 },
            "witnesses": { "of": 4, "agree": 3, "disagree": 0, "none": 0, "away": 1 },
        }))
        .unwrap();
        assert_eq!(
            words(&found),
            [
                "chain verified: 41 entries, 0 to 40; 3 signed checkpoints",
                "over all tenants: 90 entries of 2 tenants",
                "2 entries of a version before the chain, covered by the one that began it",
                "witnesses: 3 of 4 agree, 1 away",
            ]
        );
        found.faults.push(AuditFault {
            chain: "tenant".into(),
            number: 7,
            to: None,
            message: "entry 7 was edited".into(),
        });
        let said = words(&found);
        assert!(said[0].starts_with("NOT INTACT") && said[1] == "entry 7 was edited", "{said:?}");
    }

    #[test]
    fn what_is_no_export_is_said() {
        for (text, why) in [
            ("", "it is empty"),
            ("{}\n", "its first line is not that of an export"),
            (
                "{\"format\":\"x\",\"tenant\":\"t\",\"at\":0,\"signingKey\":\"\",\"checkpoints\":[],\"next\":0}\n",
                "it is of the form",
            ),
        ] {
            let said = check(text.as_bytes(), None, 0).unwrap_err().to_string();
            assert!(said.starts_with(why), "{said}");
        }
    }
}
