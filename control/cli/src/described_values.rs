//! Secrets and configurations in `describe`: who uses their values, and which devices have which.

use serde_json::Value;

use super::cells::read;
use super::client::Client;
use super::failure::Outcome;
use super::table::{Cell, facts, table};
use super::text::{Mood, Output};
use holdfast_api::kinds::DocumentKind;
use holdfast_api::{Policy, PolicyDevice, PolicyValue};

/// Most rows of devices that are shown.
const ROWS: usize = 50;

/// Describes the users of a document's values, and the values that devices have.
pub(super) async fn of_document(
    client: &Client,
    output: Output,
    kind: &DocumentKind,
    item: &Value,
) -> Outcome<String> {
    let policy: Policy = read(item)?;
    let name = policy.metadata.name.clone();
    let path: Vec<&str> = kind.path.iter().copied().chain([name.as_str(), "devices"]).collect();
    let devices = client.list(&path, &[]).await?;
    let devices = devices.iter().map(read).collect::<Outcome<Vec<PolicyDevice>>>()?;
    Ok(described(output, &policy, &devices))
}

fn described(output: Output, policy: &Policy, devices: &[PolicyDevice]) -> String {
    let values = policy.status.values.clone().unwrap_or_default();
    let mut used_by = values.used_by.join(", ");
    let more = values.users.saturating_sub(values.used_by.len() as u64);
    if more > 0 {
        used_by.push_str(&format!(" and {more} more"));
    }
    if used_by.is_empty() {
        used_by.push_str("nothing");
    }
    let current = devices.iter().filter(|device| device.applied).count();
    let have = format!("{current} of {} have the newest values", devices.len());
    let mut said =
        facts(output, 0, vec![("Used by", Cell::from(used_by)), ("Devices", Cell::from(have))]);
    // Devices that wait for a value come first.
    let mut rows: Vec<(&PolicyDevice, &PolicyValue)> =
        devices.iter().flat_map(|it| it.values.iter().map(move |value| (it, value))).collect();
    rows.sort_by_key(|(device, _)| device.applied);
    let left_out = rows.len().saturating_sub(ROWS);
    let rows: Vec<Vec<Cell>> =
        rows.into_iter().take(ROWS).map(|(device, value)| row(device, value)).collect();
    if !rows.is_empty() {
        said.push('\n');
        said.push_str(&table(output, 0, &["DEVICE", "WORKLOAD", "KEY", "WANTED", "HAS"], &rows));
    }
    if left_out > 0 {
        said.push_str(&format!("and {left_out} more\n"));
    }
    said
}

fn row(device: &PolicyDevice, value: &PolicyValue) -> Vec<Cell> {
    let has = match &value.has {
        Some(has) if *has == value.sha256 => Cell::new(has.as_str(), Mood::Good),
        Some(has) => Cell::new(has.as_str(), Mood::Busy),
        None => Cell::new("not known", Mood::Faint),
    };
    vec![
        Cell::from(device.device.as_str()),
        Cell::from(value.workload.as_str()),
        Cell::from(value.key.as_str()),
        Cell::from(value.sha256.as_str()),
        has,
    ]
}
