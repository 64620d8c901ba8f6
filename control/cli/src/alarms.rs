//! Alarms, acknowledgements, silences, and tests of notifications.

use reqwest::Method;
use serde_json::Value;

use super::args::{Kind, Mute, NotificationCommand, Quiet};
use super::cells::{labels, read};
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::moment;
use super::table::Cell;
use super::text::{Mood, Output, clean};
use holdfast_api::{Alarm, AlarmState, NewSilence, Severity, Silence, Tested};

/// Acknowledges alarms.
pub(crate) async fn acknowledge(client: &Client, output: Output, wanted: &Mute) -> Outcome {
    mute(client, output, "acknowledge", "acknowledged", new(wanted)).await
}

/// Silences alarms.
pub(crate) async fn silence(client: &Client, output: Output, wanted: &Quiet) -> Outcome {
    let mut body = new(&wanted.mute);
    body.until.clone_from(&wanted.until);
    body.for_seconds = wanted.length;
    mute(client, output, "silence", "silenced", body).await
}

fn new(wanted: &Mute) -> NewSilence {
    NewSilence {
        kind: wanted.kind.clone(),
        code: wanted.code.clone(),
        device: wanted.device.clone(),
        label_selector: wanted.selector.clone(),
        note: wanted.note.clone().unwrap_or_default(),
        until: None,
        for_seconds: None,
    }
}

async fn mute(
    client: &Client,
    output: Output,
    action: &str,
    done: &str,
    body: NewSilence,
) -> Outcome {
    let body = serde_json::to_value(&body).map_err(|error| Failure::failed(error.to_string()))?;
    let made: Silence = read(&client.post(&["alarms", action], &body).await?)?;
    let until = made.until.unwrap_or_else(|| "they end".to_owned());
    let word = if made.alarms == 1 { "alarm" } else { "alarms" };
    output.line(&clean(&format!(
        "{} {word} {done} until {until}; holdfast delete silence {} ends it",
        made.alarms, made.id
    )))
}

/// Sends a test message to the receiver of a notification.
pub(crate) async fn notification(
    client: &Client,
    output: Output,
    command: &NotificationCommand,
) -> Outcome {
    let NotificationCommand::Test { name } = command;
    let path = ["notifications", name.as_str(), "test"];
    let answer = client.send(Method::POST, &path, &[], &Value::Null).await?;
    let Tested { delivered, answer, millis } = read(&answer)?;
    if delivered {
        return output.line(&clean(&format!("delivered in {millis} ms: {answer}")));
    }
    Err(Failure::failed(format!("not delivered ({millis} ms): {answer}")))
}

/// Returns the headings of a list of alarms or silences: the usual ones, and those
/// added by `-o wide`.
pub(super) fn headings(kind: Kind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        Kind::Alarm => (
            &["SEVERITY", "KIND", "CODE", "DEVICE", "SINCE", "STATE", "MESSAGE"],
            &["TOLD BY", "NOTE", "LABELS"],
        ),
        _ => (&["ID", "TYPE", "OF", "ALARMS", "BY", "MADE", "ENDS", "NOTE"], &[]),
    }
}

/// Returns the table row of an alarm or a silence.
pub(super) fn row(kind: Kind, wide: bool, now: u64, item: &Value) -> Outcome<Vec<Cell>> {
    match kind {
        Kind::Alarm => read(item).map(|alarm| alarm_row(wide, now, &alarm)),
        _ => read(item).map(|silence| silence_row(now, &silence)),
    }
}

fn alarm_row(wide: bool, now: u64, alarm: &Alarm) -> Vec<Cell> {
    let mood = match alarm.severity {
        Severity::Critical => Mood::Bad,
        Severity::Warning => Mood::Busy,
        Severity::Info => Mood::Plain,
    };
    let quiet = alarm.state != AlarmState::Firing;
    let state = match (alarm.state, alarm.unheard) {
        (AlarmState::Firing, true) => "not heard",
        (state, _) => state.as_str(),
    };
    let mut row = vec![
        Cell::new(alarm.severity.as_str(), if quiet { Mood::Faint } else { mood }),
        Cell::from(alarm.kind.as_str()),
        Cell::from(alarm.code.as_str()),
        Cell::from(alarm.device.as_str()),
        Cell::from(moment::ago(&alarm.since, now)),
        Cell::new(state, if quiet { Mood::Faint } else { Mood::Plain }),
        Cell::from(alarm.message.as_str()),
    ];
    if wide {
        let note = alarm.silence.as_ref().map(|silence| silence.note.clone());
        row.extend([
            told(alarm),
            Cell::from(note.unwrap_or_default()),
            Cell::from(labels(&alarm.labels)),
        ]);
    }
    row
}

/// Returns who was told of an alarm. A notification whose receiver did not take the message stands
/// with these words, because nobody was told by it.
fn told(alarm: &Alarm) -> Cell {
    let not = alarm.undelivered.iter().map(|name| format!("{name} (not delivered)"));
    let all: Vec<String> = alarm.told.iter().cloned().chain(not).collect();
    let mood = if alarm.undelivered.is_empty() { Mood::Plain } else { Mood::Bad };
    Cell::new(all.join(","), mood)
}

fn silence_row(now: u64, silence: &Silence) -> Vec<Cell> {
    let said = [
        silence.kind.as_ref().map(|kind| format!("kind {kind}")),
        silence.code.as_ref().map(|code| format!("code {code}")),
        silence.device.as_ref().map(|device| format!("device {device}")),
        silence.label_selector.as_ref().map(|selector| format!("devices {selector}")),
    ];
    let of: Vec<String> = said.into_iter().flatten().collect();
    let muting = match silence.muting {
        holdfast_api::Muting::Acknowledgement => "acknowledgement",
        holdfast_api::Muting::Silence => "silence",
    };
    vec![
        Cell::from(silence.id.as_str()),
        Cell::from(muting),
        Cell::from(of.join(", ")),
        Cell::from(silence.alarms.to_string()),
        Cell::from(silence.by_name.as_ref().unwrap_or(&silence.by).as_str()),
        Cell::from(moment::ago(&silence.at, now)),
        Cell::from(match &silence.until {
            Some(until) => moment::until(until, now),
            None => "with its alarms".into(),
        }),
        Cell::from(silence.note.as_str()),
    ]
}
