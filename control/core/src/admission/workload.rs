//! Decodes `Workload` documents. The names of fields are constants here; `documents.rs` describes
//! the same fields for editors, and a test compares both.
//!
//! See decision 0103.

use std::collections::BTreeMap;

use holdfast_base::ids::{Digest, Labels, Name, check_label_key, check_label_value};
use holdfast_protocol::workload::{
    Artifact, Bus, Executable, Process, Resources, Restart, RestartPolicy, Run, Stop, WorkloadSpec,
};

use serde_json::Value;

use super::decode::At;
use super::parts;
use super::{Admitted, What};
use holdfast_api::selector::{ALL, Expression, Operator, Selector};
use holdfast_api::units;

/// Most labels of a document, as of a device.
const MAX_LABELS: usize = 64;
/// Most arguments, and most environment variables.
const MAX_WORDS: usize = 1_000;
/// Longest path of Linux, and so longest `path` and `workdir`, in bytes.
const MAX_PATH: usize = 4_095;
/// Longest name of a file or folder in Linux file systems, in bytes.
const MAX_FILE_NAME: usize = 255;
/// Longest `workdir` below the workload's folder, in bytes. The agent puts that folder in front.
const MAX_WORKDIR: usize = 1_024;
/// Longest argument or variable (`NAME=VALUE`) including its final NUL, in bytes: 32 pages of 4 KiB
/// (`MAX_ARG_STRLEN`). A document is too small to reach the kernel's bound on all of them together,
/// a quarter of the stack's limit, which is 2 MiB.
const MAX_WORD: usize = 131_072;
/// Longest user name that Linux tools create, in bytes.
const MAX_USER: usize = 32;
/// Least limit of memory, in bytes. Less than this no program starts with, so it is a slip such as
/// `64m` or `64`.
const LEAST_MEMORY: u64 = 64 * 1024;
/// Longest wait before a restart, in milliseconds: a day. For a longer one there is `never`.
const LONGEST_BACKOFF: u64 = 24 * 3_600_000;
/// Shortest wait before a restart, in milliseconds. A shorter one would be a busy loop.
const SHORTEST_BACKOFF: u64 = 10;
/// Longest grace, in milliseconds: an hour. Until it is over, the device cannot start the next
/// revision.
const LONGEST_GRACE: u64 = 3_600_000;

/// Prefix of reserved environment variables. By these the agent tells workloads about themselves
/// and recognizes their processes.
const OWN_ENV: &str = "HOLDFAST_";

pub(super) const DOCUMENT: &[&str] = &["apiVersion", "kind", "metadata", "spec"];
const METADATA: &[&str] = &["name", "labels", "resourceVersion"];
const SPEC: &[&str] =
    &["devices", "run", "config", "resources", "restart", "health", "stop", "bus"];
const DEVICES: &[&str] = &["matchLabels", "matchExpressions"];
const EXPRESSION: &[&str] = &["key", "operator", "values"];
const RUN: &[&str] = &["process"];
const PROCESS: &[&str] = &["artifact", "path", "args", "env", "user", "workdir"];
const RESOURCES: &[&str] = &["cpu", "memory", "pids"];
const RESTART: &[&str] = &["policy", "backoff"];
const BACKOFF: &[&str] = &["initial", "max"];
const STOP: &[&str] = &["signal", "grace"];

type ArtifactSize<'f> = &'f dyn Fn(&Digest) -> Option<u64>;

/// Decodes a document of any kind, with `decode` for its spec. `what` completes "is missing: ".
/// `None` if faults were noted.
pub(super) fn document(
    at: &At<'_>,
    what: &str,
    decode: impl FnOnce(&At<'_>) -> Option<(Selector, What)>,
) -> Option<Admitted> {
    let document = at.fields(DOCUMENT)?;
    let named = document.required("metadata", "it holds the name").and_then(|at| metadata(&at));
    let spec_at = document.required("spec", what);
    let written = spec_at.as_ref().map(At::value).cloned();
    let decoded = spec_at.and_then(|at| decode(&at));
    let (named, (devices, what), written) = (named?, decoded?, written?);
    let Named { name, labels, resource_version } = named;
    Some(Admitted { name, labels, resource_version, devices, what, written })
}

struct Named {
    name: Name,
    labels: Labels,
    resource_version: Option<u64>,
}

fn metadata(at: &At<'_>) -> Option<Named> {
    let metadata = at.fields(METADATA)?;
    let name = metadata
        .required("name", "everything has one")
        .and_then(|at| at.parsed(str::parse::<Name>));
    let labels = metadata.get("labels").map(|at| labels(&at)).unwrap_or_default();
    let resource_version = match metadata.get("resourceVersion") {
        Some(at) => Some(at.whole(0, u64::MAX)?),
        None => None,
    };
    Some(Named { name: name?, labels, resource_version })
}

/// Decodes labels. Faults are noted, and labels with a faulty value left out.
fn labels(at: &At<'_>) -> Labels {
    let entries = at.entries();
    if entries.len() > MAX_LABELS {
        at.fault(format!("{} labels, at most {MAX_LABELS}", entries.len()));
        return Labels::new();
    }
    let mut labels = Labels::new();
    for (key, at) in entries {
        if let Err(why) = check_label_key(key) {
            at.fault(why.to_string());
        }
        if let Some(value) = at.parsed(|value| check_label_value(value).map(|()| value.to_owned()))
        {
            labels.insert(key.to_owned(), value);
        }
    }
    labels
}

pub(super) fn spec(
    at: &At<'_>,
    artifact_size: ArtifactSize<'_>,
) -> Option<(Selector, WorkloadSpec)> {
    let spec = at.fields(SPEC)?;
    let devices = spec
        .required("devices", "which devices run it, such as { matchLabels: { role: gateway } }")
        .and_then(|at| devices(&at));
    let run = spec
        .required(
            "run",
            "what they run, such as { process: { path: /bin/sleep, args: [\"1000\"] } }",
        )
        .and_then(|at| run(&at, artifact_size));
    let config = spec.get("config").map(|at| parts::config(&at)).unwrap_or_default();
    let resources = spec.get("resources").map_or(Some(Resources::default()), |at| resources(&at));
    let restart = spec.get("restart").map_or(Some(Restart::default()), |at| restart(&at));
    let health = spec.get("health").map_or(Some(None), |at| parts::health(&at).map(Some));
    let stop = spec.get("stop").map_or(Some(Stop::default()), |at| stop(&at));
    workdir_beside_config(at, &config);
    let bus = spec.get("bus").map_or(Some(Bus::default()), |at| parts::bus(&at));
    let spec = WorkloadSpec {
        run: run?,
        config,
        resources: resources?,
        restart: restart?,
        health: health?,
        stop: stop?,
        bus: bus?,
    };
    Some((devices?, spec))
}

/// Notes a fault if the working folder, or a folder above it, is a configuration file.
fn workdir_beside_config(at: &At<'_>, config: &BTreeMap<String, String>) {
    let pointer = "/run/process/workdir";
    let Some(workdir) = at.value().pointer(pointer).and_then(Value::as_str) else { return };
    if workdir.starts_with('/') {
        return;
    }
    let parts = workdir.split('/').filter(|part| !matches!(*part, "" | "."));
    let mut folder = String::new();
    for part in parts {
        if !folder.is_empty() {
            folder.push('/');
        }
        folder.push_str(part);
        if config.contains_key(&folder) {
            at.below("run.process.workdir", format!(
                "{workdir:?} needs {folder:?} to be a folder, and spec.config[{folder:?}] lays a file there: \
                 rename one of them"
            ));
            return;
        }
    }
}

pub(super) fn devices(at: &At<'_>) -> Option<Selector> {
    if let Value::String(word) = at.value() {
        if word == ALL {
            return Some(Selector::default());
        }
        at.refuse("the only word here is all, for every device; others are chosen by matchLabels, matchExpressions");
        return None;
    }
    let fields = at.fields(DEVICES)?;
    let match_labels = fields.get("matchLabels").map(|at| labels(&at)).unwrap_or_default();
    let expressions = fields.get("matchExpressions").map(|at| at.items()).unwrap_or_default();
    if expressions.len() > MAX_LABELS {
        at.fault(format!("{} expressions, at most {MAX_LABELS}", expressions.len()));
    }
    let written = expressions.len();
    let match_expressions: Vec<Expression> =
        expressions.iter().take(MAX_LABELS).filter_map(expression).collect();
    let said_something =
        fields.get("matchLabels").is_some_and(|at| at.value() != &serde_json::json!({}));
    if !said_something && written == 0 {
        at.fault("an empty selector chooses no device; to choose every device write devices: all");
        return None;
    }
    Some(Selector { match_labels, match_expressions })
}

fn expression(at: &At<'_>) -> Option<Expression> {
    let fields = at.fields(EXPRESSION)?;
    let key = fields
        .required("key", "the label's key")
        .and_then(|at| at.parsed(|key| check_label_key(key).map(|()| key.to_owned())));
    let operator = fields
        .required("operator", "In, NotIn, Exists or DoesNotExist")
        .and_then(|at| at.parsed(operator));
    let values: Option<Vec<String>> = fields.get("values").map(|at| {
        let items = at.items();
        items
            .iter()
            .filter_map(|at| at.parsed(|value| check_label_value(value).map(|()| value.to_owned())))
            .collect()
    });
    let operator = operator?;
    let wants_values = matches!(operator, Operator::In | Operator::NotIn);
    let count = fields.get("values").map_or(0, |at| at.value().as_array().map_or(0, Vec::len));
    if wants_values && count == 0 {
        at.missing("values", &format!("{operator:?} compares with at least one"));
        return None;
    }
    if !wants_values && count > 0 {
        fields.get("values")?.fault(format!("{operator:?} takes no values"));
        return None;
    }
    Some(Expression { key: key?, operator, values: values.unwrap_or_default() })
}

fn operator(text: &str) -> Result<Operator, &'static str> {
    match text {
        "In" => Ok(Operator::In),
        "NotIn" => Ok(Operator::NotIn),
        "Exists" => Ok(Operator::Exists),
        "DoesNotExist" => Ok(Operator::DoesNotExist),
        _ => Err("unknown operator; there are In, NotIn, Exists and DoesNotExist"),
    }
}

fn run(at: &At<'_>, artifact_size: ArtifactSize<'_>) -> Option<Run> {
    let process = |_, at: &At<'_>| process(at, artifact_size).map(Run::Process);
    at.fields(RUN)?.one_of(RUN, "what to run", process)
}

fn process(at: &At<'_>, artifact_size: ArtifactSize<'_>) -> Option<Process> {
    let fields = at.fields(PROCESS)?;
    let executable =
        fields.one_of(&["artifact", "path"], "what a process executes", |which, at| match which {
            "artifact" => artifact(at, artifact_size).map(Executable::Artifact),
            _ => absolute_path(at).map(Executable::Path),
        });
    let args = fields.get("args").map(|at| args(&at)).unwrap_or_default();
    let env = fields.get("env").map(|at| env(&at)).unwrap_or_default();
    let user = fields.get("user").map_or(Some(None), |at| user(&at).map(Some));
    let workdir = fields.get("workdir").map_or(Some(None), |at| workdir(&at).map(Some));
    Some(Process { executable: executable?, args, env, user: user?, workdir: workdir? })
}

fn artifact(at: &At<'_>, artifact_size: ArtifactSize<'_>) -> Option<Artifact> {
    let digest = at.parsed(str::parse::<Digest>)?;
    let Some(size) = artifact_size(&digest) else {
        at.refuse("unknown artifact; push it first: holdfast artifact push FILE");
        return None;
    };
    Some(Artifact { digest, size })
}

fn absolute_path(at: &At<'_>) -> Option<String> {
    let path = at.text_without_nul()?;
    if !path.starts_with('/') || path.ends_with('/') {
        at.refuse("not the absolute path of a program on the device, such as /usr/bin/node");
        return None;
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        at.refuse("a folder, and no program");
        return None;
    }
    is_short_enough(at, path, MAX_PATH).then(|| path.to_owned())
}

/// Notes a fault if Linux cannot open a path because of its length. Returns false then.
fn is_short_enough(at: &At<'_>, path: &str, most: usize) -> bool {
    if path.len() > most {
        at.refuse(format!("{} bytes, longer than the {most} that are taken here", path.len()));
        return false;
    }
    if let Some(long) = path.split('/').find(|part| part.len() > MAX_FILE_NAME) {
        let count = long.len();
        at.refuse(format!(
            "a name in it has {count} bytes, longer than the {MAX_FILE_NAME} of Linux file systems"
        ));
        return false;
    }
    true
}

/// Notes a fault if Linux cannot execute a program with this argument or variable because of its
/// length. `name` is the number of bytes before the value, including the `=`.
fn fits(at: &At<'_>, name: usize, value: &str) {
    let count = name + value.len() + 1;
    if count > MAX_WORD {
        let counted = if name > 0 { "NAME=, value" } else { "argument" };
        at.fault(format!(
            "{count} bytes ({counted} and the NUL behind it): Linux executes nothing with more than \
             {MAX_WORD}; lay it as a file by spec.config, or push it as an artifact"
        ));
    }
}

/// Decodes a list of words, such as arguments of a program.
pub(super) fn args(at: &At<'_>) -> Vec<String> {
    let items = at.items();
    if items.len() > MAX_WORDS {
        at.fault(format!("{} of them, at most {MAX_WORDS}", items.len()));
        return Vec::new();
    }
    let word = |at: &At<'_>| {
        let word = at.text_without_nul()?;
        fits(at, 0, word);
        Some(word.to_owned())
    };
    items.iter().filter_map(word).collect()
}

/// Notes a fault if Linux cannot open a program because of the length of its path.
pub(super) fn openable(at: &At<'_>) {
    if let Value::String(path) = at.value() {
        is_short_enough(at, path, MAX_PATH);
    }
}

fn env(at: &At<'_>) -> BTreeMap<String, String> {
    let entries = at.entries();
    if entries.len() > MAX_WORDS {
        at.fault(format!("{} variables, at most {MAX_WORDS}", entries.len()));
        return BTreeMap::new();
    }
    let mut env = BTreeMap::new();
    for (key, at) in entries {
        let first = key.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !first || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            at.fault("not a variable's name: use letters, digits and '_', no digit first");
        } else if key.starts_with(OWN_ENV) {
            at.fault("variables that begin with HOLDFAST_ are the agent's own");
        }
        if let Some(value) = at.text_without_nul() {
            fits(&at, key.len() + 1, value);
            env.insert(key.to_owned(), value.to_owned());
        }
    }
    env
}

fn user(at: &At<'_>) -> Option<String> {
    if let Some(number) = at.value().as_u64() {
        // 2^32 - 1 means "no user" to the kernel, so it is refused.
        if number < u64::from(u32::MAX) {
            return Some(number.to_string());
        }
    }
    if at.value().is_number() {
        at.refuse(format!("not a user's number: it is 0 to {}", u32::MAX - 1));
        return None;
    }
    let user = at.text()?;
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let number = user.bytes().all(|b| b.is_ascii_digit());
    let good = !user.is_empty()
        && user.len() <= MAX_USER
        && !user.starts_with('-')
        && user.bytes().all(inner)
        && (!number || user.parse::<u32>().is_ok_and(|uid| uid != u32::MAX));
    if !good {
        at.refuse("not a user's name or number");
        return None;
    }
    Some(user.to_owned())
}

fn workdir(at: &At<'_>) -> Option<String> {
    let path = at.text_without_nul()?;
    let absolute = path.starts_with('/');
    if path.is_empty() || (!absolute && path.split('/').any(|part| part == "..")) {
        at.refuse("not a folder: give an absolute path, or one below the workload's own folder (no \"..\")");
        return None;
    }
    let most = if absolute { MAX_PATH } else { MAX_WORKDIR };
    is_short_enough(at, path, most).then(|| path.to_owned())
}

fn resources(at: &At<'_>) -> Option<Resources> {
    let fields = at.fields(RESOURCES)?;
    // Numbers without a unit need no quotes: `cpu: 1.5`, `memory: 1048576`.
    let cpu = fields.get("cpu").map_or(Some(None), |at| {
        let millis = at.quantity(units::cpu)?;
        (millis > 0).then_some(Some(millis)).or_else(|| {
            at.refuse("nothing could run with no processor time; leave it out for no limit");
            None
        })
    });
    let memory = fields.get("memory").map_or(Some(None), |at| {
        let bytes = at.quantity(units::memory)?;
        (bytes >= LEAST_MEMORY).then_some(Some(bytes)).or_else(|| {
            at.refuse(format!("{bytes} bytes are too few for any program; did you mean Mi?"));
            None
        })
    });
    // 4,194,304 is the kernel's largest number of processes.
    let pids = fields.get("pids").map_or(Some(None), |at| at.whole(1, 4_194_304).map(Some));
    let pids = pids?.map(u32::try_from).transpose().ok()?;
    Some(Resources { cpu_millis: cpu?, memory_bytes: memory?, pids })
}

fn restart(at: &At<'_>) -> Option<Restart> {
    let fields = at.fields(RESTART)?;
    let usual = Restart::default();
    let policy = fields.get("policy").map_or(Some(usual.policy), |at| {
        at.parsed(|text| match text {
            "always" => Ok(RestartPolicy::Always),
            "on-failure" => Ok(RestartPolicy::OnFailure),
            "never" => Ok(RestartPolicy::Never),
            _ => Err("unknown policy; there are always, on-failure and never"),
        })
    });
    let backoff = fields.get("backoff").map_or(Some((None, None)), |at| {
        let fields = at.fields(BACKOFF)?;
        let wait = |key: &str| {
            let Some(at) = fields.get(key) else { return Some(None) };
            at.duration(SHORTEST_BACKOFF, LONGEST_BACKOFF).map(Some)
        };
        let (initial, max) = (wait("initial"), wait("max"));
        Some((initial?, max?))
    });
    let (initial, max) = backoff?;
    let backoff_initial_ms =
        initial.unwrap_or(usual.backoff_initial_ms.min(max.unwrap_or(u64::MAX)));
    let backoff_max_ms = max.unwrap_or(usual.backoff_max_ms.max(backoff_initial_ms));
    if backoff_initial_ms > backoff_max_ms {
        fields.get("backoff")?.fault("initial is longer than max");
        return None;
    }
    Some(Restart { policy: policy?, backoff_initial_ms, backoff_max_ms })
}

fn stop(at: &At<'_>) -> Option<Stop> {
    let fields = at.fields(STOP)?;
    let usual = Stop::default();
    let signal = fields.get("signal").map_or(Some(usual.signal), |at| at.quantity(units::signal));
    let grace =
        fields.get("grace").map_or(Some(usual.grace_ms), |at| at.duration(0, LONGEST_GRACE));
    Some(Stop { signal: signal?, grace_ms: grace? })
}
