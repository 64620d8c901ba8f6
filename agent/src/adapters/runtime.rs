//! The process runtime: starts workloads through the launcher, watches, signals and sweeps them.
//! It keeps no state that a restart of the agent would miss.

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
use crate::core::record::{Instance, Revision};

/// A launcher that takes longer to come to the gate is given up. A slow card under load needs
/// seconds.
const GATE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest text of a launcher about what went wrong, in bytes.
const MAX_TROUBLE: u64 = 1024;

/// Where everything of the runtime is, and who it is.
#[derive(Debug)]
pub struct Place {
    /// Marks this agent's processes among those of others.
    pub agent: String,
    /// The device, as workloads are told.
    pub device: String,
    /// This boot.
    pub boot: String,
    /// Folder of the workloads.
    pub workloads: PathBuf,
    /// Folder of the artifacts.
    pub artifacts: PathBuf,
    /// What the launcher is started with.
    pub launcher: Vec<std::ffi::OsString>,
    /// Limits, or why there are none.
    pub cgroups: Result<Cgroups, String>,
    /// The limit of open files that the agent was started with: what workloads get.
    pub open_files: Option<u64>,
    /// What workloads are told of the ways to put data in.
    pub access: Arc<super::access::Access>,
    /// Processes whose ends are waited for.
    pub awaited: Awaited,
    /// Processes that keep their memory from being read.
    pub stuck: std::sync::Mutex<census::Processes>,
}

impl Place {
    /// Where this artifact is.
    pub fn artifact(&self, digest: &Digest) -> PathBuf {
        self.artifacts.join(digest.hex())
    }

    /// The workload's folder.
    pub fn folder(&self, name: &Name) -> PathBuf {
        self.workloads.join(name.as_str())
    }

    /// The workload's log.
    pub fn log(&self, name: &Name) -> PathBuf {
        self.folder(name).join(folder::LOG)
    }
}

/// The way to a launcher at its gate.
#[derive(Debug)]
struct Gate {
    instance: Instance,
    open: pipe::Sender,
    status: pipe::Receiver,
    /// Its end is told after this is gone: first whether it was executed, then how it ended.
    _told: oneshot::Sender<()>,
}

/// The runtime.
#[derive(Debug)]
pub struct Runtime {
    place: Arc<Place>,
    tell: mpsc::Sender<Observed>,
    gates: Arc<std::sync::Mutex<BTreeMap<Name, Gate>>>,
}

impl Runtime {
    /// Tells what happens on `tell`.
    pub fn new(place: Arc<Place>, tell: mpsc::Sender<Observed>) -> Self {
        Self { place, tell, gates: Arc::default() }
    }

    /// Lays out the folder, starts the launcher and brings it to the gate.
    pub fn launch(&self, name: Name, revision: Revision, nonce: u64, stale_config: Vec<String>) {
        let (place, tell, gates) = (self.place.clone(), self.tell.clone(), self.gates.clone());
        tokio::spawn(async move {
            let plan = match prepare(&place, &name, &revision, nonce, &stale_config) {
                Ok(plan) => plan,
                Err(Fault::Artifact(digest)) => {
                    return send(&tell, Observed::Missing(name, digest)).await;
                }
                Err(Fault::Revision(why)) => return send(&tell, Observed::Unfit(name, why)).await,
                Err(Fault::Machine(why)) => {
                    return send(&tell, Observed::Launched(name, Err(why))).await;
                }
            };
            crash::point("folder-laid");
            let launched = to_gate(&place, &name, &plan, nonce, &tell).await.map(|gate| {
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

    /// Lets the launcher execute the workload.
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

    /// Watches a process that the agent did not start itself.
    pub fn watch(&self, name: Name, instance: Instance) {
        let (tell, place) = (self.tell.clone(), self.place.clone());
        tokio::spawn(async move {
            place.awaited.add(instance.pid);
            let exit = ending::of_adopted(&instance, &place.boot).await;
            place.awaited.remove(instance.pid);
            send(&tell, Observed::Exited(name, instance, exit)).await;
        });
    }

    /// Signals the process group. One that is gone is fine; one that cannot be looked at now (no
    /// descriptors) is signalled when it can.
    pub fn signal(&self, instance: &Instance, signal: u8) {
        if ending::signal(instance, &self.place.boot, signal).is_err() {
            let (instance, boot) = (instance.clone(), self.place.boot.clone());
            tokio::spawn(async move {
                while ending::signal(&instance, &boot, signal).is_err() {
                    tokio::time::sleep(ending::LOOK_EVERY).await;
                }
            });
        }
        crash::point("signal-sent");
    }

    /// Finds (and kills) what is left of workloads, on a thread of its own: see [`Census::take`].
    /// When nobody can be looked at (no descriptors), it looks again until it can: "nothing left"
    /// is said of what was seen alone.
    pub fn sweep(&self, sweeps: Vec<Sweep>) {
        // A launcher at the gate of something that is not wanted any more ends by its pipe.
        if let Ok(mut gates) = self.gates.lock() {
            for sweep in sweeps.iter().filter(|sweep| sweep.spare.is_none()) {
                gates.remove(&sweep.name);
            }
        }
        let (place, tell, sweeps) = (self.place.clone(), self.tell.clone(), Arc::new(sweeps));
        tokio::spawn(async move {
            loop {
                let (here, these) = (Arc::clone(&place), Arc::clone(&sweeps));
                match apart(move || look(&here, &these)).await {
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
                tokio::time::sleep(ending::LOOK_EVERY).await;
            }
        });
    }
}

/// Does what may block for long on a thread of its own: those of the pool are few.
///
/// # Errors
/// What the work says, or when there is no thread to be had.
pub async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new().stack_size(census::STACK).spawn(move || {
        let _nobody_waits = tell.send(work());
    })?;
    told.await.unwrap_or_else(|_| Err(io::Error::other("the thread ended early")))
}

/// What a sweep is asked to do: see `Effect::Sweep`.
#[derive(Debug)]
pub struct Sweep {
    /// Whose.
    pub name: Name,
    /// Its last main process.
    pub last: Option<Instance>,
    /// Spare this one and its session.
    pub spare: Option<Instance>,
    /// Kill what is found.
    pub kill: bool,
}

/// One look for all of them: how many live processes each workload has left that are no probe's
/// and were ended, and in all.
fn look(place: &Arc<Place>, sweeps: &[Sweep]) -> io::Result<Vec<(Name, usize, usize)>> {
    let census = Census::take(place)?;
    let mut swept = Vec::new();
    for sweep in sweeps {
        // Who was spared is gone: what was seen may be a newer instance, and the end of the spared
        // one is followed by a sweep of its own.
        if let Some(spare) = &sweep.spare
            && !procfs::lives(spare, &place.boot)?
        {
            continue;
        }
        // A session of another boot means nothing: its number is somebody else's by now.
        let last = sweep.last.as_ref().filter(|last| last.boot == place.boot);
        let cgroups = place.cgroups.as_ref().ok();
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
        let behind = left.iter().filter(|(pid, _)| sweep.kill && !census.is_probes(*pid)).count();
        swept.push((sweep.name.clone(), behind, left.len()));
    }
    Ok(swept)
}

async fn send(tell: &mpsc::Sender<Observed>, observed: Observed) {
    // The driver is gone only when the agent ends.
    let _ended = tell.send(observed).await;
}

/// Why a workload cannot even be prepared.
enum Fault {
    /// What its revision asks for cannot be had on this device.
    Revision(String),
    /// Its artifact was removed behind the agent's back.
    Artifact(Digest),
    /// The machine is in trouble: no room, a broken disk.
    Machine(String),
}

impl Fault {
    fn of_folder(error: folder::LayError) -> Self {
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

/// Everything that has to be on disk before the start, and the plan.
fn prepare(
    place: &Place,
    name: &Name,
    revision: &Revision,
    nonce: u64,
    stale_config: &[String],
) -> Result<Plan, Fault> {
    let spec = &revision.spec;
    let Run::Process(process) = &spec.run;
    if let Executable::Artifact(artifact) = &process.executable
        && let Ok(false) = place.artifact(&artifact.digest).try_exists()
    {
        return Err(Fault::Artifact(artifact.digest));
    }
    let user =
        users::resolve(process.user.as_deref(), name, &place.workloads).map_err(Fault::Revision)?;
    let folder = place.folder(name);
    let own = folder.join(folder::FILES);
    let mut plan = plan_of(place, name, nonce, spec, process, own, user).map_err(Fault::Machine)?;
    // The last that can fail before there is a process: what it laid in vain it takes back.
    folder::lay(&folder, &spec.config, stale_config, user).map_err(Fault::of_folder)?;
    let marker = census::marker(&place.agent, name, revision.number, nonce);
    plan.env.insert(census::MARKER.into(), marker);
    plan.env.insert("HOLDFAST_REVISION".into(), revision.number.to_string());
    plan.log = Some(place.log(name));
    Ok(plan)
}

/// How this workload's processes run: its main process and its probes alike.
fn plan_of(
    place: &Place,
    name: &Name,
    nonce: u64,
    spec: &WorkloadSpec,
    process: &Process,
    own: PathBuf,
    user: Option<users::User>,
) -> Result<Plan, String> {
    let program = match &process.executable {
        Executable::Path(path) => PathBuf::from(path),
        Executable::Artifact(artifact) => place.artifact(&artifact.digest),
    };
    let own_text = own.to_string_lossy().into_owned();
    let mut env = BTreeMap::from([
        ("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
        ("HOME".into(), own_text.clone()),
        ("HOLDFAST_FOLDER".into(), own_text),
        ("HOLDFAST_WORKLOAD".into(), name.to_string()),
        ("HOLDFAST_DEVICE".into(), place.device.clone()),
    ]);
    match place.access.workload(name, nonce) {
        Ok(entry) => env.extend(entry.environment()),
        // The bus says so too; the workload may do without.
        Err(error) => tracing::error!(workload = %name, %error, "it has no way to put data in"),
    }
    env.extend(process.env.iter().map(|(key, value)| (key.clone(), value.clone())));
    let (mut cgroup, mut bounds) = (None, Bounds::default());
    match &place.cgroups {
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
    let open_files = place.open_files;
    let groups = users::groups(process.user.as_deref());
    let (log, gate) = (None, true);
    Ok(Plan { program, args, env, workdir, log, user, groups, cgroup, open_files, bounds, gate })
}

/// True where the kernel's count of a user's processes is one of this workload's: it has a user
/// to itself.
pub fn counts_alone(process: &Process) -> bool {
    process.user.is_none() && rustix::process::geteuid().is_root()
}

/// A plan for a probe that runs in the workload's place.
///
/// # Errors
/// In words.
pub fn probe_plan(
    place: &Place,
    name: &Name,
    spec: &WorkloadSpec,
    command: &[String],
    nonce: u64,
) -> Result<Plan, String> {
    let Run::Process(process) = &spec.run;
    let user = users::resolve(process.user.as_deref(), name, &place.workloads)?;
    let own = place.folder(name).join(folder::FILES);
    let mut plan = plan_of(place, name, nonce, spec, process, own, user)?;
    let (program, args) = command.split_first().ok_or("the probe has no command")?;
    plan.program = PathBuf::from(program);
    plan.args = args.to_vec();
    plan.gate = false;
    // Of the same instance: what a probe leaves behind is swept with it.
    plan.env.insert(census::MARKER.into(), census::marker(&place.agent, name, 0, nonce));
    Ok(plan)
}

/// A launcher under way.
pub(super) struct Started {
    pub(super) pid: u32,
    pub(super) stdin: pipe::Sender,
    pub(super) stdout: pipe::Receiver,
}

/// Starts a launcher and gives it its plan.
pub(super) async fn start(place: &Place, plan: &Plan) -> Result<Started, String> {
    let (program, before) = place.launcher.split_first().ok_or("no launcher")?;
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
    place.awaited.add(child.id());
    match give(&mut child, &bytes).await {
        Ok((stdin, stdout)) => Ok(Started { pid: child.id(), stdin, stdout }),
        Err(error) => {
            // It may have ended early; nobody else would reap it.
            let _ended = child.kill();
            let _reaped = child.wait();
            place.awaited.remove(child.id());
            Err(format!("its launcher's pipe: {error}"))
        }
    }
}

/// Gives a launcher its plan; gives the ends of its pipes.
async fn give(child: &mut Child, plan: &[u8]) -> io::Result<(pipe::Sender, pipe::Receiver)> {
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let mut stdin = pipe::Sender::from_owned_fd(OwnedFd::from(stdin))?;
    let stdout = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))?;
    stdin.write_all(plan).await?;
    Ok((stdin, stdout))
}

/// Starts a launcher and brings it to the gate. One that does not get there is killed and reaped.
async fn to_gate(
    place: &Place,
    name: &Name,
    plan: &Plan,
    nonce: u64,
    tell: &mpsc::Sender<Observed>,
) -> Result<Gate, String> {
    let Started { pid, stdin, stdout } = start(place, plan).await?;
    let awaited = place.awaited.clone();
    let start = match procfs::stat(pid) {
        Ok(Some(stat)) => stat.start,
        other => {
            ending::kill_child(pid);
            tokio::spawn(async move { ending::of_child(pid, &awaited).await });
            let why = other.err().map(|error| format!("its launcher cannot be looked at: {error}"));
            return Err(why.unwrap_or_else(|| "its launcher ended at once".into()));
        }
    };
    let instance = Instance { pid, start, boot: place.boot.clone(), nonce };
    let (who, which, tell) = (name.clone(), instance.clone(), tell.clone());
    let (gone, is_told) = oneshot::channel();
    tokio::spawn(async move {
        let exit = ending::of_child(pid, &awaited).await;
        let _told = is_told.await;
        send(&tell, Observed::Exited(who, which, exit)).await;
    });
    let mut gate = Gate { instance, open: stdin, status: stdout, _told: gone };
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
        Ok(1) => Err(trouble(status).await),
        _ => Err("its launcher ended before it was ready".into()),
    }
}

/// Opens the gate; the pipe closes when the workload executes.
async fn pass(gate: &mut Gate) -> Result<(), String> {
    let written = gate.open.write_all(&[launcher::OPEN]).await;
    written.map_err(|error| format!("its launcher is gone: {error}"))?;
    let mut first = [0];
    match gate.status.read(&mut first).await {
        Ok(0) => Ok(()),
        Ok(_) => Err(trouble(&mut gate.status).await),
        Err(error) => Err(format!("its launcher is gone: {error}")),
    }
}

/// The rest of what the launcher says after "E".
pub(super) async fn trouble(status: &mut pipe::Receiver) -> String {
    let mut text = Vec::new();
    let _as_far_as_it_came = status.take(MAX_TROUBLE).read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}
