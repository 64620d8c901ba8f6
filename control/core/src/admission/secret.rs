//! Form of `Secret` and `Config` documents. No fault quotes a value.
//!
//! See decisions 0147 and 0163.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::selector::Selector;

use super::at::{At, Words};
use crate::records::Policy;
use crate::secrets::generate::{Alphabet, LONGEST, Rule, SHORTEST, USUAL};
use crate::secrets::place::check_key;
use crate::secrets::value::{Config, Held, MAX_BYTES, MAX_KEYS, Plain, Secret, Setting, too_large};

/// Decodes the spec of a `Secret`. `None` if faults were noted.
pub(crate) fn secret(at: &At<'_>) -> Option<(Selector, Policy)> {
    if at.node().is_none() && !at.value().is_object() {
        // What stands in its place may be a secret, and is not quoted.
        at.fault("expected an object with data");
        return None;
    }
    at.object("Values that are sealed and never shown again.", "", |spec| {
        let data = spec.required(
            "data",
            "Values by their keys: a text, `base64`, or `generate`. A document that was read has `sha256`, `length` and `changedAt` in the place of each value, which keep what is stored.",
            "the values, such as { password: { generate: { length: 32 } } }",
            |at| values(at, held, |held| match held {
                Held::Plain(plain) => plain.bytes().len(),
                _ => 0,
            }),
        );
        Some((Selector::default(), Policy::Secret { secret: Secret { data: data? } }))
    })
}

/// Decodes the spec of a `Config`. `None` if faults were noted.
pub(crate) fn config(at: &At<'_>) -> Option<(Selector, Policy)> {
    at.object("Values for workloads.", "", |spec| {
        let data = spec.required(
            "data",
            "Values by their keys: a text, or `base64`.",
            "the values, such as { level: info }",
            |at| values(at, setting, Setting::size),
        );
        Some((Selector::default(), Policy::Config { config: Config { data: data? } }))
    })
}

/// Decodes values by their keys; `size` returns the bytes of one.
fn values<T>(
    at: &At<'_>,
    form: impl Fn(&At<'_>) -> Option<T>,
    size: impl Fn(&T) -> usize,
) -> Option<BTreeMap<String, T>> {
    at.put("maxProperties", MAX_KEYS).put("minProperties", 1);
    let all = at.map(|key, at| {
        // In the pass that writes the schema there is no key.
        if at.node().is_none()
            && let Err(why) = check_key(key)
        {
            at.fault(why.to_string());
        }
        form(at)
    });
    let count = all.len();
    if count > MAX_KEYS {
        at.fault(format!("{count} keys, at most {MAX_KEYS}"));
        return None;
    }
    if at.value().as_object().is_some_and(serde_json::Map::is_empty) {
        at.fault("no key; give at least one");
        return None;
    }
    let values: BTreeMap<String, T> =
        all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
    let bytes: usize = values.values().map(size).sum();
    if bytes > MAX_BYTES {
        at.fault(too_large(bytes));
        return None;
    }
    (values.len() == count).then_some(values)
}

const TEXT: &str = "expected text in quotes";

/// Returns a text without NUL, and does not quote what is none.
fn text<'a>(at: &At<'a>) -> Option<&'a str> {
    at.put("type", "string");
    let text = at.value().as_str();
    if at.node().is_none() {
        match text {
            None => at.fault(TEXT),
            Some(text) if text.contains('\0') => {
                at.fault("holds a NUL character: give it as base64");
                return None;
            }
            Some(_) => {}
        }
    }
    text
}

fn base64(at: &At<'_>) -> Option<Vec<u8>> {
    at.put("contentEncoding", "base64");
    let bytes = STANDARD.decode(text(at)?.split_ascii_whitespace().collect::<String>());
    if bytes.is_err() {
        at.fault("not base64");
    }
    bytes.ok()
}

const BASE64: &str = "Bytes of the value in base64, for what is no text.";

fn setting(at: &At<'_>) -> Option<Setting> {
    let binary = |at: &At<'_>| {
        at.object("Value that is no text.", "{ base64: … }", |fields| {
            let bytes = fields.required("base64", BASE64, "the bytes", base64);
            Some(Setting::Binary { base64: STANDARD.encode(bytes?) })
        })
    };
    at.either(|value| !value.is_object(), |at| Some(Setting::Text(text(at)?.to_owned())), binary)
}

fn held(at: &At<'_>) -> Option<Held> {
    at.either(|value| !value.is_object(), |at| Some(Held::Plain(Plain::new(text(at)?))), described)
}

/// Decodes a value that is not written as a text.
fn described(at: &At<'_>) -> Option<Held> {
    at.object("Value in base64, generated, or as it is stored.", "{ generate: {} }", |fields| {
        let bytes = fields.maybe("base64", BASE64, base64);
        let rule = fields.maybe(
            "generate",
            "Generates the value once; applying the document again keeps it, and `holdfast secret rotate` makes a new one.",
            rule,
        );
        let stored = |at: &At<'_>| at.text().map(|_| ());
        let digest = fields.maybe(
            "sha256",
            "First digits of a keyed digest of the stored value, which is kept.",
            stored,
        );
        let length = fields.maybe("length", "Bytes of the stored value.", |at| {
            at.whole(0, MAX_BYTES as u64)
        });
        let changed = fields.maybe("changedAt", "Time of the value's last change.", stored);
        let (bytes, rule, digest) = (bytes?, rule?, digest?);
        let (_, _) = (length?, changed?);
        match (bytes, rule, digest) {
            (Some(bytes), None, None) => Some(Held::Plain(Plain::new(bytes))),
            (None, Some(rule), _) => Some(Held::Generate(rule)),
            (None, None, Some(())) => Some(Held::Kept),
            (None, None, None) => {
                at.fault("a value is missing: give base64 or generate, or write it as a text");
                None
            }
            (Some(_), ..) => {
                at.fault("base64 beside generate or sha256: a value has one form");
                None
            }
        }
    })
}

const ALPHABETS: Words<'static, Alphabet> = Words {
    about: "Characters of a generated value. Default: `alphanumeric`.",
    what: "alphabet",
    list: &[
        ("alphanumeric", "Letters and digits.", Alphabet::Alphanumeric),
        ("hex", "Hexadecimal digits, lower case.", Alphabet::Hex),
        ("digits", "Digits.", Alphabet::Digits),
        (
            "symbols",
            "Letters, digits and symbols without quotes, `$`, backslash and spaces.",
            Alphabet::Symbols,
        ),
    ],
    or: &[],
};

fn rule(at: &At<'_>) -> Option<Rule> {
    at.object("Way in which a value is generated.", "{ length: 32 }", |fields| {
        let length =
            fields.or("length", "Number of characters, 8 to 4096. Default: 32.", USUAL, |at| {
                u32::try_from(at.whole(SHORTEST, LONGEST)?).ok()
            });
        let alphabet = fields.or("alphabet", "", Alphabet::Alphanumeric, |at| at.word(&ALPHABETS));
        Some(Rule { length: length?, alphabet: alphabet? })
    })
}
