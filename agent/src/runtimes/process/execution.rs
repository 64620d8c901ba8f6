//! Execution of a plan in the place of this process: what the launcher and the supervisor of a probe
//! do before they become a program.
//!
//! See decisions 0015, 0070, 0071, 0072 and 0073.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, Uid};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::{kernel, program};
use crate::runtimes::common::users::User;

/// Description of the process that the launcher becomes. It goes through a pipe and is never stored:
/// the environment may hold secrets.
#[derive(Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Arguments of the program.
    pub args: Vec<String>,
    /// Whole environment of the program.
    pub env: BTreeMap<String, String>,
    /// Folder in which the program starts.
    pub workdir: PathBuf,
    /// File for the output; `None` discards it.
    pub log: Option<PathBuf>,
    /// User to become; `None` keeps the agent's own.
    pub user: Option<User>,
    /// Supplementary groups of the process.
    pub groups: Vec<u32>,
    /// Path of `cgroup.procs` of its control group.
    pub cgroup: Option<PathBuf>,
    /// Soft limit of open files; `None` keeps the agent's own.
    pub open_files: Option<u64>,
    /// Limits that replace those of a control group.
    pub bounds: Bounds,
    /// True when the launcher waits for the byte that opens the gate. A probe's does not.
    pub gate: bool,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan").field("program", &self.program).finish_non_exhaustive()
    }
}

/// Limits that the kernel keeps for a process, where there are no control groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Bytes of memory for the workload.
    pub memory: Option<u64>,
    /// Processes and threads of the workload's user.
    pub processes: Option<u64>,
}

/// Bytes of private memory that one process gets for a limit of `memory`: twice as much and 128
/// MiB, since stacks of threads and what allocators take ahead count in full. 64 MiB give 256 MiB.
fn private_memory(memory: u64) -> u64 {
    memory.saturating_mul(2).saturating_add(128 << 20)
}

/// Bytes of address space that one process gets: 4 GiB more, since many programs reserve space that
/// they never use (Go, Java, V8).
fn address_space(memory: u64) -> u64 {
    private_memory(memory).saturating_add(4 << 30)
}

/// Sets the soft limit of open files of this process.
///
/// # Errors
/// The error of the system.
pub(super) fn set_open_files(current: Option<u64>) -> io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current, maximum })?)
}

/// Reasons why a launcher does not become the workload. The agent gets the text.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The system refuses a step of the preparation.
    #[error("{step}: {source}")]
    Step {
        /// Step that was tried.
        step: &'static str,
        /// Error of the system.
        source: io::Error,
    },
    /// The launcher may not become the user.
    #[error("it cannot run as user {} with group {}: {source}", .user.uid, .user.gid)]
    User {
        /// User of the workload.
        user: User,
        /// Error of the system.
        source: io::Error,
    },
    /// The working folder cannot be entered.
    #[error("its working folder {}: {why}", .path.display())]
    Folder {
        /// Path of the folder.
        path: PathBuf,
        /// Reason in words.
        why: String,
    },
    /// A text of the plan cannot be given to a program.
    #[error("its arguments: {0}")]
    Arguments(#[from] std::ffi::NulError),
    /// The program is in no folder of `PATH`.
    #[error("{} cannot be executed: it is in no folder of PATH ({folders})", .program.display())]
    NotFound {
        /// Name of the program.
        program: PathBuf,
        /// Folders that were searched.
        folders: String,
    },
    /// The program cannot be executed, with the explanation of `program.rs`.
    #[error("{0}")]
    Program(String),
}

impl LaunchError {
    /// Error of a step, for `map_err`.
    pub(super) fn at<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Step { step, source: error.into() }
    }
}

/// Prepares everything that comes before the gate: session, control group, output, limits.
///
/// # Errors
/// The step that the system refuses.
pub(super) fn prepare(plan: &Plan, output: &impl std::os::fd::AsFd) -> Result<(), LaunchError> {
    rustix::process::setsid().map_err(LaunchError::at("session"))?;
    if let Some(procs) = &plan.cgroup {
        std::fs::write(procs, "0").map_err(LaunchError::at("control group"))?;
    }
    // The agent may be shielded from the kernel's out-of-memory killer; its workloads are not.
    let _without_proc = std::fs::write("/proc/self/oom_score_adj", "0");
    // Nor do they keep the agent's priority; where it may not be changed, it stays.
    let _may_not = rustix::process::setpriority_process(None, 0);
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::stdio::dup2_stdout(output).map_err(LaunchError::at("output"))?;
    rustix::stdio::dup2_stderr(output).map_err(LaunchError::at("output"))?;
    if plan.open_files.is_some() {
        set_open_files(plan.open_files).map_err(LaunchError::at("limit of open files"))?;
    }
    let bound = |step: &'static str, resource: Resource, limit: Option<u64>| match limit {
        None => Ok(()),
        Some(limit) => {
            // A hard limit that is lower already cannot be raised.
            let limit = getrlimit(resource).maximum.map_or(limit, |most| most.min(limit));
            let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
            setrlimit(resource, limit).map_err(LaunchError::at(step))
        }
    };
    bound("limit of memory", Resource::Data, plan.bounds.memory.map(private_memory))?;
    bound("limit of memory", Resource::As, plan.bounds.memory.map(address_space))?;
    bound("limit of processes", Resource::Nproc, plan.bounds.processes)?;
    rustix::thread::set_no_new_privs(true).map_err(LaunchError::at("no_new_privs"))
}

/// Replaces this process by the program; returns the reason if that failed.
pub(super) fn execute(plan: &Plan) -> LaunchError {
    match try_execute(plan) {
        Ok(never) => match never {},
        Err(why) => why,
    }
}

fn try_execute(plan: &Plan) -> Result<std::convert::Infallible, LaunchError> {
    let null = std::fs::File::open("/dev/null").map_err(LaunchError::at("/dev/null"))?;
    rustix::stdio::dup2_stdin(&null).map_err(LaunchError::at("standard input"))?;
    if let Some(user) = plan.user {
        become_user(user, &plan.groups).map_err(|source| LaunchError::User { user, source })?;
    }
    if let Err(error) = std::env::set_current_dir(&plan.workdir) {
        let inside = plan.workdir.join("x");
        let closed = program::explain_closed(&inside);
        let why = closed.unwrap_or_else(|| match error.kind() {
            io::ErrorKind::NotADirectory => "not a folder".into(),
            io::ErrorKind::NotFound => "there is no such folder".into(),
            _ => error.to_string(),
        });
        return Err(LaunchError::Folder { path: plan.workdir.clone(), why });
    }
    let file = find(&plan.program, plan.env.get("PATH"))?;
    if let Some(why) = program::windows_line_ends(&file) {
        return Err(LaunchError::Program(why));
    }
    let path = CString::new(file.as_os_str().as_bytes())?;
    let mut args = vec![CString::new(plan.program.as_os_str().as_bytes())?];
    for arg in &plan.args {
        args.push(CString::new(arg.as_bytes())?);
    }
    let mut env = Vec::new();
    for (key, value) in &plan.env {
        env.push(CString::new(format!("{key}={value}"))?);
    }
    kernel::prepare_exec();
    let error = kernel::execute(&path, &args, &env);
    Err(LaunchError::Program(program::why_not(&file, &error)))
}

/// Changes user and groups. The calls change a single thread, which is the whole launcher.
fn become_user(user: User, groups: &[u32]) -> io::Result<()> {
    let groups: Vec<Gid> = groups.iter().map(|&group| Gid::from_raw(group)).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_groups(&groups)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    Ok(rustix::thread::set_thread_res_uid(uid, uid, uid)?)
}

/// Finds the file of a program; a name without a slash is looked up in the folders of `PATH`.
fn find(program: &Path, path: Option<&String>) -> Result<PathBuf, LaunchError> {
    if program.as_os_str().as_bytes().contains(&b'/') {
        return Ok(program.to_owned());
    }
    let folders = path.map_or("", String::as_str);
    let is_there = |file: &PathBuf| file.is_file();
    let found = folders.split(':').map(|folder| Path::new(folder).join(program)).find(is_there);
    found.ok_or_else(|| LaunchError::NotFound {
        program: program.to_owned(),
        folders: folders.to_owned(),
    })
}
