//! What an engine says of containers: the state of one, how it ended, and what of this agent's
//! workloads is there.
//!
//! See decision 0175.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use serde_json::Value;

use super::marks::Mark;
use super::{Part, handle};
use crate::runtime::{Found, Known, Role};
use crate::saved::Exit;

/// Exit code that Docker gives a container whose end it did not see, as after a power cut.
const UNSEEN: i32 = 255;
/// Exit codes above this one stand for a signal: 137 is SIGKILL.
const SIGNALLED: i32 = 128;

/// State of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It was made and never started; after a reboot Podman says so of what ran before it, too.
    Created,
    /// It runs, or is paused; with the id of its main process, 0 where none is told.
    Running(u32),
    /// It has ended.
    Ended {
        /// Exit code.
        code: i32,
        /// True if the kernel ended it for its limit of memory.
        out_of_memory: bool,
    },
    /// It is between two states, and there is an event to come.
    Between,
}

/// Reads the words of the engines for states.
fn word(state: &str) -> Option<fn(&Value) -> State> {
    Some(match state {
        "created" | "configured" | "initialized" => |_| State::Created,
        "running" | "paused" => |state| {
            let pid = state.get("Pid").and_then(Value::as_u64);
            State::Running(pid.and_then(|it| u32::try_from(it).ok()).unwrap_or(0))
        },
        "exited" | "stopped" | "dead" => |state| State::Ended {
            code: number(state.get("ExitCode")),
            out_of_memory: state.get("OOMKilled").and_then(Value::as_bool).unwrap_or(false),
        },
        "removing" | "restarting" | "stopping" => |_| State::Between,
        _ => return None,
    })
}

fn number(value: Option<&Value>) -> i32 {
    let number = value.and_then(Value::as_i64).and_then(|it| i32::try_from(it).ok());
    number.unwrap_or(UNSEEN)
}

/// State of a container, from the answer to `GET /containers/ID/json`.
pub fn state(inspected: &Value) -> State {
    let Some(state) = inspected.get("State") else { return State::Between };
    let read = state.get("Status").and_then(Value::as_str).and_then(word);
    match read {
        Some(read) => read(state),
        // An engine with words of its own.
        None if state.get("Running").and_then(Value::as_bool) == Some(true) => {
            State::Running(u32::try_from(number(state.get("Pid"))).unwrap_or(0))
        }
        None => State::Between,
    }
}

/// True if a container is paused: it takes no signal until it goes on.
pub fn is_paused(inspected: &Value) -> bool {
    let paused = inspected.get("State").and_then(|it| it.get("Paused"));
    paused.and_then(Value::as_bool).unwrap_or(false)
}

/// What events have told of a container's end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Noted {
    /// Exit code of its last end.
    pub code: Option<i32>,
    /// The kernel ended it for its limit of memory.
    pub out_of_memory: bool,
    /// Somebody other than this agent sent it a signal.
    pub by_hand: bool,
}

/// End of a container. `state`: what the engine says; `None`: the container is gone. `None`: it has
/// not ended.
pub fn exit(state: Option<State>, noted: Noted, same_boot: bool) -> Option<Exit> {
    let (code, out_of_memory) = match state {
        Some(State::Ended { code, out_of_memory }) => (Some(code), out_of_memory),
        None => (noted.code, false),
        Some(_) => return None,
    };
    Some(match code {
        // What an engine says of a container that a power cut has ended is a guess.
        _ if !same_boot => Exit::Unseen,
        _ if out_of_memory || noted.out_of_memory => Exit::OutOfMemory,
        Some(code) if noted.by_hand => Exit::ByHand(code),
        Some(UNSEEN) | None => Exit::Unseen,
        Some(code) if code > SIGNALLED && code <= SIGNALLED + 64 => Exit::Signal(code - SIGNALLED),
        Some(code) => Exit::Code(code),
    })
}

/// Container of this agent, as a list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Id at the engine.
    pub id: String,
    /// What is written on it.
    pub mark: Mark,
    /// State; an end without its code.
    pub state: State,
    /// Time of its creation in seconds since 1970.
    pub created: u64,
}

impl Listed {
    /// True if it runs.
    pub fn runs(&self) -> bool {
        matches!(self.state, State::Running(_) | State::Between)
    }
}

/// Reads the answer to `GET /containers/json?all=1`; containers of others are left out.
pub fn listed(list: &Value, agent: &str) -> Vec<Listed> {
    let read = |it: &Value| {
        let mark = Mark::read(it.get("Labels")?, agent)?;
        let id = it.get("Id")?.as_str()?.to_owned();
        let state = it.get("State").and_then(Value::as_str).unwrap_or_default().to_lowercase();
        let state = word(&state).map_or(State::Between, |read| read(&Value::Null));
        let created = it.get("Created").and_then(Value::as_u64).unwrap_or(0);
        Some(Listed { id, mark, state, created })
    };
    list.as_array().into_iter().flatten().filter_map(read).collect()
}

/// Instances of this agent's workloads, for a census. `boot`: the present one.
///
/// An instance runs if all of its containers are there and none of them was left unstarted in a
/// former boot. One that has ended in this boot counts as well if a saved state names it: who watches
/// it is told how it ended. What remains is swept.
pub fn found(list: &[Listed], known: &[Known], boot: &str) -> Vec<Found> {
    let mut instances: BTreeMap<(&Name, u64), Vec<&Listed>> = BTreeMap::new();
    for one in list {
        instances.entry((&one.mark.workload, one.mark.nonce)).or_default().push(one);
    }
    let mut all = Vec::new();
    for ((workload, nonce), mut members) in instances {
        members.sort_by_key(|it| it.mark.member.at);
        let part = |it: &&Listed| Part { name: it.mark.member.name.clone(), id: it.id.clone() };
        let instance = handle(&members.iter().map(part).collect::<Vec<_>>(), nonce);
        let is_known = known.iter().any(|it| it.instance == instance);
        let here = members.iter().all(|it| it.mark.boot == boot);
        let whole = members.first().is_some_and(|it| it.mark.member.of == members.len());
        let runs = members.iter().any(|it| it.runs());
        let begun = members.iter().any(|it| it.state != State::Created);
        let role = match (whole, begun) {
            (true, true) if runs || (is_known && here) => Role::Main,
            (true, false) if here => Role::Prepared,
            // Of a former boot, or not whole. A saved state that names it is let go: it is swept,
            // and judged as what nobody saw end.
            _ if is_known => continue,
            _ => Role::Part,
        };
        let created = members.iter().map(|it| it.created).min().unwrap_or(0);
        let revision = members.first().map_or(0, |it| it.mark.revision);
        let order = (created, nonce);
        all.push(Found { workload: workload.clone(), revision, instance, role, order });
    }
    all
}

/// Instances to be presumed while the engine does not answer: those that saved states name.
pub fn presumed(known: &[Known]) -> Vec<Found> {
    let of_containers = known.iter().filter(|it| !super::parts(&it.instance).is_empty());
    let found = of_containers.map(|it| Found {
        workload: it.workload.clone(),
        revision: it.revision,
        instance: it.instance.clone(),
        role: Role::Main,
        order: (0, 0),
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::marks::Member;
    use super::*;

    #[test]
    fn states_of_all_engines_are_read() {
        let inspected = |status: &str| json!({ "State": { "Status": status, "Pid": 7, "ExitCode": 3, "OOMKilled": false, "New": [] } });
        let ended = State::Ended { code: 3, out_of_memory: false };
        for (status, expected) in [
            ("created", State::Created),
            ("configured", State::Created),
            ("initialized", State::Created),
            ("running", State::Running(7)),
            ("paused", State::Running(7)),
            ("exited", ended),
            ("stopped", ended),
            ("dead", ended),
            ("removing", State::Between),
            ("what-is-this", State::Between),
        ] {
            assert_eq!(state(&inspected(status)), expected, "{status}");
        }
        let odd = json!({ "State": { "Status": "up", "Running": true, "Pid": 7 } });
        assert_eq!(state(&odd), State::Running(7));
        // Numbers that are none: a health interval in nanoseconds did this to another agent.
        let odd = json!({ "State": { "Status": "exited", "ExitCode": 5_000_000_000_u64 } });
        assert_eq!(state(&odd), State::Ended { code: UNSEEN, out_of_memory: false });
        assert_eq!(state(&Value::Null), State::Between);
    }

    #[test]
    fn an_end_is_told_as_it_was() {
        let none = Noted::default();
        let ended = |code| Some(State::Ended { code, out_of_memory: false });
        let killed = Some(State::Ended { code: 137, out_of_memory: true });
        let by_hand = Noted { by_hand: true, ..none };
        let noted = Noted { code: Some(4), ..none };
        for (state, noted, same_boot, expected) in [
            (ended(0), none, true, Some(Exit::Code(0))),
            (ended(3), none, true, Some(Exit::Code(3))),
            (ended(137), none, true, Some(Exit::Signal(9))),
            (ended(255), none, true, Some(Exit::Unseen)),
            (killed, none, true, Some(Exit::OutOfMemory)),
            (ended(0), by_hand, true, Some(Exit::ByHand(0))),
            // Removed by somebody: the event told the code, or nothing did.
            (None, noted, true, Some(Exit::Code(4))),
            (None, none, true, Some(Exit::Unseen)),
            (ended(0), none, false, Some(Exit::Unseen)),
            (Some(State::Running(1)), noted, true, None),
            (Some(State::Created), none, true, None),
        ] {
            assert_eq!(exit(state, noted, same_boot), expected, "{state:?} {noted:?}");
        }
    }

    fn one(id: &str, nonce: u64, member: Member, state: State, boot: &str) -> Listed {
        let workload = "w".parse().unwrap();
        let (agent, boot) = ("a".to_owned(), boot.to_owned());
        let mark = Mark { agent, workload, revision: 2, nonce, boot, member };
        Listed { id: id.into(), mark, state, created: 5 }
    }

    fn roles(list: &[Listed], known: &[&str]) -> Vec<(String, Role)> {
        let known = known.iter().map(|id| Known {
            workload: "w".parse().unwrap(),
            revision: 2,
            instance: crate::runtime::Handle {
                runtime: crate::runtime::RuntimeKind::CONTAINER,
                id: (*id).to_owned(),
                nonce: 1,
            },
        });
        let found = found(list, &known.collect::<Vec<_>>(), "now");
        found.into_iter().map(|it| (it.instance.id, it.role)).collect()
    }

    #[test]
    fn a_census_adopts_what_runs_and_what_ended_in_this_boot() {
        let ended = State::Ended { code: 0, out_of_memory: false };
        let alone = |state, boot| [one("4f", 1, Member::alone(), state, boot)];
        for (list, known, expected) in [
            (alone(State::Running(1), "now"), vec!["4f"], Some(Role::Main)),
            (alone(State::Running(1), "then"), vec!["4f"], Some(Role::Main)),
            (alone(State::Running(1), "now"), vec![], Some(Role::Main)),
            (alone(State::Created, "now"), vec!["4f"], Some(Role::Prepared)),
            // Podman says `created` of what ran before the reboot: not certain.
            (alone(State::Created, "then"), vec!["4f"], None),
            (alone(State::Created, "then"), vec![], Some(Role::Part)),
            (alone(ended, "now"), vec!["4f"], Some(Role::Main)),
            (alone(ended, "now"), vec![], Some(Role::Part)),
            (alone(ended, "then"), vec!["4f"], None),
        ] {
            let expected: Vec<_> =
                expected.map(|role| ("4f".to_owned(), role)).into_iter().collect();
            assert_eq!(roles(&list, &known), expected, "{list:?} {known:?}");
        }
    }

    #[test]
    fn a_group_is_adopted_only_if_all_of_it_is_there() {
        let member = |at, name: &str| Member { at, of: 2, name: name.into() };
        let web = one("4f", 1, member(1, "web"), State::Running(1), "now");
        let db = one("50", 1, member(0, "db"), State::Running(1), "now");
        let whole = [web.clone(), db.clone()];
        assert_eq!(roles(&whole, &[]), [("db=50 web=4f".to_owned(), Role::Main)]);
        assert_eq!(roles(std::slice::from_ref(&web), &[]), [("web=4f".to_owned(), Role::Part)]);
        let waiting = Listed { state: State::Created, ..web };
        assert_eq!(roles(&[waiting, db], &[]), [("db=50 web=4f".to_owned(), Role::Main)]);
    }

    #[test]
    fn lists_are_read_and_containers_of_others_left_out() {
        let mark = one("4f", 1, Member::alone(), State::Created, "now").mark;
        let list = json!([
            { "Id": "4f", "Labels": mark.labels(), "State": "running", "Created": 9 },
            { "Id": "50", "Labels": { "holdfast.agent": "b" }, "State": "running" },
            { "Id": "51", "Labels": null },
            3
        ]);
        let read = listed(&list, "a");
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].id.as_str(), read[0].state), ("4f", State::Running(0)));
        assert!(listed(&Value::Null, "a").is_empty());
    }

    #[test]
    fn without_an_engine_the_saved_instances_of_containers_are_presumed() {
        let known = |runtime| Known {
            workload: "w".parse().unwrap(),
            revision: 1,
            instance: crate::runtime::Handle { runtime, id: "4f".into(), nonce: 1 },
        };
        let containers = known(crate::runtime::RuntimeKind::CONTAINER);
        let processes = known(crate::runtime::RuntimeKind::PROCESS);
        let presumed = presumed(&[containers.clone(), processes]);
        assert_eq!(presumed.len(), 1);
        assert_eq!((&presumed[0].instance, presumed[0].role), (&containers.instance, Role::Main));
    }
}
