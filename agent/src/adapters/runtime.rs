//! The process runtime: starts workloads through the launcher, watches them by pidfd, signals
//! and sweeps them. It keeps no state that a restart of the agent would miss.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use holdfast_protocol::ids::{Digest, Name};
use holdfast_protocol::workload::{Executable, Process, Run, WorkloadSpec};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::cgroup::Cgroups;
use super::launcher::{self, Plan};
use super::{crash, folder, procfs, users};
use crate::core::effect::Observed;
use crate::core::record::{Exit, Instance, Revision};

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
            let launched = async {
                let started = start(&place, &plan).await?;
                let pid = started.pid;
                let stat = procfs::stat(pid).ok_or("its launcher ended at once")?;
                let boot = place.boot.clone();
                let instance = Instance { pid, start: stat.start, boot, nonce };
                watch_child(&name, &instance, &tell)?;
                let mut gate = Gate {
                    instance: instance.clone(),
                    open: started.stdin,
                    status: started.stdout,
                };
                let ready = tokio::time::timeout(GATE_TIMEOUT, await_ready(&mut gate.status));
                ready.await.map_err(|_| "its launcher did not get ready in time")??;
                crash::point("launched");
                if let Ok(mut gates) = gates.lock() {
                    gates.insert(name.clone(), gate);
                }
                Ok(instance)
            };
            let result = launched.await;
            send(&tell, Observed::Launched(name, result)).await;
        });
    }

    /// Lets the launcher execute the workload.
    pub fn open(&self, name: Name, instance: Instance) {
        let gate = self.gates.lock().ok().and_then(|mut gates| gates.remove(&name));
        let tell = self.tell.clone();
        tokio::spawn(async move {
            let result = match gate {
                Some(mut gate) if gate.instance == instance => {
                    let opened = pass(&mut gate).await;
                    crash::point("gate-opened");
                    opened
                }
                _ => Err("its launcher is gone".into()),
            };
            send(&tell, Observed::Opened(name, instance, result)).await;
        });
    }

    /// Watches a process that the agent did not start itself.
    pub fn watch(&self, name: Name, instance: Instance) {
        let tell = self.tell.clone();
        let boot = self.place.boot.clone();
        tokio::spawn(async move {
            let exit = match pidfd(instance.pid) {
                // Looked at after the pidfd is held: from here on the id cannot change hands.
                Ok(fd) if procfs::lives(&instance, &boot) => ended(fd).await,
                _ => Exit::Unseen,
            };
            send(&tell, Observed::Exited(name, instance, exit)).await;
        });
    }

    /// Signals the process group. One that is gone is fine.
    pub fn signal(&self, instance: &Instance, signal: u8) {
        let pid = i32::try_from(instance.pid).ok().and_then(Pid::from_raw);
        let signal = Signal::from_named_raw(i32::from(signal));
        if let (Some(pid), Some(signal), true) =
            (pid, signal, procfs::lives(instance, &self.place.boot))
        {
            let _gone = rustix::process::kill_process_group(pid, signal);
        }
        crash::point("signal-sent");
    }

    /// Finds (and kills) what is left of a workload.
    pub fn sweep(&self, name: Name, last: Option<&Instance>, spare: Option<&Instance>, kill: bool) {
        // A launcher at the gate of something that is not wanted any more ends by its pipe.
        if spare.is_none()
            && let Ok(mut gates) = self.gates.lock()
        {
            gates.remove(&name);
        }
        // A session of another boot means nothing: its number is somebody else's by now.
        let last = last.filter(|last| last.boot == self.place.boot);
        let left = procfs::remains(&self.place.agent, &name, last, spare);
        if kill {
            for &pid in &left {
                kill_exactly(pid);
            }
        }
        if left.is_empty() {
            crash::point("swept");
        }
        let tell = self.tell.clone();
        let left = left.len();
        tokio::spawn(async move { send(&tell, Observed::Swept(name, left)).await });
    }
}

async fn send(tell: &mpsc::Sender<Observed>, observed: Observed) {
    // The driver is gone only when the agent ends.
    let _ended = tell.send(observed).await;
}

/// By pidfd, so that a process that ended meanwhile is not mistaken.
fn kill_exactly(pid: u32) {
    let before = procfs::stat(pid);
    if let Ok(fd) = pidfd(pid)
        && procfs::stat(pid) == before
    {
        let _gone = rustix::process::pidfd_send_signal(fd, Signal::KILL);
    }
}

fn pidfd(pid: u32) -> Result<OwnedFd, String> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("not a process id")?;
    rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(|error| error.to_string())
}

/// Waits for the end of a process; reaps it if it is the agent's child.
async fn ended(fd: OwnedFd) -> Exit {
    #[allow(
        deprecated,
        reason = "sound for an OwnedFd, which cannot be closed behind its back; what replaces it is unsafe to call"
    )]
    let registered = AsyncFd::with_interest(fd, Interest::READABLE);
    let fd = match registered {
        Ok(fd) => fd,
        Err(_) => return Exit::Unseen,
    };
    if fd.readable().await.is_err() {
        return Exit::Unseen;
    }
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match rustix::process::waitid(WaitId::PidFd(fd.as_fd()), options) {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Unseen,
        },
        // Somebody else's child: adopted after a restart of the agent.
        _ => Exit::Unseen,
    }
}

fn watch_child(
    name: &Name,
    instance: &Instance,
    tell: &mpsc::Sender<Observed>,
) -> Result<(), String> {
    let fd = pidfd(instance.pid)?;
    let (name, instance, tell) = (name.clone(), instance.clone(), tell.clone());
    tokio::spawn(async move {
        let exit = ended(fd).await;
        send(&tell, Observed::Exited(name, instance, exit)).await;
    });
    Ok(())
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
    fn of_folder(folder: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{
            AlreadyExists, InvalidFilename, InvalidInput, IsADirectory, NotADirectory,
        };
        let why = format!("its folder {}: {error}", folder.display());
        // A link where a folder should be (ELOOP) has no stable kind.
        let looped = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
        match error.kind() {
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
    let own = folder::lay(&folder, &spec.config, stale_config, user)
        .map_err(|error| Fault::of_folder(&folder, &error))?;
    let mut plan = plan_of(place, name, spec, process, own, user).map_err(Fault::Machine)?;
    let marker = procfs::marker(&place.agent, name, revision.number, nonce);
    plan.env.insert(procfs::MARKER.into(), marker);
    plan.env.insert("HOLDFAST_REVISION".into(), revision.number.to_string());
    plan.log = Some(place.log(name));
    Ok(plan)
}

/// How this workload's processes run: its main process and its probes alike.
fn plan_of(
    place: &Place,
    name: &Name,
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
    env.extend(process.env.iter().map(|(key, value)| (key.clone(), value.clone())));
    let cgroup = match &place.cgroups {
        Ok(cgroups) => Some(cgroups.prepare(name, spec.resources)?),
        Err(_) => None,
    };
    let workdir = match &process.workdir {
        Some(path) => own.join(path),
        None => own,
    };
    let args = process.args.clone();
    Ok(Plan { program, args, env, workdir, log: None, user, cgroup, gate: true })
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
    let mut plan = plan_of(place, name, spec, process, own, user)?;
    let (program, args) = command.split_first().ok_or("the probe has no command")?;
    plan.program = PathBuf::from(program);
    plan.args = args.to_vec();
    plan.gate = false;
    // Of the same instance: what a probe leaves behind is swept with it.
    plan.env.insert(procfs::MARKER.into(), procfs::marker(&place.agent, name, 0, nonce));
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
        .arg0("holdfast-agent")
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
    let piped = |error: std::io::Error| format!("its launcher's pipe: {error}");
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("its launcher has no pipes".into());
    };
    let mut stdin = pipe::Sender::from_owned_fd(OwnedFd::from(stdin)).map_err(piped)?;
    let stdout = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout)).map_err(piped)?;
    if let Err(error) = stdin.write_all(&bytes).await {
        // It ended early; nobody else would reap it.
        let _ended = child.kill();
        let _reaped = child.wait();
        return Err(piped(error));
    }
    Ok(Started { pid: child.id(), stdin, stdout })
}

/// Waits for a process that this agent started; None: not in time, and it was killed.
pub(super) async fn finish(pid: u32, within: Duration) -> Option<Exit> {
    let fd = pidfd(pid).ok()?;
    let killer = fd.try_clone().ok()?;
    let end = ended(fd);
    tokio::pin!(end);
    if let Ok(exit) = tokio::time::timeout(within, &mut end).await {
        return Some(exit);
    }
    // The whole group: a probe may have children.
    if let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone = rustix::process::kill_process_group(group, Signal::KILL);
    }
    let _gone = rustix::process::pidfd_send_signal(&killer, Signal::KILL);
    let _reaped = end.await;
    None
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
async fn trouble(status: &mut pipe::Receiver) -> String {
    let mut text = Vec::new();
    let _as_far_as_it_came = status.take(MAX_TROUBLE).read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}
