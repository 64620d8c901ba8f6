//! `get`: lists and single resources, for people and for programs.

use clap::ValueEnum as _;
use serde_json::{Value, json};

use super::args::{AbsenceKind, Format, Get, Kind};
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::groups;
use super::rows;
use super::table::table;
use super::text::{Output, note};
use super::yaml::write as yaml;
use holdfast_api::kinds::WORKLOAD;

/// Lists resources, or shows one.
pub(crate) async fn get(client: &Client, output: Output, now: u64, arguments: &Get) -> Outcome {
    let kind = arguments.kind;
    let selector = arguments.selector.as_deref();
    let absence = absence(arguments)?;
    if let Some(by) = arguments.group_by.as_deref() {
        if kind != Kind::Device || arguments.name.is_some() {
            return Err(Failure::usage(
                "--group-by goes with `holdfast get devices` without a name",
            ));
        }
        let mut query = query(selector);
        query.extend(absence.as_deref().map(|absence| ("absence", absence)));
        query.push(("by", by));
        return groups::print(client, output, arguments.output, &query).await;
    }
    let found = match arguments.name.as_deref() {
        Some(name) if kind == Kind::Revision && !name.contains('.') => {
            Found::All(revisions_of(client, name, selector).await?)
        }
        Some(_) if selector.is_some() => {
            return Err(Failure::usage("a name and a selector at once: give one of them"));
        }
        Some(name) if kind == Kind::Alarm => {
            Found::All(client.list(kind.path(), &[("device", name)]).await?)
        }
        Some(name) => Found::One(one(client, kind, name).await?),
        None if kind == Kind::Silence => Found::All(silences(client, selector).await?),
        None => {
            let mut query = query(selector);
            query.extend(absence.as_deref().map(|absence| ("absence", absence)));
            Found::All(client.list(kind.path(), &query).await?)
        }
    };
    print(output, now, kind, arguments.output, found)
}

/// Result of a search for resources.
pub(crate) enum Found {
    /// One resource, asked for by name.
    One(Value),
    /// A list of resources.
    All(Vec<Value>),
}

/// Returns the absences that are asked for as the API's query parameter.
fn absence(arguments: &Get) -> Outcome<Option<String>> {
    if arguments.absence.is_empty() {
        return Ok(None);
    }
    if arguments.kind != Kind::Device || arguments.name.is_some() {
        return Err(Failure::usage("--absence goes with `holdfast get devices` without a name"));
    }
    let word = |one: &AbsenceKind| one.to_possible_value().map(|word| word.get_name().to_owned());
    let words: Vec<String> = arguments.absence.iter().filter_map(word).collect();
    Ok(Some(words.join(",")))
}

fn query(selector: Option<&str>) -> Vec<(&'static str, &str)> {
    selector.map(|selector| ("labelSelector", selector)).into_iter().collect()
}

/// Returns acknowledgements and silences; their list has one page.
async fn silences(client: &Client, selector: Option<&str>) -> Outcome<Vec<Value>> {
    if selector.is_some() {
        return Err(Failure::usage("silences have no labels of their own"));
    }
    let mut all = client.get(Kind::Silence.path(), &[]).await?;
    match all.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => Ok(items),
        _ => Err(Failure::failed("the control plane answered no list of silences")),
    }
}

async fn revisions_of(
    client: &Client,
    workload: &str,
    selector: Option<&str>,
) -> Outcome<Vec<Value>> {
    let mut query = query(selector);
    query.push(("workload", workload));
    let found = client.list(&["revisions"], &query).await?;
    if found.is_empty() && selector.is_none() {
        return Err(no(Kind::Document(&WORKLOAD), workload));
    }
    Ok(found)
}

/// Requests one resource by name.
pub(crate) async fn one(client: &Client, kind: Kind, name: &str) -> Outcome<Value> {
    let among = match kind {
        Kind::Device | Kind::Document(_) => {
            let path: Vec<&str> = kind.path().iter().copied().chain([name]).collect();
            return client.get(&path, &[]).await;
        }
        Kind::Image => return client.get(&["images", name], &[]).await,
        Kind::Revision => {
            let workload = name.split_once('.').map_or(name, |(workload, _)| workload);
            client.list(&["revisions"], &[("workload", workload)]).await?
        }
        Kind::Token => client.list(&["tokens"], &[]).await?,
        Kind::Access => client.list(&["access"], &[]).await?,
        Kind::Alarm => {
            return Err(Failure::usage("an alarm has no name: holdfast get alarms DEVICE"));
        }
        Kind::Silence => {
            let named = |item: &Value| item.get("id").and_then(Value::as_str) == Some(name);
            let found = silences(client, None).await?.into_iter().find(named);
            return found.ok_or_else(|| no(kind, name));
        }
    };
    let named = |item: &Value| item.pointer("/metadata/name").and_then(Value::as_str) == Some(name);
    among.into_iter().find(named).ok_or_else(|| no(kind, name))
}

fn no(kind: Kind, name: &str) -> Failure {
    let (one, all) = (kind.singular(), kind.plural());
    Failure::not_found(format!("there is no {one} {name:?}; `holdfast get {all}` lists them"))
}

/// Prints resources in the given format.
pub(crate) fn print(output: Output, now: u64, kind: Kind, format: Format, found: Found) -> Outcome {
    let wide = match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&document(found));
            return output.line(&text.map_err(|error| Failure::failed(error.to_string()))?);
        }
        Format::Yaml => return output.bytes(yaml(&document(found))?.as_bytes()),
        Format::Table => false,
        Format::Wide => true,
    };
    let items = match found {
        Found::One(item) => vec![item],
        Found::All(items) => items,
    };
    if items.is_empty() {
        note(&format!("no {} found", kind.plural()));
        return Ok(());
    }
    let rows =
        items.iter().map(|item| rows::row(kind, wide, now, item)).collect::<Outcome<Vec<_>>>()?;
    output.bytes(table(output, 0, &rows::headings(kind, wide), &rows).as_bytes())
}

fn document(found: Found) -> Value {
    match found {
        Found::One(item) => item,
        Found::All(items) => json!({ "items": items }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn yaml_keeps_text_text() {
        let value = json!({
            "args": ["1000", "yes", "null", "~", "1e3", "0x10", "", " a", "- b", "a: b", "#c", "a\nb\n", "\t", "'\""],
            "number": 3, "flag": true, "map": {}, "list": [], "on": "off", "1": "x",
        });
        let text = yaml(&value).unwrap();
        assert_eq!(serde_saphyr::from_str::<Value>(&text).unwrap(), value, "{text}");
    }

    proptest! {
        #[test]
        fn any_text_survives_yaml(text in any::<String>(), key in "[ -~]{1,12}") {
            let value = json!({ "spec": { key: [text] } });
            let written = yaml(&value).unwrap();
            prop_assert_eq!(serde_saphyr::from_str::<Value>(&written).unwrap(), value, "{}", written);
        }
    }
}
