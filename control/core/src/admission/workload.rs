//! Form of `Workload` documents. Each field stands here once; the decoder and the JSON Schema come
//! from it.
//!
//! See decisions 0103 and 0147.

use std::collections::BTreeMap;

use holdfast_base::ids::Digest;
use holdfast_protocol::container::MountFrom;
use holdfast_protocol::workload::{
    Artifact, Bus, Executable, Health, Process, Resources, Restart, RestartPolicy, Run, Stop,
    Windows, WorkloadSpec,
};

use serde_json::{Value, json};

use super::Stored;
use super::at::{At, Quantity, Words};
use super::command::{MAX_PATH, args, is_short_enough};
use super::container::container;
use super::document::devices;
use super::environment::{Env, Names, env};
use super::fields::Fields;
use super::group::group;
use super::quantities::{CPU, SIZE};
use super::{parts, references, windows};
use crate::secrets::references::{OnChange, References, Source};
use holdfast_api::selector::Selector;
use holdfast_api::units;

/// Longest `workdir` below the workload's folder, in bytes. The agent puts that folder in front.
const MAX_WORKDIR: usize = 1_024;
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

/// Decodes the spec of a `Workload`. `None` if faults were noted.
pub(crate) fn spec(
    at: &At<'_>,
    stored: &Stored<'_>,
) -> Option<(Selector, WorkloadSpec, References)> {
    at.object("Program of the workload, and choice of its devices.", "", |spec| {
        let devices = spec.required(
            "devices",
            "Devices that run the workload: `all`, or a selector of labels. An empty selector is refused.",
            "which devices run it, such as { matchLabels: { role: gateway } }",
            devices,
        );
        let run = spec.required(
            "run",
            "Program that the devices run.",
            "what they run, such as { process: { path: /bin/sleep, args: [\"1000\"] } }",
            |at| run(at, stored),
        );
        let config = spec.or(
            "config",
            "Files to write into the workload's folder before it starts: relative path to text, at most 128 KiB in total. A changed file makes a new revision.",
            BTreeMap::new(),
            |at| Some(parts::config(at)),
        );
        let resources = spec.or(
            "resources",
            "Limits on CPU, memory and processes. Default: unlimited.",
            Resources::default(),
            resources,
        );
        let restart = spec.or(
            "restart",
            "Restart of the workload after it has ended.",
            Restart::default(),
            restart,
        );
        let health = spec.maybe(
            "health",
            "Health probe of the workload. Default: it counts as healthy while it runs.",
            parts::health,
        );
        let stop = spec.or("stop", "Way in which the workload is stopped.", Stop::default(), stop);
        if let Some(config) = &config {
            workdir_beside_config(at, config);
        }
        let (files, on_change) = files(spec, config.as_ref());
        let bus = spec.or(
            "bus",
            "Permissions on the device's local bus beyond the workload's own topics. Default: none.",
            Bus::default(),
            parts::bus,
        );
        let windows = spec.or(
            "windows",
            "Times at which devices download a revision, and turn to it. Default: at any time.",
            Windows::default(),
            windows::windows,
        );
        let (Program { run, health: members, env }, health, config) = (run?, health?, config?);
        let health = whose(spec, &run, health, members)?;
        let files = files?;
        mounted(spec, &run, |path| is_laid(path, config.keys()) || is_laid(path, files.keys()))?;
        let spec = WorkloadSpec {
            run,
            config,
            resources: resources?,
            restart: restart?,
            health,
            stop: stop?,
            bus: bus?,
            windows: windows?,
        };
        let references = References { env, files, on_change: on_change? };
        Some((devices?, spec, references))
    })
}

/// Asks for the fields about secrets and configurations: files that have their values, and what a
/// changed value does. `config` are the files of `spec.config`.
fn files(
    spec: &Fields<'_>,
    config: Option<&BTreeMap<String, String>>,
) -> (Option<BTreeMap<String, Source>>, Option<OnChange>) {
    let files = spec.or(
        "files",
        "Files with values of secrets and configurations, written into the workload's folder before it starts: relative path to `{ secret: NAME, key: KEY }`, `{ config: NAME, key: KEY }` or `{ template: … }`. They reach the device sealed.",
        BTreeMap::new(),
        references::files,
    );
    if let (Some(files), Some(config)) = (&files, config)
        && let Some(at) = spec.get("files")
    {
        references::beside_config(&at, files, config);
    }
    let on_change = spec.or(
        "onSecretChange",
        "Reaction to a changed value of a secret, a configuration or a label: `restart`, or `{ signal: SIGHUP }`. Default: `restart`.",
        OnChange::Restart,
        references::on_change,
    );
    (files, on_change)
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

/// What is run, as it stands in a document.
struct Program {
    run: Run,
    /// Probe of all containers of a group.
    health: Option<Health>,
    env: Env,
}

fn run(at: &At<'_>, stored: &Stored<'_>) -> Option<Program> {
    at.object("Type of the program.", "", |fields| {
        let forms = [
            ("process", "Process of the device's operating system."),
            ("container", "Container of the device's engine."),
            ("group", "Several containers as one workload."),
        ];
        fields.one_of("what to run", &forms, |which, at| match which {
            "process" => {
                let (process, env) = process(at, stored)?;
                Some(Program { run: Run::Process(process), health: None, env })
            }
            "container" => {
                let (container, env) = container(at, stored)?;
                Some(Program { run: Run::Container(Box::new(container)), health: None, env })
            }
            _ => {
                let (group, health, env) = group(at, stored)?;
                Some(Program { run: Run::Group(Box::new(group)), health, env })
            }
        })
    })
}

/// Returns the probe of the workload: that of the document, or of a group that of its containers.
/// `None` if a fault was noted.
fn whose(
    spec: &Fields<'_>,
    run: &Run,
    own: Option<Health>,
    members: Option<Health>,
) -> Option<Option<Health>> {
    if matches!(run, Run::Group(_)) {
        if let Some(at) = spec.get("health") {
            at.fault("a group has no probe of its own: give each of its containers one, as health");
            return None;
        }
        return Some(members);
    }
    Some(own)
}

/// True if a path is that of a file, or of a folder with one in it.
fn is_laid<'a>(path: &str, mut files: impl Iterator<Item = &'a String>) -> bool {
    files.any(|file| {
        file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Notes a fault for each file that a container is to see and nothing lays. `None` if there is one.
fn mounted(spec: &Fields<'_>, run: &Run, is_laid: impl Fn(&str) -> bool) -> Option<()> {
    let mounts = run.containers().flat_map(|container| &container.mounts);
    let mut good = true;
    for mount in mounts {
        if let MountFrom::Files(path) = &mount.from
            && !is_laid(path)
            && let Some(at) = spec.get("run")
        {
            good = false;
            at.fault(format!("{} mounts the file {path:?}, which stands neither in spec.config nor in spec.files", mount.path));
        }
    }
    good.then_some(())
}

fn process(at: &At<'_>, stored: &Stored<'_>) -> Option<(Process, Env)> {
    let about = "Process that executes either an artifact or a path, without a shell.";
    at.object(about, "", |fields| {
        let forms = [
            ("artifact", "Digest of an artifact, as `holdfast artifact push FILE` prints it."),
            ("path", "Absolute path of a program on the device."),
        ];
        let executable =
            fields.one_of("what a process executes", &forms, |which, at| match which {
                "artifact" => artifact(at, stored).map(Executable::Artifact),
                _ => absolute_path(at).map(Executable::Path),
            });
        let args = fields.or("args", "Arguments after the name of the program.", Vec::new(), |at| {
            Some(args(at))
        });
        let env = fields.or(
            "env",
            "Environment variables: a text, `{ secret: NAME, key: KEY }`, `{ config: NAME, key: KEY }` or `{ template: … }`. Names that begin with `HOLDFAST_` are reserved.",
            Default::default(),
            |at| Some(env(at, Names::OfShells)),
        );
        let user = fields.maybe(
            "user",
            "User name or number that the process runs as. Default: an unprivileged user of the workload's own.",
            user,
        );
        let workdir = fields.maybe(
            "workdir",
            "Working folder: an absolute path, or one below the workload's folder. Default: the workload's folder.",
            workdir,
        );
        let (executable, args, (env, references)) = (executable?, args?, env?);
        let process = Process { executable, args, env, user: user?, workdir: workdir? };
        Some((process, references))
    })
}

fn artifact(at: &At<'_>, stored: &Stored<'_>) -> Option<Artifact> {
    at.put("pattern", "^sha256:[0-9a-fA-F]{64}$");
    let digest = at.parsed(str::parse::<Digest>)?;
    let Some(size) = (stored.artifact_size)(&digest) else {
        at.refuse("unknown artifact; push it first: holdfast artifact push FILE");
        return None;
    };
    Some(Artifact { digest, size })
}

fn absolute_path(at: &At<'_>) -> Option<String> {
    at.put("pattern", "^/");
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

fn user(at: &At<'_>) -> Option<String> {
    at.put("anyOf", json!([{ "type": "string" }, { "type": "integer", "minimum": 0 }]));
    if at.node().is_some() {
        return None;
    }
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
    at.object("Limits on what a workload may use.", "", |fields| {
        // Numbers without a unit need no quotes: `cpu: 1.5`, `memory: 1048576`.
        let cpu = fields.maybe(
            "cpu",
            "Limit of CPU time: cores (`1.5`) or thousandths of one (`500m`).",
            |at| {
                let form = Quantity { parse: units::cpu, pattern: CPU, bare: "number" };
                let millis = at.quantity(&form)?;
                (millis > 0).then_some(millis).or_else(|| {
                    at.refuse(
                        "nothing could run with no processor time; leave it out for no limit",
                    );
                    None
                })
            },
        );
        let memory = fields.maybe(
            "memory",
            "Limit of memory: bytes, or a number with `Ki`, `Mi`, `Gi`, `k`, `M` or `G` (`64Mi`).",
            |at| {
                let bytes = at.quantity(&SIZE)?;
                (bytes >= LEAST_MEMORY).then_some(bytes).or_else(|| {
                    at.refuse(format!(
                        "{bytes} bytes are too few for any program; did you mean Mi?"
                    ));
                    None
                })
            },
        );
        // 4,194,304 is the kernel's largest number of processes.
        let pids = fields.maybe("pids", "Limit on the number of processes and threads.", |at| {
            u32::try_from(at.whole(1, 4_194_304)?).ok()
        });
        Some(Resources { cpu_millis: cpu?, memory_bytes: memory?, pids: pids? })
    })
}

const RESTARTS: Words<'static, RestartPolicy> = Words {
    about: "Condition of a restart after the workload has ended.",
    what: "policy",
    list: &[
        ("always", "The workload is always started again.", RestartPolicy::Always),
        (
            "on-failure",
            "The workload is started again if it ended with a non-zero code or by a signal.",
            RestartPolicy::OnFailure,
        ),
        ("never", "The workload is never started again.", RestartPolicy::Never),
    ],
    or: &[],
};

fn restart(at: &At<'_>) -> Option<Restart> {
    at.object("Restart of a workload after it has ended.", "", |fields| {
        let usual = Restart::default();
        let about = "Condition of a restart. Default: `always`.";
        let policy = fields.or("policy", about, usual.policy, |at| at.word(&RESTARTS));
        let waits = fields.or("backoff", "Waiting time before a restart.", (None, None), backoff);
        let (initial, max) = waits?;
        let backoff_initial_ms =
            initial.unwrap_or(usual.backoff_initial_ms.min(max.unwrap_or(u64::MAX)));
        let backoff_max_ms = max.unwrap_or(usual.backoff_max_ms.max(backoff_initial_ms));
        if backoff_initial_ms > backoff_max_ms {
            fields.get("backoff")?.fault("initial is longer than max");
            return None;
        }
        Some(Restart { policy: policy?, backoff_initial_ms, backoff_max_ms })
    })
}

/// Decodes the first and the longest waiting time, in milliseconds.
fn backoff(at: &At<'_>) -> Option<(Option<u64>, Option<u64>)> {
    let about = "Waiting time before a restart. It doubles from `initial` up to `max`.";
    let wait = |at: &At<'_>| at.duration(SHORTEST_BACKOFF, LONGEST_BACKOFF);
    at.object(about, "", |fields| {
        let initial = "First waiting time, at least `10ms`. Default: `1s`.";
        let initial = fields.maybe("initial", initial, wait);
        let max = fields.maybe("max", "Longest waiting time, at most `24h`. Default: `1m`.", wait);
        Some((initial?, max?))
    })
}

fn stop(at: &At<'_>) -> Option<Stop> {
    at.object("Way in which a workload is stopped.", "", |fields| {
        let usual = Stop::default();
        let signal = fields.or(
            "signal",
            "Signal that is sent to the process group, by name or number. Default: `SIGTERM`.",
            usual.signal,
            |at| at.quantity(&Quantity { parse: units::signal, pattern: "", bare: "integer" }),
        );
        let grace = fields.or(
            "grace",
            "Time after the signal until remaining processes are killed, at most `1h`. Default: `10s`.",
            usual.grace_ms,
            |at| at.duration(0, LONGEST_GRACE),
        );
        Some(Stop { signal: signal?, grace_ms: grace? })
    })
}
