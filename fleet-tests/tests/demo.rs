//! Tests of `make demo` as a newcomer uses it: everything runs, changes are shown, and nothing is
//! left, however it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly and deal in processes"
)]

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use fleet_tests::harness::{Binaries, Cli, eventually, processes, target_dir};
use rustix::process::Signal;

const DEADLINE: Duration = Duration::from_secs(90);

/// Locks out other tests of the demo, in whichever process: the default ports belong to the whole
/// machine.
fn alone() -> File {
    let lock = File::create(target_dir().join("demo-test.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    lock
}

struct Demo {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Demo {
    fn start() -> Self {
        Self::start_with(Command::new(target_dir().join("demo")))
    }

    fn start_with(mut command: Command) -> Self {
        // The test fails early if the demo's programs are older than their sources.
        let _fresh = Binaries::find();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("cargo build --workspace --bins builds the demo");
        let (send, lines) = mpsc::channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let told = send.clone();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(out).lines().map_while(Result::ok);
            lines.all(|line| told.send(line).is_ok())
        });
        std::thread::spawn(move || {
            let mut lines = BufReader::new(err).lines().map_while(Result::ok);
            lines.all(|line| send.send(format!("stderr: {line}")).is_ok())
        });
        Self { child, lines, said: Vec::new() }
    }

    /// Reads lines until one contains `wanted`, and returns it.
    fn until(&mut self, wanted: &str) -> String {
        let began = Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(began.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(wanted) {
                        return line;
                    }
                }
                Err(why) => panic!("no {wanted:?} ({why}) in:\n{}", self.said.join("\n")),
            }
        }
    }

    fn up() -> Self {
        let mut demo = Self::start();
        demo.until("Ctrl-C ends everything");
        demo
    }

    /// Returns the rest of the printed line that begins with `key`.
    fn value(&self, key: &str) -> String {
        let found = self.said.iter().find_map(|line| line.strip_prefix(key));
        found.unwrap_or_else(|| panic!("no {key:?} in {:#?}", self.said)).trim().to_owned()
    }

    fn folder(&self) -> PathBuf {
        self.value("Folder:").into()
    }

    fn cli(&self) -> Cli {
        Cli {
            program: Binaries::find().control,
            url: self.value("export HOLDFAST_URL="),
            token: self.value("export HOLDFAST_TOKEN="),
            ca: self.value("export HOLDFAST_CA="),
            home: self.folder(),
        }
    }

    fn send(&self, signal: Signal) {
        processes::send(self.child.id(), signal);
    }

    fn wait(&mut self) -> ExitStatus {
        let end = eventually(DEADLINE, "the demo ends", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        });
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(1)) {
            self.said.push(line);
        }
        end
    }

    fn port(&self, key: &str) -> u16 {
        self.value(key).rsplit(':').next().unwrap().parse().unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _code = self.child.wait();
        // The keeper cleans up; waiting for it frees the ports for the next test.
        let began = Instant::now();
        let folder = self.said.iter().find_map(|line| line.strip_prefix("Folder:"));
        while folder.is_some_and(|folder| Path::new(folder.trim()).exists())
            && began.elapsed() < DEADLINE
        {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn assert_nothing_left(folder: &Path, ports: &[u16]) {
    eventually(Duration::from_secs(20), "nothing is left", || {
        let left = processes::of_folder(folder);
        if !left.is_empty() || folder.exists() {
            return Err(format!("{left:?}, folder: {}", folder.exists()));
        }
        Ok(())
    });
    for &port in ports {
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "port {port}");
    }
}

#[test]
fn runs_shows_changes_and_leaves_nothing() {
    let _alone = alone();
    for round in 0..2 {
        let mut demo = Demo::up();
        let (cli, folder) = (demo.cli(), demo.folder());
        let devices = cli.run(&["get", "devices", "-o", "json"]).json();
        let items = devices["items"].as_array().unwrap();
        assert_eq!(items.len(), 3, "{devices}");
        for device in items {
            assert_eq!(device["status"]["connection"], "online", "{device}");
        }
        // The explanations in the examples under images/streams are on the page about data.
        for (device, stream) in [("gateway-2", "pump/temperature"), ("sensor-1", "device/metrics")]
        {
            eventually(DEADLINE, &format!("records of {stream}"), || {
                let ran = cli.run(&["data", "get", device, stream, "--limit", "1"]);
                if ran.out.contains("\"seq\":1,") { Ok(()) } else { Err(ran.to_string()) }
            });
        }
        cli.run(&["device", "label", "gateway-1", "site=hamburg"]).ok();
        let line = demo.until("relay: gone");
        assert!(line.contains("gateway-1"), "{line}");
        assert!(processes::of_folder(&folder).len() >= 8, "four programs and their workloads");
        let ports = [demo.port("API:"), demo.port("Devices:")];
        demo.send(if round == 0 { Signal::INT } else { Signal::TERM });
        let end = demo.wait();
        assert_eq!(end.code(), Some(0), "{}", demo.said.join("\n"));
        assert!(demo.said.last().unwrap().starts_with("Nothing is left"), "{:?}", demo.said);
        assert_nothing_left(&folder, &ports);
    }
}

/// The login that the demo prints works unchanged, and so do the commands that it proposes.
#[test]
fn what_it_prints_can_be_pasted() {
    let _alone = alone();
    let demo = Demo::up();
    let home = tempfile::tempdir().unwrap();
    let login = demo.said.iter().find(|line| line.contains(" login https://")).unwrap();
    let shell = |text: &str| {
        let mut command = Command::new("/bin/sh");
        command.args(["-ec", text]).env_clear().env("HOME", home.path());
        let ran = command.env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).output().unwrap();
        assert!(ran.status.success(), "{text}: {ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    };
    let path = demo.said.iter().find(|line| line.starts_with("export PATH=")).unwrap();
    assert!(shell(&format!("{login}\n{path}\nholdfast get devices")).contains("sensor-1"));
    let exports: Vec<&str> =
        demo.said.iter().map(String::as_str).filter(|line| line.starts_with("export ")).collect();
    let exports = exports.join("\n");
    let commands: Vec<&str> = demo
        .said
        .iter()
        .skip_while(|line| *line != "To try:")
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.starts_with("holdfast") && !line.ends_with(" -f"))
        .collect();
    assert_eq!(commands.len(), 5, "{commands:?}");
    for command in commands {
        let said = shell(&format!("{exports}\n{command}"));
        assert!(!command.contains(" data get ") || said.contains("beat "), "{command}: {said}");
    }
    let kills: Vec<&str> =
        demo.said.iter().filter_map(|line| line.trim().strip_prefix("kill ")).collect();
    assert_eq!(kills.len(), 3, "{kills:?}");
    for kill in kills {
        let pid = kill.trim_start_matches("-9 ").parse().unwrap();
        assert!(processes::alive(pid), "{kill}");
    }
}

#[test]
fn busy_ports_get_others_and_it_says_so() {
    let _alone = alone();
    // Another program may have these ports already, which serves the test as well.
    let _api = TcpListener::bind((Ipv4Addr::LOCALHOST, 8443));
    let _mqtt = TcpListener::bind((Ipv4Addr::LOCALHOST, 8883));
    let mut first = Demo::up();
    let second = Demo::up();
    for demo in [&first, &second] {
        let said = demo.said.join("\n");
        assert!(said.contains("port 8443 is busy"), "{said}");
        assert!(said.contains("port 8883 is busy"), "{said}");
        assert_ne!(demo.port("API:"), 8443);
        demo.cli().run(&["get", "devices", "gateway-2"]).ok();
    }
    // One demo ends, the other goes on.
    let folder = first.folder();
    first.send(Signal::HUP);
    assert_eq!(first.wait().code(), Some(0));
    assert_nothing_left(&folder, &[first.port("API:"), first.port("Devices:")]);
    second.cli().run(&["get", "devices", "gateway-2"]).ok();
}

#[test]
fn killed_itself_it_still_leaves_nothing() {
    let _alone = alone();
    let mut demo = Demo::up();
    let (folder, ports) = (demo.folder(), [demo.port("API:"), demo.port("Devices:")]);
    demo.send(Signal::KILL);
    demo.wait();
    assert_nothing_left(&folder, &ports);
}

#[test]
fn a_process_that_dies_is_named_and_started_again() {
    let _alone = alone();
    let mut demo = Demo::up();
    let kill = demo.said.iter().filter_map(|line| line.trim().strip_prefix("kill -9 "));
    let pids: Vec<u32> = kill.map(|pid| pid.parse().unwrap()).collect();
    let [agent, plane] = pids[..] else { panic!("{pids:?}") };
    processes::kill(agent);
    let line = demo.until("The agent of gateway-1");
    assert!(line.contains("was ended by signal 9"), "{line}");
    let line = demo.until("following a desired state");
    assert!(!line.contains('\u{1b}'), "colours in a file: {line:?}");
    processes::kill(plane);
    demo.until("The control plane was ended by signal 9");
    demo.until("The agent of gateway-1 was started again");
    demo.until("The control plane was started again");
    let cli = demo.cli();
    eventually(DEADLINE, "the device is back", || {
        let seen = cli.run(&["get", "devices", "gateway-1", "-o", "json"]);
        if seen.out.contains("\"online\"") { Ok(()) } else { Err(seen.to_string()) }
    });
}

/// A demo that fails half way (the agent's program is missing) leaves nothing.
#[test]
fn what_fails_half_way_leaves_nothing_either() {
    let _alone = alone();
    let bin = tempfile::tempdir().unwrap();
    let here = target_dir();
    for name in ["demo", "holdfast"] {
        std::fs::hard_link(here.join(name), bin.path().join(name))
            .or_else(|_| std::fs::copy(here.join(name), bin.path().join(name)).map(|_| ()))
            .unwrap();
    }
    let mut demo = Demo::start_with(Command::new(bin.path().join("demo")));
    assert_eq!(demo.wait().code(), Some(1));
    let said = demo.said.join("\n");
    assert!(said.contains("holdfast-agent is missing: `make demo` builds it"), "{said}");
    let folder = demo.value("Starting a control plane and three devices in ");
    assert_nothing_left(Path::new(&folder), &[]);
}

/// A demo whose output is no longer read (`make demo | head`) ends.
#[test]
fn a_closed_pipe_ends_it() {
    let _alone = alone();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "\"$0\" | head -n 1"]).arg(target_dir().join("demo"));
    let mut demo = Demo::start_with(command);
    let folder = demo.until("Starting").rsplit(' ').next().unwrap().to_owned();
    assert!(demo.wait().success());
    assert_nothing_left(Path::new(&folder), &[]);
}
