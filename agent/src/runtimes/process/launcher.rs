//! The launcher: this program, started as `holdfast-agent launch`, becomes the workload.
//!
//! It reads a plan from its standard input, prepares itself (session, log, limits), reports that it
//! is ready, and waits at the gate, which is one more byte. Only then does it execute the workload
//! in its own place, so that the agent can store its process id first. If the agent dies meanwhile,
//! the pipe closes and the launcher ends without having run anything.
//!
//! It reports "R" when ready, and "E" with the reason when it cannot go on; the pipe closes at the
//! execution.
//!
//! A plan without a gate belongs to a probe. The launcher then stays as the supervisor of what the
//! probe starts (`probe_supervisor.rs`), and a fork of it becomes the probe's command.
//!
//! See decisions 0001, 0002, 0015, 0070, 0071, 0072 and 0073.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::users::User;
use super::{kernel, probe_supervisor, program};

/// First argument of a launcher's command line.
pub const NAME: &str = "holdfast-agent";
/// Subcommand that starts the launcher.
pub const ARGUMENT: &str = "launch";
/// Byte that opens the gate.
pub const OPEN: u8 = b'g';
/// Byte by which the launcher reports that it waits at the gate.
pub const READY: u8 = b'R';
/// Largest plan in bytes: the largest message of a desired state.
const MAX_PLAN: usize = 2 * 1024 * 1024;

/// Description of the process that the launcher becomes.
#[derive(Debug, Clone, Serialize, Deserialize)]
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

/// Raises the agent's own soft limit of open files to the hard limit, since each workload takes
/// some. Returns the former limit, which the workloads get: there are programs that loop through
/// all of it.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    // The hard limit may always be reached; if this fails, the soft one still holds.
    set_open_files(limit.maximum).ok().and(limit.current)
}

fn set_open_files(current: Option<u64>) -> io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current, maximum })?)
}

/// Command line of a launcher that is started with `launcher`, as `/proc` shows it.
pub fn command_line(launcher: &[OsString]) -> Vec<u8> {
    let before = launcher.iter().skip(1).map(|part| part.as_encoded_bytes());
    let parts = [NAME.as_bytes()].into_iter().chain(before).chain([ARGUMENT.as_bytes()]);
    parts.flat_map(|part| part.iter().copied().chain([0])).collect()
}

/// Encodes a plan for the pipe: length in 4 bytes, little-endian, then CBOR.
///
/// # Errors
/// When it cannot be encoded.
pub fn encode(plan: &Plan) -> Result<Vec<u8>, serde_cbor::Error> {
    let body = serde_cbor::to_vec(plan)?;
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend(body);
    Ok(bytes)
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

/// Runs the launcher; returns its exit code only if it did not become the workload.
pub fn main() -> i32 {
    let Ok(status) = status_pipe() else { return 125 };
    let mut status = std::fs::File::from(status);
    match become_workload(&mut status) {
        Ok(()) => 0,
        Err(why) => {
            // The agent may be gone; then nobody reads this.
            let _unheard = status.write_all(format!("E{why}").as_bytes());
            126
        }
    }
}

/// Duplicates standard output, which is the pipe to the agent; the copy is closed by the execution.
fn status_pipe() -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(io::stdout().as_fd(), 3)?)
}

fn become_workload(status: &mut std::fs::File) -> Result<(), LaunchError> {
    let mut stdin = io::stdin().lock();
    let plan = read_plan(&mut stdin).map_err(LaunchError::at("the plan"))?;
    if !plan.gate {
        drop(stdin);
        return probe_supervisor::run(&plan, status);
    }
    let log = output(plan.log.as_deref()).map_err(LaunchError::at("log"))?;
    prepare(&plan, &log)?;
    status.write_all(&[READY]).map_err(LaunchError::at("gate"))?;
    let mut byte = [0];
    match stdin.read(&mut byte) {
        Ok(1) if byte == [OPEN] => Err(execute(&plan)),
        // The agent is gone, or the workload is no longer wanted.
        _ => Ok(()),
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

fn read_plan(stdin: &mut impl io::Read) -> io::Result<Plan> {
    let mut length = [0; 4];
    stdin.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_PLAN {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    stdin.read_exact(&mut body)?;
    holdfast_base::codec::from_slice(&body).map_err(io::Error::other)
}

fn open_null() -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new().write(true).open("/dev/null")
}

fn output(log: Option<&Path>) -> io::Result<std::fs::File> {
    let Some(path) = log else { return open_null() };
    let mut options = std::fs::OpenOptions::new();
    // A pipe under the log's name would block until it is read.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    match options.append(true).create(true).mode(0o640).custom_flags(flags).open(path) {
        // A log that cannot be kept must not keep the workload from running.
        Err(error)
            if error.kind() == io::ErrorKind::ReadOnlyFilesystem
                || crate::adapters::files::is_full(&error) =>
        {
            open_null()
        }
        Ok(file) if file.metadata()?.is_file() => {
            // The workload inherits the file in blocking mode, as programs expect.
            rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
            Ok(file)
        }
        Err(error) if Errno::from_io_error(&error) != Some(Errno::NXIO) => Err(error),
        _ => Err(io::Error::other("it is no regular file: remove it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(program: String, args: Vec<String>, env: BTreeMap<String, String>) -> Plan {
        Plan {
            program: program.into(),
            args,
            env,
            workdir: "/".into(),
            log: Some("/log".into()),
            user: Some(User { uid: 61_200, gid: 61_200 }),
            groups: vec![20, 44],
            cgroup: None,
            open_files: Some(1024),
            bounds: Bounds { memory: Some(64 << 20), processes: Some(32) },
            gate: true,
        }
    }

    proptest! {
        #[test]
        fn no_plan_breaks_it(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _any = read_plan(&mut bytes.as_slice());
            // With an honest length, the body is looked at.
            let mut framed = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
            framed.extend(bytes);
            let _any = read_plan(&mut framed.as_slice());
        }

        #[test]
        fn a_plan_comes_through_whole_torn_or_damaged_it_does_not_break(
            program in ".{0,40}",
            args in proptest::collection::vec(".{0,20}", 0..5),
            env in proptest::collection::btree_map("[A-Z]{1,5}", ".{0,20}", 0..4),
            at in any::<proptest::sample::Index>(),
            flip in 1_u8..,
        ) {
            let bytes = encode(&plan(program.clone(), args.clone(), env.clone())).unwrap();
            let read = read_plan(&mut bytes.as_slice()).unwrap();
            prop_assert_eq!((read.program, read.args, read.env), (program.into(), args, env));
            let at = at.index(bytes.len());
            prop_assert!(read_plan(&mut &bytes[..at]).is_err(), "half a plan is none");
            let mut damaged = bytes;
            damaged[at] ^= flip;
            let _any = read_plan(&mut damaged.as_slice());
        }
    }

    #[test]
    fn a_launcher_is_told_by_its_whole_command_line() {
        let line =
            |parts: &[&str]| command_line(&parts.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(line(&["/proc/self/exe"]), b"holdfast-agent\0launch\0");
        assert_eq!(line(&["qemu", "/agent"]), b"holdfast-agent\0/agent\0launch\0");
    }

    #[test]
    fn a_plan_that_claims_to_be_huge_is_refused_before_any_room_is_made_for_it() {
        let read = read_plan(&mut u32::MAX.to_le_bytes().as_slice());
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
