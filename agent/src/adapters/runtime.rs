//! The process runtime: starts workloads through the launcher, watches, signals and sweeps them.
//! All its state can be found again after a restart of the agent.
//!
//! See decisions 0002 and 0010.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::ids::{Digest, Name};
use holdfast_protocol::workload::{Executable, Process, Run, WorkloadSpec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::census::{self, Census};
use super::cgroup::Cgroups;
use super::ending::Awaited;
use super::launcher::{self, Bounds, Plan};
use super::{crash, ending, folder, procfs, users};
use crate::core::effect::Observed;
use crate::core::saved::{Instance, Revision};

/// Longest time for a launcher to reach the gate; after that it is killed. A slow SD card under
/// load needs seconds.
const GATE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest error text that is read from a launcher, in bytes.
const MAX_ERROR: u64 = 1024;

/// Paths, identity and services that the runtime works with.
#[derive(Debug)]
pub struct RuntimeContext {
    /// Id of this agent, which marks its processes among those of other agents.
    pub agent: String,
    /// Name of the device, as workloads are told.
    pub device: String,
    /// Id of the current boot.
    pub boot: String,
    /// Folder that holds one folder for each workload.
    pub workloads: PathBuf,
    /// Folder of the artifacts.
    pub artifacts: PathBuf,
    /// Program and first arguments that start the launcher.
    pub launcher: Vec<std::ffi::OsString>,
    /// Control groups for resource limits, or the reason why there are none.
    pub cgroups: Result<Cgroups, String>,
    /// Soft limit of open files that the agent was started with; workloads get it back.
    pub open_files: Option<u64>,
    /// Sockets and credentials by which workloads publish data.
    pub access: Arc<super::access::Access>,
    /// Processes whose ends are waited for elsewhere, which the reaper leaves alone.
    pub awaited: Awaited,
    /// Processes that a census could not read in time.
    pub stuck: std::sync::Mutex<census::Processes>,
}

impl RuntimeContext {
    /// Path of an artifact by its digest.
    pub fn artifact(&self, digest: &Digest) -> PathBuf {
        self.artifacts.join(digest.hex())
    }

    /// Folder of a workload.
    pub fn folder(&self, name: &Name) -> PathBuf {
        self.workloads.join(name.as_str())
    }

    /// Path of a workload's log.
    pub fn log(&self, name: &Name) -> PathBuf {
        self.folder(name).join(folder::LOG)
    }
}

/// Pipes to a launcher that waits at its gate.
#[derive(Debug)]
struct Gate {
    instance: Instance,
    open: pipe::Sender,
    status: pipe::Receiver,
    /// Dropped with the gate, which lets the exit be reported: whether the workload was executed is
    /// reported first, then how it ended.
    _reported: oneshot::Sender<()>,
}

/// Runtime that starts workloads as processes of this machine.
#[derive(Debug)]
pub struct Runtime {
    context: Arc<RuntimeContext>,
    tell: mpsc::Sender<Observed>,
    gates: Arc<std::sync::Mutex<BTreeMap<Name, Gate>>>,
}

impl Runtime {
    /// Creates a runtime that reports what it observes on `tell`.
    pub fn new(context: Arc<RuntimeContext>, tell: mpsc::Sender<Observed>) -> Self {
        Self { context, tell, gates: Arc::default() }
    }

    /// Lays out the workload's folder, starts the launcher and waits until it is at the gate.
    /// Reports `Launched`, `Unfit` or `Missing`.
    pub fn launch(&self, name: Name, revision: Revision, nonce: u64, stale_config: Vec<String>) {
        let (context, tell, gates) = (self.context.clone(), self.tell.clone(), self.gates.clone());
        tokio::spawn(async move {
            let plan = match prepare(&context, &name, &revision, nonce, &stale_config) {
                Ok(plan) => plan,
                Err(PrepareError::Artifact(digest)) => {
                    return send(&tell, Observed::Missing(name, digest)).await;
                }
                Err(PrepareError::Revision(why)) => {
                    return send(&tell, Observed::Unfit(name, why)).await;
                }
                Err(PrepareError::Machine(why)) => {
                    return send(&tell, Observed::Launched(name, Err(why))).await;
                }
            };
            crash::point("folder-laid");
            let launched = to_gate(&context, &name, &plan, nonce, &tell).await.map(|gate| {
                crash::point("launched");
                let instance = gate.instance.clone();
                if let Ok(mut gates) = gates.lock() {
                    gates.insert(name.clone(), gate);
                }
                instance
            });
            send(&tell, Observed::Launched(name, launched)).await;
        });
    }

    /// Opens the gate: the launcher executes the workload. Reports `Opened`.
    pub fn open(&self, name: Name, instance: Instance) {
        let gate = self.gates.lock().ok().and_then(|mut gates| gates.remove(&name));
        let tell = self.tell.clone();
        tokio::spawn(async move {
            let mut gate = gate.filter(|gate| gate.instance == instance);
            let result = match &mut gate {
                Some(gate) => {
                    let opened = pass(gate).await;
                    crash::point("gate-opened");
                    opened
                }
                None => Err("its launcher is gone".into()),
            };
            send(&tell, Observed::Opened(name, instance, result)).await;
            drop(gate);
        });
    }

    /// Watches a process that a former agent started. Reports `Exited`.
    pub fn watch(&self, name: Name, instance: Instance) {
        let (tell, context) = (self.tell.clone(), self.context.clone());
        tokio::spawn(async move {
            context.awaited.add(instance.pid);
            let exit = ending::adopted_exit(&instance, &context.boot).await;
            context.awaited.remove(instance.pid);
            send(&tell, Observed::Exited(name, instance, exit)).await;
        });
    }

    /// Sends a signal to the instance's process group. A group that is gone is fine; one that
    /// cannot be looked at now (no free descriptors) is signalled as soon as it can be.
    pub fn signal(&self, instance: &Instance, signal: u8) {
        if ending::signal(instance, &self.context.boot, signal).is_err() {
            let (instance, boot) = (instance.clone(), self.context.boot.clone());
            tokio::spawn(async move {
                while ending::signal(&instance, &boot, signal).is_err() {
                    tokio::time::sleep(ending::POLL_INTERVAL).await;
                }
            });
        }
        crash::point("signal-sent");
    }

    /// Finds, and kills where asked, the remaining processes of workloads, on a thread of its own;
    /// see [`Census::take`]. When processes cannot be read (no free descriptors) it tries again
    /// until they can: "nothing left" is only reported of what was seen.
    pub fn sweep(&self, sweeps: Vec<Sweep>) {
        // A workload that is no longer wanted loses its gate: its launcher ends when the pipe
        // closes.
        if let Ok(mut gates) = self.gates.lock() {
            for sweep in sweeps.iter().filter(|sweep| sweep.spare.is_none()) {
                gates.remove(&sweep.name);
            }
        }
        let (context, tell, sweeps) = (self.context.clone(), self.tell.clone(), Arc::new(sweeps));
        tokio::spawn(async move {
            loop {
                let (here, these) = (Arc::clone(&context), Arc::clone(&sweeps));
                match on_own_thread(move || sweep_all(&here, &these)).await {
                    Ok(swept) => {
                        for (name, behind, left) in swept {
                            if behind > 0 {
                                send(&tell, Observed::LeftBehind(name.clone(), behind)).await;
                            }
                            send(&tell, Observed::Swept(name, left)).await;
                        }
                        return;
                    }
                    Err(error) => tracing::warn!(%error, "processes cannot be looked at"),
                }
                tokio::time::sleep(ending::POLL_INTERVAL).await;
            }
        });
    }
}

/// Runs work that may block for long on a new thread, since the threads of the pool are few.
///
/// # Errors
/// The error of the work, or of the system when there is no thread.
pub async fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (tell, outcome) = oneshot::channel();
    std::thread::Builder::new().stack_size(census::STACK).spawn(move || {
        let _nobody_waits = tell.send(work());
    })?;
    outcome.await.unwrap_or_else(|_| Err(io::Error::other("the thread ended early")))
}

/// One workload of a sweep; see `Effect::Sweep`.
#[derive(Debug)]
pub struct Sweep {
    /// Workload to sweep.
    pub name: Name,
    /// Last known main process.
    pub last: Option<Instance>,
    /// Instance that is spared, with its session.
    pub spare: Option<Instance>,
    /// Kill what is found.
    pub kill: bool,
}

/// Takes one census for all sweeps. Returns for each workload how many live processes were left
/// behind and killed, those of probes not counted, and how many are left in all.
fn sweep_all(
    context: &Arc<RuntimeContext>,
    sweeps: &[Sweep],
) -> io::Result<Vec<(Name, usize, usize)>> {
    let census = Census::take(context)?;
    let mut swept = Vec::new();
    for sweep in sweeps {
        // The spared instance has ended, so what was seen may belong to a newer one. The exit of
        // the spared one leads to a sweep of its own.
        if let Some(spare) = &sweep.spare
            && !procfs::lives(spare, &context.boot)?
        {
            continue;
        }
        // The process ids of another boot belong to somebody else by now.
        let last = sweep.last.as_ref().filter(|last| last.boot == context.boot);
        let cgroups = context.cgroups.as_ref().ok();
        let group = cgroups.map(|it| it.members(&sweep.name)).transpose()?.unwrap_or_default();
        let left = census.remains(&sweep.name, last, sweep.spare.as_ref(), &group);
        if sweep.kill {
            if let (Some(cgroups), None) = (cgroups, &sweep.spare) {
                cgroups.kill(&sweep.name);
            }
            for &(pid, start) in &left {
                ending::kill_exactly(pid, start);
            }
        }
        if left.is_empty() {
            crash::point("swept");
        }
        let behind = left.iter().filter(|(pid, _)| sweep.kill && !census.is_of_probe(*pid)).count();
        swept.push((sweep.name.clone(), behind, left.len()));
    }
    Ok(swept)
}

async fn send(tell: &mpsc::Sender<Observed>, observed: Observed) {
    // The driver is gone only when the agent ends.
    let _ended = tell.send(observed).await;
}

/// Reasons why a workload cannot be prepared.
enum PrepareError {
    /// The revision asks for something that this device does not have.
    Revision(String),
    /// The artifact was removed behind the agent's back.
    Artifact(Digest),
    /// The machine is in trouble, such as a full or broken disk.
    Machine(String),
}

impl PrepareError {
    fn from_folder(error: folder::LayError) -> Self {
        use std::io::ErrorKind::{
            AlreadyExists, InvalidFilename, InvalidInput, IsADirectory, NotADirectory,
        };
        let why = error.to_string();
        let folder::LayError::Io { source, .. } = error else { return Self::Revision(why) };
        // A link where a folder should be (ELOOP) has no stable kind.
        let looped = source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
        match source.kind() {
            AlreadyExists | InvalidFilename | InvalidInput | IsADirectory | NotADirectory => {
                Self::Revision(why)
            }
            _ if looped => Self::Revision(why),
            _ => Self::Machine(why),
        }
    }
}

/// Puts everything on disk that the workload needs before its start, and plans the start.
fn prepare(
    context: &RuntimeContext,
    name: &Name,
    revision: &Revision,
    nonce: u64,
    stale_config: &[String],
) -> Result<Plan, PrepareError> {
    let spec = &revision.spec;
    let Run::Process(process) = &spec.run;
    if let Executable::Artifact(artifact) = &process.executable
        && let Ok(false) = context.artifact(&artifact.digest).try_exists()
    {
        return Err(PrepareError::Artifact(artifact.digest));
    }
    let user = users::resolve(process.user.as_deref(), name, &context.workloads)
        .map_err(PrepareError::Revision)?;
    let folder = context.folder(name);
    let own = folder.join(folder::FILES);
    let mut plan =
        plan_of(context, name, nonce, spec, process, own, user).map_err(PrepareError::Machine)?;
    // Last of the steps that can fail before there is a process, and undone where it fails.
    folder::lay(&folder, &spec.config, stale_config, user).map_err(PrepareError::from_folder)?;
    let marker = census::marker(&context.agent, name, revision.number, nonce);
    plan.env.insert(census::MARKER.into(), marker);
    plan.env.insert("HOLDFAST_REVISION".into(), revision.number.to_string());
    plan.log = Some(context.log(name));
    Ok(plan)
}

/// Plans how a process of this workload runs, be it the main process or a probe.
fn plan_of(
    context: &RuntimeContext,
    name: &Name,
    nonce: u64,
    spec: &WorkloadSpec,
    process: &Process,
    own: PathBuf,
    user: Option<users::User>,
) -> Result<Plan, String> {
    let program = match &process.executable {
        Executable::Path(path) => PathBuf::from(path),
        Executable::Artifact(artifact) => context.artifact(&artifact.digest),
    };
    let own_text = own.to_string_lossy().into_owned();
    let mut env = BTreeMap::from([
        ("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
        ("HOME".into(), own_text.clone()),
        ("HOLDFAST_FOLDER".into(), own_text),
        ("HOLDFAST_WORKLOAD".into(), name.to_string()),
        ("HOLDFAST_DEVICE".into(), context.device.clone()),
    ]);
    match context.access.workload(name, nonce) {
        Ok(entry) => env.extend(entry.environment()),
        // The bus reports this too; the workload may not need it.
        Err(error) => tracing::error!(workload = %name, %error, "it has no way to put data in"),
    }
    env.extend(process.env.iter().map(|(key, value)| (key.clone(), value.clone())));
    let (mut cgroup, mut bounds) = (None, Bounds::default());
    match &context.cgroups {
        Ok(cgroups) => cgroup = Some(cgroups.prepare(name, spec.resources)?),
        Err(_) => {
            bounds.memory = spec.resources.memory_bytes;
            bounds.processes = spec.resources.pids.map(u64::from).filter(|_| counts_alone(process));
        }
    }
    let workdir = match &process.workdir {
        Some(path) => own.join(path),
        None => own,
    };
    let args = process.args.clone();
    let open_files = context.open_files;
    let groups = users::groups(process.user.as_deref());
    let (log, gate) = (None, true);
    Ok(Plan { program, args, env, workdir, log, user, groups, cgroup, open_files, bounds, gate })
}

/// True where the kernel's count of a user's processes counts this workload alone, because it has a
/// user of its own.
pub fn counts_alone(process: &Process) -> bool {
    process.user.is_none() && rustix::process::geteuid().is_root()
}

/// Plans a probe command that runs in the workload's environment.
///
/// # Errors
/// The reason as text.
pub fn probe_plan(
    context: &RuntimeContext,
    name: &Name,
    spec: &WorkloadSpec,
    command: &[String],
    nonce: u64,
) -> Result<Plan, String> {
    let Run::Process(process) = &spec.run;
    let user = users::resolve(process.user.as_deref(), name, &context.workloads)?;
    let own = context.folder(name).join(folder::FILES);
    let mut plan = plan_of(context, name, nonce, spec, process, own, user)?;
    let (program, args) = command.split_first().ok_or("the probe has no command")?;
    plan.program = PathBuf::from(program);
    plan.args = args.to_vec();
    plan.gate = false;
    // The same nonce as the instance: processes that the probe leaves behind are swept with it.
    plan.env.insert(census::MARKER.into(), census::marker(&context.agent, name, 0, nonce));
    Ok(plan)
}

/// A launcher that runs and has its plan.
pub(super) struct Started {
    pub(super) pid: u32,
    pub(super) stdin: pipe::Sender,
    pub(super) stdout: pipe::Receiver,
}

/// Starts a launcher and sends it its plan.
pub(super) async fn start(context: &RuntimeContext, plan: &Plan) -> Result<Started, String> {
    let (program, before) = context.launcher.split_first().ok_or("no launcher")?;
    let mut command = Command::new(program);
    command
        .arg0(launcher::NAME)
        .args(before)
        .arg(launcher::ARGUMENT)
        .env_clear()
        // Found by its marker from its first moment on.
        .envs(plan.env.iter().filter(|(key, _)| key.starts_with("HOLDFAST_")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .current_dir("/");
    let bytes = launcher::encode(plan).map_err(|error| format!("its plan: {error}"))?;
    let mut child = command.spawn().map_err(|error| format!("its launcher: {error}"))?;
    context.awaited.add(child.id());
    match give(&mut child, &bytes).await {
        Ok((stdin, stdout)) => Ok(Started { pid: child.id(), stdin, stdout }),
        Err(error) => {
            // It may have ended early; nobody else would reap it.
            let _ended = child.kill();
            let _reaped = child.wait();
            context.awaited.remove(child.id());
            Err(format!("its launcher's pipe: {error}"))
        }
    }
}

/// Sends a launcher its plan; returns the pipes to and from it.
async fn give(child: &mut Child, plan: &[u8]) -> io::Result<(pipe::Sender, pipe::Receiver)> {
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let mut stdin = pipe::Sender::from_owned_fd(OwnedFd::from(stdin))?;
    let stdout = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))?;
    stdin.write_all(plan).await?;
    Ok((stdin, stdout))
}

/// Starts a launcher and waits until it is at the gate. A launcher that does not get there is
/// killed and reaped.
async fn to_gate(
    context: &RuntimeContext,
    name: &Name,
    plan: &Plan,
    nonce: u64,
    tell: &mpsc::Sender<Observed>,
) -> Result<Gate, String> {
    let Started { pid, stdin, stdout } = start(context, plan).await?;
    let awaited = context.awaited.clone();
    let start = match procfs::stat(pid) {
        Ok(Some(stat)) => stat.start,
        other => {
            ending::kill_child(pid);
            tokio::spawn(async move { ending::child_exit(pid, &awaited).await });
            let why = other.err().map(|error| format!("its launcher cannot be looked at: {error}"));
            return Err(why.unwrap_or_else(|| "its launcher ended at once".into()));
        }
    };
    let instance = Instance { pid, start, boot: context.boot.clone(), nonce };
    let (who, which, tell) = (name.clone(), instance.clone(), tell.clone());
    let (gone, is_reported) = oneshot::channel();
    // The process is reaped in any case, but `Exited` is held back until the gate is dropped: the
    // driver learns of `Opened` first, even if the workload ends within a millisecond.
    tokio::spawn(async move {
        let exit = ending::child_exit(pid, &awaited).await;
        let _reported = is_reported.await;
        send(&tell, Observed::Exited(who, which, exit)).await;
    });
    let mut gate = Gate { instance, open: stdin, status: stdout, _reported: gone };
    let ready = tokio::time::timeout(GATE_TIMEOUT, await_ready(&mut gate.status)).await;
    match ready.unwrap_or_else(|_late| Err("its launcher did not get ready in time".into())) {
        Ok(()) => Ok(gate),
        Err(why) => {
            ending::kill_exactly(pid, start);
            Err(why)
        }
    }
}

async fn await_ready(status: &mut pipe::Receiver) -> Result<(), String> {
    let mut first = [0];
    match status.read(&mut first).await {
        Ok(1) if first == [launcher::READY] => Ok(()),
        Ok(1) => Err(read_error(status).await),
        _ => Err("its launcher ended before it was ready".into()),
    }
}

/// Opens the gate and waits for the outcome: the status pipe closes when the workload is executed.
async fn pass(gate: &mut Gate) -> Result<(), String> {
    let written = gate.open.write_all(&[launcher::OPEN]).await;
    written.map_err(|error| format!("its launcher is gone: {error}"))?;
    let mut first = [0];
    match gate.status.read(&mut first).await {
        Ok(0) => Ok(()),
        Ok(_) => Err(read_error(&mut gate.status).await),
        Err(error) => Err(format!("its launcher is gone: {error}")),
    }
}

/// Reads the error text that the launcher sends after its "E".
pub(super) async fn read_error(status: &mut pipe::Receiver) -> String {
    let mut text = Vec::new();
    let _as_far_as_it_came = status.take(MAX_ERROR).read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}
