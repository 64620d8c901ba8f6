//! Texts of the demo.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::end::{End, Outcome};
use super::parts::{self, program};
use super::stage::{PLANE, Stage};

/// Device and stream that fills by itself, whatever programs the machine has.
pub(super) const RECORDS: [&str; 2] = ["gateway-1", "logs/heartbeat"];

/// Returns the name of an agent's process, as people see it.
pub(super) fn agent_of(device: &str) -> String {
    format!("agent of {device}")
}

/// Returns the text for the end of the demo.
pub(super) fn ending(end: &End) -> String {
    match end {
        End::Asked(by) => format!("\n{by}: stopping everything."),
        End::Unheard => String::new(),
        End::Failed(why) => format!("\nStopping everything: {why}"),
    }
}

/// Returns which work goes on while a process is gone.
pub(super) fn what_goes_on(name: &str) -> &'static str {
    if name == PLANE {
        "Devices do without: their workloads go on, and are restarted when they end."
    } else {
        "Its workloads go on without it."
    }
}

/// Indents each line by two spaces.
pub(super) fn indented(text: &str) -> String {
    let indent = |line: &str| if line.is_empty() { String::new() } else { format!("  {line}") };
    text.lines().map(indent).collect::<Vec<_>>().join("\n")
}

/// Returns the addresses, and commands to try, once everything runs.
pub(super) fn summary(
    stage: &Stage,
    devices: &[Value],
    table: &str,
    took: Duration,
) -> Outcome<String> {
    let holdfast = program("holdfast")?;
    let bin = holdfast.parent().unwrap_or(&holdfast).display();
    let greeting = &stage.greeting;
    let mut text = format!("\nEverything runs, after {:.1} s.\n\n", took.as_secs_f64());
    let mut line = |line: String| {
        let _infallible = writeln!(text, "{line}");
    };
    line(format!("API:     {}", greeting.api));
    line(format!("Pages:   {} in a browser; log in with the token below", greeting.api));
    line(format!("Devices: {}", greeting.mqtt));
    line(format!("Folder:  {}", stage.folder.display()));
    line("\nIn another terminal:\n".into());
    line(format!("export HOLDFAST_URL={}", greeting.api));
    line(format!("export HOLDFAST_TOKEN={}", greeting.token));
    line(format!("export HOLDFAST_CA={}", greeting.ca));
    line(format!("export PATH={bin}:$PATH"));
    line("\nor, kept for later commands of yours in any terminal:\n".into());
    line(format!(
        "{} login {} --token {} --ca-sha256 {}",
        holdfast.display(),
        greeting.api,
        greeting.token,
        greeting.ca
    ));
    line(format!("\nWhat runs where:\n\n{}\n\n{}", processes(devices), indented(table)));
    line(format!("\nTo try:\n\n{}", indented(&to_try(stage, devices))));
    line("\nWhat changes, as the control plane tells it (UTC). Ctrl-C ends everything.\n".into());
    text.truncate(text.trim_end().len());
    Ok(text + "\n")
}

/// Returns a line for each device with its workloads and their process ids.
fn processes(devices: &[Value]) -> String {
    let mut lines = Vec::new();
    for device in devices {
        let name = device["metadata"]["name"].as_str().unwrap_or_default();
        let workloads = device["status"]["workloads"].as_object();
        let each = workloads.into_iter().flatten().map(|(workload, is)| match &is["pid"] {
            Value::Null => format!("{workload} ({})", is["reason"].as_str().unwrap_or_default()),
            pid => format!("{workload} (pid {pid})"),
        });
        lines.push(format!("  {name:<10} {}", each.collect::<Vec<_>>().join(", ")));
    }
    lines.join("\n")
}

fn to_try(stage: &Stage, devices: &[Value]) -> String {
    let pid_of = |part: &str| {
        let part = stage.parts.iter().find(|it| it.name == part);
        part.map_or(0, parts::Part::pid)
    };
    let workload = devices
        .iter()
        .find(|device| device["metadata"]["name"] == "gateway-1")
        .map_or(&Value::Null, |device| &device["status"]["workloads"]["heartbeat"]["pid"]);
    let [device, stream] = RECORDS;
    let again = parts::AGAIN_AFTER.as_secs();
    let lines = [
        ("holdfast logs gateway-1 heartbeat -f".into(), "what it writes, as it comes".into()),
        (
            "holdfast device label gateway-1 site=hamburg".into(),
            "relay and watch-config leave gateway-1".into(),
        ),
        (
            format!("kill {workload}"),
            "the heartbeat of gateway-1: its agent starts it again".to_owned(),
        ),
        (
            format!("kill -9 {}", pid_of(&agent_of("gateway-1"))),
            format!("the agent of gateway-1: its workloads go on; {again} s later it is back"),
        ),
        (
            format!("kill -9 {}", pid_of(PLANE)),
            format!("the control plane: all devices go on; {again} s later it is back"),
        ),
        (
            format!("holdfast-agent status --data {}", stage.folder.join("gateway-1").display()),
            "on the device: works without the control plane".to_owned(),
        ),
        ("holdfast describe device gateway-1".into(), "why something is not as desired".into()),
        (
            format!("holdfast data get {device} {stream} --newest --limit 3"),
            "records that have arrived; the pages show them under Data".into(),
        ),
        (
            format!("holdfast query {stream} --select count --by device"),
            "asks the devices themselves, without shipping anything".into(),
        ),
    ];
    let lines = lines.map(|(command, what): (String, String)| format!("# {what}\n{command}"));
    lines.join("\n")
}
