//! `configs` and `secrets`: files that a service is given. The value of a secret stands in a `Secret`
//! document alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::context::{Context, MAX_CONFIG};
use super::from::From;
use super::load::join;
use super::mounts::{document, target};
use super::node::{Fields, Item};

/// Most bytes of all values of a `Secret`, as the control plane takes them.
const MAX_SECRET: usize = 64 * 1024;
/// Longest key of a `Secret`, as the control plane takes it.
const MAX_KEY: usize = 128;

/// Kind of file that a service is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Config,
    Secret,
}

impl Kind {
    fn section(self) -> &'static str {
        match self {
            Self::Config => "configs",
            Self::Secret => "secrets",
        }
    }
}

/// Reads the configurations and secrets of a service; returns their mounts.
pub(super) fn mounts(context: &Context<'_>, service: &Fields<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    for kind in [Kind::Config, Kind::Secret] {
        for item in service.get(kind.section()).into_iter().flat_map(|item| item.list()) {
            all.extend(grant(context, &item, kind));
        }
    }
    all
}

fn grant(context: &Context<'_>, item: &Item<'_>, kind: Kind) -> Option<Value> {
    let (name, wanted) = match item.node.text() {
        Some(name) => (name, None),
        None => {
            let fields = item.fields();
            let name = fields.get("source").and_then(|item| item.text());
            let wanted = fields.get("target").and_then(|item| item.text());
            for key in ["uid", "gid", "mode"] {
                if let Some(item) = fields.get(key) {
                    item.warning("not honoured: the file is one that the container can read");
                }
            }
            fields.end(&[]);
            let Some(name) = name else {
                item.fault(format!("no source: a name of {}", kind.section()));
                return None;
            };
            (name, wanted)
        }
    };
    let Some(defined) = context.defined(kind.section(), name) else {
        item.fault(format!("{name} stands not in {}: of the file", kind.section()));
        return None;
    };
    let at = match (wanted, kind) {
        (Some(path), _) if path.starts_with('/') => path.to_owned(),
        (Some(file), Kind::Secret) => format!("/run/secrets/{file}"),
        (Some(file), Kind::Config) => format!("/{file}"),
        (None, Kind::Secret) => format!("/run/secrets/{name}"),
        (None, Kind::Config) => format!("/{name}"),
    };
    let at = target(item, &at)?;
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.len() > MAX_KEY || !name.bytes().all(inner) || matches!(name, "." | "..") {
        item.fault(format!("{name:?} is not a name: letters, digits, '.', '_' and '-'"));
        return None;
    }
    let file = format!("{}/{name}", kind.section());
    let known = {
        let laid = context.laid.borrow();
        laid.config.contains_key(&file) || laid.files.contains_key(&file)
    };
    if !known {
        let bytes = content(context, &defined)?;
        lay(context, &defined, kind, name, &file, bytes)?;
    }
    Some(document(at, &From::Files(file), true))
}

/// Reads the content that the top-level object gives: from a file, from the environment, or as a text.
fn content(context: &Context<'_>, defined: &Item<'_>) -> Option<Vec<u8>> {
    let fields = defined.fields();
    let (file, text, variable) =
        (fields.get("file"), fields.get("content"), fields.get("environment"));
    if let Some(external) = fields.get("external")
        && external.flag() != Some(false)
    {
        external.unsupported("left out: nothing holds it here; give it by file: or environment:, or refer to a Secret or Config in the document (-o yaml)");
        return None;
    }
    for key in ["driver", "template_driver"] {
        if let Some(item) = fields.get(key) {
            item.unsupported("not honoured: the content is taken as it is");
        }
    }
    for key in ["name", "labels", "driver_opts"] {
        fields.get(key);
    }
    fields.end(&[]);
    match (file, text, variable) {
        (Some(file), None, None) => {
            let path = join(context.folder(file.node.at), file.text()?);
            match context.neighbours.read(&path, MAX_CONFIG) {
                Ok(bytes) => Some(bytes),
                Err(why) => {
                    file.fault(format!("{path} cannot be read: {why}"));
                    None
                }
            }
        }
        (None, Some(text), None) => Some(text.text()?.as_bytes().to_vec()),
        (None, None, Some(variable)) => {
            let name = variable.text()?;
            let value = (context.variables)(name);
            if value.is_none() {
                variable.fault(format!("the variable {name} is not set in this shell or .env"));
            }
            value.map(String::into_bytes)
        }
        _ => {
            defined.fault("expected one of file, content and environment");
            None
        }
    }
}

fn lay(
    context: &Context<'_>,
    defined: &Item<'_>,
    kind: Kind,
    name: &str,
    file: &str,
    bytes: Vec<u8>,
) -> Option<()> {
    let text = String::from_utf8(bytes).map_err(std::string::FromUtf8Error::into_bytes);
    let text = match text {
        Ok(text) if text.contains('\0') => Err(text.into_bytes()),
        other => other,
    };
    let mut laid = context.laid.borrow_mut();
    let value = match (kind, text) {
        (Kind::Config, Ok(text)) => {
            laid.lay(defined, file.to_owned(), text);
            return Some(());
        }
        (Kind::Config, Err(_)) => {
            defined.unsupported("left out: it is not text; put it into the image");
            return None;
        }
        (Kind::Secret, Ok(text)) => json!(text),
        (Kind::Secret, Err(bytes)) => json!({ "base64": STANDARD.encode(bytes) }),
    };
    let size = |value: &Value| match value {
        Value::String(text) => text.len(),
        // Of base64: three bytes for four characters.
        other => other["base64"].as_str().map_or(0, |text| text.len() / 4 * 3),
    };
    let bytes: usize = laid.secret.values().chain([&value]).map(size).sum();
    if bytes > MAX_SECRET {
        defined.fault(format!("with it the secrets have {bytes} bytes, at most {MAX_SECRET}"));
        return None;
    }
    laid.secret.insert(name.to_owned(), value);
    laid.files.insert(file.to_owned(), name.to_owned());
    Some(())
}
