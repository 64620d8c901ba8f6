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
//! See decisions 0001, 0002, 0071 and 0072.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::execution::{LaunchError, Plan, execute, prepare, set_open_files};
use super::probe_supervisor;

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

/// Raises the agent's own soft limit of open files to the hard limit, since each workload takes
/// some. Returns the former limit, which the workloads get: there are programs that loop through
/// all of it.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    // The hard limit may always be reached; if this fails, the soft one still holds.
    set_open_files(limit.maximum).ok().and(limit.current)
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
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::execution::Bounds;
    use super::*;
    use crate::runtimes::common::users::User;

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
