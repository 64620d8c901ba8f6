//! Form of references in workloads: values of secrets and configurations, and texts with `${…}`.
//!
//! See decisions 0147 and 0163.

use std::collections::BTreeMap;

use holdfast_api::units;
use holdfast_base::ids::Name;
use serde_json::Value;

use super::at::{At, Quantity, Words};
use super::document::NAME;
use super::fields::Fields;
use super::parts::{MAX_CONFIG, MAX_FILES, config_path};
use crate::secrets::place::{Place, Store, check_key};
use crate::secrets::references::{OnChange, Source};
use crate::secrets::template;

/// Decodes a reference: `secret` or `config` with `key`, or `template`. `None` if faults were noted.
pub(super) fn source(at: &At<'_>) -> Option<Source> {
    let such =
        "{ secret: NAME, key: KEY }, { config: NAME, key: KEY } or { template: \"${label.site}\" }";
    at.object("Reference to a value, or a text with references.", such, |fields| {
        let forms = [
            ("secret", "Name of a `Secret`; `key` says which value of it."),
            ("config", "Name of a `Config`; `key` says which value of it."),
            (
                "template",
                "Text with `${device.name}`, `${tenant.name}`, `${label.KEY}`, `${label.KEY:-DEFAULT}`, `${secret.NAME.KEY}` and `${config.NAME.KEY}`; `$${` stands for `${`.",
            ),
        ];
        enum From {
            Document(Store, Name),
            Template(Source),
        }
        let from = fields.one_of("a source", &forms, |which, at| match which {
            "secret" => Some(From::Document(Store::Secret, name(at)?)),
            "config" => Some(From::Document(Store::Config, name(at)?)),
            _ => text(at).map(From::Template),
        });
        let key = fields.maybe("key", "Key of the value, for `secret` and `config`.", key);
        match (from?, key?) {
            (From::Document(store, name), Some(key)) => {
                Some(Source::Value(Place { store, name, key }))
            }
            (From::Document(store, _), None) => {
                missing_key(at, store);
                None
            }
            (From::Template(source), None) => Some(source),
            (From::Template(_), Some(_)) => {
                key_of_template(fields);
                None
            }
        }
    })
}

fn missing_key(at: &At<'_>, store: Store) {
    at.missing("key", &format!("which value of the {}", store.word()));
}

fn key_of_template(fields: &Fields<'_>) {
    if let Some(at) = fields.get("key") {
        at.fault("a template has no key: name it in the text, as ${secret.NAME.KEY}");
    }
}

fn name(at: &At<'_>) -> Option<Name> {
    at.put("pattern", NAME).parsed(str::parse::<Name>)
}

fn key(at: &At<'_>) -> Option<String> {
    at.parsed(|key| check_key(key).map(|()| key.to_owned()))
}

fn text(at: &At<'_>) -> Option<Source> {
    let text = at.text_without_nul()?;
    if text.len() > MAX_CONFIG {
        let count = text.len();
        at.fault(format!("{count} bytes, at most {MAX_CONFIG}; push large files as artifacts"));
        return None;
    }
    match template::parse(text) {
        Ok(pieces) => Some(Source::Template(pieces)),
        Err(why) => {
            at.fault(why.to_string());
            None
        }
    }
}

/// Decodes a reference to a value of a `Secret` alone. `None` if faults were noted.
pub(super) fn secret(at: &At<'_>) -> Option<Place> {
    at.object("Value of a `Secret`.", "{ secret: NAME, key: KEY }", |fields| {
        let name = fields.required("secret", "Name of the `Secret`.", "its name", name);
        let key = fields.required("key", "Key of the value.", "which value of the secret", key);
        Some(Place { store: Store::Secret, name: name?, key: key? })
    })
}

/// Returns the value of a `Secret` that a decoded document refers to. None: it is no reference.
pub(crate) fn place(written: &Value) -> Option<Place> {
    let name = written.get("secret")?.as_str()?.parse().ok()?;
    let key = written.get("key")?.as_str()?.to_owned();
    Some(Place { store: Store::Secret, name, key })
}

/// Decodes files by their paths. `config` are those of `spec.config`. `None` if faults were noted.
pub(super) fn files(at: &At<'_>) -> Option<BTreeMap<String, Source>> {
    let all = at.map(|path, at| {
        let good = at.node().is_some() || config_path(path).map_err(|why| at.fault(why)).is_ok();
        source(at).filter(|_| good)
    });
    let count = all.len();
    if count > MAX_FILES {
        at.fault(format!("{count} files, at most {MAX_FILES}"));
        return None;
    }
    let files: BTreeMap<String, Source> =
        all.into_iter().filter_map(|(path, source)| Some((path.to_owned(), source?))).collect();
    (files.len() == count).then_some(files)
}

/// Notes a fault for each file that cannot stand beside the others: `files` of the folder, beside
/// those of `spec.config`.
pub(super) fn beside_config(
    at: &At<'_>,
    files: &BTreeMap<String, Source>,
    config: &BTreeMap<String, String>,
) {
    let all = || files.keys().chain(config.keys());
    let inside =
        |one: &str, other: &str| other.strip_prefix(one).is_some_and(|rest| rest.starts_with('/'));
    for path in files.keys() {
        if config.contains_key(path) {
            at.fault_of(path, "spec.config lays a file of the same path: keep one of them");
        }
        if let Some(other) = all().find(|other| inside(path, other) || inside(other, path)) {
            at.fault_of(path, format!("of it and {other:?} one is a file and a folder at once"));
        }
    }
}

const RESTART: Words<'static, OnChange> = Words {
    about: "Word in the place of a signal.",
    what: "action",
    list: &[("restart", "The workload is restarted.", OnChange::Restart)],
    or: &["{ signal: SIGHUP }"],
};

/// Decodes what a changed value does to the running workload. `None` if faults were noted.
pub(super) fn on_change(at: &At<'_>) -> Option<OnChange> {
    let signal = |at: &At<'_>| {
        at.object("Signal to the running workload.", "{ signal: SIGHUP }", |fields| {
            let about = "Signal that is sent to the process group once the files are laid anew, by name or number. Variables keep their values until the next start.";
            let signal = fields.required("signal", about, "such as SIGHUP", |at| {
                at.quantity(&Quantity { parse: units::signal, pattern: "", bare: "integer" })
            });
            Some(OnChange::Signal(signal?))
        })
    };
    at.either(|value| !value.is_object(), |at| at.word(&RESTART), signal)
}
