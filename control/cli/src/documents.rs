//! Documents from files, folders and standard input: YAML with one or more documents, or JSON.
//!
//! See decision 0034.

#![allow(clippy::disallowed_methods, reason = "the command line reads the files it is given")]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;

use super::failure::{Failure, Outcome};
use super::text::note;
use super::yaml;
use holdfast_api::strict::Strict;
use holdfast_api::words;

/// Largest file of documents in bytes: many times what one apply may hold.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Skipped entries of a folder that are named at most.
const MAX_SAID: usize = 20;

/// A document and its source.
#[derive(Debug)]
pub(crate) struct Document {
    /// Name of the file, or `-` for standard input.
    pub(crate) source: String,
    /// Content of the document.
    pub(crate) value: Value,
    /// YAML text that holds the document, and the document's number in it from 0.
    text: Option<(Rc<str>, usize)>,
}

impl Document {
    /// Makes a document that stands in no text.
    pub(crate) fn of(source: &str, value: Value) -> Self {
        Self { source: source.to_owned(), value, text: None }
    }

    /// Returns a fault of this document, which begins with a path, with the number or truth value
    /// that it quotes in the spelling of the file. Example: `0755` instead of 755.0.
    pub(crate) fn as_written(&self, fault: &str) -> Option<String> {
        let (text, number) = self.text.as_ref()?;
        yaml::shown(text, *number).into_iter().find_map(|shown| {
            let said = fault.strip_prefix(&format!("{}: {}: ", shown.path, shown.read))?;
            Some(format!("{}: {}: {said}", shown.path, shown.written))
        })
    }
}

/// Suffixes of files that hold documents, in lower case.
const ENDS: [&str; 3] = ["yaml", "yml", "json"];

/// Reads all documents in the order in which the paths are given; folders by file name.
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

/// Returns the files of documents in a folder by name, and reports once what else is there.
fn files_of(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let wrong = |error: std::io::Error| Failure::file("read", folder, error);
    let mut files = Vec::new();
    let mut skipped = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        match why_skipped(&path) {
            None => files.push(path),
            Some(why) => skipped.push((path.file_name().unwrap_or_default().to_owned(), why)),
        }
    }
    files.sort();
    skipped.sort();
    let count = skipped.len();
    for (name, why) in skipped.iter().take(MAX_SAID) {
        note(&format!("skipped: {}: {why}", folder.join(name).display()));
    }
    if count > MAX_SAID {
        note(&format!("skipped: {} more in {}", count - MAX_SAID, folder.display()));
    }
    if files.is_empty() {
        return Err(Failure::file(
            "use",
            folder,
            "it holds no file that ends in .yaml, .yml or .json",
        ));
    }
    Ok(files)
}

/// Returns why an entry of a folder holds no documents. None: it may hold some.
fn why_skipped(path: &Path) -> Option<&'static str> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with('.') || name.ends_with('~') || name.starts_with('#') {
        return Some("a hidden file, or what an editor left behind; name it with -f to use it");
    }
    match fs::metadata(path) {
        Err(_) => return Some("it cannot be read; is it a link to nothing?"),
        Ok(metadata) if metadata.is_dir() => {
            return Some("a folder in the folder; give it to -f as well");
        }
        Ok(metadata) if !metadata.is_file() => return Some("no plain file"),
        Ok(_) => {}
    }
    let end = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    (!ENDS.contains(&end.as_str())).then_some("it does not end in .yaml, .yml or .json")
}

fn read_file(path: &Path, documents: &mut Vec<Document>) -> Outcome {
    let file = fs::File::open(path).map_err(|error| Failure::file("read", path, error))?;
    let text = text_of(path, file)?;
    let json = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json"));
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
    // Windows editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let of_json = if json || text.trim_start().starts_with(['{', '[']) {
        let parsed = serde_json::Deserializer::from_str(text).into_iter::<Strict>();
        match parsed.map(|one| one.map(|Strict(value)| value)).collect::<Result<Vec<_>, _>>() {
            Ok(found) => Some(found),
            // YAML may begin with a brace as well, so bad syntax is tried again as YAML. A
            // duplicate key (a data error) is a fault in both.
            Err(error) if json || error.is_data() => return Err(wrong(words::json(&error))),
            Err(_) => None,
        }
    } else {
        None
    };
    if let Some(found) = of_json {
        found.into_iter().for_each(|value| spread(source, value, None, documents));
        return Ok(());
    }
    let shared: Rc<str> = text.into();
    for (number, value) in
        yaml::read(text).map_err(|error| wrong(error.to_string()))?.into_iter().enumerate()
    {
        spread(source, value, Some((Rc::clone(&shared), number)), documents);
    }
    Ok(())
}

/// Splits a list, as `get -o json` prints it, into its items. An empty document gives none.
fn spread(
    source: &str,
    value: Value,
    text: Option<(Rc<str>, usize)>,
    documents: &mut Vec<Document>,
) {
    match value {
        Value::Null => {}
        Value::Array(items) => {
            for item in items {
                spread(source, item, None, documents);
            }
        }
        Value::Object(mut object)
            if !object.contains_key("kind") && object.get("items").is_some_and(Value::is_array) =>
        {
            spread(source, object.remove("items").unwrap_or_default(), None, documents);
        }
        value => {
            let source = source.to_owned();
            documents.push(Document { source, value: written(value), text });
        }
    }
}

/// Removes from a document what the control plane adds to it, so that the output of `get -o yaml`
/// can be applied again.
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
    fn a_folder_gives_its_documents_and_says_what_it_skips() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in
            ["b.yaml", "A.YAML", "c.Yml", "d.JSON", ".x.yaml", "e.yaml~", "#f.yaml#", "g.txt"]
        {
            fs::write(at(name), "{}").unwrap();
        }
        fs::create_dir(at("h.yaml")).unwrap();
        std::os::unix::fs::symlink("/nowhere", at(".#i.yaml")).unwrap();
        std::os::unix::fs::symlink("/nowhere", at("j.yaml")).unwrap();
        std::os::unix::fs::symlink(at("b.yaml"), at("k.yaml")).unwrap();
        let names = |files: Vec<PathBuf>| -> Vec<String> {
            files
                .iter()
                .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(
            names(files_of(folder.path()).unwrap()),
            ["A.YAML", "b.yaml", "c.Yml", "d.JSON", "k.yaml"]
        );
        for (name, why) in [
            (".x.yaml", "hidden"),
            ("e.yaml~", "editor"),
            ("#f.yaml#", "editor"),
            ("g.txt", ".yaml"),
            ("h.yaml", "folder"),
            (".#i.yaml", "hidden"),
            ("j.yaml", "link to nothing"),
        ] {
            let said = why_skipped(&at(name)).unwrap_or_default();
            assert!(said.contains(why), "{name}: {said}");
        }
    }

    #[test]
    fn a_fault_quotes_what_was_written() {
        let mut documents = Vec::new();
        add("-", "a: 1\n---\nspec: { env: { V: 0755 }, ok: 7 }\n", false, &mut documents).unwrap();
        let fault = "spec.env.V: 755.0: expected text";
        let read = documents[1].value["spec"]["env"]["V"].to_string();
        let fault = fault.replace("755.0", &read);
        assert_eq!(documents[1].as_written(&fault).unwrap(), "spec.env.V: 0755: expected text");
        assert_eq!(documents[1].as_written("spec.ok: 7: expected text"), None);
        assert_eq!(documents[0].as_written(&fault), None);
        let mut documents = Vec::new();
        add("-", "\u{feff}{\"a\": 1}", true, &mut documents).unwrap();
        assert_eq!(documents[0].as_written(&fault), None);
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
