//! Texts with `${…}` in them. The grammar is small and strict:
//!
//! ```text
//! text      = ( character | "$${" | "${" reference "}" )*
//! reference = "device.name" | "tenant.name"
//!           | "label." KEY [ ":-" default ]
//!           | "secret." NAME "." KEY | "config." NAME "." KEY
//! default   = characters other than "}" and control characters, without "${"
//! ```
//!
//! `$${` stands for `${`. A `$` before anything else is a `$`. Whatever else follows `${` is a
//! fault, so that a misspelt reference is never taken for text.

use holdfast_base::ids::{Name, check_label_key};
use serde::{Deserialize, Serialize};

use super::place::{Place, Store, check_key};

/// Most references in one text.
pub const MAX_REFERENCES: usize = 256;

/// Part of a text with references.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Piece {
    /// Text as it stands.
    Text(String),
    /// Value of a label of the device.
    Label {
        /// Key of the label.
        key: String,
        /// Text for a device without the label. None: it must have the label.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<String>,
    },
    /// Name of the device.
    DeviceName,
    /// Name of the device's tenant.
    TenantName,
    /// Value of a secret or a configuration.
    Value(Place),
}

/// Fault of a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// A reference has no end.
    #[error("line {line}: \"${{\" without \"}}\"; to write \"${{\" itself, write \"$${{\"")]
    Open {
        /// Line of the reference, from 1.
        line: usize,
    },
    /// A reference has none of the known forms.
    #[error(
        "line {line}: ${{{said}}} is not a reference: there are device.name, tenant.name, label.KEY, label.KEY:-DEFAULT, secret.NAME.KEY and config.NAME.KEY; to write \"${{\" itself, write \"$${{\""
    )]
    Unknown {
        /// Line of the reference, from 1.
        line: usize,
        /// What stands between the braces, its first 80 characters.
        said: String,
    },
    /// A default stands where none is possible.
    #[error("line {line}: ${{{said}}}: only a label can have a default")]
    Default {
        /// Line of the reference, from 1.
        line: usize,
        /// What stands between the braces, its first 80 characters.
        said: String,
    },
    /// The text has too many references.
    #[error("more than {MAX_REFERENCES} references in one text")]
    TooMany,
}

/// Parses a text.
///
/// # Errors
/// [`BadTemplate`], with the line.
pub fn parse(text: &str) -> Result<Vec<Piece>, BadTemplate> {
    let (mut pieces, mut plain) = (Vec::new(), String::new());
    let (mut rest, mut line, mut references) = (text, 1, 0);
    while let Some((before, behind)) = rest.split_once("${") {
        line += before.matches('\n').count();
        if let Some(before) = before.strip_suffix('$') {
            plain.push_str(before);
            plain.push_str("${");
            rest = behind;
            continue;
        }
        plain.push_str(before);
        let (said, after) = behind.split_once('}').ok_or(BadTemplate::Open { line })?;
        references += 1;
        if references > MAX_REFERENCES {
            return Err(BadTemplate::TooMany);
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(reference(said, line)?);
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

/// Parses what stands between `${` and `}`.
fn reference(said: &str, line: usize) -> Result<Piece, BadTemplate> {
    let quoted = || said.chars().filter(|c| !c.is_control()).take(80).collect();
    let unknown = || BadTemplate::Unknown { line, said: quoted() };
    let (path, default) = match said.split_once(":-") {
        Some((path, default)) => (path, Some(default)),
        None => (said, None),
    };
    let fits = |text: &str| !text.chars().any(char::is_control) && !text.contains("${");
    if default.is_some_and(|default| !fits(default)) {
        return Err(unknown());
    }
    let (scope, rest) = path.split_once('.').ok_or_else(unknown)?;
    let value = |store: Store| {
        let (name, key) = rest.split_once('.')?;
        let name: Name = name.parse().ok()?;
        check_key(key).ok()?;
        Some(Piece::Value(Place { store, name, key: key.to_owned() }))
    };
    let piece = match (scope, rest) {
        ("label", key) => {
            check_label_key(key).map_err(|_| unknown())?;
            let default = default.map(ToOwned::to_owned);
            return Ok(Piece::Label { key: key.to_owned(), default });
        }
        ("device", "name") => Some(Piece::DeviceName),
        ("tenant", "name") => Some(Piece::TenantName),
        ("secret", _) => value(Store::Secret),
        ("config", _) => value(Store::Config),
        _ => None,
    };
    let piece = piece.ok_or_else(unknown)?;
    if default.is_some() {
        return Err(BadTemplate::Default { line, said: quoted() });
    }
    Ok(piece)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    fn label(key: &str, default: Option<&str>) -> Piece {
        Piece::Label { key: key.into(), default: default.map(ToOwned::to_owned) }
    }

    fn value(store: Store, name: &str, key: &str) -> Piece {
        Piece::Value(Place { store, name: name.parse().unwrap(), key: key.into() })
    }

    #[test]
    fn each_form_is_read() {
        for (written, pieces) in [
            ("", vec![]),
            ("plain $ $5 $$ }{", vec![text("plain $ $5 $$ }{")]),
            ("$${label.site}", vec![text("${label.site}")]),
            ("$$${a", vec![text("$${a")]),
            ("${device.name}", vec![Piece::DeviceName]),
            ("${tenant.name}", vec![Piece::TenantName]),
            ("a${label.site}b", vec![text("a"), label("site", None), text("b")]),
            ("${label.example.com/site}", vec![label("example.com/site", None)]),
            ("${label.site:-none}", vec![label("site", Some("none"))]),
            ("${label.site:-}", vec![label("site", Some(""))]),
            ("${label.site:-a:-b c}", vec![label("site", Some("a:-b c"))]),
            ("${secret.db.password}", vec![value(Store::Secret, "db", "password")]),
            ("${secret.tls.ca.crt}", vec![value(Store::Secret, "tls", "ca.crt")]),
            ("${config.app.port}", vec![value(Store::Config, "app", "port")]),
        ] {
            assert_eq!(parse(written), Ok(pieces), "{written}");
        }
    }

    #[test]
    fn whatever_else_follows_is_a_fault_with_its_line() {
        let unknown = |line, said: &str| BadTemplate::Unknown { line, said: said.into() };
        for (written, fault) in [
            ("${", BadTemplate::Open { line: 1 }),
            ("a\n\n${label.site", BadTemplate::Open { line: 3 }),
            ("${}", unknown(1, "")),
            ("\n${label}", unknown(2, "label")),
            ("${label.}", unknown(1, "label.")),
            ("${ label.site }", unknown(1, " label.site ")),
            ("${labels.site}", unknown(1, "labels.site")),
            ("${HOME}", unknown(1, "HOME")),
            ("${device.labels}", unknown(1, "device.labels")),
            ("${secret.db}", unknown(1, "secret.db")),
            ("${secret.DB.key}", unknown(1, "secret.DB.key")),
            ("${secret.db.a b}", unknown(1, "secret.db.a b")),
            ("${label.site:-${device.name}}", unknown(1, "label.site:-${device.name")),
            (
                "${secret.db.key:-x}",
                BadTemplate::Default { line: 1, said: "secret.db.key:-x".into() },
            ),
            ("${device.name:-x}", BadTemplate::Default { line: 1, said: "device.name:-x".into() }),
        ] {
            assert_eq!(parse(written), Err(fault), "{written}");
        }
        assert!(parse(&"${device.name}".repeat(MAX_REFERENCES)).is_ok());
        let many = "${device.name}".repeat(MAX_REFERENCES + 1);
        assert_eq!(parse(&many), Err(BadTemplate::TooMany));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_escaped_text_is_itself(written in ".{0,200}") {
            drop(parse(&written));
            // A `$` directly before `${` would be taken for an escape.
            prop_assume!(!written.contains("$${"));
            let pieces = parse(&written.replace("${", "$${")).unwrap();
            let back: String = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                _ => "?",
            }).collect();
            prop_assert_eq!(back, written);
        }
    }
}
