//! `get devices --group-by`: number of devices for each value of a label, by state.

use serde_json::Value;

use super::args::Format;
use super::cells::read;
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::table::{Cell, table};
use super::text::{Mood, Output, note};
use super::yaml::write as yaml;
use holdfast_api::{DeviceGroup, DeviceGroups};

/// Prints the groups of the devices that the query chooses.
pub(crate) async fn print(
    client: &Client,
    output: Output,
    format: Format,
    query: &[(&'static str, &str)],
) -> Outcome {
    let found: Value = client.get(&["groups"], query).await?;
    match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&found);
            return output.line(&text.map_err(|error| Failure::failed(error.to_string()))?);
        }
        Format::Yaml => return output.bytes(yaml(&found)?.as_bytes()),
        Format::Table | Format::Wide => {}
    }
    let groups: DeviceGroups = read(&found)?;
    if groups.items.is_empty() {
        note("no devices found");
        return Ok(());
    }
    let rows: Vec<Vec<Cell>> = groups.items.iter().map(row).collect();
    let headings = [
        groups.by.as_str(),
        "DEVICES",
        "HEALTHY",
        "FAILING",
        "PROBLEM",
        "PROGRESSING",
        "UNKNOWN",
        "NEVER SEEN",
        "PENDING",
        "REVOKED",
    ];
    output.bytes(table(output, 0, &headings, &rows).as_bytes())?;
    if groups.more > 0 {
        note(&format!(
            "and {} more groups, with less trouble: -l LABELS chooses devices",
            groups.more
        ));
    }
    Ok(())
}

fn row(group: &DeviceGroup) -> Vec<Cell> {
    let count = |number: u64, mood: Mood| {
        Cell::new(number.to_string(), if number > 0 { mood } else { Mood::Faint })
    };
    vec![
        match &group.value {
            Some(value) => Cell::from(value.as_str()),
            None => Cell::new("(none)".to_owned(), Mood::Faint),
        },
        count(group.devices, Mood::Plain),
        count(group.healthy, Mood::Good),
        count(group.failing, Mood::Bad),
        count(group.problem, Mood::Bad),
        count(group.progressing, Mood::Busy),
        count(group.unknown, Mood::Plain),
        count(group.never_seen, Mood::Plain),
        count(group.pending, Mood::Busy),
        count(group.revoked, Mood::Plain),
    ]
}
