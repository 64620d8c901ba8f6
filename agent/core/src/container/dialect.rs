//! Differences between container engines, in one table: Docker 20.10 to 29, Podman 4 and 5. Nothing
//! else of the agent asks which engine it speaks with.
//!
//! See decision 0175.

use holdfast_protocol::message::EngineInfo;
use serde_json::{Value, json};

/// Oldest version of Docker's API that is spoken: that of Docker 20.10, and what Podman 4 claims.
const OLDEST: Api = Api(1, 41);
/// Longest text of an engine that is repeated to a person, in characters.
const MAX_SAID: usize = 300;

/// Version of Docker's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Api(u32, u32);

impl std::fmt::Display for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Api {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

/// Family of engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Docker, and what behaves as it.
    Docker,
    /// Podman's service.
    Podman,
}

/// Dialect of one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    /// Family of the engine.
    pub family: Family,
    /// Version of the API that is spoken: the lowest that both know, so that one behaviour serves
    /// as many engines as can be.
    pub api: Api,
    /// Version of the engine for people.
    pub version: String,
}

/// Reasons why an engine cannot be spoken with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDialect {
    /// The answer is none of an engine.
    #[error("what answers there is no container engine: it does not tell the version of its API")]
    NoEngine,
    /// The engine is too old.
    #[error(
        "the engine speaks version {0} of the API, and the agent {OLDEST} and newer: update the engine (Docker 20.10, Podman 4)"
    )]
    TooOld(Api),
}

impl Dialect {
    /// Reads the answer to `GET /version`.
    ///
    /// # Errors
    /// [`NoDialect`].
    pub fn of(version: &Value) -> Result<Self, NoDialect> {
        let text = |key: &str| version.get(key).and_then(Value::as_str);
        let newest = text("ApiVersion").and_then(Api::parse).ok_or(NoDialect::NoEngine)?;
        let least = text("MinAPIVersion").and_then(Api::parse).unwrap_or(OLDEST);
        if newest < OLDEST {
            return Err(NoDialect::TooOld(newest));
        }
        let components = version.get("Components").and_then(Value::as_array);
        let mut names = components.into_iter().flatten().filter_map(|it| it.get("Name")?.as_str());
        let is_podman = names.any(|name| name.to_lowercase().contains("podman"));
        let family = if is_podman { Family::Podman } else { Family::Docker };
        let version = text("Version").unwrap_or("?").chars().take(40).collect();
        Ok(Self { family, api: least.max(OLDEST), version })
    }

    /// Engine as it is reported.
    pub fn info(&self) -> EngineInfo {
        let name = match self.family {
            Family::Docker => "docker",
            Family::Podman => "podman",
        };
        EngineInfo {
            name: name.into(),
            version: self.version.clone(),
            api: self.api.to_string(),
            problem: String::new(),
        }
    }

    /// Configuration of a container's log at the engine: bounded, since the agent copies it into the
    /// workload's own bounded log.
    pub fn log(&self) -> Value {
        match self.family {
            Family::Docker => {
                json!({ "Type": "json-file", "Config": { "max-size": "1m", "max-file": "2" } })
            }
            // It takes json-file for k8s-file, which has no second file.
            Family::Podman => json!({ "Type": "k8s-file", "Config": { "max-size": "1m" } }),
        }
    }

    /// True if `images/load` takes an archive without the layers that the engine has.
    pub fn loads_without_known_layers(&self) -> bool {
        self.family == Family::Docker
    }

    /// True if a CDI device stands in the list of device files, and not in a request for devices.
    pub fn cdi_is_a_device_file(&self) -> bool {
        self.family == Family::Podman
    }
}

/// Event of a container, as far as the agent acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was started.
    Started,
    /// It has ended.
    Died,
    /// It is gone.
    Gone,
    /// It was sent a signal.
    Killed,
    /// It reached its limit of memory.
    OutOfMemory,
}

/// Event of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Id of the container.
    pub id: String,
    /// What has happened.
    pub action: Action,
    /// Exit code, where one is told.
    pub code: Option<i32>,
    /// Time of the engine in nanoseconds since 1970; 0: none was told.
    pub time: u64,
}

/// Reads one event; `None` for what is of no concern.
pub fn event(value: &Value) -> Option<Event> {
    let actor = value.get("Actor");
    let attributes = actor.and_then(|it| it.get("Attributes"));
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    if text("Type").is_some_and(|it| it != "container") {
        return None;
    }
    let action = match text("Action").or_else(|| text("status"))? {
        "start" => Action::Started,
        "die" | "died" => Action::Died,
        "destroy" | "remove" | "removed" => Action::Gone,
        "kill" => Action::Killed,
        "oom" => Action::OutOfMemory,
        _ => return None,
    };
    let id = actor.and_then(|it| it.get("ID")?.as_str()).or_else(|| text("id"))?;
    // Docker calls it exitCode, Podman containerExitCode; each a text.
    let code = ["exitCode", "containerExitCode"].iter().find_map(|key| {
        let code = attributes?.get(key)?;
        code.as_str().and_then(|it| it.parse().ok()).or_else(|| i32::try_from(code.as_i64()?).ok())
    });
    let number = |key: &str| value.get(key).and_then(Value::as_u64);
    let seconds = number("time").unwrap_or(0).saturating_mul(1_000_000_000);
    let time = number("timeNano").filter(|it| *it > 0).unwrap_or(seconds);
    Some(Event { id: id.to_owned(), action, code, time })
}

/// What a refusal of an engine means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It can never be as it was asked for.
    Wrong,
    /// The image is not there.
    NoImage,
    /// What was asked about is not there.
    Absent,
    /// The name is taken, or the state of the container does not allow it.
    Conflict,
    /// The engine or its machine is in trouble.
    Trouble,
}

/// Reads a refusal by its status and text. Podman answers almost everything with 500, so that the
/// text decides there.
pub fn refusal(status: u16, message: &str) -> Refusal {
    let text = message.to_lowercase();
    let no_image = ["no such image", "image not known", "unable to find image"];
    if no_image.iter().any(|it| text.contains(it)) {
        return Refusal::NoImage;
    }
    match status {
        400 => Refusal::Wrong,
        404 => Refusal::Absent,
        409 => Refusal::Conflict,
        _ if text.contains("already in use") => Refusal::Conflict,
        _ if text.contains("no such container") => Refusal::Absent,
        _ => Refusal::Trouble,
    }
}

/// Warnings of an engine about a container that it has made: limits that its kernel does not keep.
/// Swap beside a limit of memory is passed over, as it is for processes.
pub fn warnings(made: &Value) -> String {
    let all = made.get("Warnings").and_then(Value::as_array).into_iter().flatten();
    let told = all.filter_map(Value::as_str).filter(|text| !text.to_lowercase().contains("swap"));
    let text = told.collect::<Vec<_>>().join("; ");
    text.chars().take(MAX_SAID).collect()
}

/// Text of an engine's refusal for a person.
pub fn said(body: &Value) -> String {
    let text = |key: &str| body.get(key).and_then(Value::as_str).filter(|it| !it.is_empty());
    let message = text("message").or_else(|| text("cause")).unwrap_or_default();
    let line: String = message.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_SAID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_lowest_that_both_know() {
        let version = |api: &str, least: &str, component: &str| json!({ "ApiVersion": api, "MinAPIVersion": least, "Version": "9", "Components": [{ "Name": component }] });
        for (api, least, component, spoken) in [
            ("1.41", "1.12", "Engine", Ok("docker 1.41")),
            ("1.43", "1.12", "Engine", Ok("docker 1.41")),
            // Docker 29 refuses what is older than 1.44.
            ("1.52", "1.44", "Engine", Ok("docker 1.44")),
            ("1.41", "1.24", "Podman Engine", Ok("podman 1.41")),
            ("1.40", "1.12", "Engine", Err(NoDialect::TooOld(Api(1, 40)))),
            ("x", "1.12", "Engine", Err(NoDialect::NoEngine)),
        ] {
            let dialect = Dialect::of(&version(api, least, component));
            let shown = dialect.map(|it| it.info()).map(|it| format!("{} {}", it.name, it.api));
            assert_eq!(shown, spoken.map(str::to_owned), "{api} {least}");
        }
        assert_eq!(Dialect::of(&Value::Null), Err(NoDialect::NoEngine));
        assert_eq!(Dialect::of(&json!({ "ApiVersion": "1.41" })).map(|it| it.api), Ok(OLDEST));
    }

    #[test]
    fn events_of_all_engines_mean_the_same() {
        let docker = json!({
            "status": "die", "id": "4f", "Type": "container", "Action": "die", "scope": "local",
            "Actor": { "ID": "4f", "Attributes": { "exitCode": "3", "name": "x" } },
            "time": 1, "timeNano": 1_000_000_007_u64
        });
        let podman = json!({
            "status": "died", "id": "4f", "Type": "container", "Action": "died",
            "Actor": { "ID": "4f", "Attributes": { "containerExitCode": "3" } }, "time": 1
        });
        let died = |time| Event { id: "4f".into(), action: Action::Died, code: Some(3), time };
        assert_eq!(event(&docker), Some(died(1_000_000_007)));
        assert_eq!(event(&podman), Some(died(1_000_000_000)));
        let of = |kind: &str, action: &str| {
            event(&json!({ "Type": kind, "Action": action, "Actor": { "ID": "4f" } }))
                .map(|it| it.action)
        };
        for (action, expected) in [
            ("start", Some(Action::Started)),
            ("destroy", Some(Action::Gone)),
            ("remove", Some(Action::Gone)),
            ("kill", Some(Action::Killed)),
            ("oom", Some(Action::OutOfMemory)),
            ("exec_create: /bin/true", None),
            ("cleanup", None),
        ] {
            assert_eq!(of("container", action), expected, "{action}");
        }
        assert_eq!(of("network", "destroy"), None);
        for odd in [json!(null), json!([]), json!({ "Action": 3 }), json!({ "Action": "die" })] {
            assert_eq!(event(&odd), None, "{odd}");
        }
    }

    #[test]
    fn refusals_of_all_engines_mean_the_same() {
        for (status, text, expected) in [
            (404, "No such image: sha256:4f", Refusal::NoImage),
            (500, "no such image", Refusal::NoImage),
            (404, "sha256:4f: image not known", Refusal::NoImage),
            (409, "Conflict. The container name \"/hf-w-1\" is already in use", Refusal::Conflict),
            (500, "the container name \"hf-w-1\" is already in use by 4f", Refusal::Conflict),
            (400, "invalid mount config", Refusal::Wrong),
            (404, "No such container: 4f", Refusal::Absent),
            (500, "no such container", Refusal::Absent),
            (500, "no space left on device", Refusal::Trouble),
            (503, "", Refusal::Trouble),
        ] {
            assert_eq!(refusal(status, text), expected, "{status} {text}");
        }
        let warned = |list: Value| warnings(&json!({ "Id": "4f", "Warnings": list }));
        assert_eq!(
            warned(json!(["no pids limit", "Memory limited without swap.", 3])),
            "no pids limit"
        );
        assert_eq!((warned(Value::Null), warned(json!([]))), (String::new(), String::new()));
        assert_eq!(said(&json!({ "message": "a\n  b" })), "a b");
        assert_eq!(said(&json!({ "message": "", "cause": "c" })), "c");
        assert_eq!(said(&json!(["x"])), "");
    }
}
