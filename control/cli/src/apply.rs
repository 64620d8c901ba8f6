//! `apply`, `diff` and `delete`: changes of the desired state.

use reqwest::Method;
use serde_json::{Value, json};
use similar::TextDiff;

use super::args;
use super::client::Client;
use super::compose::command as compose;
use super::documents::{self, Document};
use super::failure::{Exit, Failure, Outcome};
use super::text::{Mood, Output, clean, note};
use super::yaml::write as yaml;
use holdfast_api::count::count;
use holdfast_api::{Applied, AppliedAction, AppliedDocument};

/// Applies documents, or in a dry run prints what applying would change.
pub(crate) async fn apply(client: &Client, output: Output, arguments: &args::Apply) -> Outcome {
    let documents = if arguments.compose.files.is_empty() {
        documents::read(&arguments.files)?
    } else {
        let imported = compose::imported(&arguments.compose)?;
        compose::as_read(compose::with_devices(client, imported).await?)
    };
    for result in send(client, documents, arguments.dry_run).await?.results {
        output.line(&line(output, &result, arguments.dry_run))?;
    }
    Ok(())
}

/// Prints the documents of Compose files, without a control plane.
pub(crate) fn print_compose(
    output: Output,
    arguments: &args::Apply,
    format: args::ComposeFormat,
) -> Outcome {
    let documents = compose::imported(&arguments.compose)?;
    for document in &documents {
        let kind = document.get("kind").and_then(Value::as_str);
        if kind == Some("Workload") && document.pointer("/spec/devices").is_none() {
            return Err(compose::chosen(None));
        }
    }
    compose::print(output, &documents, format)
}

/// Prints what applying would change.
pub(crate) async fn diff(client: &Client, output: Output, files: &args::Files) -> Outcome {
    let documents = documents::read(&files.files)?;
    for result in send(client, documents, true).await?.results {
        output.bytes(unified(output, result)?.as_bytes())?;
    }
    Ok(())
}

/// Returns what a document changes, as a unified diff.
pub(crate) fn unified(output: Output, result: AppliedDocument) -> Outcome<String> {
    let before = match result.before {
        Some(before) => yaml(&documents::written(before))?,
        None => String::new(),
    };
    let after = yaml(&documents::written(result.after))?;
    let whole = format!("{}/{}", result.kind.to_lowercase(), result.name);
    let from = if before.is_empty() { "/dev/null".to_owned() } else { format!("{whole} (now)") };
    let diff = TextDiff::from_lines(&before, &after);
    let text = diff.unified_diff().header(&from, &format!("{whole} (applied)")).to_string();
    Ok(coloured(output, &clean(&text)))
}

async fn send(client: &Client, documents: Vec<Document>, dry_run: bool) -> Outcome<Applied> {
    let values: Vec<&Value> = documents.iter().map(|document| &document.value).collect();
    let query: &[(&str, &str)] = if dry_run { &[("dryRun", "true")] } else { &[] };
    let answer =
        client.send(Method::POST, &["apply"], query, &json!({ "documents": values })).await;
    let answer = answer.map_err(|failure| with_sources(failure, &documents))?;
    let applied: Applied = serde_json::from_value(answer).map_err(|error| {
        Failure::failed(format!(
            "the control plane's answer is not understood ({error}): is it as new as this program?"
        ))
    })?;
    for result in &applied.results {
        for warning in &result.warnings {
            note(&format!("warning: {}/{}: {warning}", result.kind.to_lowercase(), result.name));
        }
    }
    Ok(applied)
}

/// Adds to each fault the file of its document, when there are several files, and quotes numbers as
/// they were written.
fn with_sources(mut failure: Failure, documents: &[Document]) -> Failure {
    let first = documents.first().map(|document| &document.source);
    let several = documents.iter().any(|document| Some(&document.source) != first);
    for fault in &mut failure.faults {
        let number = fault.strip_prefix("documents[").and_then(|rest| rest.split_once(']'));
        let index = number.and_then(|(number, _)| number.parse::<usize>().ok());
        let Some(document) = documents.get(index.unwrap_or_default()) else { continue };
        let (of, path) = match (index, fault.split_once("): ")) {
            (Some(_), Some((of, path))) => (format!("{of}): "), path),
            _ => (String::new(), fault.as_str()),
        };
        if let Some(written) = document.as_written(path) {
            *fault = format!("{of}{written}");
        }
        if several && index.is_some() {
            *fault = format!("{}: {fault}", document.source);
        }
    }
    failure
}

/// Returns the result of applying a document, in one line.
pub(crate) fn line(output: Output, result: &AppliedDocument, dry_run: bool) -> String {
    // A workload's line is short: `diff` and the pages say which devices change.
    let is_workload = result.kind == "Workload";
    let devices = match result.device_count {
        _ if !is_workload && !result.effect.is_empty() => clean(&result.effect),
        of => count(of, "device"),
    };
    let (mood, changes) = match result.action {
        AppliedAction::Unchanged => (Mood::Faint, false),
        AppliedAction::Created | AppliedAction::Changed => (Mood::Good, true),
    };
    let would = if dry_run && changes { "would be " } else { "" };
    let action = output.painted(result.action.as_str(), mood);
    let whole = format!("{}/{}", result.kind.to_lowercase(), result.name);
    let revision = match result.revision {
        0 => String::new(),
        number => format!("revision {number}, "),
    };
    format!("{} {would}{action} ({revision}{devices})", clean(&whole))
}

fn coloured(output: Output, diff: &str) -> String {
    let mut text = String::new();
    for line in diff.split_inclusive('\n') {
        let bare = line.trim_end_matches('\n');
        let mood = match bare.chars().next() {
            _ if bare.starts_with("---") || bare.starts_with("+++") => Mood::Heading,
            Some('+') => Mood::Good,
            Some('-') => Mood::Bad,
            Some('@') => Mood::Faint,
            _ => Mood::Plain,
        };
        text.push_str(&output.painted(bare, mood));
        text.push('\n');
    }
    text
}

/// Deletes resources one after another and prints the result of each; a failure does not stop it.
pub(crate) async fn delete(client: &Client, output: Output, arguments: &args::Delete) -> Outcome {
    let mut tries = Tries::default();
    if !arguments.files.is_empty() {
        for document in documents::read(&arguments.files)? {
            let (kind, name) = named(&document)?;
            delete_one(client, output, &mut tries, kind, &name).await?;
        }
        return tries.end();
    }
    let kind = arguments.kind.ok_or_else(|| Failure::usage("say what to delete"))?;
    for name in &arguments.names {
        delete_one(client, output, &mut tries, kind, name).await?;
    }
    tries.end()
}

/// Returns the kind and name of the resource that a document describes.
fn named(document: &Document) -> Outcome<(args::Kind, String)> {
    let text = |pointer: &str| document.value.pointer(pointer).and_then(Value::as_str);
    let kind = text("/kind").and_then(args::Kind::of_document);
    match (kind, text("/metadata/name")) {
        (Some(kind), Some(name)) => Ok((kind, name.to_owned())),
        _ => Err(Failure::failed(format!(
            "{}: a document does not say the kind and the name of what it describes; nothing more was deleted",
            document.source
        ))),
    }
}

async fn delete_one(
    client: &Client,
    output: Output,
    tries: &mut Tries,
    kind: args::Kind,
    name: &str,
) -> Outcome {
    if kind == args::Kind::Revision {
        return Err(Failure::usage("revisions are never deleted by hand; delete the workload"));
    }
    if kind == args::Kind::Alarm {
        return Err(Failure::usage(
            "an alarm ends when what it is about is mended: holdfast ack says that you look after it",
        ));
    }
    let done = if kind == args::Kind::Token { "revoked" } else { "deleted" };
    let path: Vec<&str> = kind.path().iter().copied().chain([name]).collect();
    let answer = client.send(Method::DELETE, &path, &[], &Value::Null).await;
    tries.note(output, answer, &format!("{}/{name} {done}", kind.singular()))
}

/// Outcome of several attempts made one after another. The exit code of the first failure becomes
/// the command's.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    failed: Option<Exit>,
}

impl Tries {
    /// Prints the result of one attempt.
    pub(crate) fn note<T>(&mut self, output: Output, answer: Outcome<T>, done: &str) -> Outcome {
        match answer {
            Ok(_) => output.line(&clean(done)),
            Err(failure) => {
                note(failure.to_string().trim_end());
                self.failed.get_or_insert(failure.exit);
                Ok(())
            }
        }
    }

    /// Returns the outcome of all attempts.
    pub(crate) fn end(self) -> Outcome {
        self.failed.map_or(Ok(()), |exit| Err(Failure::said(exit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(action: AppliedAction, count: u64) -> AppliedDocument {
        AppliedDocument {
            kind: "Workload".into(),
            name: "hello".into(),
            action,
            revision: 1,
            device_count: count,
            devices: Vec::new(),
            before: None,
            after: json!({}),
            warnings: Vec::new(),
            changed_devices: Default::default(),
            changed_streams: 0,
            effect: "is to run".into(),
        }
    }

    #[test]
    fn each_document_has_its_line() {
        let output = Output { colour: false };
        for (action, count, dry_run, said) in [
            (AppliedAction::Created, 2, false, "workload/hello created (revision 1, 2 devices)"),
            (AppliedAction::Changed, 1, false, "workload/hello changed (revision 1, 1 device)"),
            (AppliedAction::Unchanged, 0, true, "workload/hello unchanged (revision 1, 0 devices)"),
            (
                AppliedAction::Created,
                2,
                true,
                "workload/hello would be created (revision 1, 2 devices)",
            ),
        ] {
            assert_eq!(line(output, &result(action, count), dry_run), said);
        }
        let stream = AppliedDocument {
            kind: "Stream".into(),
            revision: 0,
            effect: "applies to 4 devices; 2 streams change policy".into(),
            ..result(AppliedAction::Created, 4)
        };
        assert_eq!(
            line(output, &stream, true),
            "stream/hello would be created (applies to 4 devices; 2 streams change policy)"
        );
    }

    #[test]
    fn a_fault_says_in_which_file_it_is() {
        let mut failure = Failure::failed("2 faults");
        failure.faults =
            vec!["documents[1] (Workload/a): spec: is missing".into(), "documents: none".into()];
        let sources = ["a.yaml", "b.yaml"].map(|source| Document::of(source, json!({})));
        let failure = with_sources(failure, &sources);
        assert_eq!(failure.faults[0], "b.yaml: documents[1] (Workload/a): spec: is missing");
        assert_eq!(failure.faults[1], "documents: none");
    }
}
