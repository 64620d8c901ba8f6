//! Volumes of a device's containers: listed, deleted, written to a file and read from one.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use super::args::{Volume, Which};
use super::cells::read;
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::table::{Cell, table};
use super::text::{Output, note};
use super::transfer::{Asked, fetch, store};
use holdfast_api::{List, StoredArtifact};

/// Carries out one of the actions.
pub(crate) async fn run(client: &Client, output: Output, what: &Volume) -> Outcome {
    match what {
        Volume::List { device, output: format } => {
            list(client, output, device, format == "json").await
        }
        Volume::Delete { which, yes } => delete(client, output, which, *yes).await,
        Volume::Backup { which, file } => back_up(client, output, which, file).await,
        Volume::Restore { which, file, yes } => restore(client, output, which, file, *yes).await,
    }
}

async fn list(client: &Client, output: Output, device: &str, as_json: bool) -> Outcome {
    let all: List<Value> = client.read(&["devices", device, "volumes"], &[]).await?;
    let all = all.items;
    if as_json {
        let text = serde_json::to_string_pretty(&all)
            .map_err(|error| Failure::failed(error.to_string()))?;
        return output.line(&text);
    }
    let row = |item: &Value| {
        let volume: holdfast_api::Volume = read(item)?;
        Ok(vec![
            Cell::from(format!("{}/{}", volume.workload, volume.volume)),
            Cell::from(
                volume.bytes.map_or_else(|| "not known".to_owned(), |bytes| bytes.to_string()),
            ),
            Cell::from(if volume.used { "yes" } else { "no" }),
        ])
    };
    let rows = all.iter().map(row).collect::<Outcome<Vec<Vec<Cell>>>>()?;
    if rows.is_empty() {
        return output.line(&format!("device {device} has no volumes"));
    }
    output.bytes(table(output, 0, &["VOLUME", "BYTES", "IN USE"], &rows).as_bytes())
}

/// Fails unless the loss of what is in the volume was agreed to.
fn agreed(which: &Which, yes: bool, what: &str) -> Outcome {
    if yes {
        return Ok(());
    }
    let (workload, volume) = &which.volume;
    Err(Failure::usage(format!(
        "everything in volume {workload}/{volume} of device {} {what}: add --yes to do it",
        which.device
    )))
}

async fn delete(client: &Client, output: Output, which: &Which, yes: bool) -> Outcome {
    agreed(which, yes, "would be lost")?;
    let (workload, volume) = &which.volume;
    let path = ["devices", &which.device, "volumes", workload, volume];
    client.send(Method::DELETE, &path, &[], &Value::Null).await?;
    output.line(&format!("volume {workload}/{volume} of device {} deleted", which.device))
}

async fn back_up(client: &Client, output: Output, which: &Which, file: &Path) -> Outcome {
    let (workload, volume) = &which.volume;
    let path = ["devices", &which.device, "volumes", workload, volume, "backup"];
    note(&format!("device {} uploads volume {workload}/{volume}", which.device));
    let answer = client.post_stream(&path, &Value::Null).await?;
    let stored = answer.json::<StoredArtifact>().await;
    let stored = stored.map_err(|error| client.unreachable(&error))?;
    let size =
        fetch(client, Asked::Get(&["artifacts", &stored.digest], &[]), file, "fetching").await?;
    // It was made for this file. One that somebody else pushed with the same content may be named by
    // a workload, and stays.
    let left = client.send(Method::DELETE, &["artifacts", &stored.digest], &[], &Value::Null).await;
    if left.is_err() {
        note(&format!("artifact {} stays with the control plane", stored.digest));
    }
    output.line(&format!("{} written, {size} bytes", file.display()))
}

async fn restore(
    client: &Client,
    output: Output,
    which: &Which,
    file: &Path,
    yes: bool,
) -> Outcome {
    agreed(which, yes, "would be replaced")?;
    let (workload, volume) = &which.volume;
    let stored = store(client, file).await?;
    let path = ["devices", &which.device, "volumes", workload, volume, "restore"];
    note(&format!("device {} replaces volume {workload}/{volume}", which.device));
    let answer = client.post_stream(&path, &json!({ "digest": stored.digest })).await.map(drop);
    let left = client.send(Method::DELETE, &["artifacts", &stored.digest], &[], &Value::Null).await;
    answer?;
    if left.is_err() {
        note(&format!("artifact {} stays with the control plane", stored.digest));
    }
    output.line(&format!("volume {workload}/{volume} of device {} restored", which.device))
}
