//! Documents from files, folders and standard input: YAML with one or more documents, or JSON.

#![allow(clippy::disallowed_methods, reason = "the command line reads the files it is given")]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::failure::{Failure, Outcome};
use crate::core::admission::Strict;

/// Largest file of documents, in bytes: many times what one apply may hold.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// A document and where it was found.
#[derive(Debug)]
pub(crate) struct Document {
    /// The file, or `-`.
    pub(crate) source: String,
    /// The document.
    pub(crate) value: Value,
}

/// Reads all of them, in the order in which they are given; folders by file name.
pub(crate) fn read(paths: &[PathBuf]) -> Outcome<Vec<Document>> {
    let mut documents = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let text = text_of(path, std::io::stdin().lock())?;
            add("-", &text, false, &mut documents)?;
        } else if path.is_dir() {
            for file in files_of(path)? {
                read_file(&file, &mut documents)?;
            }
        } else {
            read_file(path, &mut documents)?;
        }
    }
    if documents.is_empty() {
        return Err(Failure::failed("no document was found in what was given"));
    }
    Ok(documents)
}

fn files_of(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let wrong = |error: std::io::Error| Failure::file("read", folder, error);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let document =
            path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        if document && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Failure::file(
            "use",
            folder,
            "it holds no file that ends in .yaml, .yml or .json",
        ));
    }
    Ok(files)
}

fn read_file(path: &Path, documents: &mut Vec<Document>) -> Outcome {
    let file = fs::File::open(path).map_err(|error| Failure::file("read", path, error))?;
    let text = text_of(path, file)?;
    let json = path.extension().is_some_and(|end| end == "json");
    add(&path.display().to_string(), &text, json, documents)
}

fn text_of(path: &Path, from: impl std::io::Read) -> Outcome<String> {
    let mut bytes = Vec::new();
    let read = from.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::file("read", path, error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Failure::file("read", path, format!("it is larger than {MAX_FILE} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Failure::file("understand", path, "it is not UTF-8 text"))
}

fn add(source: &str, text: &str, json: bool, documents: &mut Vec<Document>) -> Outcome {
    let wrong = |error: String| Failure::failed(format!("cannot understand {source}: {error}"));
    let found: Vec<Value> = if json || text.trim_start().starts_with(['{', '[']) {
        let parsed = serde_json::Deserializer::from_str(text).into_iter::<Strict>();
        match parsed.map(|one| one.map(|Strict(value)| value)).collect() {
            Ok(found) => found,
            // YAML may begin like this as well; a key that stands twice is a fault in both.
            Err(error) if json || error.is_data() => return Err(wrong(error.to_string())),
            Err(_) => yaml(text).map_err(wrong)?,
        }
    } else {
        yaml(text).map_err(wrong)?
    };
    for value in found {
        spread(source, value, documents);
    }
    Ok(())
}

fn yaml(text: &str) -> Result<Vec<Value>, String> {
    serde_saphyr::from_multiple(text).map_err(|error| error.to_string())
}

/// A list as `get -o json` prints it is its items; an empty document is none.
fn spread(source: &str, value: Value, documents: &mut Vec<Document>) {
    match value {
        Value::Null => {}
        Value::Array(items) => {
            for item in items {
                spread(source, item, documents);
            }
        }
        Value::Object(mut object)
            if !object.contains_key("kind") && object.get("items").is_some_and(Value::is_array) =>
        {
            spread(source, object.remove("items").unwrap_or_default(), documents);
        }
        value => documents.push(Document { source: source.to_owned(), value: written(value) }),
    }
}

/// A document without what the control plane adds to it, so that what `get -o yaml` prints can
/// be applied again.
pub(crate) fn written(mut document: Value) -> Value {
    let from_the_api = document.pointer("/metadata/resourceVersion").is_some();
    if let (true, Some(object)) = (from_the_api, document.as_object_mut()) {
        object.remove("status");
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            for added in ["resourceVersion", "createdAt", "updatedAt"] {
                metadata.remove(added);
            }
            if metadata
                .get("labels")
                .and_then(Value::as_object)
                .is_some_and(serde_json::Map::is_empty)
            {
                metadata.remove("labels");
            }
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(text: &str) -> Vec<Value> {
        let mut documents = Vec::new();
        add("-", text, false, &mut documents).unwrap();
        documents.into_iter().map(|document| document.value).collect()
    }

    #[test]
    fn yaml_and_json_in_every_shape() {
        assert_eq!(
            of("a: 1\n---\nb: { c: [x, \"1\"] }\n"),
            [json!({"a": 1}), json!({"b": {"c": ["x", "1"]}})]
        );
        assert_eq!(of("---\n# nothing\n---\na: 1\n---\n"), [json!({"a": 1})]);
        assert_eq!(of("{\"a\": 1}\n{\"b\": 2}\n"), [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(of("[{\"a\": 1}, {\"b\": 2}]"), [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(of("{a: 1}"), [json!({"a": 1})]);
        assert_eq!(of("{\"items\": [{\"kind\": \"A\"}]}"), [json!({"kind": "A"})]);
        assert_eq!(of("a: |\n  one\n  two\n"), [json!({"a": "one\ntwo\n"})]);
        assert_eq!(of(""), Vec::<Value>::new());
    }

    #[test]
    fn broken_text_is_refused() {
        let mut documents = Vec::new();
        for (text, json) in [
            ("a: [1", false),
            ("a: 1\na: 2\n", false),
            ("{\"a\": ", true),
            ("a:\n\t- b", false),
            ("{\"kind\": 1}{\"a\": [{\"kind\": 1, \"kind\": 2}]}", true),
            ("{\"kind\": 1}{\"a\": [{\"kind\": 1, \"kind\": 2}]}", false),
            ("{kind: 1, kind: 2}", false),
        ] {
            let said = add("some.yaml", text, json, &mut documents).unwrap_err();
            assert!(said.message.contains("some.yaml"), "{text}: {}", said.message);
            assert_eq!(said.message.contains("kind"), text.contains("kind"), "{}", said.message);
        }
    }

    #[test]
    fn what_get_prints_can_be_applied_again() {
        let from_api = json!({
            "apiVersion": "holdfast/v1", "kind": "Workload", "spec": {},
            "metadata": { "name": "a", "labels": {}, "resourceVersion": 4, "createdAt": "x" },
            "status": { "revision": 1 },
        });
        let plain = json!({ "apiVersion": "holdfast/v1", "kind": "Workload", "spec": {}, "metadata": { "name": "a" } });
        assert_eq!(written(from_api), plain);
        let by_hand = json!({ "kind": "Workload", "status": {}, "metadata": { "name": "a" } });
        assert_eq!(written(by_hand.clone()), by_hand, "a person's mistake stays one");
    }
}
