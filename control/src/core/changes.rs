//! What changed between two documents, in short: the paths of what is other.

use serde_json::Value;

/// Most paths that are named.
pub const MAX_PATHS: usize = 20;

/// The paths at which two documents differ, such as `run.process.args`: as deep as both have
/// objects there. At most [`MAX_PATHS`].
pub fn paths(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(before, after, "", &mut found);
    found.truncate(MAX_PATHS);
    found
}

fn walk(before: &Value, after: &Value, path: &str, found: &mut Vec<String>) {
    if before == after || found.len() >= MAX_PATHS {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        found.push(path.to_owned());
        return;
    };
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let whole = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (old.get(key), new.get(key)) {
            (Some(before), Some(after)) => walk(before, after, &whole, found),
            _ => found.push(whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_other_is_named_by_its_path() {
        let old = json!({ "run": { "process": { "path": "/bin/a", "args": ["1"] } },
            "devices": "all", "config": { "a.conf": "1" } });
        for (new, found) in [
            (old.clone(), vec![]),
            (
                json!({ "run": { "process": { "path": "/bin/a", "args": ["2"] } },
                    "devices": { "matchLabels": { "site": "a" } }, "config": { "a.conf": "1" } }),
                vec!["devices", "run.process.args"],
            ),
            (
                json!({ "run": { "process": { "path": "/bin/a", "args": ["1"] } },
                    "devices": "all", "config": { "b.conf": "1" }, "stop": {} }),
                vec!["config.a.conf", "config.b.conf", "stop"],
            ),
            (json!(7), vec![""]),
        ] {
            assert_eq!(paths(&old, &new), found, "{new}");
        }
        let many =
            |value: u8| Value::Object((0..99).map(|at| (at.to_string(), json!(value))).collect());
        assert_eq!(paths(&many(1), &many(2)).len(), MAX_PATHS);
    }
}
