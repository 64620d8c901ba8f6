//! Real container engines of a test's own: `dockerd` and `podman system service`, each with folders
//! of its own, started and ended by process id.
//!
//! A machine without them fails the tests that need one, unless `HOLDFAST_TEST_ENGINE=none`.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::image::TestImage;
use super::{DEADLINE, Scratch, eventually, keep_log, processes};

/// Family of engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `dockerd`.
    Docker,
    /// `podman system service`.
    Podman,
}

/// Engine that runs, or did.
#[derive(Debug)]
pub struct RealEngine {
    /// Family of the engine.
    pub family: Family,
    /// Path of its socket.
    pub socket: PathBuf,
    folder: PathBuf,
    live_restore: bool,
    child: Option<Child>,
    /// Ids of the containers that were there when the engine was killed.
    seen: Vec<String>,
}

/// Returns true if this machine is to have no engine: the tests that need one do nothing then.
///
/// # Panics
/// Panics if there is no engine, and that was not said.
pub fn no_engine(program: &str) -> bool {
    if std::env::var("HOLDFAST_TEST_ENGINE").is_ok_and(|it| it == "none") {
        return true;
    }
    let found = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"]
        .iter()
        .any(|folder| Path::new(folder).join(program).exists());
    assert!(
        found,
        "{program} is missing: install docker.io and podman (.ci/tools test does), or set HOLDFAST_TEST_ENGINE=none"
    );
    false
}

impl RealEngine {
    /// Starts an engine in a scratch folder. None: this machine is to have none.
    pub fn start(family: Family, scratch: &Scratch) -> Option<Self> {
        let program = match family {
            Family::Docker => "dockerd",
            Family::Podman => "podman",
        };
        if no_engine(program) {
            return None;
        }
        let folder = scratch.join("engine");
        std::fs::create_dir_all(&folder).expect("a scratch folder can be made");
        let socket = folder.join("e.sock");
        let mut engine =
            Self { family, socket, folder, live_restore: false, child: None, seen: vec![] };
        engine.up();
        Some(engine)
    }

    /// Lets containers outlive the engine from its next start on (Podman's always do).
    pub fn live_restore(&mut self) {
        self.live_restore = true;
    }

    /// Starts the engine, and waits until it answers.
    ///
    /// # Panics
    /// Panics if it does not.
    pub fn up(&mut self) {
        // A killed dockerd takes its containerd along. Where nobody reaps that, the next one would
        // take it for alive.
        let _none = std::fs::remove_file(self.folder.join("x/containerd/containerd.pid"));
        let log = self.folder.join("log");
        keep_log("engine", log.clone());
        let log = OpenOptions::new().create(true).append(true).open(log).expect("a log");
        let mut command = match self.family {
            Family::Docker => self.docker(),
            Family::Podman => self.podman(),
        };
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        self.child = Some(command.spawn().expect("the engine can be started"));
        eventually(DEADLINE, "the engine answers", || self.get("/version").map(drop));
    }

    fn docker(&self) -> Command {
        let at = |name: &str| self.folder.join(name);
        let mut command = Command::new("dockerd");
        let config = at("daemon.json");
        std::fs::write(&config, "{}").expect("a scratch file can be written");
        command.arg("--config-file").arg(config);
        command.arg("--data-root").arg(at("d")).arg("--exec-root").arg(at("x"));
        command.arg("--pidfile").arg(at("pid"));
        command.arg("-H").arg(format!("unix://{}", self.socket.display()));
        command.args(["--bridge", "none", "--iptables=false", "--ip6tables=false"]);
        if self.live_restore {
            command.arg("--live-restore");
        }
        command
    }

    fn podman(&self) -> Command {
        let at = |name: &str| self.folder.join(name);
        let config = "[containers]\ndefault_ulimits = []\n[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";
        std::fs::write(at("containers.conf"), config).expect("a scratch file can be written");
        let mut command = Command::new("podman");
        command.env("CONTAINERS_CONF", at("containers.conf")).env("TMPDIR", &self.folder);
        command.arg("--root").arg(at("d")).arg("--runroot").arg(at("x"));
        command.arg("--tmpdir").arg(at("t")).args(["--storage-driver", "overlay"]);
        command.arg("--network-config-dir").arg(at("n"));
        command.args(["system", "service", "--time", "0"]);
        command.arg(format!("unix://{}", self.socket.display()));
        command
    }

    /// Kills the engine at once; what its containers do is its own affair.
    pub fn kill(&mut self) {
        let ids = self.containers().into_iter();
        self.seen.extend(ids.filter_map(|it| it["Id"].as_str().map(str::to_owned)));
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _code = child.wait();
        }
    }

    /// Ends the engine as a service manager would.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            processes::terminate(child.id());
            eventually(DEADLINE, "the engine ends", || match child.try_wait() {
                Ok(Some(_)) => Ok(()),
                other => Err(format!("{other:?}")),
            });
        }
    }

    /// Loads an image.
    ///
    /// # Panics
    /// Panics if the engine does not take it.
    pub fn load(&self, image: &TestImage) {
        let (status, text) = ask(&self.socket, "POST", "/images/load", &image.archive(), DEADLINE)
            .expect("the engine answers");
        assert!(status == 200 && !text.contains("\"error\""), "{status} {text}");
    }

    /// Asks a question.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        self.call("GET", path)
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// The reason why it was not.
    pub fn call(&self, method: &str, path: &str) -> Result<Value, String> {
        let (status, text) = ask(&self.socket, method, path, b"", DEADLINE)?;
        if !(200..400).contains(&status) {
            return Err(format!("{status}: {text}"));
        }
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Makes a container that no agent knows; returns its id.
    ///
    /// # Panics
    /// Panics if the engine refuses.
    pub fn create(&self, name: &str, body: &Value) -> String {
        let path = format!("/containers/create?name={name}");
        let body = body.to_string();
        let (status, text) = ask(&self.socket, "POST", &path, body.as_bytes(), DEADLINE)
            .expect("the engine answers");
        assert_eq!(status, 201, "{text}");
        let made: Value = serde_json::from_str(&text).expect("JSON");
        made["Id"].as_str().expect("an id").to_owned()
    }

    /// Returns all containers, the newest first.
    pub fn containers(&self) -> Vec<Value> {
        let list = self.get("/containers/json?all=1").unwrap_or_default();
        list.as_array().cloned().unwrap_or_default()
    }

    /// Returns the ids of the containers that run.
    pub fn running(&self) -> Vec<String> {
        let list = self.containers();
        let running = list.iter().filter(|it| it["State"] == "running");
        running.filter_map(|it| it["Id"].as_str().map(str::to_owned)).collect()
    }
}

impl Drop for RealEngine {
    fn drop(&mut self) {
        for container in self.containers() {
            let id = container["Id"].as_str().unwrap_or_default();
            let _gone = self.call("DELETE", &format!("/containers/{id}?force=1"));
        }
        if let Some(mut child) = self.child.take() {
            processes::terminate(child.id());
            let _code = child.wait();
        }
        end_remains(&self.folder, &self.seen);
        unmount(&self.folder);
    }
}

/// Ends what an engine that was killed has left: its helpers, by their arguments, and processes of its
/// containers, by their control groups.
fn end_remains(folder: &Path, containers: &[String]) {
    let folder = folder.to_string_lossy();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let read = |file: &str| {
            let bytes = std::fs::read(entry.path().join(file)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let Some(pid) = entry.file_name().to_str().and_then(|it| it.parse::<i32>().ok()) else {
            continue;
        };
        let line = read("cmdline");
        let helper = ["shim", "conmon", "containerd"].iter().any(|it| line.contains(it));
        let of_engine = helper && line.contains(&*folder);
        let group = read("cgroup");
        if of_engine || containers.iter().any(|id| group.contains(id)) {
            let pid = rustix::process::Pid::from_raw(pid);
            let _gone =
                pid.map(|it| rustix::process::kill_process(it, rustix::process::Signal::KILL));
        }
    }
}

/// Unmounts everything that an engine has left mounted in its folder.
fn unmount(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let paths = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let mut mine: Vec<&str> = paths.filter(|path| Path::new(path).starts_with(folder)).collect();
    mine.reverse();
    for path in mine {
        let _left = Command::new("umount").args(["-l", path]).status();
    }
}

/// Sends one request over a Unix socket; returns status and body.
///
/// # Errors
/// The reason why there is no answer.
pub fn ask(
    socket: &Path,
    method: &str,
    path: &str,
    body: &[u8],
    within: Duration,
) -> Result<(u16, String), String> {
    ask_with(socket, (method, path), "", body, within)
}

/// As [`ask`], with further lines in the head of the request, each with its end.
///
/// # Errors
/// The reason why there is no answer.
pub fn ask_with(
    socket: &Path,
    (method, path): (&str, &str),
    more: &str,
    body: &[u8],
    within: Duration,
) -> Result<(u16, String), String> {
    let failed = |error: std::io::Error| format!("{method} {path}: {error}");
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream.set_read_timeout(Some(within)).map_err(failed)?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n{more}Content-Type: application/{}\r\nContent-Length: {}\r\n\r\n",
        if body.is_empty() || body.starts_with(b"{") { "json" } else { "x-tar" },
        body.len()
    );
    stream.write_all(head.as_bytes()).map_err(failed)?;
    stream.write_all(body).map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").ok_or("no head came")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).ok_or("no status")?;
    let body = &answer[end + 4..];
    let body =
        if head.contains("transfer-encoding: chunked") { dechunk(body) } else { body.to_vec() };
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn dechunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|it| it == b"\r\n") {
        let size = String::from_utf8_lossy(&body[..end]).into_owned();
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else { break };
        let Some(piece) = body.get(end + 2..end + 2 + size) else { break };
        whole.extend(piece);
        body = body.get(end + 2 + size + 2..).unwrap_or_default();
        if size == 0 {
            break;
        }
    }
    whole
}
