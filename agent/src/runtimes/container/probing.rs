//! Probes of containers: over the network at the address that a container has, or by a command that
//! the engine executes in it.
//!
//! See decisions 0072 and 0175.

use std::time::Duration;

use holdfast_protocol::workload::Probe;
use serde_json::{Value, json};

use super::client::EngineError;
use super::engine::{Away, Engine, Here, next};
use crate::core::container::frames::Frames;
use crate::core::container::group::Order;
use crate::core::container::{marks, parts};
use crate::core::runtime::Handle;
use crate::runtimes::probe::{ProbeError, http, tcp};

/// Time beyond a probe's own for the questions to the engine that go with it.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// Most bytes that are kept of the last line of a command.
const MAX_LINE: usize = 200;

/// Reasons why the engine cannot run a probe.
#[derive(Debug, thiserror::Error)]
enum Unasked {
    #[error(transparent)]
    Away(#[from] Away),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the container has no network that the device reaches: probe it by a command (exec)")]
    NoAddress,
    #[error("the instance has no container")]
    NoContainer,
}

impl From<Unasked> for ProbeError {
    fn from(error: Unasked) -> Self {
        Self::Runtime(error.into())
    }
}

/// Runs a probe of an instance to its end.
///
/// # Errors
/// The reason why the workload is not healthy.
pub(super) async fn run(
    engine: &Engine,
    instance: &Handle,
    probe: &Probe,
    within: Duration,
) -> Result<(), ProbeError> {
    let parts = parts(instance);
    if !matches!(probe, Probe::Members) {
        let first = parts.first().ok_or(Unasked::NoContainer)?;
        return one(engine, &first.id, probe, within).await;
    }
    let here = engine.now().map_err(Unasked::Away)?;
    for part in &parts {
        let inspected = inspect(&here, &part.id).await?;
        let Some(order) = order(&inspected) else { continue };
        let Some(probe) = order.probe.filter(|_| is_running(&inspected)) else { continue };
        let probed = one(engine, &part.id, &probe, within).await;
        probed.map_err(|why| ProbeError::Said(format!("{}: {why}", part.name)))?;
    }
    Ok(())
}

/// Part that a container plays in its group, by what is written on it.
pub(super) fn order(inspected: &Value) -> Option<Order> {
    let labels = inspected.get("Config")?.get("Labels")?;
    serde_json::from_str(labels.get(marks::ORDER)?.as_str()?).ok()
}

fn is_running(inspected: &Value) -> bool {
    use crate::core::container::seen::{State, state};
    matches!(state(inspected), State::Running(_))
}

async fn inspect(here: &Here, id: &str) -> Result<Value, Unasked> {
    Ok(here.client.get(&format!("/containers/{id}/json")).await?)
}

/// Runs a probe of one container.
pub(super) async fn one(
    engine: &Engine,
    id: &str,
    probe: &Probe,
    within: Duration,
) -> Result<(), ProbeError> {
    let target = async |host: &Option<String>, port: u16| match host {
        Some(host) => Ok((Some(host.clone()), port)),
        None => {
            let here = engine.now().map_err(Unasked::Away)?;
            let inspected = inspect(&here, id).await?;
            address(&inspected, port).ok_or(Unasked::NoAddress)
        }
    };
    match probe {
        Probe::Tcp { host, port } => {
            let (host, port) = target(host, *port).await?;
            tcp(host, port, within).await
        }
        Probe::Http { host, port, path } => {
            let (host, port) = target(host, *port).await?;
            http(host, port, path.clone(), within).await
        }
        Probe::Exec { command } => {
            let here = engine.now().map_err(Unasked::Away)?;
            let mut line = Vec::new();
            let ran = execute(&here, id, command, &mut line);
            let ended = tokio::time::timeout(within, ran).await;
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            match ended {
                Err(_) => Err(ProbeError::LateCommand { within, line }),
                Ok(Err(error)) => Err(error.into()),
                Ok(Ok(0)) => Ok(()),
                Ok(Ok(code)) => {
                    let shown = command.first().map_or("", String::as_str);
                    let colon = if line.is_empty() { "" } else { ": " };
                    Err(ProbeError::Said(format!("{shown} ended with code {code}{colon}{line}")))
                }
            }
        }
        Probe::Members => Err(ProbeError::OfGroups),
    }
}

/// Address at which the device reaches a port of a container.
fn address(inspected: &Value, port: u16) -> Option<(Option<String>, u16)> {
    let mode = inspected.get("HostConfig").and_then(|it| it.get("NetworkMode"));
    if mode.and_then(Value::as_str) == Some("host") {
        return Some((None, port));
    }
    let settings = inspected.get("NetworkSettings")?;
    let networks = settings.get("Networks").and_then(Value::as_object);
    let of = |network: &Value| {
        let address = network.get("IPAddress")?.as_str()?;
        (!address.is_empty()).then(|| address.to_owned())
    };
    if let Some(address) = networks.into_iter().flatten().find_map(|(_, network)| of(network)) {
        return Some((Some(address), port));
    }
    let published = settings.get("Ports")?.get(format!("{port}/tcp"))?.get(0)?;
    let number = published.get("HostPort")?.as_str()?.parse().ok()?;
    Some((None, number))
}

/// Executes a command in a container; returns its exit code. `line` holds the last line of its
/// output, also when it is cut off.
async fn execute(
    here: &Here,
    id: &str,
    command: &[String],
    line: &mut Vec<u8>,
) -> Result<i64, Unasked> {
    let body = json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": command });
    let made = here.client.post(&format!("/containers/{id}/exec"), Some(&body)).await?;
    let exec = made.get("Id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let body = json!({ "Detach": false, "Tty": false });
    let mut output =
        here.client.stream("POST", &format!("/exec/{exec}/start"), Some(&body)).await?;
    let mut frames = Frames::default();
    while let Some(bytes) = next(&mut output).await? {
        for piece in frames.take(&bytes) {
            keep_last(line, &piece.bytes);
        }
    }
    let ended = here.client.get(&format!("/exec/{exec}/json")).await?;
    Ok(ended.get("ExitCode").and_then(Value::as_i64).unwrap_or(-1))
}

/// Keeps the last line of an output, as far as it is worth showing.
fn keep_last(line: &mut Vec<u8>, bytes: &[u8]) {
    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
        if line.ends_with(b"\n") {
            line.clear();
        }
        let room = MAX_LINE.saturating_sub(line.len());
        line.extend(piece.iter().take(room));
        if piece.ends_with(b"\n") && !line.ends_with(b"\n") {
            line.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_reached_where_the_container_has_it() {
        let of = |mode: &str, ip: &str, ports: Value| {
            json!({
                "HostConfig": { "NetworkMode": mode },
                "NetworkSettings": { "Networks": { "x": { "IPAddress": ip } }, "Ports": ports }
            })
        };
        let published = json!({ "80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "20000" }] });
        for (inspected, expected) in [
            (of("host", "", Value::Null), Some((None, 80))),
            (of("bridge", "172.17.0.2", published.clone()), Some((Some("172.17.0.2".into()), 80))),
            // Podman without root has no address that the device reaches.
            (of("slirp4netns", "", published), Some((None, 20_000))),
            (of("none", "", Value::Null), None),
            (Value::Null, None),
        ] {
            assert_eq!(address(&inspected, 80), expected, "{inspected}");
        }
    }

    #[test]
    fn the_last_line_is_kept_however_it_comes() {
        let kept = |pieces: &[&str]| {
            let mut line = Vec::new();
            pieces.iter().for_each(|it| keep_last(&mut line, it.as_bytes()));
            String::from_utf8(line).unwrap()
        };
        assert_eq!(kept(&["a\nb", "c\n"]), "bc\n");
        assert_eq!(kept(&["a\n", "b"]), "b");
        assert_eq!(kept(&[&"x".repeat(500), "\ny"]), "y");
        assert_eq!(kept(&[&"x".repeat(500)]).len(), MAX_LINE);
    }
}
