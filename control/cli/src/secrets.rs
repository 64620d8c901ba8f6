//! Secrets: created, rotated and listed. No command shows a value.
#![allow(clippy::disallowed_methods, reason = "the command line reads the files it is given")]

use std::collections::BTreeMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use super::apply::line;
use super::args::{Create, Get, Kind, Rotate, SecretCommand, Values, divided, generated, path};
use super::cells::read;
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::get;
use super::text::Output;
use holdfast_api::kinds::SECRET;
use holdfast_api::{Applied, RotateSecret, SecretValue};

/// Most bytes that are read of a file; what the control plane takes is less.
const MOST: u64 = 1024 * 1024;

/// Creates, rotates or lists secrets.
pub(crate) async fn secret(
    client: &Client,
    output: Output,
    now: u64,
    command: SecretCommand,
) -> Outcome {
    match command {
        SecretCommand::Create(wanted) => create(client, output, &wanted).await,
        SecretCommand::Rotate(wanted) => rotate(client, output, wanted).await,
        SecretCommand::List(wanted) => {
            let all = Get {
                kind: Kind::Document(&SECRET),
                name: None,
                selector: None,
                absence: Vec::new(),
                group_by: None,
                output: wanted.output,
            };
            get::get(client, output, now, &all).await
        }
    }
}

async fn create(client: &Client, output: Output, wanted: &Create) -> Outcome {
    let mut data = serde_json::Map::new();
    for (key, value) in values(&wanted.values)? {
        data.insert(key, serde_json::to_value(value).unwrap_or_default());
    }
    for text in &wanted.generate {
        let (key, length) = generated(text).ok_or_else(|| {
            Failure::usage(format!(
                "--generate {text}: expected KEY or KEY:LENGTH, such as password:32"
            ))
        })?;
        let rule = length.map_or_else(|| json!({}), |length| json!({ "length": length }));
        if data.insert(key.to_owned(), json!({ "generate": rule })).is_some() {
            return Err(twice(key));
        }
    }
    if data.is_empty() {
        return Err(Failure::usage(
            "a secret without values: give --from-literal, --from-file or --generate",
        ));
    }
    // With resource version 0 the secret must not exist yet.
    let document = json!({
        "apiVersion": holdfast_api::API_VERSION, "kind": SECRET.document,
        "metadata": { "name": wanted.name, "resourceVersion": 0 },
        "spec": { "data": data },
    });
    let answer = client.post(&["apply"], &json!({ "documents": [document] })).await?;
    print(output, &answer)
}

async fn rotate(client: &Client, output: Output, wanted: Rotate) -> Outcome {
    let body = RotateSecret { keys: wanted.keys, values: values(&wanted.values)? };
    let body = serde_json::to_value(&body).map_err(|error| Failure::failed(error.to_string()))?;
    let path = ["secrets", wanted.name.as_str(), "rotate"];
    let answer = client.send(Method::POST, &path, &[], &body).await?;
    print(output, &answer)
}

fn print(output: Output, answer: &Value) -> Outcome {
    let applied: Applied = read(answer)?;
    for result in &applied.results {
        output.line(&line(output, result, false))?;
    }
    Ok(())
}

fn twice(key: &str) -> Failure {
    Failure::usage(format!("key {key} twice: give it one value"))
}

/// Reads the values that are given.
fn values(given: &Values) -> Outcome<BTreeMap<String, SecretValue>> {
    let mut all = BTreeMap::new();
    for text in &given.from_literal {
        // The text may be a secret, so the message must not quote it.
        let (key, value) =
            divided(text).ok_or_else(|| Failure::usage("--from-literal: expected KEY=VALUE"))?;
        if all.insert(key.to_owned(), SecretValue::Text(value.to_owned())).is_some() {
            return Err(twice(key));
        }
    }
    for text in &given.from_file {
        let (key, file) = divided(text)
            .ok_or_else(|| Failure::usage(format!("--from-file {text}: expected KEY=FILE")))?;
        let value = match String::from_utf8(content(file)?) {
            Ok(text) if !text.contains('\0') => SecretValue::Text(text),
            Ok(text) => SecretValue::Binary { base64: STANDARD.encode(text) },
            Err(bytes) => SecretValue::Binary { base64: STANDARD.encode(bytes.as_bytes()) },
        };
        if all.insert(key.to_owned(), value).is_some() {
            return Err(twice(key));
        }
    }
    Ok(all)
}

/// Reads a file, or the standard input, from which the last line's end is taken: passwords come
/// with one.
fn content(file: &str) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    match path(file) {
        Some(path) => {
            let failed = |error| Failure::file("read", &path, error);
            let opened = std::fs::File::open(&path).map_err(failed)?;
            opened.take(MOST).read_to_end(&mut bytes).map_err(failed)?;
        }
        None => {
            let read = std::io::stdin().lock().take(MOST).read_to_end(&mut bytes);
            read.map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_from_words_and_files_and_faults_quote_none() {
        let file = std::env::temp_dir().join(format!("holdfast-secret-{}", std::process::id()));
        std::fs::write(&file, [0xff, 0]).unwrap();
        let given = |literal: &[&str], files: &[String]| Values {
            from_literal: literal.iter().map(|text| (*text).to_owned()).collect(),
            from_file: files.to_vec(),
        };
        let found = values(&given(&["a=b=c", "e="], &[format!("f={}", file.display())])).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(found["a"], SecretValue::Text("b=c".into()));
        assert_eq!(found["e"], SecretValue::Text(String::new()));
        assert_eq!(found["f"], SecretValue::Binary { base64: "/wA=".into() });
        let failed = values(&given(&["hunter2"], &[])).unwrap_err();
        assert!(!failed.message.contains("hunter2"), "{}", failed.message);
        assert!(values(&given(&["a=1", "a=2"], &[])).unwrap_err().message.contains("key a twice"));
        assert_eq!(generated("k:64"), Some(("k", Some(64))));
        assert_eq!(generated("k"), Some(("k", None)));
        assert_eq!(generated("k:long"), None);
    }
}
