//! Environment variables of a service: `env_file` and `environment`.

use std::collections::BTreeMap;

use super::context::Context;
use super::env_file;
use super::load::join;
use super::node::{Fields, Item};

/// Beginning of the variables that are the agent's own.
const OWN: &str = "HOLDFAST_";
/// Most files of variables of a service.
const MAX_FILES: usize = 32;
/// Words in the name of a variable that holds a secret.
const SECRET: [&str; 5] = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "API_KEY"];

/// Reads the variables of a service.
pub(super) fn environment(context: &Context<'_>, service: &Fields<'_>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    if let Some(files) = service.get("env_file") {
        let files = files.one_or_list();
        if let Some(file) = files.get(MAX_FILES) {
            file.fault(format!("{} files of variables, at most {MAX_FILES}", files.len()));
        }
        for file in files.iter().take(MAX_FILES) {
            from_file(context, file, &mut all);
        }
    }
    if let Some(environment) = service.get("environment") {
        for (name, value, item) in environment.pairs(&['=']) {
            let value = match value {
                Some(value) => Some(value),
                None => inherited(context, &name, &item),
            };
            if let Some(value) = value {
                add(&item, name, value, &mut all);
            }
        }
    }
    all
}

/// Value of a variable of which the file says the name alone.
fn inherited(context: &Context<'_>, name: &str, item: &Item<'_>) -> Option<String> {
    let value = (context.variables)(name);
    match value {
        Some(_) => item.note(format!("the value of {name} is the one of this shell or .env")),
        None => item.warning(format!(
            "{name} is not set in this shell or .env, and so not in the container"
        )),
    }
    value
}

fn from_file(context: &Context<'_>, file: &Item<'_>, all: &mut BTreeMap<String, String>) {
    let (path, required, raw) = if file.node.text().is_some() {
        (Some(file.clone()), true, false)
    } else {
        let fields = file.fields();
        let required = fields.get("required").and_then(|item| item.flag()).unwrap_or(true);
        let raw = fields.get("format").is_some_and(|item| {
            let raw = item.text() == Some("raw");
            if !raw {
                item.expected("raw");
            }
            raw
        });
        let path = fields.get("path");
        fields.end(&[]);
        (path, required, raw)
    };
    let Some(path) = path.as_ref().and_then(Item::text) else { return };
    let path = join(context.folder(file.node.at), path);
    let bytes = match context.neighbours.read(&path, env_file::MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(_) if !required => return,
        Err(why) => return file.fault(format!("{path} cannot be read: {why}")),
    };
    let Ok(text) = String::from_utf8(bytes) else {
        return file.fault(format!("{path} is not UTF-8 text"));
    };
    let outer = |name: &str| (context.variables)(name).or_else(|| all.get(name).cloned());
    let read = if raw { env_file::read_raw(&text) } else { env_file::read(&text, &outer) };
    match read {
        Err(why) => file.fault(format!("{path}: {why}")),
        Ok(read) => {
            for (name, value) in read {
                if let Some(value) = value.or_else(|| inherited(context, &name, file)) {
                    add(file, name, value, all);
                }
            }
        }
    }
}

/// Adds a variable, if a workload can have it.
fn add(item: &Item<'_>, name: String, value: String, all: &mut BTreeMap<String, String>) {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if name.is_empty() {
        item.fault("a variable without a name");
    } else if name.starts_with(OWN) {
        item.fault(format!("{name}: variables that begin with {OWN} are the agent's own"));
    } else if !first || !name.bytes().all(inner) {
        item.unsupported(format!(
            "the variable {name:?} is left out: names of variables have letters, digits, _, . and - here"
        ));
    } else if value.contains('\0') {
        item.fault(format!("{name} holds a NUL character"));
    } else {
        let upper = name.to_ascii_uppercase();
        let is_switch = matches!(
            value.to_ascii_lowercase().as_str(),
            "" | "0" | "1" | "yes" | "no" | "true" | "false"
        );
        if !is_switch && !upper.ends_with("_FILE") && SECRET.iter().any(|word| upper.contains(word))
        {
            item.warning(format!(
                "{name} stands in the document as readable text; a Secret keeps it sealed, as env: {{ {name}: {{ secret: NAME, key: KEY }} }} in the document"
            ));
        }
        all.insert(name, value);
    }
}
