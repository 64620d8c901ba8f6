//! Trust of the agent on its own machine: files and sockets that other users can open, forge, hold
//! or occupy. All tests need root, since they act as other users.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fleet_tests::harness::publisher::{Access, Http, Mqtt};
use fleet_tests::harness::{DEADLINE, Device, Plane, eventually};
use fleet_tests::sim::packets;
use rustix::fs::{CWD, FileType, Gid, Mode, Uid, mknodat};

use crate::{QUICK, await_copies, marker, script, sleeper};

/// User `nobody`, who has no business with the agent.
const NOBODY: u32 = 65_534;

/// Returns false, and prints so, if the test cannot act as other users.
fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: this test acts as other users, which takes root");
    }
    is_root
}

/// Runs `act` as another user, on a thread of its own: the kernel keeps users by thread.
fn as_user<T: Send>(user: u32, act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let acting = scope.spawn(move || {
            let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            act()
        });
        acting.join().unwrap()
    })
}

/// Process of another user that ends with the test.
struct Foreign(Child);

impl Foreign {
    fn start(user: u32, program: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program);
        command.args(args).envs(env.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.uid(user).gid(user).spawn().unwrap())
    }

    fn is_up(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _code = self.0.wait();
    }
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns everything below a folder, with the folder, as path within it and metadata.
fn walk(folder: &Path) -> Vec<(String, std::fs::Metadata)> {
    let (mut found, mut ahead) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(path) = ahead.pop() {
        // A file that is being created anew is skipped.
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            ahead.extend(entries.map(|entry| entry.path()));
        }
        let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
        found.push((name, meta));
    }
    found
}

fn own(device: &Device, workload: &str) -> PathBuf {
    device.data().join("workloads").join(workload).join("files")
}

#[test]
fn whatever_the_umask_and_the_modes_before_nothing_stays_open_to_others() {
    let plane = Plane::start();
    let mut device = plane.bare_device("d-1");
    let agent = device.program.remove(0);
    device.program = ["/bin/sh", "-c", "umask 0; exec \"$@\"", "sh"].map(Into::into).into();
    device.program.push(agent);
    device.enrol(&plane.token(&[]), &["role=a"]).ok();
    device.up();
    let text = "umask > umask; exec sleep 1000";
    plane
        .cli()
        .apply(&script("w", "a", text, &format!("  config: {{ a.conf: text }}\n{QUICK}")))
        .ok();
    device.await_phase("w", "running");
    device.access("meter");
    device.kill_agent();
    let files = |(name, meta): &(String, std::fs::Metadata)| {
        let is_own = name.starts_with("workloads") || name.starts_with("artifacts");
        (!is_own && meta.is_file()).then(|| device.data().join(name))
    };
    let before: Vec<PathBuf> = walk(device.data()).iter().filter_map(files).collect();
    assert!(before.iter().any(|path| path.ends_with("lock")), "{before:?}");
    for (number, path) in before.iter().enumerate() {
        chmod(path, if number % 2 == 0 { 0o644 } else { 0o666 });
    }
    chmod(device.data(), 0o755);
    device.up();
    device.await_link("up");
    device.await_phase("w", "running");
    for (name, meta) in walk(device.data()) {
        let kind = meta.file_type();
        let allowed = match name.as_str() {
            // The peer's identity is checked when it connects.
            "data.sock" | "bus.sock" | "sockets/data.sock" | "sockets/bus.sock" => 0o006,
            _ if kind.is_socket() => 0,
            // The program's own file, in a folder that no other user can enter.
            "workloads/w/files/umask" => 0o004,
            // Folders on the way to the workload's own folder and to programs: can be entered, not
            // listed.
            "" | "workloads" | "workloads/w" | "artifacts" | "artifacts/sha256" | "sockets" => {
                0o001
            }
            _ => 0,
        };
        let mode = meta.mode() & 0o007;
        assert_eq!(mode & !allowed, 0, "{name} has mode {:o}", meta.mode());
    }
    assert_eq!(std::fs::read_to_string(own(&device, "w").join("umask")).unwrap().trim(), "0022");
}

#[test]
fn a_lock_that_another_user_holds_keeps_no_agent_from_starting() {
    if !is_root() {
        return;
    }
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    device.await_link("up");
    device.stop_agent();
    let lock = device.data().join("lock");
    chmod(&lock, 0o644);
    let hold = format!("exec 9< {}; flock 9 || exit 1; exec sleep 1000", lock.display());
    let mut thief = Foreign::start(NOBODY, "/bin/sh", &["-c", &hold], &[]);
    eventually(DEADLINE, "the thief has it", || {
        let free = std::fs::File::open(&lock).unwrap().try_lock();
        if free.is_err() { Ok(()) } else { Err(format!("{free:?}")) }
    });
    device.up();
    device.await_link("up");
    assert!(thief.is_up(), "it was held all the time");
    assert_eq!(std::fs::metadata(&lock).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn foreign_users_forge_no_workload_and_no_workload_escapes_by_a_forged_marker() {
    if !is_root() {
        return;
    }
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    device.await_link("up");
    let id = std::fs::read_to_string(device.data().join("agent-id")).unwrap();
    let id = id.trim();
    // A "data folder" whose every file blocks its reader, and one that claims to belong to a
    // workload's agent.
    let trap = plane.scratch.join("trap");
    std::fs::create_dir_all(trap.join("workloads/w/files")).unwrap();
    for pipe in ["agent-id", "workloads/w/files/agent-id"] {
        mknodat(CWD, trap.join(pipe), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
    }
    let folder = trap.join("workloads/w/files").display().to_string();
    let (ours, anothers) = (format!("{id}/w/1/0000000000000001"), "0123456789abcdef/w/1/01");
    let mut foreign: Vec<Foreign> = [&ours, anothers, "", "a/b", &"x".repeat(100_000)]
        .map(|instance| {
            let env = [("HOLDFAST_INSTANCE", instance), ("HOLDFAST_FOLDER", &folder)];
            Foreign::start(NOBODY, "/bin/sleep", &["1000"], &env)
        })
        .into();
    // The workload's own stray processes claim the same.
    let (kept, stray) = (marker(), marker());
    let forge = format!(
        "for it in {id}/other/1/01 {anothers} ''; do HOLDFAST_INSTANCE=$it HOLDFAST_FOLDER={folder} \
         setsid sleep {stray} & done; exec sleep {kept}"
    );
    plane.cli().apply(&script("w", "a", &forge, QUICK)).ok();
    device.await_phase("w", "running");
    await_copies(&stray, 3);
    plane.cli().run(&["delete", "workload", "w"]).ok();
    await_copies(&kept, 0);
    await_copies(&stray, 0);
    let later = marker();
    plane.cli().apply(&sleeper("w", "a", &later)).ok();
    await_copies(&later, 1);
    assert!(foreign.iter_mut().all(Foreign::is_up), "nobody else's process was ended");
}

/// Returns a workload's local access, as it finds it in its environment, and its user id.
fn told(plane: &Plane, device: &Device) -> (Access, u32) {
    let tell = "env > told.new; mv told.new told; exec sleep 1000";
    plane.cli().apply(&script("w", "a", tell, QUICK)).ok();
    let file = own(device, "w").join("told");
    let told = eventually(DEADLINE, "the workload is told", || {
        std::fs::read_to_string(&file).map_err(|error| error.to_string())
    });
    let of = |key: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {key} in {told}")).to_owned()
    };
    let port = of("HOLDFAST_MQTT_PORT").parse().unwrap();
    let access = Access {
        mqtt: (std::net::Ipv4Addr::LOCALHOST, port).into(),
        user: of("HOLDFAST_MQTT_USERNAME"),
        password: of("HOLDFAST_MQTT_PASSWORD"),
        socket: of("HOLDFAST_SOCKET").into(),
    };
    (access, std::fs::metadata(own(device, "w")).unwrap().uid())
}

/// Returns the code of CONNACK for a login without user name and password at the bus' socket.
fn come_by_socket(socket: &Path) -> u8 {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(&packets::connect("c", 60, None)).unwrap();
    let (mut bytes, mut piece) = (Vec::new(), [0; 256]);
    loop {
        if let Some(packet) = packets::take(&mut bytes) {
            return packet.reason(1);
        }
        let length = stream.read(&mut piece).unwrap();
        assert!(length > 0, "it is cut without an answer");
        bytes.extend(&piece[..length]);
    }
}

#[test]
fn a_workload_needs_no_password_on_its_socket_and_its_password_serves_nobody_else() {
    if !is_root() {
        return;
    }
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let (access, user) = told(&plane, &device);
    let bus = device.data().join("bus.sock");
    assert_eq!(as_user(user, || come_by_socket(&bus)), 0, "its user tells who it is");
    assert_eq!(as_user(NOBODY, || come_by_socket(&bus)), 0x86, "nobody is no workload");
    as_user(user, || Mqtt::connect(&access, "mine")).unwrap();
    let refused = as_user(NOBODY, || Mqtt::connect(&access, "stolen")).unwrap_err();
    assert!(refused.to_string().contains("refused"), "{refused}");
    let post = || Http::connect(&access).unwrap().post("temp", "application/json", b"1");
    assert_eq!(as_user(user, post).unwrap().status, 200);
    let answer = as_user(NOBODY, post).unwrap();
    assert_eq!(answer.status, 401, "{answer:?}");
}

#[test]
fn silent_connections_of_one_user_keep_no_workload_from_publishing() {
    if !is_root() {
        return;
    }
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let (access, user) = told(&plane, &device);
    let silent: Vec<TcpStream> =
        as_user(NOBODY, || (0..300).map(|_| TcpStream::connect(access.mqtt).unwrap()).collect());
    let records: Vec<Vec<u8>> = (0..100_u32).map(|it| it.to_string().into_bytes()).collect();
    let outcome =
        as_user(user, || Mqtt::connect(&access, "pump").unwrap().publish("temp", &records, 16));
    assert_eq!(outcome.count(), records.len(), "{:?}", outcome.error);
    let said = device.await_problem("intake-refused");
    assert!(said.contains(&format!("user {NOBODY}")), "{said}");
    drop(silent);
}

#[test]
fn a_pipe_in_the_place_of_a_log_is_said_and_waited_for_by_nobody() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let marker = marker();
    plane.cli().apply(&sleeper("w", "a", &marker)).ok();
    device.await_phase("w", "running");
    device.power_off();
    let log = device.data().join("workloads/w/log");
    std::fs::remove_file(&log).unwrap();
    mknodat(CWD, &log, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    device.up();
    device.await_status("the log is named", |status| {
        let reason = &status["workloads"]["w"]["reason"];
        reason.as_str().is_some_and(|it| it.contains("log: it is no regular file"))
    });
    std::fs::remove_file(&log).unwrap();
    await_copies(&marker, 1);
    // The log is opened as programs expect it, without O_NONBLOCK.
    let pid = device.await_phase("w", "running");
    let opened = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/1")).unwrap();
    let flags = opened.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits();
    assert_eq!(flags & nonblocking, 0, "{opened}");
}
