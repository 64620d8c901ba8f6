//! Plans of processes: what a launcher becomes, be it the main process of a workload or a probe.
//!
//! See decisions 0010, 0073 and 0162.

use std::collections::BTreeMap;
use std::path::PathBuf;

use holdfast_base::ids::Name;
use holdfast_protocol::workload::{Executable, Process, Run, WorkloadSpec};

use super::cgroup::LimitError;
use super::execution::{Bounds, Plan};
use super::{Context, census};
use crate::core::process::fault::Failed;
use crate::core::process::ownership::Marker;
use crate::core::runtime::{Handle, NotPrepared, Reason};
use crate::core::saved::Revision;
use crate::runtimes::common::folder;
use crate::runtimes::common::secrets::SecretsError;
use crate::runtimes::common::users::{self, UserError};
use crate::runtimes::{Prepare, Probing};

/// Reasons why a process cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The user that it is to run as cannot be had.
    #[error(transparent)]
    User(#[from] UserError),
    /// Its limits cannot be set.
    #[error(transparent)]
    Limits(#[from] LimitError),
    /// Its folder or configuration cannot be laid out.
    #[error(transparent)]
    Folder(#[from] folder::LayError),
    /// Its secrets cannot be opened, or not be given to it.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The workload is of another kind.
    #[error("the workload is no process")]
    NoProcess,
    /// The command of a probe is empty.
    #[error("the probe has no command")]
    NoCommand,
}

impl PlanError {
    /// The step that failed, as the decision whose fault it is knows it. None: the secrets cannot be
    /// opened, which is nobody's fault on this device.
    fn failed(&self) -> Option<Failed> {
        let file = |source: &std::io::Error| Failed::File {
            kind: source.kind(),
            looped: source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()),
        };
        Some(match self {
            Self::User(_)
            | Self::NoCommand
            | Self::NoProcess
            | Self::Secrets(SecretsError::User(_)) => Failed::User,
            Self::Limits(_) => Failed::Limits,
            Self::Folder(folder::LayError::InTheWay { .. })
            | Self::Secrets(
                SecretsError::InTheWay { .. }
                | SecretsError::Twice(_)
                | SecretsError::Link(folder::LayError::InTheWay { .. }),
            ) => Failed::InTheWay,
            Self::Folder(folder::LayError::Io { source, .. })
            | Self::Secrets(
                SecretsError::Link(folder::LayError::Io { source, .. })
                | SecretsError::Memory { source, .. },
            ) => file(source),
            Self::Secrets(SecretsError::Closed(_)) => return None,
        })
    }
}

impl From<PlanError> for NotPrepared {
    fn from(error: PlanError) -> Self {
        match error.failed() {
            Some(failed) => failed.because(Reason::of(&error)),
            None => Self::Secrets(Reason::of(&error)),
        }
    }
}

/// Puts everything on disk that the workload needs before its start, and plans the start.
///
/// # Errors
/// The reason, with what is at fault.
pub(super) fn prepare(context: &Context, ask: &Prepare) -> Result<Plan, NotPrepared> {
    let Prepare { name, revision, nonce, stale_config } = ask;
    let spec = &revision.spec;
    let Run::Process(process) = &spec.run else { return Err(PlanError::NoProcess.into()) };
    if let Executable::Artifact(artifact) = &process.executable
        && let Ok(false) = context.artifact(&artifact.digest).try_exists()
    {
        return Err(NotPrepared::Artifact(artifact.digest));
    }
    let user = users::resolve(process.user.as_deref(), name, &context.workloads)
        .map_err(PlanError::from)?;
    let secrets = revision.secrets.as_deref();
    let content = context.secrets.opened(name, secrets).map_err(PlanError::from)?;
    let folder = context.folder(name);
    let own = folder.join(users::FILES);
    let mut plan =
        plan_of(context, name, *nonce, spec, process, own, user).map_err(PlanError::from)?;
    // Last of the steps that can fail before there is a process, and undone where it fails. A link
    // of a former revision may stand where this one has a folder.
    let kept = content.files.keys().map(String::as_str).collect();
    folder::unlink(&folder, &kept).map_err(PlanError::from)?;
    folder::lay(&folder, &spec.config, stale_config, user).map_err(PlanError::from)?;
    context.secrets.lay(&folder, name, revision, &content, user).map_err(PlanError::from)?;
    plan.env.extend(content.env);
    plan.env.insert(census::MARKER.into(), marker(context, name, revision.number, *nonce));
    plan.env.insert("HOLDFAST_REVISION".into(), revision.number.to_string());
    plan.log = Some(context.log(name));
    Ok(plan)
}

/// Replaces the files of a running workload by those of other secrets.
///
/// # Errors
/// The reason, which names no content.
pub(super) fn refresh(
    context: &Context,
    name: &Name,
    revision: &Revision,
) -> Result<(), SecretsError> {
    let user = match &revision.spec.run {
        Run::Process(process) => process.user.as_deref(),
        _ => None,
    };
    let user = users::resolve(user, name, &context.workloads)?;
    let content = context.secrets.opened(name, revision.secrets.as_deref())?;
    context.secrets.lay(&context.folder(name), name, revision, &content, user)
}

/// Plans how a process of this workload runs, be it the main process or a probe.
fn plan_of(
    context: &Context,
    name: &Name,
    nonce: u64,
    spec: &WorkloadSpec,
    process: &Process,
    own: PathBuf,
    user: Option<users::User>,
) -> Result<Plan, LimitError> {
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
pub(super) fn counts_alone(process: &Process) -> bool {
    process.user.is_none() && rustix::process::geteuid().is_root()
}

/// Plans a probe command that runs in the workload's environment.
///
/// # Errors
/// The reason why it cannot be planned.
pub(super) fn probe_plan(
    context: &Context,
    ask: &Probing,
    command: &[String],
) -> Result<Plan, PlanError> {
    let Probing { name, instance: Handle { nonce, .. }, spec, secrets, .. } = ask;
    let Run::Process(process) = &spec.run else { return Err(PlanError::NoProcess) };
    let content = context.secrets.opened(name, secrets.as_deref())?;
    let user = users::resolve(process.user.as_deref(), name, &context.workloads)?;
    let own = context.folder(name).join(users::FILES);
    let mut plan = plan_of(context, name, *nonce, spec, process, own, user)?;
    plan.env.extend(content.env);
    let (program, args) = command.split_first().ok_or(PlanError::NoCommand)?;
    plan.program = PathBuf::from(program);
    plan.args = args.to_vec();
    plan.gate = false;
    // The same nonce as the instance: processes that the probe leaves behind are swept with it.
    plan.env.insert(census::MARKER.into(), marker(context, name, 0, *nonce));
    Ok(plan)
}

/// Text of the marker for an instance, or for a probe of it with revision 0.
fn marker(context: &Context, workload: &Name, revision: u64, nonce: u64) -> String {
    let (agent, workload) = (context.agent.clone(), workload.clone());
    Marker { agent, workload, revision, nonce }.to_string()
}
