//! `token` and `device`: enrolment tokens and devices.
//!
//! See decision 0083.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::Value;

use super::apply::Tries;
use super::args::{Approve, CreateToken, Device, Format, Kind, Token};
use super::cells::read;
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::get::{Found, print};
use super::moment::ago;
use super::table::{Cell, table};
use super::text::{Output, note};
use holdfast_api as api;
use holdfast_api::{CreatedToken, LabelPatch, NewToken, TokenUse};

/// Runs a subcommand of `token`, on enrolment tokens.
pub(crate) async fn token(client: &Client, output: Output, now: u64, command: &Token) -> Outcome {
    match command {
        Token::Create(wanted) => {
            let answer =
                client.send(Method::POST, &["tokens"], &[], &document(&new_token(wanted))?).await?;
            output.line(&read::<CreatedToken>(&answer)?.token)
        }
        Token::List { output: format } => {
            let all = client.list(&["tokens"], &[]).await?;
            print(output, now, Kind::Token, *format, Found::All(all))
        }
        Token::Show { id, output: format } => {
            let one = client.get(&["tokens", token_id(id)], &[]).await?;
            let used = read::<TokenUse>(&one)?;
            print(output, now, Kind::Token, *format, Found::One(one))?;
            match format {
                Format::Table | Format::Wide => let_in(output, now, &used),
                Format::Json | Format::Yaml => Ok(()),
            }
        }
        Token::Revoke { id } => {
            let id = token_id(id);
            client.send(Method::DELETE, &["tokens", id], &[], &Value::Null).await?;
            output.line(&format!("token/{id} revoked"))
        }
    }
}

/// Returns the id of a token that was pasted whole, so that its secret is not sent anywhere.
fn token_id(text: &str) -> &str {
    text.strip_prefix("hf1.").and_then(|rest| rest.split('.').next()).unwrap_or(text)
}

/// Prints the devices that enrolled with a token.
fn let_in(output: Output, now: u64, used: &TokenUse) -> Outcome {
    if used.devices.is_empty() {
        note("no device enrolled with it that is still known");
        return Ok(());
    }
    let rows: Vec<Vec<Cell>> = used
        .devices
        .iter()
        .map(|device| {
            let uncounted = match device.uncounted_labels.as_slice() {
                [] => "-".to_owned(),
                keys => keys.join(","),
            };
            vec![
                device.name.as_str().into(),
                ago(&device.enrolled_at, now).into(),
                uncounted.into(),
            ]
        })
        .collect();
    let headings = ["DEVICE", "ENROLLED", "LABELS NOT COUNTED"];
    output.bytes(format!("\n{}", table(output, 0, &headings, &rows)).as_bytes())
}

fn new_token(wanted: &CreateToken) -> NewToken {
    NewToken {
        ttl_seconds: wanted.ttl,
        uses: wanted.uses,
        labels: wanted.labels.iter().cloned().collect(),
        allow_labels: wanted.allow_labels.clone(),
        approve: match wanted.approve {
            Approve::Auto => api::Approve::Auto,
            Approve::Manual => api::Approve::Manual,
        },
    }
}

fn document(value: &impl serde::Serialize) -> Outcome<Value> {
    serde_json::to_value(value).map_err(|error| Failure::failed(error.to_string()))
}

/// Runs a subcommand of `device`: approves, labels or revokes.
pub(crate) async fn device(client: &Client, output: Output, command: &Device) -> Outcome {
    match command {
        Device::Approve(names) => each(client, output, &names.names, "approve", "approved").await,
        Device::Revoke(names) => each(client, output, &names.names, "revoke", "revoked").await,
        Device::Label { name, changes } => {
            let labels: BTreeMap<String, Option<String>> = changes.iter().cloned().collect();
            if labels.len() < changes.len() {
                return Err(Failure::usage("a label is given twice"));
            }
            let patch = document(&LabelPatch { labels, resource_version: None })?;
            client.send(Method::PATCH, &["devices", name], &[], &patch).await?;
            output.line(&format!("device/{name} labelled"))
        }
    }
}

async fn each(
    client: &Client,
    output: Output,
    names: &[String],
    action: &str,
    done: &str,
) -> Outcome {
    let mut tries = Tries::default();
    for name in names {
        let answer = client.send(Method::POST, &["devices", name, action], &[], &Value::Null).await;
        // Approving a device also approves the labels that it claimed, so they are printed.
        let labels =
            answer.as_ref().ok().and_then(|device| device.pointer("/metadata/labels")?.as_object());
        let labels: Vec<String> = labels
            .filter(|_| action == "approve")
            .into_iter()
            .flatten()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        let with = if labels.is_empty() {
            String::new()
        } else {
            " with labels ".to_owned() + &labels.join(" ")
        };
        tries.note(output, answer, &format!("device/{name} {done}{with}"))?;
    }
    tries.end()
}
