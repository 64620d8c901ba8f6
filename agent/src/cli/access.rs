//! `holdfast-agent local-access`: access to bus and data socket for programs that the agent does
//! not run. Of a running agent it asks nothing but to read the accesses again.

use std::path::{Path, PathBuf};

use holdfast_base::ids::Name;
use holdfast_protocol::workload::Bus;

use super::arguments::{Call, Unfit};
use super::output::{FAILED, Output, USAGE, complain, configuration, data_folder, say};
use crate::adapters::access::{Access, AccessError, Made};
use crate::adapters::{files, status};
use crate::core::bus::fault_of_filter;

/// Command below `local-access`, with its values.
#[derive(Debug)]
pub(super) struct LocalAccess {
    action: Action,
    /// Configuration file of the agent, for the port of its bus.
    config: Option<PathBuf>,
    /// Data folder of the agent.
    data: PathBuf,
}

#[derive(Debug)]
enum Action {
    Create { name: Name, bus: Bus, output: EntryOutput },
    List(Output),
    Remove(Name),
}

#[derive(Debug, Clone, Copy)]
enum EntryOutput {
    Text,
    Json,
    Env,
}

fn filter(text: &str) -> Result<String, Unfit> {
    match fault_of_filter(text) {
        None => Ok(text.to_owned()),
        Some(why) => Err(why.into()),
    }
}

/// Reason why a command was not carried out.
#[derive(Debug, thiserror::Error)]
enum NotDone {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("{0}")]
    Unread(String),
    #[error("there is no local access {0}")]
    Unknown(Name),
}

impl LocalAccess {
    /// Reads the values of the command `create`, `list` or `remove`.
    ///
    /// # Errors
    /// Returns a sentence that names the value and its fault.
    pub(super) fn of(command: &str, call: &mut Call) -> Result<Self, Unfit> {
        let action = match command {
            "create" => Action::Create {
                name: call.argument()?,
                bus: Bus {
                    subscribe: call.each("subscribe", filter)?,
                    publish: call.each("publish", filter)?,
                },
                output: match call.choice("output") {
                    "json" => EntryOutput::Json,
                    "env" => EntryOutput::Env,
                    _ => EntryOutput::Text,
                },
            },
            "remove" => Action::Remove(call.argument()?),
            _ => Action::List(Output::of(call)),
        };
        Ok(Self { action, config: call.path("config"), data: data_folder(call) })
    }

    /// Runs the command and returns its exit code.
    pub(super) fn run(self) -> i32 {
        let Some(config) = configuration(self.config) else { return USAGE };
        let folder = self.data;
        let creates = matches!(self.action, Action::Create { .. });
        if creates && let Err(error) = files::folder(&folder, 0o711) {
            complain(&format!("{}: {error}; use --data DIR or run as root", folder.display()));
            return FAILED;
        }
        // The absolute path, which an agent would use: it is printed for clients.
        let data = folder.canonicalize().unwrap_or(folder);
        let done = self.action.carry_out(&Access::new(&data, config.bus_port));
        // A running agent reads the accesses again at any question; another one will at its start.
        let answered = status::ask(&data).is_ok();
        match done {
            Ok(text) => {
                if creates && let Some(warning) = not_served(&data, answered) {
                    complain(&warning);
                }
                say(&text)
            }
            Err(why) => {
                complain(&why.to_string());
                FAILED
            }
        }
    }
}

impl Action {
    fn carry_out(self, access: &Access) -> Result<String, NotDone> {
        match self {
            Self::Create { name, bus, output } => {
                let made = access.create(&name, bus)?;
                if let Some(before) = &made.before {
                    complain(&changed(&name, before));
                }
                Ok(shown(&made, output))
            }
            Self::List(output) => {
                access.reload_locals();
                let names: Vec<String> = access.locals().into_keys().map(String::from).collect();
                match (access.problem(), output) {
                    (Some(why), _) => Err(NotDone::Unread(why)),
                    (None, Output::Json) => {
                        Ok(serde_json::json!({ "items": names }).to_string() + "\n")
                    }
                    (None, Output::Text) if names.is_empty() => Ok("no local access\n".into()),
                    (None, Output::Text) => Ok(names.join("\n") + "\n"),
                }
            }
            Self::Remove(name) => {
                if access.remove(&name)? {
                    Ok(format!("{name} is removed\n"))
                } else {
                    Err(NotDone::Unknown(name))
                }
            }
        }
    }
}

/// Warning that no agent serves the access just made, as far as that can be seen. None: one does.
fn not_served(data: &Path, answered: bool) -> Option<String> {
    let folder = data.display();
    if answered {
        return None;
    }
    if !data.join("identity.json").exists() {
        return Some(format!(
            "warning: {folder} is not an agent's folder yet (no identity.json): nobody serves this access before `holdfast-agent run --data {folder}` does; is it the folder that your agent is started with?"
        ));
    }
    Some(format!(
        "warning: no agent answers in {folder}: nobody serves this access before one runs there"
    ))
}

/// Message about rights that were changed.
fn changed(name: &Name, before: &Bus) -> String {
    format!(
        "the rights of {name} are changed; before, it could subscribe to {}, and publish to {}",
        topics(&before.subscribe),
        topics(&before.publish)
    )
}

fn shown(made: &Made, output: EntryOutput) -> String {
    let (entry, bus) = (&made.entry, &made.bus);
    match output {
        EntryOutput::Json => {
            let mut value = serde_json::json!(entry);
            if let Some(object) = value.as_object_mut() {
                object.insert("subscribe".into(), serde_json::json!(bus.subscribe));
                object.insert("publish".into(), serde_json::json!(bus.publish));
            }
            serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
        }
        EntryOutput::Env => {
            let lines = entry.environment();
            lines.iter().map(|(key, value)| format!("{key}={}\n", quoted(value))).collect()
        }
        EntryOutput::Text => format!(
            "mqtt       {}:{}\nusername   {}\npassword   {}\nsocket     {}\nsubscribe  {}\npublish    {}\n\n\
             mosquitto_pub -h {} -p {} -u {} -P PASSWORD -q 1 -t STREAM -m 21.5\n\
             curl --unix-socket {} -u {}:PASSWORD -H 'content-type: application/x-ndjson' --data-binary @FILE http://localhost/v1/streams/STREAM\n",
            entry.host,
            entry.port,
            entry.username,
            entry.password,
            entry.socket.display(),
            topics(&bus.subscribe),
            topics(&bus.publish),
            entry.host,
            entry.port,
            entry.username,
            entry.socket.display(),
            entry.username,
        ),
    }
}

/// Topics that the access covers, by the names that the client uses.
fn topics(filters: &[String]) -> String {
    let others: String = filters.iter().map(|filter| format!(", workloads/{filter}")).collect();
    format!("its own topics{others}")
}

/// Quotes a value for a shell.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Made {
        let scratch = tempfile::tempdir().unwrap();
        let access = Access::new(&scratch.path().join("it's"), None);
        std::fs::create_dir(access.data()).unwrap();
        let bus = Bus { subscribe: vec!["sensors/+".into()], publish: Vec::new() };
        access.create(&"viewer".parse().unwrap(), bus).unwrap()
    }

    #[test]
    fn rights_are_shown_however_it_is_shown() {
        let made = made();
        let text = shown(&made, EntryOutput::Text);
        assert!(text.contains("subscribe  its own topics, workloads/sensors/+\n"), "{text}");
        assert!(text.contains("publish    its own topics\n"), "{text}");
        let json: serde_json::Value =
            serde_json::from_str(&shown(&made, EntryOutput::Json)).unwrap();
        assert_eq!(json["subscribe"], serde_json::json!(["sensors/+"]));
        assert_eq!(json["publish"], serde_json::json!([]));
        let said = changed(&"viewer".parse().unwrap(), &made.bus);
        assert!(said.contains("workloads/sensors/+"), "{said}");
    }

    #[test]
    fn a_shell_reads_the_environment() {
        let made = made();
        let script = shown(&made, EntryOutput::Env)
            + "printf '%s\\n' \"$HOLDFAST_MQTT_HOST\" \"$HOLDFAST_MQTT_PORT\" \"$HOLDFAST_MQTT_USERNAME\" \"$HOLDFAST_MQTT_PASSWORD\" \"$HOLDFAST_SOCKET\" \"$HOLDFAST_MQTT_SOCKET\"";
        let ran = std::process::Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
        let values: Vec<String> =
            made.entry.environment().into_iter().map(|(_, value)| value).collect();
        let read = String::from_utf8(ran.stdout).unwrap();
        assert_eq!(read.lines().collect::<Vec<_>>(), values, "{script}");
    }

    #[test]
    fn whoever_is_served_by_nobody_is_warned() {
        let scratch = tempfile::tempdir().unwrap();
        let warned = not_served(scratch.path(), false).unwrap_or_default();
        assert!(warned.contains("no identity.json"), "{warned}");
        std::fs::write(scratch.path().join("identity.json"), "{}").unwrap();
        let warned = not_served(scratch.path(), false).unwrap_or_default();
        assert!(warned.contains("no agent answers"), "{warned}");
        assert_eq!(not_served(scratch.path(), true), None);
    }
}
