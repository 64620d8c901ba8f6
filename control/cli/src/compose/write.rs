//! Documents as YAML in the order in which people write them.

use serde::Serialize;
use serde::ser::{SerializeMap as _, SerializeSeq as _, Serializer};
use serde_json::Value;

use crate::failure::{Failure, Outcome};

/// Keys that stand before others, in their order.
const FIRST: [&str; 20] = [
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "spec",
    "image",
    "command",
    "args",
    "env",
    "user",
    "network",
    "networks",
    "ports",
    "path",
    "mounts",
    "devices",
    "run",
    "container",
    "group",
    "containers",
];

/// Keys that stand behind others, in their order.
const LAST: [&str; 7] = ["health", "after", "resources", "restart", "stop", "files", "config"];

/// Returns documents as one text of YAML.
pub(super) fn yaml(documents: &[Value]) -> Outcome<String> {
    let mut text = String::new();
    for document in documents {
        if !text.is_empty() {
            text.push_str("---\n");
        }
        let one = serde_saphyr::to_string(&Ordered(document));
        text += &one.map_err(|error| Failure::failed(format!("cannot write YAML: {error}")))?;
    }
    Ok(text)
}

/// Value whose keys are written in the order of people.
struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(map) => {
                let mut entries: Vec<(&String, &Value)> = map.iter().collect();
                entries.sort_by_key(|(key, _)| rank(key));
                let mut out = to.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    out.serialize_entry(key, &Ordered(value))?;
                }
                out.end()
            }
            Value::Array(items) => {
                let mut out = to.serialize_seq(Some(items.len()))?;
                for item in items {
                    out.serialize_element(&Ordered(item))?;
                }
                out.end()
            }
            other => other.serialize(to),
        }
    }
}

fn rank(key: &str) -> usize {
    let first = FIRST.iter().position(|known| *known == key);
    let last = LAST.iter().position(|known| *known == key).map(|index| FIRST.len() + 1 + index);
    first.or(last).unwrap_or(FIRST.len())
}
